"""Questions to legacy clients over HTTP: on the stream of the request that asks, answered by another POST."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faults.loops import Run
from taut import Context, Server, SessionOptions
from taut.errors import ConnectionClosed, RequestTimeout
from transport.legacy import LegacyClient, error_of, text_of

FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def asking() -> Server:
    app = Server("s")

    @app.tool
    async def greet(ctx: Context) -> str:
        answer = await ctx.elicit("Who?", FORM)
        return f"Hello, {answer.content['name']}" if answer.accepted else answer.action

    @app.tool
    async def write(ctx: Context) -> str:
        result = await ctx.sample("Write.")
        return str(result.content.text)

    @app.tool
    async def look(ctx: Context) -> str:
        return ", ".join(root.uri for root in await ctx.list_roots())

    return app


def accepted(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


class TestQuestions:
    def test_each_question_travels_with_the_request_that_asks(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(asking().asgi())
            await client.open(elicitation={}, sampling={}, roots={})
            calls = {tool: client.call(tool) for tool in ("greet", "write", "look")}
            answers = {
                "greet": ("elicitation/create", accepted("Ada"), "Hello, Ada"),
                "write": (
                    "sampling/createMessage",
                    {"role": "assistant", "model": "m", "content": {"type": "text", "text": "Words"}},
                    "Words",
                ),
                "look": ("roots/list", {"roots": [{"uri": "file:///a"}]}, "file:///a"),
            }
            for tool in ("look", "greet", "write"):
                method, answer, expected = answers[tool]
                (question,) = await calls[tool].events(1)
                assert question["method"] == method
                await client.answer(question["id"], answer)
                (message,) = await calls[tool].rest()
                assert text_of(message) == expected

        run(main())

    def test_an_answer_of_another_session_answers_nothing(self, run: Run) -> None:
        async def main() -> None:
            asgi = asking().asgi()
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            for one in (client, other):
                await one.open(elicitation={})
            first, second = client.call("greet"), other.call("greet")
            (question,) = await first.events(1)
            (same,) = await second.events(1)
            assert question["id"] == same["id"]
            await other.answer(question["id"], accepted("Eve"))
            assert text_of((await second.rest())[0]) == "Hello, Eve"
            await other.answer(question["id"], accepted("Eve"))
            await client.answer(question["id"], accepted("Ada"))
            assert text_of((await first.rest())[0]) == "Hello, Ada"

        run(main())

    def test_a_question_is_there_for_who_comes_back(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(asking().asgi())
            await client.open(elicitation={})
            exchange = client.call("greet")
            (question,) = await exchange.events(1)
            exchange.disconnect()
            await exchange.task
            again = client.get("1-0")
            assert await again.events(1) == [question]
            await client.answer(question["id"], accepted("Ada"))
            assert text_of((await again.rest())[0]) == "Hello, Ada"

        run(main())

    def test_an_error_and_a_malformed_answer_end_the_question(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(asking().asgi())
            await client.open(elicitation={})
            for answer, status in (
                ({"error": {"code": -1, "message": "no"}}, 202),
                ({"result": {}, "error": {"code": -1, "message": "no"}}, 400),
                ({"result": {"action": "accept", "content": {"name": 3}}}, 202),
            ):
                exchange = client.call("greet")
                (question,) = await exchange.events(1)
                sent = client.send({"jsonrpc": "2.0", "id": question["id"], **answer})
                assert await client.status(sent) == status
                assert "error" in (await exchange.rest())[0]

        run(main())

    def test_a_cancelled_request_asks_no_more(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(asking().asgi())
            await client.open(elicitation={})
            exchange = client.call("greet", id="g")
            (question,) = await exchange.events(1)
            await client.accepted(
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "g"}}
            )
            assert all("result" not in message for message in await exchange.rest())
            await client.answer(question["id"], accepted("late"))
            assert (await client.post("ping").json())["result"] == {}

        run(main())

    def test_the_end_of_the_session_ends_the_question(self, run: Run) -> None:
        async def main() -> None:
            app = asking()
            seen: asyncio.Queue[str] = asyncio.Queue()

            @app.tool
            async def stubborn(ctx: Context) -> str:
                try:
                    await ctx.elicit("Who?", FORM)
                except BaseException as error:
                    seen.put_nowait(type(error).__name__)
                    raise
                return "x"

            client = LegacyClient(app.asgi())
            await client.open(elicitation={})
            exchange = client.call("stubborn")
            await exchange.events(1)
            await client.status(client.delete())
            assert await exchange.rest() == []
            assert await seen.get() in ("ConnectionClosed", "CancelledError")

        run(main())

    def test_a_question_may_have_a_time(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        async def hurry(ctx: Context) -> str:
            try:
                await ctx._connection.ask("roots/list", {}, timeout_s=0.001)
            except RequestTimeout:
                return "too late"
            return "in time"

        async def main() -> None:
            client = LegacyClient(app.asgi())
            await client.open(roots={})
            exchange = client.call("hurry")
            (question,) = await exchange.events(1)
            cancelled, answer = await exchange.rest()
            assert cancelled["params"] == {"requestId": question["id"], "reason": "timeout"}
            assert text_of(answer) == "too late"

        run(main())

    def test_what_was_not_declared_is_not_asked(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(asking().asgi())
            await client.open()
            exchange = client.call("greet")
            await client.status(exchange)
            assert error_of(exchange)[1] == -32021 or b"elicitation" in exchange.body

        run(main())


class TestWithoutSessions:
    @pytest.mark.parametrize("tool", ["greet", "write", "look"])
    def test_a_question_is_refused_and_says_what_to_do(self, run: Run, tool: str) -> None:
        async def main() -> None:
            client = LegacyClient(asking().asgi(sessions=False))
            exchange = client.call(tool)
            await client.status(exchange)
            assert error_of(exchange) == (200, -32600, 1)
            assert b"sessions=True" in exchange.body

        run(main())


@pytest.mark.parametrize("store", ["memory", None])
def test_who_is_gone_without_a_stream_to_come_back_to_is_not_asked(run: Run, store: Any) -> None:
    async def main() -> None:
        app = Server("s")
        began, go = asyncio.Event(), asyncio.Event()
        ends: asyncio.Queue[object] = asyncio.Queue()

        @app.tool
        async def late(ctx: Context) -> None:
            began.set()
            await go.wait()
            try:
                await ctx.list_roots()
            except ConnectionClosed as error:
                ends.put_nowait(error)

        asgi = app.asgi(sessions=SessionOptions(event_store=store))
        client = LegacyClient(asgi)
        await client.open(roots={})
        exchange = client.call("late")
        await began.wait()
        exchange.disconnect()
        await exchange.task
        go.set()
        assert "no stream to come back to" in str(await ends.get())
        await asyncio.sleep(0)
        assert asgi.endpoint.open == 0

    run(main())
