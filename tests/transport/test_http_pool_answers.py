"""Any answer, however the network cuts it, is told in the same way."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taut.errors import TransportError
from taut.transport.http.client_protocol import ClientConnection
from taut.transport.http.pool import Pool
from transport.scripted_http import Heard, until

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=12).map(str.encode)
VALUE = st.text(" \tabc:;,=\"'/é~", max_size=20).map(lambda text: text.strip(" \t").encode("latin-1"))
RESERVED = {b"content-length", b"transfer-encoding", b"connection", b"location", b"keep-alive", b"upgrade"}
FIELDS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in RESERVED), VALUE), max_size=6)
BODY = st.binary(max_size=200)
CUTS = st.lists(st.integers(1, 40), max_size=60)


class Wire:
    """A transport that takes everything and sends nothing."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    resume_reading = pause_reading

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class FakeConnector:
    """Connects to nobody, at once."""

    def __init__(self) -> None:
        self.connections: list[ClientConnection] = []

    async def connect(self, connection: ClientConnection) -> None:
        connection.connection_made(Wire())  # type: ignore[arg-type]
        self.connections.append(connection)

    async def close(self) -> None:
        for connection in self.connections:
            connection.connection_lost(None)


def heard_of(answer: bytes, cuts: list[int], *, ends: bool) -> tuple[Heard, bool]:
    """Feed ``answer`` in pieces; return what was told, and whether the connection is kept."""

    async def main() -> tuple[Heard, bool]:
        pool = Pool("http://127.0.0.1:1")
        connector: Any = FakeConnector()
        pool._connector = connector
        heard = Heard()
        pool.send(b"POST", b"/", b"", b"", heard)
        await until(lambda: bool(connector.connections))
        (connection,) = connector.connections
        start = 0
        for size in cuts:
            if start < len(answer):
                connection.data_received(answer[start : start + size])
            start += size
        if start < len(answer):
            connection.data_received(answer[start:])
        if ends:
            connection.eof_received()
        kept = bool(pool._idle)
        await pool.close()
        return heard, kept

    return asyncio.run(main())


def joined(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """What a mapping of ``fields`` says."""
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        name = name.lower()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def check(heard: Heard, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    assert heard.error is None, heard.error
    assert heard.events == ["head", "end"]
    assert heard.status == status
    assert dict(heard.headers) == joined(fields)
    assert heard.body == body


def lines(status: int, fields: list[tuple[bytes, bytes]]) -> bytes:
    return (
        b"HTTP/1.1 %d Any reason\r\n" % status
        + b"".join(b"%b: %b \r\n" % field for field in fields)
        + b"\r\n"
    )


class TestCuts:
    @given(
        st.sampled_from([200, 202, 299, 400, 404, 503, 599]),
        FIELDS,
        BODY,
        CUTS,
        st.integers(0, 2),
    )
    def test_a_body_of_a_length(
        self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, cuts: list[int], interim: int
    ) -> None:
        fields = [*fields, (b"Content-Length", b"%d" % len(body))]
        early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * interim
        heard, kept = heard_of(early + lines(status, fields) + body, cuts, ends=False)
        check(heard, status, fields, body)
        assert kept

    @given(FIELDS, st.lists(st.binary(min_size=1, max_size=40), max_size=6), FIELDS, CUTS)
    def test_a_body_in_chunks(
        self,
        fields: list[tuple[bytes, bytes]],
        chunks: list[bytes],
        trailers: list[tuple[bytes, bytes]],
        cuts: list[int],
    ) -> None:
        fields = [*fields, (b"Transfer-Encoding", b"Chunked")]
        body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n"
        body += b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n"
        heard, kept = heard_of(lines(200, fields) + body, cuts, ends=False)
        check(heard, 200, fields, b"".join(chunks))
        assert kept

    @given(FIELDS, BODY, CUTS)
    def test_a_body_up_to_the_end(
        self, fields: list[tuple[bytes, bytes]], body: bytes, cuts: list[int]
    ) -> None:
        heard, kept = heard_of(lines(200, fields) + body, cuts, ends=True)
        check(heard, 200, fields, body)
        assert not kept

    @given(st.sampled_from([204, 304]), FIELDS, CUTS, st.booleans())
    def test_no_body(
        self, status: int, fields: list[tuple[bytes, bytes]], cuts: list[int], length: bool
    ) -> None:
        fields = [*fields, (b"Content-Length", b"5")] if length else fields
        heard, kept = heard_of(lines(status, fields), cuts, ends=False)
        check(heard, status, fields, b"")
        assert kept

    @given(st.binary(max_size=300), CUTS)
    def test_anything_else_ends_in_an_error_or_an_answer(self, garbage: bytes, cuts: list[int]) -> None:
        for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
            heard, _ = heard_of(prefix + garbage, cuts, ends=True)
            assert heard.events[-1] in ("end", "failed")
            assert heard.error is None or isinstance(heard.error, TransportError)

    @given(
        FIELDS, BODY, CUTS, st.binary(min_size=1, max_size=50).filter(lambda text: text.strip(b"\r\n") != b"")
    )
    def test_surplus_changes_nothing_but_ends_the_connection(
        self, fields: list[tuple[bytes, bytes]], body: bytes, cuts: list[int], surplus: bytes
    ) -> None:
        fields = [*fields, (b"Content-Length", b"%d" % len(body))]
        heard, kept = heard_of(lines(200, fields) + body + surplus, cuts, ends=False)
        check(heard, 200, fields, body)
        assert not kept
