"""The MCP endpoint, sans-I/O: every check between an HTTP request and its handler.

The driver hands over the head with `admit`; has it authenticated with `authenticate` where `auth` is not None; hands
over the body with `receive`, or what is no POST with `listen`; and calls `leave` at the end of every exchange that was
admitted.

Each request decides its era: a revision of the legacy era in ``MCP-Protocol-Version``, or none, is for `Legacy`. For
all others the first check that fails decides: Host and Origin, method, content type, Accept, JSON, notification,
envelope, ``_meta``, headers against body, revision, method, arguments in headers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

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
from taut.mcp.http.auth import Auth
from taut.mcp.http.guard import Guard
from taut.mcp.http.head import Head, Headers, Heads, read_head
from taut.mcp.http.legacy import Legacy
from taut.mcp.http.reply import Reply, Response, error_reply, refusal
from taut.mcp.http.streams import Reader
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
#: Characters of the name and the URI in a body that a head remembers.
MAX_AGREED = 1024
RETRY_AFTER = (b"retry-after", b"1")
NOT_AUTHENTICATED = "Expected an authenticated request"
#: What ``MCP-Protocol-Version`` is in the legacy era.
LEGACY_VERSIONS = frozenset({None, *(revision.encode() for revision in models.LEGACY)})
PRESENT_KEY = models.PROTOCOL_VERSION_KEY.encode()
REQUEST = Kind.REQUEST


class Mirrored(Protocol):
    """A tool, as far as its arguments are mirrored in headers."""

    @property
    def param_headers(self) -> ParamHeaders | None:
        """Which of them are, and where."""


class Endpoint:
    """Checks requests to one server, from any number of clients.

    ``profile`` returns what the server says of itself as of now; ``tool`` a tool, which may have a compiled table
    of mirrored arguments.
    Without ``legacy`` there is no legacy era here, without ``auth`` nobody is asked who it is.
    """

    def __init__(
        self,
        profile: Callable[[], ServerProfile],
        tool: Callable[[str], Mirrored | None],
        *,
        guard: Guard,
        limits: Limits = DEFAULT_LIMITS,
        legacy: Legacy | None = None,
        auth: Auth | None = None,
    ) -> None:
        self.limits = limits
        self.legacy = legacy
        self.auth = auth
        #: Exchanges that were admitted and have not left.
        self.open = 0
        self._profile = profile
        self._tool = tool
        self._guard = guard
        #: The ``_meta`` of a request -> who asks, what else it says, and what may be called on these terms.
        self._known: dict[bytes, tuple[Caller, models.RequestMeta, frozenset[str]]] = {}
        self._said_by: ServerProfile | None = None
        self._heads = Heads()

    # -- the head

    def admit(self, method: str, headers: Headers) -> Head | Reply:
        """Judge a request by its head, before any of its body is read."""
        head = self.judge(method, headers)
        return head if isinstance(head, Reply) else self.enter(head) or head

    def judge(self, method: str, headers: Headers) -> Head | Reply:
        """Say what is to be said of a head. That follows from its bytes alone: a driver may remember it."""
        if method != "POST" or self.auth is not None:  # which says in a head whom it comes from
            return self._judge(method, headers)
        head, said = self._heads.find(headers)
        if head is not None:
            return head
        judged = self._judge(method, said)
        if isinstance(judged, Head):
            self._heads.keep(said, judged)
        return judged

    def _judge(self, method: str, headers: Headers) -> Head | Reply:
        head = self.approach(headers)
        if isinstance(head, Reply):
            return head
        head.legacy = self.legacy is not None and head.known.get(VERSION) in LEGACY_VERSIONS
        if method == "POST":
            refused = head.refuse_types()
        else:
            head.method = method
            refused = self._refuse_method(head)
        if refused is not None:
            return refused
        length = head.content_length
        if length is not None and length > self.limits.max_message_bytes:
            return self.too_large()
        return head

    def approach(self, headers: Headers) -> Head | Reply:
        """Judge only from where a request comes: what is said of every connection, whatever it is for."""
        head = read_head(headers)
        known = head.known
        if head.repeated == b"host" or b"host" not in known:
            return refusal(400, "Expected one Host header")  # RFC 9112, section 3.2
        problem = self._guard.problem(known.get(b"host"), known.get(b"origin"))
        if problem is not None:
            return refusal(403, problem)
        if self.auth is not None:
            head.principal = None
        return head

    def enter(self, head: Head) -> Reply | None:
        """Admit a request whose head was found good; return the refusal if that cannot be now."""
        if self.open >= self.limits.max_in_flight:
            return refusal(503, "Too many requests are being worked on", headers=(RETRY_AFTER,))
        self.open += 1
        return None

    def _refuse_method(self, head: Head) -> Reply | None:
        """Return the refusal of what is no POST: only sessions have other methods."""
        allowed = b"POST"
        if head.legacy and self.legacy is not None and self.legacy.sessions is not None:
            if head.method == "GET":
                return head.refuse_listener()
            if head.method == "DELETE":
                return None
            allowed = b"GET, POST, DELETE"
        return refusal(
            405, f"Expected {allowed.decode()}, got {head.method[:20]}", headers=((b"allow", allowed),)
        )

    def authenticate(self, head: Head, now: float) -> Reply | Awaitable[Reply | None] | None:
        """Find out whom an admitted request comes from; return the refusal, if that is what it gets.

        ``now`` are seconds since the epoch. What has not been through here is not worked on, where there is an `auth`.
        """
        return None if self.auth is None else self.auth.admit(head, now)

    def leave(self) -> None:
        """End an exchange that was admitted."""
        self.open -= 1

    def too_large(self) -> Reply:
        """Return the refusal of a body that is longer than ``max_message_bytes``."""
        return Reply(
            413, error_reply(LimitExceeded("max_message_bytes", self.limits.max_message_bytes), None).body
        )

    # -- the body

    def listen(self, head: Head) -> Reader | Reply:
        """Take an admitted request that is no POST; return who listens, or what is answered."""
        if head.principal is None:
            return refusal(401, NOT_AUTHENTICATED)
        assert self.legacy is not None
        return self.legacy.listen(head) if head.method == "GET" else self.legacy.end(head)

    def receive(self, head: Head, body: bytes | bytearray) -> Response | Reply:
        """Take the body of an admitted POST; return the request to work on, or what is answered."""
        if head.principal is None:
            return refusal(401, NOT_AUTHENTICATED)
        legacy = self.legacy if head.legacy else None
        limits = self.limits
        try:
            message = parse(
                body, max_depth=limits.max_depth, max_digits=limits.max_digits, max_keys=limits.max_keys
            )
        except RemoteProtocolError as error:
            if legacy is not None:
                return legacy.reject(head, error)
            return error_reply(error, None if error.is_answer else error.id)
        if legacy is not None and not _names_modern(message):
            return legacy.receive(head, message)
        try:
            if message.kind is REQUEST:
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
        # The hot path: a call of a function of ours costs as much here as the work of some of them.
        profile = self._profile()
        if profile is not self._said_by:
            self._said_by = profile
            self._known.clear()
        method: str = message.method  # type: ignore[assignment]  # a request always has one
        raw_meta = message.meta
        known = self._known.get(raw_meta) if type(raw_meta) is bytes else None
        if known is not None:
            caller, meta, routes = known
            if (caller.revision, method, message.name, message.uri) != head.agreed:
                _check_headers(head, message, caller.revision)
        else:
            if raw_meta is None:
                raise missing_meta(models.PROTOCOL_VERSION_KEY)
            meta = decode_meta(message)
            check_terms(meta)
            _check_headers(head, message, str(meta.protocol_version))
            caller = caller_of(meta, profile.modern)
            routes = profile.routes(caller.revision)
            if type(raw_meta) is bytes:
                if len(self._known) >= META_CACHE:
                    self._known.clear()
                self._known[raw_meta] = caller, meta, routes
        if method not in routes:
            raise MethodNotFound(f"Method not found at revision {caller.revision}: {method}")
        if method == "tools/call" and message.name is not None:
            tool = self._tool(message.name)
            if tool is not None and tool.param_headers is not None:
                tool.param_headers.check(head.known, message.arguments)
        assert head.principal is not None
        response = Response(profile.result_meta)
        request = Request(
            response, message, caller, meta, response.answers, profile.result_members, head.principal
        )
        response.request = request
        if method == "server/discover":
            request.params()
            request.respond(profile.discover_result())
            return response.reply()
        return response


def _names_modern(message: Envelope) -> bool:
    """Whether a message without a modern header is a modern one all the same, and to be told so."""
    meta = message.meta
    if meta is None or message.method == "initialize" or PRESENT_KEY not in bytes(meta):
        return False
    try:
        return decode_meta(message).protocol_version is not msgspec.UNSET
    except InvalidParams:
        return False  # the era that is asked for says what is wrong with it


def _check_headers(head: Head, message: Envelope, revision: str) -> None:
    """Check that the routing headers say what the body says.

    :raises taut.errors.HeaderMismatch: they do not, or one of them came twice.
    """
    said = (revision, message.method, message.name, message.uri)
    known = head.known
    if head.repeated is not None:
        raise HeaderMismatch(f"Header mismatch: {head.repeated.decode('latin-1')} came twice")
    _agree("MCP-Protocol-Version", known.get(VERSION), revision)
    method: str = message.method  # type: ignore[assignment]  # a request always has one
    _agree("Mcp-Method", known.get(METHOD), method)
    member = NAMED.get(method)
    # A driver may remember the head for long: nothing that is as large as a body shall stay with it.
    small = len(message.name or "") + len(message.uri or "") <= MAX_AGREED
    if member is None:
        if small:
            head.agreed = said
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
    if small and member in ("name", "uri"):
        head.agreed = said


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
