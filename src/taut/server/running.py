"""Owning the process: event loop, signals, and an end within a second.

SIGTERM and SIGINT close the connection the way the end of input does: open requests get a moment, then are
cancelled. A handler that blocks the loop, or a worker thread that never returns, cannot hold the process: a second
after the signal, or a second without any progress after the end of input, it is ended without asking.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from taut.server.connection import ServerConnection
from taut.transport.loop import loop_factory
from taut.transport.stdio import StdioTransport, open_standard_streams

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["run_stdio"]

#: Seconds from the signal to the end of the process, and of silence after the end of input.
DEADLINE_S = 0.9
#: Seconds from the end of the connection to that of the process, for handlers that do not let themselves be cancelled.
STRAGGLERS_S = 0.2
#: Seconds between two looks at a server whose client is gone.
STEP_S = 0.1


def run_stdio(server: Server) -> None:
    """Serve one client on stdin and stdout until it is done or a signal comes."""
    open_standard_streams()
    ender = _Ender()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(server, ender))
    finally:
        ender.finish()


async def _serve(server: Server, ender: _Ender) -> None:
    async with server.running():
        stdin = os.dup(0)
        connection = ServerConnection(server, StdioTransport(limits=server.limits))
        ender.watch(connection, stdin)
        connection.start()
        await connection.wait_lost()
        ender.arm(STRAGGLERS_S)
        await connection.wait_closed()


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
        self._finished = threading.Event()

    def watch(self, connection: ServerConnection, stdin: int) -> None:
        """Guard ``connection``; ``stdin`` is a duplicate of its input, and ours to close."""
        self._connection = connection
        if threading.current_thread() is threading.main_thread():
            self._watching = True
            for number in self._previous:
                signal.signal(number, self._on_signal)
        if _tells_hang_up(stdin):
            threading.Thread(
                target=self._await_hang_up, args=(connection, stdin), name="taut-end", daemon=True
            ).start()
        else:
            os.close(stdin)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal:
            os._exit(128 + number)
        self._signal = number
        self.arm(DEADLINE_S)
        if self._connection is not None:
            self._connection.loop.call_soon_threadsafe(self._connection.shut_down)

    def _await_hang_up(self, connection: ServerConnection, stdin: int) -> None:
        """End the process when its client is gone and nothing moves: a blocked loop cannot see the end of input.

        The thread sleeps in poll(2) until the other end of stdin is closed, however much is still to be read.
        """
        hang_up = select.poll()
        hang_up.register(stdin, 0)
        hang_up.poll()
        os.close(stdin)
        turned = threading.Event()
        written = -1
        silent_s = 0.0
        while not self._finished.wait(STEP_S):
            moved = turned.is_set() or written != len(connection.transport.out)
            silent_s = 0.0 if moved else silent_s + STEP_S
            if silent_s >= DEADLINE_S:
                self._give_up()
            written = len(connection.transport.out)
            turned.clear()
            try:
                connection.loop.call_soon_threadsafe(turned.set)
            except RuntimeError:  # the loop is closed: what is left is not ours to end
                return

    def arm(self, seconds: float) -> None:
        """Start the clock, once."""
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._give_up)
            self._timer.daemon = True
            self._timer.start()

    def _give_up(self) -> None:
        os._exit(128 + self._signal if self._signal else 0)

    def finish(self) -> None:
        """Put the signal handlers back; worker threads that still run are left to the clock."""
        self._finished.set()
        if self._watching:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        workers = any(
            not one.daemon for one in threading.enumerate() if one is not threading.current_thread()
        )
        if self._timer is not None and not workers:
            self._timer.cancel()


def _tells_hang_up(fd: int) -> bool:
    """Whether poll(2) tells that the other end of ``fd`` was closed."""
    if sys.platform == "win32":
        return False
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
