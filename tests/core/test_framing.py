"""Lines in a byte stream: where the reads end makes no difference to the frames.

In the vectors one character is one byte (Latin-1), and a refusal is written ``{"refused": null}``.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import LimitExceeded

#: Random cuts of each vector.
SPLITS = 1_000
VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "framing.jsonl")
    .read_text(encoding="ascii")
    .splitlines()
]


def frames_of(core, pieces, *, max_bytes):
    buffer = core.ReceiveBuffer(max_bytes=1 << 20)
    framer = core.LineFramer(buffer, max_bytes=max_bytes)
    frames = []
    for piece in pieces:
        buffer.feed(piece)
        frames += drain(framer)
    return frames


def drain(framer):
    frames = []
    while True:
        try:
            frame = framer.next()
        except LimitExceeded as error:
            frames.append(str(error))
            continue
        if frame is None:
            return frames
        frames.append(bytes(frame))


def refusal(max_bytes):
    return f"Limit exceeded: max_message_bytes is {max_bytes}"


def cut(data, rng):
    """Cut `data` at random places, empty pieces included."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def expected_frames(data, max_bytes):
    """Say in another way what LineFramer does."""
    *lines, rest = data.split(b"\n")
    frames = []
    for line in lines:
        line = line.removesuffix(b"\r")
        if len(line) > max_bytes:
            frames.append(refusal(max_bytes))
        elif line.strip(b" \t\r"):
            frames.append(line)
    if len(rest.removesuffix(b"\r")) > max_bytes:
        frames.append(refusal(max_bytes))
    return frames


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_gives_its_frames_however_it_is_cut(core, vector):
    data = vector["bytes"].encode("latin-1")
    limit = vector["max_bytes"]
    wanted = [
        frame.encode("latin-1") if isinstance(frame, str) else refusal(limit) for frame in vector["frames"]
    ]
    assert frames_of(core, [data], max_bytes=limit) == wanted
    assert frames_of(core, [data[i : i + 1] for i in range(len(data))], max_bytes=limit) == wanted
    rng = random.Random(vector["name"])
    for _ in range(SPLITS):
        pieces = cut(data, rng)
        assert frames_of(core, pieces, max_bytes=limit) == wanted, pieces


@given(
    pieces=st.lists(st.text(alphabet="\n\r {}x", max_size=12).map(str.encode), max_size=8),
    max_bytes=st.integers(1, 8),
)
def test_frames_are_those_of_the_joined_bytes(core, pieces, max_bytes):
    assert frames_of(core, pieces, max_bytes=max_bytes) == expected_frames(b"".join(pieces), max_bytes)


def test_line_without_end_is_refused_early_and_never_stored(core):
    buffer = core.ReceiveBuffer(initial=1024, max_bytes=4096)
    framer = core.LineFramer(buffer, max_bytes=4096)
    outcomes = []
    most = 0
    for _ in range(1000):
        buffer.feed(b"x" * 1024)
        most = max(most, buffer.capacity)
        outcomes += drain(framer)
        if outcomes:
            assert len(buffer) == 0
    assert outcomes == [refusal(4096)]
    assert most <= 16384
    buffer.feed(b'x\n{"a":1}\n')
    assert drain(framer) == [b'{"a":1}']


def test_line_of_the_limit_fits_a_buffer_of_the_same_limit(core):
    buffer = core.ReceiveBuffer(initial=16, max_bytes=64)
    framer = core.LineFramer(buffer, max_bytes=64)
    for byte in b"x" * 64 + b"\r\n":
        assert framer.next() is None
        buffer.feed(bytes([byte]))
    assert bytes(framer.next()) == b"x" * 64


def test_frame_stays_right_while_more_is_received(core):
    buffer = core.ReceiveBuffer(initial=64)
    framer = core.LineFramer(buffer, max_bytes=1000)
    kept = []
    for i in range(200):
        buffer.feed(b"line %d is not overwritten\nthe next begins" % i)
        kept += iter(framer.next, None)
    assert [bytes(frame) for frame in kept[1:]] == [
        b"the next beginsline %d is not overwritten" % i for i in range(1, 200)
    ]


@pytest.mark.parametrize("max_bytes", [0, -1, 65])
def test_limit_must_fit_the_buffer(core, max_bytes):
    buffer = core.ReceiveBuffer(max_bytes=64)
    with pytest.raises(ValueError, match=f"max_bytes must be from 1 to the buffer's 64, got {max_bytes}"):
        core.LineFramer(buffer, max_bytes=max_bytes)


def test_bytes_taken_past_the_framer_count_as_searched_no_more(core):
    """What a framer has searched is known by the buffer, whoever consumes it."""
    buffer = core.ReceiveBuffer()
    framer, other = (core.LineFramer(buffer, max_bytes=100) for _ in range(2))
    buffer.feed(b"abcdef")
    assert framer.next() is None
    buffer.take(5)
    buffer.feed(b"\n2\n")
    assert bytes(framer.next()) == b"f"
    buffer.feed(b"3")
    assert other.next() == b"2"
    assert framer.next() is None
    buffer.feed(b"\n")
    assert other.next() == b"3"


@pytest.mark.parametrize("name", ["LineFramer", "MessageReader"])
def test_nothing_reads_without_a_buffer(twins, name):
    """In compiled code an object that no constructor has seen would be a wild pointer."""
    made = getattr(twins[0], name)
    with pytest.raises(TypeError):
        made.__new__(made)
