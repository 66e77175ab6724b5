"""Conversations become shorter, and stay conversations: calls keep their results, whatever is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.state.stores import DIALOGUE, numbered
from taut.agent.state import (
    SUMMARY_INSTRUCTIONS,
    Compaction,
    MemoryConversationStore,
    estimate_tokens,
    is_summary,
    transcript,
)
from taut.errors import ConfigError, InvalidModelAnswer
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


def called(*ids: str, size: int = 0) -> list[Message]:
    """Return a message with calls, and one with their results."""
    return [
        assistant(*(ToolCall(one, "t", {}) for one in ids)),
        tool_results(*(ToolResult(one, "t", "x" * size) for one in ids)),
    ]


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Return anything that an agent can have come to: parallel calls, ids that come again, runs that ended early."""
    found: list[Message] = []
    number = 0
    for kind in draw(st.lists(st.sampled_from(["user", "text", "calls", "split", "ended"]), max_size=12)):
        size = draw(st.integers(0, 80))
        if kind == "user":
            found.append(user("u" * size))
        elif kind == "text":
            found.append(assistant("a" * size))
        else:
            count = draw(st.integers(1, 3))
            reused = draw(st.booleans())
            ids = [f"call {at if reused else (number := number + 1)}" for at in range(count)]
            found.append(assistant("thinking", *(ToolCall(one, "t", {"n": size}) for one in ids)))
            results = [ToolResult(one, "t", "r" * size) for one in draw(st.permutations(ids))]
            if kind == "ended":
                results = results[: draw(st.integers(0, count - 1))]
            if kind == "calls" and results:
                found.append(tool_results(*results))
            else:
                found.extend(tool_results(one) for one in results)
    return found


