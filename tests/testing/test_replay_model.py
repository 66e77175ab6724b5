"""Conversations that are recorded and replayed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from talking import ADD, ask, ask_streaming, request

from taut.errors import ConfigError, ModelRefused, ModelUnavailable
from taut.llm.messages import (
    Audio,
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    assistant,
    tool_results,
    user,
)
from taut.llm.model import Model, ModelRequest, ModelResponse, ModelSettings
from taut.testing import RecordingModel, ReplayModel, ScriptedModel, call
from taut.testing.recording import Recording, asked


def conversation(model: Model) -> list[ModelResponse]:
    """Ask, call a tool, and ask again, with one history that grows."""

    async def run() -> list[ModelResponse]:
        history: list[Message] = [user("add 1 and 2")]
        one = ModelRequest(messages=history, instructions="Calculate.", tools=[ADD])
        first = await model.respond(one)
        history += [first.message, tool_results(ToolResult(first.message.tool_calls[0].id, "add", "3"))]
        second = await model.respond(one)
        return [first, second]

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording of `conversation`."""
    path = tmp_path / "talk.jsonl"
    conversation(
        RecordingModel(ScriptedModel([Thinking("hm", "sig"), call("add", a=1, b=2)], "It is 3."), path)
    )
    return path


class TestRoundTrip:
    def test_a_conversation_is_the_same_without_its_model(self, path: Path) -> None:
        model = ReplayModel(path)
        assert isinstance(model, Model)
        assert model.left == 2
        answers = conversation(model)
        script = ScriptedModel([Thinking("hm", "sig"), call("add", a=1, b=2)], "It is 3.")
        assert answers == conversation(script)
        assert model.left == 0

    def test_it_is_streamed_as_well(self, path: Path) -> None:
        answer, events = ask_streaming(
            ReplayModel(path), request("add 1 and 2", instructions="Calculate.", tools=[ADD])
        )
        assert answer.message.tool_calls[0].name == "add"
        assert [type(event).__name__ for event in events] == [
            "ThinkingDelta",
            "ToolCallDelta",
            "ToolCallDelta",
        ]

    def test_each_message_is_written_once(self, path: Path) -> None:
        lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        assert [line["line"] for line in lines] == [
            "message",
            "tools",
            "exchange",
            "message",
            "message",
            "exchange",
        ]

    def test_the_recorder_hands_everything_on(self, tmp_path: Path) -> None:
        inner = ScriptedModel("a b", name="inner")
        model = RecordingModel(inner, tmp_path / "x")
        assert isinstance(model, Model)
        answer, events = ask_streaming(model, request("x"))
        assert (answer.message.text, len(events), model.name) == ("a b", 2, "inner")
        asyncio.run(model.close())
        assert inner.closed

    @given(
        st.lists(
            st.one_of(
                st.builds(Text, st.text()),
                st.builds(Image, st.just("aGk="), st.just("image/png")),
                st.builds(Audio, st.just("aGk="), st.just("audio/wav")),
                st.builds(Thinking, st.text(), st.none() | st.text()),
                st.builds(
                    ToolCall,
                    st.text(),
                    st.text(),
                    st.dictionaries(
                        st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    ),
                    st.none() | st.text(),
                ),
                st.builds(
                    ToolResult,
                    st.text(),
                    st.text(),
                    st.text() | st.just((Text("a"), Image("aGk=", "image/png"))),
                    st.booleans(),
                ),
            )
        ),
        st.text(),
    )
    def test_any_request_is_known_again(
        self, tmp_path_factory: pytest.TempPathFactory, parts: list[Any], instructions: str
    ) -> None:
        path = tmp_path_factory.mktemp("any") / "x.jsonl"
        one = request(user(parts), instructions=instructions)
        recorded = ask(RecordingModel(ScriptedModel(assistant(*parts)), path), one)
        assert ask(ReplayModel(path), one) == recorded
        (stored,) = Recording.read(path).messages.values()
        assert stored == user(parts)


