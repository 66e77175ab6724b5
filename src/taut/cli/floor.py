"""The floor of ``taut demo``: the least work that still decodes a call and encodes an honest answer.

uvloop, msgspec and one tool, ``add``. It has no limits, no cancellation, no capabilities and no errors: a complete
server is measured by how near it comes. ``python -m taut.cli.floor`` serves stdin and stdout.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from taut.transport.loop import loop_factory


class Envelope(msgspec.Struct, gc=False):
    """A request."""

    id: msgspec.Raw
    method: str
    params: msgspec.Raw


class Call(msgspec.Struct, gc=False):
    """Params of ``tools/call``."""

    name: str
    arguments: msgspec.Raw


class Add(msgspec.Struct, gc=False):
    """Arguments of ``add``."""

    a: int
    b: int


class Text(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    """A content block."""

    text: str


class Sum(msgspec.Struct, gc=False):
    """The value of ``add``."""

    result: int


class CallResult(msgspec.Struct, rename="camel"):
    """Result of ``tools/call``, with all that a complete server answers."""

    content: list[Text]
    structured_content: Sum
    result_type: str = "complete"


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_call = msgspec.json.Decoder(Call).decode
_decode_add = msgspec.json.Decoder(Add).decode
_encode = msgspec.json.Encoder().encode


class Floor(asyncio.Protocol):
    """Reads lines, answers all of one read event with one write."""

    def __init__(self, writer: asyncio.WriteTransport, closed: asyncio.Event) -> None:
        self._writer = writer
        self._closed = closed
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer every complete line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        answers: list[bytes | msgspec.Raw] = []
        for line in lines:
            request = _decode_envelope(line)
            call = _decode_call(request.params)
            if request.method != "tools/call" or call.name != "add":
                raise ValueError(f"Expected a call of add, got {request.method}")
            values = _decode_add(call.arguments)
            total = values.a + values.b
            result = _encode(CallResult([Text(str(total))], Sum(total)))
            answers += (b'{"jsonrpc":"2.0","id":', request.id, b',"result":', result, b"}\n")
        self._writer.write(b"".join(answers))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the process."""
        self._closed.set()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    await loop.connect_read_pipe(lambda: Floor(writer, closed), sys.stdin)
    await closed.wait()


def main() -> None:
    """Serve until stdin ends."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
