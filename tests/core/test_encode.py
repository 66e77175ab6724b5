"""Outgoing messages: the exact bytes, whole or not at all, and out through a descriptor."""

from __future__ import annotations

import errno
import json
import os
import threading
import tracemalloc
from datetime import datetime, timedelta, tzinfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Content(msgspec.Struct, tag_field="type", tag="text"):
    text: str


@pytest.fixture
def out(core):
    return core.Outgoing()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_result(out):
    out.result(b"1", {"content": [Content("42")]})
    assert out.take() == b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"42"}]}}\n'


@pytest.mark.parametrize("raw_id", [b"12345678901234567890123", b'"\\u0061"', b"-0", b'""'])
def test_id_is_echoed_as_it_came(out, raw_id):
    out.result(raw_id, {})
    out.result_raw(raw_id, b"{}")
    out.error(raw_id, -1, "no")
    assert out.take().splitlines() == [
        b'{"jsonrpc":"2.0","id":%b,"result":{}}' % raw_id,
        b'{"jsonrpc":"2.0","id":%b,"result":{}}' % raw_id,
        b'{"jsonrpc":"2.0","id":%b,"error":{"code":-1,"message":"no"}}' % raw_id,
    ]


def test_error(out):
    out.error(b"1", -32601, 'no "tools/x"')
    out.error(b"2", -32602, "é", {"limit": "max_depth"})
    out.error(b"3", 0, "", None)
    assert out.take().splitlines() == [
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no \\"tools/x\\""}}',
        b'{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"\xc3\xa9","data":{"limit":"max_depth"}}}',
        b'{"jsonrpc":"2.0","id":3,"error":{"code":0,"message":"","data":null}}',
    ]


def test_error_without_a_readable_id(out):
    out.error(None, -32700, "bad")
    out.error(None, -32700, "bad", null_id=True)
    assert out.take().splitlines() == [
        b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"bad"}}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"bad"}}',
    ]


@pytest.mark.parametrize("id", [0, 1, 7, 10, 99, 1234567890, 2**63 - 1, -1, -(2**63)])
def test_request_ids_are_written_in_full(out, id):
    out.request(id, "ping")
    assert out.take() == b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % id


def test_request_and_notification_with_params(out):
    out.request(1, "tools/call", {"name": "add"})
    out.notification("notifications/initialized")
    out.notification("notifications/progress", Raw(b'{"progress":1}'))
    assert out.take().splitlines() == [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}',
    ]


@pytest.mark.parametrize("method", ["", 'a"b', "a\\b", "a\nb", "\x00", "\x7f", "é", "\u2028", "\U0001f600"])
def test_any_method_name_is_valid_json(out, method):
    out.notification(method)
    assert json.loads(out.take()) == {"jsonrpc": "2.0", "method": method}


@given(result=JSON, params=st.dictionaries(st.text(), JSON, max_size=3), message=st.text())
def test_any_payload_comes_back(core, result, params, message):
    out = core.Outgoing()
    out.result(b"1", result)
    out.request(2, "m", params)
    out.error(b"3", 4, message, result)
    assert [json.loads(line) for line in out.take().split(b"\n")[:-1]] == [
        {"jsonrpc": "2.0", "id": 1, "result": result},
        {"jsonrpc": "2.0", "id": 2, "method": "m", "params": params},
        {"jsonrpc": "2.0", "id": 3, "error": {"code": 4, "message": message, "data": result}},
    ]


def test_line_ends_between_tokens_become_spaces(out):
    pretty = b'{\n  "a": "\\n",\r\n\n"b": 2}'
    out.result(b"1", {"x": Raw(pretty)})
    out.result_raw(b"1", pretty)
    out.append(pretty + b"\n")
    flat = pretty.replace(b"\n", b" ")
    assert out.take() == (
        b'{"jsonrpc":"2.0","id":1,"result":{"x":%b}}\n{"jsonrpc":"2.0","id":1,"result":%b}\n%b \n'
        % (flat, flat, flat)
    )


def test_line_ends_stay_where_lines_delimit_nothing(core):
    out = core.Outgoing(delimiter=b"")
    out.result_raw(b"1", b"{\n}")
    assert out.take() == b'{"jsonrpc":"2.0","id":1,"result":{\n}}'


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_raw_payloads_are_any_buffer(out, wrap):
    out.result_raw(b"1", wrap(b"{}"))
    out.append(wrap(b"[]"))
    assert out.take() == b'{"jsonrpc":"2.0","id":1,"result":{}}\n[]\n'


