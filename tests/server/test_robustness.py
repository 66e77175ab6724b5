"""Whatever a handler does, its caller gets an answer and everyone else is served."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Context, Server, models
from taut._core import Outgoing, ReceiveBuffer
from taut.errors import InternalError, LocalProtocolError
from taut.server import ServerConnection

ERAS = ("legacy", "2026-07-28")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Panic(BaseException):
    """Such as the exceptions that extensions in Rust raise."""


def text_of(result: models.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, models.TextContent)
    return block.text


@pytest.mark.parametrize(
    "error", [Panic(), SystemExit(3), asyncio.CancelledError(), MemoryError(), RecursionError()]
)
@pytest.mark.parametrize("kind", ["inline", "async", "thread"])
def test_no_exception_of_a_tool_goes_unanswered_or_takes_others_along(
    run: Run, era: str, error: BaseException, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Server("s")

    def fail() -> str:
        raise error

    async def fail_later() -> str:
        raise error

    app.tool(name="fail", thread=kind == "thread")(fail_later if kind == "async" else fail)
    app.tool(name="fine")(lambda: "fine")

    async def main() -> None:
        async with Client(app, mode=era) as client:
            failed, fine = await asyncio.gather(
                client.call_tool("fail"), client.call_tool("fine"), return_exceptions=True
            )
            assert isinstance(fine, models.CallToolResult)
            assert isinstance(failed, InternalError) or failed.is_error is True

    run(main())


@pytest.mark.parametrize("error", [Panic(), SystemExit(3)])
def test_nor_one_of_a_resource_prompt_or_completion(
    run: Run, era: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    app = Server("s")

    @app.resource("mem://x")
    def x() -> str:
        raise error

    @app.prompt
    def p(a: str) -> str:
        raise error

    @app.completion("p", "a")
    def complete(value: str, context: dict[str, str]) -> list[str]:
        raise error

    async def main() -> None:
        async with Client(app, mode=era) as client:
            with pytest.raises(InternalError):
                await client.read_resource("mem://x")
            with pytest.raises(InternalError):
                await client.get_prompt("p", {"a": "1"})
            with pytest.raises(InternalError):
                await client.complete(models.PromptReference("p"), "a", "")
            assert await client.list_prompts()

    run(main())


def test_a_timeout_of_the_tools_own_is_not_the_one_it_was_given(
    run: Run, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Server("s")

    @app.tool(timeout=60)
    async def fetch() -> str:
        raise TimeoutError("the site is slow")

    async def main() -> None:
        async with Client(app, mode=era) as client:
            assert "60 s" not in text_of(await client.call_tool("fetch"))

    run(main())
    assert "the site is slow" in caplog.text


def test_a_callback_that_fails_takes_nothing_of_its_batch_along(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    app = Server("s")

    def fail(connection: ServerConnection) -> None:
        raise RuntimeError("roots")

    app.on_roots_changed = fail

    class Recorder:
        def __init__(self) -> None:
            self.buffer = ReceiveBuffer(max_bytes=1 << 28)
            self.out = Outgoing()

        def start(self, receiver: Any) -> None: ...
        def flush(self) -> None: ...
        def close(self) -> None: ...

    async def main() -> bytes:
        transport: Any = Recorder()
        connection = ServerConnection(app, transport)
        connection.start()
        transport.buffer.feed(
            b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26",'
            b'"capabilities":{"roots":{"listChanged":true}},"clientInfo":{"name":"x","version":"1"}}}\n'
            b'[{"jsonrpc":"2.0","method":"notifications/roots/list_changed"},'
            b'{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]\n'
        )
        connection.data_received()
        connection.connection_lost(None)
        sent: bytes = transport.out.take()
        return sent

    answers = run(main()).splitlines()
    assert len(answers) == 2
    assert answers[1].count(b'"result"') == 2
    assert "roots" in caplog.text


class TestContextAfterTheEnd:
    def test_nothing_is_sent_and_nothing_can_be_asked(self, run: Run, era: str) -> None:
        app = Server("s")
        kept: list[Context] = []

        @app.tool
        async def keep(ctx: Context) -> str:
            kept.append(ctx)
            return "kept"

        async def main() -> None:
            heard: list[Any] = []
            never: Any = lambda params: pytest.fail("asked")  # noqa: E731
            async with Client(app, mode=era, logging=heard.append, sampling=never) as client:
                await client.call_tool("keep", on_progress=heard.append)
                await kept[0].info("late")
                await kept[0].progress(1)
                with pytest.raises(LocalProtocolError, match="has ended"):
                    await kept[0].sample("hello?")
                await client.ping()
            await kept[0].info("later still")
            assert heard == []

        run(main())

    def test_a_thread_may_outlive_the_loop(self, run: Run, era: str) -> None:
        app = Server("s")
        kept: list[Context] = []

        @app.tool
        def keep(ctx: Context) -> str:
            kept.append(ctx)
            return "kept"

        async def main() -> None:
            async with Client(app, mode=era) as client:
                await client.call_tool("keep")

        run(main())
        kept[0].info("nobody is there")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(kept[0].info, "nobody is there").result()

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_progress_that_is_no_number_is_dropped(self, run: Run, era: str, value: float) -> None:
        app = Server("s")

        @app.tool
        def work(ctx: Context) -> None:
            ctx.progress(value)
            ctx.progress(1, value)
            ctx.progress(2)

        async def main() -> None:
            seen: list[Any] = []
            async with Client(app, mode=era) as client:
                await client.call_tool("work", on_progress=lambda params: seen.append(params.progress))
            assert seen == [1, 2]

        run(main())
