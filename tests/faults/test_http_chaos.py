"""Our client and our server with a network between them that fails.

Each call ends, with its own result or with an error, and no tool that may run once only runs twice.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from faults.chaos import ChaosProxy, Odds
from faults.loops import Run
from taut import Client
from taut.errors import TautError

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

SERVER = Path(__file__).with_name("chaos_server.py")
CALLS = 120
#: Seconds after which a call that was lost is given up: longer than a busy machine takes for one.
GIVE_UP_S = 1.5

#: What goes wrong, in which direction.
NETWORKS = {
    "cut requests": {"requests": Odds(cut=0.15)},
    "cut answers": {"answers": Odds(cut=0.15)},
    "stalled requests": {"requests": Odds(stall=0.1)},
    "stalled answers": {"answers": Odds(stall=0.1)},
    "swapped answers": {"answers": Odds(swap=0.3, split=0.1)},
    "doubled answers": {"answers": Odds(double=0.3)},
    "everything": {
        "requests": Odds(cut=0.05, stall=0.03, split=0.1),
        "answers": Odds(cut=0.05, stall=0.03, double=0.1, swap=0.1, split=0.1),
    },
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    child = subprocess.Popen(
        [sys.executable, "-m", "taut", "serve", str(SERVER), "--http", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", child.stderr.readline())
    assert found is not None
    yield int(found[1])
    child.terminate()
    child.communicate(timeout=20)


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"


@asynccontextmanager
async def connected(port: int, mode: str) -> AsyncIterator[Client]:
    """A client whose connecting may fail as well: until it does not."""
    for _ in range(50):
        client = Client(url(port), mode=mode, timeout_s=GIVE_UP_S, connect_timeout_s=GIVE_UP_S)
        try:
            await client.connect()
        except TautError:
            await client.close()
            continue
        try:
            yield client
        finally:
            await client.close()
        return
    raise AssertionError("no connection came about")


async def outcome(client: Client, key: str, number: int, *, streams: bool) -> int | str:
    """Return what a call came to: its result, or its error."""
    tool = "count_and_stream" if streams else "count"
    try:
        result = await client.call_tool(tool, {"key": key, "number": number})
    except TautError as error:
        return f"{type(error).__name__}: {error}"
    assert result.is_error is not True, result.text
    return int(result.text)


@pytest.mark.parametrize("streams", [False, True], ids=["json", "events"])
@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_call_has_its_own_result_or_an_error(port: int, network: str, mode: str, streams: bool) -> None:
    key = f"{network} {mode} {streams}"

    async def main() -> tuple[list[int | str], dict[str, int], Counter[str]]:
        async with ChaosProxy(port, seed=CALLS, **NETWORKS[network]) as proxy:
            async with connected(proxy.port, mode) as client:
                calls = [outcome(client, key, number, streams=streams) for number in range(CALLS)]
                ended = await asyncio.wait_for(asyncio.gather(*calls), 60)
            assert any(proxy.done.values()), "nothing went wrong"
        async with Client(url(port)) as client:
            ran = (await client.call_tool("runs", {"key": key})).structured_content
        return ended, ran, Counter(one for one in ended if isinstance(one, str))

    ended, ran, errors = Run("uvloop", patience_s=90)(main())
    for number, found in enumerate(ended):
        assert found == number or isinstance(found, str), f"{number} got the result of {found}"
        if found == number:
            assert ran.get(str(number), 0) >= 1
        assert ran.get(str(number), 0) <= 1, f"{number} ran {ran[str(number)]} times, and ended as {found}"
    assert sum(errors.values()) < CALLS, errors