def test_floats_that_json_cannot_express_become_null(out):
    out.result(b"1", [float("nan"), float("inf"), 0.5])
    assert out.take() == b'{"jsonrpc":"2.0","id":1,"result":[null,null,0.5]}\n'


FAILURES = [
    pytest.param(
        lambda out: out.result(b"1", {"ok": ["x" * 5000, object()]}),
        TypeError,
        "type object is unsupp",
        id="type",
    ),
    pytest.param(lambda out: out.result(b"1", {1.5: {(1, 2): 3}}), TypeError, "Only dicts with", id="key"),
    pytest.param(
        lambda out: out.result(b"1", ["x" * 5000, "\ud800"]), UnicodeEncodeError, "surrogates", id="surrogate"
    ),
    pytest.param(lambda out: out.result(b"1", Raw(b"")), ValueError, "an empty Raw", id="empty Raw"),
    pytest.param(lambda out: out.result(b"", {}), ValueError, "an id as JSON text", id="empty id"),
    pytest.param(lambda out: out.result_raw(b"1", b""), ValueError, "an empty buffer", id="empty buffer"),
    pytest.param(lambda out: out.result_raw(b"1", "{}"), TypeError, "str", id="text for bytes"),
    pytest.param(lambda out: out.append(b""), ValueError, "an empty buffer", id="empty message"),
    pytest.param(
        lambda out: out.error(b"1", 1, "x" * 5000, object()), TypeError, "unsupported", id="error data"
    ),
    pytest.param(lambda out: out.request(1, "m", [1]), TypeError, "JSON object, got list", id="params list"),
    pytest.param(
        lambda out: out.request(1, "m", None), TypeError, "JSON object, got NoneType", id="params None"
    ),
    pytest.param(
        lambda out: out.request(1, "m", Raw(b" \n")), TypeError, "JSON object, got Raw", id="params blank"
    ),
    pytest.param(lambda out: out.request(1.5, "m"), TypeError, "integer|float", id="id float"),
    pytest.param(lambda out: out.notification("\ud800"), UnicodeEncodeError, "surrogates", id="method"),
]


@pytest.mark.parametrize(("fail", "error", "message"), FAILURES)
@pytest.mark.parametrize("batch", [False, True])
def test_failed_message_leaves_no_trace(out, fail, error, message, batch):
    out.notification("before")
    if batch:
        out.begin_batch()
        out.notification("inside")
    size = len(out)
    with pytest.raises(error, match=message):
        fail(out)
    assert len(out) == size
    out.notification("after")
    before, inside, after = (
        b'{"jsonrpc":"2.0","method":"%b"}' % name for name in (b"before", b"inside", b"after")
    )
    if batch:
        out.end_batch()
        assert out.take() == b"%b\n[%b,%b]\n" % (before, inside, after)
    else:
        assert out.take() == b"%b\n%b\n" % (before, after)


def test_batch_is_one_message(out):
    out.begin_batch()
    assert len(out) == 0
    out.result(b"1", {})
    out.error(b"2", 5, "no")
    out.append(b"{}")
    assert (len(out), out.take()) == (0, b"")
    out.end_batch()
    assert out.take() == (
        b'[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"error":{"code":5,"message":"no"}},{}]\n'
    )


def test_empty_batch_writes_nothing(out):
    out.append(b"1")
    out.begin_batch()
    out.end_batch()
    assert out.take() == b"1\n"


def test_messages_before_a_batch_can_leave_during_it(out, pipe):
    reader, writer = pipe
    out.append(b"1")
    out.begin_batch()
    out.append(b"2")
    assert out.write_fd(writer) == 2
    assert out.write_fd(writer) == 0
    out.append(b"3" * 10_000)
    out.end_batch()
    assert os.read(reader, 100) == b"1\n"
    assert out.take() == b"[2,%b]\n" % (b"3" * 10_000)


def test_batches_open_and_close_in_pairs(out):
    with pytest.raises(RuntimeError, match="No batch is open"):
        out.end_batch()
    out.begin_batch()
    with pytest.raises(RuntimeError, match="A batch is open already"):
        out.begin_batch()


def test_take_empties(out):
    assert out.take() == b""
    out.append(b"1")
    out.append(b"2")
    assert len(out) == 4
    assert out.take() == b"1\n2\n"
    assert (len(out), out.take()) == (0, b"")


