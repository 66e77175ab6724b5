"""A server in the client's own process: its failures, its end, and handlers that do not end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from faults.loops import Run
from taut import Client, Server
from taut.errors import ConnectionClosed
from taut.transport.memory import memory_pair

ERAS = ("legacy", "2026-07-28", "auto")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestAServerThatFails:
    def test_at_its_start_its_error_is_the_clients(self, run: Run, era: str) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            raise RuntimeError("no database")
            yield

        async def main() -> None:
            client = Client(Server("s", lifespan=lifespan), mode=era)
            with pytest.raises(RuntimeError, match="no database"):
                await client.connect()
            await client.close()

        run(main())

    def test_at_its_end_its_error_is_raised_once(self, run: Run, era: str) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            yield
            raise RuntimeError("no farewell")

        async def main() -> None:
            client = Client(Server("s", lifespan=lifespan), mode=era)
            await client.connect()
            with pytest.raises(RuntimeError, match="no farewell"):
                await client.close()
            await client.close()

        run(main())


class TestClosing:
    def test_it_can_be_cancelled(self, run: Run, era: str) -> None:
        leaving, may_leave = asyncio.Event(), asyncio.Event()

        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            yield
            leaving.set()
            await may_leave.wait()

        async def main() -> None:
            client = Client(Server("s", lifespan=lifespan), mode=era)
            await client.connect()
            closing = asyncio.create_task(client.close())
            await leaving.wait()
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            may_leave.set()
            await client.close()

        run(main())

    def test_a_handler_that_ignores_its_end_does_not_hold_it(
        self, run: Run, era: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("taut.transport.conversation.STUBBORN_S", 0.01)
        app = Server("s")
        started, may_end = asyncio.Event(), asyncio.Event()

        @app.tool
        async def stubborn() -> None:
            started.set()
            while not may_end.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await may_end.wait()

        async def main() -> None:
            client = Client(app, mode=era)
            await client.connect()
            call = asyncio.create_task(client.call_tool("stubborn"))
            await started.wait()
            await client.close()
            with pytest.raises(ConnectionClosed):
                await call
            may_end.set()

        run(main())
        assert "did not end when cancelled" in caplog.text


class TestServing:
    def test_cancelling_it_ends_its_handlers_before_the_lifespan(self, run: Run) -> None:
        events: list[str] = []
        started = asyncio.Event()

        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            yield
            events.append("lifespan left")

        app = Server("s", lifespan=lifespan)

        @app.tool
        async def hang() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                events.append("handler ended")

        async def main() -> None:
            ours, theirs = memory_pair()
            serving = asyncio.create_task(app.serve(theirs))
            async with Client(ours) as client:
                call = asyncio.create_task(client.call_tool("hang"))
                await started.wait()
                serving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await serving
                with pytest.raises(ConnectionClosed):
                    await call

        run(main())
        assert events == ["handler ended", "lifespan left"]

    def test_one_server_may_run_in_one_loop_after_another(self, run: Run) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[None]:
            await asyncio.sleep(0)
            yield

        app = Server("s", lifespan=lifespan)

        async def main() -> None:
            clients = [Client(app) for _ in range(3)]
            await asyncio.gather(*(client.connect() for client in clients))
            app.tool(name=f"t{len(app.tools)}")(lambda: None)
            assert len(await clients[0].list_tools()) == len(app.tools)
            await asyncio.gather(*(client.close() for client in clients))

        run(main())
        run(main())
        assert len(app.subscriptions) == 0
