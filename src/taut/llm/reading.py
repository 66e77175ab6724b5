"""Answers of models as they come in: what every reader of a provider's wire format does, and what the readers share.

A reader is made for one attempt at one request. It gets either the events of a stream, one by one, or the whole body,
tells ``on_event`` on the way, and says at the end what the answer is. It knows no I/O, so it can be fed by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from taut.errors import InvalidModelAnswer
from taut.llm.failures import read_problem, told_failure
from taut.llm.messages import Message, ToolCall
from taut.llm.model import ModelResponse, OnEvent, TextDelta, ThinkingDelta, ToolCallDelta

if TYPE_CHECKING:
    from taut._core import SSEEvent

__all__ = [
    "OpenCall",
    "Reader",
    "Telling",
    "count_calls",
    "decode",
    "fresh_id",
    "raise_problem",
    "read_arguments",
]

T = TypeVar("T")

#: Characters of what could not be read that an error quotes.
EXCERPT = 200


class Reader(Protocol):
    """Reads the answer to one attempt."""

    @property
    def told(self) -> bool:
        """Whether anything was told to ``on_event``."""

    def event(self, event: SSEEvent) -> bool:
        """Take the next event of a stream; return whether it was the last.

        :raises taut.errors.ModelError: it tells of a failure, or is no event of this format.
        """

    def whole(self, body: bytes) -> None:
        """Take an answer that is no stream.

        :raises taut.errors.ModelError: as `event`.
        """

    def finish(self) -> ModelResponse:
        """Return the answer, now that nothing more comes.

        :raises taut.errors.ModelUnavailable: it was cut off.
        :raises taut.errors.InvalidModelAnswer: it is none.
        """


class Telling:
    """Tells of an answer as it grows, and remembers that it did."""

    __slots__ = ("_on_event", "told")

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self.told = False

    def text(self, more: str) -> None:
        """Tell more of the text."""
        self.told = True
        self._on_event(TextDelta(more))

    def thinking(self, more: str) -> None:
        """Tell more of the thinking."""
        self.told = True
        self._on_event(ThinkingDelta(more))

    def call(self, id: str, name: str, more: str) -> None:
        """Tell more of a tool call's arguments."""
        self.told = True
        self._on_event(ToolCallDelta(id, name, more))


class OpenCall:
    """A tool call whose arguments are still coming."""

    __slots__ = ("id", "name", "pieces", "value")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.pieces: list[str] = []
        #: Arguments that came as an object, not as text.
        self.value: Any = None

    def closed(self) -> ToolCall:
        """Return the call, now that it is complete."""
        if self.value is not None:
            return read_arguments(self.id, self.name, self.value)
        return read_arguments(self.id, self.name, "".join(self.pieces))


def read_arguments(id: str, name: str, arguments: Any) -> ToolCall:
    """Return a call with ``arguments`` as a model gave them: an object, or its JSON text; nothing is an empty object.

    Text that is no JSON object is kept in ``malformed``.
    """
    if isinstance(arguments, Mapping):
        return ToolCall(id, name, dict(arguments))
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    value: Any = text
    for _ in range(2):  # some encode it twice
        if not isinstance(value, str):
            break
        if not value.strip():
            return ToolCall(id, name, {})
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            break
    if value is None:
        return ToolCall(id, name, {})
    return ToolCall(id, name, value) if isinstance(value, dict) else ToolCall(id, name, {}, malformed=text)


def count_calls(messages: Sequence[Message]) -> int:
    """Return how many calls the messages ask for: ids made from it are new in a conversation."""
    return sum(isinstance(part, ToolCall) for message in messages for part in message.content)


def fresh_id(before: int, taken: Callable[[str], bool]) -> str:
    """Return an id for a call that came without one, which the same conversation makes again.

    ``before`` is the number of calls so far.
    """
    while True:
        before += 1
        if not taken(f"call_{before}"):
            return f"call_{before}"


def decode(who: str, data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return ``data`` decoded.

    :raises taut.errors.InvalidModelAnswer: it is not JSON of this shape.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        excerpt = data[:EXCERPT].decode("utf-8", "replace")
        raise InvalidModelAnswer(f"{who}: expected an answer in JSON, got {excerpt!r}: {error}") from None


def raise_problem(who: str, value: Any) -> None:
    """Raise the failure that ``value``, the error member of an event, tells of; nothing if there is none."""
    problem = read_problem({"error": value}) if isinstance(value, str) else read_problem(value)
    if problem is not None:
        raise told_failure(who, problem)
