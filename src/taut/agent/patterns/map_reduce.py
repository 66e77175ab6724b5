"""`MapReduce`: a task is split into items, one agent does each of them, and the results are made into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, Unpack, get_origin

import msgspec
from msgspec import Struct

from taut.agent.base import BaseAgent
from taut.agent.patterns.kinds import returned_by, text_of
from taut.agent.patterns.pattern import (
    OnFailure,
    Options,
    Pattern,
    apply,
    branch,
    collects,
    part,
)
from taut.agent.result import RunResult
from taut.agent.run import Failure, Run
from taut.errors import AgentError, ConfigError
from taut.llm.messages import Audio, Image, Part, Text

__all__ = ["MapReduce", "Mapped"]

REDUCE = """\
This task was split, and its parts were done one by one:

{task}

Make one answer of the results.

{results}"""

#: What an item that is no text is made of.
PARTS = (Text, Image, Audio)
#: A task for the agent that maps.
Item: TypeAlias = str | tuple[Part, ...]


class Mapped(Struct, frozen=True):
    """One item, and what came of it: the output, or the ``error``, in words."""

    item: str
    output: Any = None
    error: str | None = None


class MapReduce(Pattern[Any]):
    """Splits its task, has ``map`` do each item, and ``reduce`` make one output of what came.

    :param split: a function of the task's text, or an agent whose output is a list. Items are text, parts of a message
        (a page as an image), or anything with a JSON form. The function may be async.
    :param map: gets each item as its task.
    :param reduce: a function of a list of `Mapped`, in the order of the items, which may be async; or an agent, which
        gets task and results as text. Without one the output is the list.
    :param on_failure: of an item, after ``retries`` more attempts: ``fail`` cancels the others, ``collect`` goes on
        with what there is, and fails where there is nothing.
    :param limit: how many items are done at a time.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        *,
        split: BaseAgent[Any] | Callable[[str], Any],
        map: BaseAgent[Any],
        reduce: BaseAgent[Any] | Callable[[list[Mapped]], Any] | None = None,
        on_failure: OnFailure = "fail",
        retries: int = 0,
        limit: int | None = 16,
        max_items: int = 10_000,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        if isinstance(split, BaseAgent) and not _is_list(split.output_type):
            raise ConfigError(
                f"Expected an agent that splits into a list, got {split.name}, whose output is {split.output_type}"
            )
        if retries < 0 or max_items < 1 or (limit is not None and limit < 1):
            raise ConfigError(
                "Expected at least 0 retries, and a limit and a max_items of at least 1, got "
                f"{retries}, {limit} and {max_items}"
            )
        self._split = split
        self._map = map
        self._reduce = reduce
        self._collect = collects(on_failure)
        self._retries = retries
        self._limit = limit
        self._max_items = max_items

    @property
    def output_type(self) -> Any:
        """What ``reduce`` returns, a function by its annotation; a list of `Mapped` without one."""
        if self._reduce is None:
            return list[Mapped]
        return self._reduce.output_type if isinstance(self._reduce, BaseAgent) else returned_by(self._reduce)

    def restored(self, output: Any) -> Any:
        """See `taut.agent.BaseAgent`."""
        known = super().restored(output)
        if self._reduce is not None:
            return known
        return [
            msgspec.structs.replace(one, output=self._map.restored(one.output)) if one.error is None else one
            for one in known
        ]

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        parts = (self._split, self._map, self._reduce)
        return [one for one in parts if isinstance(one, BaseAgent)]

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        items = await self._items(run)
        results = await run.gather(
            (self._done(run, place, item) for place, item in enumerate(items)), limit=self._limit
        )
        if items and all(one.error is not None for one in results):
            raise AgentError(
                f"{run.path}: expected a result of at least one item, got none; the first: {results[0].error}"
            )
        if self._reduce is None:
            return results
        if not isinstance(self._reduce, BaseAgent):
            return await apply(run, "reduce", self._reduce, results, returns=self.output_type)
        told = REDUCE.format(task=run.text, results="\n\n".join(map(_told, results)))
        return (await part(run, self._reduce, told, "reduce")).output

    async def _items(self, run: Run[Any]) -> list[Item]:
        if isinstance(self._split, BaseAgent):
            split = (await part(run, self._split, run.task, "split", history=run.history)).output
            items = [_item(one) for one in split]
        else:
            items = await apply(
                run,
                "split",
                self._split,
                run.text,
                returns=list[Item],
                shape=lambda split: [_item(one) for one in split],
            )
        if len(items) > self._max_items:
            raise AgentError(f"{run.path}: expected at most {self._max_items} items, got {len(items)}")
        run.note("split", f"{len(items)} items", len(items))
        return items

    async def _done(self, run: Run[Any], place: int, item: Item) -> Mapped:
        told = item if isinstance(item, str) else f"[item {place}]"
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            result = await branch(
                run, self._map, item, f"item.{place}.{attempt}", collect=self._collect or not last
            )
            if isinstance(result, RunResult):
                return Mapped(told, result.output)
            run.note("failed item", f"{place}, attempt {attempt + 1}: {result.error}", place)
        assert isinstance(result, Failure)
        return Mapped(told, error=result.error)


def _is_list(kind: Any) -> bool:
    return kind is Any or (get_origin(kind) or kind) in (list, tuple, Sequence)


def _item(value: Any) -> Item:
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, PARTS) for one in value):
        return tuple(value)
    return text_of(value)


def _told(result: Mapped) -> str:
    if result.error is not None:
        return f"## {result.item} (failed)\n{result.error}"
    return f"## {result.item}\n{text_of(result.output)}"
