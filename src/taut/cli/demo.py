"""``taut demo``: see it work. With ``--model``, agents do a job with two servers (`taut.cli.demo_agent`);
without, meet two servers over stdio, and call what they offer. Either ends with what a call costs.

The first server is `taut.cli.demo_server`; the other, if ``--also`` names one, is of any make. Each runs in a child
process and is met in the era that negotiation finds, and once more in the legacy era.
"""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from taut import __version__, models
from taut.cli import throughput
from taut.cli.arguments import read_arguments
from taut.cli.call import find_tool
from taut.cli.connecting import split_command
from taut.cli.page import Block, Facts, Heading, Spans, Style, Table, show, show_json
from taut.cli.parser import Options
from taut.cli.result import brief
from taut.cli.status import Status
from taut.cli.views import about_server, read_offer, server_line
from taut.client import Client
from taut.errors import ConfigError, TautError
from taut.transport.loop import loop_factory

__all__ = ["run"]

EXAMPLE = [sys.executable, "-P", "-m", "taut", "serve", "taut.cli.demo_server:app"]
FLOOR = [sys.executable, "-P", "-m", "taut.cli.floor"]
GUEST = "Ada"
TASK = "What time is it in Tokyo? Note it."
#: With these, a table of steps fits a window of 100 columns.
MAX_ASKED, MAX_ANSWER = 33, 44


class Step(msgspec.Struct, frozen=True):
    """One thing that was asked of a server."""

    name: str
    asked: str
    answer: str
    failed: bool
    ms: float


class Meeting(msgspec.Struct, frozen=True):
    """What came of meeting one server."""

    title: Spans
    about: dict[str, Any]
    connect_ms: float
    legacy: str | None
    offers: dict[str, int]
    steps: Sequence[Step]


Work = Callable[["_Guide"], Awaitable[None]]


def run(options: Options) -> Status:
    """Show the servers one after the other, then the throughput."""
    if options.also_call and options.also is None:
        raise ConfigError("Expected --also COMMAND along with --also-call")
    if options.model is not None:
        return _job(options)
    meetings = []
    tours: list[tuple[list[str], Work]] = [(EXAMPLE, _tour)]
    if options.also is not None:
        tours.append((split_command(options.also), _called(options.also_call or [])))
    if not options.json:
        show(
            [
                Heading(
                    [
                        ("taut ", "name"),
                        (__version__, "name"),
                        (f"  Python {platform.python_version()}", "faint"),
                    ]
                )
            ]
        )
    for command, work in tours:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            meetings.append(runner.run(_meet(command, work)))
        if not options.json:
            _show_meeting(meetings[-1])
    if options.also is None and not options.json:
        print("\nAnother server, of any make: taut demo --also 'uvx mcp-server-time'")
    rates = throughput.measure({"taut": EXAMPLE, "floor": FLOOR}, options.calls) if options.calls else {}
    if options.json:
        show_json({"servers": [_meeting_json(one) for one in meetings], "throughput": rates})
    elif rates:
        _show_rates(rates)
    return Status.TOOL_ERROR if any(step.failed for one in meetings for step in one.steps) else Status.OK


def _job(options: Options) -> Status:
    """Have agents do a real job, and show what it took, down to what a single call costs."""
    # Imported here: the demo of the protocol needs no agents.
    from taut.cli import demo_agent
    from taut.llm.open import open_model

    if options.time_server is None:
        raise ConfigError("Expected --time-server COMMAND along with --model, such as 'uvx mcp-server-time'")
    model = open_model(str(options.model))
    if not options.json:
        show([demo_agent.heading(model.name, TASK)])
    job = demo_agent.work(model, TASK, split_command(options.time_server), quiet=options.json)
    if not options.json:
        demo_agent.show_job(job)
    rates = throughput.measure({"taut": EXAMPLE, "floor": FLOOR}, options.calls) if options.calls else {}
    if options.json:
        show_json({"job": job, "throughput": rates})
    elif rates:
        _show_rates(rates)
    return Status.OK


async def _meet(command: Sequence[str], work: Work) -> Meeting:
    started = time.perf_counter()
    async with Client(command, elicitation=_introduce, stderr=_ignore) as client:
        connect_ms = (time.perf_counter() - started) * 1e3
        offer = await read_offer(client)
        guide = _Guide(client)
        await work(guide)
        title, about = server_line(client), about_server(client)
    return Meeting(
        title,
        about,
        connect_ms,
        await _legacy_revision(command),
        {
            "tool": len(offer.tools),
            "resource": len(offer.resources),
            "resource template": len(offer.templates),
            "prompt": len(offer.prompts),
        },
        guide.steps,
    )


async def _legacy_revision(command: Sequence[str]) -> str | None:
    """Return the revision that the server speaks to a client of the legacy era, if any."""
    try:
        async with Client(command, mode="legacy", stderr=_ignore) as client:
            return client.revision
    except TautError:
        return None


