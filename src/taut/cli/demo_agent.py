"""The main job of ``taut demo``: agents on a model in this machine do something with two servers, and show how.

The task is to tell the time in a city and to note it. A chain of three agents does it: one finds the time zone,
as a value of a type; one asks a server of another make, over stdio; one writes to a taut server, over HTTP. The
model is a small one, so each gets a small part of the work, and its calls are of a grammar that leaves no other
way.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from taut.agent import Agent, ToolPolicy, events
from taut.agent.patterns import Chain, Link
from taut.cli.agent_view import AgentView
from taut.cli.page import Block, Facts, Heading, Table, show
from taut.cli.screen import Screen
from taut.client import Client
from taut.client.pool import ServerConfig, ServerPool
from taut.errors import TransportError
from taut.llm.messages import Usage
from taut.llm.model import Model, ModelRequest, ModelResponse, ModelSettings, OnEvent, ignore
from taut.transport.loop import loop_factory

__all__ = ["Job", "work"]

NOTEBOOK = [sys.executable, "-P", "-m", "taut", "serve", "taut.cli.demo_notebook:app", "--http"]
#: Seconds for the notebook to listen.
LISTENS_S = 20.0
#: The same every time, and no longer than it takes.
SETTINGS = ModelSettings(temperature=0.0, seed=7, max_tokens=64)

Zone = Literal["America/New_York", "Asia/Tokyo", "Europe/Paris"]


class Place(msgspec.Struct):
    """Where it is that the time is asked for."""

    timezone: Zone


class Reading(msgspec.Struct):
    """What the clock's server answers, as far as it matters here."""

    timezone: str
    datetime: str
    day_of_week: str = ""


class Job(msgspec.Struct, frozen=True, rename="camel"):
    """What came of it, and where the time went, in seconds."""

    task: str
    output: str
    notes: str
    requests: int
    tokens: int
    tool_calls: int
    total_s: float
    model_s: float
    tools_s: float

    @property
    def own_s(self) -> float:
        """What was neither the model nor a tool: starting and meeting the servers, and the agents themselves."""
        return max(0.0, self.total_s - self.model_s - self.tools_s)


class Timed:
    """A model whose time is counted."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.seconds = 0.0

    @property
    def name(self) -> str:
        """See `taut.llm.Model`."""
        return self._model.name

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """See `taut.llm.Model`."""
        began = time.perf_counter()
        try:
            return await self._model.respond(request, on_event)
        finally:
            self.seconds += time.perf_counter() - began

    async def close(self) -> None:
        """See `taut.llm.Model`."""
        await self._model.close()


def work(model: Model, task: str, clock: Sequence[str], *, quiet: bool) -> Job:
    """Do the task, show what happens unless ``quiet``, and return what came of it.

    :raises taut.errors.TautError: it could not be done.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_work(Timed(model), task, clock, quiet))


async def _work(model: Timed, task: str, clock: Sequence[str], quiet: bool) -> Job:
    screen = Screen(sys.stdout, sys.stderr)
    view = AgentView("desk", screen, quiet=quiet)
    tools = _ToolTime()

    def hear(event: events.Event) -> None:
        tools.hear(event)
        view.hear(event)

    try:
        async with _notebook() as url:
            pool = ServerPool({"clock": ServerConfig(command=list(clock)), "notes": ServerConfig(url=url)})
            desk = _desk(model, pool)
            await _warm_up(model)
            began = time.perf_counter()
            async with desk:
                result = await desk.run(task, listener=hear)
            total_s = time.perf_counter() - began
            async with Client(url) as client:
                notes = (await client.read_resource("note://all")).contents[0].text
    finally:
        view.stop()
        await model.close()
        sys.stderr.flush()
    usage: Usage = result.usage
    return Job(
        task,
        result.text,
        str(notes),
        usage.requests,
        usage.tokens,
        result.tool_calls,
        total_s,
        model.seconds,
        tools.seconds,
    )


async def _warm_up(model: Timed) -> None:
    """Have the model loaded before the clock starts."""
    from taut.llm.messages import user

    await model.respond(ModelRequest(messages=[user("Hi")], settings=ModelSettings(max_tokens=1)))
    model.seconds = 0.0


def _desk(model: Model, pool: ServerPool) -> Chain:
    """Return the agents that do it: where, when, and noted."""
    options: dict[str, Any] = {"model": model, "settings": SETTINGS}
    where = Agent("where", instructions="Answer with the timezone of the city.", output=Place, **options)
    when = Agent(
        "when",
        instructions="Get the current time in the timezone that you are given.",
        tool_choice="clock__get_current_time",
        policy=ToolPolicy(final=("clock:get_current_time",)),
        servers=["clock"],
        pool=pool,
        **options,
    )
    said = Agent("said", instructions="Write one short sentence that tells the fact.", **options)
    noted = Agent(
        "noted",
        tool_choice="notes__write_note",
        policy=ToolPolicy(final=("notes:write_note",)),
        servers=["notes"],
        pool=pool,
        **options,
    )
    return Chain("desk", [where, when, said, noted], between=_hand_on)


def _hand_on(link: Link) -> str:
    """Make the task of the next agent of what the one before it has found."""
    match link.following:
        case "when":
            return str(link.output.timezone)
        case "said":
            reading = msgspec.json.decode(str(link.output), type=Reading)
            city = reading.timezone.rpartition("/")[2].replace("_", " ")
            clock = reading.datetime.partition("T")[2][:5]
            return f"Here is a fact: the time in {city} is {clock} on {reading.day_of_week}."
        case _:
            return f'Add a note with the title "time" and the text "{str(link.output).strip()}"'


class _ToolTime:
    """How long calls of tools have taken."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began: dict[tuple[str, str], float] = {}

    def hear(self, event: events.Event) -> None:
        if isinstance(event, events.ToolCalled):
            self._began[event.path, event.call.id] = time.perf_counter()
        elif isinstance(event, events.ToolReturned):
            began = self._began.pop((event.path, event.result.call_id), None)
            if began is not None:
                self.seconds += time.perf_counter() - began


@asynccontextmanager
async def _notebook() -> AsyncIterator[str]:
    """Serve the notebook over HTTP in a process of its own; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    server = await asyncio.create_subprocess_exec(
        *NOTEBOOK, address, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(_listens(port, server), LISTENS_S)
        yield f"http://{address}/mcp"
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def _listens(port: int, server: asyncio.subprocess.Process) -> None:
    while server.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise TransportError("Expected the notebook's server to listen, but it has ended")


def show_job(job: Job) -> None:
    """Show what came of it, and where the time went."""

    def row(what: str, seconds: float, about: str) -> Sequence[tuple[str, Any]]:
        return [
            (what, "name"),
            (f"{seconds * 1e3:,.0f}", "good"),
            (f"{seconds / job.total_s:.1%}", ""),
            (about, "faint"),
        ]

    rows = [
        row("the model", job.model_s, f"{job.requests} requests, {job.tokens:,} tokens"),
        row("the tools", job.tools_s, f"{job.tool_calls} calls, over stdio and HTTP"),
        row("all else", job.own_s, "starting the clock, meeting both servers, four agents"),
    ]
    blocks: list[Block] = [
        Facts([("noted", [(job.notes, "value")])]),
        Table(("where the time went", "ms", "", ""), rows, frozenset({1, 2})),
    ]
    show(blocks)


def heading(model: str, task: str) -> Heading:
    """Return what is shown first."""
    return Heading([("desk ", "name"), (f"on {model}: ", "faint"), (task, "")])
