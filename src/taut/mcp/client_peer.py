"""The client's side of a conversation: what the server is, what it may be asked, and what it may ask back.

In the legacy era the server may send requests (sampling, elicitation, roots, ping); those that the client did
not declare are answered -32601. In the modern era it may not, and the client answers nothing: a server's questions
come as results (multi-round-trip requests).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taut import models
from taut._core import Envelope, Outgoing
from taut.errors import InvalidParams, MethodNotFound, RemoteProtocolError, RequestCancelled
from taut.mcp.inbound import Caller, Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.negotiation import Agreement
from taut.mcp.outbound import Pending
from taut.mcp.peer import Peer

__all__ = ["ClientPeer", "ClientProfile"]

#: What an answer takes besides its id, roughly.
ANSWER_BYTES = 128


class ClientProfile(msgspec.Struct, frozen=True):
    """What a client says of itself."""

    implementation: models.Implementation
    capabilities: models.ClientCapabilities

    def initialize_params(self, revision: str) -> models.InitializeParams:
        """Return the params of ``initialize``."""
        return models.InitializeParams(
            protocol_version=revision, capabilities=self.capabilities, client_info=self.implementation
        )

    def meta_members(self, revision: str, log_level: str | None = None) -> bytes:
        """Return the encoded members that ``_meta`` of every modern request has, without the braces."""
        meta: dict[str, Any] = {
            "io.modelcontextprotocol/protocolVersion": revision,
            "io.modelcontextprotocol/clientInfo": self.implementation,
            "io.modelcontextprotocol/clientCapabilities": models.project(self.capabilities, revision),
        }
        if log_level is not None:
            meta["io.modelcontextprotocol/logLevel"] = log_level
        return msgspec.json.encode(meta)[1:-1]


class ClientPeer(Peer):
    """One conversation of a client with one server."""

    remote_side = "server"

    def __init__(self, out: Outgoing, profile: ClientProfile, *, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(out, limits=limits)
        self.profile = profile
        self.modern = False
        #: Frames from the server that were no messages, the last of them, and requests that it must not send.
        self.malformed = 0
        self.last_malformed: RemoteProtocolError | None = None
        self._caller: Caller | None = None
        self._owed_bytes = 0

    def speak(self, revision: str, *, log_level: str | None = None) -> None:
        """Use ``revision`` for what is sent from now on: while negotiating, and once agreed."""
        self.modern = revision in models.MODERN
        self._meta_members = self.profile.meta_members(revision, log_level) if self.modern else b""
        self.revision = revision if self.modern else None

    def agree(self, agreement: Agreement) -> None:
        """Adopt what was negotiated; in the legacy era, say ``notifications/initialized``."""
        info = agreement.discovered or agreement.initialized
        self.remote_capabilities = None if info is None else info.capabilities
        self._callable.clear()
        if self.modern != agreement.modern or self.revision != agreement.revision:
            self.speak(agreement.revision)
        self.revision = agreement.revision
        if not agreement.modern:
            self._caller = Caller(
                revision=agreement.revision,
                capabilities=models.ServerCapabilities() if info is None else info.capabilities,
                implementation=None if agreement.initialized is None else agreement.initialized.server_info,
            )
            self.notify("notifications/initialized")

    def _on_request(self, message: Envelope, answers: Outgoing) -> Request | None:
        if self.modern:
            self.malformed += 1
            self.last_malformed = RemoteProtocolError(
                f"A server must not send requests, got {message.method}"
            )
            return None
        if not self._takes_answers(message):
            return None
        caller = self._caller
        method: str = message.method  # type: ignore[assignment]  # a request always has one
        if caller is None:
            caller = Caller(revision=models.LATEST_LEGACY, capabilities=models.ServerCapabilities())
        spec = models.METHODS.get(method)
        if spec is None or spec.sender not in ("server", "both") or caller.revision not in spec.revisions:
            raise MethodNotFound(f"Method not found at revision {caller.revision}: {method}")
        if spec.capability is not None and not models.declares(self.profile.capabilities, spec.capability):
            raise MethodNotFound(
                f"{method} needs the client capability {spec.capability}, which was not declared"
            )
        if len(self._inbound):
            self._check_new(message)
        request = Request(self, message, caller, self._meta_of(message), answers, b"")
        if method == "ping":
            request.respond({})
            return None
        return request

    def _takes_answers(self, message: Envelope) -> bool:
        """Whether the server reads what it is sent. One that asks and does not read would fill our memory with answers:
        its requests are dropped once ``max_unsent_bytes`` of them wait behind as much that is unsent."""
        if len(self.out) <= self.limits.max_unsent_bytes:
            self._owed_bytes = 0
            return True
        self._owed_bytes += len(message.id or b"") + ANSWER_BYTES
        return self._owed_bytes <= self.limits.max_unsent_bytes

    def _on_cancelled(self, message: Envelope) -> None:
        """In the modern era a server cancels one thing only: a ``subscriptions/listen`` of ours."""
        if not self.modern:
            super()._on_cancelled(message)
            return
        params = models.decode_params("notifications/cancelled", message.params, models.LATEST)
        pending: Pending | None = self._outbound.get(params.request_id)
        if pending is not None and pending.method == "subscriptions/listen":
            self._outbound.pop(pending.id)
            reason = "" if params.reason is msgspec.UNSET else f": {params.reason}"
            pending.fail(RequestCancelled(f"The server ended the subscription{reason}"))

    def _meta_of(self, message: Envelope) -> models.RequestMeta | None:
        if message.meta is None:
            return None
        try:
            meta: models.RequestMeta = models.decode(models.RequestMeta, message.meta)
        except msgspec.DecodeError as error:
            raise InvalidParams(f"Invalid _meta: {error}") from error
        return meta

    def reject(self, error: RemoteProtocolError) -> None:
        """Note a frame that is no message; if it carries the id of a call of ours, that call ends with the error.

        Nothing is answered: what a server writes by mistake (a stray print) is not a request.
        """
        self.malformed += 1
        self.last_malformed = error
        self.on_malformed_answer(error)

    def _request_members(self, pending: Pending, meta: Mapping[str, Any] | None) -> bytes:
        if pending.method == "initialize":
            return b""
        return super()._request_members(pending, meta)
