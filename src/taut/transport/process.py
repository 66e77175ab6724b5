"""The client's end of stdio: a child process that is the server.

The child leads a process group of its own, its stderr is always drained, and it dies with us:

- closing the connection closes its stdin, waits, then terminates and at last kills the whole group;
- should this process die without a word, the kernel ends the child (Linux), and everywhere it sees its stdin close.

Commands are argument lists and never pass through a shell.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taut.errors import ConfigError, ConnectionClosed, TransportError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.base import Receiver
from taut.transport.pipe import PipeTransport

__all__ = ["ProcessTransport", "StderrSink", "describe_status", "die_with"]

#: Receives each line that the child writes to stderr, without its end of line.
StderrSink = Callable[[str], None]

#: Seconds that a child gets to exit after its stdin is closed, and again after SIGTERM.
EXIT_S = 2.0
#: Seconds that a child which closed its stdout gets to exit before the end is reported without its exit status.
STATUS_S = 0.5
#: Lines of stderr that an error message quotes.
TAIL_LINES = 20
MAX_LINE = 8192
PR_SET_PDEATHSIG = 1


class ProcessTransport(PipeTransport):
    """Starts ``command`` and talks to its stdin and stdout.

    :param stderr: gets each line of the child's stderr; None passes them on to our own stderr.
    :param env: the child's whole environment; None for a copy of ours.
    :raises taut.errors.ConfigError: the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stderr: StderrSink | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if isinstance(command, str) or not command:
            raise ConfigError(f"Expected a command as a list of arguments, got {command!r}")
        self.command = list(command)
        self._process = self._spawn(env, cwd)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        out, into = _take(self._process.stdout), _take(self._process.stdin)
        super().__init__(out, into, limits=limits, pauses=False)
        self._stderr = _Stderr(_take(self._process.stderr), stderr)
        self._exit_fd: int | None = None
        self._exited: asyncio.Future[None] | None = None
        self._status_timer: asyncio.TimerHandle | None = None
        self._left = False
        self._reaper: asyncio.Task[None] | None = None

    def _spawn(self, env: Mapping[str, str] | None, cwd: str | None) -> subprocess.Popen[bytes]:
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            options["start_new_session"] = True
            if sys.platform == "linux":
                options["preexec_fn"] = _dying_with(os.getpid())
        try:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if env is None else dict(env),
                cwd=cwd,
                bufsize=0,
                **options,
            )
        except OSError as error:
            raise ConfigError(f"Cannot start {self.command[0]!r}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """The child's process id, which is also the id of its group."""
        return self._process.pid

    @property
    def stderr_tail(self) -> list[str]:
        """The last lines that the child wrote to stderr."""
        return list(self._stderr.tail)

    # -- running

    def start(self, receiver: Receiver) -> None:
        """Begin to read stdout, stderr and, where the platform can, the child's end."""
        super().start(receiver)
        loop = asyncio.get_running_loop()
        self._exited = loop.create_future()
        self._stderr.start(loop)
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):  # an old kernel: the end of stdout tells
                self._exit_fd = os.pidfd_open(self.pid)
                loop.add_reader(self._exit_fd, self._on_exit)

    def _on_exit(self) -> None:
        """The child is gone, though a grandchild may still hold its stdout open, and write to it."""
        self._stop_watching()
        self._signal_group(_KILL)
        self._process.poll()
        if self._exited is not None and not self._exited.done():
            self._exited.set_result(None)
        while not self._eof and self._receiver is not None and self._on_readable():
            pass
        self._end_of_input()

    def _end_of_input(self) -> None:
        """The child closed its stdout: as a rule a moment before it exits, and how it does is worth that moment."""
        if self._eof or self._closing or self._receiver is None:
            return
        if self._exit_fd is not None and self._process.poll() is None:
            self._pause()
            if self._status_timer is None and self._loop is not None:
                self._status_timer = self._loop.call_later(STATUS_S, self._report_end)
        else:
            self._report_end()

    def _report_end(self) -> None:
        self._left = True
        super()._end_of_input()

    def _stop_watching(self) -> None:
        if self._exit_fd is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._exit_fd)
            os.close(self._exit_fd)
            self._exit_fd = None

    def describe_end(self) -> str:
        """Say how the child ended, with the last of its stderr."""
        code = self._process.poll()
        if code is None:
            how = "closed its output" if self._broken is None else "closed its input"
        else:
            how = describe_status(code)
        text = f"The server {' '.join(self.command)!r} {how}"
        tail = "\n".join(self._stderr.tail)
        return f"{text}; its stderr ended with:\n{tail}" if tail else text

    # -- the end

    def close(self) -> None:
        """End the connection and then the child; one that was never talked to is ended at once."""
        if self._loop is None and not self._closing:
            self._signal_group(_KILL)
            self._process.wait()
            self._stderr.close()
        super().close()

    def _lose(self, error: TransportError | None) -> None:
        if self._receiver is None:
            return
        if self._status_timer is not None:
            self._status_timer.cancel()
        if error is not None or self._broken is not None or self._left:
            self._stderr.drain()
            self._process.poll()
            error = ConnectionClosed(self.describe_end())
        super()._lose(error)

    def _finish_close(self) -> None:
        if self._loop is not None and self._reaper is None:
            self._reaper = self._loop.create_task(self._reap())

    async def _reap(self) -> None:
        """Wait for the child, then make sure that its group is gone."""
        try:
            if not await self._exits_within(EXIT_S):
                self._signal_group(signal.SIGTERM)
                if not await self._exits_within(EXIT_S):
                    self._signal_group(_KILL)
                    await self._exits_within(EXIT_S)
        finally:
            self._signal_group(_KILL)
            self._process.poll()
            self._stop_watching()
            self._stderr.close()
            super()._finish_close()

    async def _exits_within(self, seconds: float) -> bool:
        if self._exit_fd is not None and self._exited is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._exited), seconds)
        else:
            step = 0.01
            while self._process.poll() is None and seconds > 0:
                await asyncio.sleep(step)
                seconds -= step
        return self._process.poll() is not None

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in the group
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """End the group at once: for a loop that is going away without `close`."""
        self._signal_group(_KILL)


