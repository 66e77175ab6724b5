"""The least work that still correlates calls and decodes results: uvloop, msgspec, one future a call."""

import asyncio

import msgspec
import uvloop
from _measure import arguments, measure


class Text(msgspec.Struct, gc=False):
    text: str


class CallResult(msgspec.Struct):
    content: list[Text]


class Reply(msgspec.Struct, gc=False):
    id: int
    result: msgspec.Raw


decode_reply = msgspec.json.Decoder(Reply).decode
decode_result = msgspec.json.Decoder(CallResult).decode
encode = msgspec.json.Encoder().encode


class FloorClient(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self.pending: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self.rest = b""
        self.closed = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            reply = decode_reply(line)
            self.pending.pop(reply.id).set_result(reply.result)

    def process_exited(self) -> None:
        self.closed.set()


async def main() -> None:
    calls, command = arguments()
    loop = asyncio.get_running_loop()
    process, client = await loop.subprocess_exec(FloorClient, *command, stderr=None)
    writer = process.get_pipe_transport(0)

    async def request(id: int, method: str, params: object) -> msgspec.Raw:
        future: asyncio.Future[msgspec.Raw] = loop.create_future()
        client.pending[id] = future
        writer.write(encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + b"\n")
        return await future

    next_id = iter(range(1, 1 << 40)).__next__

    async def call(number: int) -> str:
        params = {"name": "add", "arguments": {"a": number, "b": 7}}
        result = await request(next_id(), "tools/call", params)
        return decode_result(result).content[0].text

    await request(0, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    await measure(call, calls)
    writer.close()
    await client.closed.wait()
    process.close()


if __name__ == "__main__":
    uvloop.run(main())
