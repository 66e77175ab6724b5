"""The operations that are timed (``benchmarks/micro``) and counted (`benchmarks.instructions`).

An operation is made by a function without arguments that returns the function to repeat. Its name says the
group, the size of the data, and whose it is: ``parse/200B/taut``. Baselines do the nearest thing that their
library offers, and the group's comment says what they leave out.
"""

import importlib
import json
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks import _inhttp
from benchmarks._data import MESSAGES, SMALL, TEXT
from benchmarks._inprocess import call, connected
from taut import _core

Operation = Callable[[], object]
OPERATIONS: dict[str, Callable[[], Operation]] = {}

LIMITS = {"max_bytes": 1 << 30, "max_depth": 128, "max_digits": 400, "max_keys": 10_000}


def operation(name: str) -> Callable[[Callable[[], Operation]], Callable[[], Operation]]:
    def register(make: Callable[[], Operation]) -> Callable[[], Operation]:
        OPERATIONS[name] = make
        return make

    return register


def orjson() -> Any:
    """The fastest general decoder, where it is installed (the `bench` group does not need it)."""
    return importlib.import_module("orjson")


# nothing: the cost of calling an operation, to be subtracted


@operation("nothing/-/-")
def _() -> Operation:
    return lambda: None


# frame: 64 frames of 200 B out of one chunk. The baseline copies every line and bounds nothing.

CHUNK = (SMALL + b"\n") * 64


@operation("frame/64x200B/taut")
def _() -> Operation:
    buffer = _core.ReceiveBuffer(max_bytes=1 << 30)
    framer = _core.LineFramer(buffer, max_bytes=1 << 30)

    def run() -> None:
        buffer.feed(CHUNK)
        while framer.next() is not None:
            pass

    return run


@operation("frame/64x200B/bytes.split")
def _() -> Operation:
    return lambda: CHUNK.split(b"\n")


# validate: strict JSON and UTF-8, no values made. json and orjson make values; none finds duplicate keys.

for size, message in MESSAGES.items():

    @operation(f"validate/{size}/taut")
    def _(message: bytes = message) -> Operation:
        return lambda: _core.validate(message)

    @operation(f"validate/{size}/taut skip_value")
    def _(message: bytes = message) -> Operation:
        return lambda: _core.skip_value(message)

    @operation(f"validate/{size}/msgspec.Raw")
    def _(message: bytes = message) -> Operation:
        decode = msgspec.json.Decoder(msgspec.Raw).decode
        return lambda: decode(message)

    @operation(f"validate/{size}/orjson")
    def _(message: bytes = message) -> Operation:
        loads = orjson().loads
        return lambda: loads(message)

    @operation(f"validate/{size}/json")
    def _(message: bytes = message) -> Operation:
        return lambda: json.loads(message)


# parse: one message to its envelope, bodies left as bytes. msgspec finds no duplicates and bounds nothing.


class Envelope(msgspec.Struct, gc=False):
    jsonrpc: str
    id: msgspec.Raw = msgspec.Raw()
    method: str = ""
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


for size, message in MESSAGES.items():

    @operation(f"parse/{size}/taut")
    def _(message: bytes = message) -> Operation:
        return lambda: _core.parse(message)

    @operation(f"parse/{size}/taut not strict")
    def _(message: bytes = message) -> Operation:
        return lambda: _core.parse(message, strict=False)

    @operation(f"parse/{size}/msgspec")
    def _(message: bytes = message) -> Operation:
        decode = msgspec.json.Decoder(Envelope).decode
        return lambda: decode(message)


# read: framing and parsing of 64 messages of one chunk together: the hot loop of every connection.


@operation("read/64x200B/taut")
def _() -> Operation:
    buffer = _core.ReceiveBuffer(max_bytes=1 << 30)
    reader = _core.MessageReader(buffer, **LIMITS)

    def run() -> None:
        buffer.feed(CHUNK)
        reader.read()

    return run


