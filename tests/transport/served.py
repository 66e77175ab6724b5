"""A server as a process of its own, spoken to over real sockets."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from transport.asgi import HEADERS, body_of

SERVER = """
import asyncio, os, sys, time
from contextlib import asynccontextmanager
from taut import Context, Server
from taut.models import ElicitResult

def say(*words):
    os.write(2, (" ".join(map(str, words)) + "\\n").encode())

@asynccontextmanager
async def lifespan(app):
    if os.path.exists("broken"):
        raise RuntimeError("the database is away")
    say("entered", os.getpid())
    yield
    say("left", os.getpid())

app = Server("example", lifespan=lifespan)

@app.tool
def add(a: int, b: int) -> int:
    return a + b

@app.tool
def pid() -> int:
    return os.getpid()

@app.tool
async def count(to: int, ctx: Context) -> str:
    for number in range(1, to + 1):
        await ctx.progress(number, to)
    return "counted"

@app.tool
async def wait(seconds: float) -> int:
    say("waiting", os.getpid())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        say("cancelled", os.getpid())
        raise
    return os.getpid()

@app.tool
def block(seconds: float) -> str:
    say("blocking", os.getpid())
    time.sleep(seconds)
    return "done"

@app.tool
def die() -> str:
    os._exit(7)

@app.tool
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("Your name?", {"type": "object", "properties": {"name": {"type": "string"}}})
    return f"{answer.content['name']} {os.getpid()}"

if __name__ == "__main__":
    app.run("http")
"""
#: Seconds for what takes milliseconds.
PATIENCE_S = 20.0


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(self._path)


class Child:
    """A server process that says on stderr or stdout, within a line that matches ``pattern``, where it serves."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        pattern: str,
        *,
        env: Mapping[str, str] | None = None,
        fds: tuple[int, ...] = (),
    ) -> None:
        self.child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            pass_fds=fds,
        )
        #: What it has said so far.
        self.said: list[str] = []
        self._open: list[http.client.HTTPConnection] = []
        self.url = ""
        if found := self.hear(pattern):
            self.url = found[1]

    def hear(self, pattern: str) -> re.Match[str] | None:
        """Read what it says up to a line with ``pattern``; None at the end of all."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        return None

    def must_hear(self, pattern: str) -> str:
        """Return the first group of ``pattern``, or all that it matches, once it was said."""
        found = self.hear(pattern)
        assert found is not None, "".join(self.said)
        return found[found.re.groups and 1]

    def entered(self, count: int) -> list[int]:
        """Return the processes that have entered the lifespan, once there are ``count`` of them."""
        while len(found := re.findall(r"^entered (\d+)", "".join(self.said), re.MULTILINE)) < count:
            self.must_hear("entered")
        return [int(pid) for pid in found]

    @property
    def port(self) -> int:
        found = re.search(r"\w:(\d+)", self.url)
        assert found is not None, "".join(self.said)
        return int(found[1])

    def connect(self, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """Return a connection of its own; a new one is what other workers may get."""
        made: http.client.HTTPConnection
        if unix := re.fullmatch(r"http://unix:(.*):/mcp", self.url):
            made = Unix(unix[1])
        elif tls is not None:
            made = http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE_S, context=tls)
        else:
            made = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self._open.append(made)
        return made

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Send it a signal, wait for its end, and return all that it has said."""
        self.child.send_signal(number)
        return self.end()

    def end(self) -> str:
        """Wait for its end, and return all that it has said."""
        assert self.child.stdout is not None
        self.said += self.child.stdout
        self.child.wait(PATIENCE_S)
        return "".join(self.said)

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self.child.kill()
        self.child.wait(PATIENCE_S)
        assert self.child.stdout is not None
        self.child.stdout.close()


class Served(Child):
    """``taut serve`` with further words of its command line, ready for clients."""

    def __init__(self, folder: Path, *words: str, **options: Any) -> None:
        (folder / "server.py").write_text(SERVER)
        where = () if {"--uds", "--fd", "--http"} & set(words) else ("--http", "127.0.0.1:0")
        command = [sys.executable, "-m", "taut", "serve", "server.py", *where, *words]
        super().__init__(folder, command, r"taut: example at (\S+);", **options)


@contextmanager
def serving(folder: Path, *words: str, **options: Any) -> Iterator[Served]:
    """Run a server until the block ends."""
    served = Served(folder, *words, **options)
    try:
        yield served
    finally:
        served.close()


def send(
    connection: http.client.HTTPConnection,
    method: str,
    params: dict[str, Any],
    *,
    chunked: bool = False,
    path: str = "/mcp",
    **meta: Any,
) -> None:
    """Send a request of the modern era."""
    headers = {name: value for name, value in HEADERS.items() if name != "host"} | {"mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    body = body_of(method, params, **meta)
    data = iter([body[:9], body[9:]]) if chunked else body
    connection.request("POST", path, data, headers, encode_chunked=chunked)


def post(
    connection: http.client.HTTPConnection, method: str, params: dict[str, Any], **options: Any
) -> http.client.HTTPResponse:
    """Send a request of the modern era and return its response, which is still to be read."""
    send(connection, method, params, **options)
    return connection.getresponse()


def call(connection: http.client.HTTPConnection, tool: str, *, path: str = "/mcp", **arguments: Any) -> Any:
    """Call a tool and return its result."""
    with post(connection, "tools/call", {"name": tool, "arguments": arguments}, path=path) as response:
        return result_of(response)


def result_of(response: http.client.HTTPResponse) -> Any:
    """Return the structured result, or else the text, of a tool's whole answer."""
    body = response.read()
    assert response.status == 200, body
    message = msgspec.json.decode(body)
    assert "result" in message, message
    result = message["result"]
    structured = result.get("structuredContent")
    return result["content"][0]["text"] if structured is None else structured["result"]
