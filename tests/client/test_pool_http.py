"""Servers of a pool at URLs: connecting, cancelling and closing leave no connection, and a server may come back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from serving import serving
from web import Asked, legacy, modern, until, web

from faults.leftovers import CleanRun, Time
from faults.loops import FACTORIES, Run
from taut import Server
from taut.client import Backoff, ServerConfig, ServerLease, ServerPool
from taut.errors import ConnectError, ConnectionClosed, ConnectTimeout, HttpError, TransportError

pytestmark = pytest.mark.processes

ERAS = ("legacy", "2026-07-28")
#: Turns of the loop after which the work is interrupted, at most; most ends before that.
TURNS = 60


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> CleanRun:
    """Run a coroutine, which must leave nothing."""
    return CleanRun(request.param)


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Queue[str]]]:
    """A server that takes connections and says nothing; tells of each that comes and goes."""
    events: asyncio.Queue[str] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events.put_nowait("came")
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        events.put_nowait("went")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", events


def refusing() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"


class TestASilentServer:
    @pytest.mark.parametrize("end", ["release", "close", "both"])
    def test_giving_up_closes_the_connection(self, run: CleanRun, end: str) -> None:
        async def main() -> None:
            async with silent() as (url, events):
                pool = ServerPool({"s": url})
                lease = pool.lease("s")
                waiting = [asyncio.create_task(lease.client()) for _ in range(3)]
                assert await events.get() == "came"
                waiting[0].cancel()
                await asyncio.wait([waiting[0]])
                assert events.empty()  # the others still wait
                ends = {
                    "release": [lease.release],
                    "close": [pool.close],
                    "both": [lease.release, pool.close],
                }
                await asyncio.gather(*(stop() for stop in ends[end]))
                assert await events.get() == "went"
                for one in waiting[1:]:
                    with pytest.raises(ConnectionClosed, match="s: given up"):
                        await one
                await pool.close()

        run(main())

    def test_its_time_is_limited(self, run: CleanRun) -> None:
        async def main() -> None:
            async with silent() as (url, events):
                config = ServerConfig(url=url, connect_timeout_s=0.05)
                async with ServerPool({"s": config}) as pool, pool.lease("s") as lease:
                    with pytest.raises(ConnectTimeout, match="s: "):
                        await lease.client()
                    assert await events.get() == "came"
                    assert await events.get() == "went"

        run(main())


class TestNobody:
    def test_all_are_told_and_the_port_is_left_alone_for_a_while(self, run: CleanRun) -> None:
        async def main() -> None:
            time = Time()
            async with ServerPool({"s": refusing()}, reconnect=Backoff(initial_s=1), **time.options) as pool:
                lease = pool.lease("s")
                for _ in range(3):
                    outcomes = await asyncio.gather(
                        *(lease.client() for _ in range(4)), return_exceptions=True
                    )
                    for outcome in outcomes:
                        assert isinstance(outcome, ConnectError)
                        assert str(outcome).startswith("s: ")
                        assert not outcome.sent
                assert time.slept == [1, 2]

        run(main())

    def test_cancelled_while_it_is_asked_for(self, run: CleanRun) -> None:
        async def main() -> None:
            async with ServerPool({"s": refusing()}, reconnect=Backoff(initial_s=0)) as pool:
                for turns in range(20):
                    lease = pool.lease("s")
                    asking = asyncio.create_task(lease.client())
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    asking.cancel()
                    await asyncio.wait([asking])
                    await lease.release()

        run(main())

    def test_a_server_that_wants_to_be_left_alone(self, run: CleanRun) -> None:
        async def main() -> None:
            time = Time()

            async def busy(asked: Asked) -> None:
                asked.reply(status=503, retry_after="20")

            async with (
                web(busy) as there,
                ServerPool({"s": there.url}, **time.options) as pool,
                pool.lease("s") as lease,
            ):
                for _ in range(2):
                    with pytest.raises(TransportError, match="s: "):
                        await lease.client()
                assert time.slept == [20]

        run(main())


def ours(before: set[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Return the tasks that are not of ``before``, nor of the server."""
    others = ("/uvicorn/", "/taut/server/")
    return [task for task in asyncio.all_tasks() - before if not any(one in repr(task) for one in others)]