@operation("read/64x200B/msgspec")
def _() -> Operation:
    decode = msgspec.json.Decoder(Envelope).decode
    return lambda: [decode(line) for line in CHUNK.split(b"\n") if line]


# track: a request in and out of the table of those in flight. A dict checks neither duplicates nor a maximum.


@operation("track/-/taut")
def _() -> Operation:
    table: _core.InFlight[object] = _core.InFlight(1000)
    entry = object()

    def run() -> None:
        table.admit(4711, entry)
        table.pop(4711)

    return run


@operation("track/-/dict")
def _() -> Operation:
    table: dict[int, object] = {}
    entry = object()

    def run() -> None:
        table[4711] = entry
        table.pop(4711)

    return run


# encode: a result around its payload, into the bytes that are written.


class Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class CallResult(msgspec.Struct):
    content: list[Text]
    isError: bool = False


RESULTS = {"small": CallResult([Text("42")]), "1MB": CallResult([Text(TEXT)])}

for size, result in RESULTS.items():

    @operation(f"encode/{size}/taut")
    def _(result: CallResult = result) -> Operation:
        out = _core.Outgoing()

        def run() -> bytes:
            out.result(b"4711", result)
            return out.take()

        return run

    @operation(f"encode/{size}/msgspec")
    def _(result: CallResult = result) -> Operation:
        encode = msgspec.json.Encoder().encode
        return lambda: b'{"jsonrpc":"2.0","id":4711,"result":' + encode(result) + b"}\n"

    @operation(f"encode/{size}/orjson")
    def _(result: CallResult = result) -> Operation:
        dumps, value = orjson().dumps, msgspec.to_builtins(result)
        return lambda: dumps({"jsonrpc": "2.0", "id": 4711, "result": value}) + b"\n"

    @operation(f"encode/{size}/json")
    def _(result: CallResult = result) -> Operation:
        value = msgspec.to_builtins(result)
        return lambda: json.dumps({"jsonrpc": "2.0", "id": 4711, "result": value}).encode() + b"\n"


# call: a whole tools/call through the server, from bytes to bytes, without I/O.


@operation("call/legacy/taut")
def _() -> Operation:
    exchange, data = connected().exchange, call("add", b'{"a":17,"b":25}')
    return lambda: exchange(data)


@operation("call/modern/taut")
def _() -> Operation:
    exchange, data = connected(modern=True).exchange, call("add", b'{"a":17,"b":25}', modern=True)
    return lambda: exchange(data)


@operation("call/64 in a read/taut")
def _() -> Operation:
    exchange = connected().exchange
    data = b"".join(call("add", b'{"a":17,"b":25}', id=id) for id in range(1, 65))
    return lambda: exchange(data)


@operation("call/64 in a read/floor")
def _() -> Operation:
    from benchmarks.servers import floor

    data = b"".join(call("add", b'{"a":17,"b":25}', id=id) for id in range(1, 65))

    def run() -> bytes:
        finished: list[bytes] = []
        for line in data.split(b"\n"):
            if line:
                message = floor.decode_envelope(line)
                finished += (
                    b'{"jsonrpc":"2.0","id":',
                    message.id,
                    b',"result":',
                    floor.answer(message),
                    b"}\n",
                )
        return b"".join(finished)

    return run


# http: the same call, as a request whose head is parsed already; as a call of the ASGI application; as bytes on a
# connection of uvicorn's, with a head that came before, and with one whose traceparent did not. The floor takes in
# headers and body, and writes a constant.


@operation("http/parsed/taut")
def _() -> Operation:
    return _inhttp.posted()


@operation("http/asgi/taut")
def _() -> Operation:
    return _inhttp.applied()


@operation("http/known head/taut")
def _() -> Operation:
    return _inhttp.connected()


@operation("http/known head/floor")
def _() -> Operation:
    return _inhttp.connected(floor=True)


@operation("http/new head/taut")
def _() -> Operation:
    return _inhttp.connected(new_heads=True)


@operation("http/new head/floor")
def _() -> Operation:
    return _inhttp.connected(floor=True, new_heads=True)
