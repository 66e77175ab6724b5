"""A large argument is never copied between the receive buffer and the handler that asks for its raw bytes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from taut import Server
from taut._core import COMPILED, Outgoing, ReceiveBuffer, live_objects
from taut.server import ServerConnection
from taut.transport.base import Receiver

if not COMPILED:
    pytest.skip("the pure twin copies", allow_module_level=True)

SIZE = 64 * 1024 * 1024
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tester", "version": "1"},
}


class Direct:
    """A transport whose bytes the test puts into the receive buffer itself."""

    def __init__(self) -> None:
        self.buffer = ReceiveBuffer(max_bytes=2 * SIZE)
        self.out = Outgoing()
        self.receiver: Receiver | None = None

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def flush(self) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...

    def send(self, data: bytes) -> None:
        assert self.receiver is not None
        self.buffer.feed(data)
        self.receiver.data_received()


def connect(app: Server) -> Direct:
    transport = Direct()
    ServerConnection(app, transport).start()
    request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}
    transport.send(msgspec.json.encode(request) + b"\n")
    transport.out.take()
    return transport


@pytest.mark.parametrize("kind", [memoryview, msgspec.Raw], ids=["memoryview", "Raw"])
def test_a_64_mb_argument_reaches_its_handler_without_a_copy(kind: type) -> None:
    app = Server("s")
    seen: list[tuple[int, bytes, int]] = []

    def take(body: Any) -> None:
        view = memoryview(body)
        seen.append((len(view), bytes(view[:3]), tracemalloc.get_traced_memory()[1]))

    take.__annotations__["body"] = kind
    app.tool(take)

    async def main() -> None:
        transport = connect(app)
        head = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"take","arguments":{"body":"'
        transport.send(head + b"x" * (SIZE - 1))
        transport.send(b"x")  # makes room for more, as the reads of a pipe would have
        # All but the end has arrived: what is allocated from here on is what parsing and dispatch allocate.
        tracemalloc.start()
        try:
            transport.send(b'"}}}\n')
        finally:
            tracemalloc.stop()
        assert msgspec.json.decode(transport.out.take())["result"]["content"] == []

    asyncio.run(main())
    ((length, start, peak),) = seen
    assert (length, start) == (SIZE + 2, b'"xx')
    assert peak < SIZE / 64


def test_a_handler_may_keep_the_bytes_and_they_stay_what_they_were() -> None:
    kept: list[memoryview] = []
    app = Server("s")

    @app.tool
    def keep(body: memoryview) -> None:
        kept.append(body)

    def call(id: int, letter: bytes) -> bytes:
        return (
            b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"keep","arguments":{"body":"%b"}}}\n'
            % (id, letter * 100_000)
        )

    async def main() -> None:
        transport = connect(app)
        for id, letter in enumerate((b"a", b"b", b"c"), 1):
            transport.send(call(id, letter))
            transport.out.take()
        del transport

    asyncio.run(main())
    gc.collect()
    assert [bytes(view) for view in kept] == [b'"' + letter * 100_000 + b'"' for letter in (b"a", b"b", b"c")]


def test_nothing_of_a_large_message_is_left_behind() -> None:
    app = Server("s")

    @app.tool
    def length(text: str) -> int:
        return len(text)

    def measured(work: Callable[[], None]) -> dict[str, int]:
        gc.collect()
        before = live_objects()
        work()
        gc.collect()
        return {name: count - before[name] for name, count in live_objects().items()}

    async def main() -> None:
        transport = connect(app)
        head = (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"length","arguments":{"text":"'
        )

        def work() -> None:
            transport.send(head + b"x" * 5_000_000 + b'"}}}\n')
            transport.out.take()

        left = measured(work)
        assert left["spans"] == 0
        assert left["bytes"] <= 0

    asyncio.run(main())
