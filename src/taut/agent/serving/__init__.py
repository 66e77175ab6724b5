"""Agents as an MCP server: each is a tool that runs it, and its runs are tools and resources.

::

    app = agent_server("desk", writer, reviewer)
    app.run("http", port=8000)

For an agent ``writer`` the server has the tool ``writer(task, session?)``, which returns its output: as text, and as
structured content where the output is an object. Progress messages tell what happens; to withdraw the request cancels
the run; a client that can follow tasks gets one. ``run_start``, ``run_status``, ``run_resume``, ``run_cancel`` and
``run_list`` are for runs that nobody waits for. ``run://{run_id}``, and ``/messages`` and ``/events`` below it, are
what is known of a run, and can be subscribed to.

A call that needs approval is put to the client's user, where the client can show a form; otherwise the run is suspended
until ``run_resume`` decides. `RunTable` says who may see a run, and how many there may be.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from taut.agent.base import BaseAgent
from taut.agent.serving.desk import Desk, Tracing
from taut.agent.serving.run_tools import add_resources, add_tools, uri_of
from taut.agent.serving.served import Outcome, ServedRun
from taut.agent.serving.table import NoSuchRun, RunTable
from taut.agent.serving.views import Approval, RunInfo, RunList
from taut.errors import ConfigError
from taut.server.context import Context
from taut.server.registry import TaskOptions
from taut.server.server import Server

__all__ = [
    "Approval",
    "NoSuchRun",
    "Outcome",
    "RunInfo",
    "RunList",
    "RunTable",
    "ServedRun",
    "Tracing",
    "agent_server",
    "serve_agents",
]

_PREFIX = re.compile(r"[a-z][a-z0-9-]*")
_OPTIONAL = TaskOptions(support="optional")


def agent_server(
    name: str,
    *agents: BaseAgent[Any],
    runs: RunTable | None = None,
    prefix: str = "run",
    details: bool = True,
    task: TaskOptions | None = _OPTIONAL,
    deps: Callable[[Context], Any] | None = None,
    tracing: Tracing | None = None,
    **options: Any,
) -> Server:
    """Return a server of these agents; ``options`` are those of `taut.Server`, all others those of `serve_agents`."""
    app = Server(name, **options)
    serve_agents(
        app, *agents, runs=runs, prefix=prefix, details=details, task=task, deps=deps, tracing=tracing
    )
    return app


def serve_agents(
    app: Server,
    *agents: BaseAgent[Any],
    runs: RunTable | None = None,
    prefix: str = "run",
    details: bool = True,
    task: TaskOptions | None = _OPTIONAL,
    deps: Callable[[Context], Any] | None = None,
    tracing: Tracing | None = None,
) -> RunTable:
    """Make these agents tools of ``app``, and return the table of their runs.

    The agents are started with the server, inside of its lifespan, and stopped with it, when their runs have ended.

    :param runs: how many runs there may be, for how long, and where they are kept.
    :param prefix: what the names of the tools and the URIs of runs begin with: ``PREFIX_start``, ``PREFIX://...``.
    :param details: whether who may see a run may see what was said and what happened in it, besides its output.
    :param task: how calls of agents become tasks; None: they do not.
    :param deps: returns what a run has as ``deps``, from the request that starts it or takes it up.
    :param tracing: what runs are started within, from the request's ``_meta``: `taut.telemetry.otel.continued` has them
        go on with the trace of who calls.
    :raises taut.errors.ConfigError: no agents, a name that is taken, or a server that runs already.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"Expected a prefix of small letters, digits and '-', got {prefix!r}")
    by_name = {agent.name: agent for agent in agents}
    if len(by_name) != len(agents) or not agents:
        names = ", ".join(agent.name for agent in agents) or "none"
        raise ConfigError(f"Expected agents with different names, got {names}")
    table = RunTable() if runs is None else runs
    _live_with(
        app, by_name, table
    )  # first: a server that runs already is refused before anything has changed
    table.attach(
        by_name, details=details, tell=lambda run_id, what: app.resource_updated(uri_of(prefix, run_id, what))
    )
    desk = Desk(by_name, table, resume_tool=f"{prefix}_resume", deps=deps, tracing=tracing)
    for agent in agents:
        desk.add_agent(app, agent, task)
    add_tools(app, desk, prefix)
    add_resources(app, table, prefix, details=details)
    return table


def _live_with(app: Server, agents: Mapping[str, BaseAgent[Any]], table: RunTable) -> None:
    """Have the agents started and stopped with the server, between the beginning and the end of its own lifespan."""

    @contextlib.asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for agent in agents.values():
                await stack.enter_async_context(agent)
            await stack.enter_async_context(table.open())
            yield

    app.extend_lifespan(lifespan)
