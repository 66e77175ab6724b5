"""Taking connections from a listening socket that other processes may share.

Connections stay for long and workers take them when they are idle, so whoever wakes first could take them all. An
`Acceptor` therefore takes one at a time, and where another worker has fewer it gives that one a moment's start. A
worker whose loop is busy takes none, and one that ends leaves none behind: what waits in the socket's queue is taken
by another, or by itself before it closes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import socket
import ssl
from collections.abc import Callable

__all__ = ["Acceptor", "Board"]

logger = logging.getLogger("taut")

#: Seconds of start that a worker with fewer connections gets.
HEAD_START_S = 0.002
#: Connections taken at once after that.
BATCH = 16
#: Connections taken at most when no more shall come.
LAST = 4096
#: What one writes who takes no connections any more: nobody need wait for it.
NONE_HERE = 1 << 30
#: Seconds to wait when the process or system has no descriptors or memory left.
EXHAUSTED_S = 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Seconds that a client gets for its TLS handshake, and for the end of TLS.
TLS_S = 10.0


class Board:
    """How many connections each process has, in memory that they share: make it before they fork."""

    def __init__(self, places: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * places)).cast("i")

    def free_place(self) -> int:
        """Take a place that is nobody's."""
        place = next(at for at, count in enumerate(self._counts) if not count)
        self._counts[place] = 1
        return place

    def leave(self, place: int) -> None:
        """Give up a place: whoever had it is gone."""
        self._counts[place] = 0

    def write(self, place: int, count: int) -> None:
        """Say that there are ``count`` connections at ``place``."""
        self._counts[place] = count + 1

    def others_have_fewer(self, place: int) -> bool:
        """Whether another process has fewer connections than the one at ``place``."""
        mine = self._counts[place]
        return any(0 < count < mine for count in self._counts)


class Acceptor:
    """Takes connections in the running loop until it is closed.

    :param make: returns the protocol of the next connection.
    :param open_connections: returns how many there are.
    :param board: where the counts of all workers are, and this one's ``place`` there.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
        open_connections: Callable[[], int],
        *,
        tls: ssl.SSLContext | None = None,
        board: Board | None = None,
        place: int = 0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._make = make
        self._open_connections = open_connections
        self._tls = tls
        self._board = board
        self._place = place
        #: Connections whose protocol does not have them yet: TLS shakes hands first.
        self.opening: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop.add_reader(listening, self._on_acceptable)

    def report(self) -> None:
        """Tell the other workers how many connections are here; closed ones are seen only now and then."""
        if self._board is not None and not self._closed:
            self._board.write(self._place, self._open_connections() + len(self.opening))

    def _on_acceptable(self) -> None:
        if self._board is None:
            self._take(BATCH)
            return
        self.report()
        if self._board.others_have_fewer(self._place):
            self._pause(HEAD_START_S)
        else:
            self._take(1)
            self.report()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._waiting = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listening, self._on_acceptable)
        self._take(BATCH)
        self.report()

    def _take(self, count: int) -> None:
        for _ in range(count):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue  # that client went away while it waited
                if not self._closed:
                    logger.warning("Cannot accept connections for now: %s", error)
                    self._pause(EXHAUSTED_S)
                return
            connection.setblocking(False)
            if connection.family != getattr(socket, "AF_UNIX", None):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._open(connection))
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        waits = {} if self._tls is None else {"ssl_handshake_timeout": TLS_S, "ssl_shutdown_timeout": TLS_S}
        try:
            await self._loop.connect_accepted_socket(self._make, connection, ssl=self._tls, **waits)
        except OSError as error:  # the client went away, speaks no TLS, or has not shown what it needs
            connection.close()
            logger.debug("A connection was not opened: %s", error)

    def close(self) -> None:
        """Take what waits already, then no more; the socket is closed too, as far as this process goes."""
        if self._closed:
            return
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._listening)
        if self._board is not None:
            self._board.write(self._place, NONE_HERE)
        self._take(LAST)
        self._listening.close()
