"""An HTTP server for a long time: after a million calls, and after thousands of clients that misbehave or leave, its
memory and its descriptors are what they were.

The client is a blocking socket of few lines, so that what is measured is the server.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

SERVER = Path(__file__).with_name("soak_server.py")
META = (
    '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    '"io.modelcontextprotocol/clientCapabilities":{}'
)
HEAD = (
    "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Accept: application/json, text/event-stream\r\n"
)
MODERN = HEAD + "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {name}\r\n"
#: Requests of one write; their answers come in the same order.
PIPELINED = 100
#: Resident bytes that may come and go with the allocator's mood.
SLACK_BYTES = 3 * 1024 * 1024
#: Seconds after which the server gives up a session: see soak_server.
IDLE_S = 1.0
#: Seconds for what takes milliseconds.
PATIENCE_S = 30.0
SUM = re.compile(rb'"structuredContent":\{"result":(\d+)\}')


def request(body: str, head: str) -> bytes:
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def call(name: str, arguments: str = "{}", *, id: int = 1, progress: bool = False) -> bytes:
    """Return the bytes of a modern call."""
    meta = META + (',"progressToken":1}' if progress else "}")
    params = f'{{"name":"{name}","arguments":{arguments},{meta}}}'
    body = f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}'
    return request(body, MODERN.format(name=name))


class Server:
    """The process under test, and what it holds."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.child = subprocess.Popen([sys.executable, str(SERVER), str(self.port)])
        self.process = psutil.Process(self.child.pid)
        self.until(self._answers)

    def _answers(self) -> bool:
        try:
            with self.connect():
                return True
        except ConnectionRefusedError:
            assert self.child.poll() is None, "the server has ended"
            return False

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for what comes soon."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.02)

    def held(self) -> tuple[int, int]:
        """Return resident bytes and open descriptors."""
        return self.process.memory_info().rss, self.process.num_fds()

    def ask(self, wire: bytes) -> bytes:
        """Return the whole answer to a request of its own connection."""
        with self.connect() as connection:
            connection.sendall(wire.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def add_many(server: Server, numbers: range) -> None:
    """Add 1 to each number, and see that each answer is there once, in order, and right."""
    with server.connect() as connection:
        for start in range(numbers.start, numbers.stop, PIPELINED):
            batch = range(start, min(start + PIPELINED, numbers.stop))
            connection.sendall(b"".join(call("add", f'{{"a":{n},"b":1}}', id=n) for n in batch))
            data = b""
            found: list[bytes] = []
            while len(found) < len(batch):
                more = connection.recv(1 << 18)
                assert more, data[-500:]
                data += more
                found = SUM.findall(data)
            assert [int(one) for one in found] == [n + 1 for n in batch]


def flat(server: Server, before: tuple[int, int]) -> None:
    """See that the server holds what it held."""
    server.until(lambda: server.held()[1] <= before[1])
    memory, _ = server.held()
    assert memory <= before[0] + SLACK_BYTES, f"{memory - before[0]} bytes more than before"


def test_a_million_calls_are_answered_once_each_and_leave_nothing(server: Server) -> None:
    add_many(server, range(50_000))
    before = server.held()
    add_many(server, range(50_000, 1_050_000))
    flat(server, before)


INITIALIZE = request(
    '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    '"clientInfo":{"name":"soak","version":"1"}}}',
    HEAD,
)
SESSION_ID = re.compile(rb"(?i)mcp-session-id: ([!-~]+)\r\n")


def test_10_000_sessions_that_are_abandoned_leave_nothing(server: Server) -> None:
    def abandon(count: int) -> bytes:
        """Open sessions, use each for a call, and never come back; returns the id of the first."""
        first = b""
        with server.connect() as connection:
            for number in range(count):
                connection.sendall(INITIALIZE)
                found = SESSION_ID.search(connection.recv(65536))
                assert found is not None
                first = first or found[1]
                head = f"{HEAD}MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {found[1].decode()}\r\n"
                params = f'{{"name":"add","arguments":{{"a":{number},"b":1}}}}'
                body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'
                connection.sendall(request(body, head))
                assert SUM.findall(connection.recv(65536)) == [b"%d" % (number + 1)]
        return first

    def gone(session: bytes) -> bool:
        ping = request(
            '{"jsonrpc":"2.0","id":1,"method":"ping"}', f"{HEAD}Mcp-Session-Id: {session.decode()}\r\n"
        )
        time.sleep(3 * IDLE_S)  # a question sooner than that would keep it
        return server.ask(ping).startswith(b"HTTP/1.1 404 ")

    warm = abandon(1_000)
    server.until(lambda: gone(warm))
    before = server.held()
    abandon(10_000)
    last = abandon(1)
    server.until(lambda: gone(last))
    flat(server, before)


#: What is refused, and the status with which it is.
REFUSED = [
    (request("{}", MODERN.format(name="x").replace("127.0.0.1", "evil.example")), 403),
    (request("{}", MODERN.format(name="x").replace("application/json\r\n", "text/plain\r\n", 1)), 415),
    (request("{}", MODERN.format(name="x").replace("Accept: application/json, ", "Accept: ")), 406),
    (request("{", MODERN.format(name="x")), 400),
    (request("[" * 5_000, MODERN.format(name="x")), 400),
    (call("add").replace(b"Mcp-Name: add", b"Mcp-Name: sub"), 400),
    (call("nope"), 400),
    (call("add").replace(b"tools/call", b"tools/cull"), 404),
    (call("add").replace(b"POST", b"PATCH"), 405),
    (call("add").replace(b"/mcp", b"/other"), 404),
    (MODERN.format(name="x").encode() + b"Content-Length: 99999999999\r\n\r\n", 413),
    (b"nonsense\r\n\r\n", 400),
]


def test_10_000_rejected_requests_leave_nothing(server: Server) -> None:
    def reject(rounds: int) -> None:
        for _ in range(rounds):
            for wire, status in REFUSED:
                answer = server.ask(wire)
                assert answer.startswith(b"HTTP/1.1 %d " % status), (wire, answer)

    reject(50)
    before = server.held()
    reject(10_000 // len(REFUSED) + 1)
    flat(server, before)


def test_1_000_cancelled_streams_leave_nothing(server: Server) -> None:
    def cancel(count: int) -> None:
        for _ in range(count):
            with server.connect() as connection:
                connection.sendall(call("stream", progress=True))
                assert b"text/event-stream" in connection.recv(4096)
        server.until(lambda: SUM.findall(server.ask(call("running"))) == [b"0"])

    cancel(100)
    before = server.held()
    cancel(1_000)
    flat(server, before)
