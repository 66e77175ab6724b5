"""Server-sent events: parsed by the HTML standard whatever the chunks, and written so that they come back.

In the vectors one character of `bytes` and `data` is one byte (Latin-1); a refusal is ``{"refused": null}``.
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
    for line in (Path(__file__).parents[1] / "vectors" / "sse.jsonl").read_text(encoding="ascii").splitlines()
]
CHUNKS = st.lists(
    st.lists(
        st.sampled_from(
            ["\n", "\r", "data", "data: x", "id: 1", "event", ":", " ", "retry: 5", "\xef\xbb\xbf", "\0"]
        ),
        max_size=6,
    ).map(lambda parts: "".join(parts).encode("latin-1")),
    max_size=8,
)


def outcomes_of(core, pieces, *, max_bytes):
    parser = core.SSEParser(max_bytes=max_bytes)
    outcomes = []
    for piece in [*pieces, b"", b""]:
        outcomes += events_or_refusal(parser, piece)
    while rest := events_or_refusal(parser, b""):
        outcomes += rest
    return outcomes


def events_or_refusal(parser, piece):
    try:
        return [(event.event, event.data, event.id, event.retry) for event in parser.feed(piece)]
    except LimitExceeded as error:
        return [str(error)]


def refused(max_bytes):
    return f"Limit exceeded: max_message_bytes is {max_bytes}"


def expected(event, max_bytes):
    if "refused" in event:
        return refused(max_bytes)
    return (event["event"], event["data"].encode("latin-1"), event["id"], event["retry"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_gives_its_events_however_it_is_cut(core, vector):
    data = vector["bytes"].encode("latin-1")
    limit = vector["max_bytes"]
    wanted = [expected(event, limit) for event in vector["events"]]
    assert outcomes_of(core, [data], max_bytes=limit) == wanted
    assert outcomes_of(core, [data[i : i + 1] for i in range(len(data))], max_bytes=limit) == wanted
    rng = random.Random(vector["name"])
    for _ in range(SPLITS):
        places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 8)))
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
        assert outcomes_of(core, pieces, max_bytes=limit) == wanted, pieces


@given(pieces=CHUNKS, max_bytes=st.integers(1, 12))
def test_chunks_make_no_difference(core, pieces, max_bytes):
    assert outcomes_of(core, pieces, max_bytes=max_bytes) == outcomes_of(
        core, [b"".join(pieces)], max_bytes=max_bytes
    )


@pytest.mark.parametrize("line", [b"id:x", b"event", b": it", b"da"])
def test_any_line_may_follow_as_much_data_as_may_be(core, line):
    data = b"data: abcdefgh\n" + line + b"\n\n"
    (event,) = outcomes_of(core, [data], max_bytes=8)
    assert event[1] == b"abcdefgh"
    assert outcomes_of(core, [data[i : i + 1] for i in range(len(data))], max_bytes=8) == [event]


def test_retry_and_last_event_id_are_known_without_an_event(core):
    parser = core.SSEParser(max_bytes=100)
    assert (parser.retry, parser.last_event_id) == (None, None)
    assert parser.feed(b"retry: 250\nid: 7\n") == []
    assert (parser.retry, parser.last_event_id) == (250, None)
    assert parser.feed(b"\n") == []
    assert (parser.retry, parser.last_event_id) == (250, "7")


def test_events_before_a_refused_one_come_first(core):
    parser = core.SSEParser(max_bytes=4)
    assert [e.data for e in parser.feed(b"data: a\n\ndata: bbbbb\n\ndata: c\n\ndata: d\n\n")] == [b"a"]
    with pytest.raises(LimitExceeded, match="max_message_bytes is 4"):
        parser.feed(b"")
    assert [e.data for e in parser.feed(b"")] == [b"c", b"d"]
    assert parser.feed(b"") == []


def test_many_refusals_take_linear_time(twins):
    """Each call returns what comes before the next refusal: copying the rest every time would take minutes."""
    rounds = 100_000
    parser = twins[0].SSEParser(max_bytes=1)
    outcomes = events_or_refusal(parser, b"data: xx\n\ndata: x\n\n" * rounds)
    for _ in range(2 * rounds - 1):
        outcomes += events_or_refusal(parser, b"")
    assert outcomes == [refused(1), ("message", b"x", None, None)] * rounds


def test_event_is_a_value(core):
    (event,) = core.SSEParser(max_bytes=100).feed(b"event: e\nid: 1\nretry: 2\ndata: d\n\n")
    assert event == core.SSEEvent("e", b"d", "1", 2)
    assert event != core.SSEEvent("e", b"d", "1")
    assert hash(event) == hash(core.SSEEvent("e", b"d", "1", 2))
    assert event != ("e", b"d", "1", 2)
    assert repr(event) == "SSEEvent(event='e', data=b'd', id='1', retry=2)"
    with pytest.raises(AttributeError):
        event.data = b""
    match event:
        case core.SSEEvent(name, data, id, retry):
            assert (name, data, id, retry) == ("e", b"d", "1", 2)


def test_large_data_in_small_chunks(core):
    body = bytes(range(32, 127)) * 40_000
    wire = core.encode_sse(body)
    parser = core.SSEParser(max_bytes=len(body))
    events = [event for i in range(0, len(wire), 65536) for event in parser.feed(wire[i : i + 65536])]
    assert [event.data for event in events] == [body]


def test_encoded_fields_in_order(core):
    assert core.encode_sse(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert core.encode_sse(memoryview(b"x"), event="e", id="\u20ac", retry=10) == (
        b"event: e\nid: \xe2\x82\xac\nretry: 10\ndata: x\n\n"
    )
    assert core.encode_sse(b"") == b"data: \n\n"
    assert core.encode_sse(b"a\r\nb\rc\n") == b"data: a\ndata: b\ndata: c\ndata: \n\n"


@given(
    data=st.binary(max_size=30) | st.text(alphabet="\r\n a", max_size=9).map(str.encode),
    event=st.none()
    | st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1),
    id=st.none() | st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])),
    retry=st.none() | st.integers(0, 10**18 - 1),
)
def test_encoded_event_comes_back(core, data, event, id, retry):
    parser = core.SSEParser(max_bytes=1000)
    received = parser.feed(core.encode_sse(data, event=event, id=id, retry=retry))
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert received == [core.SSEEvent(event or "message", lines, id, retry)]


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_field_cannot_smuggle_another(core, field, value):
    with pytest.raises(ValueError, match=f"{field} of a server-sent event must be one line without NUL"):
        core.encode_sse(b"x", **{field: value})


@pytest.mark.parametrize("retry", [-1, 1.5, True, "5", 10**18])
def test_retry_is_milliseconds(core, retry):
    with pytest.raises(ValueError, match="retry must be a number of milliseconds"):
        core.encode_sse(b"x", retry=retry)


def test_keepalive_is_no_event(core):
    parser = core.SSEParser(max_bytes=100)
    assert parser.feed(core.SSE_KEEPALIVE * 3) == []
    assert [event.data for event in parser.feed(b"data: a\n" + core.SSE_KEEPALIVE)] == [b"a"]


def test_limit_must_be_positive(core):
    with pytest.raises(ValueError, match="max_bytes must be positive, got 0"):
        core.SSEParser(max_bytes=0)
