"""Several processes that serve on one socket, and the parent that keeps them.

The parent listens, forks, and serves nobody: it never runs an event loop or a thread, so it can fork at any time. A
worker that dies is started again, later and later when it dies at once again and again, and at last not any more:
then everything ends. SIGTERM and SIGINT end all workers gracefully; one that takes longer than its graces is killed.
SIGHUP replaces them one by one: a new one is ready before the old one stops, so that nothing is lost. What waits to
be accepted waits at the socket, which is never closed in between.

No worker outlives its parent: on Linux the kernel ends it, and everywhere it sees a pipe close.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn, final

from taut.errors import ConfigError, TransportError
from taut.transport.http.accepting import Board
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.options import HttpOptions
from taut.transport.http.server import END_S, HttpServer
from taut.transport.http.tls import server_context
from taut.transport.process import describe_status, die_with

__all__ = ["Crashes", "supervise"]

logger = logging.getLogger("taut")

#: A worker that lives for less than this many seconds died at once.
AT_ONCE_S = 2.0
#: Deaths at once, in a row, after which it is given up.
MAX_CRASHES = 6
#: Seconds to wait after the second such death; each time twice as many.
FIRST_DELAY_S = 0.1
#: Seconds past all its graces until a worker that should end is killed.
KILL_S = 0.5

Ready = Callable[[], object]
Work = Callable[["Link"], None]


def supervise(app: AsgiApp, options: HttpOptions, listening: socket.socket, on_ready: Ready) -> int:
    """Serve ``app`` in ``options.workers`` processes until a signal comes; return which.

    :raises taut.errors.ConfigError: the platform cannot fork, threads or an event loop run already, or no worker
        became ready.
    :raises taut.errors.TransportError: workers died at once again and again.
    """
    _check_can_fork(options.workers)

    def work(link: Link) -> None:
        # Read anew in each worker: certificates change.
        server = HttpServer(
            app,
            options,
            listening,
            server_context(options),
            on_ready=lambda: link.on_ready(server),
            board=link.board,
            place=link.place,
            stop_signals=(signal.SIGTERM,),
        )
        server.serve_until_signal()

    parent = _Parent(options.workers, work, on_ready, listening, end_s=options.grace_s + END_S + KILL_S)
    return parent.run()


def _check_can_fork(workers: int) -> None:
    if not hasattr(os, "fork"):
        raise ConfigError(f"workers: this platform cannot fork, so expected 1, got {workers}")
    others = [one.name for one in threading.enumerate() if one is not threading.current_thread()]
    if others:
        raise ConfigError(
            f"workers: expected no thread before the workers start, got {', '.join(others)}; start it in the lifespan"
        )
    if asyncio._get_running_loop() is not None:
        raise ConfigError("workers: expected no running event loop, got one; call run() outside of it")


class Crashes:
    """Says how long to wait before a worker that died is started again."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def delay_after(self, lived_s: float) -> float | None:
        """Return the seconds to wait after a death; None to give up."""
        self._in_a_row = self._in_a_row + 1 if lived_s < AT_ONCE_S else 0
        if self._in_a_row >= MAX_CRASHES:
            return None
        return 0.0 if self._in_a_row < 2 else FIRST_DELAY_S * 2 ** (self._in_a_row - 2)


@final
class Link:
    """What a worker has of its parent."""

    def __init__(self, board: Board, place: int, ready: int, life: int) -> None:
        self.board = board
        self.place = place
        self._ready = ready
        self._life = life

    def on_ready(self, server: HttpServer) -> None:
        """Tell the parent that clients can be served; from then on watch whether it lives."""
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(self._life)
            server.stop(signal.SIGTERM)

        loop.add_reader(self._life, orphaned)
        os.write(self._ready, b"!")
        os.close(self._ready)