def pairs(messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Return the places of every call and of its result, by walking through them as a provider does."""
    calls: dict[str, int] = {}
    found = []
    for at, message in enumerate(messages):
        for part in message.content:
            if isinstance(part, ToolCall):
                calls[part.id] = at
            elif isinstance(part, ToolResult) and part.call_id in calls:
                found.append((calls.pop(part.call_id), at))
    return found


settings: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    mode=st.sampled_from(["summarise", "drop", "empty_results"]),
    max_tokens=st.integers(20, 100),
    keep_tokens=st.none() | st.integers(1, 19),
    max_messages=st.none() | st.integers(6, 9),
    keep_messages=st.none() | st.integers(1, 5),
)


class TestPlans:
    @given(conversations(), settings)
    def test_no_pair_is_torn(self, messages: list[Message], given: dict[str, Any]) -> None:
        planned = Compaction(**given).plan(messages)
        if planned is None:
            return
        old, kept = planned
        assert old + kept == messages
        assert old
        assert kept
        assert kept[0].role != "tool"
        for call, result in pairs(messages):
            assert (call < len(old)) == (result < len(old))

    @given(conversations(), settings)
    def test_as_much_is_kept_as_may_be(self, messages: list[Message], given: dict[str, Any]) -> None:
        compaction = Compaction(**given)
        planned = compaction.plan(messages)
        if planned is None:
            return
        old, kept = planned
        tokens = given["max_tokens"] // 4 if given["keep_tokens"] is None else given["keep_tokens"]
        count = given["keep_messages"] or (
            len(messages) if given["max_messages"] is None else given["max_messages"] // 4
        )

        def fits(some: Sequence[Message]) -> bool:
            return estimate_tokens(some) <= tokens and len(some) <= count

        def is_cut(at: int) -> bool:
            torn = any(call < at <= result for call, result in pairs(messages))
            return not torn and messages[at].role != "tool"

        longer = [at for at in range(1, len(old)) if is_cut(at)]
        shorter = [at for at in range(len(old) + 1, len(messages)) if is_cut(at)]
        assert not any(fits(messages[at:]) for at in longer)
        # What is more than allowed is so because nothing less is possible.
        assert fits(kept) or not shorter

    @given(conversations(), settings)
    def test_what_is_compacted_is_a_conversation_that_needs_it_no_more_or_cannot_be_less(
        self, messages: list[Message], given: dict[str, Any]
    ) -> None:
        compaction = Compaction(**given)

        async def summarise(old: Sequence[Message]) -> str:
            return "s"

        async def main() -> list[list[Message]]:
            steps = [messages]
            while (new := await compaction.compact(steps[-1], summarise)) != steps[-1]:
                steps.append(new)
                assert len(steps) < 5, "it does not come to an end"
            return steps

        steps = asyncio.run(main())
        for new in steps[1:]:
            assert new[0].role != "tool"
            results = [part for message in new for part in message.content if isinstance(part, ToolResult)]
            assert len(pairs(new)) == len(results)
        assert compaction.plan(steps[-1]) is None

    def test_nothing_is_done_below_the_limits(self) -> None:
        compaction = Compaction(max_tokens=1_000, max_messages=10)
        assert compaction.plan([]) is None
        assert compaction.plan(numbered(10)) is None
        assert compaction.plan(numbered(11)) is not None
        assert compaction.plan(numbered(10), tokens=1_000) is None
        assert compaction.plan(numbered(10), tokens=1_001) is not None

    def test_the_end_is_kept(self) -> None:
        planned = Compaction(max_messages=8, keep_messages=3).plan(numbered(9))
        assert planned == (numbered(6), numbered(3, 6))
        planned = Compaction(max_messages=8).plan(numbered(9))
        assert planned == (numbered(7), numbered(2, 7))

    def test_calls_go_with_their_results(self) -> None:
        messages = [user("a"), *called("1", "2"), *called("3"), user("b")]
        for keep, cut in ((1, 5), (2, 5), (3, 3), (4, 3), (5, 1)):
            planned = Compaction(max_messages=5, keep_messages=min(keep, 4)).plan(messages)
            if keep < 5:
                assert planned == (messages[:cut], messages[cut:])

    def test_an_end_that_is_too_large_is_kept_as_a_whole(self) -> None:
        messages = [user("a"), *called("1", "2", size=10_000)]
        planned = Compaction(max_tokens=100, keep_tokens=1).plan(messages)
        assert planned == (messages[:1], messages[1:])
        # There is no place to cut.
        assert Compaction(max_tokens=100).plan(messages[1:]) is None
        assert Compaction(max_tokens=100).plan([user("x" * 1000)]) is None

    def test_a_call_that_waits_for_its_result_is_kept_for_it(self) -> None:
        waiting = assistant(ToolCall("1", "t", {}), ToolCall("2", "t", {}))
        half = tool_results(ToolResult("1", "t", "r"))
        messages = [user("a"), user("b"), waiting, half]
        planned = Compaction(max_messages=3, keep_messages=1).plan(messages)
        assert planned == (messages[:2], messages[2:])

    def test_a_call_that_was_given_up_holds_nothing_up(self) -> None:
        messages = [assistant(ToolCall("1", "t", {})), *numbered(5)]
        planned = Compaction(max_messages=3, keep_messages=1).plan(messages)
        assert planned == (messages[:5], messages[5:])

    def test_ids_that_come_again_are_other_calls(self) -> None:
        messages = [*called("1"), *called("1"), *called("1")]
        planned = Compaction(max_messages=4, keep_messages=2).plan(messages)
        assert planned == (messages[:4], messages[4:])


class TestTokens:
    def test_what_the_provider_has_counted_goes_before_a_guess(self) -> None:
        compaction = Compaction(max_tokens=100)
        messages = [user("x" * 4_000)] * 4
        assert compaction.plan(messages, tokens=100) is None
        assert compaction.plan(messages[:1] * 2 + [user("end")], tokens=101) is not None

    def test_what_was_not_in_the_request_is_added(self) -> None:
        compaction = Compaction(max_tokens=1_000, keep_tokens=500)
        messages = [*numbered(4), *called("1", size=2_000)]
        assert compaction.plan(messages, tokens=400, counted=5) is None
        planned = compaction.plan(messages, tokens=600, counted=5)
        assert planned == (messages[:4], messages[4:])
        with pytest.raises(ConfigError, match="counted: expected 0 to 6, got 7"):
            compaction.plan(messages, tokens=1, counted=7)

    def test_what_is_kept_is_measured_as_the_provider_counts(self) -> None:
        compaction = Compaction(max_tokens=1_000, keep_tokens=250)
        messages = [user("\N{SNOWMAN}" * 40) for _ in range(25)]
        guess = estimate_tokens(messages)
        planned = compaction.plan(messages, tokens=4 * guess)
        assert planned is not None
        assert estimate_tokens(planned[1]) * 4 <= 250 < estimate_tokens([*planned[1], messages[0]]) * 4

    def test_a_guess_counts_everything_once(self) -> None:
        assert estimate_tokens([]) == 0
        assert estimate_tokens([user("x" * 400)]) == 104
        assert estimate_tokens([assistant(Thinking("x" * 40), "y" * 40)]) == 24
        image, audio = Image("A" * 4_000_000, "image/png"), Audio("A" * 66_700, "audio/mp3")
        assert estimate_tokens([user([image])]) == 1_604
        assert estimate_tokens([user([audio])]) == 105
        many = tool_results(ToolResult("1", "t", (Text("x" * 40), image)), ToolResult("2", "t", "y" * 40))
        assert estimate_tokens([many]) == 1_624
        assert estimate_tokens([assistant(ToolCall("1", "tool", {"a": "x" * 28}))]) == 14
        assert estimate_tokens([assistant(ToolCall("1", "tool", {}, malformed="x" * 38))]) == 15
        assert estimate_tokens([*DIALOGUE, *DIALOGUE]) == 2 * estimate_tokens(DIALOGUE)


class TestSummaries:
    def test_a_summary_stands_for_what_was_cut(self) -> None:
        seen: list[Sequence[Message]] = []

        async def summarise(old: Sequence[Message]) -> str:
            seen.append(old)
            return f" summary {len(seen)}\n"

        async def main() -> None:
            compaction = Compaction(max_messages=4, keep_messages=2)
            first = await compaction.compact(numbered(5), summarise)
            assert first[1:] == numbered(2, 3)
            assert is_summary(first[0])
            assert first[0].text.endswith("\nsummary 1")
            assert seen == [numbered(3)]
            # The next summary is one of the first as well.
            second = await compaction.compact([*first, *numbered(2, 5)], summarise)
            assert seen[1] == [first[0], *numbered(2, 3)]
            assert second[0].text.endswith("\nsummary 2")
            assert second[1:] == numbered(2, 5)

        asyncio.run(main())
        assert not any(map(is_summary, [*numbered(2), *DIALOGUE]))

    def test_a_summary_is_not_summarised_alone(self) -> None:
        async def summarise(old: Sequence[Message]) -> str:
            return "summary"

        async def main() -> None:
            compaction = Compaction(max_tokens=100)
            messages = [*numbered(3), user("x" * 1_000)]
            compacted = await compaction.compact(messages, summarise)
            assert len(compacted) == 2
            assert compaction.plan(compacted) is None

        asyncio.run(main())

    def test_without_a_summary_nothing_changes(self) -> None:
        async def empty(old: Sequence[Message]) -> str:
            return " \n"

        async def broken(old: Sequence[Message]) -> str:
            raise InvalidModelAnswer("no")

        async def main() -> None:
            compaction, messages = Compaction(max_messages=2), numbered(5)
            with pytest.raises(InvalidModelAnswer, match="got no text"):
                await compaction.compact(messages, empty)
            with pytest.raises(InvalidModelAnswer, match="no"):
                await compaction.compact(messages, broken)
            with pytest.raises(ConfigError, match="expected a function that makes it, got none"):
                await compaction.compact(messages)
            assert await compaction.compact(numbered(2), broken) == numbered(2)

        asyncio.run(main())

    def test_what_is_dropped_is_said_to_be_missing(self) -> None:
        async def main() -> None:
            compaction = Compaction(mode="drop", max_messages=4, keep_messages=2)
            compacted = await compaction.compact(numbered(5))
            assert "left out" in compacted[0].text
            assert is_summary(compacted[0])
            assert compacted[1:] == numbered(2, 3)
            again = await compaction.compact([*compacted, *numbered(2, 5)])
            assert again == [compacted[0], *numbered(2, 5)]

        asyncio.run(main())

    def test_it_goes_into_a_store(self) -> None:
        async def summarise(old: Sequence[Message]) -> str:
            return "summary"

        async def main() -> None:
            store = MemoryConversationStore()
            await store.append("a", numbered(9), expected=0)
            messages = await store.load("a")
            compacted = await Compaction(max_messages=8).compact(messages, summarise)
            assert await store.replace("a", compacted, expected=len(messages)) == 3
            assert await store.load("a") == compacted

        asyncio.run(main())


class TestResults:
    def test_old_results_lose_their_content_and_nothing_else(self) -> None:
        image = ToolResult("2", "t", (Text("x" * 500), Image("aW1n", "image/png")), is_error=True)
        messages = [
            user("a"),
            assistant("so", ToolCall("1", "t", {"x": 1}), ToolCall("2", "t", {})),
            tool_results(ToolResult("1", "t", "y" * 1_000), image),
            *called("3", size=200),
            *called("4", size=900),
        ]

        async def main() -> list[Message]:
            compaction = Compaction(mode="empty_results", max_tokens=200, keep_tokens=150)
            compacted = await compaction.compact(messages)
            # Still too long, but there is nothing left to be done about it.
            assert compaction.plan(compacted) is None
            return compacted

        compacted = asyncio.run(main())
        assert compacted[2] == tool_results(
            ToolResult("1", "t", "[1000 characters of this result were left out]"),
            ToolResult("2", "t", "[500 characters of this result were left out]", is_error=True),
        )
        # A short result is not worth it, and the end is kept.
        assert compacted[:2] + compacted[3:] == messages[:2] + messages[3:]

    def test_where_there_are_no_results_nothing_is_done(self) -> None:
        compaction = Compaction(mode="empty_results", max_messages=3)
        assert compaction.plan(numbered(9)) is None


class TestTranscripts:
    def test_everything_that_matters_is_in_it(self) -> None:
        assert transcript(DIALOGUE).split("\n\n") == [
            "user: What is the weather in Bern, and in Rome?",
            'assistant: [calls weather] {"city":"Bern","days":[1,2.5,null,true]}',
            'assistant: [calls weather] {"city": ',
            "tool: [weather returned] 4 °C\n[image/png]\n[audio/wav]",
            "tool: [weather failed] Expected a JSON object",
            "assistant: Cold in Bern. \N{SNOWFLAKE}",
        ]
        assert "summary" in SUMMARY_INSTRUCTIONS

    def test_a_long_part_loses_its_middle(self) -> None:
        found = transcript([user("a" * 60 + "b" * 60)], max_part_chars=20)
        assert found == f"user: {'a' * 10}\n[... 100 characters ...]\n{'b' * 10}"


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"max_tokens": 0}, "max_tokens: expected at least 1, got 0"),
            ({"keep_messages": 0}, "keep_messages: expected at least 1, got 0"),
            (
                {"max_tokens": 10, "keep_tokens": 10},
                "keep_tokens: expected less than max_tokens, which is 10, got 10",
            ),
            (
                {"max_messages": 5, "keep_messages": 6},
                "keep_messages: expected less than max_messages, which is 5",
            ),
        ],
    )
    def test_numbers_that_cannot_work_are_a_mistake(self, given: dict[str, int], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            Compaction(**given)  # type: ignore[arg-type]
