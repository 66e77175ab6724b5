"""Every exception that taut raises, and the one table between exceptions and wire codes.

    TautError
     ├─ ProtocolError               a message or a state that the protocol forbids; knows its wire code
     │   ├─ LocalProtocolError      you asked for something the protocol forbids in this state
     │   └─ RemoteProtocolError     the peer sent something that it forbids
     │       ├─ ParseError          not JSON (-32700)
     │       ├─ InvalidMessage      JSON, but not a JSON-RPC message (-32600)
     │       └─ LimitExceeded       a configured limit was passed; names the limit
     ├─ RemoteError                 a JSON-RPC error response, received or to be sent; a class per known code
     │   ├─ InvalidRequest -32600   ├─ MethodNotFound -32601   ├─ InvalidParams -32602   ├─ InternalError -32603
     │   ├─ ResourceNotFound        ├─ UrlElicitationRequired -32042
     │   └─ HeaderMismatch -32020   ├─ MissingRequiredClientCapability -32021   └─ UnsupportedProtocolVersion -32022
     ├─ TransportError              the bytes could not travel; knows whether the request may have arrived
     │   ├─ ConnectionClosed        the peer is gone; every pending call ends with this
     │   │   └─ AnswerTruncated     it went away in the middle of an HTTP answer
     │   ├─ ConnectError            no connection could be made: refused, unreachable
     │   │   ├─ HostNotFound        the name has no address
     │   │   ├─ TlsError            no TLS with this peer; a certificate that is not trusted
     │   │   ├─ ProxyError          the proxy on the way refused, or is none
     │   │   └─ ConnectTimeout      no peer, or no answer to the first request, in time
     │   ├─ PoolFull                too many requests wait for a connection
     │   ├─ AnswerTimeout           the peer of an HTTP request was silent for too long
     │   ├─ InvalidAnswer           what came is no HTTP answer
     │   │   └─ AnswerHeadTooLarge  its headers pass a limit
     │   ├─ RedirectRefused         the answer sends us elsewhere, where we do not go by ourselves
     │   └─ HttpError               an HTTP status in place of a message
     │       ├─ AuthorizationRequired   401: it wants to know who asks
     │       │   └─ AccessDenied    403: not from here, or not with these rights
     │       └─ SessionExpired       404: the server has forgotten the session
     ├─ RequestTimeout              no answer in time; the peer was told to stop
     ├─ RequestCancelled            the request was cancelled, by us or by the peer
     ├─ InputRequired               a multi-round-trip request that the client could not satisfy
     ├─ ToolError                   raised by a tool: becomes an ``isError`` result, never a dead connection
     ├─ ModelError                  a model, or the way to it, failed
     │   ├─ ModelUnavailable        not now: 429, 5xx, no connection, silence; trying again may help
     │   ├─ ModelRefused            not like this: a bad key, an unknown model, a request that it does not take
     │   │   └─ ContextTooLong      the conversation does not fit the model
     │   └─ InvalidModelAnswer      what came is no answer of a model
     ├─ AgentError                  a run of an agent ended without its output
     │   ├─ BudgetExceeded          tokens, money, time or calls are used up; has the partial result
     │   ├─ OutputInvalid           the output does not fit its type, after all repairs
     │   ├─ AgentStateError         not in this state of the agent's life
     │   └─ RunSuspended            the run waits for a decision; its state can be resumed
     └─ ConfigError                 a setting, a registration or a command line that cannot work

A handler answers with a JSON-RPC error by raising the `RemoteError` subclass that a caller then catches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "CODES",
    "AccessDenied",
    "AgentError",
    "AgentStateError",
    "AnswerHeadTooLarge",
    "AnswerTimeout",
    "AnswerTruncated",
    "AuthorizationRequired",
    "BudgetExceeded",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "ContextTooLong",
    "HeaderMismatch",
    "HostNotFound",
    "HttpError",
    "InputRequired",
    "InternalError",
    "InvalidAnswer",
    "InvalidMessage",
    "InvalidModelAnswer",
    "InvalidParams",
    "InvalidRequest",
    "LimitExceeded",
    "LocalProtocolError",
    "MethodNotFound",
    "MissingRequiredClientCapability",
    "ModelError",
    "ModelRefused",
    "ModelUnavailable",
    "OutputInvalid",
    "ParseError",
    "PoolFull",
    "ProtocolError",
    "ProxyError",
    "RedirectRefused",
    "RemoteError",
    "RemoteProtocolError",
    "RequestCancelled",
    "RequestTimeout",
    "ResourceNotFound",
    "RunSuspended",
    "SessionExpired",
    "TautError",
    "TlsError",
    "ToolError",
    "TransportError",
    "UnsupportedProtocolVersion",
    "UrlElicitationRequired",
    "from_wire",
]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
LEGACY_RESOURCE_NOT_FOUND = -32002
URL_ELICITATION_REQUIRED = -32042
HEADER_MISMATCH = -32020
MISSING_REQUIRED_CLIENT_CAPABILITY = -32021
UNSUPPORTED_PROTOCOL_VERSION = -32022


class TautError(Exception):
    """Root of every exception that taut raises on purpose.

    Where one ends a run of an agent, ``result`` is the `taut.agent.RunResult` so far; ``result.state`` can be resumed.
    """

    result: Any = None


class ProtocolError(TautError):
    """A message or a state that the protocol forbids.

    ``code`` and ``data`` are what goes on the wire when the peer is told.
    """

    code: int = INVALID_REQUEST

    def __init__(self, message: str, *, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class LocalProtocolError(ProtocolError):
    """You asked for something that the protocol forbids in this state or at this revision."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol forbids.

    ``id`` is the JSON text of the message's id, when one can be read: the answer needs it. ``is_answer`` tells that
    the message is itself an answer, though a malformed one: its id is one of ours then, not of the peer's.
    """

    id: bytes | None = None
    is_answer: bool = False


class ParseError(RemoteProtocolError):
    """The message is not JSON (RFC 8259). ``offset`` counts bytes from the start of the message."""

    code = PARSE_ERROR

    def __init__(self, message: str, *, offset: int | None = None, data: Any = None) -> None:
        super().__init__(message if offset is None else f"{message} at byte {offset}", data=data)
        self.offset = offset


class InvalidMessage(RemoteProtocolError):
    """The message is JSON, but no JSON-RPC 2.0 message as MCP narrows it."""

    code = INVALID_REQUEST


class LimitExceeded(RemoteProtocolError):
    """A configured limit was passed. ``limit`` is the field of `Limits` that names it."""

    def __init__(
        self,
        limit: str,
        maximum: int | float,
        *,
        actual: int | float | None = None,
        code: int = INVALID_REQUEST,
    ) -> None:
        got = "" if actual is None else f", got {actual}"
        super().__init__(
            f"Limit exceeded: {limit} is {maximum}{got}", data={"limit": limit, "maximum": maximum}
        )
        self.code = code
        self.limit = limit
        self.maximum = maximum
        self.actual = actual


class RemoteError(TautError):
    """A JSON-RPC error response. Raise one in a handler to answer with it; catch one from a call.

    ``code``, ``message`` and ``data`` are the members of the error object (JSON-RPC 2.0, section 5.1). ``status`` is
    the HTTP status that it was received with, where that was one of refusal.
    """

    default_code: ClassVar[int] = INTERNAL_ERROR
    status: int | None = None

    def __init__(self, message: str, *, code: int | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class InvalidRequest(RemoteError):
    """The request is malformed, or not allowed in this state (-32600)."""

    default_code = INVALID_REQUEST


class MethodNotFound(RemoteError):
    """The peer does not offer this method, or did not declare the capability that it needs (-32601)."""

    default_code = METHOD_NOT_FOUND


class InvalidParams(RemoteError):
    """The params do not fit the method; also an unknown tool, prompt or cursor (-32602)."""

    default_code = INVALID_PARAMS


class InternalError(RemoteError):
    """The peer failed while it handled the request (-32603)."""

    default_code = INTERNAL_ERROR


class ResourceNotFound(RemoteError):
    """No resource has this URI: -32602 since 2026-07-28, -32002 before; ``data.uri`` names it."""

    default_code = INVALID_PARAMS

    @classmethod
    def of(cls, uri: str) -> ResourceNotFound:
        """Return the error for ``uri``, with the message and data that the specification shows."""
        return cls(f"Resource not found: {uri}", data={"uri": uri})


class UrlElicitationRequired(RemoteError):
    """The request needs URL elicitations first; ``data.elicitations`` lists them (2025-11-25, -32042)."""

    default_code = URL_ELICITATION_REQUIRED


class HeaderMismatch(RemoteError):
    """An HTTP routing header is missing, malformed or disagrees with the body (2026-07-28, -32020)."""

    default_code = HEADER_MISMATCH


class MissingRequiredClientCapability(RemoteError):
    """The request needs a capability that the client did not declare (2026-07-28, -32021)."""

    default_code = MISSING_REQUIRED_CLIENT_CAPABILITY


class UnsupportedProtocolVersion(RemoteError):
    """The revision is not served; ``data`` holds ``supported`` and ``requested`` (2026-07-28, -32022)."""

    default_code = UNSUPPORTED_PROTOCOL_VERSION

    @classmethod
    def of(cls, requested: str, supported: tuple[str, ...]) -> UnsupportedProtocolVersion:
        """Return the error that refuses ``requested`` and lists what is ``supported``."""
        data = {"supported": list(supported), "requested": requested}
        return cls(
            f"Unsupported protocol version: expected one of {', '.join(supported)}, got {requested}",
            data=data,
        )


class TransportError(TautError):
    """The bytes could not travel.

    ``sent`` tells whether the request can have reached the peer. If not, sending it again does nothing twice.
    """

    sent: bool = True

    def __init__(self, message: str, *, sent: bool | None = None) -> None:
        super().__init__(message)
        if sent is not None:
            self.sent = sent


class ConnectionClosed(TransportError):
    """The connection ended. ``clean`` tells whether it was closed on purpose by either side."""

    def __init__(
        self, message: str = "connection closed", *, clean: bool = False, sent: bool | None = None
    ) -> None:
        super().__init__(message, sent=sent)
        self.clean = clean


class AnswerTruncated(ConnectionClosed):
    """The connection ended in the middle of an HTTP answer: the request was worked on."""


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""

    sent = False


class HostNotFound(ConnectError):
    """The host's name has no address."""


