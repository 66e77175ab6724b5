"""A client over HTTP whose server dies, restarts or is reached through a broken box.

Every call ends: with its own result, or with an error. No result is another call's, none comes twice, and the client
goes on when the server is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.chaos import ChaosProxy, Odds
from faults.loops import Run
from taut import Client
from taut.client.http import HttpConnection
from taut.errors import (
    ConnectError,
    ConnectionClosed,
    ProtocolError,
    RequestTimeout,
    TautError,
    TransportError,
)

pytestmark = pytest.mark.faults

ERAS = ("2026-07-28", "2025-11-25")
SERVER = str(Path(__file__).with_name("tools.py"))
ODDS = {
    "cut": Odds(cut=0.15),
    "stall": Odds(stall=0.05),
    "double": Odds(double=0.15),
    "swap": Odds(swap=0.15),
    "split": Odds(split=0.3),
    "all": Odds(cut=0.05, stall=0.02, double=0.05, swap=0.05, split=0.2),
}


class Process:
    """``taut serve`` at a port that stays the same when it is started again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.child: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        words = [sys.executable, "-m", "taut", "serve", f"{SERVER}:app", "--http", f"127.0.0.1:{self.port}"]
        self.child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        self.until("http://")

    def until(self, text: str) -> None:
        """Wait until the server has said something."""
        assert self.child is not None
        assert self.child.stderr is not None
        line = self.child.stderr.readline()
        while not re.search(text, line):
            assert line, "the server has ended"
            line = self.child.stderr.readline()

    def kill(self) -> None:
        if self.child is not None:
            self.child.send_signal(signal.SIGKILL)
            self.child.communicate()
            self.child = None


@pytest.fixture(scope="module")
def there() -> Iterator[Process]:
    process = Process()
    yield process
    process.kill()


@pytest.fixture
def mortal() -> Iterator[Process]:
    process = Process()
    yield process
    process.kill()


async def ends(call: Any) -> Any:
    """Return the result of a call, or its error if it is one of ours."""
    try:
        return await call
    except TautError as error:
        return error


class TestABrokenBox:
    @pytest.mark.parametrize("era", ERAS)
    @pytest.mark.parametrize("kind", ODDS)
    def test_each_call_gets_its_own_result_or_an_error(
        self, run: Run, there: Process, era: str, kind: str
    ) -> None:
        seed = sum(map(ord, kind + era + run.kind))

        async def main() -> None:
            async with (
                ChaosProxy(there.port, seed, answers=ODDS[kind]) as proxy,
                connected(proxy, era) as client,
            ):
                good = 0
                for start in range(0, 60, 6):
                    numbers = range(start, start + 6)
                    calls = (ends(client.call_tool("add", {"a": n, "b": 1000 * n})) for n in numbers)
                    for number, result in zip(numbers, await asyncio.gather(*calls), strict=True):
                        if not isinstance(result, TautError):
                            good += 1
                            assert result.text == str(1001 * number)
                        else:
                            assert isinstance(result, TransportError | RequestTimeout | ProtocolError)
                assert client.connection.peer.open_calls == 0
                assert sum(proxy.done.values())
                assert good

        run(main())

    def test_requests_that_arrive_twice_or_in_pieces_do_no_harm(self, run: Run, there: Process) -> None:
        async def main() -> None:
            odds = Odds(cut=0.1, double=0.1, swap=0.1, split=0.2)
            async with ChaosProxy(there.port, 7, requests=odds) as proxy, connected(proxy, ERAS[0]) as client:
                for number in range(40):
                    result = await ends(client.call_tool("add", {"a": number, "b": 1000 * number}))
                    assert isinstance(result, TautError) or result.text == str(1001 * number)

        run(main())


@contextlib.asynccontextmanager
async def connected(proxy: ChaosProxy, era: str) -> AsyncIterator[Client]:
    """A client that has come through a box which may break its beginning as well."""
    for _ in range(50):
        client = Client(f"http://127.0.0.1:{proxy.port}/mcp", mode=era, timeout_s=0.5, connect_timeout_s=0.5)
        with contextlib.suppress(TautError):
            await client.connect()
            break
    else:
        raise AssertionError("Expected one attempt in fifty to come through")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        yield client


@pytest.mark.parametrize("era", ERAS)
class TestAServerThatIsKilled:
    def test_open_calls_end_and_the_client_goes_on_when_it_is_back(
        self, run: Run, mortal: Process, era: str
    ) -> None:
        async def main() -> None:
            async with Client(mortal.url, mode=era) as client:
                for _ in range(2):
                    waiting = [asyncio.ensure_future(client.call_tool("wait")) for _ in range(3)]
                    fast = client.call_tool("add", {"a": 1, "b": 1})
                    assert (await fast).text == "2"
                    for _ in waiting:
                        await asyncio.to_thread(mortal.until, "waiting")
                    mortal.kill()
                    for result in await asyncio.gather(*waiting, return_exceptions=True):
                        assert isinstance(result, ConnectionClosed)
                        assert result.sent
                    for result in await asyncio.gather(
                        *(client.call_tool("add", {"a": 1, "b": 1}) for _ in range(3)), return_exceptions=True
                    ):
                        assert isinstance(result, ConnectError | ConnectionClosed)
                    await asyncio.to_thread(mortal.start)
                    results = await asyncio.gather(
                        *(client.call_tool("add", {"a": n, "b": 1}) for n in range(5))
                    )
                    assert [one.text for one in results] == ["1", "2", "3", "4", "5"]
                    assert client.connection.peer.open_calls == 0

        run(main())

    def test_what_is_watched_is_watched_again(self, run: Run, mortal: Process, era: str) -> None:
        async def main() -> None:
            async with Client(mortal.url, mode=era) as client:
                changes = await client.subscribe(tools=True)
                mortal.kill()
                await asyncio.to_thread(mortal.start)
                if era == "2025-11-25":
                    await client.call_tool("add", {"a": 1, "b": 1})
                # Nobody knows what has changed in between.
                change = await anext(changes)
                assert change.method == "notifications/tools/list_changed"

        run(main())


class TestManyThatAreGivenUp:
    @pytest.mark.parametrize("era", ERAS)
    def test_leave_nothing(self, run: Run, there: Process, era: str) -> None:
        async def main() -> None:
            async with Client(there.url, mode=era) as client:
                await client.call_tool("add", {"a": 1, "b": 1})
                before = len(asyncio.all_tasks())
                for _ in range(10):
                    calls = [asyncio.ensure_future(client.call_tool("wait")) for _ in range(20)]
                    await asyncio.sleep(0)
                    for call in calls:
                        call.cancel()
                    await asyncio.gather(*calls, return_exceptions=True)
                assert (await client.call_tool("add", {"a": 1, "b": 1})).text == "2"
                connection = client.connection
                assert isinstance(connection, HttpConnection)
                await connection.drain()
                assert connection.peer.open_calls == 0
                assert len(connection.peer.out) == 0
                # Connections that were begun for calls that are gone may still be on their way.
                while len(asyncio.all_tasks()) > before:
                    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=0.01)  # type: ignore[arg-type]

        run(main())