@final
class _Worker:
    """A child process, as its parent knows it."""

    def __init__(self, pid: int, place: int, ready_fd: int, replaces: _Worker | None) -> None:
        self.pid = pid
        self.place = place
        self.ready_fd = ready_fd
        self.started_at = time.monotonic()
        self.ready = False
        #: Whom to end once this one is ready.
        self.replaces = replaces
        #: When it is killed; None while it shall live.
        self.kill_at: float | None = None

    def stop(self, end_s: float) -> None:
        if self.kill_at is None:
            self.kill_at = time.monotonic() + end_s
            self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # a child that is gone and waited for
            os.kill(self.pid, number)


@final
class _Parent:
    """Keeps ``count`` workers until a signal comes."""

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

    def __init__(
        self, count: int, work: Work, on_ready: Ready, listening: socket.socket, *, end_s: float
    ) -> None:
        self._count = count
        self._work = work
        self._on_ready: Ready | None = on_ready
        self._listening = listening
        self._end_s = end_s
        # One is ready before the one that it replaces has stopped.
        self._board = Board(count + 1)
        self._workers: list[_Worker] = []
        self._crashes = Crashes()
        #: When to start a worker in the place of one that died.
        self._due: list[float] = []
        self._to_replace: collections.deque[_Worker] = collections.deque()
        self._signals: list[int] = []
        self._ending = 0
        self._failure: ConfigError | TransportError | None = None
        self._terminal = _has_terminal()

    def run(self) -> int:
        """Serve until a signal comes and all workers have ended; return the signal."""
        # What is there now is shared with the workers for as long as nobody touches it: the collector shall not.
        gc.collect()
        gc.freeze()
        with self._handling_signals():
            try:
                self._due = [0.0] * self._count
                while self._workers or not self._over:
                    self._step()
            finally:
                self._kill_all()
                gc.unfreeze()
        if self._failure is not None:
            raise self._failure
        return self._ending

    @property
    def _over(self) -> bool:
        return bool(self._ending) or self._failure is not None

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        self._life = os.pipe()
        self._wakeup = os.pipe()
        for fd in self._wakeup:
            os.set_blocking(fd, False)
        previous_fd = signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        previous = {
            number: signal.signal(number, lambda number, frame: self._signals.append(number))
            for number in self._SIGNALS
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            for fd in (*self._life, *self._wakeup):
                os.close(fd)

    # -- one turn

    def _step(self) -> None:
        now = time.monotonic()
        if not self._over:
            for at in [at for at in self._due if at <= now]:
                self._due.remove(at)
                self._start(None)
            self._replace_next()
        self._wait()
        self._reap()
        signals, self._signals = self._signals, []
        for number in signals:
            self._on_signal(number)
        now = time.monotonic()
        for worker in self._workers:
            if worker.kill_at is not None and worker.kill_at <= now:
                worker.kill_at = now + self._end_s
                logger.warning("Worker %d did not end in time and is killed", worker.pid)
                worker.signal(signal.SIGKILL)

    def _wait(self) -> None:
        """Sleep until a signal comes, a worker is ready, or something is due."""
        starting = {worker.ready_fd: worker for worker in self._workers if not worker.ready}
        poll = select.poll()
        for fd in (self._wakeup[0], *starting):
            poll.register(fd, select.POLLIN)
        moments = [worker.kill_at for worker in self._workers if worker.kill_at is not None]
        if not self._over:
            moments += self._due
        left_s = min(moments) - time.monotonic() if moments else None
        for fd, _events in poll.poll(None if left_s is None else max(0.0, left_s * 1000 + 1)):
            if fd not in starting:
                os.read(fd, 4096)
            elif os.read(fd, 1):
                self._on_worker_ready(starting[fd])
        # One that closed its end unready is about to be reaped.

    def _on_worker_ready(self, worker: _Worker) -> None:
        worker.ready = True
        os.close(worker.ready_fd)
        if worker.replaces is not None:
            worker.replaces.stop(self._end_s)
            worker.replaces = None
        if self._on_ready is not None:
            on_ready, self._on_ready = self._on_ready, None
            on_ready()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        if number == signal.SIGHUP and not (self._terminal and not _has_terminal()):
            if not self._over:
                being_replaced = {id(worker.replaces) for worker in self._workers}
                self._to_replace = collections.deque(
                    worker
                    for worker in self._workers
                    if worker.kill_at is None and id(worker) not in being_replaced
                )
            return
        if self._ending and number == signal.SIGINT:  # impatience
            for worker in self._workers:
                worker.kill_at = 0.0
        elif not self._over:
            self._ending = number
            self._stop_all()

    def _stop_all(self) -> None:
        # Without ours, the socket goes with the last worker, which empties its queue first.
        self._listening.close()
        for worker in self._workers:
            worker.stop(self._end_s)

    # -- workers

    def _replace_next(self) -> None:
        """Start the next replacement, when the one before is complete."""
        if any(worker.replaces is not None or worker.kill_at is not None for worker in self._workers):
            return
        while self._to_replace:
            old = self._to_replace.popleft()
            if old in self._workers:
                self._start(old)
                return

    def _reap(self) -> None:
        for worker in list(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._forget(worker)
                self._on_death(worker, describe_status(os.waitstatus_to_exitcode(status)))

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._board.leave(worker.place)
        if not worker.ready:
            os.close(worker.ready_fd)

    def _on_death(self, worker: _Worker, how: str) -> None:
        if worker.kill_at is not None:
            return
        if self._on_ready is not None:
            self._fail(ConfigError(f"A worker {how} before any was ready"))
            return
        if worker.replaces is not None:
            logger.error(
                "The replacement of worker %d %s before it was ready: no worker is replaced",
                worker.replaces.pid,
                how,
            )
            self._to_replace.clear()
            return
        for other in self._workers:
            if other.replaces is worker:
                other.replaces = None  # it is in its place now
                logger.warning("Worker %d %s while it was being replaced", worker.pid, how)
                return
        self._start_later(f"Worker {worker.pid} {how}", time.monotonic() - worker.started_at)

    def _start_later(self, why: str, lived_s: float) -> None:
        delay_s = self._crashes.delay_after(lived_s)
        if delay_s is None:
            self._fail(TransportError(f"{why}, at once, as others before; gave up after {MAX_CRASHES}"))
            return
        logger.warning("%s; another is started in %g s", why, delay_s)
        self._due.append(time.monotonic() + delay_s)

    def _fail(self, error: ConfigError | TransportError) -> None:
        self._failure = error
        self._stop_all()

    def _kill_all(self) -> None:
        """Leave nobody behind, whatever ended us."""
        for worker in self._workers:
            worker.signal(signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # it was waited for already
                os.waitpid(worker.pid, 0)

    def _start(self, replaces: _Worker | None) -> None:
        place = self._board.free_place()
        ready, tell_ready = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        parent = os.getpid()
        # No signal may find our handlers in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(parent, Link(self._board, place, tell_ready, self._life[0]), ready, before)
        except OSError as error:
            os.close(ready)
            self._board.leave(place)
            if replaces is None:
                self._start_later(f"A worker cannot be started: {error}", 0.0)
            return
        finally:
            os.close(tell_ready)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._workers.append(_Worker(pid, place, ready, replaces))

    def _be_worker(self, parent: int, link: Link, ready: int, mask: set[int | signal.Signals]) -> NoReturn:
        """Serve, in the child; nothing of what the parent would do at its end happens here."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # They reach the whole group of a terminal; what they mean for a worker is for the parent to say.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for fd in (*self._wakeup, self._life[1], ready):
                os.close(fd)
            for worker in self._workers:
                if not worker.ready:
                    os.close(worker.ready_fd)
            die_with(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._work(link)
            status = 0
        except BaseException:  # the end of a process: said, and visible in its status
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):  # nobody reads us any more
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)


def _has_terminal() -> bool:
    """Whether a terminal controls this process: one that was closed does not any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
