"""Servers by name, with servers in memory: who connects, who shares, what ends when, whoever is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from web import until

from faults.leftovers import CleanRun, Time
from faults.loops import FACTORIES
from taut import Client, Context, Server
from taut.client import Backoff, ServerLease, ServerPool
from taut.client.pooled import PooledClient
from taut.errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    LocalProtocolError,
    RequestTimeout,
    ToolError,
    TransportError,
)
from taut.transport.base import Transport
from taut.transport.memory import memory_pair

pytestmark = pytest.mark.processes

#: Turns of the loop after which the work is interrupted, at most; most ends before that.
TURNS = 40


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> CleanRun:
    """Run a coroutine, which must leave nothing."""
    return CleanRun(request.param)


class Shop:
    """A server that counts its connections, keeps them waiting, refuses them, and can hang up."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()
        self.calls: list[str] = []
        #: Whether connections must wait for `let_in`.
        self.closed = False
        self.fails = False
        self.arrived = asyncio.Event()
        self.let_in = asyncio.Event()
        self._transports: list[Transport] = []
        self.app = app = Server("shop", version="1.0")

        @app.tool
        def add(a: int, b: int) -> int:
            self.calls.append("add")
            return a + b

        @app.tool
        async def wait(name: str) -> str:
            self.begun.put_nowait(name)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.put_nowait(name)
                raise
            return "never"

        @app.tool
        async def count(to: int, ctx: Context) -> str:
            for number in range(1, to + 1):
                await ctx.progress(number, to)
            return str(ctx.meta.extra["example/given"])

        @app.tool
        def crash() -> str:
            self.calls.append("crash")
            self.hang_up()
            return "never heard"

    async def serve(self, transport: Transport) -> None:
        self.connections += 1
        self.open += 1
        self._transports.append(transport)
        self.arrived.set()
        try:
            if self.closed:
                await self.let_in.wait()
            if self.fails:
                raise RuntimeError("no goods")
            await self.app.serve(transport)
        finally:
            self.open -= 1
            transport.close()

    def hang_up(self) -> None:
        """End every connection, as a server does that dies."""
        for transport in self._transports:
            transport.close()


async def add(lease: ServerLease, **options: Any) -> str:
    return (await lease.call_tool("add", {"a": 1, "b": 2}, **options)).text


async def lost(client: Client) -> None:
    """Wait until the connection of ``client`` is gone."""
    await until(lambda: client.connection.lost is not None)


# -- starting and sharing


