"""Framing and parsing together: messages, and exceptions in place of bad ones."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from outcomes import describe

from taut._core import Kind
from taut.errors import InvalidMessage, LimitExceeded, ParseError, RemoteProtocolError

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def reader_of(core: SimpleNamespace, max_bytes: int = 1 << 20, **limits: int) -> tuple[Any, Any]:
    buffer = core.ReceiveBuffer()
    return buffer, core.MessageReader(buffer, max_bytes=max_bytes, **limits)


def summary(message: Any) -> Any:
    if isinstance(message, RemoteProtocolError):
        return describe(message)
    return message.kind, message.id, message.method, None if message.params is None else bytes(message.params)


def test_reads_all_complete_messages(core: SimpleNamespace) -> None:
    buffer, reader = reader_of(core)
    assert reader.read() == []
    buffer.feed(PING + b"\n\n" + PING + b"\r\n" + PING[:10])
    assert [envelope.id_key for envelope in reader.read()] == [1, 1]
    assert reader.read() == []
    buffer.feed(PING[10:] + b"\n")
    assert [envelope.method for envelope in reader.read()] == ["ping"]
    assert len(buffer) == 0


def test_a_bad_message_is_returned_in_its_place(core: SimpleNamespace) -> None:
    buffer, reader = reader_of(core, max_depth=5)
    lines = [
        PING,
        b'{"jsonrpc":"2.0","id":2,"method":"x","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":3}',
        b'{"jsonrpc":"2.0","id":4,"method":"x","params":{"a":[[[[]]]]}}',
        PING,
    ]
    buffer.feed(b"\n".join(lines) + b"\n")
    messages = reader.read()
    assert [type(message) for message in messages[1:4]] == [ParseError, InvalidMessage, LimitExceeded]
    assert [message.id for message in messages] == [b"1", b"2", b"3", b"4", b"1"]
    assert messages[4].kind is Kind.REQUEST


def test_an_oversized_message_is_returned_once_and_skipped(core: SimpleNamespace) -> None:
    buffer, reader = reader_of(core, max_bytes=100)
    buffer.feed(PING + b"\n" + b"x" * 101)
    first, refused = reader.read()
    assert first.id == b"1"
    assert isinstance(refused, LimitExceeded)
    assert (refused.limit, refused.id) == ("max_message_bytes", None)
    buffer.feed(b"x" * 1000)
    assert reader.read() == []
    buffer.feed(b"x\n" + PING + b"\n")
    assert [envelope.id for envelope in reader.read()] == [b"1"]


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    ("begin", "id", "is_answer"),
    [
        ('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x":"', b"7", False),
        ('{"id":"a","jsonrpc":"2.0","method":"x","params":{"result":{"x":"', b'"a"', False),
        ('{"jsonrpc":"2.0","id":7,"result":{"x":"', b"7", True),
        ('{ "jsonrpc" : "2.0", "id" : 7, "error" : {"x":"', b"7", True),
        ('{"method":"x","params":{"x":"', None, False),
        ('{"jsonrpc":"2.0","id":{},"params":{"x":"', None, False),
        ('{"jsonrpc":"2.0","id":7,"id":8,"params":{"x":"', None, False),
        ('[{"id":7,"method":"x","params":{"x":"', None, False),
    ],
)
def test_an_oversized_message_is_known_by_how_it_begins(
    core: SimpleNamespace, begin: str, id: bytes | None, is_answer: bool, step: int
) -> None:
    buffer, reader = reader_of(core, max_bytes=200)
    text = begin.encode() + b"x" * 300 + b"\n"
    messages = []
    for at in range(0, len(text), step):
        buffer.feed(text[at : at + step])
        messages += reader.read()
    (refused,) = messages
    assert isinstance(refused, LimitExceeded)
    assert (refused.id, refused.is_answer) == (id, is_answer)


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_where_the_bytes_are_split_makes_no_difference(core: SimpleNamespace, step: int) -> None:
    large = json.dumps({"jsonrpc": "2.0", "method": "x", "params": {"a": "y" * 3000}}).encode()
    stream = b"\n".join([PING, b"{", b"[" + PING + b"]", large, b"[]", PING, b""])
    buffer, reader = reader_of(core)
    buffer.feed(stream)
    whole = [summary(message) for message in reader.read()]
    assert len(whole) == 6
    split = []
    for start in range(0, len(stream), step):
        buffer.feed(stream[start : start + step])
        split += [summary(message) for message in reader.read()]
    assert split == whole


def test_large_messages_stay_right_while_more_is_received(core: SimpleNamespace) -> None:
    buffer, reader = reader_of(core)
    kept = []
    for i in range(50):
        params = {"arguments": {"text": f"{i:04}" * 1000}, "_meta": {"i": i}}
        buffer.feed(json.dumps({"jsonrpc": "2.0", "id": i, "method": "x", "params": params}).encode() + b"\n")
        kept += reader.read()
    for i, envelope in enumerate(kept):
        assert envelope.id_key == i
        assert json.loads(bytes(envelope.arguments)) == {"text": f"{i:04}" * 1000}
        assert json.loads(envelope.meta) == {"i": i}


def test_a_body_outlives_its_envelope(core: SimpleNamespace) -> None:
    buffer, reader = reader_of(core)
    for _ in range(20):
        buffer.feed(b'{"jsonrpc":"2.0","id":1,"result":["' + b"r" * 5000 + b'"]}\n')
        (envelope,) = reader.read()
        result = envelope.result
        del envelope
        buffer.feed(b'{"jsonrpc":"2.0","id":1,"result":["' + b"s" * 5000 + b'"]}\n')
        reader.read()
        assert bytes(result) == b'["' + b"r" * 5000 + b'"]'


def test_the_receive_memory_is_let_go(core: SimpleNamespace) -> None:
    before = core.live_objects()["spans"]
    buffer, reader = reader_of(core)
    buffer.feed(
        PING + b"\n" + b'{"jsonrpc":"2.0","id":1,"result":"' + b"r" * 5000 + b'"}\n' + b"x" * 3000 + b"\n"
    )
    messages = reader.read()
    bodies = [messages[1].result, messages[1].result]
    assert [len(body) for body in bodies] == [5002, 5002]
    del messages, bodies
    assert core.live_objects()["spans"] == before


def test_a_released_frame_is_never_read(core: SimpleNamespace) -> None:
    buffer = core.ReceiveBuffer()
    buffer.feed(b'{"jsonrpc":"2.0","id":12,"method":"x","params":{"a":"' + b"x" * 2000 + b'"}}\n')
    span = core.LineFramer(buffer, max_bytes=1 << 20).next()
    envelope = core.parse(span)
    params = envelope.params
    span.release()
    for name in ("id", "id_key", "params", "uri"):
        with pytest.raises(ValueError, match="Span was released"):
            getattr(envelope, name)
    assert envelope.method == "x"
    assert len(params) == 2008
    with pytest.raises(ValueError, match="Span was released"):
        core.parse(span)
