"""A client that cancels, times out, closes in every order, or is killed: nothing hangs and nothing stays behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest

from faults.loops import FACTORIES, Lines, Run
from faults.wire import SERVER, Wire, alive, until
from taut import Client, Context, Server
from taut.errors import ConnectionClosed, RequestTimeout
from taut.transport.process import ProcessTransport


def pid_of(client: Client) -> int:
    transport = client.connection.transport
    assert isinstance(transport, ProcessTransport)
    return transport.pid


class Waiting:
    """A server in this process whose one tool waits, and tells what became of each call."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()
        self.server = server = Server("waiting", version="1.0")

        @server.tool
        async def wait(name: str, ctx: Context) -> str:
            self.begun.put_nowait(name)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.put_nowait(name)
                raise
            return "never"

        @server.tool
        def add(a: int, b: int) -> int:
            return a + b


# -- cancel and timeout


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_cancelled_call_cancels_its_handler_and_no_other(run: Run, mode: str) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with Client(waiting.server, mode=mode) as client:
            calls = {name: asyncio.ensure_future(client.call_tool("wait", {"name": name})) for name in "abc"}
            assert [await waiting.begun.get() for _ in calls] == ["a", "b", "c"]
            calls["b"].cancel()
            assert await waiting.cancelled.get() == "b"
            assert calls["b"].cancelled() or await asyncio.wait([calls["b"]])
            assert not calls["a"].done()
            assert not calls["c"].done()
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"
            assert client.connection.peer.open_calls == 2
            calls["a"].cancel()
            calls["c"].cancel()
        assert {await waiting.cancelled.get() for _ in range(2)} == {"a", "c"}

    run(main())


def test_cancelled_call_over_a_process_cancels_its_handler(run: Run) -> None:
    async def main() -> None:
        stderr = Lines()
        async with Client(SERVER, stderr=stderr) as client:
            call = asyncio.ensure_future(client.call_tool("wait"))
            await stderr.hold("waiting")
            call.cancel()
            await stderr.hold("cancelled")
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"

    run(main())


def test_call_that_is_cancelled_before_it_was_sent_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with Client(waiting.server) as client:
            for _ in range(100):
                call = asyncio.ensure_future(client.call_tool("wait", {"name": "x"}))
                await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"
            assert client.connection.peer.open_calls == 0

    run(main())


def test_answer_that_crosses_its_cancellation_is_dropped(run: Run) -> None:
    async def main() -> None:
        async with Client(SERVER) as client:
            for number in range(200):
                call = asyncio.ensure_future(client.call_tool("add", {"a": number, "b": 0}))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                call.cancel()
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"
            assert client.connection.peer.open_calls == 0

    run(main())


def test_timeout_cancels_the_handler_and_names_the_call(run: Run) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with Client(waiting.server) as client:
            with pytest.raises(RequestTimeout, match="tools/call"):
                await client.call_tool("wait", {"name": "late"}, timeout_s=0.01)
            assert await waiting.cancelled.get() == "late"
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"

    run(main())


def test_timeouts_of_many_calls_each_hit_their_own(run: Run) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with Client(waiting.server) as client:
            calls = [
                client.call_tool("wait", {"name": str(n)}, timeout_s=0.01 + (n % 7) / 1000)
                for n in range(300)
            ]
            answered = [client.call_tool("add", {"a": n, "b": 0}, timeout_s=10) for n in range(300)]
            results = await asyncio.gather(*calls, *answered, return_exceptions=True)
            assert all(isinstance(one, RequestTimeout) for one in results[:300])
            assert [int(one.content[0].text) for one in results[300:]] == list(range(300))
            assert client.connection.peer.open_calls == 0

    run(main())


# -- close


def test_close_ends_open_calls_and_may_be_called_again(run: Run) -> None:
    async def main() -> None:
        waiting = Waiting()
        client = Client(waiting.server)
        await client.connect()
        call = asyncio.ensure_future(client.call_tool("wait", {"name": "x"}))
        await waiting.begun.get()
        await asyncio.gather(client.close(), asyncio.create_task(client.close()))
        await client.close()
        with pytest.raises(ConnectionClosed):
            await call
        with pytest.raises(ConnectionClosed):
            await client.call_tool("add", {"a": 1, "b": 2})
        assert await waiting.cancelled.get() == "x"

    run(main())


