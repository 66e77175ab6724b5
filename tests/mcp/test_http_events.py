"""Event ids, and the store in memory: what it keeps, gives up, and says of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError
from taut.mcp.http.events import EventsLost, Kept, MemoryEventStore, event_id, read_event_id


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_an_event_id_is_read_back(stream: int, number: int) -> None:
    assert read_event_id(event_id(stream, number).encode()) == (stream, number)


@given(st.binary(max_size=30))
def test_what_is_read_is_what_was_written(raw: bytes) -> None:
    cursor = read_event_id(raw)
    assert cursor is None or event_id(*cursor).encode() == raw


def read(store: MemoryEventStore, session: str, stream: int, after: int) -> Kept:
    return asyncio.run(store.read(session, stream, after))


def filled(store: MemoryEventStore, session: str, stream: int, count: int, size: int = 1) -> None:
    for number in range(1, count + 1):
        store.append(session, stream, number, b"x" * size)


class TestMemory:
    def test_a_stream_is_read_from_behind_an_event(self) -> None:
        store = MemoryEventStore()
        filled(store, "s", 1, 2)
        filled(store, "s", 2, 1)
        filled(store, "t", 1, 1)
        assert read(store, "s", 1, 1) == Kept([(2, b"x")], False)
        store.close_stream("s", 1, 2)
        assert read(store, "s", 1, 0) == Kept([(1, b"x"), (2, b"x")], True)
        assert read(store, "s", 1, 2) == Kept([], True)

    def test_a_gap_is_told_from_an_end(self) -> None:
        store = MemoryEventStore(max_events=3)
        filled(store, "s", 1, 4)
        assert read(store, "s", 1, 1).events == [(2, b"x"), (3, b"x"), (4, b"x")]
        with pytest.raises(EventsLost):
            read(store, "s", 1, 0)
        store.append("s", 2, 1, b"y" * 100)
        store.append("s", 2, 2, b"y" * 100)
        store.close_stream("s", 1, 4)
        with pytest.raises(EventsLost):
            read(store, "s", 1, 3)

    def test_bytes_are_counted(self) -> None:
        store = MemoryEventStore(max_bytes=10, max_total_bytes=15)
        filled(store, "s", 1, 3, size=4)
        assert store.total_bytes == 8
        store.append("s", 1, 4, b"x" * 11)
        assert store.total_bytes == 0
        filled(store, "s", 2, 2, size=5)
        filled(store, "t", 1, 1, size=5)
        assert store.total_bytes == 15
        filled(store, "u", 1, 1, size=1)  # who has been silent for longest gives way
        assert store.total_bytes == 6
        store.end_session("t")
        store.end_session("t")
        assert store.total_bytes == 1
        asyncio.run(store.close())
        assert store.total_bytes == 0

    def test_limits_that_make_no_sense_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="max_events"):
            MemoryEventStore(max_events=0)
        with pytest.raises(ConfigError, match="max_total_bytes"):
            MemoryEventStore(max_bytes=10, max_total_bytes=9)