class TestASoundServer:
    @pytest.mark.parametrize("mode", ERAS)
    def test_connected_in_one_task_closed_in_another(self, run: CleanRun, mode: str) -> None:
        app = Server("s")
        app.tool(name="first")(lambda: "first")

        @app.tool
        def grow() -> str:
            app.tool(name="second")(lambda: "second")
            return "grown"

        async def main() -> None:
            async with serving(app) as url:
                before = asyncio.all_tasks()
                pool = ServerPool({"s": ServerConfig(url=url, mode=mode)})

                async def take() -> ServerLease:
                    lease = pool.lease("s")
                    assert len(await lease.tools()) == 2
                    return lease

                lease = await asyncio.create_task(take())
                assert (await lease.call_tool("first")).text == "first"
                await lease.call_tool("grow")
                await until(lambda: lease.version == 2)
                assert len(await lease.tools()) == 3
                await asyncio.create_task(lease.release())
                await asyncio.create_task(pool.close())
                await asyncio.sleep(0)
                assert not ours(before)

        Run(run.kind)(main())  # as uvicorn leaves a task

    @pytest.mark.parametrize("mode", ERAS)
    def test_calls_in_flight_end_when_the_pool_is_closed(self, run: CleanRun, mode: str) -> None:
        app = Server("s")
        begun: asyncio.Queue[None] = asyncio.Queue()

        @app.tool
        async def wait() -> None:
            begun.put_nowait(None)
            await asyncio.Event().wait()

        async def main() -> None:
            async with serving(app) as url:
                before = asyncio.all_tasks()
                pool = ServerPool({"s": ServerConfig(url=url, mode=mode)})
                leases = [pool.lease("s") for _ in range(3)]
                calls = [asyncio.create_task(lease.call_tool("wait", replay=True)) for lease in leases]
                for _ in calls:
                    await begun.get()
                await leases[0].release()
                await asyncio.sleep(0)
                assert not any(call.done() for call in calls)
                await pool.close()
                for call in calls:
                    with pytest.raises(ConnectionClosed):
                        await call
                await asyncio.sleep(0)
                assert not ours(before)

        Run(run.kind)(main())  # as uvicorn leaves a task


class TestListing:
    def test_what_fails_without_a_loss_is_not_repeated(self, run: CleanRun) -> None:
        async def main() -> None:
            async def refuse(asked: Asked) -> None:
                asked.reply(status=404 if asked.method == "subscriptions/listen" else 500)

            async with (
                web(modern(refuse)) as there,
                ServerPool({"s": there.url}) as pool,
                pool.lease("s") as lease,
            ):
                with pytest.raises(HttpError):
                    await lease.tools()
                assert there.methods().count("tools/list") == 1

        run(main())


class TestACallThatIsCut:
    @pytest.mark.parametrize(("replay", "times"), [(False, 1), (True, 2)])
    def test_is_sent_again_only_if_it_may_be(self, run: CleanRun, replay: bool, times: int) -> None:
        """Such a client is not lost: only the one connection of this call was."""

        calls = 0

        async def cut_first(asked: Asked) -> None:
            nonlocal calls
            calls += asked.method == "tools/call"
            if asked.method == "tools/call" and calls > 1:
                asked.text("done")
            else:
                asked.drop()

        async def main() -> None:
            async with (
                web(modern(cut_first)) as there,
                ServerPool({"s": there.url}) as pool,
                pool.lease("s") as lease,
            ):
                await lease.client()
                if replay:
                    assert (await lease.call_tool("t", replay=True)).text == "done"
                else:
                    with pytest.raises(ConnectionClosed):
                        await lease.call_tool("t")
                assert calls == times
                assert there.methods().count("server/discover") == 1

        run(main())


@pytest.mark.parametrize("what", ["client", "tools", "call_tool"])
@pytest.mark.parametrize("stop", ["cancel", "release", "close"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_at_any_moment(run: CleanRun, era: str, stop: str, what: str) -> None:
    async def answer(asked: Asked) -> None:
        if asked.verb == "GET":
            asked.stream()
        elif asked.method == "subscriptions/listen":
            asked.stream()
            meta = {"io.modelcontextprotocol/subscriptionId": asked.message["id"]}
            params = {"_meta": meta, "notifications": {"toolsListChanged": True}}
            asked.event({"method": "notifications/subscriptions/acknowledged", "params": params})
        elif asked.method == "tools/list":
            asked.result({"resultType": "complete", "tools": []})
        else:
            asked.text("ok")

    async def interrupted(turns: int) -> bool:
        """Begin ``what``, stop it, check what is left; tell whether it had ended before."""
        async with web(modern(answer) if era == "modern" else legacy(answer, events=True)) as there:
            before = asyncio.all_tasks()
            pool = ServerPool({"s": ServerConfig(url=there.url, mode="auto" if era == "modern" else era)})
            lease, other = pool.lease("s"), pool.lease("s")
            work = asyncio.ensure_future(getattr(lease, what)(*(("t",) if what == "call_tool" else ())))
            for _ in range(turns):
                await asyncio.sleep(0)
            ended = work.done()
            if stop == "cancel":
                work.cancel()
            await {"cancel": lease.release, "release": lease.release, "close": pool.close}[stop]()
            with contextlib.suppress(ConnectionClosed, asyncio.CancelledError):
                await work
            if stop != "close":
                assert (await other.call_tool("t")).text == "ok"
            await other.release()
            await pool.close()
            await asyncio.sleep(0)
            left = [task for task in asyncio.all_tasks() - before if "Web._serve" not in repr(task)]
            assert not left
        return ended

    async def main() -> None:
        for turns in range(TURNS):
            if await interrupted(turns):
                break

    run(main())
