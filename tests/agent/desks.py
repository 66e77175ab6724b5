"""What tests of served agents share: a desk of agents that do as their tasks say, and ways to reach it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import uvicorn

from agent.worlds import until
from taut import Client, Server, models
from taut.agent import Agent, ToolPolicy
from taut.agent.serving import RunTable, agent_server
from taut.llm.messages import ToolResult
from taut.llm.model import ModelRequest
from taut.mcp.http.auth import Auth, Identity
from taut.testing import FunctionModel, call

LEGACY, MODERN = ERAS = ("2025-11-25", "2026-07-28")
#: What tells which run a result is of.
RUN = "dev.taut/run"


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Weather(msgspec.Struct):
    city: str
    degrees: int


class Desk:
    """Three agents.

    - ``clerk`` pays whom its task names, with approval: ``"Ada, Bob"`` at once, ``"Ada; Bob"`` one after another. It
      looks at its books first, which takes no approval.
    - ``thinker`` says what its task is once the gate is open.
    - ``weather`` has a structured output.
    """

    def __init__(self, *, runs: RunTable | None = None, **options: Any) -> None:
        self.done: list[str] = []
        self.gate = asyncio.Event()
        #: What models were asked, and which requests were cancelled.
        self.asked: list[str] = []
        self._waiting: list[asyncio.Event] = []
        self.runs = RunTable() if runs is None else runs

        def look() -> str:
            """Look at the books."""
            self.done.append("look")
            return "the books are fine"

        def pay(to: str) -> str:
            """Pay somebody."""
            self.done.append(f"pay {to}")
            return f"paid {to}"

        self.clerk = Agent(
            "clerk",
            model=FunctionModel(self._clerk, name="clerk"),
            tools=[look, pay],
            policy=ToolPolicy(approve=("pay",)),
            description="Pays people.",
        )
        self.thinker = Agent("thinker", model=FunctionModel(self._thinker, name="thinker"))
        self.weather = Agent(
            "weather", model=FunctionModel(lambda request: '{"city":"Oslo","degrees":4}'), output=Weather
        )
        self.app = agent_server("desk", self.clerk, self.thinker, self.weather, runs=self.runs, **options)

    def _clerk(self, request: ModelRequest) -> Any:
        self._note("clerk")
        steps = [step.split(", ") for step in request.messages[0].text.split("; ")]
        said = [message for message in request.messages if message.role == "tool"]
        if not said:
            return call("look")
        if len(said) <= len(steps):
            return [call("pay", to=name) for name in steps[len(said) - 1]]
        results = [
            part.text for message in said[1:] for part in message.content if isinstance(part, ToolResult)
        ]
        return "; ".join(results)

    async def _thinker(self, request: ModelRequest) -> str:
        task = request.messages[0].text
        self._note(task)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self._note(f"cancelled {task}")
            raise
        return f"thought about {task}"

    def _note(self, asked: str) -> None:
        self.asked.append(asked)
        while self._waiting:
            self._waiting.pop().set()

    async def thinking(self, task: str) -> None:
        """Wait until the model of ``thinker`` has been asked, or was cancelled: ``cancelled TASK``."""
        while task not in self.asked:
            event = asyncio.Event()
            self._waiting.append(event)
            await event.wait()


def approve(params: models.ElicitParams) -> models.ElicitResult:
    return models.ElicitResult(action="accept", content={"approve": True})


def run_of(result: models.CallToolResult) -> str:
    """The id of the run that a result is of."""
    assert isinstance(result.meta, dict)
    return str(result.meta[RUN]["run_id"])


async def info(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a ``run_*`` tool says."""
    result = await client.call_tool(tool, arguments, raise_on_error=True)
    assert isinstance(result.structured_content, dict)
    assert msgspec.json.decode(result.text) == result.structured_content
    return result.structured_content


async def read(client: Client, uri: str) -> Any:
    """The JSON of a resource."""
    (contents,) = (await client.read_resource(uri)).contents
    assert contents.mime_type == "application/json"
    assert isinstance(contents.text, str)
    return msgspec.json.decode(contents.text)


class Tokens:
    """Knows who has which token: it is the name."""

    def verify(self, token: str) -> Identity | None:
        return Identity(token)


@contextlib.asynccontextmanager
async def serving(app: Server, *, auth: bool = False) -> AsyncIterator[str]:
    """Serve ``app`` over HTTP in this event loop; gives its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    asgi = app.asgi(auth=Auth(Tokens()) if auth else None)
    config = uvicorn.Config(asgi, log_level="error", lifespan="on", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test keeps its own
    task = asyncio.create_task(server.serve([listening]))
    await until(lambda: server.started or task.done())
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await task
        listening.close()


@contextlib.asynccontextmanager
async def reached(app: Server, over: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    """A client of ``app``, in memory or over HTTP."""
    if over == "memory":
        async with Client(app, mode=mode, **options) as client:
            yield client
    else:
        async with serving(app) as url, Client(url, mode=mode, **options) as client:
            yield client
