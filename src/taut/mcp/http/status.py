"""What an HTTP status means to a client that expected a message: the one table from statuses to exceptions.

A JSON-RPC error in the body says more than the status and wins, with three exceptions: 401 and 403 are about the
client and not about its request, and 404 (400 with many servers) in a legacy session says that the session is gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from taut.errors import AccessDenied, AuthorizationRequired, HttpError, RemoteError, SessionExpired, TautError
from taut.mcp.http.challenge import read_challenges

__all__ = ["is_events", "is_json", "status_error"]

#: Characters of a body that a message quotes.
EXCERPT = 200
MAX_RETRY_AFTER_S = 86_400


def is_json(content_type: bytes | None) -> bool:
    """Whether a body is JSON."""
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == b"application/json"


def is_events(content_type: bytes | None) -> bool:
    """Whether a body is a stream of events."""
    return (
        content_type is not None and content_type.partition(b";")[0].strip().lower() == b"text/event-stream"
    )


def status_error(
    status: int,
    headers: Mapping[bytes, bytes],
    what: str,
    *,
    body: bytes = b"",
    error: TautError | None = None,
    in_session: bool = False,
) -> TautError:
    """Return the exception for the answer to ``what`` (a method), which was no result.

    ``error`` is the JSON-RPC error of its body, if there is one; ``in_session`` tells that the request named a session.
    """
    said = str(error) if error is not None else _excerpt(headers, body)
    if status in (401, 403):
        kind = AuthorizationRequired if status == 401 else AccessDenied
        challenges = read_challenges(headers.get(b"www-authenticate"))
        return kind(
            f"{what} was answered with HTTP status {status}{said and f': {said}'}", status, challenges
        )
    if in_session and (status == 404 or (status == 400 and _is_about_session(error))):
        return SessionExpired(f"The session is gone: {what} was answered with HTTP status {status}", status)
    if error is not None:
        if isinstance(error, RemoteError):
            error.status = status
        return error
    if 200 <= status < 300:
        got = headers.get(b"content-type", b"no message").decode("latin-1")[:100]
        return HttpError(
            f"Expected JSON or events in answer to {what}, got {got} (HTTP status {status})", status
        )
    return HttpError(
        f"{what} was answered with HTTP status {status}{said and f': {said}'}",
        status,
        retry_after_s=_retry_after_s(headers.get(b"retry-after")),
    )


def _is_about_session(error: TautError | None) -> bool:
    """Servers that have forgotten a session should say 404; many say 400, and that it is about the session."""
    return (
        isinstance(error, RemoteError)
        and error.code in (-32000, -32001, -32600)
        and ("session" in error.message.lower() or "not initialized" in error.message.lower())
    )


def _excerpt(headers: Mapping[bytes, bytes], body: bytes) -> str:
    if not headers.get(b"content-type", b"").startswith((b"text/plain", b"application/json")):
        return ""
    text = " ".join(body[: 4 * EXCERPT].decode("utf-8", "replace").split())
    return "".join(character for character in text if character.isprintable())[:EXCERPT]


def _retry_after_s(raw: bytes | None) -> float | None:
    """Seconds to wait as the server says (RFC 9110, section 10.2.3); dates are not read."""
    return min(int(raw), MAX_RETRY_AFTER_S) if raw is not None and len(raw) < 10 and raw.isdigit() else None