class TestWhatCounts:
    def test_settings_do_not_count_and_are_not_written(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        secret = ModelSettings(temperature=0.5, extra={"user": "secret-user"})
        ask(RecordingModel(ScriptedModel("yes"), path), request("x", settings=secret))
        assert b"secret-user" not in path.read_bytes()
        assert ask(ReplayModel(path), request("x"))[0].message.text == "yes"

    @pytest.mark.parametrize(
        ("members", "difference"),
        [
            ({"instructions": "other"}, "instructions, character 0: expected '', got 'other'"),
            ({"tools": [ADD]}, "the length of tools: expected 0, got 1"),
            ({"tool_choice": "none"}, "tool_choice, character 0: expected 'auto', got 'none'"),
            ({"output_schema": {"type": "object"}}, "output_schema: expected None, got {'type': 'object'}"),
        ],
    )
    def test_everything_else_counts(self, tmp_path: Path, members: dict[str, Any], difference: str) -> None:
        path = tmp_path / "x"
        ask(RecordingModel(ScriptedModel("yes"), path), request("x"))
        with pytest.raises(ModelRefused) as caught:
            ask(ReplayModel(path), request("x", **members))
        assert f"The nearest one differs in {difference}" in str(caught.value)

    def test_the_order_of_arguments_does_not_count(self) -> None:
        left = request(assistant(ToolCall("1", "add", {"a": 1, "b": 2})))
        right = request(assistant(ToolCall("1", "add", {"b": 2, "a": 1})))
        assert asked(left).digest == asked(right).digest

    def test_what_always_changes_can_be_taken_out(self, tmp_path: Path) -> None:
        def timeless(one: ModelRequest) -> ModelRequest:
            return msgspec.structs.replace(one, instructions=one.instructions.partition(" It is ")[0])

        path = tmp_path / "x"
        recorder = RecordingModel(ScriptedModel("yes"), path, normalize=timeless)
        ask(recorder, request("x", instructions="Be kind. It is 12:00."))
        assert b"12:00" not in path.read_bytes()
        replay = ReplayModel(path, normalize=timeless)
        assert ask(replay, request("x", instructions="Be kind. It is 13:00."))[0].message.text == "yes"


class TestRepetition:
    def test_the_same_question_gets_its_answers_in_order(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        ask(RecordingModel(ScriptedModel("a", "b"), path), request("x"), request("x"))
        replay = ReplayModel(path)
        assert [answer.message.text for answer in ask(replay, request("x"), request("x"))] == ["a", "b"]
        with pytest.raises(ModelRefused, match=r"2 times at most, as recorded in .*, got it once more"):
            ask(replay, request("x"))

    def test_a_recording_may_be_continued(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        ask(RecordingModel(ScriptedModel("a"), path), request("x"))
        ask(RecordingModel(ScriptedModel("b"), path, append=True), request("x"))
        assert ReplayModel(path).left == 2
        ask(RecordingModel(ScriptedModel("c"), path), request("x"))
        assert ask(ReplayModel(path), request("x"))[0].message.text == "c"


class TestUnknown:
    @pytest.mark.parametrize(
        ("change", "difference"),
        [
            (
                lambda said: [user("add 1 and 3"), *said[1:]],
                "messages[0].content[0].text, character 10: expected 'add 1 and 2', got 'add 1 and 3'",
            ),
            (
                lambda said: [said[0], assistant(ToolCall("call_1", "add", {"a": 1, "b": 3})), *said[2:]],
                "messages[1].content[0].kind, character 1: expected 'thinking', got 'tool_call'",
            ),
            (
                lambda said: [*said[:2], tool_results(ToolResult("call_1", "add", "3", is_error=True))],
                "messages[2].content[0]: 'is_error' is new",
            ),
            (
                lambda said: [*said, assistant("3"), user("thanks")],
                "the number of messages: expected 3, got 5, 3 of them the same",
            ),
        ],
    )
    def test_the_error_shows_the_nearest_difference(self, path: Path, change: Any, difference: str) -> None:
        said = [
            user("add 1 and 2"),
            assistant(Thinking("hm", "sig"), ToolCall("call_1", "add", {"a": 1, "b": 2})),
            tool_results(ToolResult("call_1", "add", "3")),
        ]
        with pytest.raises(ModelRefused) as caught:
            ask(ReplayModel(path), request(*change(said), instructions="Calculate.", tools=[ADD]))
        assert f"differs in {difference}. Record it again" in str(caught.value)

    def test_changed_tools_are_shown(self, path: Path) -> None:
        changed = msgspec.structs.replace(ADD, description="Add two numbers, exactly.")
        with pytest.raises(ModelRefused, match=r"differs in tools\[0\].description, character 15"):
            ask(ReplayModel(path), request("add 1 and 2", instructions="Calculate.", tools=[changed]))

    def test_the_nearest_answer_may_do(self, path: Path) -> None:
        replay = ReplayModel(path, strict=False)
        near = request("add 1 and 2", instructions="Calculate!", tools=[ADD])
        assert ask(replay, near)[0].message.tool_calls[0].name == "add"
        assert ask(replay, near)[0].message.text == "It is 3."
        with pytest.raises(ModelRefused, match=r"All answers of .* were given"):
            ask(replay, near)


class TestFiles:
    def test_there_must_be_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="Cannot read the recording"):
            ReplayModel(tmp_path / "none")

    def test_it_must_have_an_exchange(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"")
        with pytest.raises(ConfigError, match="an exchange at least, got none"):
            ReplayModel(tmp_path / "x")

    @pytest.mark.parametrize("line", [b"{", b'{"line": "other"}', b'{"line": "exchange"}'])
    def test_a_line_that_is_none_is_named(self, path: Path, line: bytes) -> None:
        path.write_bytes(path.read_bytes() + line + b"\n")
        with pytest.raises(ConfigError, match="on line 7 of the recording"):
            ReplayModel(path)

    @pytest.mark.parametrize(("gone", "what"), [(0, "messages"), (1, "tools")])
    def test_what_is_referred_to_must_be_there(self, path: Path, gone: int, what: str) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        with pytest.raises(ConfigError, match=f"Expected the {what} of the exchange before line 2"):
            ReplayModel(path)

    def test_one_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="Cannot record to"):
            ask(RecordingModel(ScriptedModel("x"), tmp_path / "no" / "folder"), request("x"))

    def test_a_failure_is_not_recorded(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        with pytest.raises(ModelUnavailable):
            ask(RecordingModel(ScriptedModel(ModelUnavailable("no")), path), request("x"))
        assert not path.exists()
