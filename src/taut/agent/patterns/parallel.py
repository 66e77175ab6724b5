"""`Parallel`: one task for several agents at once, and their answers made into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from taut.agent.base import BaseAgent
from taut.agent.patterns.branches import Collected, branch_out, restored_branches
from taut.agent.patterns.kinds import returned_by
from taut.agent.patterns.pattern import (
    OnFailure,
    Options,
    Pattern,
    apply,
    by_name,
    checked,
    collects,
    part,
    with_others,
)
from taut.agent.run import Run
from taut.errors import ConfigError

__all__ = ["Parallel"]

FAN_IN = """\
Several have worked on this task:

{task}

Make one answer of theirs.

{answers}"""


class Parallel(Pattern[Any]):
    """Gives its task to all ``branches`` side by side, and what they answer to ``fan_in``.

    :param branches: agents, or agents by name.
    :param fan_in: an agent, which gets the task and the answers as text; or a function of a `Collected`, which may be
        async. Without one the output is the `Collected`.
    :param on_failure: ``fail`` cancels the other branches; ``collect`` goes on with the answers that there are, and
        fails where there is none.
    :param limit: how many branches go on at a time.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        branches: Mapping[str, BaseAgent[Any]] | Sequence[BaseAgent[Any]],
        *,
        fan_in: BaseAgent[Any] | Callable[[Collected], Any] | None = None,
        on_failure: OnFailure = "fail",
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        if isinstance(branches, Mapping):
            self._branches = dict(zip(branches, checked(branches.values(), "branches"), strict=True))
        else:
            self._branches = by_name(branches, "branches")
        if limit is not None and limit < 1:
            raise ConfigError(f"Expected a limit of at least 1, got {limit}")
        self._collect = collects(on_failure)
        self._limit = limit
        self._fan_in = fan_in

    @property
    def output_type(self) -> Any:
        """What ``fan_in`` returns, a function by its annotation; `Collected` without one."""
        if self._fan_in is None:
            return Collected
        return self._fan_in.output_type if isinstance(self._fan_in, BaseAgent) else returned_by(self._fan_in)

    def restored(self, output: Any) -> Any:
        """See `taut.agent.BaseAgent`."""
        if self._fan_in is None:
            return restored_branches(output, self._branches)
        return super().restored(output)

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        last = [self._fan_in] if isinstance(self._fan_in, BaseAgent) else []
        return [*self._branches.values(), *last]

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        collected = await branch_out(run, self._branches, run.task, collect=self._collect, limit=self._limit)
        if self._fan_in is None:
            return collected
        if isinstance(self._fan_in, BaseAgent):
            task = FAN_IN.format(task=run.text, answers=collected.text)
            return (await part(run, self._fan_in, with_others(run, task), "fan-in")).output
        return await apply(run, "fan-in", self._fan_in, collected, returns=self.output_type)
