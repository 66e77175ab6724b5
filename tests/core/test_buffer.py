"""The receive buffer: bytes in, bytes out, memory bounded, on both twins."""

from __future__ import annotations

import errno
import os
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import LimitExceeded


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    ends = {reader, writer}

    def close(end):
        ends.remove(end)
        os.close(end)

    yield reader, writer, close
    for end in ends:
        os.close(end)


def write_into(buffer, data):
    with buffer.reserve(len(data)) as room:
        room[: len(data)] = data
    buffer.commit(len(data))


@given(
    steps=st.lists(st.tuples(st.sampled_from(["feed", "write", "take", "keep"]), st.integers(0, 40))),
    initial=st.integers(1, 32),
)
def test_bytes_come_out_as_they_went_in(core, steps, initial):
    buffer = core.ReceiveBuffer(initial=initial)
    sent = bytearray()
    kept = []
    for step, count in steps:
        data = bytes((len(sent) + i) % 251 for i in range(count))
        if step == "feed":
            buffer.feed(data)
            sent += data
        elif step == "write":
            write_into(buffer, data)
            sent += data
        else:
            span = buffer.take(min(count, len(buffer)))
            kept.append((span, bytes(sent[: len(span)])))
            del sent[: len(span)]
            if step == "take":
                kept.pop()
        assert len(buffer) == len(sent)
        assert all(bytes(span) == data for span, data in kept)
    assert buffer.take(len(buffer)) == sent


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_feed_takes_any_buffer(core, wrap):
    buffer = core.ReceiveBuffer()
    buffer.feed(wrap(b"abc"))
    buffer.feed(wrap(b""))
    assert bytes(buffer.take(3)) == b"abc"


def test_feed_refuses_text(core):
    buffer = core.ReceiveBuffer()
    with pytest.raises(TypeError):
        buffer.feed("abc")
    assert len(buffer) == 0


def test_span_of_the_buffer_can_be_fed_back(core):
    buffer = core.ReceiveBuffer(initial=4)
    buffer.feed(b"abcd")
    span = buffer.take(4)
    for _ in range(5):
        buffer.feed(span)
    assert bytes(buffer.take(20)) == b"abcd" * 5


def test_new_buffer_holds_no_memory(core):
    assert core.ReceiveBuffer().capacity == 0


def test_unread_bytes_are_bounded(core):
    buffer = core.ReceiveBuffer(initial=16, max_bytes=100)
    buffer.feed(b"x" * 102)  # a message of the limit and its CR LF
    buffer.feed(b"y")
    for refused in (lambda: buffer.feed(b"z"), buffer.reserve, lambda: buffer.read_fd(0)):
        with pytest.raises(LimitExceeded, match="max_message_bytes is 100"):
            refused()
    assert bytes(buffer.take(103)) == b"x" * 102 + b"y"
    buffer.feed(b"z")
    assert bytes(buffer.take(1)) == b"z"


def test_memory_is_given_back_after_a_large_message(core):
    buffer = core.ReceiveBuffer()
    for _ in range(128):
        buffer.feed(b"x" * 65536)
    assert buffer.capacity >= 128 * 65536
    buffer.take(128 * 65536).release()
    assert buffer.capacity <= 65536
    buffer.feed(b"abc")
    assert buffer.capacity <= 131072
    assert bytes(buffer.take(3)) == b"abc"


def test_memory_is_given_back_though_a_new_message_has_begun(core):
    buffer = core.ReceiveBuffer()
    buffer.feed(b"x" * (4 << 20) + b"tail")
    buffer.take(4 << 20).release()
    buffer.feed(b" and more")
    assert buffer.capacity <= 131072
    assert bytes(buffer.take(13)) == b"tail and more"


def test_commit_takes_what_was_reserved_once(core):
    buffer = core.ReceiveBuffer()
    with pytest.raises(ValueError, match="Expected at most the 0 bytes that are reserved, got 1"):
        buffer.commit(1)
    with buffer.reserve(10) as room:
        assert len(room) >= 10
        assert not room.readonly
        size = len(room)
        room[:3] = b"abc"
    for wrong in (-1, size + 1):
        with pytest.raises(ValueError, match=f"bytes that are reserved, got {wrong}"):
            buffer.commit(wrong)
    buffer.commit(3)
    with pytest.raises(ValueError, match="bytes that are reserved, got 1"):
        buffer.commit(1)
    assert bytes(buffer.take(3)) == b"abc"


