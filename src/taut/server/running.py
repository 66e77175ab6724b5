"""Owning the process: event loop, signals, and an end within a second.

SIGTERM and SIGINT close the connection the way the end of input does: open requests get a moment, then are
cancelled. A handler that blocks the loop, or a worker thread that never returns, cannot hold the process: a
second after the signal it is ended without asking.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

from taut.server.connection import ServerConnection
from taut.transport.loop import loop_factory
from taut.transport.stdio import StdioTransport

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["run_stdio"]

#: Seconds from the signal, or from the end of input, to the end of the process.
DEADLINE_S = 0.9


def run_stdio(server: Server) -> None:
    """Serve one client on stdin and stdout until it is done or a signal comes."""
    ender = _Ender()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(server, ender))
    finally:
        ender.finish()


async def _serve(server: Server, ender: _Ender) -> None:
    async with server.running():
        connection = ServerConnection(server, StdioTransport(limits=server.limits))
        ender.watch(connection)
        connection.start()
        await connection.wait_closed()
        ender.arm()


class _Ender:
    """Turns signals into an orderly end, and an orderly end that takes too long into an end.

    Signal handlers are the interpreter's, not the loop's: they run even while a handler blocks the loop.
    """

    def __init__(self) -> None:
        self._connection: ServerConnection | None = None
        self._timer: threading.Timer | None = None
        self._signal = 0
        # What the process had before the loop's runner put its own in.
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._watching = False

    def watch(self, connection: ServerConnection) -> None:
        self._connection = connection
        if threading.current_thread() is threading.main_thread():
            self._watching = True
            for number in self._previous:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            os._exit(128 + number)
        self._signal = number
        self.arm()
        if self._connection is not None:
            self._connection.loop.call_soon_threadsafe(self._connection.shut_down)

    def arm(self) -> None:
        """Start the clock, once."""
        if self._timer is None:
            self._timer = threading.Timer(DEADLINE_S, self._give_up)
            self._timer.daemon = True
            self._timer.start()

    def _give_up(self) -> None:
        os._exit(128 + self._signal if self._signal else 0)

    def finish(self) -> None:
        """Put the signal handlers back; worker threads that still run are left to the clock."""
        if self._watching:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        if self._timer is not None and threading.active_count() <= 2:
            self._timer.cancel()
