"""How the tests of the command line run it: in this process, in a child, or in a child at a terminal."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from taut.cli import main

SERVER = """
from typing import Literal

import msgspec
from taut import Context, Image, Server, ToolError, models

app = Server("example", "1.5", instructions="Be kind.")

@app.tool(annotations=models.ToolAnnotations(read_only_hint=True))
def add(a: int, b: int = 1) -> int:
    "Add two numbers."
    return a + b

@app.tool
def echo(text: str) -> str:
    return text

@app.tool
def describe(anything: list[int] | None = None) -> dict[str, list[int]]:
    return {"got": anything or []}

@app.tool
def fail(why: str) -> str:
    raise ToolError(why)

@app.tool
def picture() -> list[str | Image]:
    return ["a picture", Image(b"pixels", mime_type="image/png")]

@app.tool
async def count(ctx: Context, to: int) -> str:
    for number in range(1, to + 1):
        await ctx.progress(number, to, "counting")
    ctx.info("counted")
    return "done"

class Guest(msgspec.Struct):
    name: str
    age: int
    meal: Literal["fish", "soup"] = "soup"

@app.tool
async def greet(ctx: Context) -> str:
    answer = await ctx.elicit("Who are you?", Guest)
    return f"{answer.action}: {answer.content}"

@app.tool
async def hang(ctx: Context) -> str:
    import asyncio
    await asyncio.get_running_loop().create_future()

@app.resource("mem://motto", mime_type="text/plain")
def motto() -> str:
    "What we live by."
    return "Less."

@app.resource("mem://note/{name}")
def note(name: str) -> str:
    return name

@app.prompt
def review(code: str, tone: str = "kind") -> str:
    "Ask for a review."
    return code

app.run()
"""


class Outcome(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


Taut = Callable[..., Outcome]


@pytest.fixture
def server(tmp_path: Path) -> str:
    """The path of a file with a server, that ends in an unguarded ``app.run()``."""
    path = tmp_path / "example.py"
    path.write_text(SERVER)
    return str(path)


@pytest.fixture
def taut(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Taut:
    """Run ``taut`` in this process, with an empty stdin that is no terminal."""

    def run(*words: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = main(words)
        return Outcome(int(status), *capfd.readouterr())

    return run


def run_child(*words: str, stdin: str = "", cwd: str | None = None) -> Outcome:
    """Run ``python -m taut`` in a child process."""
    done = subprocess.run(
        [sys.executable, "-m", "taut", *words],
        input=stdin,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A child process of which this is the terminal."""

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        import pty  # not on every platform

        self._seen = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.environ.update({"TERM": "xterm-256color", "COLUMNS": "100"}, **environment)
            os.execv(sys.executable, [sys.executable, "-m", "taut", *words])

    def wait_for(self, text: str) -> None:
        """Read until ``text`` appeared, then forget what was read."""
        deadline = time.monotonic() + 20
        while text.encode() not in self._seen:
            assert time.monotonic() < deadline, f"{text!r} did not appear after {self._seen!r}"
            assert self._read(), f"the command ended before {text!r}: {self._seen!r}"
        self._seen = self._seen.partition(text.encode())[2]

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end(self) -> tuple[int, str]:
        """Return the exit status and what was shown since `wait_for`."""
        while self._read():
            pass
        os.close(self._fd)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        return status, self._seen.decode().replace("\r\n", "\n")

    def press(self, key: str, until: str) -> None:
        """Press a key, ^C mostly, and wait for ``until``; once more where nothing comes: Python's line editor loses a
        signal that comes just before it waits for a key.
        """
        for _ in range(3):
            self.type(key)
            while until.encode() not in self._seen and self._read(timeout_s=6):
                pass
            if until.encode() in self._seen:
                break
        self.wait_for(until)

    def _read(self, *, timeout_s: float = 20) -> bool:
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # how Linux reports that the other end is closed
            return False
        self._seen += data
        return bool(data)

    def kill(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


@pytest.fixture
def terminal() -> Any:
    """Run ``taut`` at a terminal."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals here")
    opened: list[Terminal] = []

    def run(*words: str, **environment: str) -> Terminal:
        opened.append(Terminal(words, environment))
        return opened[-1]

    yield run
    for one in opened:
        one.kill()