class TestLeases:
    def test_nothing_is_started_before_it_is_asked_for(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop, "other": Shop()}) as pool:
                assert pool.names == ("shop", "other")
                async with pool.lease("shop") as lease:
                    assert lease.name == "shop"
                    await asyncio.sleep(0)
                    assert shop.connections == 0
                    assert (pool.status()["shop"].state, pool.status()["shop"].users) == ("idle", 1)
                    assert await add(lease) == "3"
                    status = pool.status()["shop"]
                    assert (status.state, status.users) == ("connected", 1)
                    assert status.server_info is not None
                    assert status.server_info.name == "shop"
                    assert pool.status()["other"].state == "idle"
                assert (pool.status()["shop"].state, pool.status()["shop"].users) == ("idle", 0)
                assert shop.open == 0

        run(main())

    def test_an_unknown_name_is_refused_with_the_known_ones(self, run: CleanRun) -> None:
        async def main() -> None:
            async with ServerPool({"a": Shop(), "b": Shop()}) as pool:
                with pytest.raises(ConfigError, match=r"\(a, b\), got 'c'"):
                    pool.lease("c")

        run(main())

    def test_all_who_ask_at_once_get_one_connection(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                leases = [pool.lease("shop") for _ in range(10)]
                clients = await asyncio.gather(*(lease.client() for lease in leases for _ in range(3)))
                assert len(set(map(id, clients))) == 1
                assert shop.connections == 1
                assert pool.status()["shop"].users == 10

        run(main())

    def test_the_first_to_leave_leaves_the_others_calls_alone(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                first, second = pool.lease("shop"), pool.lease("shop")
                await first.client()
                call = asyncio.create_task(second.call_tool("wait", {"name": "x"}))
                await shop.begun.get()
                await first.release()
                assert await add(second) == "3"
                assert not call.done()
                await second.release()
                with pytest.raises(ConnectionClosed):
                    await call
                assert await shop.cancelled.get() == "x"
                assert shop.connections == 1
                assert shop.open == 0

        run(main())

    def test_servers_are_connected_to_side_by_side(self, run: CleanRun) -> None:
        async def main() -> None:
            shops = {name: Shop() for name in "abc"}
            for shop in shops.values():
                shop.closed = True
            async with ServerPool(shops) as pool:
                leases = [pool.lease(name) for name in pool.names]
                connecting = [asyncio.create_task(lease.client()) for lease in leases]
                for shop in shops.values():  # each waits before any is let in
                    await shop.arrived.wait()
                assert {one.state for one in pool.status().values()} == {"connecting"}
                for shop in shops.values():
                    shop.let_in.set()
                await asyncio.gather(*connecting)

        run(main())

    def test_released_twice_and_at_once_it_counts_once(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                lease, other = pool.lease("shop"), pool.lease("shop")
                await lease.client()
                await asyncio.gather(lease.release(), lease.release(), lease.release())
                await lease.release()
                assert pool.status()["shop"].users == 1
                assert await add(other) == "3"
                await asyncio.gather(*(asyncio.create_task(other.release()) for _ in range(3)))
                assert shop.open == 0

        run(main())

    def test_a_released_lease_is_of_no_use(self, run: CleanRun) -> None:
        async def main() -> None:
            async with ServerPool({"shop": Shop()}) as pool:
                lease = pool.lease("shop")
                await lease.release()
                for use in (lease.client, lease.tools, lambda: add(lease)):
                    with pytest.raises(ConnectionClosed, match="shop: the lease was released") as caught:
                        await use()
                    assert caught.value.sent is False

        run(main())

    def test_taken_in_one_task_used_in_another_released_in_a_third(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            pool = ServerPool({"shop": shop})

            async def take() -> ServerLease:
                lease = pool.lease("shop")
                await lease.client()
                return lease

            lease = await asyncio.create_task(take())
            calls = [asyncio.create_task(add(lease)) for _ in range(20)]
            assert [await call for call in calls] == ["3"] * 20
            await asyncio.create_task(lease.release())
            assert shop.open == 0
            await asyncio.create_task(pool.close())

        run(main())

    def test_a_connection_that_is_asked_for_while_the_last_one_ends_waits_for_that(
        self, run: CleanRun
    ) -> None:
        """Two at a time might want the same file, or the same port."""
        leaving, may_leave = asyncio.Event(), asyncio.Event()
        steps: list[str] = []

        class Slow(Shop):
            async def serve(self, transport: Transport) -> None:
                steps.append("in")
                await super().serve(transport)
                leaving.set()
                await may_leave.wait()
                steps.append("out")

        async def main() -> None:
            async with ServerPool({"s": Slow()}) as pool:
                first = pool.lease("s")
                await first.client()
                releasing = asyncio.create_task(first.release())
                await leaving.wait()
                second = pool.lease("s")
                connecting = asyncio.create_task(second.client())
                for _ in range(10):
                    await asyncio.sleep(0)
                assert steps == ["in"]
                may_leave.set()
                await connecting
                await releasing
                assert steps == ["in", "out", "in"]

        run(main())

    def test_what_the_first_caller_has_set_is_not_the_servers(self, run: CleanRun) -> None:
        asked = contextvars.ContextVar("asked", default="nobody")
        seen: list[str] = []

        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            seen.append(asked.get())
            yield

        async def main() -> None:
            before = asked.set("the maker")
            async with ServerPool({"s": Server("s", lifespan=lifespan)}) as pool:
                asked.reset(before)
                asked.set("the first caller")
                async with pool.lease("s") as lease:
                    await lease.client()
            assert seen == ["the maker"]

        run(main())


class TestKeeping:
    def test_a_connection_is_kept_for_the_next(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            kept: list[float] = []
            over = asyncio.Event()

            async def sleep(seconds: float) -> None:
                kept.append(seconds)
                await over.wait()

            async with ServerPool({"shop": shop}, keep_s=30, sleep=sleep) as pool:
                for _ in range(3):
                    async with pool.lease("shop") as lease:
                        assert await add(lease) == "3"
                    await asyncio.sleep(0)
                assert pool.status()["shop"].state == "connected"
                assert pool.status()["shop"].users == 0
                assert (shop.connections, kept) == (1, [30, 30, 30])
                async with pool.lease("shop") as lease:
                    over.set()  # too late: there is a user again
                    for _ in range(10):
                        await asyncio.sleep(0)
                    assert pool.status()["shop"].state == "connected"
                    assert shop.connections == 1
                await until(lambda: not shop.open)
                assert pool.status()["shop"].state == "idle"

        run(main())

    def test_close_does_not_wait_for_that(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            pool = ServerPool({"shop": shop}, keep_s=3600)
            async with pool.lease("shop") as lease:
                await lease.client()
            assert shop.open == 1
            await pool.close()
            assert shop.open == 0

        run(main())

    def test_an_attempt_to_connect_is_not_kept(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.closed = True
            async with ServerPool({"shop": shop}, keep_s=3600) as pool:
                lease = pool.lease("shop")
                connecting = asyncio.create_task(lease.client())
                await shop.arrived.wait()
                await lease.release()
                assert shop.open == 0
                with pytest.raises(ConnectionClosed):
                    await connecting

        run(main())


# -- cancelling


class TestCancelling:
    def test_one_who_waits_is_nothing_to_the_others(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.closed = True
            async with ServerPool({"shop": shop}) as pool:
                leases = [pool.lease("shop") for _ in range(3)]
                first, second, third = (asyncio.create_task(lease.client()) for lease in leases)
                await shop.arrived.wait()
                first.cancel()  # who had begun it
                second.cancel()
                await asyncio.wait([first, second])
                assert first.cancelled()
                assert second.cancelled()
                await leases[0].release()
                shop.let_in.set()
                assert await third is await leases[1].client()
                assert shop.connections == 1

        run(main())

    def test_a_caller_that_gives_up_finds_the_connection_later(self, run: CleanRun) -> None:
        """A server that takes longer to start than a call may last must come up in the end."""

        async def main() -> None:
            shop = Shop()
            shop.closed = True
            async with ServerPool({"shop": shop}) as pool, pool.lease("shop") as lease:
                with pytest.raises(RequestTimeout, match=r"tools/call within 0\.01 s"):
                    await add(lease, total_timeout_s=0.01)
                assert pool.status()["shop"].state == "connecting"
                shop.let_in.set()
                assert await add(lease, total_timeout_s=60) == "3"
                assert shop.connections == 1

        run(main())

    def test_without_a_lease_connecting_is_given_up(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.closed = True
            async with ServerPool({"shop": shop}) as pool:
                lease = pool.lease("shop")
                waiting = [asyncio.create_task(lease.client()) for _ in range(3)]
                await shop.arrived.wait()
                await lease.release()
                assert shop.open == 0
                for one in waiting:
                    with pytest.raises(
                        ConnectionClosed, match="shop: given up, as nobody held a lease"
                    ) as caught:
                        await one
                    assert caught.value.sent is False
                assert pool.status()["shop"].state == "idle"
                shop.closed = False
                async with pool.lease("shop") as lease:
                    assert await add(lease) == "3"

        run(main())

    def test_a_release_that_is_cancelled_goes_on(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                lease = pool.lease("shop")
                await lease.client()
                releasing = asyncio.create_task(lease.release())
                await asyncio.sleep(0)
                releasing.cancel()
                await asyncio.wait([releasing])
                await lease.release()
                assert shop.open == 0

        run(main())

    def test_a_cancelled_call_is_cancelled_at_the_server(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool, pool.lease("shop") as lease:
                call = asyncio.create_task(lease.call_tool("wait", {"name": "x"}))
                await shop.begun.get()
                call.cancel()
                assert await shop.cancelled.get() == "x"
                assert await add(lease) == "3"

        run(main())


WORK: dict[str, Callable[[ServerPool, ServerLease], Awaitable[Any]]] = {
    "client": lambda pool, lease: lease.client(),
    "call": lambda pool, lease: add(lease),
    "tools": lambda pool, lease: lease.tools(),
    "release": lambda pool, lease: lease.release(),
    "close": lambda pool, lease: pool.close(),
}


async def cancel(pool: ServerPool, lease: ServerLease, task: asyncio.Future[Any]) -> None:
    task.cancel()


async def hang_up(pool: ServerPool, lease: ServerLease, task: asyncio.Future[Any]) -> None:
    shop = pool.servers["shop"]
    assert isinstance(shop, Shop)
    shop.hang_up()


STOP: dict[str, Callable[[ServerPool, ServerLease, asyncio.Future[Any]], Awaitable[None]]] = {
    "cancel": cancel,
    "release": lambda pool, lease, task: lease.release(),
    "close": lambda pool, lease, task: pool.close(),
    "hang up": hang_up,
}


@pytest.mark.parametrize("stop", STOP)
@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_at_any_moment(run: CleanRun, mode: str, what: str, stop: str) -> None:
    async def interrupted(turns: int) -> bool:
        """Begin ``what``, stop it, check what is left; tell whether it had ended before."""
        shop = Shop()
        pool = ServerPool({"shop": shop}, client_options={"mode": mode}, reconnect=Backoff(initial_s=0))
        lease, other = pool.lease("shop"), pool.lease("shop")
        if what in ("release", "close"):
            await lease.client()
        work = asyncio.ensure_future(WORK[what](pool, lease))
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = work.done()
        await STOP[stop](pool, lease, work)
        outcome = (await asyncio.gather(work, return_exceptions=True))[0]
        assert not isinstance(outcome, Exception) or isinstance(outcome, TransportError)
        if stop == "hang up":  # which this call may meet, too
            with contextlib.suppress(TransportError):
                await add(other)
        if "close" not in (what, stop):  # nothing that one does is anything to another
            assert await add(other) == "3"
        await lease.release()
        await other.release()
        assert shop.open == 0 or what == "close"  # which may have been cancelled, and goes on
        await pool.close()
        assert shop.open == 0
        return ended

    async def main() -> None:
        for turns in range(TURNS):
            before = asyncio.all_tasks()
            ended = await interrupted(turns)
            for _ in range(3):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() <= before
            if ended:
                break

    run(main())


# -- the end


ORDERS = list(itertools.permutations(["first", "second", "pool", "pool again"]))


class TestClosing:
    @pytest.mark.parametrize("order", ORDERS, ids=" then ".join)
    def test_in_any_order(self, run: CleanRun, order: tuple[str, ...]) -> None:
        async def main() -> None:
            shop = Shop()
            pool = ServerPool({"shop": shop})
            first, second = pool.lease("shop"), pool.lease("shop")
            await asyncio.gather(first.client(), second.client())
            calls = [asyncio.create_task(lease.call_tool("wait", {"name": "x"})) for lease in (first, second)]
            for _ in calls:
                await shop.begun.get()
            ends = {
                "first": first.release,
                "second": second.release,
                "pool": pool.close,
                "pool again": pool.close,
            }
            for name in order:
                await asyncio.create_task(ends[name]())
            assert shop.open == 0
            for call in calls:
                with pytest.raises(ConnectionClosed):
                    await call

        run(main())

    def test_all_at_once(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            pool = ServerPool({"shop": shop})
            leases = [pool.lease("shop") for _ in range(5)]
            await leases[0].client()
            await asyncio.gather(pool.close(), *(lease.release() for lease in leases), pool.close())
            assert shop.open == 0

        run(main())

    def test_while_connecting(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.closed = True
            pool = ServerPool({"shop": shop})
            lease = pool.lease("shop")
            waiting = [asyncio.create_task(use()) for use in (lease.client, lease.tools, lambda: add(lease))]
            await shop.arrived.wait()
            await pool.close()
            assert shop.open == 0
            for one in waiting:
                with pytest.raises(ConnectionClosed, match="shop: given up, as the pool was closed"):
                    await one
            await lease.release()

        run(main())

    def test_after_that_there_is_nothing_to_be_had(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            pool = ServerPool({"shop": shop})
            lease, unused = pool.lease("shop"), pool.lease("shop")
            await lease.client()
            await pool.close()
            for use in (lease.client, lease.tools, unused.client, lambda: add(lease)):
                with pytest.raises(ConnectionClosed, match="shop: the pool is closed"):
                    await use()
            with pytest.raises(ConnectionClosed, match="shop: the pool is closed"):
                pool.lease("shop")
            assert pool.status()["shop"].state == "idle"
            assert shop.connections == 1

        run(main())

    def test_a_pool_that_was_never_used(self, run: CleanRun) -> None:
        async def main() -> None:
            pool = ServerPool({"shop": Shop()})
            await pool.close()
            await pool.close()

        run(main())

    def test_what_a_server_fails_with_at_its_end_is_logged(
        self, run: CleanRun, caplog: pytest.LogCaptureFixture
    ) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            yield
            raise RuntimeError("no farewell")

        async def main() -> None:
            async with ServerPool({"s": Server("s", lifespan=lifespan)}) as pool, pool.lease("s") as lease:
                await lease.client()

        run(main())
        assert "the server s failed at its end" in caplog.text
        assert "no farewell" in caplog.text


class TestNesting:
    def test_pools_within_pools(self, run: CleanRun) -> None:
        async def main() -> None:
            one, two = Shop(), Shop()
            async with ServerPool({"shop": one}) as outer, outer.lease("shop") as lease:
                await lease.client()
                async with ServerPool({"shop": two}) as inner, inner.lease("shop") as other:
                    assert await asyncio.gather(add(lease), add(other)) == ["3", "3"]
                assert (one.open, two.open) == (1, 0)
                assert await add(lease) == "3"

        run(main())

    def test_a_server_that_itself_uses_the_pool(self, run: CleanRun) -> None:
        """Agents that are served are used by others: three deep, each takes its lease within a call."""

        async def main() -> None:
            apps: dict[str, Any] = {"bottom": Shop()}

            def asking(below: str) -> Server:
                app = Server("asking")

                @app.tool(name="add")
                async def add_below(a: int, b: int) -> str:
                    async with pool.lease(below) as lease:
                        return (await lease.call_tool("add", {"a": a, "b": b})).text

                return app

            apps["middle"], apps["top"] = asking("bottom"), asking("middle")
            async with ServerPool(apps) as pool, pool.lease("top") as lease:
                assert await asyncio.gather(*(add(lease) for _ in range(10))) == ["3"] * 10
                assert [one.users for one in pool.status().values()] == [0, 0, 1]

        run(main())


# -- failures


class TestFailures:
    def test_one_is_told_to_all_who_wait_and_names_the_server(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.fails = True
            async with ServerPool({"shop": shop}) as pool, pool.lease("shop") as lease:
                outcomes = await asyncio.gather(*(lease.client() for _ in range(5)), return_exceptions=True)
                for outcome in outcomes:
                    assert isinstance(outcome, ConnectError)
                    assert str(outcome) == "shop: RuntimeError('no goods')"
                    assert isinstance(outcome.__cause__, RuntimeError)
                assert shop.connections == 1
                status = pool.status()["shop"]
                assert (status.state, status.error) == ("failed", "shop: RuntimeError('no goods')")

        run(main())

    def test_the_next_request_tries_again_after_a_pause_that_grows(self, run: CleanRun) -> None:
        async def main() -> None:
            shop, time = Shop(), Time()
            shop.fails = True
            backoff = Backoff(initial_s=1, maximum_s=4)
            async with ServerPool({"shop": shop}, reconnect=backoff, **time.options) as pool:
                lease = pool.lease("shop")
                for _ in range(5):
                    with pytest.raises(ConnectError, match="no goods"):
                        await add(lease)
                assert time.slept == [1, 2, 4, 4]
                time.now_s += 2  # of the four
                shop.fails = False
                assert await add(lease) == "3"
                assert time.slept[4:] == [2]
                assert pool.status()["shop"].error is None

        run(main())

    @pytest.mark.parametrize("end", ["lost", "released"])
    def test_failures_are_forgotten_once_a_connection_has_lasted(self, run: CleanRun, end: str) -> None:
        async def main() -> None:
            shop, time = Shop(), Time()
            shop.fails = True
            async with ServerPool({"shop": shop}, **time.options) as pool:
                lease = pool.lease("shop")
                for _ in range(4):
                    with pytest.raises(ConnectError):
                        await lease.client()
                shop.fails = False
                client = await lease.client()
                time.now_s += 60
                time.slept.clear()
                shop.fails = True
                if end == "lost":
                    shop.hang_up()
                    await lost(client)
                else:
                    await lease.release()
                    assert (pool.status()["shop"].state, pool.status()["shop"].error) == ("idle", None)
                    lease = pool.lease("shop")
                for _ in range(3):
                    with pytest.raises(ConnectError):
                        await lease.client()
                assert time.slept == [0.5, 1]

        run(main())

    def test_many_leave_nothing(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.fails = True
            async with ServerPool({"shop": shop}, reconnect=Backoff(initial_s=0)) as pool:
                lease = pool.lease("shop")
                for _ in range(20):
                    with pytest.raises(ConnectError):
                        await lease.client()
                gc.collect()
                assert not [one for one in gc.get_objects() if isinstance(one, PooledClient)]

        run(main())

    def test_a_server_that_keeps_dying_is_left_alone_as_well(self, run: CleanRun) -> None:
        async def main() -> None:
            shop, time = Shop(), Time()
            backoff = Backoff(initial_s=1, maximum_s=60)
            async with ServerPool({"shop": shop}, reconnect=backoff, **time.options) as pool:
                lease = pool.lease("shop")
                for _ in range(5):
                    client = await lease.client()
                    shop.hang_up()
                    await lost(client)
                    assert pool.status()["shop"].state == "failed"
                assert time.slept == [1, 2, 4]  # the first time may have been one bad call

        run(main())

    def test_a_pause_ends_with_the_lease(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.fails = True
            pausing = asyncio.Event()

            async def sleep(seconds: float) -> None:
                pausing.set()
                await asyncio.Event().wait()

            async with ServerPool({"shop": shop}, sleep=sleep) as pool:
                lease = pool.lease("shop")
                with pytest.raises(ConnectError):
                    await lease.client()
                waiting = asyncio.create_task(lease.client())
                await pausing.wait()
                await lease.release()
                with pytest.raises(ConnectionClosed):
                    await waiting
                assert shop.connections == 1

        run(main())

    def test_one_that_cannot_start_does_not_hinder_the_others(self, run: CleanRun) -> None:
        async def main() -> None:
            broken, silent, sound = Shop(), Shop(), Shop()
            broken.fails = silent.closed = True
            names = {"broken": broken, "silent": silent, "sound": sound, "missing": ["/nonexistent/server"]}
            async with ServerPool(names) as pool:
                leases = {name: pool.lease(name) for name in pool.names}
                asking = {name: asyncio.create_task(lease.client()) for name, lease in leases.items()}
                await asking["sound"]
                assert await add(leases["sound"]) == "3"
                with pytest.raises(ConnectError, match="broken: "):
                    await asking["broken"]
                with pytest.raises(ConfigError, match="missing: Cannot start '/nonexistent/server'"):
                    await asking["missing"]
                assert pool.status()["silent"].state == "connecting"
                for lease in leases.values():
                    await lease.release()
                with pytest.raises(ConnectionClosed):
                    await asking["silent"]

        run(main())

    def test_connecting_has_a_limit_for_all_of_it(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            shop.closed = True
            options = {"connect_timeout_s": 0.01}
            async with (
                ServerPool({"shop": shop}, client_options=options) as pool,
                pool.lease("shop") as lease,
            ):
                with pytest.raises(ConnectTimeout, match=r"shop: no connection within 0\.01 s"):
                    await lease.client()
                assert shop.open == 0

        run(main())

    def test_an_error_that_is_raised_again_is_named_once(self, run: CleanRun) -> None:
        refusal = ConnectError("closed today")

        class Refusing:
            async def serve(self, transport: Transport) -> None:
                raise refusal

        async def main() -> None:
            pool = ServerPool({"shop": Refusing()}, reconnect=Backoff(initial_s=0))
            async with pool, pool.lease("shop") as lease:
                for _ in range(3):
                    with pytest.raises(ConnectError) as caught:
                        await lease.client()
                    assert str(caught.value) == "shop: closed today"

        run(main())


class TestAConnectionThatDoesNotLast:
    @pytest.fixture
    def dying(self, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Any], object]]:
        """What is done to the next connections once they are made."""
        fates: list[Callable[[Any], object]] = []
        connect = PooledClient.connect

        async def connect_and_die(self: PooledClient) -> Any:
            agreement = await connect(self)
            if fates:
                fates.pop()(self.connection)
            return agreement

        monkeypatch.setattr(PooledClient, "connect", connect_and_die)
        return fates

    def test_until_the_pool_has_it(self, run: CleanRun, dying: list[Callable[[Any], object]]) -> None:
        async def main() -> None:
            pool = ServerPool({"shop": Shop()}, **Time().options)
            async with pool, pool.lease("shop") as lease:
                dying.append(lambda connection: connection.transport._lose(ConnectionClosed("gone")))
                with pytest.raises(ConnectionClosed, match="shop: gone"):
                    await lease.client()
                assert pool.status()["shop"].state == "failed"
                assert await add(lease) == "3"

        run(main())

    def test_until_those_who_wait_have_it(self, run: CleanRun, dying: list[Callable[[Any], object]]) -> None:
        async def main() -> None:
            pool = ServerPool({"shop": Shop()}, **Time().options)
            loop = asyncio.get_running_loop()
            async with pool, pool.lease("shop") as lease:
                gone = ConnectionClosed("gone")
                dying.append(lambda connection: loop.call_soon(connection.transport._lose, gone))
                with pytest.raises(ConnectionClosed, match="shop: gone") as caught:
                    await add(lease)
                assert not caught.value.sent
                assert await add(lease) == "3"

        run(main())


class TestReconnecting:
    def test_a_lost_connection_is_replaced_once_for_all(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                leases = [pool.lease("shop") for _ in range(5)]
                client = await leases[0].client()
                shop.hang_up()
                await lost(client)
                assert pool.status()["shop"].state == "failed"
                assert await asyncio.gather(*map(add, leases)) == ["3"] * 5
                assert shop.connections == 2
                assert shop.open == 1

        run(main())

    def test_a_call_that_may_have_been_carried_out_is_not_sent_again(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool, pool.lease("shop") as lease:
                with pytest.raises(ConnectionClosed) as caught:
                    await lease.call_tool("crash")
                assert caught.value.sent
                assert shop.calls == ["crash"]
                assert await add(lease) == "3"
                assert shop.connections == 2

        run(main())

    def test_one_that_may_be_repeated_is_repeated_once(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            pool = ServerPool({"shop": shop}, reconnect=Backoff(initial_s=0))
            async with pool, pool.lease("shop") as lease:
                for first in (False, True):
                    if first:
                        await lease.client()
                    shop.calls.clear()
                    with pytest.raises(ConnectionClosed):
                        await lease.call_tool("crash", replay=True)
                    assert shop.calls == ["crash", "crash"]
                call = asyncio.create_task(lease.call_tool("wait", {"name": "x"}, replay=True))
                await shop.begun.get()
                shop.hang_up()
                await shop.begun.get()
                call.cancel()

        run(main())

    def test_one_that_was_not_sent_is_sent(self, run: CleanRun, monkeypatch: pytest.MonkeyPatch) -> None:
        call_tool = PooledClient.call_tool
        failures = [ConnectionClosed(sent=False)]

        async def fail_first(self: PooledClient, *words: Any, **options: Any) -> Any:
            if failures:
                self.connection.close()
                await self.connection.wait_closed()
                raise failures.pop()
            return await call_tool(self, *words, **options)

        monkeypatch.setattr(PooledClient, "call_tool", fail_first)

        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool, pool.lease("shop") as lease:
                await lease.client()
                assert await add(lease) == "3"
                assert (shop.calls, shop.connections) == (["add"], 2)

        run(main())

    @pytest.mark.parametrize("end", ["release", "close"])
    def test_our_own_end_of_the_call_is_its_end(self, run: CleanRun, end: str) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                lease = pool.lease("shop")
                call = asyncio.create_task(lease.call_tool("wait", {"name": "x"}, replay=True))
                await shop.begun.get()
                await (lease.release if end == "release" else pool.close)()
                with pytest.raises(ConnectionClosed) as caught:
                    await call
                assert caught.value.sent
                assert shop.connections == 1

        run(main())

    def test_a_client_that_its_user_closes_is_replaced(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool, pool.lease("shop") as lease:
                client = await lease.client()
                await client.close()
                assert await add(lease) == "3"
                assert shop.connections == 2

        run(main())


# -- calls


class TestCalls:
    def test_options_are_the_clients(self, run: CleanRun) -> None:
        async def main() -> None:
            heard: list[float] = []
            async with ServerPool({"shop": Shop()}) as pool, pool.lease("shop") as lease:
                for _ in range(2):  # not connected, and connected
                    result = await lease.call_tool(
                        "count",
                        {"to": 2},
                        on_progress=lambda params: heard.append(params.progress),
                        meta={"example/given": "yes"},
                        timeout_s=10,
                        total_timeout_s=20,
                    )
                    assert result.text == "yes"
                assert heard == [1, 2, 1, 2]
                for option in ("timeout_s", "total_timeout_s"):
                    with pytest.raises(RequestTimeout, match="tools/call"):
                        await lease.call_tool("wait", {"name": "x"}, **{option: 0.01})
                with pytest.raises(ToolError):
                    await lease.call_tool("count", {"to": 0}, raise_on_error=True)  # without meta

        run(main())

    def test_connecting_counts_for_the_whole_time(
        self, run: CleanRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call_tool = PooledClient.call_tool
        left: list[float] = []

        async def watched(self: PooledClient, *words: Any, **options: Any) -> Any:
            left.append(options["total_timeout_s"])
            return await call_tool(self, *words, **options)

        monkeypatch.setattr(PooledClient, "call_tool", watched)

        async def main() -> None:
            async with ServerPool({"shop": Shop()}) as pool, pool.lease("shop") as lease:
                assert await add(lease, total_timeout_s=60.0) == "3"
            assert 0 < left[0] < 60

        run(main())

    def test_client_options_are_for_every_connection(self, run: CleanRun) -> None:
        app = Server("s")

        @app.tool
        async def roots(ctx: Context) -> list[str]:
            return [root.uri for root in await ctx.list_roots()]

        async def main() -> None:
            options = {"roots": iter(["file:///a"]), "mode": "legacy"}
            async with ServerPool({"one": app, "two": app}, client_options=options) as pool:
                for name in ("one", "two", "one"):
                    async with pool.lease(name) as lease:
                        result = await lease.call_tool("roots")
                        assert result.structured_content == {"result": ["file:///a"]}

        run(main())


# -- event loops


class TestLoops:
    def test_a_lease_may_be_taken_before_there_is_a_loop(self, run: CleanRun) -> None:
        shop = Shop()
        pool = ServerPool({"shop": shop})
        lease, unused = pool.lease("shop"), pool.lease("shop")

        async def main() -> None:
            assert pool.status()["shop"].users == 0
            assert lease.version == 0
            assert await add(lease) == "3"
            assert pool.status()["shop"].users == 1
            await unused.release()
            assert shop.open == 1
            await lease.release()
            assert shop.open == 0

        run(main())

    def test_a_lease_is_refused_in_another_loop(self, run: CleanRun) -> None:
        async def main() -> None:
            async with ServerPool({"shop": Shop()}) as pool:
                lease = pool.lease("shop")
                await lease.client()

                async def elsewhere() -> None:
                    for use in (lease.client, lease.tools, lambda: add(lease)):
                        with pytest.raises(LocalProtocolError, match="this lease of shop belongs to"):
                            await use()

                await asyncio.to_thread(asyncio.run, elsewhere())
                assert await add(lease) == "3"

        run(main())

    def test_a_lease_may_be_released_in_another_loop(self, run: CleanRun) -> None:
        async def main() -> None:
            shop = Shop()
            async with ServerPool({"shop": shop}) as pool:
                lease = pool.lease("shop")
                await lease.client()
                await asyncio.to_thread(asyncio.run, lease.release())
                await lease.release()
                await until(lambda: not shop.open)
                assert pool.status()["shop"].users == 0

        run(main())

    def test_and_after_its_own_has_ended(self, run: CleanRun) -> None:
        pool = ServerPool({"shop": Shop()})

        async def main() -> ServerLease:
            return pool.lease("shop")

        lease = run(main())
        run(lease.release())
        run(pool.close())

    def test_one_loop_after_another(self, run: CleanRun) -> None:
        shop = Shop()
        pool = ServerPool({"shop": shop})

        async def main() -> None:
            async with pool.lease("shop") as lease:
                assert await add(lease) == "3"

        for _ in range(5):
            run(main())
        assert shop.connections == 5
        assert len(pool._loops) == 1  # what is gone is not kept


class TestSettings:
    def test_what_can_never_work_is_refused_at_once(self) -> None:
        for servers, options, what in (
            ({"x": memory_pair()[0]}, {}, "x: Expected a ServerConfig.*got MemoryTransport"),
            ({"x": 3}, {}, "x: Expected a ServerConfig.*got int"),
            ({"x": ""}, {}, "x: Expected a command"),
            ({"x": "ftp://example.com"}, {}, "x: Expected a URL"),
            ({"x": Shop()}, {"client_options": {"log_level": "loud"}}, "x: Expected a log level"),
            ({"x": Shop()}, {"keep_s": -1}, "keep_s of at least 0"),
            ({"x": "http://localhost/mcp"}, {"auth": {"y": object()}}, r"name of a server \(x\), got 'y'"),
        ):
            with pytest.raises(ConfigError, match=what):
                ServerPool(servers, **options)
        with pytest.raises(TypeError, match="no_such_option"):
            ServerPool({"x": Shop()}, client_options={"no_such_option": 1})

    def test_pauses_are_pauses(self) -> None:
        with pytest.raises(ConfigError, match="got 3 and 2"):
            Backoff(initial_s=3, maximum_s=2)
        backoff = Backoff(initial_s=1, maximum_s=8)
        assert [backoff.pause_s(failures, 0.0) for failures in range(6)] == [0, 0.5, 1, 2, 4, 4]
        assert backoff.pause_s(10_000, 1.0) == 8
        assert backoff.pause_s(1, 0.0, asked_s=3) == 3
        assert backoff.pause_s(1, 0.0, asked_s=300) == 8
