"""What a handler may ask of the client, what it may not, and what becomes of the answers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from faults.loops import Run
from taut import Client, Context, Elicit, ElicitUrl, Sample, Server, models
from taut.errors import ConfigError, InternalError, InvalidParams, MissingRequiredClientCapability

ERAS = ("legacy", "2026-07-28")
FORM = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 150}}, "required": ["age"]}


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def text_of(result: models.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, models.TextContent)
    return block.text


class TestAnswers:
    @pytest.mark.parametrize("content", [{"age": "old"}, {"age": 151}, {}, None])
    def test_what_does_not_fit_the_form_does_not_reach_the_handler(
        self, run: Run, era: str, content: Any
    ) -> None:
        app = Server("s")
        reached: list[Any] = []

        @app.tool
        async def ask(ctx: Context) -> None:
            reached.append(await ctx.elicit("Your age?", FORM))

        async def main() -> None:
            given = models.ElicitResult("accept", **({} if content is None else {"content": content}))
            async with Client(app, mode=era, elicitation=lambda params: given) as client:
                with pytest.raises(InvalidParams, match="age: expected"):
                    await client.call_tool("ask")

        run(main())
        assert reached == []


def ask_app(question: Any) -> Server:
    app = Server("s")

    @app.tool
    async def ask(ctx: Context) -> str:
        answer = await ctx.ask(it=question)
        return str(getattr(answer["it"], "action", None) or type(answer["it"]).__name__)

    return app


def capabilities(**declared: Any) -> models.ClientCapabilities:
    return msgspec.convert(declared, models.ClientCapabilities)


TOOL = models.Tool("t", {"type": "object"})
HELLO = models.SamplingMessage("user", models.TextContent("hi"))
URL = ElicitUrl("Sign in", "https://example.com/login")


class TestCapabilities:
    @pytest.mark.parametrize(
        ("question", "declared", "required"),
        [
            (URL, {"elicitation": {}}, {"elicitation": {"url": {}}}),
            (URL, {"elicitation": {"form": {}}}, {"elicitation": {"url": {}}}),
            (Elicit("?", FORM), {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
            (Elicit("?", FORM), {}, {"elicitation": {}}),
            (Sample([HELLO], max_tokens=1, tools=[TOOL]), {"sampling": {}}, {"sampling": {"tools": {}}}),
        ],
    )
    def test_only_what_the_client_declared_is_asked(
        self, run: Run, era: str, question: Any, declared: Any, required: Any
    ) -> None:
        async def main() -> None:
            answer: Any = lambda params: pytest.fail("asked")  # noqa: E731
            options = {"elicitation": answer, "sampling": answer, "capabilities": capabilities(**declared)}
            options = {key: value for key, value in options.items() if key in {*declared, "capabilities"}}
            async with Client(ask_app(question), mode=era, **options) as client:
                with pytest.raises(MissingRequiredClientCapability) as caught:
                    await client.call_tool("ask")
                assert caught.value.data == {"requiredCapabilities": required}

        run(main())

    def test_a_url_is_shown_to_the_client(self, run: Run, era: str) -> None:
        asked: list[models.ElicitParams] = []

        def elicitation(params: models.ElicitParams) -> models.ElicitResult:
            asked.append(params)
            return models.ElicitResult("accept")

        async def main() -> None:
            both = capabilities(elicitation={"form": {}, "url": {}})
            async with Client(ask_app(URL), mode=era, elicitation=elicitation, capabilities=both) as client:
                assert text_of(await client.call_tool("ask")) == "accept"

        run(main())
        assert [(one.mode, one.url) for one in asked] == [("url", "https://example.com/login")]
        assert (asked[0].elicitation_id is not msgspec.UNSET) == (era == "legacy")

    def test_sampling_with_tools(self, run: Run, era: str) -> None:
        def sampling(params: models.CreateMessageParams) -> models.CreateMessageResult:
            assert params.tools == [TOOL]
            return models.CreateMessageResult("assistant", models.TextContent("no need"), "m")

        async def main() -> None:
            app = ask_app(Sample([HELLO], max_tokens=1, tools=[TOOL]))
            declared = capabilities(sampling={"tools": {}})
            async with Client(app, mode=era, sampling=sampling, capabilities=declared) as client:
                assert text_of(await client.call_tool("ask")) == "CreateMessageResult"

        run(main())

    def test_an_old_client_that_declares_what_its_revision_lacks_is_not_asked(self, run: Run) -> None:
        async def main() -> None:
            answer = models.ElicitResult("decline")
            client = Client(ask_app(Elicit("?", FORM)), mode="2025-03-26", elicitation=lambda params: answer)
            async with client:
                with pytest.raises(MissingRequiredClientCapability):
                    await client.call_tool("ask")

        run(main())

    @pytest.mark.parametrize("url", ["", "example.com", "/login", "javascript:alert(1)"])
    def test_what_is_no_url_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="absolute URL"):
            ElicitUrl("?", url)


class TestUrlsThatAreDone:
    def test_the_client_hears_of_it_where_the_revision_has_a_word_for_it(self, run: Run, era: str) -> None:
        app = Server("s")

        @app.tool
        async def pay(ctx: Context) -> str:
            answer = await ctx.elicit_url("Pay", "https://example.com/pay", elicitation_id="p1")
            ctx.elicitation_complete("p1")
            return answer.action

        heard: list[str] = []

        async def main() -> None:
            async with Client(
                app,
                mode=era,
                elicitation=lambda params: models.ElicitResult("accept"),
                capabilities=capabilities(elicitation={"url": {}}),
                on_notification=lambda one: heard.append(one.params().elicitation_id),
            ) as client:
                assert text_of(await client.call_tool("pay")) == "accept"

        run(main())
        assert heard == (["p1"] if era == "legacy" else [])


def use(identifier: str) -> models.ToolUseContent:
    return models.ToolUseContent(identifier, "t", {})


def outcome(identifier: str) -> models.ToolResultContent:
    return models.ToolResultContent(identifier, [])


class TestToolMessages:
    def test_uses_and_results_that_belong_together(self) -> None:
        Sample(
            [
                HELLO,
                models.SamplingMessage("assistant", [use("1"), use("2")]),
                models.SamplingMessage("user", [outcome("2"), outcome("1")]),
                models.SamplingMessage("assistant", use("3")),
                models.SamplingMessage("user", outcome("3")),
            ],
            max_tokens=1,
        )

    @pytest.mark.parametrize(
        ("contents", "said"),
        [
            ([[use("1")], [outcome("1"), models.TextContent("x")]], "got other content"),
            ([[use("1")], [models.TextContent("x")]], r"tool uses \['1'\], got \[\]"),
            ([[use("1")], [outcome("2")]], r"tool uses \['1'\], got \['2'\]"),
            ([[models.TextContent("x")], [outcome("2")]], r"tool uses \[\], got \['2'\]"),
            ([[use("1")]], "after the last message"),
        ],
    )
    def test_and_those_that_do_not(self, contents: list[Any], said: str) -> None:
        roles: list[Any] = ["assistant", "user"]
        messages = [
            models.SamplingMessage(role, content) for role, content in zip(roles, contents, strict=False)
        ]
        with pytest.raises(ConfigError, match=said):
            Sample(messages, max_tokens=1)


ASKS = models.InputRequiredResult(
    input_requests={"who": models.ElicitRequest(models.ElicitParams("Who?", requested_schema=FORM))}
)


class TestInputRequiredByHand:
    def app(self) -> Server:
        app = Server("s")
        app.tool(name="sync")(lambda: ASKS)

        async def later() -> models.InputRequiredResult:
            return ASKS

        app.tool(later)
        app.resource("mem://x")(lambda: ASKS)
        app.prompt(name="p")(lambda: ASKS)
        return app

    async def call(self, client: Client, what: str) -> Any:
        if what == "resource":
            return await client.request("resources/read", models.ReadResourceParams(uri="mem://x"))
        if what == "prompt":
            return await client.request("prompts/get", models.GetPromptParams(name="p"))
        return await client.request("tools/call", models.CallToolParams(name=what))

    @pytest.mark.parametrize("what", ["sync", "later", "resource", "prompt"])
    def test_it_travels_as_it_is_to_a_client_that_can_answer(self, run: Run, what: str) -> None:
        async def main() -> None:
            async with Client(self.app(), elicitation=lambda params: None) as client:
                result = await self.call(client, what)
                assert isinstance(result, models.InputRequiredResult)
                assert result.input_requests == ASKS.input_requests
            async with Client(self.app()) as client:
                with pytest.raises(MissingRequiredClientCapability):
                    await self.call(client, what)

        run(main())

    @pytest.mark.parametrize("what", ["sync", "later", "resource", "prompt"])
    def test_a_legacy_client_never_sees_one(
        self, run: Run, what: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with Client(self.app(), mode="legacy", elicitation=lambda params: None) as client:
                with pytest.raises(InternalError):
                    await self.call(client, what)

        run(main())
        assert "ask with a Context" in caplog.text


class TestHandlersThatCatch:
    @pytest.mark.parametrize("what", ["tool", "prompt"])
    def test_a_handler_that_catches_everything_still_asks(self, run: Run, era: str, what: str) -> None:
        app = Server("s")

        async def ask(ctx: Context) -> str:
            try:
                return (await ctx.elicit("Your age?", FORM)).action
            except Exception:
                return "caught"

        app.tool(ask)
        app.prompt(ask)

        async def main() -> None:
            answer = models.ElicitResult("accept", content={"age": 1})
            async with Client(app, mode=era, elicitation=lambda params: answer) as client:
                if what == "tool":
                    assert text_of(await client.call_tool("ask")) == "accept"
                else:
                    (message,) = (await client.get_prompt("ask")).messages
                    assert message.content == models.TextContent("accept")

        run(main())

    @pytest.mark.parametrize("what", ["tool", "prompt"])
    def test_tasks_of_a_handler_ask_together(self, run: Run, era: str, what: str) -> None:
        app = Server("s")
        runs: list[int] = []

        async def ask(ctx: Context) -> str:
            runs.append(1)
            async with asyncio.TaskGroup() as group:
                one = group.create_task(ctx.elicit("One?", FORM))
                two = group.create_task(ctx.elicit("Two?", FORM))
            return f"{one.result().content['age']} {two.result().content['age']}"

        app.tool(ask)
        app.prompt(ask)
        ages = {"One?": 1, "Two?": 2}

        async def main() -> None:
            answer = lambda params: models.ElicitResult("accept", content={"age": ages[params.message]})  # noqa: E731
            async with Client(app, mode=era, elicitation=answer) as client:
                if what == "tool":
                    assert text_of(await client.call_tool("ask")) == "1 2"
                else:
                    (message,) = (await client.get_prompt("ask")).messages
                    assert message.content == models.TextContent("1 2")

        run(main())
        assert len(runs) == (1 if era == "legacy" else 2)

    def test_a_group_of_other_exceptions_is_a_failure(
        self, run: Run, era: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = Server("s")

        async def wrong() -> None:
            raise RuntimeError("wrong")

        @app.tool
        async def ask(ctx: Context) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.elicit("One?", FORM))
                group.create_task(wrong())

        async def main() -> None:
            answer = models.ElicitResult("decline")
            async with Client(app, mode=era, elicitation=lambda params: answer) as client:
                assert (await client.call_tool("ask")).is_error is True

        run(main())
        assert "wrong" in caplog.text
