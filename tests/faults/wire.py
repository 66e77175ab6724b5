"""A server process as its raw bytes: what is sent is what arrives, and what it answers is read line by line.

Every wait has a limit, so that a hang is a failure with a message and not a stuck run; no limit is a measurement.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

SERVER = [sys.executable, str(Path(__file__).parent / "tools.py")]
#: Seconds after which a wait is a hang.
PATIENCE_S = 20.0

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Wire:
    """A child process with pipes for stdin and stdout, and a file for stderr."""

    def __init__(
        self,
        command: Sequence[str] = SERVER,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.PIPE,
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **(env or {})},
            bufsize=0,
        )
        self._received = bytearray()
        self._revision: str | None = None
        self._next_id = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                stream.close()

    # -- bytes

    def send(self, data: bytes) -> None:
        """Write ``data`` whole, as slowly as the server takes it."""
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            _wait(self.process.stdin.fileno(), select.POLLOUT, self)
            view = view[os.write(self.process.stdin.fileno(), view[:65536]) :]

    def send_lines(self, *messages: dict[str, Any]) -> None:
        """Write messages in one go."""
        self.send(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def line(self) -> Any:
        """Return the next line, decoded; None at the end of output."""
        raw = self.raw_line()
        return json.loads(raw) if raw else None

    def raw_line(self) -> bytes:
        """Return the next line with its end; nothing at the end of output."""
        assert self.process.stdout is not None
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            _wait(self.process.stdout.fileno(), select.POLLIN, self)
            chunk = os.read(self.process.stdout.fileno(), 1024 * 1024)
            if not chunk:
                assert not self._received, f"The output ends within a line: {bytes(self._received[-200:])!r}"
                return b""
            self._received += chunk
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    # -- messages

    def initialize(self, revision: str = LEGACY) -> None:
        """Open a legacy session."""
        params = {
            "protocolVersion": revision,
            "capabilities": {},
            "clientInfo": {"name": "wire", "version": "0"},
        }
        self.send_lines({"jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params})
        assert self.line()["result"]["protocolVersion"] == revision
        self.send_lines({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._revision = revision

    def request(self, method: str, params: dict[str, Any] | None = None, *, id: Any = None) -> dict[str, Any]:
        """Return a request as the era in use demands it."""
        if id is None:
            self._next_id += 1
            id = 1_000_000 + self._next_id
        members = dict(params or {})
        if self._revision is None:
            members["_meta"] = META
        return {"jsonrpc": "2.0", "id": id, "method": method, "params": members}

    def tool(self, name: str, arguments: dict[str, Any] | None = None, *, id: Any = None) -> dict[str, Any]:
        """Return a call of a tool."""
        return self.request("tools/call", {"name": name, "arguments": arguments or {}}, id=id)

    def ask(self, message: dict[str, Any]) -> Any:
        """Send ``message`` and return the next line, which must be its answer."""
        self.send_lines(message)
        answer = self.line()
        assert answer is not None, self.stderr()
        assert answer["id"] == message["id"]
        return answer

    def call(self, name: str, **arguments: Any) -> Any:
        """Call a tool; return the text of its result."""
        answer = self.ask(self.tool(name, arguments))
        return answer["result"]["content"][0]["text"]

    # -- the end

    def close_input(self) -> None:
        """Say that nothing more will be sent."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def rest(self) -> list[Any]:
        """Return every line until the end of output."""
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
        return lines

    def status(self) -> int:
        """Wait for the end of the process; return its exit status."""
        return self.process.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stderr(self) -> str:
        """Return what the process has written to stderr so far."""
        return os.pread(self._stderr.fileno(), 1 << 26, 0).decode("utf-8", "replace")

    def until_stderr(self, text: str) -> None:
        """Wait until ``text`` is in stderr."""
        until(lambda: text in self.stderr(), f"{text!r} in stderr", self.stderr)


def until(condition: Any, what: str, detail: Any = str) -> None:
    """Wait until ``condition()`` holds: for what the kernel and other processes do in their own time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"Expected {what} within {PATIENCE_S:g} s; {detail()}"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _wait(fd: int, events: int, wire: Wire) -> None:
    poll = select.poll()
    poll.register(fd, events)
    assert poll.poll(PATIENCE_S * 1000), f"The server hangs; its stderr: {wire.stderr()[-2000:]}"
