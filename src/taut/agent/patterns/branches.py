"""One task for several agents side by side: what their outputs are kept in, and told as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from taut.agent.base import BaseAgent
from taut.agent.patterns.kinds import text_of
from taut.agent.patterns.pattern import branch
from taut.agent.result import RunResult
from taut.agent.run import Run
from taut.errors import AgentError
from taut.llm.messages import Content

__all__ = ["Collected", "branch_out", "restored_branches"]


class Collected(Struct, frozen=True):
    """What came of branches, by their names: outputs, and failures in words; in the order of the branches."""

    outputs: dict[str, Any]
    failures: dict[str, str] = {}

    @property
    def text(self) -> str:
        """All of it, as an agent reads it."""
        answers = [f"## {name}\n{text_of(output)}" for name, output in self.outputs.items()]
        answers += [f"## {name} (failed)\n{error}" for name, error in self.failures.items()]
        return "\n\n".join(answers)


async def branch_out(
    run: Run[Any], branches: Mapping[str, BaseAgent[Any]], task: Content, *, collect: bool, limit: int | None
) -> Collected:
    """Give one task to all of ``branches``.

    :raises taut.errors.AgentError: failures are collected, and nothing else came.
    """
    results = await run.gather(
        (
            branch(run, agent, task, f"branch.{name}", collect=collect, history=run.history)
            for name, agent in branches.items()
        ),
        limit=limit,
    )
    outputs: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for name, result in zip(branches, results, strict=True):
        if isinstance(result, RunResult):
            outputs[name] = result.output
        else:
            failures[name] = result.error
            run.note("failed branch", f"{name}: {result.error}")
    if not outputs:
        told = "; ".join(f"{name}: {error}" for name, error in failures.items())
        raise AgentError(f"{run.path}: expected an answer of at least one branch, got none: {told}")
    return Collected(outputs, failures)


def restored_branches(output: Any, branches: Mapping[str, BaseAgent[Any]]) -> Collected:
    """Return recorded outputs of branches, each in its type again."""
    known = msgspec.convert(output, Collected)
    return Collected(
        {name: branches[name].restored(value) for name, value in known.outputs.items()}, known.failures
    )
