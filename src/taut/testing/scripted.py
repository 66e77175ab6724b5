"""Models that say what a script says: `ScriptedModel` one script, `KeyedModel` a script for each agent of a tree."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, cast

from taut.errors import ConfigError, ModelRefused
from taut.llm.messages import ToolCall, Usage
from taut.llm.model import Model, ModelRequest, ModelResponse, OnEvent, ignore
from taut.testing.answering import AnsweringModel, Delay
from taut.testing.answers import Answer, check_answer

__all__ = ["Item", "KeyedModel", "Script", "ScriptedModel"]

#: What a script may hold: an answer, an exception to fail with, or a function of the request that gives either.
Item: TypeAlias = (
    "Answer | Exception | Callable[[ModelRequest], Answer | Exception | Awaitable[Answer | Exception]]"
)
#: A script of `KeyedModel`: items, one item, or a model of its own.
Script: TypeAlias = "Sequence[Item] | Item | Model"
#: Tells whether a script is for this request: the instructions contain the text, or the function says so.
Key: TypeAlias = "str | Callable[[ModelRequest], bool]"


class ScriptedModel(AnsweringModel):
    """Answers each request with the next item of ``script``, in the order in which requests come.

    An item is text, a call (`taut.testing.call`) or a list of calls and text, a message, a whole response, an exception
    to raise, or a function, async or not, that is called with the request and returns one of these. With ``cycle`` the
    script begins again at its end; ``keep`` then bounds the memory. For the other settings see
    `taut.testing.answering.AnsweringModel`.

    :raises taut.errors.ConfigError: an item is none of these.
    """

    def __init__(
        self,
        *script: Item,
        name: str = "scripted",
        usage: Usage | None = None,
        delay: Delay | None = None,
        cycle: bool = False,
        keep: int | None = None,
        snapshot: bool = False,
        call_prefix: str = "call",
    ) -> None:
        super().__init__(
            name=name, usage=usage, delay=delay, keep=keep, snapshot=snapshot, call_prefix=call_prefix
        )
        for index, item in enumerate(script):
            _check_item(item, f"item {index} of the script of {name!r}")
        if cycle and not script:
            raise ConfigError(f"Expected a script to repeat for {name!r}, got an empty one")
        self._script = script
        self._cycle = cycle

    @property
    def left(self) -> int:
        """How many items were not asked for yet; of a script that is repeated, until it begins again."""
        if self._cycle:
            return len(self._script) - self.asked % len(self._script)
        return max(0, len(self._script) - self.asked)

    def find(self, request: ModelRequest, on_event: OnEvent) -> Answer | Awaitable[Answer]:
        """Return the next item.

        :raises taut.errors.ModelRefused: there is none left.
        """
        index = self.asked - 1
        if self._cycle:
            index %= len(self._script)
        elif index >= len(self._script):
            raise ModelRefused(
                f"The script of {self.name!r} is over: expected at most {len(self._script)} requests, "
                f"got request {self.asked}; the last message was {_shown(request)}"
            )
        item = self._script[index]
        # A function reads the request now: later, the history may have grown.
        found = item(request) if callable(item) else item
        if self._delay is None and not inspect.isawaitable(found):
            return _answer(found)
        return self._await(request, found)

    async def _await(
        self, request: ModelRequest, found: Answer | Exception | Awaitable[Answer | Exception]
    ) -> Answer:
        if inspect.isawaitable(found):
            found = await found
        await self.wait(request)
        return _answer(found)


class KeyedModel:
    """One model for a whole tree of agents: the request's instructions say whose script goes on.

    ``scripts`` maps a text that the instructions contain, or a function of the request, to a script (a list of items as
    of `ScriptedModel`, or one item) or to a model. The first key that fits counts. Each script goes its own way, so
    that agents which run side by side get their answers whatever the order in which they ask. Ids of calls are
    ``call_1_1``: the number of the script, then of the call.

    ``usage``, ``delay``, ``cycle``, ``keep`` and ``snapshot`` are those of each `ScriptedModel`.
    """

    def __init__(
        self,
        scripts: Mapping[Key, Script],
        *,
        name: str = "keyed",
        usage: Usage | None = None,
        delay: Delay | None = None,
        cycle: bool = False,
        keep: int | None = None,
        snapshot: bool = False,
    ) -> None:
        self._name = name
        #: The model behind each key.
        self.models: dict[Key, Model] = {}
        for number, (key, script) in enumerate(scripts.items(), 1):
            if isinstance(script, Model):
                self.models[key] = script
                continue
            self.models[key] = ScriptedModel(
                *_items(script),
                name=f"{name}[{_key_name(key)}]",
                usage=usage,
                delay=delay,
                cycle=cycle,
                keep=keep,
                snapshot=snapshot,
                call_prefix=f"call_{number}",
            )

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    def model_for(self, request: ModelRequest) -> Model:
        """Return the model of the first key that fits the request.

        :raises taut.errors.ModelRefused: none fits.
        """
        for key, model in self.models.items():
            if key in request.instructions if isinstance(key, str) else key(request):
                return model
        keys = ", ".join(map(_key_name, self.models))
        raise ModelRefused(
            f"Expected a request whose instructions fit a key of {self.name!r} ({keys}), "
            f"got {_cut(request.instructions)!r}"
        )

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """Return the next answer of the script that the request belongs to. See `taut.llm.model.Model`."""
        return await self.model_for(request).respond(request, on_event)

    async def close(self) -> None:
        """Close all models."""
        for model in self.models.values():
            await model.close()


def _answer(found: Answer | Exception) -> Answer:
    if isinstance(found, Exception):
        # Raised again, by a script that is repeated, it would collect the tracebacks of all times.
        raise found.with_traceback(None)
    return found


def _check_item(item: object, where: str) -> None:
    if isinstance(item, type):
        raise ConfigError(f"Expected an instance as {where}, got the class {item.__name__}")
    if not callable(item) and not isinstance(item, Exception):
        check_answer(item, where)


def _items(script: Sequence[Item] | Item) -> Sequence[Item]:
    """Return the items of a script: a list is a script, everything else one item."""
    if isinstance(script, list | tuple):
        return script
    return (cast(Item, script),)


def _key_name(key: Key) -> str:
    return repr(key) if isinstance(key, str) else getattr(key, "__name__", repr(key))


def _shown(request: ModelRequest) -> str:
    if not request.messages:
        return "none"
    last = request.messages[-1]
    calls = [part.name for part in last.content if isinstance(part, ToolCall)]
    return f"the {last.role}'s {_cut(last.text)!r}" + (f" with calls of {', '.join(calls)}" if calls else "")


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