class _Guide:
    """Asks a server for things, and keeps what it answered and how long it took."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.steps: list[Step] = []

    async def call(self, *words: str, note: str = "") -> None:
        """Call a tool, with arguments as on the command line."""
        name, *given = words
        tool = await find_tool(self.client, name)
        arguments = read_arguments(given, None, tool)
        progress: list[models.ProgressParams] = []
        started = time.perf_counter()
        result = await self.client.call_tool(name, arguments, on_progress=progress.append)
        answer = brief(result)
        if progress:
            answer += f", after {len(progress)} progress notifications"
        self._keep(name, " ".join(given) or note, answer, started, failed=result.is_error is True)

    async def read(self, uri: str) -> None:
        """Read a resource."""
        started = time.perf_counter()
        result = await self.client.read_resource(uri)
        self._keep("resource", uri, " ".join(str(one.text) for one in result.contents), started)

    async def prompt(self, name: str, argument: str, typed: str) -> None:
        """Complete the argument of a prompt from what was typed, and get the prompt."""
        started = time.perf_counter()
        found = await self.client.complete(models.PromptReference(name), argument, typed)
        result = await self.client.get_prompt(name, {argument: found.values[0]})
        content = result.messages[0].content
        answer = content.text if isinstance(content, models.TextContent) else "a message"
        self._keep("prompt", f"{name} {argument}={typed}<Tab>", answer, started)

    def _keep(self, name: str, asked: str, answer: str, started: float, *, failed: bool = False) -> None:
        self.steps.append(Step(name, asked, answer, failed, (time.perf_counter() - started) * 1e3))


async def _tour(guide: _Guide) -> None:
    await guide.call("add", "a=19", "b=23")
    await guide.call("summarise", "numbers=[3,1,8]")
    await guide.call("count", "to=5")
    await guide.call("greet", note=f"it asks for a name and gets {GUEST}")
    await guide.read("revision://2026-07-28")
    await guide.prompt("explain", "topic", "elic")


def _called(calls: Sequence[str]) -> Work:
    async def work(guide: _Guide) -> None:
        for line in calls:
            await guide.call(*split_command(line))

    return work


def _introduce(params: models.ElicitParams) -> models.ElicitResult:
    return models.ElicitResult(action="accept", content={"name": GUEST})


def _ignore(line: str) -> None:
    """Leave the server's log out; what it says last is part of the error if it ends."""


def _show_meeting(meeting: Meeting) -> None:
    offers = ", ".join(
        f"{count} {name}{'s' * (count != 1)}" for name, count in meeting.offers.items() if count
    )
    legacy = f"; {meeting.legacy} in the legacy era" if meeting.legacy else "; no legacy era"
    facts: list[tuple[str, Spans]] = [
        ("connected", [(f"{meeting.connect_ms:.0f} ms after its process was started{legacy}", "")]),
        ("offers", [(offers or "nothing", "")]),
    ]
    blocks: list[Block] = [Heading(meeting.title), Facts(facts)]
    if meeting.steps:
        blocks.append(
            Table(("asked", "", "answered", "ms"), [_row(step) for step in meeting.steps], frozenset({3}))
        )
    print()
    show(blocks)


def _row(step: Step) -> Sequence[tuple[str, Style]]:
    answer: tuple[str, Style] = (_cut(step.answer, MAX_ANSWER), "bad" if step.failed else "good")
    return (step.name, "name"), (_cut(step.asked, MAX_ASKED), ""), answer, (f"{step.ms:.1f}", "faint")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _show_rates(rates: dict[str, throughput.Rate]) -> None:
    floor = rates["floor"]

    def row(name: str, what: str) -> Sequence[tuple[str, Style]]:
        rate = rates[name]
        cpu = "" if rate.server_cpu_us is None else f"{rate.server_cpu_us:.1f} us"
        share = (
            f"{rate.server_cpu_us / floor.server_cpu_us:.1f} x"
            if rate.server_cpu_us and floor.server_cpu_us
            else ""
        )
        return [(what, "name"), (f"{rate.calls_per_s:,.0f}", "good"), (cpu, ""), (share, "")]

    columns = [
        f"add(a, b), {throughput.WINDOW} calls in flight",
        "calls/s",
        "server CPU per call",
        "of the floor",
    ]
    rows = [row("taut", "taut: a complete server"), row("floor", "floor: a bare uvloop + msgspec loop")]
    print()
    show([Table(columns, rows, frozenset({1, 2, 3}))])


def _meeting_json(meeting: Meeting) -> dict[str, Any]:
    return {
        **meeting.about,
        "legacyRevision": meeting.legacy,
        "connectMs": meeting.connect_ms,
        "offers": meeting.offers,
        "steps": meeting.steps,
    }
