"""Scripts, one for a model or one for each agent of a tree."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from talking import ADD, ask, ask_streaming, request, streamed_arguments, streamed_text

from taut.errors import ConfigError, ModelRefused, ModelUnavailable
from taut.llm.messages import (
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    assistant,
    tool_results,
    user,
)
from taut.llm.model import Model, ModelEvent, ModelRequest, ModelResponse, TextDelta, ToolCallDelta
from taut.testing import KeyedModel, ScriptedModel, call


class TestItems:
    def test_each_request_gets_the_next_item(self) -> None:
        model = ScriptedModel("one", "two")
        assert isinstance(model, Model)
        first, second = ask(model, request("a"), request("b"))
        assert (first.message, second.message) == (assistant("one"), assistant("two"))
        assert first.stop_reason == "stop"
        assert first.model == model.name == "scripted"
        assert (model.asked, model.left) == (2, 0)

    def test_calls_get_ids_in_their_order(self) -> None:
        model = ScriptedModel(call("add", a=1), ["both:", call("add", b=2), call("sub")], call("add"))
        answers = ask(model, *(request("x") for _ in range(3)))
        assert answers[0].message == assistant(ToolCall("call_1", "add", {"a": 1}))
        assert answers[0].stop_reason == "tool_calls"
        assert answers[1].message.content[0] == Text("both:")
        ids = [made.id for answer in answers for made in answer.message.tool_calls]
        assert ids == ["call_1", "call_2", "call_3", "call_4"]

    def test_an_id_that_is_given_is_kept(self) -> None:
        model = ScriptedModel([ToolCall("mine", "add", {}), call("add", name="x")])
        (answer,) = ask(model, request("x"))
        assert [made.id for made in answer.message.tool_calls] == ["mine", "call_1"]
        assert answer.message.tool_calls[1].arguments == {"name": "x"}

    def test_ids_go_on_where_another_process_ended(self) -> None:
        history = (
            user("x"),
            assistant(ToolCall("call_4", "add", {})),
            tool_results(ToolResult("call_4", "add", "1")),
        )
        (answer,) = ask(ScriptedModel(call("add")), request(*history))
        assert answer.message.tool_calls[0].id == "call_5"

    def test_messages_and_responses_are_said_as_they_are(self) -> None:
        whole = ModelResponse(message=assistant("cut"), usage=Usage(7, 3, requests=1), stop_reason="length")
        model = ScriptedModel(Message("assistant", (Thinking("hm"), Text("yes"))), whole)
        first, second = ask(model, request("x"), request("x"))
        assert first.message.content == (Thinking("hm"), Text("yes"))
        assert second is whole

    def test_an_exception_is_raised_and_the_script_goes_on(self) -> None:
        async def run() -> str:
            with pytest.raises(ModelUnavailable, match="busy"):
                await model.respond(request("x"))
            return (await model.respond(request("x"))).message.text

        model = ScriptedModel(ModelUnavailable("busy", status=429), "now")
        assert asyncio.run(run()) == "now"

    def test_functions_see_the_request(self) -> None:
        async def later(one: ModelRequest) -> list[Any]:
            await asyncio.sleep(0)
            return [call(one.tools[0].name, a=1, b=2)]

        model = ScriptedModel(
            lambda one: one.messages[-1].text.upper(), later, lambda one: ModelUnavailable("no")
        )
        first, second = ask(model, request("hello"), request("x", tools=[ADD]))
        assert first.message.text == "HELLO"
        assert second.message.tool_calls == (ToolCall("call_1", "add", {"a": 1, "b": 2}),)
        with pytest.raises(ModelUnavailable, match="no"):
            ask(model, request("x"))

    def test_a_script_may_begin_again(self) -> None:
        error = ModelUnavailable("busy")
        model = ScriptedModel("a", error, cycle=True, keep=0)
        for _ in range(3):
            assert ask(model, request("x"))[0].message.text == "a"
            assert model.left == 1
            with pytest.raises(ModelUnavailable) as caught:
                ask(model, request("x"))
            assert caught.value is error
        depth, trace = 0, error.__traceback__
        while trace is not None:
            depth, trace = depth + 1, trace.tb_next
        assert depth < 15  # of the last time only

    @pytest.mark.parametrize(
        ("item", "message"),
        [
            (3, "as item 1 of the script of 'scripted', got int"),
            ([call("x"), 3], r"part of a message in item 1 of the script of 'scripted'\[1\], got int"),
            (ModelUnavailable, "an instance as item 1 .* got the class ModelUnavailable"),
        ],
    )
    def test_what_is_no_item_is_refused_at_once(self, item: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            ScriptedModel("fine", item)

    def test_what_a_function_returns_is_checked(self) -> None:
        model = ScriptedModel(lambda one: 3)  # type: ignore[arg-type,return-value]
        with pytest.raises(ConfigError, match="as the answer of 'scripted' to request 1, got int"):
            ask(model, request("x"))

    def test_an_empty_script_cannot_be_repeated(self) -> None:
        with pytest.raises(ConfigError, match="got an empty one"):
            ScriptedModel(cycle=True)


class TestExhausted:
    def test_the_error_says_how_many_requests_there_were(self) -> None:
        model = ScriptedModel("one")
        ask(model, request("x"))
        expected = (
            "'scripted' is over: expected at most 1 requests, got request 2; the last message was the user's"
        )
        with pytest.raises(ModelRefused, match=expected):
            ask(model, request("and now?"))
        with pytest.raises(
            ModelRefused, match="request 3; the last message was the assistant's '' with calls of add"
        ):
            ask(model, request(assistant(ToolCall("1", "add", {}))))
        with pytest.raises(ModelRefused, match="got request 4; the last message was none"):
            ask(model, request())


class TestStreaming:
    def test_text_comes_in_words(self) -> None:
        _, events = ask_streaming(ScriptedModel(" one two\nthree"), request("x"))
        assert events == [TextDelta(" "), TextDelta("one "), TextDelta("two\n"), TextDelta("three")]

    def test_calls_come_with_their_name_first(self) -> None:
        answer, events = ask_streaming(ScriptedModel(["so:", call("add", a=1, b="x y")]), request("x"))
        assert events[1] == ToolCallDelta("call_1", "add", "")
        assert streamed_text(events) == "so:"
        assert streamed_arguments(events) == {"call_1": '{"a":1,"b":"x y"}'}
        assert answer.message.tool_calls[0].arguments == {"a": 1, "b": "x y"}

    def test_malformed_arguments_are_streamed_as_they_are(self) -> None:
        _, events = ask_streaming(ScriptedModel(ToolCall("c", "add", {}, malformed='{"a": ')), request("x"))
        assert streamed_arguments(events) == {"c": '{"a": '}


class TestUsage:
    def test_it_is_counted_the_same_way_every_time(self) -> None:
        model = ScriptedModel("12345", "12345")
        first, second = ask(
            model, request("abcd", instructions="abcde"), request("abcd", instructions="abcde")
        )
        assert first.usage == second.usage == Usage(input_tokens=3, output_tokens=2, requests=1)

    def test_tools_schemas_and_thinking_count(self) -> None:
        thought = Message("assistant", (Thinking("12345678"), Text("1234")))
        model = ScriptedModel("x", "x", thought)
        bare, tools, thinking = ask(
            model, request("x"), request("x", tools=[ADD], output_schema={"type": "object"}), request("x")
        )
        assert tools.usage.input_tokens > bare.usage.input_tokens + 25
        assert thinking.usage == Usage(input_tokens=1, output_tokens=3, thinking_tokens=2, requests=1)

    def test_a_history_counts_whole_however_it_came_about(self) -> None:
        model = ScriptedModel("x", cycle=True)
        grown: list[Message] = []
        for number in range(20):
            grown += [user("abcd" * number), assistant("abcd")]
            (answer,) = ask(model, ModelRequest(messages=grown))
            fresh = ModelRequest(messages=[Message(one.role, one.content) for one in grown])
            assert answer.usage == ask(ScriptedModel("x"), fresh)[0].usage
        changed = [grown[0], user("changed in the middle"), *grown[2:]]
        assert (
            ask(model, ModelRequest(messages=changed))[0].usage
            == ask(ScriptedModel("x"), ModelRequest(messages=changed))[0].usage
        )

    def test_what_was_counted_once_is_not_walked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        walked: list[Message] = []
        from taut.testing import tokens

        measure = tokens.message_tokens

        def note(one: Message) -> int:
            walked.append(one)
            return measure(one)

        monkeypatch.setattr(tokens, "message_tokens", note)
        model = ScriptedModel(call("add"), cycle=True)
        grown = [user("x")]
        for _ in range(50):
            (answer,) = ask(model, ModelRequest(messages=grown))
            grown += [answer.message, tool_results(ToolResult("c", "add", "1"))]
        # Each message once as input, and each answer once as output.
        assert len(walked) == 1 + 49 * 2 + 50

    def test_it_may_be_given(self) -> None:
        given = Usage(100, 10, requests=1, cost=0.5)
        answers = ask(ScriptedModel("a", "b", usage=given), request("x"), request("y"))
        assert [answer.usage for answer in answers] == [given, given]


class TestRequests:
    def test_they_are_kept_as_they_came(self) -> None:
        model = ScriptedModel("a", "b")
        history = [user("x")]
        one = ModelRequest(messages=history)
        ask(model, one)
        history.append(assistant("a"))
        ask(model, one)
        assert list(model.requests) == [one, one]
        assert model.requests[0].messages is history

    def test_a_snapshot_keeps_what_was_said_then(self) -> None:
        model = ScriptedModel("a", "b", snapshot=True)
        history = [user("x")]
        ask(model, ModelRequest(messages=history))
        history.append(assistant("a"))
        ask(model, ModelRequest(messages=history))
        assert [len(one.messages) for one in model.requests] == [1, 2]

    def test_only_the_last_ones_may_be_kept(self) -> None:
        model = ScriptedModel("a", cycle=True, keep=2)
        ask(model, *(request(text) for text in "abc"))
        assert [one.messages[0].text for one in model.requests] == ["b", "c"]
        assert model.asked == 3
        with pytest.raises(ConfigError, match="at least 0 requests, got -1"):
            ScriptedModel("a", keep=-1)


class TestDelay:
    def test_it_is_awaited_before_anything_is_said(self) -> None:
        async def run() -> None:
            gate = asyncio.Event()
            events: list[ModelEvent] = []
            model = ScriptedModel("hello", delay=lambda one: gate.wait())
            task = asyncio.create_task(model.respond(request("x"), events.append))
            await asyncio.sleep(0)
            assert not task.done()
            assert (model.asked, events) == (1, [])
            gate.set()
            assert (await task).message.text == "hello"
            assert streamed_text(events) == "hello"

        asyncio.run(run())

    def test_a_function_reads_the_history_before_it(self) -> None:
        async def run() -> str:
            gate = asyncio.Event()
            history = [user("x")]
            model = ScriptedModel(lambda one: str(len(one.messages)), delay=lambda one: gate.wait())
            task = asyncio.create_task(model.respond(ModelRequest(messages=history)))
            await asyncio.sleep(0)
            history.append(user("later"))
            gate.set()
            return (await task).message.text

        assert asyncio.run(run()) == "1"

    def test_it_can_be_cancelled(self) -> None:
        async def run() -> None:
            model = ScriptedModel("hello", "again", delay=lambda one: asyncio.Event().wait())
            task = asyncio.create_task(model.respond(request("x")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert model.left == 1

        asyncio.run(run())


class TestKeyed:
    def test_each_agent_has_its_script(self) -> None:
        model = KeyedModel({"planner": ["plan", call("run")], "writer": "text"})
        assert isinstance(model, Model)
        plan, text, run = ask(
            model,
            request("x", instructions="You are the planner."),
            request("x", instructions="You are the writer."),
            request("x", instructions="You are the planner."),
        )
        assert [plan.message.text, text.message.text] == ["plan", "text"]
        assert run.message.tool_calls[0].id == "call_1_1"
        assert run.model == "keyed['planner']"

    def test_branches_do_not_depend_on_their_order(self) -> None:
        def said(order: str) -> dict[str, list[str]]:
            model = KeyedModel({f"branch {name}": [f"{name}1", [call(name)]] for name in "ab"})
            found: dict[str, list[str]] = {"a": [], "b": []}
            for name in order:
                (answer,) = ask(model, request("x", instructions=f"branch {name}"))
                found[name] += [answer.message.text, *(made.id for made in answer.message.tool_calls)]
            return found

        assert said("abab") == said("bbaa") == {"a": ["a1", "", "call_1_1"], "b": ["b1", "", "call_2_1"]}

    def test_a_key_may_be_a_function_and_a_script_a_model(self) -> None:
        inner = ScriptedModel("inner", name="inner")

        def is_short(one: ModelRequest) -> bool:
            return len(one.messages[-1].text) < 3

        model = KeyedModel({is_short: inner, "": ["anything"]})
        short, long = ask(model, request("x"), request("long"))
        assert (short.model, long.message.text) == ("inner", "anything")
        assert model.models[is_short] is inner
        asyncio.run(model.close())
        assert inner.closed

    def test_the_settings_are_those_of_each_script(self) -> None:
        used = Usage(1, 2, requests=1)
        model = KeyedModel({"a": ["x"]}, name="tree", usage=used, cycle=True, keep=1, snapshot=True)
        answers = ask(model, request("1", instructions="a"), request("2", instructions="a"))
        assert [answer.usage for answer in answers] == [used, used]
        inner = model.models["a"]
        assert isinstance(inner, ScriptedModel)
        assert inner.name == "tree['a']"
        assert [one.messages for one in inner.requests] == [(user("2"),)]

    def test_the_first_key_that_fits_counts(self) -> None:
        model = KeyedModel({"write": ["first"], "writer": ["second"]})
        assert ask(model, request("x", instructions="writer"))[0].message.text == "first"

    def test_a_request_of_nobody_is_refused(self) -> None:
        model = KeyedModel({"planner": "x", "writer": "y"})
        with pytest.raises(
            ModelRefused, match=r"fit a key of 'keyed' \('planner', 'writer'\), got 'a critic'"
        ):
            ask(model, request("x", instructions="a critic"))
