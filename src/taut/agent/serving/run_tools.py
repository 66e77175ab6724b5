"""Runs as tools, which start them, tell of them, decide and end them; and as resources, which can be watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from taut import models
from taut.agent.result import Decision
from taut.agent.serving.desk import Desk, Session, Task, origin_of
from taut.agent.serving.served import ServedRun
from taut.agent.serving.table import NoSuchRun, RunTable
from taut.agent.serving.views import RunInfo, RunList
from taut.errors import ResourceNotFound, ToolError
from taut.server.context import Context

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["add_resources", "add_tools", "uri_of"]

RunId = Annotated[str, "The id of the run"]
Choice = Annotated[str | list[str] | None, "Ids of approvals, or 'all'"]

READS = models.ToolAnnotations(read_only_hint=True)
DECIDES = models.ToolAnnotations(read_only_hint=False, destructive_hint=True)
ENDS = models.ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True)


def add_tools(app: Server, desk: Desk, prefix: str) -> None:
    """Register ``PREFIX_start``, ``_status``, ``_resume``, ``_cancel`` and ``_list``.

    :raises taut.errors.ConfigError: a name is taken.
    """
    table = desk.table
    AgentName: Any = Literal[tuple(desk.agents)]

    @app.tool(name=f"{prefix}_start", structured=True)
    async def start(ctx: Context, agent: AgentName, task: Task, session: Session = None) -> RunInfo:
        """Start a run of an agent, and return at once; it goes on by itself."""
        run = await desk.start(ctx, desk.agents[agent], task, session)
        return run.info()

    seconds = f"Seconds to wait until it ends, or waits for approval; at most {table.max_wait_s:g}"

    @app.tool(name=f"{prefix}_status", structured=True, annotations=READS)
    async def status(ctx: Context, run_id: RunId, wait_s: Annotated[float, seconds] = 0.0) -> RunInfo:
        """Tell how a run is: who is at work, which calls wait for approval, the output."""
        run = await table.find(run_id, ctx.principal)
        if run.running and wait_s > 0:
            with run.followed(desk.telling(ctx)):
                run = await table.wait(run, wait_s)
        return run.info()

    @app.tool(name=f"{prefix}_resume", structured=True, annotations=DECIDES)
    async def resume(
        ctx: Context,
        run_id: RunId,
        approve: Choice = None,
        reject: Choice = None,
        reason: Annotated[str, "What the agent is told of the decision"] = "",
        arguments: Annotated[
            dict[str, Any] | None, "For the one call that is approved, in place of its own"
        ] = None,
    ) -> RunInfo:
        """Let a run go on, with decisions about the calls that wait for approval, or after a failure. What it has done
        is not done again.
        """
        run = await table.find(run_id, ctx.principal)
        desk.resume(ctx, run, _decisions(run, approve, reject, reason, arguments))
        return run.info()

    @app.tool(name=f"{prefix}_cancel", structured=True, annotations=ENDS)
    async def cancel(ctx: Context, run_id: RunId) -> RunInfo:
        """End a run for good."""
        run = await table.find(run_id, ctx.principal)
        await table.cancel(run, "Cancelled by request")
        return run.info()

    @app.tool(name=f"{prefix}_list", structured=True, annotations=READS)
    async def list_runs(ctx: Context) -> RunList:
        """List the runs that you have started, those that changed last first."""
        return RunList([run.info() for run in await table.owned(ctx.principal, origin_of(ctx))])


def uri_of(prefix: str, run_id: str, what: str) -> str:
    """Return the URI of a run, or of its ``messages`` or ``events``."""
    return f"{prefix}://{run_id}{f'/{what}' if what else ''}"


def add_resources(app: Server, table: RunTable, prefix: str, *, details: bool) -> None:
    """Register ``PREFIX://{run_id}``; with ``details`` also ``/messages`` and ``/events``.

    :raises taut.errors.ConfigError: a URI is taken.
    """

    async def found(ctx: Context, run_id: str, what: str) -> ServedRun:
        try:
            return await table.find(run_id, ctx.principal)
        except NoSuchRun:
            raise ResourceNotFound.of(uri_of(prefix, run_id, what)) from None

    @app.resource(uri_of(prefix, "{run_id}", ""), name=prefix, mime_type="application/json")
    async def run(ctx: Context, run_id: str) -> str:
        """A run: how it is, what it waits for, its output."""
        return msgspec.json.encode((await found(ctx, run_id, "")).info()).decode()

    if not details:
        return

    @app.resource(
        uri_of(prefix, "{run_id}", "messages"), name=f"{prefix}_messages", mime_type="application/json"
    )
    async def messages(ctx: Context, run_id: str) -> str:
        """What was said in a run, when it has ended or waits."""
        return msgspec.json.encode((await found(ctx, run_id, "messages")).outcome.messages).decode()

    @app.resource(uri_of(prefix, "{run_id}", "events"), name=f"{prefix}_events", mime_type="application/json")
    async def events(ctx: Context, run_id: str) -> str:
        """What has happened in a run: the last events, and how many there were before them."""
        one = await found(ctx, run_id, "events")
        shown = {"before": one.events_seen - len(one.events), "events": list(one.events)}
        return msgspec.json.encode(shown, enc_hook=repr).decode()  # an output may be of any type


def _decisions(
    run: ServedRun,
    approve: str | list[str] | None,
    reject: str | list[str] | None,
    reason: str,
    arguments: dict[str, Any] | None,
) -> dict[str, Decision]:
    """Return what was decided of which call.

    :raises taut.errors.ToolError: it contradicts itself.
    """
    approved, rejected = _ids(run, approve), _ids(run, reject)
    both = sorted(set(approved) & set(rejected))
    if both:
        raise ToolError(f"Expected one decision about each call, got two about {', '.join(both)}")
    if arguments is not None and len(approved) != 1:
        raise ToolError(f"Expected one call to approve, which gets these arguments, got {len(approved)}")
    decisions = {one: Decision(True, reason, arguments) for one in approved}
    return decisions | {one: Decision(False, reason) for one in rejected}


def _ids(run: ServedRun, given: str | list[str] | None) -> list[str]:
    if given is None:
        return []
    if given in ("all", ["all"]):
        return [one.id for one in run.outcome.approvals]
    return [given] if isinstance(given, str) else given
