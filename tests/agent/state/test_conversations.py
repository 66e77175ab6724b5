"""What every store of conversations does."""

from __future__ import annotations

import asyncio
import datetime
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.state.stores import DIALOGUE, KINDS, clock, messages, numbered, ring
from faults.loops import Run
from taut.agent.state import (
    Conflict,
    ConversationStore,
    MemoryConversationStore,
    SQLiteConversationStore,
    StoreFull,
)
from taut.errors import ConfigError
from taut.llm.messages import Message, ToolCall, assistant, user

Make = Callable[..., ConversationStore]


def maker(kind: str, path: Path) -> Make:
    def make(**settings: Any) -> ConversationStore:
        if kind == "memory":
            return MemoryConversationStore(clock=clock(), **settings)
        keys = ring() if kind == "sealed" else None
        return SQLiteConversationStore(path, keys=keys, clock=clock(), **settings)

    return make


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes stores; those on the disk share a file."""
    return maker(request.param, tmp_path / "state.db")


def test_what_was_said_is_found_as_it_was(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.load("a") == []
        assert await store.append("a", DIALOGUE[:2], expected=0) == 2
        assert await store.append("a", DIALOGUE[2:], expected=2) == 4
        assert await store.load("a") == DIALOGUE
        assert await store.load("b") == []
        await store.close()

    run(main())


def test_sessions_do_not_mix(run: Run, make: Make) -> None:
    names = ["a", "A", "", "a ", "'; DROP TABLE messages; --", "ä", "\0", "x" * 1000]

    async def main() -> None:
        store = make()
        for name in names:
            await store.append(name, [user(f"I am {name!r}")], expected=0)
        for name in names:
            assert [one.text for one in await store.load(name)] == [f"I am {name!r}"]
        assert {one.session for one in await store.sessions()} == set(names)
        await store.close()

    run(main())


def test_who_has_not_seen_everything_cannot_write(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        await store.append("a", numbered(3), expected=None)
        for write in (store.append, store.replace):
            for expected in (0, 2, 4):
                with pytest.raises(
                    Conflict, match=f"conversation 'a' .* expected {expected}, got 3"
                ) as raised:
                    await write("a", [user("late")], expected=expected)
                assert (raised.value.expected, raised.value.actual) == (expected, 3)
        with pytest.raises(Conflict, match="expected 1, got 0"):
            await store.append("b", [user("early")], expected=1)
        assert await store.load("a") == numbered(3)
        assert [one.session for one in await store.sessions()] == ["a"]
        await store.close()

    run(main())


def test_of_many_who_write_at_once_each_sees_the_others(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        others = [store] if isinstance(store, MemoryConversationStore) else [store, make(), make()]
        refused = 0

        async def write(number: int) -> None:
            nonlocal refused
            mine = others[number % len(others)]
            while True:
                seen = len(await mine.load("a"))
                try:
                    await mine.append("a", [user(str(number))], expected=seen)
                    return
                except Conflict:
                    refused += 1

        await asyncio.gather(*(write(number) for number in range(12)))
        found = [one.text for one in await store.load("a")]
        assert sorted(found, key=int) == [str(number) for number in range(12)]
        for one in others:
            await one.close()

    run(main())


def test_many_may_open_a_new_file_at_the_same_moment(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        for number in range(20):
            stores = [SQLiteConversationStore(tmp_path / f"{number}.db") for _ in range(6)]
            await asyncio.gather(*(store.append("a", [user("x")], expected=None) for store in stores))
            assert len(await stores[0].load("a")) == len(stores)
            for store in stores:
                await store.close()

    run(main())


def test_a_conversation_is_replaced_as_a_whole(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        await store.append("a", numbered(5), expected=0)
        await store.append("b", numbered(1), expected=0)
        assert await store.replace("a", numbered(2, 10), expected=5) == 2
        assert await store.load("a") == numbered(2, 10)
        assert await store.append("a", numbered(1, 12), expected=2) == 3
        assert await store.load("a") == numbered(3, 10)
        assert await store.replace("c", numbered(1), expected=0) == 1
        assert await store.load("b") == await store.load("c") == numbered(1)
        await store.close()

    run(main())


def test_an_empty_session_is_none(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.append("a", [], expected=0) == 0
        await store.append("b", numbered(1), expected=0)
        assert await store.append("b", [], expected=1) == 1
        await store.append("c", numbered(1), expected=0)
        assert await store.replace("c", [], expected=1) == 0
        await store.append("d", numbered(1), expected=0)
        await store.clear("d")
        await store.clear("d")
        assert await store.load("d") == []
        assert [one.session for one in await store.sessions()] == ["b"]
        await store.close()

    run(main())


def test_sessions_are_listed_by_what_happened_last(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.sessions() == []
        for name in "abc":
            await store.append(name, numbered(2), expected=0)
        await store.append("a", numbered(1), expected=2)
        await store.replace("b", numbered(1), expected=2)
        found = await store.sessions()
        assert [(one.session, one.messages) for one in found] == [("b", 1), ("a", 3), ("c", 2)]
        assert found[1].bytes == found[0].bytes * 3 == found[2].bytes * 3 // 2
        assert [one.updated for one in found] == [1_004.0, 1_003.0, 1_002.0]
        assert await store.sessions(limit=2) == found[:2]
        await store.close()

    run(main())


def test_a_session_has_an_end(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make(max_messages=3, max_bytes=300)
        await store.append("a", numbered(3), expected=0)
        with pytest.raises(StoreFull, match=r"conversation 'a' .* max_messages is 3, got 4") as raised:
            await store.append("a", numbered(1), expected=3)
        assert (raised.value.limit, raised.value.maximum, raised.value.actual) == ("max_messages", 3, 4)
        for write in (store.append, store.replace):
            with pytest.raises(StoreFull, match="max_bytes is 300, got 4"):
                await write("b", [user("x" * 400)], expected=None)
        with pytest.raises(StoreFull, match="max_messages"):
            await store.replace("a", numbered(4), expected=3)
        assert await store.load("a") == numbered(3)
        assert await store.load("b") == []
        # What is replaced does not count.
        assert await store.replace("a", [user("x" * 200)], expected=3) == 1
        assert await store.replace("a", [user("y" * 200)], expected=1) == 1
        await store.close()

    run(main())


def test_limits_that_nothing_fits_are_a_mistake(make: Make) -> None:
    for settings in ({"max_messages": 0}, {"max_bytes": -1}):
        with pytest.raises(ConfigError, match="expected at least 1"):
            make(**settings)


def test_what_cannot_be_written_down_is_a_mistake(run: Run, make: Make) -> None:
    broken = [
        (assistant(ToolCall("1", "t", {"a": object()})), "object"),
        (user("\ud800"), "surrogates"),
        (assistant(ToolCall("1", "t", {"big": 2**70, "odd": "\ud800"})), "surrogates"),
    ]

    async def main() -> None:
        store = make()
        for message, said in broken:
            with pytest.raises(ConfigError, match=rf"messages\[1\] cannot be kept: .*{said}"):
                await store.append("a", [user("fine"), message], expected=0)
        assert await store.load("a") == []
        await store.close()

    run(main())


def test_numbers_of_any_size_and_times_are_kept(run: Run, make: Make) -> None:
    when = datetime.datetime(2026, 7, 28, tzinfo=datetime.UTC)
    said = [
        assistant(ToolCall("1", "t", {"n": 10**40, "m": [-(2**63) - 1, 2**64 - 1]})),
        assistant(ToolCall("2", "t", {"when": when, "raw": b"\0\xff"})),
    ]

    async def main() -> None:
        store = make()
        await store.append("a", said, expected=0)
        assert await store.load("a") == said
        await store.close()

    run(main())


@given(kind=st.sampled_from(KINDS), said=st.lists(messages(), max_size=6), cut=st.integers(0, 6))
def test_anything_a_model_can_say_comes_back(kind: str, said: list[Message], cut: int) -> None:
    async def main(path: Path) -> None:
        store = maker(kind, path)()
        await store.append("a", said[:cut], expected=0)
        await store.append("a", said[cut:], expected=len(said[:cut]))
        assert await store.load("a") == said
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "state.db"))


def test_what_was_given_may_be_changed_afterwards(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        given = numbered(2)
        await store.append("a", given, expected=0)
        given.clear()
        found = await store.load("a")
        found.clear()
        assert await store.load("a") == numbered(2)
        await store.replace("a", given := numbered(1), expected=2)
        given.append(user("more"))
        assert await store.load("a") == numbered(1)
        await store.close()

    run(main())


def test_a_store_may_be_used_after_it_was_closed_and_in_another_loop(run: Run, make: Make) -> None:
    store = make()

    async def first() -> None:
        await store.append("a", numbered(1), expected=0)
        await store.close()
        await store.close()

    async def second() -> None:
        assert await store.append("a", numbered(1, 1), expected=1) == 2
        await store.close()

    run(first())
    run(second())


def test_who_is_cancelled_has_written_all_or_nothing(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        for number in range(10):
            writing = asyncio.ensure_future(store.append(str(number), numbered(50), expected=0))
            if number % 2:
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
            assert len(await store.load(str(number))) in (0, 50)
        await store.close()

    run(main())
