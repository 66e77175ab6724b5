"""Serving an ASGI application under uvicorn's protocol class, in the running event loop or in a thread of its own.

Not by `uvicorn.Server`, which is made for a process: it takes the signals, and looks only ten times a second whether it
is to end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from taut.errors import ConfigError

__all__ = ["LoopServer", "ThreadServer"]


class LoopServer:
    """Serves ``app`` at a free port of this machine, in the running event loop."""

    def __init__(self, app: Any, close_key: str) -> None:
        # Without a word on logging: the loggers are those of the whole process.
        self._config = uvicorn.Config(
            app, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None
        )
        self._close_key = close_key
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Close all connections, in the middle of whatever it is, and wait for what was going on there."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        await asyncio.sleep(0)  # connections that were accepted in this very moment are made now
        for connection in list(self._state.connections):
            cast(_Protocol, connection).transport.abort()
        # A request that is answered hears that its client is gone.
        while self._state.tasks:
            await asyncio.wait(self._state.tasks)
        await server.wait_closed()

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(self._config, self._state, self._close_key)


class _Protocol(HttpToolsProtocol):
    """Leaves in each scope the way to close the connection."""

    def __init__(self, config: uvicorn.Config, state: ServerState, close_key: str) -> None:
        super().__init__(config, state, {})
        self._close_key = close_key

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        close: Callable[[], None] = self.transport.close
        self.scope[self._close_key] = close  # type: ignore[literal-required]


class ThreadServer:
    """Serves ``app`` in a thread with an event loop of its own."""

    def __init__(self, app: Any, close_key: str) -> None:
        self._server = LoopServer(app, close_key)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._port = 0
        self._error: BaseException | None = None

    def start(self) -> int:
        """Listen; returns the port.

        :raises taut.errors.ConfigError: it cannot.
        """
        self._thread = threading.Thread(target=self._run, name="taut-fake-openai", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise ConfigError(f"Cannot serve: {self._error}") from self._error
        return self._port

    def stop(self) -> None:
        """Close all connections, and end the thread."""
        if self._thread is not None and self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            # The thread's border: whoever starts it is told.
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._port = await self._server.start()
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            await self._server.stop()