def test_feed_ends_a_reservation(core):
    buffer = core.ReceiveBuffer()
    buffer.reserve(10)
    buffer.feed(b"abc")
    with pytest.raises(ValueError, match="reserved"):
        buffer.commit(1)


@pytest.mark.parametrize("size", [-1, (1 << 30) + 1])
def test_reservation_has_a_sane_size(core, size):
    with pytest.raises(ValueError, match=f"size must be from 0 to 1073741824, got {size}"):
        core.ReceiveBuffer().reserve(size)


@pytest.mark.parametrize("count", [-1, 4])
def test_take_is_bounded_by_what_is_unread(core, count):
    buffer = core.ReceiveBuffer()
    buffer.feed(b"abc")
    with pytest.raises(ValueError, match=f"Expected at most the 3 unread bytes, got {count}"):
        buffer.take(count)


@pytest.mark.parametrize("arguments", [{"initial": 0}, {"max_bytes": 0}])
def test_sizes_must_be_positive(core, arguments):
    with pytest.raises(ValueError, match="initial and max_bytes must be positive"):
        core.ReceiveBuffer(**arguments)


def test_empty_take_of_an_empty_buffer(core):
    span = core.ReceiveBuffer().take(0)
    assert len(span) == 0
    assert span == b""


def test_read_fd_tells_bytes_and_end_and_would_block_apart(core, pipe):
    reader, writer, close = pipe
    buffer = core.ReceiveBuffer()
    assert buffer.read_fd(reader) == -1
    os.write(writer, b"hello")
    assert buffer.read_fd(reader) == 5
    assert buffer.read_fd(reader) == -1
    close(writer)
    assert buffer.read_fd(reader) == 0
    assert bytes(buffer.take(5)) == b"hello"


def test_read_fd_raises_the_error_of_the_system(core, pipe):
    reader, _, close = pipe
    close(reader)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        core.ReceiveBuffer().read_fd(reader)
    assert caught.value.errno == errno.EBADF


def test_read_fd_reads_more_when_reads_are_filled(core, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    buffer = core.ReceiveBuffer(initial=64)
    with path.open("rb", buffering=0) as file:
        reads = [len(buffer.take(count)) for count in iter(lambda: buffer.read_fd(file.fileno()), 0)]
    assert sum(reads) == 1 << 20
    assert len(reads) < 25


class Interrupted(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_signal_handler_interrupts_a_blocking_read(core, pipe):
    reader, _, _ = pipe
    os.set_blocking(reader, True)

    def interrupt(number, frame):
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    kill = threading.Thread(target=signal.pthread_kill, args=(threading.get_ident(), signal.SIGUSR1))

    def read_and_kill():
        kill.start()
        core.ReceiveBuffer().read_fd(reader)

    try:
        with pytest.raises(Interrupted):
            read_and_kill()
    finally:
        kill.join()
        signal.signal(signal.SIGUSR1, before)


def test_span_is_compared_by_its_bytes(core):
    buffer = core.ReceiveBuffer()
    buffer.feed(b"abcabc")
    one, two = buffer.take(3), buffer.take(3)
    assert one == two == b"abc" == one == bytearray(b"abc") == memoryview(one)
    assert one != b"xbc"
    assert one != b"ab"
    assert one != "abc"
    assert one != 3
    assert repr(one) == "<Span of 3 bytes>"
    with pytest.raises(TypeError):
        hash(one)


def test_span_is_read_only(core):
    buffer = core.ReceiveBuffer()
    buffer.feed(b"abc")
    span = buffer.take(3)
    with memoryview(span) as view:
        assert view.readonly
        assert view == b"abc"
    assert type(span.tobytes()) is type(bytes(span)) is bytes


def test_released_span_raises_on_every_use(core):
    buffer = core.ReceiveBuffer()
    buffer.feed(b"abc")
    span = buffer.take(3)
    assert not span.released
    span.release()
    span.release()
    assert span.released
    assert repr(span) == "<Span released>"
    for use in (len, bytes, lambda s: s.tobytes(), lambda s: s == b"abc", lambda s: s.address, buffer.feed):
        with pytest.raises(ValueError, match="Span was released"):
            use(span)


def test_span_outlives_its_buffer(core):
    buffer = core.ReceiveBuffer()
    buffer.feed(b"abc" * 1000)
    span = buffer.take(3000)
    del buffer
    assert span == b"abc" * 1000