class TlsError(ConnectError):
    """The peer does not speak TLS as we do, or shows a certificate that is not trusted."""


class ProxyError(ConnectError):
    """The proxy on the way to the peer refused, or is no proxy."""


class ConnectTimeout(ConnectError):
    """No peer, or no answer to the first request, in time."""


class PoolFull(TransportError):
    """Too many requests wait for a connection; this one was not queued."""

    sent = False


class AnswerTimeout(TransportError):
    """The peer of an HTTP request was silent for too long; the connection was closed."""


class InvalidAnswer(TransportError):
    """What came is no answer to an HTTP request (RFC 9112)."""


class AnswerHeadTooLarge(InvalidAnswer):
    """The headers of an answer are more, or longer, than this client takes."""


class RedirectRefused(TransportError):
    """The answer sends us elsewhere (3xx), where we do not go by ourselves."""


class HttpError(TransportError):
    """The server answered with an HTTP status in place of a message. With one from 400 to 499 it says that it has not
    done what was asked.

    ``retry_after_s`` is how long it asks to be left alone (``Retry-After``), if it says so.
    """

    def __init__(self, message: str, status: int, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, sent=not 400 <= status < 500)
        self.status = status
        self.retry_after_s = retry_after_s


class AuthorizationRequired(HttpError):
    """The server wants to know who asks (401).

    ``challenges`` are those of its ``WWW-Authenticate`` header: schemes in lower case, each with its parameters.
    """

    def __init__(
        self, message: str, status: int, challenges: Sequence[tuple[str, Mapping[str, str]]] = ()
    ) -> None:
        super().__init__(message, status)
        self.challenges = challenges


