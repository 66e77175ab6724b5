"""The least work that still decodes a call and encodes an honest result: uvloop, msgspec, nothing else.

It validates the envelope and the arguments of two tools, because msgspec does so for free, and has no
limits, no cancellation, no sessions, no capabilities. A complete server is measured by how near it comes.

    floor.py [--task] [--core N]

``--task`` runs every call in a task of its own with an entry in a table of ids: the floor of a server whose
handlers are coroutines that can be cancelled. ``--core`` pins the process (for the client benchmark, where
the client starts it).
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable

import msgspec
import uvloop


class Envelope(msgspec.Struct, gc=False):
    method: str
    id: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Call(msgspec.Struct, gc=False):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Add(msgspec.Struct, gc=False):
    a: int
    b: int


class Echo(msgspec.Struct, gc=False):
    text: str


class Text(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    text: str


class CallResult(msgspec.Struct):
    content: list[Text]
    isError: bool = False
    resultType: str = "complete"


INITIALIZE = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},'
    b'"serverInfo":{"name":"floor","version":"1.0"}}'
)
DISCOVER = (
    b'{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},'
    b'"ttlMs":0,"cacheScope":"public"}'
)
TOOLS = (
    b'{"resultType":"complete","ttlMs":0,"cacheScope":"public","tools":['
    b'{"name":"add","inputSchema":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}}},'
    b'{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}]}'
)
FIXED = {"initialize": INITIALIZE, "server/discover": DISCOVER, "tools/list": TOOLS, "ping": b"{}"}

decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_call = msgspec.json.Decoder(Call).decode
decode_add = msgspec.json.Decoder(Add).decode
decode_echo = msgspec.json.Decoder(Echo).decode
encode = msgspec.json.Encoder().encode


def add(arguments: msgspec.Raw) -> str:
    values = decode_add(arguments)
    return str(values.a + values.b)


def echo(arguments: msgspec.Raw) -> str:
    return decode_echo(arguments).text


TOOLS_BY_NAME: dict[str, Callable[[msgspec.Raw], str]] = {"add": add, "echo": echo}


def answer(message: Envelope) -> bytes:
    """Return the encoded result of one request."""
    if message.method == "tools/call":
        call = decode_call(message.params)
        return encode(CallResult([Text(TOOLS_BY_NAME[call.name](call.arguments))]))
    return FIXED[message.method]


class Floor(asyncio.Protocol):
    """Reads lines, answers all of one read event with one write."""

    def __init__(self, writer: asyncio.WriteTransport, closed: asyncio.Event, *, tasks: bool) -> None:
        self.writer = writer
        self.closed = closed
        self.in_flight: dict[bytes, asyncio.Task[None]] | None = {} if tasks else None
        self.partial: list[bytes] = []
        self.finished: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        if b"\n" not in data:
            self.partial.append(data)
            return
        if self.partial:
            self.partial.append(data)
            data = b"".join(self.partial)
            self.partial.clear()
        *lines, rest = data.split(b"\n")
        if rest:
            self.partial.append(rest)
        for line in lines:
            message = decode_envelope(line)
            if not message.id:
                continue
            if self.in_flight is None:
                self.finish(message)
            else:
                task = asyncio.get_running_loop().create_task(self.run(message))
                self.in_flight[bytes(message.id)] = task
        if self.in_flight is None:
            self.flush()

    def finish(self, message: Envelope) -> None:
        self.finished += (b'{"jsonrpc":"2.0","id":', message.id, b',"result":', answer(message), b"}\n")

    async def run(self, message: Envelope) -> None:
        assert self.in_flight is not None
        if not self.finished:
            asyncio.get_running_loop().call_soon(self.flush)
        self.finish(message)
        del self.in_flight[bytes(message.id)]

    def flush(self) -> None:
        self.writer.write(b"".join(self.finished))
        self.finished.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


async def serve(*, tasks: bool) -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    await loop.connect_read_pipe(lambda: Floor(writer, closed, tasks=tasks), sys.stdin)
    await closed.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="The floor of the stdio benchmark.")
    parser.add_argument("--task", action="store_true", help="run every call in a task of its own")
    parser.add_argument("--core", type=int, help="pin the process to this core")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    uvloop.run(serve(tasks=options.task))


if __name__ == "__main__":
    main()
