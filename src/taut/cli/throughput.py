"""How many calls a server answers in a second, and what each costs it: the load generator of ``taut demo``.

It knows bytes only. Requests are encoded before the clock starts; while it runs, answers are counted by their
newlines; afterwards every one is decoded and checked. Servers take turns, round by round, so that a busy machine is
busy for all of them, and the median round counts. Where the platform can, server and generator get a core each.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from taut import models
from taut.errors import TransportError

__all__ = ["Rate", "measure"]

#: Calls that wait for their answer at any time; their bytes fit a pipe, so neither side can block the other.
WINDOW = 64
ROUNDS = 5
WARM_UP = 2_000
PATIENCE_S = 20.0
CHUNK = 1 << 20
#: Linux: the clock of all threads of one process is ``~pid << 3 | 2`` (what clock_getcpuclockid returns).
CPUCLOCK_SCHED = 2

_META = msgspec.json.encode(
    {
        "io.modelcontextprotocol/protocolVersion": models.LATEST,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "taut-demo", "version": "1"},
    }
)
_REQUEST = (
    b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":'
    b'{"name":"add","arguments":{"a":%d,"b":7},"_meta":' + _META + b"}}\n"
)


class Rate(msgspec.Struct, frozen=True, rename="camel"):
    """The median of some rounds. ``server_cpu_us`` is CPU time per call, where the platform tells it."""

    calls_per_s: float
    server_cpu_us: float | None


def measure(commands: Mapping[str, Sequence[str]], calls: int) -> dict[str, Rate]:
    """Call ``add`` of each server ``calls`` times a round.

    :raises taut.errors.TransportError: a server ended, hung or answered wrongly.
    """
    with contextlib.ExitStack() as stack:
        core = stack.enter_context(_two_cores())
        servers = {
            name: stack.enter_context(_running(name, command, core)) for name, command in commands.items()
        }
        rounds: dict[str, list[tuple[float, float | None]]] = {name: [] for name in servers}
        first_id = 1
        for count in (min(WARM_UP, calls), *[calls] * ROUNDS):
            for name, server in servers.items():
                rounds[name].append(server.round(first_id, count))
            first_id += count
    return {name: _median(measured[1:]) for name, measured in rounds.items()}


def _median(rounds: list[tuple[float, float | None]]) -> Rate:
    cpu = [one for _, one in rounds if one is not None]
    return Rate(statistics.median(rate for rate, _ in rounds), statistics.median(cpu) if cpu else None)


@contextlib.contextmanager
def _two_cores() -> Iterator[int | None]:
    """Keep this process on one core, and return the one for servers; None where the platform has no say."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        yield max(usable)
    finally:
        os.sched_setaffinity(0, usable)


@contextlib.contextmanager
def _running(name: str, command: Sequence[str], core: int | None) -> Iterator[_Server]:
    """Start a server; it never outlives the block."""
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            yield _Server(name, process)
        finally:
            process.kill()


class _Call(msgspec.Struct):
    """What is checked of an answer."""

    id: int
    result: _Result


class _Result(msgspec.Struct):
    content: list[_Text]


class _Text(msgspec.Struct):
    text: str


class _Server:
    """A server under load."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._name = name
        self._process = process
        self._in = process.stdin.fileno()
        self._out = process.stdout.fileno()

    def round(self, first_id: int, count: int) -> tuple[float, float | None]:
        """Make ``count`` calls; return calls per second and microseconds of the server's CPU per call."""
        frames = [_REQUEST % (number, number) for number in range(first_id, first_id + count)]
        ends = [0, *itertools.accumulate(map(len, frames))]
        requests = memoryview(b"".join(frames))
        watchdog = threading.Timer(PATIENCE_S, self._process.kill)
        watchdog.start()
        try:
            cpu_ns, start_ns = self._cpu_ns(), time.perf_counter_ns()
            answers = self._exchange(requests, ends)
            elapsed_ns, spent_ns = time.perf_counter_ns() - start_ns, self._cpu_ns()
        finally:
            watchdog.cancel()
        self._check(answers, first_id, count)
        cpu_us = None if cpu_ns is None or spent_ns is None else (spent_ns - cpu_ns) / count / 1e3
        return count / elapsed_ns * 1e9, cpu_us

    def _exchange(self, requests: memoryview, ends: Sequence[int]) -> bytes:
        """Keep a window of calls open until all are answered; call n ends at ``ends[n]``."""
        count = len(ends) - 1
        answers: list[bytes] = []
        sent = answered = 0
        try:
            while answered < count:
                allowed = min(answered + WINDOW, count)
                if sent < allowed:
                    os.write(self._in, requests[ends[sent] : ends[allowed]])
                    sent = allowed
                data = os.read(self._out, CHUNK)
                if not data:
                    raise BrokenPipeError
                answers.append(data)
                answered += data.count(b"\n")
        except BrokenPipeError:
            raise TransportError(
                f"The server {self._name} ended under load, or was silent for {PATIENCE_S:g} s"
            ) from None
        return b"".join(answers)

    def _check(self, answers: bytes, first_id: int, count: int) -> None:
        decode = msgspec.json.Decoder(_Call).decode
        sums = {call.id: call.result.content[0].text for call in map(decode, answers.splitlines())}
        if sums != {number: str(number + 7) for number in range(first_id, first_id + count)}:
            raise TransportError(f"Expected the server {self._name} to answer each call with its sum")

    def _cpu_ns(self) -> int | None:
        if sys.platform != "linux":
            return None
        return time.clock_gettime_ns((~self._process.pid << 3) | CPUCLOCK_SCHED)
