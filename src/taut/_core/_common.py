"""What the compiled core and its pure twin share, so that they cannot drift apart: kinds, faults, wording.

Nothing here is on the hot path.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from taut.errors import InvalidMessage, LimitExceeded, ParseError, RemoteProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer
elif sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    Buffer = object  # only for annotations: earlier versions cannot ask for the buffer protocol

__all__ = [
    "EXCERPT_BYTES",
    "METHODS",
    "Buffer",
    "Fault",
    "Kind",
    "fault_error",
    "identified",
    "invalid_message",
]

#: How much of an offending text is worth copying for a message, and how much of that is shown.
EXCERPT_BYTES = 256
MAX_QUOTED = 64

#: Methods whose names the parser knows: for these it makes no new string.
METHODS = (
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/initialized",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks",
    "notifications/tasks/status",
    "notifications/tools/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
)


class Kind(IntEnum):
    """What a JSON-RPC message is."""

    REQUEST = 1
    NOTIFICATION = 2
    RESULT = 3
    ERROR = 4
    BATCH = 5


class Fault(IntEnum):
    """Why an input is refused as JSON. The compiled walker uses the same numbers (scan.pxd)."""

    EXPECTED_VALUE = 1
    EXPECTED_NAME_OR_END = 2
    EXPECTED_NAME = 3
    EXPECTED_COLON = 4
    EXPECTED_COMMA_OR_BRACE = 5
    EXPECTED_COMMA_OR_BRACKET = 6
    EXPECTED_END = 7
    EXPECTED_DIGIT = 8
    UNKNOWN_LITERAL = 9
    LEADING_ZERO = 10
    CONTROL_CHARACTER = 11
    UNKNOWN_ESCAPE = 12
    BAD_HEX = 13
    LONE_SURROGATE = 14
    BAD_UTF8 = 15
    UNCLOSED_STRING = 16
    UNCLOSED_CONTAINER = 17
    WRONG_BRACKET = 18
    BYTE_ORDER_MARK = 19
    DUPLICATE_KEY = 20
    TOO_DEEP = 21
    TOO_MANY_DIGITS = 22
    TOO_MANY_KEYS = 23


#: Faults that say what was expected; what was got is added.
EXPECTED = {
    Fault.EXPECTED_VALUE: "Expected a value",
    Fault.EXPECTED_NAME_OR_END: "Expected a member name or '}'",
    Fault.EXPECTED_NAME: "Expected a member name",
    Fault.EXPECTED_COLON: "Expected ':'",
    Fault.EXPECTED_COMMA_OR_BRACE: "Expected ',' or '}'",
    Fault.EXPECTED_COMMA_OR_BRACKET: "Expected ',' or ']'",
    Fault.EXPECTED_END: "Expected the end of the message",
    Fault.EXPECTED_DIGIT: "Expected a digit",
    Fault.CONTROL_CHARACTER: "Expected a control character to be escaped",
    Fault.WRONG_BRACKET: "Expected the bracket that closes what was opened",
}

#: Faults that say all themselves.
PLAIN = {
    Fault.UNKNOWN_LITERAL: "Expected true, false or null",
    Fault.LEADING_ZERO: "Number with a leading zero",
    Fault.UNKNOWN_ESCAPE: "Unknown escape in a string",
    Fault.BAD_HEX: "Expected four hexadecimal digits after \\u",
    Fault.LONE_SURROGATE: "Lone surrogate in a string",
    Fault.BAD_UTF8: "Invalid UTF-8 in a string",
    Fault.UNCLOSED_STRING: "String without an end",
    Fault.UNCLOSED_CONTAINER: "Object or array without an end",
    Fault.BYTE_ORDER_MARK: "Unexpected byte order mark",
}

#: Faults that are limits, by the name of the limit.
LIMITS = {
    Fault.TOO_DEEP: "max_depth",
    Fault.TOO_MANY_DIGITS: "max_digits",
    Fault.TOO_MANY_KEYS: "max_keys",
}


def fault_error(
    fault: int, offset: int, *, got: int | None = None, key: bytes = b"", maximum: int = 0
) -> RemoteProtocolError:
    """Return the exception for `fault`; `got` is the byte at `offset`, `key` the duplicate."""
    fault = Fault(fault)
    if fault in LIMITS:
        return LimitExceeded(LIMITS[fault], maximum, code=ParseError.code)
    if fault is Fault.DUPLICATE_KEY:
        return ParseError(f"Duplicate key {quote(key.decode())}", offset=offset)
    if fault in PLAIN:
        return ParseError(PLAIN[fault], offset=offset)
    return ParseError(f"{EXPECTED[fault]}, got {describe_byte(got)}", offset=offset)


def invalid_message(expected: str, got: bytes | None, *, id: bytes | None = None) -> InvalidMessage:
    """Return the exception for JSON that is no JSON-RPC; `got` is the JSON text of the offender."""
    shown = "nothing" if got is None else describe_value(got)
    error = InvalidMessage(f"Expected {expected}, got {shown}")
    error.id = id
    return error


def identified(error: LimitExceeded, problem: object, head: bytes) -> LimitExceeded:
    """Return `error`, which refuses a line that began with `head`, with the id of the message where `head` tells it.

    `problem` is what parsing `head` gave. Nearly every message has its id before its first object or array, which is
    the body of an answer or the params of a request.
    """
    error.id = getattr(problem, "id", None)
    before = b"".join(head.replace(b"[", b"{").split(b"{", 2)[1:2]).strip()
    error.is_answer = before.rstrip(b": \t\r\n").endswith((b'"result"', b'"error"'))
    return error


def describe_byte(byte: int | None) -> str:
    if byte is None:
        return "the end"
    return repr(chr(byte)) if 0x20 <= byte < 0x7F else f"0x{byte:02x}"


def describe_value(text: bytes) -> str:
    kinds = {ord("{"): "an object", ord("["): "an array"}
    return kinds.get(text[0]) or shorten(text.decode(errors="replace"))


def quote(name: str) -> str:
    return repr(shorten(name))


def shorten(text: str) -> str:
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "..."
