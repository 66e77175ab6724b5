"""A real model: SmolLM2 135M in llama.cpp, in this process and behind its HTTP server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm.provider import Told
from taut.errors import ConfigError, ContextTooLong, ModelRefused, ModelUnavailable
from taut.llm import (
    JsonActions,
    LocalModel,
    ModelEvent,
    ModelRequest,
    ModelSettings,
    OpenAIModel,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSpec,
    serve_local,
    stream,
    tool_results,
    user,
)
from taut.llm.local import _Answering, default_weights

pytestmark = pytest.mark.local

EXACT = ModelSettings(temperature=0, seed=1, max_tokens=48)
ADD = ToolSpec(
    "add",
    "Add two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
HI = ModelRequest(messages=[user("Say hi in five words.")])
STORY = ModelRequest(messages=[user("Tell me a long story.")])


@pytest.fixture(scope="module")
def loaded() -> Iterator[LocalModel]:
    """One model for all tests: loading it is most of the work."""
    model = LocalModel(context_tokens=1024, settings=EXACT)
    yield model
    asyncio.run(model.close())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_local(context_tokens=1024) as base_url:
        yield base_url


class TestInProcess:
    def test_a_chat(self, loaded: LocalModel) -> None:
        response = asyncio.run(loaded.respond(HI))

        assert "hi" in response.message.text.lower()
        assert response.stop_reason == "stop"
        assert response.model == "smollm2-135m"
        assert response.usage.input_tokens > 10
        assert response.usage.output_tokens > 3
        assert response.usage.cost == 0.0

    def test_the_same_request_gets_the_same_answer(self, loaded: LocalModel) -> None:
        first = asyncio.run(loaded.respond(HI))
        again = asyncio.run(loaded.respond(HI))

        assert first.message == again.message

    def test_it_is_streamed_while_it_runs(self, loaded: LocalModel) -> None:
        async def main() -> None:
            told = Told()
            turned = 0

            async def turn() -> None:
                nonlocal turned
                while True:
                    await asyncio.sleep(0)
                    turned += 1

            # The loop goes on beside it: the task below has its turns between the tokens.
            turns_at: list[int] = []

            def hear(event: ModelEvent) -> None:
                told(event)
                turns_at.append(turned)

            beside = asyncio.create_task(turn())
            response = await loaded.respond(HI, hear)
            beside.cancel()
            assert told.text(TextDelta) == response.message.text
            assert len(set(turns_at)) > 3

        asyncio.run(main())

    def test_an_answer_of_a_schema(self, loaded: LocalModel) -> None:
        request = ModelRequest(messages=[user("Alice is 30 years old.")], output_schema=PERSON)

        response = asyncio.run(loaded.respond(request))

        answer = json.loads(response.message.text)
        assert answer["name"] == "Alice"
        assert answer["age"] == 30

    def test_a_call_and_an_answer(self, loaded: LocalModel) -> None:
        request = ModelRequest(messages=[user("Add 17 and 25.")], tools=[ADD])

        first = asyncio.run(loaded.respond(request))

        call = ToolCall("call_1", "add", {"a": 17, "b": 25})
        assert first.message.tool_calls == (call,)
        assert first.stop_reason == "tool_calls"
        messages = [*request.messages, first.message, tool_results(ToolResult("call_1", "add", "42"))]
        told = Told()
        second = asyncio.run(loaded.respond(ModelRequest(messages=messages, tools=[ADD]), told))
        assert "42" in second.message.text
        assert told.text(TextDelta) == second.message.text

    def test_a_definition_within_a_tool_reaches_the_grammar(self, loaded: LocalModel) -> None:
        point = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
        schema = {"type": "object", "properties": {"at": {"$ref": "#/$defs/Point"}}, "required": ["at"]}
        tool = ToolSpec("go", "Go to a point.", {**schema, "$defs": {"Point": point}})
        request = ModelRequest(messages=[user("Go to x = 5.")], tools=[tool], tool_choice="required")

        (call,) = asyncio.run(loaded.respond(request)).message.tool_calls

        assert call.name == "go"
        assert isinstance(call.arguments["at"]["x"], int)

    def test_a_conversation_that_is_too_long(self, loaded: LocalModel) -> None:
        with pytest.raises(ContextTooLong, match="exceeds the available context size"):
            asyncio.run(loaded.respond(ModelRequest(messages=[user("word " * 2000)])))

    def test_a_request_that_it_does_not_take(self, loaded: LocalModel) -> None:
        with pytest.raises(ModelRefused, match="banana"):
            asyncio.run(loaded.respond(ModelRequest(messages=[user("Hi")], output_schema={"type": "banana"})))

    def test_cancelling_ends_it_at_once(self, loaded: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
        pieces: list[bool] = []
        tell = _Answering.tell

        def counted(self: _Answering, chunk: dict[str, Any]) -> bool:
            stop = tell(self, chunk)
            pieces.append(stop)
            return stop

        async def main() -> None:
            begun = asyncio.Event()
            long = ModelRequest(messages=STORY.messages, settings=ModelSettings(max_tokens=300))
            task = asyncio.create_task(loaded.respond(long, lambda event: begun.set()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            response = await loaded.respond(HI)  # in turn: so the other one has ended
            assert "hi" in response.message.text.lower()

        monkeypatch.setattr(_Answering, "tell", counted)
        asyncio.run(main())
        assert pieces.count(True) == 1  # the piece at which it was stopped

    def test_cancelling_who_waits_for_its_turn(self, loaded: LocalModel) -> None:
        async def main() -> None:
            told = Told()
            first = asyncio.create_task(loaded.respond(HI))
            second = asyncio.create_task(loaded.respond(STORY, told))
            await asyncio.sleep(0)
            second.cancel()
            await first
            await loaded.respond(HI)
            assert second.cancelled()
            assert told.events == []

        asyncio.run(main())

    def test_several_at_once_and_several_loops(self, loaded: LocalModel) -> None:
        said: list[str] = []

        async def ask() -> None:
            answers = await asyncio.gather(loaded.respond(HI), loaded.respond(HI))
            said.extend(answer.message.text for answer in answers)

        threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(said) == 4
        assert len(set(said)) == 1

    def test_an_error_of_who_is_told_is_the_callers(self, loaded: LocalModel) -> None:
        def fail(event: ModelEvent) -> None:
            raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine"):
            asyncio.run(loaded.respond(HI, fail))

    def test_as_a_stream(self, loaded: LocalModel) -> None:
        async def main() -> None:
            async with stream(loaded, HI) as events:
                text = "".join([event.text async for event in events])  # type: ignore[union-attr]
            assert text == events.response.message.text

        asyncio.run(main())


def test_closing_ends_what_is_under_way() -> None:
    async def main() -> None:
        model = LocalModel(context_tokens=1024, settings=ModelSettings(max_tokens=300, temperature=0))
        begun = asyncio.Event()
        running = asyncio.create_task(model.respond(STORY, lambda event: begun.set()))
        waiting = asyncio.create_task(model.respond(STORY))
        await begun.wait()
        await model.close()
        for task in (running, waiting):
            with pytest.raises(ModelUnavailable, match="was closed"):
                await task
        await model.close()

    asyncio.run(main())


def test_a_model_that_was_never_asked_is_never_loaded() -> None:
    model = LocalModel()

    asyncio.run(model.close())


def test_a_process_that_closes_nothing_ends() -> None:
    code = (
        "import asyncio\n"
        "from taut.llm import LocalModel, ModelRequest, ModelSettings, user\n"
        "model = LocalModel(context_tokens=512, settings=ModelSettings(max_tokens=4))\n"
        "print(asyncio.run(model.respond(ModelRequest(messages=[user('Hi')]))).usage.output_tokens)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"1", "2", "3", "4"}


class TestOverHttp:
    @pytest.mark.parametrize("listens", [False, True])
    def test_a_chat(self, url: str, listens: bool) -> None:
        async def main() -> None:
            model = OpenAIModel("smollm2-135m", base_url=url, settings=EXACT)
            told = Told()
            response = await (model.respond(HI, told) if listens else model.respond(HI))
            await model.close()
            assert "hi" in response.message.text.lower()
            assert response.stop_reason == "stop"
            assert response.usage.output_tokens > 3
            assert response.usage.cost == 0.0
            assert told.text(TextDelta) == (response.message.text if listens else "")

        asyncio.run(main())

    @pytest.mark.parametrize("listens", [False, True])
    def test_a_call_as_json(self, url: str, listens: bool) -> None:
        async def main() -> None:
            model = OpenAIModel("smollm2-135m", base_url=url, settings=EXACT, tool_mode="json_schema")
            request = ModelRequest(messages=[user("Add 17 and 25.")], tools=[ADD])
            response = await (model.respond(request, Told()) if listens else model.respond(request))
            await model.close()
            assert response.message.tool_calls == (ToolCall("call_1", "add", {"a": 17, "b": 25}),)

        asyncio.run(main())

    def test_actions_around_any_model(self, url: str) -> None:
        async def main() -> None:
            model = JsonActions(OpenAIModel("smollm2-135m", base_url=url, settings=EXACT))
            request = ModelRequest(messages=[user("Add 2 and 3.")], tools=[ADD], tool_choice="add")
            response = await model.respond(request)
            await model.close()
            assert response.message.tool_calls[0].name == "add"

        asyncio.run(main())

    def test_an_answer_of_a_schema(self, url: str) -> None:
        async def main() -> None:
            model = OpenAIModel("smollm2-135m", base_url=url, settings=EXACT)
            request = ModelRequest(messages=[user("Alice is 30 years old.")], output_schema=PERSON)
            response = await model.respond(request, Told())
            await model.close()
            assert json.loads(response.message.text) == {"name": "Alice", "age": 30}

        asyncio.run(main())

    def test_a_conversation_that_is_too_long(self, url: str) -> None:
        async def main() -> None:
            model = OpenAIModel("smollm2-135m", base_url=url)
            with pytest.raises(ContextTooLong):
                await model.respond(ModelRequest(messages=[user("word " * 2000)]))
            with pytest.raises(ContextTooLong):
                await model.respond(ModelRequest(messages=[user("word " * 2000)]), Told())
            await model.close()

        asyncio.run(main())

    def test_cancelling_frees_the_server(self, url: str) -> None:
        async def main() -> None:
            model = OpenAIModel("smollm2-135m", base_url=url, settings=ModelSettings(max_tokens=300))
            begun = asyncio.Event()
            task = asyncio.create_task(model.respond(STORY, lambda event: begun.set()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            short = ModelRequest(messages=HI.messages, settings=EXACT)
            assert "hi" in (await model.respond(short)).message.text.lower()
            await model.close()

        asyncio.run(main())

    def test_a_key(self) -> None:
        async def main(base_url: str) -> None:
            stranger = OpenAIModel("smollm2-135m", base_url=base_url, api_key="guess")
            with pytest.raises(ModelRefused, match="is the API key right"):
                await stranger.respond(HI)
            await stranger.close()
            friend = OpenAIModel("smollm2-135m", base_url=base_url, api_key="secret", settings=EXACT)
            await friend.respond(HI)
            await friend.close()

        with serve_local(context_tokens=512, api_key="secret") as base_url:
            asyncio.run(main(base_url))


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"no model")

    with pytest.raises(ConfigError, match="can load"):
        asyncio.run(LocalModel(path).respond(HI))


def test_the_weights_that_come_along() -> None:
    path = default_weights()

    assert path.suffix == ".gguf"
    assert path.is_file()
