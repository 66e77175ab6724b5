"""A server process over HTTP, from the command line to its end."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taut import Server
from taut.errors import ConfigError
from taut.transport.http.listening import Listening, listen
from transport.asgi import HEADERS, body_of

SERVER = """
from taut import Context, Server

app = Server("example")

@app.tool
def add(a: int, b: int) -> int:
    return a + b

@app.tool
async def count(to: int, ctx: Context) -> str:
    for number in range(1, to + 1):
        await ctx.progress(number, to)
    return "counted"

app.run("http")
"""
#: Seconds for what takes milliseconds.
PATIENCE_S = 20


class Process:
    """``taut serve`` on a port that the system chose."""

    def __init__(self, path: Path) -> None:
        words = [sys.executable, "-m", "taut", "serve", str(path), "--http", "127.0.0.1:0"]
        self.child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.child.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", self.child.stderr.readline())
        assert found is not None
        self.connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE_S)

    def post(
        self, method: str, params: dict[str, Any], *, chunked: bool = False, **meta: Any
    ) -> http.client.HTTPResponse:
        headers = {name: value for name, value in HEADERS.items() if name != "host"} | {"mcp-method": method}
        if "name" in params:
            headers["mcp-name"] = params["name"]
        body = body_of(method, params, **meta)
        self.connection.request(
            "POST", "/mcp", iter([body[:9], body[9:]]) if chunked else body, headers, encode_chunked=chunked
        )
        return self.connection.getresponse()

    def stop(self, number: int) -> str:
        self.child.send_signal(number)
        _, err = self.child.communicate(timeout=PATIENCE_S)
        return err


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    process = Process(path)
    yield process
    process.connection.close()
    if process.child.returncode is None:
        process.stop(signal.SIGKILL)


class TestProcess:
    def test_one_connection_carries_many_requests(self, process: Process) -> None:
        for number in range(3):
            arguments = {"name": "add", "arguments": {"a": number, "b": 1}}
            response = process.post("tools/call", arguments, chunked=number == 1)
            assert response.status == 200
            message = msgspec.json.decode(response.read())
            assert message["result"]["structuredContent"] == {"result": number + 1}

    def test_a_stream_ends_with_its_answer(self, process: Process) -> None:
        response = process.post("tools/call", {"name": "count", "arguments": {"to": 3}}, progressToken=1)
        assert response.headers["content-type"] == "text/event-stream"
        events = response.read().split(b"\n\n")
        assert [b"notifications/progress" in event for event in events] == [True, True, True, False, False]
        assert b"counted" in events[3]

    def test_a_name_from_elsewhere_is_refused(self, process: Process) -> None:
        process.connection.request("POST", "/mcp", b"", {"Host": "evil.example"})
        assert process.connection.getresponse().status == 403

    def test_a_signal_ends_open_streams_with_their_result_and_the_process(self, process: Process) -> None:
        response = process.post("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=9)
        assert b"acknowledged" in response.readline() + response.readline()
        err = process.stop(signal.SIGTERM)
        assert b'"id":9' in response.read()
        assert process.child.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in err


class TestListening:
    def test_a_port_that_is_taken_is_told(self) -> None:
        with listen("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
            assert Listening(taken).url("/x") == f"http://127.0.0.1:{port}/x"
            with pytest.raises(ConfigError, match=f"Cannot listen at 127.0.0.1 port {port}"):
                Server("s").run("http", port=port)

    def test_a_port_that_is_none_is_told(self) -> None:
        with pytest.raises(ConfigError, match="port: expected 0 to 65535, got 70000"):
            Server("s").run("http", port=70_000)

    @pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
    def test_an_address_of_the_sixth_version_is_bracketed(self) -> None:
        try:
            listening = listen("::1", 0)
        except ConfigError:
            pytest.skip("no IPv6 loopback")
        with listening:
            assert Listening(listening).url("/mcp").startswith("http://[::1]:")

    def test_an_unknown_transport_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="'stdio' or 'http', got 'carrier pigeon'"):
            Server("s").run("carrier pigeon")