class AccessDenied(AuthorizationRequired):
    """The server does not allow it: not from here, or not with these rights (403)."""


class SessionExpired(HttpError):
    """The server has forgotten the session, so it has not looked at the request (404)."""


class RequestTimeout(TautError):
    """No answer in time. The peer was told to stop (``notifications/cancelled``)."""

    def __init__(self, method: str, timeout_s: float) -> None:
        super().__init__(f"No answer to {method} within {timeout_s:g} s; the request was cancelled")
        self.method = method
        self.timeout_s = timeout_s


class RequestCancelled(TautError):
    """The request was cancelled before it was answered."""


class InputRequired(TautError):
    """The server asked for input (``resultType: input_required``) that this client cannot give."""


class ToolError(TautError):
    """Raise in a tool to give the model an ``isError`` result with this text.

    It is the one exception whose message a tool's caller sees; any other is reported without its details.
    """


class ModelError(TautError):
    """A model, or the way to it, failed.

    ``retry_after_s`` is how long it asks to be left alone, if it says so; ``status`` the HTTP status, if there was one.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ModelUnavailable(ModelError):
    """The model cannot answer now: too many requests, a server in trouble, a connection that broke, silence.

    The same request may succeed later; model clients have tried again before they raise this.
    """


class ModelRefused(ModelError):
    """The model does not take this request: a bad key, an unknown model, invalid parameters. Repeating it is no use."""


class ContextTooLong(ModelRefused):
    """The conversation, with instructions and tools, does not fit the model's context."""


