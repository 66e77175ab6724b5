"""Callbacks of a client that fail, that are async, and that call the client themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scripted import Scripted

from faults.loops import Run
from taut import Client, Context, Server
from taut.errors import InvalidParams

ERAS = ("legacy", "2026-07-28")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def server() -> Server:
    app = Server("s")

    @app.tool
    def work(ctx: Context) -> str:
        ctx.progress(1, 2)
        ctx.info("working")
        ctx.progress(2, 2)
        return "done"

    return app


class TestCallbacksThatFail:
    @pytest.mark.parametrize("error", [RuntimeError("mine"), InvalidParams("mine")])
    def test_the_call_goes_on_and_the_failure_is_logged(
        self, run: Run, era: str, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[Any] = []

        def fail(params: Any) -> None:
            seen.append(params)
            raise error

        async def main() -> None:
            async with Client(server(), mode=era, logging=fail) as client:
                result = await client.call_tool("work", on_progress=fail)
                assert result.structured_content is not None or result.content

        run(main())
        assert len(seen) == 3
        assert caplog.text.count("mine") == 3

    def test_async_ones_too(self, run: Run, era: str, caplog: pytest.LogCaptureFixture) -> None:
        async def fail(params: Any) -> None:
            raise RuntimeError("mine")

        async def main() -> None:
            async with Client(server(), mode=era, logging=fail) as client:
                await client.call_tool("work", on_progress=fail)
                await client.ping()

        run(main())
        assert caplog.text.count("RuntimeError: mine") == 3


class TestAsyncCallbacks:
    def test_they_are_run_in_the_order_of_the_messages(self, run: Run, era: str) -> None:
        seen: list[Any] = []

        async def keep(params: Any) -> None:
            seen.append(getattr(params, "progress", None) or params.data)
            await asyncio.sleep(0)

        async def main() -> None:
            async with Client(server(), mode=era, logging=keep) as client:
                await client.call_tool("work", on_progress=keep)
                await client.ping()

        run(main())
        assert seen == [1, "working", 2]

    def test_they_may_call_the_client(self, run: Run, era: str) -> None:
        async def main() -> None:
            listed: list[int] = []

            async def ask(params: Any) -> None:
                listed.append(len(await client.list_tools()))

            async with Client(server(), mode=era) as client:
                await client.call_tool("work", on_progress=ask)
                await client.ping()
                await client.ping()
                assert listed == [1, 1]

        run(main())

    def test_one_that_does_not_end_does_not_hold_the_client(self, run: Run, era: str) -> None:
        cancelled: list[bool] = []

        async def hang(params: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)

        async def main() -> None:
            async with Client(server(), mode=era) as client:
                await client.call_tool("work", on_progress=hang)
                await client.ping()
            assert cancelled == [True, True]

        run(main())


def test_a_notification_that_cannot_be_read_is_passed_over(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def on_message(server: Scripted, message: dict[str, Any]) -> None:
        server.say(
            {"method": "notifications/message", "params": {"level": "loud"}},
            {"method": "notifications/message", "params": {"level": "info", "data": 1}},
            {"id": message["id"], "result": {"resultType": "complete", "content": []}},
        )

    async def main() -> None:
        seen: list[Any] = []
        async with Client(Scripted(on_message), logging=lambda params: seen.append(params.data)) as client:
            await client.call_tool("x")
            assert seen == [1]

    run(main())
    assert "ignored a notification" in caplog.text
