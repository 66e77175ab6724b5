"""A model with bad luck: it fails, is slow, breaks off, calls tools that do not exist. The same seed, the same luck.

What happens to a request is drawn when it comes, always with the same number of draws: the order of requests and the
seed decide it, and to change one probability leaves the luck of the others as it was. A failure comes before the
model behind is asked, so that a second attempt gets what the first one would have got.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from msgspec import structs

from taut.errors import ConfigError, ModelUnavailable
from taut.llm.messages import Message
from taut.llm.model import (
    Model,
    ModelRequest,
    ModelResponse,
    OnEvent,
    Restarted,
    TextDelta,
    ToolCallDelta,
    ignore,
)
from taut.testing.answers import argument_text, tell

__all__ = ["ChaosModel"]

T = TypeVar("T")

#: Statuses that a failure may have; None is a connection that broke.
STATUSES = (429, 500, 503, 529, None)
#: What is streamed before it breaks off.
BEGINNING = "I will look into "


class ChaosModel:
    """Puts faults before and into the answers of ``model``, each with the probability given, from 0 to 1.

    - ``failure``: `ModelUnavailable`, at once. ``retry_after_s`` is what such a failure asks for.
    - ``drop``: part of an answer is streamed, then `ModelUnavailable`.
    - ``cut``: part of an answer is streamed, then it is `Restarted` and answered.
    - ``slow``: a pause of ``slow_s`` seconds, at least and at most, by ``sleep``.
    - ``malformed``: the arguments of a call break off in the middle of their JSON.
    - ``unknown_tool``: a call is of a tool that is not there.
    - ``empty``: an answer without any content.

    Of an answer that is spoilt nothing is streamed before it is there. `injected` counts what was done.

    :raises taut.errors.ConfigError: a number is no probability.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int,
        failure: float = 0.0,
        drop: float = 0.0,
        cut: float = 0.0,
        slow: float = 0.0,
        malformed: float = 0.0,
        unknown_tool: float = 0.0,
        empty: float = 0.0,
        slow_s: tuple[float, float] = (0.5, 5.0),
        retry_after_s: float | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._chances = {
            "failure": failure,
            "drop": drop,
            "cut": cut,
            "slow": slow,
            "malformed": malformed,
            "unknown_tool": unknown_tool,
            "empty": empty,
        }
        for name, chance in self._chances.items():
            if not 0 <= chance <= 1:
                raise ConfigError(f"Expected a probability from 0 to 1 for {name}, got {chance}")
        if not 0 <= slow_s[0] <= slow_s[1]:
            raise ConfigError(f"Expected the least and the most seconds of a pause, got {slow_s}")
        self._model = model
        self._random = random.Random(seed)
        self._slow_s = slow_s
        self._retry_after_s = retry_after_s
        self._sleep = sleep
        #: What was done, how often.
        self.injected: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """The name of the model behind."""
        return self._model.name

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """Return the model's answer, or what has become of it. See `taut.llm.model.Model`."""
        luck = self._draw()
        if "slow" in luck.faults:
            self.injected["slow"] += 1
            least, most = self._slow_s
            await self._sleep(least + luck.share * (most - least))
        if "failure" in luck.faults:
            raise self._failure("failure", luck)
        if "drop" in luck.faults:
            _begin(request, luck, on_event)
            raise self._failure("drop", luck)
        if "cut" in luck.faults:
            self.injected["cut"] += 1
            _begin(request, luck, on_event)
            on_event(Restarted("injected: the connection broke off"))
        if luck.faults.isdisjoint(("malformed", "unknown_tool", "empty")):
            return await self._model.respond(request, on_event)
        response = self._spoil(await self._model.respond(request), luck)
        tell(response, on_event)
        return response

    async def close(self) -> None:
        """Close the model behind."""
        await self._model.close()

    def _draw(self) -> _Luck:
        draws = {name: self._random.random() for name in self._chances}
        faults = frozenset(name for name, chance in self._chances.items() if draws[name] < chance)
        return _Luck(faults, self._random.random(), self._random.random())

    def _failure(self, name: str, luck: _Luck) -> ModelUnavailable:
        self.injected[name] += 1
        status = luck.choose(STATUSES) if name == "failure" else None
        what = "the connection broke" if status is None else f"status {status}"
        return ModelUnavailable(
            f"Injected into {self.name!r}: {what}", status=status, retry_after_s=self._retry_after_s
        )

    def _spoil(self, response: ModelResponse, luck: _Luck) -> ModelResponse:
        if "empty" in luck.faults:
            self.injected["empty"] += 1
            return structs.replace(response, message=Message("assistant", ()), stop_reason="stop")
        calls = response.message.tool_calls
        if not calls:
            return response
        old = new = luck.choose(calls)
        if "unknown_tool" in luck.faults:
            self.injected["unknown_tool"] += 1
            new = structs.replace(new, name=f"{new.name[:56]}_missing")
        if "malformed" in luck.faults:
            self.injected["malformed"] += 1
            text = argument_text(new)
            new = structs.replace(new, arguments={}, malformed=text[: max(1, int(len(text) * luck.share))])
        content = tuple(new if part is old else part for part in response.message.content)
        return structs.replace(response, message=structs.replace(response.message, content=content))


class _Luck(NamedTuple):
    """What happens to one request. ``share`` and ``choice`` are random numbers from 0 to 1."""

    faults: frozenset[str]
    share: float
    choice: float

    def choose(self, items: tuple[T, ...]) -> T:
        return items[int(self.choice * len(items))]


def _begin(request: ModelRequest, luck: _Luck, on_event: OnEvent) -> None:
    """Stream the beginning of an answer that never comes."""
    if request.tools and luck.share < 0.5:
        on_event(ToolCallDelta("call_lost", request.tools[0].name, ""))
        on_event(ToolCallDelta("call_lost", request.tools[0].name, '{"'))
    else:
        on_event(TextDelta(BEGINNING))
