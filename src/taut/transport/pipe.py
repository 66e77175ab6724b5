"""A transport over two file descriptors: the server's stdio, and a child process seen from the client.

Descriptors are non-blocking and read with read(2) straight into the receive buffer, so a call that arrives alone
costs three system calls: wait, read, write. Descriptors that the platform cannot poll (regular files, consoles on
Windows) are read by one thread instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import threading

from taut._core import Outgoing, ReceiveBuffer
from taut.errors import ConnectionClosed, TransportError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.base import Receiver

__all__ = ["PipeTransport", "enlarge_pipe"]

#: Bytes that a pipe should hold: with the default of 64 KiB a 1 MB message costs 30 wake-ups of both sides.
PIPE_BYTES = 1024 * 1024
#: Seconds after which `close` gives up on a peer that takes nothing of what is unsent.
LINGER_S = 0.5


def enlarge_pipe(fd: int) -> None:
    """Let the pipe behind ``fd`` hold `PIPE_BYTES`, where the platform can and the user's quota allows."""
    if sys.platform != "linux":
        return
    import fcntl

    with contextlib.suppress(OSError):  # no pipe, or over /proc/sys/fs/pipe-user-pages-soft: it works, slower
        if stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class PipeTransport:
    """Reads ``read_fd`` and writes ``write_fd``, which it owns and closes.

    :param pauses: stop reading from a peer that does not read. For the server's end: it answers, so what it has not
        read it need not answer. Were both ends to do so, two that write much would wait for each other.
    """

    def __init__(
        self, read_fd: int, write_fd: int, *, limits: Limits = DEFAULT_LIMITS, pauses: bool = True
    ) -> None:
        self.buffer = ReceiveBuffer(max_bytes=limits.max_message_bytes + PIPE_BYTES)
        self.out = Outgoing()
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._max_unsent = limits.max_unsent_bytes
        self._pauses = pauses
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading = False
        self._eof = False
        self._waiting_to_write = False
        self._drained: asyncio.Future[None] | None = None
        self._broken: TransportError | None = None
        self._closing = False
        self._closed: asyncio.Future[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._may_read = threading.Event()
        self._was_blocking = {fd: os.get_blocking(fd) for fd in (read_fd, write_fd)}

    # -- reading

    def start(self, receiver: Receiver) -> None:
        """Begin to read, in the running event loop."""
        self._loop = loop = asyncio.get_running_loop()
        self._closed = loop.create_future()
        self._receiver = receiver
        for fd in (self._read_fd, self._write_fd):
            enlarge_pipe(fd)
        os.set_blocking(self._write_fd, False)
        if _can_poll(self._read_fd):
            os.set_blocking(self._read_fd, False)
            self._resume()
        else:
            self._thread = threading.Thread(target=self._read_in_thread, name="taut-stdin", daemon=True)
            self._thread.start()
            self._resume()

    def _resume(self) -> None:
        if not self._reading and not self._eof and self._loop is not None:
            self._reading = True
            if self._thread is None:
                self._loop.add_reader(self._read_fd, self._on_readable)
            else:
                self._may_read.set()

    def _pause(self) -> None:
        if self._reading and self._loop is not None:
            self._reading = False
            if self._thread is None:
                self._loop.remove_reader(self._read_fd)
            else:
                self._may_read.clear()

    def _on_readable(self) -> bool:
        """Take what one read(2) gives; False when there is nothing more."""
        try:
            count = self.buffer.read_fd(self._read_fd)
        except OSError as error:
            self._lose(ConnectionClosed(f"reading failed: {error.strerror}"))
            return False
        if count > 0:
            self._receiver.data_received()  # type: ignore[union-attr]  # set by start
        elif count == 0:
            self._end_of_input()
        return count > 0

    def _end_of_input(self) -> None:
        if not self._eof and not self._closing and self._receiver is not None:
            self._eof = True
            self._pause()
            self._receiver.eof_received()

    def _read_in_thread(self) -> None:
        """Read a descriptor that cannot be polled; its bytes are fed in the loop's thread, one chunk at a time."""
        loop = self._loop
        while loop is not None:
            self._may_read.wait()
            self._may_read.clear()
            if self._closing:
                return
            try:
                data = os.read(self._read_fd, 65536)
            except OSError:
                data = b""
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(self._fed, data)
            if not data:
                return

    def _fed(self, data: bytes) -> None:
        if self._closing or self._receiver is None:
            return
        if data:
            self.buffer.feed(data)
            self._receiver.data_received()
            if self._reading:
                self._may_read.set()
        else:
            self._end_of_input()

    # -- writing

    def flush(self) -> None:
        """Write what is in ``out``."""
        if self._waiting_to_write or self._receiver is None or not len(self.out):
            return
        self._write()

    def _write(self) -> None:
        if self._broken is not None:
            self.out.take()
            return
        try:
            written = self.out.write_fd(self._write_fd)
        except OSError as error:
            self._stop_writing(ConnectionClosed(f"writing failed: {error.strerror}"))
            return
        unsent = len(self.out)
        if unsent:
            self._wait_to_write(unsent)
            if self._closing and written:
                self._linger_on()
        elif self._waiting_to_write:
            self._all_written()

    def _stop_writing(self, error: TransportError) -> None:
        """The peer no longer reads; what it wrote before is still taken, for at most `LINGER_S` seconds."""
        self._broken = error
        self.out.take()
        if self._waiting_to_write and self._loop is not None:
            self._loop.remove_writer(self._write_fd)
            self._waiting_to_write = False
        self._release_drained()
        if self._closing or self._eof:
            self._lose_soon(error)
        elif self._loop is not None:
            self._linger = self._loop.call_later(LINGER_S, self._lose, error)

    def _wait_to_write(self, unsent: int) -> None:
        loop = self._loop
        if not self._waiting_to_write and loop is not None:
            self._waiting_to_write = True
            loop.add_writer(self._write_fd, self._write)
        if unsent > self._max_unsent:
            if self._pauses:
                self._pause()
            if self._drained is None and loop is not None:
                self._drained = loop.create_future()
        elif self._drained is not None:
            self._release_drained()

    def _all_written(self) -> None:
        self._waiting_to_write = False
        if self._loop is not None:
            self._loop.remove_writer(self._write_fd)
        self._release_drained()
        if self._closing:
            self._lose(None)

    def _release_drained(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None
            if not self._closing:
                self._resume()

    async def drain(self) -> None:
        """Wait until less than ``max_unsent_bytes`` is unsent."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    # -- the end

    def close(self) -> None:
        """End the connection after what is unsent has been written, or the peer takes none of it for `LINGER_S`."""
        if self._closing:
            return
        self._closing = True
        self._pause()
        if self._loop is None or self._receiver is None:
            self._release_descriptors()
            return
        self.flush()
        if len(self.out) and self._receiver is not None:
            self._linger_on()
        else:
            self._lose_soon(None)

    def _linger_on(self) -> None:
        """Give the peer `LINGER_S` seconds from now."""
        if self._linger is not None:
            self._linger.cancel()
        if self._loop is not None:
            self._linger = self._loop.call_later(LINGER_S, self._lose, None)

    def _lose_soon(self, error: TransportError | None) -> None:
        """End in the next turn of the loop: no callback comes from within `flush`."""
        if self._loop is not None:
            self._loop.call_soon(self._lose, error)

    def _lose(self, error: TransportError | None) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        self._closing = True
        self._pause()
        if self._waiting_to_write and self._loop is not None:
            self._loop.remove_writer(self._write_fd)
            self._waiting_to_write = False
        if self._linger is not None:
            self._linger.cancel()
        self._may_read.set()  # the thread sees that we are closing
        self._release_descriptors()
        self._release_drained()
        receiver.connection_lost(error or self._broken)
        self._finish_close()

    def _finish_close(self) -> None:
        """Tell `wait_closed` that all is released; a transport that owns more does so when that is done."""
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _release_descriptors(self) -> None:
        for fd in dict.fromkeys((self._read_fd, self._write_fd)):
            with contextlib.suppress(OSError):  # already closed by its owner
                os.set_blocking(fd, self._was_blocking[fd])
                os.close(fd)

    async def wait_closed(self) -> None:
        """Wait until the descriptors are released."""
        if self._closed is not None:
            await asyncio.shield(self._closed)


def _can_poll(fd: int) -> bool:
    """Whether readiness of ``fd`` can be awaited: regular files and Windows pipes cannot."""
    if sys.platform == "win32":
        return False
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
