"""Servers of a pool that are processes: killed, silent, broken, in many threads. No call twice, no child left."""

from __future__ import annotations

import asyncio
import collections
import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.leftovers import CleanRun, Time
from faults.loops import FACTORIES, Lines, Run
from faults.wire import SERVER, alive
from taut.client import ServerConfig, ServerLease, ServerPool
from taut.errors import ConfigError, ConnectionClosed, TautError, TransportError
from taut.transport import process
from taut.transport.process import ProcessTransport
from transport.served import Served

pytestmark = pytest.mark.faults

#: Reads all that it is told and never answers.
SILENT = [sys.executable, "-c", "import sys; print('up', file=sys.stderr, flush=True); sys.stdin.read()"]
#: Says why it cannot start.
BROKEN = [sys.executable, "-c", "import sys; sys.exit('no licence')"]
#: Notes each call in a file before it does what it is told; what it notes must never be there twice.
NOTING = """
import os, signal, sys
from taut import Server

app = Server("noting")

def note(what):
    with open(sys.argv[1], "a") as file:
        print(what, os.getpid(), file=file, flush=True)

@app.tool
def pid() -> int:
    return os.getpid()

@app.tool
def die(number: int) -> str:
    note(f"die {number}")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"

@app.tool
def write(number: int) -> str:
    note(f"write {number}")
    return "written"

note("start")
app.run()
"""


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> CleanRun:
    """Run a coroutine, which must leave nothing."""
    return CleanRun(request.param)


class Noting:
    """A server that can be killed, and tells afterwards what it was asked."""

    def __init__(self, folder: Path) -> None:
        script, self.notes = folder / "noting.py", folder / "notes"
        script.write_text(NOTING)
        self.config = ServerConfig(command=[sys.executable, str(script), str(self.notes)])

    def noted(self, what: str) -> int:
        return sum(line.startswith(f"{what} ") for line in self.notes.read_text().splitlines())


async def pid_of(lease: ServerLease) -> int:
    transport = (await lease.client()).connection.transport  # type: ignore[attr-defined]
    assert isinstance(transport, ProcessTransport)
    return transport.pid


async def killed(lease: ServerLease) -> int:
    """Kill the server, and wait until that is known; returns its process id."""
    client = await lease.client()
    pid = await pid_of(lease)
    os.kill(pid, signal.SIGKILL)
    await client.connection.wait_lost()  # type: ignore[attr-defined]
    return pid


async def add(lease: ServerLease) -> str:
    return (await lease.call_tool("add", {"a": 1, "b": 2})).text


# -- the end


@pytest.mark.parametrize("order", list(itertools.permutations(["one", "two", "pool"])), ids=" then ".join)
def test_closed_in_any_order_by_other_tasks(run: CleanRun, order: tuple[str, ...]) -> None:
    async def main() -> None:
        stderr = Lines()
        pool = ServerPool({"s": SERVER}, client_options={"stderr": stderr})
        leases = {"one": pool.lease("s"), "two": pool.lease("s")}
        pid = await asyncio.create_task(pid_of(leases["one"]))
        calls = [asyncio.create_task(lease.call_tool("wait")) for lease in leases.values()]
        await stderr.hold("waiting", 2)
        for name in order:
            await asyncio.create_task(pool.close() if name == "pool" else leases[name].release())
        assert not alive(pid)
        for call in calls:
            with pytest.raises(ConnectionClosed):
                await call

    run(main())


@pytest.mark.parametrize("end", ["release", "close", "both"])
@pytest.mark.parametrize("heard", [True, False], ids=["silent", "not even up"])
def test_connecting_to_a_silent_child_is_given_up(run: CleanRun, end: str, heard: bool) -> None:
    async def main() -> None:
        stderr = Lines()
        pool = ServerPool({"s": SILENT}, client_options={"stderr": stderr})
        lease = pool.lease("s")
        waiting = [asyncio.create_task(lease.client()) for _ in range(3)]
        if heard:
            await stderr.hold("up")
        else:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert not waiting[1].done()
        ends = {"release": [lease.release], "close": [pool.close], "both": [lease.release, pool.close]}
        await asyncio.gather(*(stop() for stop in ends[end]))
        assert children() == set()
        for one in waiting[1:]:
            with pytest.raises(ConnectionClosed, match="s: given up"):
                await one
        await pool.close()

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10])
def test_cancelled_and_closed_at_any_moment(run: CleanRun, turns: int) -> None:
    async def main() -> None:
        for stop in ("cancel", "release", "close"):
            pool = ServerPool({"s": SERVER}, client_options={"stderr": Lines()})
            lease = pool.lease("s")
            work = asyncio.create_task(lease.tools())
            for _ in range(turns):
                await asyncio.sleep(0)
            if stop == "cancel":
                work.cancel()
            elif stop == "release":
                await lease.release()
            await pool.close()
            assert children() == set()
            outcome = (await asyncio.gather(work, return_exceptions=True))[0]
            assert isinstance(outcome, ConnectionClosed | asyncio.CancelledError)

    run(main())