class _Stderr:
    """Drains the child's stderr, keeps its last lines, and passes every line on."""

    def __init__(self, fd: int, sink: StderrSink | None) -> None:
        os.set_blocking(fd, False)
        self.tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._fd: int | None = fd
        self._sink = sink or _to_own_stderr
        self._partial = b""
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        if self._fd is not None:
            loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        if self._fd is None:
            return
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.close()

    def drain(self) -> None:
        """Read what is there, without waiting."""
        if self._fd is None:
            return
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._fd, 65536):
                self._take(data)

    def _take(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > MAX_LINE:
            lines.append(self._partial)
            self._partial = b""
        for line in lines:
            text = line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r")
            self.tail.append(text)
            self._sink(text)

    def close(self) -> None:
        if self._fd is None:
            return
        self.drain()
        if self._partial:
            self._take(b"\n")
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = None


def _to_own_stderr(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # our stderr is closed: the tail still has the line
        sys.stderr.write(line + "\n")


def _take(stream: Any) -> int:
    """Return a descriptor that is ours alone; the stream object lets go of its own."""
    fd = os.dup(stream.fileno())
    stream.close()
    return fd


def _dying_with(parent: int) -> Callable[[], None]:
    """Return what a child runs before its program, so that the kernel ends it when ``parent`` ends."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_for_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)

    return ask_for_death_signal


def die_with(parent: int) -> None:
    """Have the kernel end this process when ``parent``, which has just forked it, ends; only Linux can."""
    if sys.platform == "linux":
        _dying_with(parent)()


def describe_status(code: int) -> str:
    """Say how a process ended that exited with ``code``, or by the signal ``-code``."""
    return f"exited with status {code}" if code >= 0 else f"was ended by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
