"""A neutral load generator for one MCP server over stdio.

It knows bytes only: frames are encoded before the clock starts, replies are counted by their newlines while
it runs and are decoded and checked afterwards, so that neither a wrong answer nor the generator's own work
counts in anybody's favour. The server is pinned to one core and this process to another. Linux only.
"""

import contextlib
import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

CHUNK = 1 << 20
NEWLINE = 0x0A
WINDOW = 64
CPUCLOCK_SCHED = 2

LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT = {"name": "bench", "version": "1.0"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": CLIENT,
}


class BenchmarkError(Exception):
    """The server died, was silent, or answered something that it should not have answered."""


@dataclass(frozen=True)
class Cores:
    """Where the server and the driver run; the same set for both on a machine with one core."""

    server: set[int]
    driver: set[int]

    @classmethod
    def choose(cls) -> "Cores":
        usable = sorted(os.sched_getaffinity(0))
        return cls({usable[-1]}, {usable[0]})


def frame(id: int, method: str, params: Mapping[str, object], *, revision: str) -> bytes:
    """Encode one request as a line, with the metadata that the modern era wants in each."""
    if revision == MODERN:
        params = {**params, "_meta": META}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + b"\n"


class Frames:
    """A run of encoded requests, and what is known of each for checking its answer."""

    def __init__(self, frames: Sequence[bytes], *, first_id: int) -> None:
        self.first_id = first_id
        self.count = len(frames)
        self.ends = [0]
        for item in frames:
            self.ends.append(self.ends[-1] + len(item))
        self.blob = memoryview(b"".join(frames))

    def __getitem__(self, part: slice) -> memoryview:
        return self.blob[self.ends[part.start] : self.ends[part.stop]]


class Text(msgspec.Struct):
    text: str = ""


class CallResult(msgspec.Struct):
    content: list[Text] = []
    isError: bool = False


class Reply(msgspec.Struct):
    id: int = -1
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


decode_reply = msgspec.json.Decoder(Reply).decode
decode_call_result = msgspec.json.Decoder(CallResult).decode


def check(replies: bytes, frames: Frames, accepts: Callable[[int, str], bool] | None) -> None:
    """Raise unless each frame has one reply, in any order, and `accepts(id, text)` holds for each."""
    seen: set[int] = set()
    for line in replies.splitlines():
        reply = decode_reply(line)
        if not frames.first_id <= reply.id < frames.first_id + frames.count or reply.id in seen:
            raise BenchmarkError(f"Expected one reply for each request, got {line[:200]!r}")
        seen.add(reply.id)
        if reply.error or not reply.result:
            raise BenchmarkError(f"Expected a result, got {line[:200]!r}")
        if accepts is not None:
            result = decode_call_result(reply.result)
            if result.isError or len(result.content) != 1 or not accepts(reply.id, result.content[0].text):
                raise BenchmarkError(f"Wrong answer to request {reply.id}: {line[:200]!r}")
    if len(seen) != frames.count:
        raise BenchmarkError(f"Expected {frames.count} replies, got {len(seen)}")


