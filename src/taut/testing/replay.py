"""Conversations with a real model, recorded once and replayed without it.

`RecordingModel` stands before a model and writes down what it is asked and what it answers; `ReplayModel` answers
from that file. A request is known by what it asks with: instructions, messages, tools, the choice among them, and the
output's schema; settings do not count. What is different in every run, a time of day in the instructions, say, must
be taken out by ``normalize`` when recording as when replaying.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from taut.errors import ConfigError, ModelRefused
from taut.llm.model import Model, ModelRequest, ModelResponse, OnEvent, ignore
from taut.testing.answers import tell
from taut.testing.recording import Asked, Exchange, Recording, Writer, asked

__all__ = ["RecordingModel", "ReplayModel"]

#: Changes what is recorded of a request, or compared: secrets, times, random names.
Normalize = Callable[[ModelRequest], ModelRequest]
#: Characters around the place where two texts differ that an error shows.
SHOWN = 40


class RecordingModel:
    """Asks ``model``, and writes what it was asked and what it answered to the file ``path``.

    The file is replaced by the first answer, unless ``append``. Settings are never written; ``normalize`` can take out
    more. A failure is not recorded: it is the model's, or the day's.
    """

    def __init__(
        self,
        model: Model,
        path: str | os.PathLike[str],
        *,
        append: bool = False,
        normalize: Normalize | None = None,
    ) -> None:
        self._model = model
        self._writer = Writer(path, append=append)
        self._normalize = normalize

    @property
    def name(self) -> str:
        """The name of the model that is asked."""
        return self._model.name

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """Return the model's answer. See `taut.llm.model.Model`.

        :raises taut.errors.ConfigError: the file cannot be written.
        """
        # The history may have grown when the answer is there.
        said = msgspec.structs.replace(request, messages=tuple(request.messages))
        response = await self._model.respond(request, on_event)
        self._writer.write(said if self._normalize is None else self._normalize(said), response)
        return response

    async def close(self) -> None:
        """Close the model that is asked."""
        await self._model.close()


class ReplayModel:
    """Answers from the recording ``path``.

    The same question, asked more than once, gets its recorded answers in their order. A question that was not recorded,
    or asked once more than it was, is refused, with the nearest one and how they differ; without ``strict`` it gets the
    answer to the nearest one that was not given yet.

    :raises taut.errors.ConfigError: there is no recording there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        strict: bool = True,
        normalize: Normalize | None = None,
        name: str = "replay",
    ) -> None:
        self._recording = Recording.read(path)
        if not self._recording.exchanges:
            raise ConfigError(
                f"Expected a recording with an exchange at least, got none in {os.fspath(path)}"
            )
        self._where = os.fspath(path)
        self._strict = strict
        self._normalize = normalize
        self._name = name
        self._given: Counter[str] = Counter()
        self._by_digest: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in self._recording.exchanges:
            self._by_digest[exchange.asked.digest].append(exchange)

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def left(self) -> int:
        """How many recorded answers were not given yet."""
        return len(self._recording.exchanges) - self._given.total()

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """Return the recorded answer. See `taut.llm.model.Model`.

        :raises taut.errors.ModelRefused: it was not recorded.
        """
        if self._normalize is not None:
            request = self._normalize(request)
        question = asked(request)
        exchange = self._next(question.digest)
        if exchange is None:
            exchange = self._nearest(question, unused=not self._strict)
            if self._strict or exchange is None:
                raise self._unknown(question, request, exchange)
        self._given[exchange.asked.digest] += 1
        tell(exchange.response, on_event)
        return exchange.response

    async def close(self) -> None:
        """Nothing is open."""

    def _next(self, digest: str) -> Exchange | None:
        recorded = self._by_digest.get(digest, [])
        index = self._given[digest]
        return recorded[index] if index < len(recorded) else None

    def _nearest(self, question: Asked, *, unused: bool) -> Exchange | None:
        """Return the exchange that has most in common with ``question``."""
        found = [
            exchange
            for recorded in self._by_digest.values()
            for exchange in (recorded[self._given[recorded[0].asked.digest] :] if unused else recorded)
        ]
        return max(found, key=lambda exchange: _likeness(exchange.asked, question), default=None)

    def _unknown(self, question: Asked, request: ModelRequest, nearest: Exchange | None) -> ModelRefused:
        count = self._given[question.digest]
        if count:
            return ModelRefused(
                f"Expected this request {count} times at most, as recorded in {self._where}, got it once more"
            )
        if nearest is None:
            return ModelRefused(f"All answers of {self._where} were given, got another request")
        difference = self._difference(nearest.asked, question, request)
        return ModelRefused(
            f"The request was not recorded in {self._where}. The nearest one differs in {difference}. "
            "Record it again if the change is meant"
        )

    def _difference(self, recorded: Asked, question: Asked, request: ModelRequest) -> str:
        """Return where ``question`` first differs from what was recorded."""
        if recorded.instructions != question.instructions:
            return _first_difference(recorded.instructions, question.instructions, "instructions")
        for name in ("tool_choice", "output_schema"):
            old, new = getattr(recorded, name), getattr(question, name)
            if old != new:
                return _first_difference(old, new, name)
        if recorded.tools != question.tools:
            old = msgspec.to_builtins(self._recording.tools.get(recorded.tools, ()))
            return _first_difference(list(old), list(msgspec.to_builtins(tuple(request.tools))), "tools")
        for index, (was, now) in enumerate(zip(recorded.messages, question.messages, strict=False)):
            if was != now:
                old = msgspec.to_builtins(self._recording.messages[was])
                return _first_difference(
                    old, msgspec.to_builtins(request.messages[index]), f"messages[{index}]"
                )
        return (
            f"the number of messages: expected {len(recorded.messages)}, got {len(question.messages)}, "
            f"{min(len(recorded.messages), len(question.messages))} of them the same"
        )


def _likeness(left: Asked, right: Asked) -> tuple[int, int, int]:
    """Compares by messages that are the same from the beginning on, then by what else is, then by length."""
    same = 0
    for one, other in zip(left.messages, right.messages, strict=False):
        if one != other:
            break
        same += 1
    names = ("instructions", "tools", "tool_choice", "output_schema")
    others = sum(getattr(left, name) == getattr(right, name) for name in names)
    return same, others, -abs(len(left.messages) - len(right.messages))


def _first_difference(old: Any, new: Any, path: str) -> str:
    """Return the path of the first difference between two JSON values, and both sides of it."""
    match old, new:
        case dict(), dict():
            for key in (*old, *(key for key in new if key not in old)):
                if key not in old or key not in new:
                    return f"{path}: {key!r} is {'new' if key not in old else 'gone'}"
                if old[key] != new[key]:
                    return _first_difference(old[key], new[key], f"{path}.{key}")
        case list() | tuple(), list() | tuple():
            for index, (one, other) in enumerate(zip(old, new, strict=False)):
                if one != other:
                    return _first_difference(one, other, f"{path}[{index}]")
            return f"the length of {path}: expected {len(old)}, got {len(new)}"
        case str(), str():
            at = next(
                (index for index, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]),
                min(len(old), len(new)),
            )
            start = max(0, at - SHOWN)
            return f"{path}, character {at}: expected {old[start : at + SHOWN]!r}, got {new[start : at + SHOWN]!r}"
    return f"{path}: expected {_shown(old)}, got {_shown(new)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 2 * SHOWN else f"{text[: 2 * SHOWN - 3]}..."