class InvalidModelAnswer(ModelError):
    """What came is no answer of a model: malformed JSON, events in a wrong order, a missing member."""


class AgentError(TautError):
    """A run of an agent ended without its output; ``result`` is None where it had not begun."""


class BudgetExceeded(AgentError):
    """A budget is used up. ``limit`` is the field of `taut.agent.Budget`, ``maximum`` its value, ``spent`` what was
    used.

    The run can go on from ``result.state`` with a larger budget.
    """

    def __init__(self, limit: str, maximum: float, spent: float, *, who: str = "") -> None:
        super().__init__(
            f"Budget exceeded{f' by {who}' if who else ''}: {limit} is {maximum:g}, got {spent:g}"
        )
        self.limit = limit
        self.maximum = maximum
        self.spent = spent
        #: Whose budget it is: a run below may fail alone, where the one above has means left.
        self.owner: object = None


class OutputInvalid(AgentError):
    """The model's output does not fit the output type, and the repairs that are allowed have not helped."""


class AgentStateError(AgentError):
    """The agent cannot do this in the state of its life that it is in."""


class RunSuspended(AgentError):
    """The run waits for something from outside, an approval mostly, and cannot go on without it.

    Raised through the code of a run, to end it; `taut.agent.Agent.run` returns a result with status ``suspended``.
    """


class ConfigError(TautError):
    """A setting, a registration or a command line that cannot work; says which and why."""


#: JSON-RPC error code -> the class that `from_wire` raises for it.
CODES: dict[int, type[RemoteError]] = {
    INVALID_REQUEST: InvalidRequest,
    METHOD_NOT_FOUND: MethodNotFound,
    INVALID_PARAMS: InvalidParams,
    INTERNAL_ERROR: InternalError,
    LEGACY_RESOURCE_NOT_FOUND: ResourceNotFound,
    URL_ELICITATION_REQUIRED: UrlElicitationRequired,
    HEADER_MISMATCH: HeaderMismatch,
    MISSING_REQUIRED_CLIENT_CAPABILITY: MissingRequiredClientCapability,
    UNSUPPORTED_PROTOCOL_VERSION: UnsupportedProtocolVersion,
}


def from_wire(code: int, message: str, data: Any = None) -> RemoteError:
    """Return the exception for a received error object; an unknown code gives a plain `RemoteError`."""
    return CODES.get(code, RemoteError)(message, code=code, data=data)
