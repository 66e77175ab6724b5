"""Much at once: huge messages, long pipelines, and peers that do not read."""

from __future__ import annotations

import asyncio
import json

import pytest

from faults.loops import Run
from faults.wire import SERVER, Wire
from taut import Client
from taut.errors import LimitExceeded
from taut.mcp.limits import Limits

pytestmark = pytest.mark.faults

MB = 1024 * 1024


def test_message_of_100_mb_comes_back_and_costs_a_bounded_multiple_of_memory() -> None:
    text = "x" * (100 * MB)

    async def main() -> None:
        async with Client(SERVER) as client:
            result = await client.call_tool("size", {"text": text})
            assert result.content[0].text == str(len(text))
            result = await client.call_tool("echo", {"text": text})
            assert result.content[0].text == text
            peak = int((await client.call_tool("memory")).content[0].text)
            # Received once and decoded once, or returned once and encoded once, besides the interpreter itself.
            assert peak < 2.5 * len(text) + 64 * MB

    Run("uvloop")(main())


def test_message_over_the_limit_is_refused_by_the_server_and_the_next_call_is_answered(run: Run) -> None:
    async def main() -> None:
        async with Client(SERVER, env={"TORMENT_LIMITS": '{"max_message_bytes":1000000}'}) as client:
            small = asyncio.ensure_future(client.call_tool("wait", timeout_s=5))
            big = asyncio.ensure_future(client.call_tool("size", {"text": "x" * 2_000_000}))
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"
            small.cancel()
            await asyncio.wait([small, big])
            assert "max_message_bytes is 1000000" in str(big.exception())

    run(main())


def test_answer_over_the_limit_ends_its_call_and_no_other(run: Run) -> None:
    async def main() -> None:
        async with Client(SERVER, limits=Limits(max_message_bytes=1_000_000)) as client:
            with pytest.raises(LimitExceeded, match="max_message_bytes is 1000000"):
                await client.call_tool("big", {"count": 2_000_000})
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"

    run(main())


@pytest.mark.parametrize(("tool", "mode"), [("add", "legacy"), ("add_later", "auto")])
def test_10_000_pipelined_calls_are_all_answered(run: Run, tool: str, mode: str) -> None:
    async def main() -> None:
        async with Client(SERVER, mode=mode) as client:
            calls = (client.call_tool(tool, {"a": n, "b": 1}) for n in range(10_000))
            results = await asyncio.gather(*calls)
            assert [int(one.content[0].text) for one in results] == list(range(1, 10_001))
            assert client.connection.peer.open_calls == 0
            assert client.connection.peer.stray_answers == 0

    run(main())


def test_10_000_pipelined_lines_that_nobody_reads_meanwhile() -> None:
    """The client writes everything before it reads anything, as a naive one does."""
    with Wire() as server:
        lines = [server.tool("add" if n % 2 else "add_later", {"a": n, "b": 1}, id=n) for n in range(10_000)]
        server.send(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        answers = [server.line() for _ in lines]
        assert sorted(one["id"] for one in answers) == list(range(10_000))
        assert all(int(one["result"]["content"][0]["text"]) == one["id"] + 1 for one in answers)


def test_both_sides_may_have_much_to_write_at_once(run: Run) -> None:
    """Each side has more unsent than it buffers: neither may wait for the other to read first."""
    limits = Limits(max_unsent_bytes=64 * 1024)

    async def main() -> None:
        env = {"TORMENT_LIMITS": '{"max_unsent_bytes":65536}'}
        async with Client(SERVER, env=env, limits=limits) as client:
            text = "y" * 400_000
            results = await asyncio.gather(*(client.call_tool("echo", {"text": text}) for _ in range(50)))
            assert all(one.content[0].text == text for one in results)

    run(main())


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_client_that_does_not_read_costs_bounded_memory_and_gets_everything_later(loop: str) -> None:
    env = {"TAUT_LOOP": loop, "TORMENT_LIMITS": '{"max_unsent_bytes":1000000}'}
    with Wire(env=env) as server:
        before = int(server.call("memory"))
        calls = 300
        # 300 answers of 1 MB are asked for, and none is read.
        server.send_lines(*[server.tool("big", {"count": 500_000}, id=n) for n in range(calls)])
        server.send_lines(server.tool("memory", id="memory"))
        seen = [server.line() for _ in range(calls)]
        assert [one["id"] for one in seen] == list(range(calls))
        grown = int(server.line()["result"]["content"][0]["text"]) - before
        # One read event is worked on whole: what it asks for may be in memory at once, besides what is unsent.
        assert grown < 400 * MB


def test_burst_of_requests_beyond_the_limit_is_refused_and_not_queued() -> None:
    with Wire(env={"TORMENT_LIMITS": '{"max_in_flight":100}'}) as server:
        server.send_lines(*[server.tool("wait", id=n) for n in range(1000)])
        refused = [server.line() for _ in range(900)]
        assert all(one["error"]["data"]["limit"] == "max_in_flight" for one in refused)
        assert sorted(one["id"] for one in refused) == list(range(100, 1000))
        assert server.ask(server.tool("add", {"a": 1, "b": 2}))["error"]["data"]["maximum"] == 100
