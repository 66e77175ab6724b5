"""An HTTP connection without a socket: bytes into uvicorn's protocol classes, and the answers that they write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from taut.transport.http.asgi import AsgiApp
from taut.transport.http.patience import Patience, Sweep
from taut.transport.http.protocol import NativeHttp
from transport.asgi import HEADERS, body_of

#: More turns of the loop than anything here takes that does not wait for the test.
TURNS = 25


class FakeTransport(asyncio.Transport):
    """Keeps what is written. A client that does not read is played with `stall`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 9)})
        self.loop = loop
        self.protocol: Any = None
        self.written = bytearray()
        self.writes = 0
        self.reading = True
        self.ended = False
        self.unsent = 0
        self._closing = False

    def write(self, data: Any) -> None:
        assert not self.ended
        self.writes += 1
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def done(self) -> bool:
        """Whether nothing more will be sent."""
        return self._closing or self.ended


class Connection:
    """One connection to ``app``; `native` ones share what their `NativeHttp` shares."""

    def __init__(self, app: Any, protocol: Callable[..., Any] = HttpToolsProtocol, **config: Any) -> None:
        options = {"lifespan": "off", "ws": "none", "log_config": None, "access_log": False, **config}
        self.loop = asyncio.get_running_loop()
        self.state = ServerState()
        self.config = uvicorn.Config(app, http=protocol, **options)  # type: ignore[arg-type]
        self.config.load()
        self.protocol = protocol(config=self.config, server_state=self.state, app_state={}, _loop=self.loop)
        self.transport = FakeTransport(self.loop)
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)
        self._waiting = bytearray()

    async def send(self, *parts: bytes) -> None:
        """Send each of ``parts`` as one read, and let come of it what comes at once."""
        for part in parts:
            self._waiting += part
            await self.settle()

    def feed(self, data: bytes) -> None:
        """Send ``data`` as one read, and do not wait for what comes of it."""
        self._waiting += data
        self._deliver()

    def _deliver(self) -> None:
        if self._waiting and self.transport.reading and not self.transport.is_closing():
            data = bytes(self._waiting)
            self._waiting.clear()
            self.protocol.data_received(data)

    async def settle(self, turns: int | None = None) -> None:
        """Deliver what was sent, as far as it is read, until nothing happens any more; or for so many turns."""
        for _ in range(turns or TURNS):
            self._deliver()
            await asyncio.sleep(0)

    async def lose(self) -> None:
        """Go away."""
        self.transport.close()
        await self.settle()

    def answers(self) -> list[Answer]:
        """Return the answers so far, the last of which may be incomplete."""
        return list(_answers(bytes(self.transport.written)))

    @property
    def statuses(self) -> list[int]:
        """The statuses of `answers`."""
        return [answer.status for answer in self.answers()]


class Answer:
    """One answer: ``body`` is what there is of it, without its framing."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, complete: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.complete = complete


def _answers(data: bytes) -> Iterable[Answer]:
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        first, *fields = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        headers = dict(field.lower().split(": ", 1) for field in fields)
        assert len(headers) == len(fields), fields
        status = int(first.split()[1])
        if status == 100:
            yield Answer(status, headers, b"", complete=True)
        elif headers.get("transfer-encoding") == "chunked":
            body, complete, data = _chunked(data)
            yield Answer(status, headers, body, complete=complete)
        else:
            size = int(headers["content-length"])
            yield Answer(status, headers, data[:size], complete=len(data) >= size)
            data = data[size:]


def _chunked(data: bytes) -> tuple[bytes, bool, bytes]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            assert data.startswith(b"\r\n")
            return body, True, data[2:]
        body += data[:count]
        data = data[count + 2 :]
    return body, False, b""


def native(app: AsgiApp, *, clock: Callable[[], float] = lambda: 0.0, **patience: Any) -> NativeHttp:
    """Return the protocols of a server whose time is ``clock``'s."""
    return NativeHttp(app, patience=Patience(**patience), sweep=Sweep(clock))


async def alive(app: AsgiApp) -> AsgiApp:
    """Enter the application's lifespan, as a server would at its start; it ends with the loop."""
    await app.start()
    return app


def request(
    body: bytes,
    *extra: tuple[str, str],
    method: str = "POST",
    target: str = "/mcp",
    version: str = "1.1",
    **headers: str,
) -> bytes:
    """Return an HTTP request; ``headers`` besides the usual ones, ``extra`` after all of them."""
    fields = {**HEADERS, "content-length": str(len(body))}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"{name}: {value}\r\n" for name, value in [*fields.items(), *extra]]
    return f"{method} {target} HTTP/{version}\r\n{''.join(lines)}\r\n".encode() + body


def call(tool: str, *extra: tuple[str, str], id: Any = 1, version: str = "1.1", **arguments: Any) -> bytes:
    """Return the HTTP request that calls ``tool``."""
    body = body_of("tools/call", {"name": tool, "arguments": arguments}, id=id)
    return request(body, *extra, version=version, mcp_method="tools/call", mcp_name=tool)
