"""A desk of agents in a process of its own: everything once more over stdio, in both eras, with our client and with
the official one.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.desks import ERAS, LEGACY, MODERN, approve, info, read, run_of
from agent.worlds import run
from taut import Client, ToolError
from taut.errors import RemoteError, RequestCancelled

pytestmark = pytest.mark.processes

HERE = Path(__file__).parent
SERVER = [sys.executable, str(HERE / "desk_server.py")]
#: The environment of the official SDK 2.x (``make peers``).
PEER = HERE.parents[1] / ".peers" / "mcp2" / "bin" / "python"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def told(client: Client, tool: str, **arguments: str) -> list[str]:
    result = await client.call_tool(tool, arguments, raise_on_error=True)
    assert isinstance(result.structured_content, dict)
    found: list[str] = result.structured_content["result"]
    return found


def test_agents_over_stdio(era: str) -> None:
    async def main() -> None:
        said: list[str] = []
        async with Client(SERVER, mode=era, elicitation=approve) as client:
            paid = await client.call_tool(
                "clerk", {"task": "Ada; Bob"}, on_progress=lambda one: said.append(str(one.message))
            )
            assert paid.text == "paid Ada; paid Bob"
            assert await told(client, "done") == ["look", "pay Ada", "pay Bob"]
            assert "clerk: calls pay" in said
            weather = await client.call_tool("weather", {"task": "Oslo"})
            assert weather.structured_content == {"city": "Oslo", "degrees": 4}
            assert (await read(client, f"run://{run_of(paid)}"))["status"] == "completed"

            calling = asyncio.ensure_future(client.call_tool("thinker", {"task": "tea"}))
            await client.call_tool("wait", {"text": "tea"})
            calling.cancel()
            await client.call_tool("wait", {"text": "cancelled tea"})

            task = await client.start_tool("thinker", {"task": "more tea"})
            await client.call_tool("wait", {"text": "more tea"})
            await task.cancel()
            await client.call_tool("wait", {"text": "cancelled more tea"})
            with pytest.raises((RequestCancelled, RemoteError)):
                await task.result()

            run_id = (await info(client, "run_start", agent="thinker", task="coffee"))["run_id"]
            async with await client.subscribe(f"run://{run_id}") as changes:
                await client.call_tool("open_gate")
                async for _ in changes:
                    if (await read(client, f"run://{run_id}"))["status"] == "completed":
                        break
            assert (await info(client, "run_status", run_id=run_id))["output"] == "thought about coffee"
            assert len((await info(client, "run_list"))["runs"]) == 5

    run(main())


def test_what_waits_is_taken_up_over_stdio(era: str) -> None:
    async def main() -> None:
        async with Client(SERVER, mode=era) as client:
            result = await client.call_tool("clerk", {"task": "Ada"})
            assert result.is_error is True
            await info(client, "run_resume", run_id=run_of(result), approve="all")
            ended = await info(client, "run_status", run_id=run_of(result), wait_s=20)
            assert ended["output"] == "paid Ada"
            assert await told(client, "done") == ["look", "pay Ada"]
            with pytest.raises(ToolError, match="No such run"):
                await info(client, "run_status", run_id="0" * 32)

    run(main())


def test_the_example_says_what_it_promises() -> None:
    example = HERE.parents[1] / "examples" / "agent_server.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "  clerk: step 1",
        "  clerk: calls count",
        "  clerk: count answered",
        "  clerk: step 2",
        '  clerk: {"article":"milk","left":0}',
        "  clerk: completed",
        "clerk: {'article': 'milk', 'left': 0}",
        "  asked: The agent buyer wants to call function:order with",
        "buyer: The shop says: 5 of milk ordered.",
        "suspended: order {'article': 'tea', 'amount': 5}",
        "completed: The shop says: 1 of tea ordered.",
        "4 messages, 4 of tea",
    ]


@pytest.mark.interop
@pytest.mark.parametrize("mode", ["legacy", "auto", MODERN])
def test_the_official_client_finds_its_way_around(mode: str) -> None:
    if not PEER.exists():
        pytest.skip("mcp2 is not installed (make peers)")
    done = subprocess.run(
        [str(PEER), str(HERE / "desk_client_mcp2.py"), mode, *SERVER],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["revision"] == (LEGACY if mode == "legacy" else MODERN)
    assert {"clerk", "thinker", "weather", "run_start", "run_status", "run_resume"} <= set(seen["tools"])
    assert seen["weather"] == {"city": "Oslo", "degrees": 4}
    assert seen["paid"] == {"text": "paid Ada; paid Bob", "is_error": False}
    assert len(seen["asked"]) == 2
    assert seen["done"] == ["look", "pay Ada", "pay Bob"]
    assert "clerk: calls pay" in seen["progress"]
    assert seen["declined"]["text"] == "The call was not approved: The user declined. Do not repeat it."
    assert seen["run"]["status"] == "completed"
    assert seen["run"]["output"] == "thought about tea"
    assert seen["resource"] == seen["run"]
    assert seen["unknown"] == {"text": "No such run: x", "is_error": True}
    assert seen["cancelled"] == "asked"
