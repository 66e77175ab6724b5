"""HTTP servers that follow a script, and receivers that note what a pool tells them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from taut.errors import TransportError
from taut.transport.http.pool import Call, Pool

__all__ = ["OK", "Heard", "Peer", "ask", "send", "serving", "until"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Heard:
    """Notes an answer; refuses what the contract forbids."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self.chunks: list[bytes] = []
        self.events: list[str] = []
        self.error: TransportError | None = None
        self.over = asyncio.Event()
        self.begun = asyncio.Event()
        self.call: Call | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        assert not self.events, self.events
        self.status, self.headers = status, headers
        self._note("head")
        self.begun.set()

    def data(self, chunk: bytes) -> None:
        assert self.events == ["head"], self.events
        assert chunk
        self.chunks.append(chunk)

    def end(self) -> None:
        assert self.events == ["head"], self.events
        self._note("end")
        self.over.set()

    def failed(self, error: TransportError) -> None:
        assert not self.over.is_set()
        self.error = error
        self._note("failed")
        self.over.set()

    def _note(self, event: str) -> None:
        self.events.append(event)


def send(pool: Pool, path: bytes = b"/mcp", body: bytes = b"{}", **options: Any) -> Heard:
    """Send a request; return who hears the answer."""
    heard = Heard()
    heard.call = pool.send(
        options.pop("method", b"POST"), path, options.pop("headers", b""), body, heard, **options
    )
    assert not heard.events, "called back from within send"
    return heard


async def ask(pool: Pool, path: bytes = b"/mcp", body: bytes = b"{}", **options: Any) -> Heard:
    """Send a request and wait for what comes of it."""
    heard = send(pool, path, body, **options)
    await heard.over.wait()
    return heard


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until ``condition`` holds, which nobody tells of."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)


class Peer:
    """One connection as a scripted server sees it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        #: 0 for the first connection to this server.
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """Read one request; return its head and its body.

        :raises asyncio.IncompleteReadError: the client has closed the connection.
        """
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return head, await self.reader.readexactly(size)

    async def say(self, data: bytes) -> None:
        """Write ``data``, and see it off."""
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Wait until the client closes; return what came before."""
        return await self.reader.read()

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Break the connection off."""
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(
    script: Callable[[Peer], Awaitable[None]], *, tls: ssl.SSLContext | None = None, uds: str | None = None
) -> AsyncIterator[str]:
    """Serve each connection with ``script``, then close it; yields the URL. A script that fails is a failure."""
    count = 0
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        peer, count = Peer(count, reader, writer), count + 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        except AssertionError as error:
            failures.append(error)
        finally:
            await peer.close()
            tasks.discard(task)

    if uds is not None:
        server = await asyncio.start_unix_server(serve, uds, ssl=tls)
        url = "http://localhost"
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
    try:
        yield url
    finally:
        server.close()
        while tasks:
            await asyncio.wait(tasks)
        assert not failures, failures