def test_a_release_that_meets_the_end_of_an_attempt_waits_for_it(
    run: CleanRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that takes its time to end, although the attempt to connect to it is over."""
    monkeypatch.setattr(process, "EXIT_S", 0.3)

    async def main() -> None:
        config = ServerConfig(command=["sleep", "600"], connect_timeout_s=0.01)
        async with ServerPool({"s": config}) as pool:
            lease = pool.lease("s")
            asking = asyncio.create_task(lease.client())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            (client,) = pool._loops[asyncio.get_running_loop()]["s"]._clients
            transport = client.connection.transport  # type: ignore[attr-defined]
            await client.connection.wait_lost()  # type: ignore[attr-defined]
            assert alive(transport.pid)
            await lease.release()
            assert not alive(transport.pid)
            with pytest.raises(ConnectionClosed):
                await asking

    run(main())


def test_the_first_to_leave_leaves_the_child(run: CleanRun) -> None:
    async def main() -> None:
        stderr = Lines()
        async with ServerPool({"s": SERVER}, client_options={"stderr": stderr}) as pool:
            first, second = pool.lease("s"), pool.lease("s")
            pid = await pid_of(first)
            call = asyncio.create_task(second.call_tool("wait"))
            await stderr.hold("waiting")
            await first.release()
            assert alive(pid)
            assert await add(second) == "3"
            assert not call.done()
            call.cancel()
            await second.release()
            assert not alive(pid)

    run(main())


# -- a server that dies


class TestKilled:
    def test_between_calls_it_is_started_again(self, run: CleanRun, tmp_path: Path) -> None:
        async def main() -> None:
            server, time = Noting(tmp_path), Time()
            async with ServerPool({"s": server.config}, **time.options) as pool, pool.lease("s") as lease:
                pids = set()
                for _ in range(4):
                    pids.add(await killed(lease))
                    status = pool.status()["s"]
                    assert status.state == "failed"
                    assert "was ended by SIGKILL" in str(status.error)
                result = await lease.call_tool("write", {"number": 1})
                assert result.text == "written"
                assert len(pids) == 4
                assert not any(map(alive, pids))
            assert (server.noted("start"), server.noted("write")) == (5, 1)
            assert time.slept == [0.5, 1, 2]

        run(main())

    def test_during_a_call_the_call_is_not_made_again(self, run: CleanRun, tmp_path: Path) -> None:
        async def main() -> None:
            server, time = Noting(tmp_path), Time()
            async with ServerPool({"s": server.config}, **time.options) as pool, pool.lease("s") as lease:
                for number in range(3):
                    with pytest.raises(ConnectionClosed, match="SIGKILL"):
                        await lease.call_tool("die", {"number": number})
                    assert server.noted(f"die {number}") == 1
                assert (await lease.call_tool("write", {"number": 1})).text == "written"
            assert server.noted("start") == 4

        run(main())

    def test_during_a_call_that_may_be_repeated_it_is_made_once_more(
        self, run: CleanRun, tmp_path: Path
    ) -> None:
        async def main() -> None:
            server, time = Noting(tmp_path), Time()
            async with ServerPool({"s": server.config}, **time.options) as pool, pool.lease("s") as lease:
                with pytest.raises(ConnectionClosed, match="SIGKILL"):
                    await lease.call_tool("die", {"number": 1}, replay=True)
            assert (server.noted("start"), server.noted("die 1")) == (2, 2)

        run(main())

    def test_all_calls_of_all_leases_end_and_one_new_child_does(self, run: CleanRun) -> None:
        async def main() -> None:
            stderr = Lines()
            options = {"stderr": stderr}
            async with ServerPool({"s": SERVER}, client_options=options, **Time().options) as pool:
                leases = [pool.lease("s") for _ in range(4)]
                calls = [asyncio.create_task(lease.call_tool("wait")) for lease in leases for _ in range(5)]
                await stderr.hold("waiting", len(calls))
                dead = await killed(leases[0])
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(one, ConnectionClosed) for one in outcomes)
                assert await asyncio.gather(*map(add, leases)) == ["3"] * len(leases)
                assert await pid_of(leases[0]) != dead
                assert len(children()) == 1
                assert pool.status()["s"].users == len(leases)

        run(main())

    def test_writes_that_meet_the_kill_are_never_made_twice(self, run: CleanRun, tmp_path: Path) -> None:
        """Whenever the kill comes: a call is written down once if it was answered, and at most once if not."""

        async def main() -> None:
            server, time = Noting(tmp_path), Time()
            answered: set[int] = set()
            async with ServerPool({"s": server.config}, **time.options) as pool, pool.lease("s") as lease:
                for number in range(8):
                    pid = await pid_of(lease)
                    call = asyncio.create_task(lease.call_tool("write", {"number": number}))
                    for _ in range(number):
                        await asyncio.sleep(0)
                    os.kill(pid, signal.SIGKILL)
                    try:
                        await call
                    except TransportError:
                        pass
                    else:
                        answered.add(number)
                    await killed_already(lease, pid)
            for number in range(8):
                times = server.noted(f"write {number}")
                assert times == 1 if number in answered else times <= 1

        run(main())


async def killed_already(lease: ServerLease, pid: int) -> None:
    """Wait until the pool knows that the process is gone."""
    client = await lease.client()
    transport = client.connection.transport  # type: ignore[attr-defined]
    if transport.pid == pid:
        await client.connection.wait_lost()  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
class TestKilledOverHttp:
    @pytest.fixture
    def restart(self, tmp_path: Path) -> Iterator[Callable[[], Served]]:
        """Starts the server, or starts it again at the same place."""
        served: list[Served] = []

        def start() -> Served:
            where = f"127.0.0.1:{served[0].port if served else 0}"
            served.append(Served(tmp_path, "--http", where))
            return served[-1]

        yield start
        for one in served:
            one.close()

    def test_it_is_there_again_when_it_is_there_again(self, mode: str, restart: Callable[[], Served]) -> None:
        async def main() -> None:
            served = restart()
            config = ServerConfig(url=served.url, mode=mode)
            async with ServerPool({"s": config}) as pool, pool.lease("s") as lease:
                first = (await lease.call_tool("pid")).text
                call = asyncio.create_task(lease.call_tool("wait", {"seconds": 600}))
                await asyncio.to_thread(served.must_hear, "waiting")
                served.stop(signal.SIGKILL)
                with pytest.raises(TransportError) as caught:
                    await call
                assert caught.value.sent
                with pytest.raises(TransportError) as caught:
                    await lease.call_tool("pid")
                assert not caught.value.sent
                restart()
                assert (await lease.call_tool("pid")).text != first

        Run("asyncio")(main())


# -- what cannot be started


def test_what_cannot_be_started_does_not_hinder_the_others(run: CleanRun) -> None:
    async def main() -> None:
        stderr = Lines()
        servers: dict[str, Any] = {
            "missing": ServerConfig(command="/nonexistent/server", args=["-v"]),
            "broken": BROKEN,
            "silent": SILENT,
            "sound": SERVER,
        }
        async with ServerPool(servers, client_options={"stderr": stderr}, **Time().options) as pool:
            leases = {name: pool.lease(name) for name in servers}
            asking = {name: asyncio.create_task(lease.client()) for name, lease in leases.items()}
            await asking["sound"]
            assert await add(leases["sound"]) == "3"
            with pytest.raises(ConfigError, match="missing: Cannot start '/nonexistent/server'"):
                await asking["missing"]
            with pytest.raises(ConnectionClosed, match=r"(?s)broken: .*exited with status 1.*no licence"):
                await asking["broken"]
            await stderr.hold("up")
            assert {name: one.state for name, one in pool.status().items()} == {
                "missing": "failed",
                "broken": "failed",
                "silent": "connecting",
                "sound": "connected",
            }
        with pytest.raises(ConnectionClosed):
            await asking["silent"]

    run(main())


# -- threads


class TestThreads:
    @pytest.mark.parametrize("kind", FACTORIES)
    def test_eight_with_a_loop_each_share_a_pool(self, kind: str) -> None:
        pool = ServerPool({"s": SERVER, "silent": SILENT}, client_options={"stderr": Lines()})
        pids: list[int] = []
        failures: list[BaseException] = []

        async def main() -> None:
            one, two, silent = pool.lease("s"), pool.lease("s"), pool.lease("silent")
            connecting = asyncio.create_task(silent.client())
            pids.append(await pid_of(one))
            assert (
                await asyncio.gather(*(add(lease) for lease in (one, two) for _ in range(50))) == ["3"] * 100
            )
            assert pool.status()["s"].users == 2
            await one.release()
            assert await add(two) == "3"
            await asyncio.gather(two.release(), silent.release())
            with pytest.raises(ConnectionClosed):
                await connecting

        def thread() -> None:
            try:
                Run(kind, patience_s=40)(main())
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=thread) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(50)
        assert failures == []
        assert len(set(pids)) == 8
        assert not any(map(alive, pids))
        assert children() == set()
        CleanRun(kind)(pool.close())

    @pytest.mark.parametrize("kind", FACTORIES)
    def test_close_reaches_the_calls_of_other_loops(self, kind: str) -> None:
        pool = ServerPool({"s": SERVER}, client_options={"stderr": Lines()})
        calling = threading.Barrier(4)
        ends: list[str] = []

        async def main() -> None:
            lease = pool.lease("s")
            await lease.client()
            call = asyncio.create_task(lease.call_tool("wait", replay=True))
            await asyncio.sleep(0)
            await asyncio.to_thread(calling.wait, 30)
            with pytest.raises(ConnectionClosed):
                await call
            with pytest.raises(ConnectionClosed, match="s: the pool is closed"):
                await lease.client()
            await lease.release()
            await pool.close()
            ends.append("closed")

        threads = [threading.Thread(target=lambda: Run(kind, patience_s=40)(main())) for _ in range(3)]
        for one in threads:
            one.start()
        calling.wait(30)
        asyncio.run(pool.close())
        for one in threads:
            one.join(50)
        assert ends == ["closed"] * 3
        assert children() == set()

    @pytest.mark.parametrize("how", ["another loop", "close"])
    def test_a_loop_that_ended_without_a_word_leaves_no_child(self, how: str) -> None:
        pool = ServerPool({"s": SERVER}, client_options={"stderr": Lines()})
        loop = asyncio.new_event_loop()
        lease = pool.lease("s")
        pid = loop.run_until_complete(pid_of(lease))
        transport: Any = lease._server.client.connection.transport  # type: ignore[union-attr]
        loop.close()
        assert alive(pid)

        async def other() -> None:
            if how == "another loop":
                async with pool.lease("s") as fresh:
                    assert await add(fresh) == "3"

        asyncio.run(other())
        asyncio.run(pool.close())
        assert transport._process.wait(20) == -signal.SIGKILL


# -- what stays


def test_many_connections_leave_nothing(run: CleanRun) -> None:
    async def main(count: int) -> None:
        for _ in range(count):
            options = {"stderr": Lines()}
            async with (
                ServerPool({"s": SERVER, "broken": BROKEN}, client_options=options) as pool,
                pool.lease("s") as lease,
                pool.lease("broken") as broken,
            ):
                assert await lease.tools()
                with pytest.raises(TautError):
                    await broken.client()

    run(main(1))
    before = objects_of_taut()
    run(main(5))
    assert objects_of_taut() - before == collections.Counter()


def test_many_leases_leave_nothing(run: CleanRun) -> None:
    async def main() -> None:
        async with ServerPool({"s": SERVER}, client_options={"stderr": Lines()}) as pool, pool.lease("s"):
            async with pool.lease("s") as lease:
                await lease.client()
            before = objects_of_taut()
            for _ in range(2_000):
                async with pool.lease("s") as lease:
                    assert await add(lease) == "3"
            assert objects_of_taut() - before == collections.Counter()

    run(main())


def objects_of_taut() -> collections.Counter[str]:
    gc.collect()
    return collections.Counter(
        f"{type(one).__module__}.{type(one).__qualname__}"
        for one in gc.get_objects()
        if str(type(one).__module__).startswith("taut")
    )


def children() -> set[int]:
    """Return the children of this process that run."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z" and int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found
