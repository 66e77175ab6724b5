"""What an agent may do with its tools: which it has, which calls need approval, how long, how often, how much.

A policy is data, and names tools by patterns (``*``, ``?``, ``[...]``), which match the name that the model sees or
the tool's origin: ``time:*`` is every tool of the server ``time``, ``function:*`` every function. What applies to one
tool is worked out once, as its `Rules`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec import Struct

from taut.errors import ConfigError, RequestTimeout, TransportError
from taut.steps import ONCE, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taut.agent.tools import Tool

__all__ = ["Rules", "ToolPolicy"]

#: Failures of the way to a tool; those of the tool itself, as that there is no such file, would come again.
LOST = (TransportError, RequestTimeout, ConnectionError, TimeoutError)


class Rules(Struct, frozen=True, gc=False):
    """What applies to the calls of one tool."""

    needs_approval: bool
    timeout_s: float | None
    idempotent: bool
    retry: Retry
    max_result_chars: int | None
    cache_s: float
    ends_run: bool


class ToolPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The policies of one agent; each has a default that lets everything through.

    - ``allow``, ``deny``: the tools that it has; what is denied is not even shown to the model.
    - ``approve``: calls that somebody must approve. ``approve_writes``: the same for every tool that is not known to
      only read.
    - ``timeout_s``, ``timeouts_s``: seconds for one attempt, for all and by pattern; the first pattern that matches
      counts.
    - ``trust``: servers whose annotations are believed; functions are.
    - ``idempotent``: tools that may be called again if the first call may have happened, besides those trusted to be.
    - ``retries``: further attempts at a call of an idempotent tool that was lost, took too long or met a server in
      trouble.
    - ``max_result_chars``: longer results are cut; the rest is kept where the agent has a blob store.
    - ``cache_s``: for how many seconds a result is good for the same call, of any run, by pattern; for tools that only
      read. Agents, and functions that ask for their context, answer each call.
    - ``final``: tools whose result is the output: a call that stands alone in its message, and succeeds, ends the run.
    - ``max_parallel``: calls of one message that are made at a time.
    - ``max_calls``: calls of one message that are made at all.
    """

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    approve_writes: bool = False
    timeout_s: float | None = None
    timeouts_s: dict[str, float] = {}
    trust: tuple[str, ...] = ()
    idempotent: tuple[str, ...] = ()
    retries: int = 2
    retry_initial_s: float = 0.2
    max_result_chars: int | None = 100_000
    cache_s: dict[str, float] = {}
    final: tuple[str, ...] = ()
    max_parallel: int = 128
    max_calls: int = 256

    def __post_init__(self) -> None:
        positive = {
            "timeout_s": self.timeout_s,
            "max_result_chars": self.max_result_chars,
            "max_parallel": self.max_parallel,
            "max_calls": self.max_calls,
            **{f"timeouts_s.{pattern}": value for pattern, value in self.timeouts_s.items()},
            **{f"cache_s.{pattern}": value for pattern, value in self.cache_s.items()},
        }
        for name, value in positive.items():
            if value is not None and value <= 0:
                raise ConfigError(f"tools: expected a positive {name}, got {value}")
        if self.retries < 0:
            raise ConfigError(f"tools: expected retries of at least 0, got {self.retries}")

    def allows(self, tool: Tool) -> bool:
        """Whether the agent has ``tool`` at all."""
        return (tool.is_built_in or _matches(self.allow, tool)) and not _matches(self.deny, tool)

    def rules(self, tool: Tool) -> Rules:
        """Return what applies to the calls of ``tool``."""
        server = tool.origin.partition(":")[0]
        trusted = server in ("function", "agent") or any(fnmatchcase(server, one) for one in self.trust)
        reads = trusted and tool.hints.read_only
        repeats = trusted and tool.hints.idempotent
        idempotent = reads or repeats or _matches(self.idempotent, tool)
        retry = ONCE
        if idempotent and self.retries:
            retry = Retry(attempts=1 + self.retries, initial_s=self.retry_initial_s, on=LOST)
        return Rules(
            needs_approval=_matches(self.approve, tool) or (self.approve_writes and not reads),
            timeout_s=_first(self.timeouts_s, tool, self.timeout_s),
            idempotent=idempotent,
            retry=retry,
            max_result_chars=None if tool.is_built_in else self.max_result_chars,
            cache_s=0.0 if tool.has_steps else _first(self.cache_s, tool, None) or 0.0,
            ends_run=tool.ends_run or _matches(self.final, tool),
        )


def _matches(patterns: Iterable[str], tool: Tool) -> bool:
    return any(fnmatchcase(tool.name, one) or fnmatchcase(tool.origin, one) for one in patterns)


def _first(values: dict[str, float], tool: Tool, otherwise: float | None) -> float | None:
    return next((value for pattern, value in values.items() if _matches((pattern,), tool)), otherwise)
