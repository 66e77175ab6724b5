"""What the three wire formats have in common: reading members of a body, histories, events, errors.

Bodies are held to what the real services demand where a client is likely to go wrong: a call without its result, a
result without its call, a tool whose name is no name. What is wrong with one is a `ModelRefused` with a status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from taut.errors import ModelRefused
from taut.llm.messages import Audio, Image, Message, Part, Text, ToolCall, ToolResult
from taut.llm.model import ModelRequest, ModelResponse, ToolSpec

__all__ = [
    "Asked",
    "History",
    "Wire",
    "bad",
    "check_call",
    "event",
    "extra_of",
    "image_from_url",
    "member",
    "members",
    "tool_spec",
]

T = TypeVar("T")

#: When every answer was made: tests compare bytes.
CREATED = 1_767_225_600
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
_KINDS = {str: "a string", list: "an array", dict: "an object", bool: "a boolean", int: "an integer"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer depends on besides what the model said."""

    number: int
    body: dict[str, Any]

    @property
    def model(self) -> str:
        """The model that was asked for, which answers."""
        return str(self.body["model"])

    @property
    def streams(self) -> bool:
        """Whether events are wanted."""
        return self.body.get("stream") is True


class Wire(Protocol):
    """A wire format: from a body to a request, and from a response to a body or to events."""

    def parse(self, body: dict[str, Any]) -> ModelRequest:
        """Return the request that a body is.

        :raises taut.errors.ModelRefused: it is none.
        """

    def answer(self, response: ModelResponse, asked: Asked) -> dict[str, Any]:
        """Return the body of an answer."""

    def events(self, response: ModelResponse, asked: Asked) -> list[bytes]:
        """Return an answer as server-sent events."""

    def error(self, status: int, message: str, code: str | None = None) -> dict[str, Any]:
        """Return the body of an error."""

    def error_event(self, status: int, message: str) -> bytes:
        """Return the event of an error in the middle of a stream."""


def event(data: Any, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (head, msgspec.json.encode(data))


def bad(message: str) -> ModelRefused:
    """Return the error for a request that is none."""
    return ModelRefused(message, status=HTTPStatus.BAD_REQUEST)


def members(value: Any, where: str) -> dict[str, Any]:
    """Return ``value``, which must be an object."""
    return _expect(value, dict, where)


def member(body: Mapping[str, Any], name: str, kind: type[T], where: str = "") -> T:
    """Return a member, which must be there."""
    path = f"{where}.{name}" if where else name
    if name not in body:
        raise bad(f"Missing required parameter: '{path}'")
    return _expect(body[name], kind, path)


def _expect(value: Any, kind: type[T], where: str) -> T:
    if not isinstance(value, kind):
        raise bad(f"Invalid type for '{where}': expected {_KINDS[kind]}, got {type(value).__name__}")
    return value


def extra_of(body: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the members that have no place in a request."""
    return {name: value for name, value in body.items() if name not in known}


def tool_spec(name: str, description: Any, schema: Any, where: str) -> ToolSpec:
    """Return a tool, whose name must be one and whose schema must be an object's."""
    if TOOL_NAME.fullmatch(name) is None:
        raise bad(f"Invalid '{where}.name': expected 1-64 letters, digits, '_' and '-', got {name!r}")
    parameters = members(
        {"type": "object", "properties": {}} if schema is None else schema, f"{where}.parameters"
    )
    if parameters.get("type") != "object":
        raise bad(
            f"Invalid schema for function {name!r}: expected type 'object', got {parameters.get('type')!r}"
        )
    return ToolSpec(name, description or "", parameters)


def image_from_url(url: Any, where: str) -> Image:
    """Return the image of a data URL. Nothing is fetched."""
    found = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise bad(f"Invalid '{where}': expected a data URL with base64, as this server fetches nothing")
    return Image(found[2], found[1])


def check_call(arguments: Any, id: str, name: str) -> ToolCall:
    """Return the call with these arguments, which are JSON text."""
    try:
        value = msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        value = None
    if isinstance(value, dict):
        return ToolCall(id, name, value)
    return ToolCall(id, name, {}, malformed=str(arguments))


class History:
    """The messages of a body, in their order; every call must have its result, and every result its call."""

    def __init__(self) -> None:
        self._said: list[tuple[Literal["user", "assistant", "tool"], list[Part]]] = []
        self._open: dict[str, str] = {}

    def user(self, parts: Iterable[Part]) -> None:
        """Add a message of the user."""
        self._check_answered()
        self._said.append(("user", list(parts)))

    def assistant(self, parts: Sequence[Part], *, join: bool = False) -> None:
        """Add a message of the model; with ``join`` parts of it that may go on with the one before."""
        last = self._said[-1] if self._said else None
        if join and last is not None and last[0] == "assistant":
            last[1].extend(parts)
        else:
            self._check_answered()
            self._said.append(("assistant", list(parts)))
        self._open |= {part.id: part.name for part in parts if isinstance(part, ToolCall)}

    def result(
        self, call_id: str, content: str | tuple[Text | Image | Audio, ...], *, is_error: bool = False
    ) -> None:
        """Add the result of a call."""
        name = self._open.pop(call_id, None)
        if name is None:
            raise bad(f"Expected the result of a call in the message before, got one for {call_id!r}")
        result = ToolResult(call_id, name, content, is_error)
        if self._said[-1][0] == "tool":
            self._said[-1][1].append(result)
        else:
            self._said.append(("tool", [result]))

    def messages(self) -> tuple[Message, ...]:
        """Return all messages."""
        self._check_answered()
        if not self._said:
            raise bad("Expected at least one message")
        return tuple(Message(role, tuple(parts)) for role, parts in self._said)

    def _check_answered(self) -> None:
        if self._open:
            ids = ", ".join(self._open)
            raise bad(f"Expected the results of all calls right after them; no result was found for {ids}")
