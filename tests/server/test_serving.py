"""What a server answers, seen through a client in the same process, in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from faults.loops import Run
from taut import Audio, Client, Context, Elicit, File, Image, Sample, Server, ToolError, models
from taut.errors import (
    ConfigError,
    InternalError,
    InvalidParams,
    MethodNotFound,
    RemoteError,
    ResourceNotFound,
)

ERAS = ("legacy", "2026-07-28")
PNG = b"\x89PNG\r\n"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def connect(app: Server, era: str, **options: Any) -> Client:
    return Client(app, mode=era, **options)


def text_of(result: models.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, models.TextContent)
    return block.text


class TestTools:
    def test_arguments_are_decoded_and_results_structured(self, run: Run, era: str) -> None:
        app = Server("s")

        @dataclass
        class Point:
            x: int
            y: int = 0

        @app.tool
        def mirror(point: Point, times: int = 1) -> Point:
            return Point(point.y * times, point.x * times)

        async def main() -> None:
            async with connect(app, era) as client:
                result = await client.call_tool("mirror", {"point": {"x": 1, "y": 2}, "times": 2})
                assert result.structured_content == {"x": 4, "y": 2}
                assert msgspec.json.decode(text_of(result)) == {"x": 4, "y": 2}
                (tool,) = await client.list_tools()
                assert tool.output_schema is not msgspec.UNSET

        run(main())

    @pytest.mark.parametrize(
        ("value", "text", "structured"),
        [
            (5, "5", {"result": 5}),
            (1.5, "1.5", {"result": 1.5}),
            (True, "true", {"result": True}),
            ([1, 2], "[1,2]", {"result": [1, 2]}),
            ({"a": None}, '{"a":null}', {"a": None}),
        ],
    )
    def test_plain_values(self, run: Run, era: str, value: Any, text: str, structured: Any) -> None:
        app = Server("s")

        def give():  # type: ignore[no-untyped-def]  # the annotation is the parameter of this test
            return value

        give.__annotations__["return"] = {dict: dict[str, Any], list: list[int]}.get(type(value), type(value))
        app.tool(give)

        async def main() -> None:
            async with connect(app, era) as client:
                result = await client.call_tool("give")
                assert (text_of(result), result.structured_content) == (text, structured)

        run(main())

    def test_text_none_and_media(self, run: Run, era: str) -> None:
        app = Server("s")
        link = models.ResourceLink("file:///x", "x")

        @app.tool
        def nothing() -> None: ...

        @app.tool
        def several() -> list[Any]:
            return ["text", Image(PNG), Audio(b"RIFF"), File(b"\x00", uri="mem://f"), link]

        async def main() -> None:
            async with connect(app, era) as client:
                assert (await client.call_tool("nothing")).content == []
                content = (await client.call_tool("several")).content
                assert [type(block) for block in content] == [
                    models.TextContent,
                    models.ImageContent,
                    models.AudioContent,
                    models.EmbeddedResource,
                    models.ResourceLink,
                ]
                image = content[1]
                assert isinstance(image, models.ImageContent)
                assert (image.to_bytes(), image.mime_type) == (PNG, "image/png")

        run(main())

    def test_wrong_arguments_are_a_result_that_says_what_is_wrong(self, run: Run, era: str) -> None:
        app = Server("s")

        @app.tool
        def add(a: int, b: int) -> int:
            return a + b

        async def main() -> None:
            async with connect(app, era) as client:
                for arguments, expected in (
                    ({"a": 1, "b": "x"}, "Expected `int`, got `str` - at `$.b`"),
                    ({"a": 1}, "missing required field `b`"),
                    ({"a": 1, "b": 2, "c": 3}, "`c`"),
                    (None, "missing required field"),
                ):
                    result = await client.call_tool("add", arguments)
                    assert result.is_error is True
                    assert expected in text_of(result)

        run(main())

    def test_an_unknown_tool_is_a_protocol_error(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with connect(Server("s"), era) as client:
                with pytest.raises(InvalidParams, match="Unknown tool: nope") as caught:
                    await client.call_tool("nope")
                assert caught.value.code == -32602
                with pytest.raises(InvalidParams):
                    await client.request("tools/call", {"arguments": {}})

        run(main())

    @pytest.mark.parametrize("kind", ["inline", "async", "thread"])
    def test_exceptions_become_results_and_leak_nothing(
        self, run: Run, era: str, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = Server("s")

        def fail(how: str) -> str:
            if how == "tool":
                raise ToolError("the model may see this")
            if how == "remote":
                raise RemoteError("said so", code=-32099, data={"x": 1})
            raise RuntimeError("secret password")

        async def fail_later(how: str) -> str:
            return fail(how)

        app.tool(name="fail", thread=kind == "thread")(fail_later if kind == "async" else fail)

        async def main() -> None:
            async with connect(app, era) as client:
                told = await client.call_tool("fail", {"how": "tool"})
                assert (told.is_error, text_of(told)) == (True, "the model may see this")
                hidden = await client.call_tool("fail", {"how": "other"})
                assert hidden.is_error is True
                assert "secret" not in text_of(hidden)
                with pytest.raises(RemoteError, match="said so") as caught:
                    await client.call_tool("fail", {"how": "remote"})
                assert (caught.value.code, caught.value.data) == (-32099, {"x": 1})

        run(main())
        assert "secret password" in caplog.text

    def test_a_result_that_cannot_be_encoded_is_an_internal_error(
        self, run: Run, era: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = Server("s")

        @app.tool
        def bad() -> models.CallToolResult:
            return models.CallToolResult([], structured_content={"x": object()})

        @app.tool
        async def bad_later() -> models.CallToolResult:
            return bad()

        async def main() -> None:
            async with connect(app, era) as client:
                for name in ("bad", "bad_later"):
                    with pytest.raises(InternalError, match="cannot be encoded"):
                        await client.call_tool(name)
                assert await client.list_tools()

        run(main())

    @pytest.mark.parametrize("kind", ["inline", "async", "thread"])
    def test_what_a_call_sets_in_its_context_no_other_finds(self, run: Run, era: str, kind: str) -> None:
        app = Server("s")
        user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

        def swap(name: str) -> str:
            before = user.get()
            user.set(name)
            return before

        async def swap_later(name: str) -> str:
            return swap(name)

        app.tool(name="swap", thread=kind == "thread")(swap_later if kind == "async" else swap)

        async def main() -> None:
            async with connect(app, era) as client:
                for name in ("ann", "bob"):
                    assert text_of(await client.call_tool("swap", {"name": name})) == "nobody"

        run(main())

    def test_a_threaded_tool_does_not_run_in_the_loops_thread(self, run: Run, era: str) -> None:
        app = Server("s")

        @app.tool(thread=True)
        def where(ctx: Context) -> bool:
            ctx.progress(1, 2)
            return threading.current_thread() is threading.main_thread()

        async def main() -> None:
            seen: list[float] = []
            async with connect(app, era) as client:
                result = await client.call_tool(
                    "where", on_progress=lambda params: seen.append(params.progress)
                )
                assert result.structured_content == {"result": False}
            assert seen == [1]

        run(main())

    def test_a_tool_that_takes_too_long_is_ended(self, run: Run, era: str) -> None:
        app = Server("s")
        ended = asyncio.Event()

        @app.tool(timeout=0.01)
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def main() -> None:
            async with connect(app, era) as client:
                result = await client.call_tool("forever")
                assert result.is_error is True
                assert "0.01 s" in text_of(result)
                assert ended.is_set()

        run(main())

    def test_a_plain_wrapper_of_an_async_function_is_awaited(self, run: Run, era: str) -> None:
        app = Server("s")

        async def inner(a: int) -> int:
            await asyncio.sleep(0)
            return a + 1

        @app.tool
        @functools.wraps(inner)
        def outer(*args: Any, **options: Any) -> Any:
            return inner(*args, **options)

        async def main() -> None:
            async with connect(app, era) as client:
                assert (await client.call_tool("inner", {"a": 1})).structured_content == {"result": 2}

        run(main())

    def test_large_arguments_reach_a_handler_as_they_came(self, run: Run, era: str) -> None:
        app = Server("s")
        seen: list[int] = []

        @app.tool
        def take(body: memoryview) -> int:
            seen.append(len(body))
            return len(body)

        async def main() -> None:
            async with connect(app, era) as client:
                result = await client.call_tool("take", {"body": "x" * 3_000_000})
                assert result.structured_content == {"result": 3_000_002}

        run(main())
        assert seen == [3_000_002]

    @pytest.mark.parametrize("name", ["", "a b", "x" * 129, "käse"])
    def test_names_that_clients_refuse_are_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="Expected a tool name"):
            Server("s").tool(name=name)(lambda: None)

    def test_a_name_is_taken_once(self) -> None:
        app = Server("s")
        app.tool(name="x")(lambda: None)
        with pytest.raises(ConfigError, match="'x', which is registered already"):
            app.tool(name="x")(lambda: None)

    def test_an_inline_tool_cannot_have_a_timeout(self) -> None:
        with pytest.raises(ConfigError, match="runs inline"):
            Server("s").tool(name="x", timeout=1)(lambda: None)


class TestResources:
    def app(self) -> Server:
        app = Server("s", cache_ttl_ms=1000)

        @app.resource("mem://text", name="text", mime_type="text/markdown")
        def text() -> str:
            """Some text."""
            return "# hi"

        @app.resource("mem://bytes", mime_type="image/png")
        def data() -> bytes:
            return PNG

        @app.resource("mem://{id}/data")
        async def row(id: int) -> dict[str, int]:
            return {"id": id}

        @app.resource("mem://gone")
        def gone() -> str:
            raise ResourceNotFound.of("mem://gone")

        return app

    def test_text_bytes_and_templates(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with connect(self.app(), era) as client:
                text = (await client.read_resource("mem://text")).contents[0]
                assert (text.text, text.mime_type) == ("# hi", "text/markdown")
                data = (await client.read_resource("mem://bytes")).contents[0]
                assert (data.to_bytes(), data.mime_type) == (PNG, "image/png")
                row = (await client.read_resource("mem://7/data")).contents[0]
                assert (row.text, row.mime_type) == ('{"id":7}', "application/json")
                assert [one.uri for one in await client.list_resources()] == [
                    "mem://text",
                    "mem://bytes",
                    "mem://gone",
                ]
                (template,) = await client.list_resource_templates()
                assert template.uri_template == "mem://{id}/data"

        run(main())

    @pytest.mark.parametrize("uri", ["mem://nope", "mem://gone"])
    def test_what_does_not_exist_is_not_found(self, run: Run, era: str, uri: str) -> None:
        async def main() -> None:
            async with connect(self.app(), era) as client:
                with pytest.raises(RemoteError, match="Resource not found") as caught:
                    await client.read_resource(uri)
                assert caught.value.code == (-32002 if era == "legacy" else -32602)
                assert caught.value.data == {"uri": uri}

        run(main())

    def test_a_variable_of_the_wrong_type_is_invalid_params(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with connect(self.app(), era) as client:
                with pytest.raises(InvalidParams, match="id"):
                    await client.read_resource("mem://x/data")

        run(main())

    def test_variables_and_parameters_must_match(self) -> None:
        with pytest.raises(ConfigError, match=r"variables of mem://\{a\} \(a\).*\(b\)"):
            Server("s").resource("mem://{a}")(lambda b: b)


class TestPrompts:
    def test_arguments_and_messages(self, run: Run, era: str) -> None:
        app = Server("s")

        @app.prompt
        def review(code: str, strict: bool = False) -> list[Any]:
            """Review code."""
            return [
                f"{code} {strict}",
                models.PromptMessage("assistant", models.TextContent("ok")),
                Image(PNG),
            ]

        @app.completion("review", "code")
        def codes(value: str, context: dict[str, str]) -> list[str]:
            return [f"{value}{number}" for number in range(150)]

        async def main() -> None:
            async with connect(app, era) as client:
                (prompt,) = await client.list_prompts()
                assert prompt.arguments is not msgspec.UNSET
                assert [(one.name, one.required) for one in prompt.arguments] == [
                    ("code", True),
                    ("strict", False),
                ]
                result = await client.get_prompt("review", {"code": "x", "strict": "true"})
                assert [message.role for message in result.messages] == ["user", "assistant", "user"]
                assert result.messages[0].content == models.TextContent("x True")
                with pytest.raises(InvalidParams, match="code"):
                    await client.get_prompt("review")
                with pytest.raises(InvalidParams, match="Unknown prompt: nope"):
                    await client.get_prompt("nope")
                found = await client.complete(models.PromptReference("review"), "code", "a")
                assert (len(found.values), found.total, found.has_more) == (100, 150, True)
                assert (await client.complete(models.PromptReference("review"), "strict", "")).values == []

        run(main())


class TestLists:
    def test_pages_follow_each_other(self, run: Run, era: str) -> None:
        app = Server("s", page_size=2)
        for number in range(5):
            app.tool(name=f"t{number}")(lambda: None)

        async def main() -> None:
            async with connect(app, era) as client:
                assert [tool.name for tool in await client.list_tools()] == ["t0", "t1", "t2", "t3", "t4"]
                first = await client.page("tools/list")
                assert len(first.tools) == 2
                with pytest.raises(InvalidParams):
                    await client.page("tools/list", "nonsense")

        run(main())

    def test_a_change_is_seen_at_once(self, run: Run, era: str) -> None:
        app = Server("s", cache_ttl_ms=60_000)
        app.tool(name="one")(lambda: None)

        async def main() -> None:
            async with connect(app, era) as client, await client.subscribe(tools=True) as changes:
                assert len(await client.list_tools()) == 1
                app.tool(name="two")(lambda: None)
                app.tools.remove("one")
                change = await anext(changes)
                assert change.method == "notifications/tools/list_changed"
                assert [tool.name for tool in await client.list_tools()] == ["two"]

        run(main())


class TestLifespan:
    def test_it_is_entered_once_and_left_after_the_last(self, run: Run) -> None:
        events: list[str] = []

        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[dict[str, int]]:
            events.append("enter")
            yield {"answer": 42}
            events.append("leave")

        app = Server("s", lifespan=lifespan)

        @app.tool
        def answer(ctx: Context) -> int:
            value: int = ctx.lifespan["answer"]
            return value

        async def main() -> None:
            async with Client(app) as one:
                async with Client(app) as two:
                    for client in (one, two):
                        assert (await client.call_tool("answer")).structured_content == {"result": 42}
                assert events == ["enter"]
            assert events == ["enter", "leave"]

        run(main())


class TestAsking:
    def app(self) -> Server:
        app = Server("s")

        @app.tool
        async def name(ctx: Context) -> str:
            answer = await ctx.elicit(
                "Your name?", {"type": "object", "properties": {"name": {"type": "string"}}}
            )
            return f"{answer.action} {answer.content}"

        @app.tool
        async def both(ctx: Context) -> str:
            form = Elicit("Your name?", {"type": "object", "properties": {"name": {"type": "string"}}})
            message = models.SamplingMessage("user", models.TextContent("hi"))
            answers = await ctx.ask(who=form, greeting=Sample([message], max_tokens=5))
            return f"{answers['who'].content['name']} {answers['greeting'].content.text}"

        @app.tool
        async def twice(ctx: Context) -> str:
            schema = {"type": "object", "properties": {"name": {"type": "string"}}}
            first = await ctx.elicit("first?", schema)
            second = await ctx.elicit(f"after {first.content['name']}?", schema)
            return f"{first.content['name']} {second.content['name']}"

        @app.tool
        async def roots(ctx: Context) -> list[str]:
            return [root.uri for root in await ctx.list_roots()]

        return app

    def test_each_question_reaches_its_callback(self, run: Run, era: str) -> None:
        asked: list[str] = []

        def elicitation(params: models.ElicitParams) -> models.ElicitResult:
            asked.append(params.message)
            return models.ElicitResult("accept", content={"name": f"Bob{len(asked)}"})

        async def sampling(params: models.CreateMessageParams) -> models.CreateMessageResult:
            return models.CreateMessageResult("assistant", models.TextContent("hello"), "m")

        async def main() -> None:
            options: dict[str, Any] = {
                "elicitation": elicitation,
                "sampling": sampling,
                "roots": ["file:///r"],
            }
            async with connect(self.app(), era, **options) as client:
                assert text_of(await client.call_tool("name")) == "accept {'name': 'Bob1'}"
                assert text_of(await client.call_tool("both")) == "Bob2 hello"
                assert text_of(await client.call_tool("twice")) == "Bob3 Bob4"
                assert asked[2:] == ["first?", "after Bob3?"]
                assert (await client.call_tool("roots")).structured_content == {"result": ["file:///r"]}

        run(main())

    def test_a_client_that_cannot_answer_is_not_asked(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with connect(self.app(), era) as client:
                with pytest.raises(RemoteError, match="capability elicitation") as caught:
                    await client.call_tool("name")
                assert caught.value.code == -32021
                assert caught.value.data == {"requiredCapabilities": {"elicitation": {}}}

        run(main())

    def test_a_declined_form_is_an_answer(self, run: Run, era: str) -> None:
        async def main() -> None:
            decline = models.ElicitResult("decline")
            async with connect(self.app(), era, elicitation=lambda params: decline) as client:
                assert text_of(await client.call_tool("name")) == "decline None"

        run(main())

    def test_forged_state_is_refused(self, run: Run) -> None:
        async def main() -> None:
            async with connect(self.app(), "2026-07-28", elicitation=lambda params: None) as client:
                asked = await client.request("tools/call", models.CallToolParams(name="twice"))
                assert isinstance(asked, models.InputRequiredResult)
                assert isinstance(asked.request_state, str)
                forged = asked.request_state[:-4] + "AAAA"
                again = models.CallToolParams(name="twice", request_state=forged, input_responses={})
                with pytest.raises(InvalidParams):
                    await client.request("tools/call", again)
                other = models.CallToolParams(name="name", request_state=asked.request_state)
                with pytest.raises(InvalidParams):
                    await client.request("tools/call", other)

        run(main())

    def test_missing_answers_are_asked_for_again(self, run: Run) -> None:
        async def main() -> None:
            async with connect(self.app(), "2026-07-28", elicitation=lambda params: None) as client:
                asked = await client.request("tools/call", models.CallToolParams(name="name"))
                again = models.CallToolParams(
                    name="name",
                    request_state=asked.request_state,
                    input_responses={"other": {"action": "accept"}},
                )
                result = await client.request("tools/call", again)
                assert isinstance(result, models.InputRequiredResult)
                assert list(result.input_requests or ()) == list(asked.input_requests)
                bad = models.CallToolParams(
                    name="name",
                    request_state=asked.request_state,
                    input_responses={key: {"action": "dance"} for key in asked.input_requests},
                )
                with pytest.raises(InvalidParams):
                    await client.request("tools/call", bad)

        run(main())


def test_unknown_methods_are_not_found(run: Run, era: str) -> None:
    async def main() -> None:
        async with connect(Server("s"), era) as client:
            with pytest.raises(MethodNotFound):
                await client.request("nope/nope", models.RequestParams())

    run(main())