def test_write_fd_writes_what_fits_and_the_rest_later(core, out, pipe):
    reader, writer = pipe
    sent = b""
    received = b""
    blocked = 0
    for number in range(50):
        message = b"%d" % number * 5000
        out.append(message)
        sent += message + b"\n"
        blocked += out.write_fd(writer) == 0
        if number % 7 == 0:
            received += os.read(reader, 30_000)
    assert blocked > 0
    while len(out):
        out.write_fd(writer)
        received += os.read(reader, 100_000)
    assert out.write_fd(writer) == 0
    assert received == sent


def test_write_fd_of_a_large_message(out, pipe):
    reader, writer = pipe
    text = "x" * 3_000_000
    out.result(b"1", text)
    out.result(b"2", 5)
    received = []
    while len(out):
        assert out.write_fd(writer) > 0
        received.append(os.read(reader, 1 << 20))
    one, two = b"".join(received).splitlines()
    assert json.loads(one)["result"] == text
    assert two == b'{"jsonrpc":"2.0","id":2,"result":5}'
    out.append(b"small again")
    assert out.take() == b"small again\n"


def test_write_fd_raises_when_the_reader_is_gone(core):
    reader, writer = os.pipe()
    out = core.Outgoing()
    out.append(b"1")
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        out.write_fd(writer)
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        out.write_fd(writer)
    assert caught.value.errno == errno.EBADF
    assert out.take() == b"1\n"


def test_no_message_can_be_added_while_another_thread_writes(out, pipe):
    reader, writer = pipe
    os.set_blocking(writer, True)
    out.append(b"x" * 500_000)
    thread = threading.Thread(target=out.write_fd, args=(writer,))

    def append_until_refused():
        while True:  # ends once the thread waits for the full pipe
            out.append(b"y")

    thread.start()
    received = b""
    try:
        with pytest.raises(RuntimeError, match="Outgoing is in use"):
            append_until_refused()
    finally:
        while thread.is_alive():
            received += read_some(reader)
        thread.join()
    while some := read_some(reader):
        received += some
    first, *others, end = (received + out.take()).split(b"\n")
    assert (len(first), set(others) <= {b"y"}, end) == (500_000, True, b"")


def read_some(reader):
    try:
        return os.read(reader, 1 << 16)
    except BlockingIOError:
        return b""


class Zone(tzinfo):
    """A time zone whose offset is computed by `call`: Python code that runs in the middle of an encoding."""

    def __init__(self, call):
        self.call = call

    def utcoffset(self, when):
        self.call()
        return timedelta(0)


@pytest.mark.parametrize("use", ["take", "append", "write_fd", "begin_batch", "end_batch"])
def test_encoding_cannot_call_back_into_its_own_outgoing(out, use):
    arguments = {"append": [b"1"], "write_fd": [0]}.get(use, [])
    out.append(b"before")
    with pytest.raises(RuntimeError, match="Outgoing is in use"):
        out.result(
            b"1",
            {
                "x": "y" * 10_000,
                "when": datetime(2026, 1, 1, tzinfo=Zone(lambda: getattr(out, use)(*arguments))),
            },
        )
    assert out.take() == b"before\n"


@given(sizes=st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), max_size=30))
def test_any_mix_of_appends_and_partial_writes_keeps_the_order(core, sizes):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        out = core.Outgoing()
        sent, received = b"", b""
        for number, (size, wanted) in enumerate(sizes):
            message = bytes([65 + number % 26]) * size
            out.append(message)
            sent += message + b"\n"
            out.write_fd(writer)
            if wanted and len(received) < len(sent):
                received += os.read(reader, wanted)
        while len(out) or len(received) < len(sent):
            out.write_fd(writer)
            received += os.read(reader, 1 << 16)
        assert received == sent
    finally:
        os.close(reader)
        os.close(writer)


def test_large_message_exists_once():
    encode = pytest.importorskip("taut._core.encode", reason="needs the compiled core")
    out = encode.Outgoing()
    out.append(b"x")
    text = "x" * 8_000_000
    tracemalloc.start()
    try:
        out.result(b"1", {"text": text})
        # msgspec reserves half as much again; what is not used of that is never touched.
        assert tracemalloc.get_traced_memory()[1] < 1.6 * len(text)
        assert len(out.take()) > len(text)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
