"""After many calls, connections and children, everything is as it was: memory of the core, descriptors, objects."""

from __future__ import annotations

import asyncio
import collections
import gc
import os

import pytest

from faults.loops import Lines, Run
from faults.wire import SERVER
from taut import Client, Server
from taut._core import buffer

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def no_records(caplog: pytest.LogCaptureFixture) -> None:
    """Log records that are kept keep the frames of what they tell of."""
    caplog.set_level("CRITICAL", logger="taut.server")


def make_server() -> Server:
    server = Server("leaks", version="1.0")

    @server.tool
    def echo(text: str) -> str:
        return text

    @server.tool
    async def echo_later(text: str) -> str:
        await asyncio.sleep(0)
        return text

    @server.tool
    async def wait() -> str:
        await asyncio.Event().wait()
        return "never"

    @server.tool
    def fail() -> str:
        raise RuntimeError("on purpose")

    return server


def objects_of_taut() -> collections.Counter[str]:
    gc.collect()
    return collections.Counter(
        f"{type(one).__module__}.{type(one).__qualname__}"
        for one in gc.get_objects()
        if str(type(one).__module__).startswith("taut")
    )


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def converse(client: Client, calls: int) -> None:
    """Make calls of every kind: small, large, failing, cancelled."""
    for start in range(0, calls, 100):
        large = "x" * (5_000 if start % 500 else 200_000)
        batch = [client.call_tool("echo" if n % 2 else "echo_later", {"text": large}) for n in range(90)]
        waits = [asyncio.ensure_future(client.call_tool("wait")) for _ in range(5)]
        fails = [client.call_tool("fail" if n % 2 else "nope") for n in range(5)]
        results = await asyncio.gather(*batch, *fails, return_exceptions=True)
        assert all(one.content[0].text == large for one in results[:90])
        for one in waits:
            one.cancel()
        await asyncio.wait(waits)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_5_000_calls_on_one_connection_leave_nothing(run: Run, mode: str) -> None:
    async def main() -> None:
        async with Client(make_server(), mode=mode) as client:
            await converse(client, 500)
            before, alive = objects_of_taut(), buffer.live_objects()
            await converse(client, 5_000)
            assert objects_of_taut() - before == collections.Counter()
            assert buffer.live_objects()["spans"] == alive["spans"]
            assert client.connection.peer.open_calls == 0

    run(main())


def test_200_connections_in_memory_leave_nothing(run: Run) -> None:
    server = make_server()

    async def main() -> None:
        for number in range(200):
            async with Client(server, mode="legacy" if number % 2 else "auto") as client:
                assert (await client.call_tool("echo", {"text": "x" * 5_000})).content

    run(main())
    gc.collect()
    before, objects, files = buffer.live_objects(), objects_of_taut(), descriptors()
    run(main())
    assert objects_of_taut() - objects == collections.Counter()
    assert buffer.live_objects() == before
    assert descriptors() == files


def test_everything_of_the_core_is_freed_at_the_end(run: Run) -> None:
    gc.collect()
    before = buffer.live_objects()

    async def main() -> None:
        async with Client(make_server()) as client:
            await converse(client, 500)

    run(main())
    gc.collect()
    assert buffer.live_objects() == before


def test_children_leave_no_descriptor_thread_or_object(run: Run) -> None:
    async def main(count: int) -> None:
        for number in range(count):
            async with Client(SERVER, stderr=Lines()) as client:
                assert (await client.call_tool("add", {"a": number, "b": 1})).content

    run(main(1))
    objects, files, before = objects_of_taut(), descriptors(), buffer.live_objects()
    run(main(9))
    assert descriptors() == files
    assert objects_of_taut() - objects == collections.Counter()
    assert buffer.live_objects() == before


def test_failed_connections_leave_nothing(run: Run) -> None:
    async def main(count: int) -> None:
        async def fail() -> None:
            with pytest.raises(Exception):  # noqa: B017, PT011  # which one is for other tests
                await Client(["/bin/sh", "-c", "exit 3"], stderr=Lines()).connect()

        for _ in range(count):
            await fail()

    run(main(1))
    objects, files = objects_of_taut(), descriptors()
    run(main(10))
    assert descriptors() == files
    assert objects_of_taut() - objects == collections.Counter()
