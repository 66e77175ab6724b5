"""What a provider's refusal means: the one table from statuses and error objects to exceptions.

Providers agree on HTTP statuses and on little else. An error object is looked for where any of them puts it;
its message is passed on, its names (``code``, ``type``) decide where the status alone does not: whether the
conversation is too long, and whether another attempt can help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from taut.errors import ContextTooLong, ModelError, ModelRefused, ModelUnavailable

__all__ = ["Problem", "failure", "read_problem", "retry_after_s", "told_failure"]

#: Characters of a provider's message that are passed on.
MAX_MESSAGE = 2000
#: Statuses, besides 5xx, after which the same request may succeed.
TEMPORARY = frozenset({408, 409, 425, 429})
#: Statuses that come with a conversation that is too long; 500 is said by some local servers.
LENGTH_STATUSES = frozenset({400, 413, 422, 500})
LENGTH_NAMES = frozenset({"context_length_exceeded", "exceed_context_size_error", "request_too_large"})
_LENGTH = re.compile(
    r"context (length|window|size|limit)|maximum context|prompt is too long|input is too long|too many tokens"
    r"|exceeds? the (available|maximum|model'?s?) .{0,40}(context|tokens)|input token count .{0,40}exceeds"
    r"|too large for model with \d+ maximum|reduce the length of the (messages|prompt)|context the overflows",
    re.IGNORECASE | re.DOTALL,
)
#: 429 that does not pass by itself: the money is used up.
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
#: The statuses that errors within a stream would have had.
_STATUS_OF = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 504,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
}
_HINTS = {
    401: ": is the API key right?",
    403: ": is the API key right, and does it allow this model?",
    404: ": are the model's name and the base URL right?",
}


class Problem(msgspec.Struct, frozen=True):
    """What an error object says. ``names`` are its code and its type; ``status`` the HTTP status, if it names one."""

    message: str
    names: frozenset[str] = frozenset()
    status: int | None = None


def read_problem(value: Any) -> Problem | None:
    """Return what ``value``, the JSON value of an answer or of an event, says of an error; None if nothing.

    Known are ``{"error": {"message", "type", "code"}}`` (OpenAI, Anthropic, llama.cpp), the same without the
    outer object (vLLM), ``{"error": "..."}`` (Ollama, LM Studio), and ``{"detail": ...}`` or ``{"message":
    "..."}`` of whatever stands in between.
    """
    if not isinstance(value, Mapping):
        return None
    found = value.get("error")
    if isinstance(found, str):
        return Problem(_shorten(found))
    if not isinstance(found, Mapping):
        found = value
    said = found.get("message") or found.get("detail") or found.get("msg")
    if not said:
        return None
    if not isinstance(said, str):
        said = msgspec.json.encode(said).decode()
    names = [found.get("code"), found.get("type")]
    status = next((name for name in names if isinstance(name, int) and 400 <= name < 600), None)
    return Problem(_shorten(said), frozenset(name for name in names if isinstance(name, str)), status)


def failure(
    who: str, status: int, problem: Problem | None, *, retry_after_s: float | None = None
) -> ModelError:
    """Return the exception for an answer of ``who`` with ``status``."""
    said = "" if problem is None else f": {problem.message}"
    return _failure(f"{who}: HTTP status {status}{said}", status, problem, retry_after_s)


def told_failure(who: str, problem: Problem) -> ModelError:
    """Return the exception for an error that came within a stream, whose own status said that all was well."""
    status = problem.status
    if status is None:
        status = next((_STATUS_OF[name] for name in problem.names if name in _STATUS_OF), None)
    if status is None:
        # What is not known to be the request's own fault may pass.
        refused = any("invalid" in name or "policy" in name for name in problem.names)
        status = 400 if refused else 500
    return _failure(f"{who}: {problem.message}", status, problem, None)


def _failure(message: str, status: int, problem: Problem | None, retry_after_s: float | None) -> ModelError:
    names = frozenset[str]() if problem is None else problem.names
    said = "" if problem is None else problem.message
    if status in LENGTH_STATUSES and (names & LENGTH_NAMES or _LENGTH.search(said)):
        return ContextTooLong(message, status=status)
    if (status in TEMPORARY and not names & SPENT) or status >= 500:
        return ModelUnavailable(message, status=status, retry_after_s=retry_after_s)
    return ModelRefused(message + _HINTS.get(status, ""), status=status)


def retry_after_s(headers: Mapping[bytes, bytes], now: float) -> float | None:
    """Return for how many seconds the server asks to be left alone; None if it does not say.

    ``retry-after-ms`` is finer than ``Retry-After``, which is a number of seconds or a date (RFC 9110, section 10.2.3);
    ``now`` is the time since the epoch.
    """
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        text = headers.get(name, b"").decode("latin-1").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
            return float(text) * unit_s
    if not text:
        return None
    # Imported here: it is slow to import, and dates are rare.
    from email.utils import parsedate_to_datetime

    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - now)


def _shorten(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "..."