def test_client_may_be_opened_in_one_task_used_in_many_and_closed_in_another(run: Run) -> None:
    async def main() -> None:
        client = Client(SERVER)
        await asyncio.create_task(client.connect())
        pid = pid_of(client)
        calls = [asyncio.create_task(client.call_tool("add", {"a": n, "b": 0})) for n in range(50)]
        assert [int((await call).content[0].text) for call in calls] == list(range(50))
        await asyncio.create_task(client.close())
        assert not alive(pid)

    run(main())


def test_close_from_within_a_callback(run: Run) -> None:
    async def main() -> None:
        server = Server("x", version="1")

        @server.tool
        async def log(ctx: Context) -> str:
            await ctx.info("now")
            await asyncio.Event().wait()
            return "never"

        closing: list[asyncio.Task[None]] = []
        client = Client(
            server, mode="legacy", logging=lambda _: closing.append(asyncio.ensure_future(client.close()))
        )
        await client.connect()
        with pytest.raises(ConnectionClosed):
            await client.call_tool("log")
        await asyncio.gather(*closing)

    run(main())


def test_close_of_a_client_that_never_connected(run: Run) -> None:
    async def main() -> None:
        client = Client(SERVER)
        await client.close()
        with pytest.raises(ConnectionClosed):
            await client.call_tool("add")

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 3, 10])
def test_connect_that_is_cancelled_leaves_no_process(run: Run, turns: int) -> None:
    async def main() -> None:
        client = Client(SERVER)
        connecting = asyncio.ensure_future(client.connect())
        await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        pid = pid_of(client)
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()
        assert not alive(pid)
        await client.close()

    run(main())


def test_close_during_connect_ends_it(run: Run) -> None:
    async def main() -> None:
        child = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        client = Client(child)
        connecting = asyncio.ensure_future(client.connect())
        await asyncio.sleep(0)
        pid = pid_of(client)
        await client.close()
        with pytest.raises(ConnectionClosed):
            await connecting
        assert not alive(pid)

    run(main())


def test_cancelled_close_leaves_no_process_after_all(run: Run) -> None:
    async def main() -> None:
        client = Client(SERVER)
        await client.connect()
        pid = pid_of(client)
        closing = asyncio.ensure_future(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await client.close()
        assert not alive(pid)

    run(main())


def test_nested_clients_end_independently(run: Run) -> None:
    async def main() -> None:
        waiting = Waiting()
        async with Client(SERVER) as one:
            async with Client(SERVER) as two, Client(waiting.server) as three:
                clients = [one, two, three]
                results = await asyncio.gather(*(c.call_tool("add", {"a": 1, "b": 2}) for c in clients))
                assert [one.content[0].text for one in results] == ["3", "3", "3"]
            assert (await one.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"

    run(main())


@pytest.mark.parametrize("kind", FACTORIES)
def test_clients_in_event_loops_of_their_own_threads(kind: str) -> None:
    outcomes: list[str] = []

    async def main() -> None:
        async with Client(SERVER) as client:
            calls = (client.call_tool("add", {"a": n, "b": 0}) for n in range(200))
            assert [int(one.content[0].text) for one in await asyncio.gather(*calls)] == list(range(200))
        outcomes.append("done")

    threads = [threading.Thread(target=Run(kind), args=(main(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == ["done"] * 3


def test_loop_that_ends_without_a_close_leaves_no_process() -> None:
    """The program forgot: its loop is closed, and then its process ends."""
    script = (
        "import asyncio\nfrom taut import Client\n"
        "async def main():\n"
        f"    client = Client({SERVER!r})\n"
        "    await client.connect()\n"
        "    print(client.connection.transport.pid, flush=True)\n"
        "asyncio.run(main())\n"
    )
    with Wire([sys.executable, "-c", script]) as program:
        pid = int(program.raw_line())
        program.status()
        until(lambda: not alive(pid), "the server to be gone")


@pytest.mark.parametrize("tool", ["wait", "block", "block_thread"])
def test_killed_client_takes_its_server_along(tool: str) -> None:
    script = (
        "import asyncio, sys\nfrom taut import Client\n"
        "async def main():\n"
        f"    async with Client({SERVER!r}) as client:\n"
        "        print(client.connection.transport.pid, flush=True)\n"
        f"        await client.call_tool('{tool}', {{}} if '{tool}' == 'wait' else {{'seconds': 60}})\n"
        "asyncio.run(main())\n"
    )
    with Wire([sys.executable, "-c", script]) as client:
        pid = int(client.raw_line())
        client.until_stderr("waiting" if tool == "wait" else "blocking")
        client.signal(signal.SIGKILL)
        until(lambda: not alive(pid), "the server to be gone")