class ServerProcess:
    """A server under load. Use it as a context manager: it never outlives the block."""

    def __init__(
        self, command: list[str], *, cores: Cores, environment: Mapping[str, str], cwd: Path
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        # The child inherits the affinity: no code runs between fork and exec.
        os.sched_setaffinity(0, cores.server)
        try:
            self.started_ns = time.perf_counter_ns()
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, **environment},
                cwd=cwd,
            )
        finally:
            os.sched_setaffinity(0, cores.driver)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._scratch = bytearray()
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        # The clock of all threads of one process, in nanoseconds (what clock_getcpuclockid computes).
        self._cpu_clock = (~self._process.pid << 3) | CPUCLOCK_SCHED

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def cpu_ns(self) -> int:
        """CPU time of the process so far, user and system, all threads."""
        return time.clock_gettime_ns(self._cpu_clock)

    def memory_mb(self, field: str) -> float:
        """``VmRSS`` (now) or ``VmHWM`` (the peak), in MB of 10^6 bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith(field + ":"))
        return int(kilobytes) * 1024 / 1e6

    def write(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._in, data)
        except BrokenPipeError as error:
            raise self._closed("input") from error

    def send(self, data: bytes | memoryview) -> None:
        while data:
            data = data[self.write(data) :]

    def read(self) -> bytes:
        data = os.read(self._out, CHUNK)
        if not data:
            raise self._closed("output")
        return data

    def _closed(self, what: str) -> BenchmarkError:
        self._stderr.seek(0)
        tail = self._stderr.read().decode(errors="replace").strip().splitlines()[-3:]
        words = "Its last words: " + " / ".join(tail) if tail else "It said nothing on stderr."
        return BenchmarkError(f"The server closed its {what}. {words}")

    @contextlib.contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Kill the server when the block takes longer: reading from it then ends in an error."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            yield
        except BenchmarkError as error:
            if timer.finished.is_set():
                raise BenchmarkError(f"No complete answer within {seconds} s") from error
            raise
        finally:
            timer.cancel()

    def request(self, data: bytes) -> bytes:
        """Send one small frame, return the one line that answers it."""
        self.send(data)
        chunks = [self.read()]
        while not chunks[-1].endswith(b"\n"):
            chunks.append(self.read())
        return b"".join(chunks)

    def handshake(self, revision: str) -> float:
        """Open the connection in the era of a revision; return milliseconds since the process was started."""
        if revision == MODERN:
            reply = self.request(frame(0, "server/discover", {}, revision=revision))
        else:
            params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": CLIENT}
            reply = self.request(frame(0, "initialize", params, revision=revision))
        elapsed_ms = (time.perf_counter_ns() - self.started_ns) / 1e6
        if b'"result"' not in reply:
            raise BenchmarkError(f"Expected a handshake, got {reply[:300]!r}")
        if revision != MODERN:
            self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        return elapsed_ms

    def sequential(self, frames: Frames) -> tuple[bytes, list[int]]:
        """Send each frame when the one before is answered; return all replies and the times in ns."""
        clock, read, send = time.perf_counter_ns, self.read, self.send
        times, replies = [], []
        for index in range(frames.count):
            data = frames[index : index + 1]
            start = clock()
            send(data)
            reply = read()
            while not reply.endswith(b"\n"):
                reply += read()
            times.append(clock() - start)
            replies.append(reply)
        return b"".join(replies), times

    def pipelined(self, frames: Frames, *, window: int = WINDOW) -> bytes:
        """Keep `window` frames in flight until all are answered; return all replies."""
        read, send = self.read, self.send
        sent = min(window, frames.count)
        answered = 0
        replies = []
        send(frames[0:sent])
        while answered < frames.count:
            reply = read()
            replies.append(reply)
            done = reply.count(b"\n")
            answered += done
            more = min(done, frames.count - sent)
            if more:
                send(frames[sent : sent + more])
                sent += more
        return b"".join(replies)

    def exchange(self, data: bytes) -> memoryview:
        """Send one frame of any size and return its answer, reading while writing.

        The answer is read into memory that the next call uses again, so that the driver's own page faults are
        those of the first call only.
        """
        rest = memoryview(data)
        # Room for a server that returns the text twice, as content and as structured content.
        if len(self._scratch) < 2 * len(data) + CHUNK:
            self._scratch = bytearray(2 * len(data) + CHUNK)
        space, size = memoryview(self._scratch), 0
        poller = select.poll()
        poller.register(self._in, select.POLLOUT)
        poller.register(self._out, select.POLLIN)
        os.set_blocking(self._in, False)
        try:
            while not size or space[size - 1] != NEWLINE:
                for descriptor, _ in poller.poll():
                    if descriptor == self._in:
                        rest = rest[self.write(rest) :]
                        if not rest:
                            poller.unregister(self._in)
                    elif (count := os.readv(self._out, [space[size:]])) > 0:
                        size += count
                    else:
                        raise self._closed("output")
        finally:
            os.set_blocking(self._in, True)
        return space[:size]
