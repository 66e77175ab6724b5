"""An agent as a tool of an MCP server: what of a call a run is made of, and what a run is on the wire."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, final

import msgspec
from msgspec import UNSET

from taut import models
from taut.agent.base import BaseAgent
from taut.agent.result import Decision
from taut.agent.serving.asking import ask_user, asked_before
from taut.agent.serving.served import ServedRun
from taut.agent.serving.table import NoSuchRun, RunTable
from taut.errors import ToolError
from taut.mcp.schema import schema_of, translate
from taut.server.context import Context
from taut.server.registry import TaskOptions

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["Desk", "Session", "Task", "Tracing"]

#: Where agents put the key that tells a call from all others, however often it is sent (`taut.agent.server_tool`).
CALL_KEY = "dev.taut/idempotency-key"
#: Where a result says which run it is of, and how that is.
RUN_META = "dev.taut/run"

#: Gets the ``_meta`` of the request that starts a run, and returns what the run is started within.
Tracing: TypeAlias = Callable[["models.RequestMeta | None"], AbstractContextManager[object]]

Task: TypeAlias = Annotated[str, "What to do, with all that is needed to do it"]
Session: TypeAlias = Annotated[str | None, "The conversation that this belongs to, by a name of yours"]


@final
class Desk:
    """Takes tasks for agents, and hands out what comes of them.

    ``resume_tool`` is the name of the tool that takes up a run that waits.
    """

    def __init__(
        self,
        agents: Mapping[str, BaseAgent[Any]],
        table: RunTable,
        *,
        resume_tool: str,
        deps: Callable[[Context], Any] | None,
        tracing: Tracing | None,
    ) -> None:
        self.agents = agents
        self.table = table
        self._resume_tool = resume_tool
        self._deps = deps
        self._tracing = tracing

    def _within(self, ctx: Context) -> AbstractContextManager[object]:
        return nullcontext() if self._tracing is None else self._tracing(ctx.meta)

    def _deps_of(self, ctx: Context) -> Any:
        return None if self._deps is None else self._deps(ctx)

    async def start(self, ctx: Context, agent: BaseAgent[Any], task: str, session: str | None) -> ServedRun:
        """Start a run for whoever asks.

        :raises taut.errors.ToolError: there is no task, or there are too many runs.
        """
        if not task.strip():
            raise ToolError("Expected a task, got an empty text")
        meta = ctx.meta
        extra = UNSET if meta is None else meta.extra
        call_key = None if extra is UNSET else extra.get(CALL_KEY)
        with self._within(ctx):
            return await self.table.start(
                agent,
                task,
                owner=ctx.principal,
                origin=origin_of(ctx),
                session=session,
                deps=self._deps_of(ctx),
                call_key=call_key if isinstance(call_key, str) else None,
            )

    def resume(self, ctx: Context, run: ServedRun, decisions: Mapping[str, Decision]) -> None:
        """Take up a run for whoever asks; see `RunTable.resume`."""
        with self._within(ctx):
            self.table.resume(run, decisions, deps=self._deps_of(ctx))

    @staticmethod
    def telling(ctx: Context) -> Callable[[str], None]:
        """Return what tells the client of a request how it goes, line by line: one for each request, as its progress
        must grow.
        """
        count = 0

        def tell(line: str) -> None:
            nonlocal count
            count += 1
            ctx.progress(count, message=line)

        return tell

    def add_agent(self, app: Server, agent: BaseAgent[Any], task: TaskOptions | None) -> None:
        """Register the tool that runs ``agent`` and waits for its output.

        :raises taut.errors.ConfigError: its name is taken, or cannot be that of a tool.
        """
        schema = _object_schema(agent.output_type)

        async def run_agent(ctx: Context, task: Task, session: Session = None) -> models.CallToolResult:
            run, why = await self._run_to_its_end(ctx, agent, task, session)
            return self._result(run, why, structured=schema is not None)

        told = agent.description or f"Hand a task to the agent {agent.name}, and wait for what comes of it"
        app.tool(name=agent.name, description=told, task=task, output_schema=schema, structured=False)(
            run_agent
        )

    async def _run_to_its_end(
        self, ctx: Context, agent: BaseAgent[Any], task: str, session: str | None
    ) -> tuple[ServedRun, str]:
        """Return a run that does not go on any more; and if it waits, why nobody has decided."""
        known = asked_before(ctx)
        if known is None:
            run = await self.start(ctx, agent, task, session)
        else:
            run = await self.table.find(known, ctx.principal)
            if (run.agent, run.task, run.session) != (agent, task, session):
                raise NoSuchRun(known)
        dismissed: set[str] = set()
        tell = self.telling(ctx)
        while True:
            try:
                with run.followed(tell):
                    await run.wait()
            except asyncio.CancelledError:
                run.end("The request was withdrawn")
                raise
            if run.status != "suspended":
                return run, ""
            decided = await ask_user(ctx, run, dismissed)
            if isinstance(decided, str):
                return run, decided
            # Somebody else may have decided meanwhile.
            waiting = {one.id for one in run.outcome.approvals}
            decisions = {one: decision for one, decision in decided.items() if one in waiting}
            if decisions:
                self.resume(ctx, run, decisions)

    def _result(self, run: ServedRun, why: str, *, structured: bool) -> models.CallToolResult:
        output = run.outcome.output
        meta = {RUN_META: {"run_id": run.id, "status": run.status}}
        if output is None:
            text = models.TextContent(self._explained(run, why))
            return models.CallToolResult([text], is_error=True, meta=meta)
        content = msgspec.json.decode(output) if structured else UNSET
        text = models.TextContent(run.outcome.text)
        return models.CallToolResult([text], structured_content=content, meta=meta)

    def _explained(self, run: ServedRun, why: str) -> str:
        """Return why there is no output, and what can be done."""
        if run.status == "suspended":
            calls = "\n".join(
                f"- {one.id}: {one.tool} with {msgspec.json.encode(one.call.arguments).decode()}"
                for one in run.outcome.approvals
            )
            return (
                f"Run {run.id} waits for approval of\n{calls}\nNobody has decided: {why}. To go on, call "
                f"{self._resume_tool} with its run_id, and approve or reject."
            )
        text = run.outcome.error or f"The run is {run.status}"
        return f"{text}. Run {run.id} can be taken up with {self._resume_tool}." if run.resumable else text


def origin_of(ctx: Context) -> str:
    """Return what tells the session of a request from others; empty: nothing does.

    It is not the session itself, which whoever reads a store must not learn.
    """
    session = ctx.session
    return hashlib.sha256(session.encode()).hexdigest() if session else ""


def _object_schema(kind: Any) -> dict[str, Any] | None:
    """Return the schema of an output that is an object, which every revision takes as structured content."""
    try:
        schema = schema_of(translate(kind))
    except TypeError:  # a type that JSON has no word for
        return None
    return schema if schema.get("type") == "object" else None
