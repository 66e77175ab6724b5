"""The MCP endpoint of the modern era (2026-07-28), sans-I/O: every check between a POST and its handler.

The driver hands over the head with `admit`, then the body with `receive`, and calls `leave` at the end of every
exchange that was admitted. The first check that fails decides: Host and Origin, method, content type, Accept, JSON,
notification, envelope, ``_meta``, headers against body, revision, method, arguments in headers.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from taut import models
from taut._core import Envelope, Kind, parse
from taut.errors import (
    HeaderMismatch,
    InvalidMessage,
    InvalidParams,
    LimitExceeded,
    MethodNotFound,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
    UnsupportedProtocolVersion,
)
from taut.mcp.http.guard import Guard
from taut.mcp.http.head import Head, Headers, read_head
from taut.mcp.http.reply import Reply, Response, error_reply, refusal
from taut.mcp.http.values import ParamHeaders, decode_value
from taut.mcp.inbound import Caller, Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.server_peer import ServerProfile
from taut.mcp.terms import caller_of, check_terms, decode_meta, missing_meta

__all__ = ["Endpoint"]

VERSION = b"mcp-protocol-version"
METHOD = b"mcp-method"
NAME = b"mcp-name"
#: Method -> the member of its params that ``Mcp-Name`` mirrors.
NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
#: Distinct ``_meta`` objects remembered; each client sends the same one over and over.
META_CACHE = 256
RETRY_AFTER = (b"retry-after", b"1")


class Endpoint:
    """Checks requests to one server, from any number of clients.

    ``profile`` returns what the server says of itself as of now; ``param_headers`` the compiled table of a tool.
    """

    def __init__(
        self,
        profile: Callable[[], ServerProfile],
        param_headers: Callable[[str], ParamHeaders | None],
        *,
        guard: Guard,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.limits = limits
        #: Exchanges that were admitted and have not left.
        self.open = 0
        self._profile = profile
        self._param_headers = param_headers
        self._guard = guard
        self._known: dict[bytes, tuple[Caller, models.RequestMeta]] = {}

    # -- the head

    def admit(self, method: str, headers: Headers) -> Head | Reply:
        """Judge a request by its head, before any of its body is read."""
        head = self.judge(method, headers)
        return head if isinstance(head, Reply) else self.enter(head) or head

    def judge(self, method: str, headers: Headers) -> Head | Reply:
        """Say what is to be said of a head. That follows from its bytes alone: a driver may remember it."""
        head = read_head(headers)
        known = head.known
        if head.repeated == b"host" or b"host" not in known:
            return refusal(400, "Expected one Host header")  # RFC 9112, section 3.2
        problem = self._guard.problem(known.get(b"host"), known.get(b"origin"))
        if problem is not None:
            return refusal(403, problem)
        if method != "POST":
            return refusal(405, f"Expected POST, got {method}", headers=((b"allow", b"POST"),))
        refused = head.refuse_types()
        if refused is not None:
            return refused
        length = head.content_length
        if length is not None and length > self.limits.max_message_bytes:
            return self.too_large()
        return head

    def enter(self, head: Head) -> Reply | None:
        """Admit a request whose head was found good; return the refusal if that cannot be now."""
        if self.open >= self.limits.max_in_flight:
            return refusal(503, "Too many requests are being worked on", headers=(RETRY_AFTER,))
        self.open += 1
        return None

    def leave(self) -> None:
        """End an exchange that was admitted."""
        self.open -= 1

    def too_large(self) -> Reply:
        """Return the refusal of a body that is longer than ``max_message_bytes``."""
        return Reply(
            413, error_reply(LimitExceeded("max_message_bytes", self.limits.max_message_bytes), None).body
        )

    # -- the body

    def receive(self, head: Head, body: bytes | bytearray) -> Response | Reply:
        """Take the body of an admitted request; return the request to work on, or its answer."""
        limits = self.limits
        try:
            message = parse(
                body, max_depth=limits.max_depth, max_digits=limits.max_digits, max_keys=limits.max_keys
            )
        except RemoteProtocolError as error:
            return error_reply(error, None if error.is_answer else error.id)
        try:
            if message.kind == Kind.REQUEST:
                return self._on_request(head, message)
            if message.kind == Kind.NOTIFICATION:
                self._check_revision(head)
                return Reply(202)
            raise InvalidMessage(f"Expected a request or a notification, got a {message.kind.name.lower()}")
        except (RemoteError, ProtocolError) as error:
            return error_reply(error, message.id if message.kind == Kind.REQUEST else None)

    def _check_revision(self, head: Head) -> None:
        revision = head.known.get(VERSION)
        if revision is None:
            raise HeaderMismatch("Header mismatch: expected MCP-Protocol-Version, got none")
        supported = self._profile().modern
        shown = revision.decode("latin-1")
        if shown not in supported:
            raise UnsupportedProtocolVersion.of(shown, supported)

    def _on_request(self, head: Head, message: Envelope) -> Response | Reply:
        profile = self._profile()
        raw_meta = message.meta
        known = self._known.get(raw_meta) if type(raw_meta) is bytes else None
        if known is not None:
            caller, meta = known
            _check_headers(head, message, caller.revision)
        else:
            if raw_meta is None:
                raise missing_meta(models.PROTOCOL_VERSION_KEY)
            meta = decode_meta(message)
            check_terms(meta)
            _check_headers(head, message, str(meta.protocol_version))
            caller = caller_of(meta, profile.modern)
            if type(raw_meta) is bytes:
                if len(self._known) >= META_CACHE:
                    self._known.clear()
                self._known[raw_meta] = caller, meta
        method: str = message.method  # type: ignore[assignment]  # a request always has one
        if method not in profile.routes(caller.revision):
            raise MethodNotFound(f"Method not found at revision {caller.revision}: {method}")
        if method == "tools/call" and message.name is not None:
            mirrored = self._param_headers(message.name)
            if mirrored is not None:
                mirrored.check(head.known, message.arguments)
        response = Response(profile.result_meta)
        request = Request(response, message, caller, meta, response.answers, profile.result_members)
        response.request = request
        if method == "server/discover":
            request.params()
            request.respond(profile.discover_result())
            return response.reply()
        return response


def _check_headers(head: Head, message: Envelope, revision: str) -> None:
    """Check that the routing headers say what the body says.

    :raises taut.errors.HeaderMismatch: they do not, or one of them came twice.
    """
    known = head.known
    if head.repeated is not None:
        raise HeaderMismatch(f"Header mismatch: {head.repeated.decode('latin-1')} came twice")
    _agree("MCP-Protocol-Version", known.get(VERSION), revision)
    method: str = message.method  # type: ignore[assignment]  # a request always has one
    _agree("Mcp-Method", known.get(METHOD), method)
    member = NAMED.get(method)
    if member is None:
        return
    name = message.name if member == "name" else message.uri if member == "uri" else _task_id(message)
    if name is None:
        raise InvalidParams(f"Expected params.{member} of {method} to be text, got none")
    raw = known.get(NAME)
    # Plain text as it is; all else is decoded first, as an intermediary would.
    if raw is not None and (raw != name.encode() or raw.startswith(b"=?") or not raw.isascii()):
        decoded = decode_value(raw)
        if decoded is None:
            raise HeaderMismatch("Header mismatch: Mcp-Name is malformed")
        if decoded != name:
            raise _mismatch("Mcp-Name", decoded, name)
    elif raw is None:
        raise _absent("Mcp-Name")


def _task_id(message: Envelope) -> str | None:
    """Return the ``taskId`` of params, which the parser does not look for, when it is text."""
    try:
        return models.decode(_Named, message.params or b"{}").task_id
    except msgspec.ValidationError:
        return None


class _Named(msgspec.Struct, rename="camel"):
    task_id: str | None = None


def _agree(header: str, raw: bytes | None, expected: str) -> None:
    if raw is None:
        raise _absent(header)
    if raw != expected.encode():
        got = raw.strip(b" \t").decode("utf-8", "replace")
        if got != expected:
            raise _mismatch(header, got, expected)


def _absent(header: str) -> HeaderMismatch:
    return HeaderMismatch(f"Header mismatch: expected {header}, got none")


def _mismatch(header: str, got: str, expected: str) -> HeaderMismatch:
    return HeaderMismatch(f"Header mismatch: {header} is {got[:100]!r}, the body says {expected[:100]!r}")
