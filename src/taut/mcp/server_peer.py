"""The server's side of a conversation: era, lifecycle, and which requests get through to a handler.

The era is decided by the first request that is accepted (specification 2026-07-28, "Versioning"; stdio binding):

- ``initialize`` opens a legacy session: one revision, one set of capabilities, until the connection ends;
- a request whose ``_meta`` names a protocol version is served by itself, under the terms that it carries.

A refused request decides nothing, so a client may try one era and then the other.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import msgspec

from taut import models
from taut._core import Envelope, Outgoing
from taut.errors import (
    InvalidRequest,
    MethodNotFound,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
    UnsupportedProtocolVersion,
)
from taut.mcp.inbound import Caller, Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.peer import Notification, Peer
from taut.mcp.terms import caller_of, check_terms, decode_meta, missing_meta, wire_code

__all__ = ["DEFAULT_LOG_LEVEL", "Era", "ServerPeer", "ServerProfile"]

#: Log messages that a legacy client gets before it has asked for a level (the server may choose).
DEFAULT_LOG_LEVEL = "info"
#: Distinct ``_meta`` objects remembered per connection; a client sends the same one over and over.
META_CACHE = 16


class Era(enum.Enum):
    """Sessions and ``initialize``, or terms carried by each request."""

    LEGACY = "legacy"
    MODERN = "modern"


class ServerProfile:
    """What a server says of itself, shared by all its conversations.

    ``revisions`` are the ones served, any subset of `taut.models.REVISIONS`.
    """

    def __init__(
        self,
        implementation: models.Implementation,
        capabilities: models.ServerCapabilities,
        *,
        instructions: str | None = None,
        revisions: Iterable[str] = models.REVISIONS,
        discover_ttl_ms: int = 300_000,
    ) -> None:
        served = frozenset(revisions)
        self.implementation = implementation
        self.capabilities = capabilities
        self.instructions = instructions
        self.discover_ttl_ms = discover_ttl_ms
        self.revisions = tuple(revision for revision in models.REVISIONS if revision in served)
        self.legacy = tuple(revision for revision in self.revisions if revision in models.LEGACY)
        self.modern = tuple(reversed([revision for revision in self.revisions if revision in models.MODERN]))

        self.result_meta: dict[str, Any] = {
            "io.modelcontextprotocol/serverInfo": msgspec.to_builtins(implementation)
        }
        self.result_members = b'"_meta":' + msgspec.json.encode(self.result_meta)
        self._routes = {revision: self._allowed(revision) for revision in self.revisions}

    def routes(self, revision: str) -> frozenset[str]:
        """Return the methods that a client may call at ``revision``."""
        return self._routes[revision]

    def _allowed(self, revision: str) -> frozenset[str]:
        return frozenset(
            spec.method
            for spec in models.METHODS.values()
            if spec.result is not None
            and spec.sender in ("client", "both")
            and revision in spec.revisions
            and (spec.capability is None or models.declares(self.capabilities, spec.capability))
        )

    def discover_result(self) -> models.DiscoverResult:
        """Return the answer to ``server/discover``; it names the modern revisions only."""
        return models.DiscoverResult(
            supported_versions=list(self.modern),
            capabilities=self.capabilities,
            instructions=msgspec.UNSET if self.instructions is None else self.instructions,
            ttl_ms=self.discover_ttl_ms,
            cache_scope="public",
        )

    def agree(self, message: Envelope) -> Caller:
        """Return the client that ``initialize`` introduces, at its revision or the newest legacy one that is served.

        :raises taut.errors.InvalidParams: the params do not fit.
        """
        params = models.decode_params("initialize", message.params, models.LATEST_LEGACY)
        revision = params.protocol_version
        return Caller(
            revision=revision if revision in self.legacy else self.legacy[-1],
            capabilities=params.capabilities,
            implementation=params.client_info,
        )

    def initialize_result(self, revision: str) -> models.InitializeResult:
        """Return the answer to ``initialize`` at the agreed ``revision``."""
        return models.InitializeResult(
            protocol_version=revision,
            capabilities=self.capabilities,
            server_info=self.implementation,
            instructions=msgspec.UNSET if self.instructions is None else self.instructions,
        )


class ServerPeer(Peer):
    """One conversation of a server with one client, over a transport that keeps its messages in order."""

    remote_side = "client"

    def __init__(self, out: Outgoing, profile: ServerProfile, *, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(out, limits=limits)
        self.profile = profile
        self.era: Era | None = None
        #: Whether the client said ``notifications/initialized``; always true in the modern era.
        self.ready = False
        self.result_meta = profile.result_meta
        self._caller: Caller | None = None
        self._routes: frozenset[str] = frozenset()
        self._callers: dict[bytes, tuple[Caller, models.RequestMeta]] = {}

    # -- requests

    def _on_request(self, message: Envelope, answers: Outgoing) -> Request | None:
        raw_meta = message.meta
        if raw_meta is None:
            return self._legacy_request(message, None, answers)
        known = self._callers.get(raw_meta) if type(raw_meta) is bytes else None
        if known is not None:
            return self._modern_request(message, known[0], known[1], answers)
        meta = decode_meta(message)
        if meta.protocol_version is msgspec.UNSET or message.method == "initialize":
            if self.era is Era.MODERN and message.method != "initialize":
                raise missing_meta(models.PROTOCOL_VERSION_KEY)
            return self._legacy_request(message, meta, answers)
        if self.era is Era.LEGACY:
            raise InvalidRequest(
                f"Expected requests of the session at revision {self.revision}, got one whose _meta names "
                f"protocol version {meta.protocol_version}"
            )
        check_terms(meta)
        caller = caller_of(meta, self.profile.modern)
        if type(raw_meta) is bytes:
            if len(self._callers) >= META_CACHE:
                self._callers.clear()
            self._callers[raw_meta] = caller, meta
        return self._modern_request(message, caller, meta, answers)

    def _modern_request(
        self, message: Envelope, caller: Caller, meta: models.RequestMeta, answers: Outgoing
    ) -> Request | None:
        method: str = message.method  # type: ignore[assignment]  # a request always has one
        if method not in self.profile.routes(caller.revision):
            raise MethodNotFound(f"Method not found at revision {caller.revision}: {method}")
        if len(self._inbound):
            self._check_new(message)
        self.era = Era.MODERN
        self.ready = True
        request = Request(self, message, caller, meta, answers, self.profile.result_members)
        if method == "server/discover":
            request.params()
            request.respond(self.profile.discover_result())
            return None
        return request

    def _legacy_request(
        self, message: Envelope, meta: models.RequestMeta | None, answers: Outgoing
    ) -> Request | None:
        method: str = message.method  # type: ignore[assignment]
        if method == "initialize":
            self._initialize(message, meta, answers)
            return None
        caller = self._caller
        if caller is None:
            if self.era is Era.MODERN or (method == "server/discover" and self.profile.modern):
                raise missing_meta(models.PROTOCOL_VERSION_KEY)
            if method != "ping":
                raise InvalidRequest(
                    f"Expected initialize, or a request whose _meta has io.modelcontextprotocol/protocolVersion, "
                    f"got {method}"
                )
            caller = Caller(revision=models.LATEST_LEGACY, capabilities=models.ClientCapabilities())
        elif method not in self._routes:
            raise MethodNotFound(f"Method not found at revision {caller.revision}: {method}")
        if len(self._inbound):
            self._check_new(message)
        request = Request(self, message, caller, meta, answers, b"")
        if method == "ping":
            request.respond({})
        elif method == "logging/setLevel":
            self.log_level = request.params().level
            request.respond({})
        else:
            return request
        return None

    def _initialize(self, message: Envelope, meta: models.RequestMeta | None, answers: Outgoing) -> None:
        if self.era is Era.MODERN or not self.profile.legacy:
            params = models.decode_params("initialize", message.params, models.LATEST_LEGACY)
            raise UnsupportedProtocolVersion.of(params.protocol_version, self.profile.modern)
        if self._caller is not None:
            raise InvalidRequest(f"Expected one initialize, got a second; revision {self.revision} is agreed")
        self._caller = caller = self.profile.agree(message)
        revision = caller.revision
        self.era = Era.LEGACY
        self.revision = revision
        self.remote_capabilities = caller.capabilities
        self.log_level = DEFAULT_LOG_LEVEL
        self._routes = self.profile.routes(revision)
        Request(self, message, caller, meta, answers, b"").respond(self.profile.initialize_result(revision))

    @property
    def caller(self) -> Caller | None:
        """The client of the legacy session; None before ``initialize`` and in the modern era."""
        return self._caller

    # -- what else arrives

    def _on_notification(self, message: Envelope) -> Notification | None:
        if message.method == "notifications/initialized" and self.era is Era.LEGACY:
            self.ready = True
        return super()._on_notification(message)

    def reject(self, error: RemoteProtocolError) -> None:
        """Answer a frame that is no message. The id is null in the legacy era and absent in the modern one.

        A malformed answer ends the request of ours that it names. What is said of it does not name that id: the
        client would take it for one of its own.
        """
        if error.is_answer:
            self.on_malformed_answer(error)
        raw_id = None if error.is_answer else error.id
        data = msgspec.UNSET if error.data is None else error.data
        self.out.error(raw_id, error.code, error.message, data, null_id=self.era is not Era.MODERN)

    def wire_error(self, error: RemoteError | ProtocolError, revision: str | None) -> tuple[int, object]:
        """Return the code and the data that ``error`` has at ``revision``."""
        return wire_code(error, revision), error.data
