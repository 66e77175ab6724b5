"""Clients that mean harm, against a real server: slow ones, endless ones, many of them, and ones that do not read.

Everybody else is served meanwhile, and what they take is given back.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import pytest

from transport.http1 import call, request

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

SERVER = """
import json, socket, sys
import uvicorn
from taut import Server
from taut.transport.http.patience import Patience
from taut.transport.http.protocol import NativeHttp

app = Server("s")

@app.tool
def add(a: int, b: int) -> int:
    return a + b

@app.tool
def text(size: int) -> str:
    return "x" * size

asgi = app.asgi()
http = NativeHttp(asgi, patience=Patience(**json.loads(sys.argv[1])))
config = uvicorn.Config(asgi, http=http, loop="uvloop", ws="none", lifespan="on", log_level="error", access_log=False)
with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])
"""
#: Seconds for what takes milliseconds.
PATIENCE_S = 30.0
GOOD = call("add", a=1, b=2)
MIB = 1024 * 1024


class Target:
    """The server process."""

    def __init__(self, child: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self._process = psutil.Process(child.pid)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    @property
    def rss(self) -> int:
        size: int = self._process.memory_info().rss
        return size

    @property
    def descriptors(self) -> int:
        count: int = self._process.num_fds()
        return count

    def check(self) -> None:
        """Be served."""
        with self.connect() as connection:
            connection.sendall(GOOD)
            assert b'{"result":3}' in read_until(connection, b"}}\n")

    def hold(self, condition: Callable[[], bool]) -> None:
        """Wait until that is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def served(**patience: float) -> Iterator[Target]:
    child = subprocess.Popen(
        [sys.executable, "-c", SERVER, json.dumps(patience)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        target = Target(child, int(child.stdout.readline()))
        target.check()
        yield target
        target.check()
    finally:
        child.kill()
        child.communicate()


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


def rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection; it may reset one on which more was sent."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionError:
        pass
    return data


def send_endlessly(connection: socket.socket, part: bytes, most: int) -> bytes:
    """Send until nobody takes it any more, and return what was answered."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(part)
            sent += len(part)
    except ConnectionError:
        assert sent < most
    return rest_of(connection)


def test_slow_heads_are_cut_and_others_served() -> None:
    with served(head_s=2) as target, ExitStack() as stack:
        slow = [stack.enter_context(target.connect()) for _ in range(200)]
        begun = time.monotonic()
        for byte in GOOD:
            if time.monotonic() - begun > 5:
                break
            for connection in slow:
                try:
                    connection.sendall(bytes((byte,)))
                except ConnectionError:
                    continue
            target.check()
            time.sleep(0.1)
        for connection in slow:
            answer = rest_of(connection)
            assert not answer or answer.startswith(b"HTTP/1.1 408 ")


def test_slow_bodies_are_cut() -> None:
    with served(body_s=1) as target, target.connect() as connection:
        connection.sendall(GOOD[:-10])
        assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_in_chunks_of_one_byte_is_one_body() -> None:
    with served() as target, target.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head, _, body = GOOD.partition(b"\r\n\r\n")
        head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
        connection.sendall(head + b"\r\n\r\n")
        for byte in b" " * 10_000 + body:
            connection.sendall(b"1\r\n%c\r\n" % byte)
        connection.sendall(b"0\r\n\r\n")
        assert b'{"result":3}' in read_until(connection, b"}}\n")


FLOODS: dict[str, tuple[bytes, bytes]] = {
    "fields": (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n", b"x: y\r\n" * 1_000),
    "a name": (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n", b"x" * 6_000),
    "a value": (b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nx: ", b"x" * 6_000),
    "a target": (b"POST /", b"x" * 6_000),
    "trailers": (
        request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked") + b"0\r\n",
        b"x: y\r\n" * 1_000,
    ),
    "a chunk extension": (
        request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked") + b"5;",
        b"x" * 6_000,
    ),
    "a refused body": (
        request(b"", accept="image/png").replace(b"content-length: 0", b"content-length: 999999999"),
        b"x" * 6_000,
    ),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_what_has_no_end_is_cut(flood: tuple[bytes, bytes]) -> None:
    with served(linger_s=0.5) as target, target.connect() as connection:
        before = target.rss
        connection.sendall(flood[0])
        answer = send_endlessly(connection, flood[1], 2_000 * MIB)
        assert not answer or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 406 "))
        assert target.rss - before < 8 * MIB


def test_thousands_of_idle_connections_take_little_and_are_closed() -> None:
    count = 5_000
    with served(first_byte_s=15, keep_alive_s=15) as target, ExitStack() as stack:
        descriptors = target.descriptors
        before = target.rss
        silent = [stack.enter_context(target.connect()) for _ in range(count // 2)]
        used = [stack.enter_context(target.connect()) for _ in range(count // 2)]
        for connection in used:
            connection.sendall(GOOD)
        for connection in used:
            read_until(connection, b"}}\n")
        target.hold(lambda: target.descriptors >= descriptors + count - 10)
        each = (target.rss - before) / count
        print(f"{each:.0f} bytes for each idle connection")
        assert each < 16 * 1024
        target.check()
        for connection in (*silent, *used):
            assert rest_of(connection) == b""
        target.hold(lambda: target.descriptors <= descriptors + 10)


def test_connections_that_come_and_go_leave_nothing() -> None:
    def flood(target: Target) -> None:
        for number in range(3_000):
            with target.connect() as connection:
                connection.sendall(GOOD[: number % len(GOOD)])

    with served() as target:
        flood(target)
        descriptors, before = target.descriptors, target.rss
        flood(target)
        target.hold(lambda: target.descriptors <= descriptors + 10)
        assert target.rss - before < 4 * MIB


def test_a_client_that_does_not_read_is_not_worked_for_and_cut() -> None:
    with served(stalled_s=2) as target, target.connect() as connection:
        before = target.rss
        connection.settimeout(1)
        asked = call("text", size=MIB) * 100
        sent: Any = 0
        try:
            while sent < 64 * MIB:
                sent += connection.send(asked)
                assert target.rss - before < 48 * MIB
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 64 * MIB
        target.hold(lambda: not psutil_connections(target))


def psutil_connections(target: Target) -> list[Any]:
    """Return the connections of the server that are still open."""
    return [one for one in target._process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
