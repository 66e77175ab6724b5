"""Zero copy and the lifetime rule of the compiled receive buffer (the twin copies, and owns no memory)."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import pytest

from taut.errors import LimitExceeded

memory = pytest.importorskip("taut._core.buffer", reason="needs the compiled core")
framing = pytest.importorskip("taut._core.framing", reason="needs the compiled core")
envelope = pytest.importorskip("taut._core.envelope", reason="needs the compiled core")


@pytest.fixture(autouse=True, scope="module")
def others():
    """Keep the collector from walking, in each test, all that the tests before have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def grown(others):
    """Give a function that tells what has come alive in this test; at its end that must be nothing."""
    gc.collect()
    before = memory.live_objects()

    def since():
        return {name: count - before[name] for name, count in memory.live_objects().items()}

    yield since
    gc.collect()
    assert since() == {"slabs": 0, "spans": 0, "bytes": 0}


def test_span_shows_the_receive_memory_itself():
    buffer = memory.ReceiveBuffer()
    framer = framing.LineFramer(buffer, max_bytes=100)
    room = buffer.reserve()
    room[:8] = b"one\ntwo\n"
    buffer.commit(8)
    one, two = framer.next(), framer.next()
    assert two.address == one.address + 4
    assert memoryview(one) == b"one"
    room[0:1] = b"O"
    assert one == b"One"
    room.release()


def test_slices_of_a_memoryview_keep_the_memory(grown):
    buffer = memory.ReceiveBuffer()
    buffer.feed(b"abcdef")
    view = memoryview(buffer.take(6))[2:4]
    del buffer
    gc.collect()
    assert grown()["spans"] == 1
    assert view == b"cd"
    view.release()


def test_exported_span_cannot_be_released():
    buffer = memory.ReceiveBuffer()
    buffer.feed(b"abc")
    span = buffer.take(3)
    with memoryview(span) as one, memoryview(one):
        with pytest.raises(BufferError, match="Span cannot be released: 1 exported buffers are alive"):
            span.release()
        assert span == b"abc"
    span.release()
    with pytest.raises(ValueError, match="Span was released"):
        memoryview(span)


def test_span_is_not_made_by_hand():
    with pytest.raises(TypeError, match="A Span is made by a ReceiveBuffer"):
        memory.Span()
    assert memory.Span.__new__(memory.Span).released


def test_memory_is_reused_once_no_span_is_alive():
    buffer = memory.ReceiveBuffer(initial=64)
    addresses = set()
    for _ in range(100):
        buffer.feed(b"x" * 60)
        addresses.add(buffer.take(60).address)
    assert len(addresses) == 1
    assert buffer.capacity == 64


def test_memory_is_not_reused_while_a_span_is_alive():
    buffer = memory.ReceiveBuffer(initial=64)
    buffer.feed(b"x" * 60)
    kept = buffer.take(60)
    buffer.feed(b"y" * 60)
    other = buffer.take(60)
    assert not kept.address <= other.address < kept.address + 64
    assert (kept, other) == (b"x" * 60, b"y" * 60)


def test_only_the_unread_tail_moves_to_new_memory():
    buffer = memory.ReceiveBuffer(initial=64)
    buffer.feed(b"x" * 50 + b"tail")
    kept = buffer.take(50)
    buffer.feed(b"!" * 20)
    assert buffer.take(24) == b"tail" + b"!" * 20
    assert buffer.capacity == 64
    assert kept == b"x" * 50


def test_new_bytes_go_behind_a_living_span_while_they_fit(grown):
    buffer = memory.ReceiveBuffer(initial=64)
    buffer.feed(b"x" * 10)
    kept = buffer.take(10)
    buffer.feed(b"y" * 10)
    assert buffer.take(10).address == kept.address + 10
    assert grown()["bytes"] == 64


def test_large_body_exists_once(grown):
    size = 64 << 20
    buffer = memory.ReceiveBuffer(max_bytes=size + 10)
    framer = framing.LineFramer(buffer, max_bytes=size + 10)
    chunk = b"x" * (1 << 20)
    for _ in range(64):
        with buffer.reserve(1 << 20) as room:
            room[: 1 << 20] = chunk
        buffer.commit(1 << 20)
    buffer.feed(b"\n")
    assert grown()["bytes"] <= 2 * size
    tracemalloc.start()
    try:
        frame = framer.next()
        with memoryview(frame) as view:
            assert view.nbytes == size
        assert framer.next() is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()
    assert grown()["slabs"] == 1
    assert buffer.capacity == 0
    frame.release()
    assert grown()["slabs"] == 0


def test_reservation_holds_the_memory_that_it_lends():
    buffer = memory.ReceiveBuffer(initial=64)
    room = buffer.reserve(64)
    buffer.feed(b"x" * 64)
    buffer.feed(b"y" * 64)
    room[:] = b"z" * len(room)  # no longer part of the buffer
    assert buffer.take(128) == b"x" * 64 + b"y" * 64
    del buffer
    room[0:1] = b"z"
    room.release()


def test_spans_may_be_released_in_other_threads():
    buffer = memory.ReceiveBuffer(initial=256)
    framer = framing.LineFramer(buffer, max_bytes=100)
    wrong = []

    def check(spans):
        for number, span in spans:
            if span != b"line %d" % number:
                wrong.append((number, bytes(span)))
            span.release()

    threads = []
    for start in range(0, 2000, 100):
        spans = []
        for number in range(start, start + 100):
            buffer.feed(b"line %d\n" % number)
            spans.append((number, framer.next()))
        threads.append(threading.Thread(target=check, args=(spans,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_refused_lines_keep_nothing_alive(grown, end):
    buffer = memory.ReceiveBuffer(initial=256)
    framer = framing.LineFramer(buffer, max_bytes=10)
    reader = envelope.MessageReader(buffer, max_bytes=10)
    buffer.feed(b"x" * 100 + end)
    with pytest.raises(LimitExceeded):
        framer.next()
    buffer.feed(b"x" * 100 + end)
    assert len(reader.read()) == 1
    assert framer.next() is None
    del buffer, framer, reader
    assert grown()["slabs"] == 0
