"""The least work that still sends an honest request and decodes its result over HTTP: uvloop, httptools, msgspec.

A connection carries one call at a time; there are as many as calls were ever made at once.
"""

import asyncio
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop
from _measure import arguments, measure


class Text(msgspec.Struct, gc=False):
    text: str


class CallResult(msgspec.Struct):
    content: list[Text]


class Reply(msgspec.Struct, gc=False):
    id: int
    result: CallResult


decode_reply = msgspec.json.Decoder(Reply).decode
encode = msgspec.json.Encoder().encode

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1.0"},
}
HEAD = (
    b"POST /mcp HTTP/1.1\r\nHost: %s\r\nAccept: application/json, text/event-stream\r\n"
    b"Content-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"
    b"Mcp-Name: add\r\nContent-Length: %d\r\n\r\n"
)


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.waiter: asyncio.Future[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        self.waiter.set_result(body)


async def main() -> None:
    calls, (url, _) = arguments()
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    free: list[Connection] = []
    next_id = iter(range(1, 1 << 40)).__next__

    async def call(number: int) -> str:
        id = next_id()
        params = {"name": "add", "arguments": {"a": number, "b": 7}, "_meta": META}
        body = encode({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
        if free:
            connection = free.pop()
        else:
            _, connection = await loop.create_connection(Connection, place.hostname, place.port)
        connection.waiter = loop.create_future()
        connection.transport.write(HEAD % (place.netloc.encode(), len(body)) + body)
        reply = decode_reply(await connection.waiter)
        free.append(connection)
        if reply.id != id:
            raise SystemExit(f"Expected the answer to {id}, got {reply.id}")
        return reply.result.content[0].text

    await measure(call, calls)
    for connection in free:
        connection.transport.close()


if __name__ == "__main__":
    uvloop.run(main())
