"""What one request is: the native protocol never differs from uvicorn's own, and both refuse what RFC 9112 refuses.

Two servers that split the same bytes differently let a client hide a request in another one's body. The reference is
uvicorn's protocol class in front of the same application; it gets the bytes one by one and has time after each, so
that every request is answered before the next one comes. Ours gets them in any parts, and has to answer the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from taut import Server
from taut.mcp.limits import Limits
from transport.asgi import body_of
from transport.http1 import Connection, alive, call, native, request

BODY = body_of("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
SIZE = str(len(BODY))
NEXT = call("add", a=3, b=4)


def post(*fields: str, body: bytes = BODY, line: str = "POST /mcp HTTP/1.1", host: bool = True) -> bytes:
    """Return a POST that has ``fields`` besides what a call of ``add`` needs; none of them is changed."""
    usual = [
        *(["Host: localhost"] if host else []),
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/call",
        "Mcp-Name: add",
    ]
    head = "".join(f"{field}\r\n" for field in (line, *usual, *fields))
    return head.encode("latin-1") + b"\r\n" + body


def chunked(*lines: bytes, fields: tuple[str, ...] = ("Transfer-Encoding: chunked",)) -> bytes:
    """Return a POST with a chunked body of ``lines`` as they are."""
    return post(*fields, body=b"".join(lines))


CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
END = b"0\r\n\r\n"

#: Name -> bytes that are well-formed, or which llhttp lets pass; what matters is that both say the same.
ALIKE: dict[str, bytes] = {
    "plain": post(f"Content-Length: {SIZE}"),
    "chunked": chunked(CHUNK, END),
    "an upper-case size": chunked(b"%X\r\n%b\r\n" % (len(BODY), BODY), END),
    "leading zeros": chunked(b"0000%x\r\n%b\r\n" % (len(BODY), BODY), b"000\r\n\r\n"),
    "a chunk extension": chunked(b"%x;a=b\r\n%b\r\n" % (len(BODY), BODY), END),
    "trailers": chunked(CHUNK, b"0\r\nMcp-Name: other\r\nContent-Length: 9\r\n\r\n"),
    "a trailer that is a host": chunked(CHUNK, b"0\r\nHost: evil.example\r\n\r\n"),
    "chunked in capitals": chunked(CHUNK, END, fields=("Transfer-Encoding: CHUNKED",)),
    "gzip, chunked": chunked(CHUNK, END, fields=("Transfer-Encoding: gzip, chunked",)),
    "an empty body": post("Content-Length: 0", body=b""),
    "no body": post(body=b""),
    "lines before the request": b"\r\n\r\n" + post(f"Content-Length: {SIZE}"),
    "a query": post(f"Content-Length: {SIZE}", line="POST /mcp?a=b HTTP/1.1"),
    "a fragment": post(f"Content-Length: {SIZE}", line="POST /mcp#a HTTP/1.1"),
    "escapes": post(f"Content-Length: {SIZE}", line="POST /%6dcp HTTP/1.1"),
    "a slash after it": post(f"Content-Length: {SIZE}", line="POST /mcp/ HTTP/1.1"),
    "two slashes": post(f"Content-Length: {SIZE}", line="POST //mcp HTTP/1.1"),
    "another host": post("Host: evil.example", f"Content-Length: {SIZE}", host=False),
    "another method": post(f"Content-Length: {SIZE}", line="PUT /mcp HTTP/1.1"),
    "a method in small letters": post(f"Content-Length: {SIZE}", line="post /mcp HTTP/1.1"),
    "close": post(f"Content-Length: {SIZE}", "Connection: close"),
    "keep-alive and close": post(f"Content-Length: {SIZE}", "Connection: keep-alive, close"),
    "version 1.0": post(f"Content-Length: {SIZE}", line="POST /mcp HTTP/1.0"),
    "version 1.0 kept": post(f"Content-Length: {SIZE}", "Connection: keep-alive", line="POST /mcp HTTP/1.0"),
    "version 1.0 chunked": post("Transfer-Encoding: chunked", body=CHUNK + END, line="POST /mcp HTTP/1.0"),
    "version 1.2": post(f"Content-Length: {SIZE}", line="POST /mcp HTTP/1.2"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an upgrade that is not asked for": post(f"Content-Length: {SIZE}", "Upgrade: websocket"),
    "a folded value": post(f"Content-Length: {SIZE}", "X-A: 1\r\n  2"),
    "a folded length": post(f"Content-Length:\r\n {SIZE}"),
    "a folded coding": chunked(CHUNK, END, fields=("Transfer-Encoding:\r\n chunked",)),
    "an empty value": post(f"Content-Length: {SIZE}", "X-A:"),
    "bytes beyond ASCII": post(f"Content-Length: {SIZE}", "X-A: \xff\xe9"),
    "a name beyond ASCII": post(f"Content-Length: {SIZE}", "X-\xe9: 1"),
    "spaces around a length": post(f"Content-Length:   {SIZE}  "),
    "a length that is too short": post(f"Content-Length: {len(BODY) - 9}"),
    "a length with a leading zero": post(f"Content-Length: 0{SIZE}"),
    "a long body of another type": post("Content-Length: 3000", "Content-Type: text/plain", body=b"x" * 3000),
    "a body that is too long": post("Content-Length: 3000", body=b"x" * 3000),
    "chunks that are too long": chunked(b"bb8\r\n" + b"x" * 3000 + b"\r\n", END),
    "two types": post(f"Content-Length: {SIZE}", "Content-Type: text/plain"),
    "an unknown path": post(f"Content-Length: {SIZE}", line="POST /other HTTP/1.1"),
    "a target that is none": post(f"Content-Length: {SIZE}", line="POST mcp HTTP/1.1"),
    "a target beyond ASCII": post(f"Content-Length: {SIZE}", line="POST /mcp\xe9 HTTP/1.1"),
    "a star": post(f"Content-Length: {SIZE}", line="OPTIONS * HTTP/1.1"),
    "a tool that waits": call("soon"),
    "a tool that streams": request(
        body_of("tools/call", {"name": "count", "arguments": {}}, progressToken=1),
        mcp_method="tools/call",
        mcp_name="count",
    ),
    "a trace": post("traceparent: 00-1-2-01", f"Content-Length: {SIZE}"),
    "a trace at the end": post(f"Content-Length: {SIZE}", "traceparent: 00-1-2-01"),
    "traces": post(
        "Traceparent: 1", "X-Request-ID:", f"Content-Length: {SIZE}", "tracestate:a=1,b=2", "b3: 0"
    ),
    "a folded trace": post("traceparent: 1\r\n 2", f"Content-Length: {SIZE}"),
    "a trace behind which a value is folded": post(
        "X-A: 1", "traceparent: 1\r\n\t2", f"Content-Length: {SIZE}"
    ),
    "a trace with bytes beyond ASCII": post("traceparent: \xff", f"Content-Length: {SIZE}"),
    "a trace that is in a value": post("X-A: traceparent: 1", f"Content-Length: {SIZE}"),
    "a length that looks like a trace": post(f"Content-Length: {SIZE}", "traceparent: Content-Length: 3"),
    "a trace in the body": post("Content-Length: 20", body=b"\r\ntraceparent: 1\r\n\r\n"[:20]),
    "garbage after an answer": post(f"Content-Length: {SIZE}") + b"\0garbage\r\n\r\n",
}

#: Name -> bytes that RFC 9112 tells a server to refuse, or of which it is not clear where they end.
REFUSED: dict[str, bytes] = {
    "a length and chunks": chunked(CHUNK, END, fields=("Content-Length: 4", "Transfer-Encoding: chunked")),
    "chunks and a length": chunked(CHUNK, END, fields=("Transfer-Encoding: chunked", "Content-Length: 4")),
    "two lengths": post(f"Content-Length: {SIZE}", "Content-Length: 4"),
    "the same length twice": post(f"Content-Length: {SIZE}", f"Content-Length: {SIZE}"),
    "a list of lengths": post(f"Content-Length: {SIZE}, {SIZE}"),
    "a plus before the length": post(f"Content-Length: +{SIZE}"),
    "a negative length": post("Content-Length: -1"),
    "a hexadecimal length": post("Content-Length: 0x9"),
    "no number": post("Content-Length: "),
    "a length beyond 64 bits": post("Content-Length: 18446744073709551617"),
    "a space in the length": post("Content-Length: 1 2"),
    "xchunked": chunked(CHUNK, END, fields=("Transfer-Encoding: xchunked",)),
    "chunked, then another coding": chunked(CHUNK, END, fields=("Transfer-Encoding: chunked, identity",)),
    "identity": chunked(CHUNK, END, fields=("Transfer-Encoding: identity",)),
    "a quoted coding": chunked(CHUNK, END, fields=('Transfer-Encoding: "chunked"',)),
    "a control character in the coding": chunked(CHUNK, END, fields=("Transfer-Encoding: \x0bchunked",)),
    "a space before the colon": post(f"Content-Length: {SIZE}", "Transfer-Encoding : chunked"),
    "a tab before the colon": post(f"Content-Length: {SIZE}", "X-A\t: 1"),
    "a space before the first field": post(f"Content-Length: {SIZE}", line="POST /mcp HTTP/1.1\r\n X-A: 1"),
    "a field without a colon": post(f"Content-Length: {SIZE}", "X-A"),
    "a field without a name": post(f"Content-Length: {SIZE}", ": 1"),
    "a NUL in a value": post(f"Content-Length: {SIZE}", "X-A: 1\0002"),
    "a trace before the request": b"\r\ntraceparent: 1\r\n" + post(f"Content-Length: {SIZE}"),
    "a trace without a colon": post("traceparent 1", f"Content-Length: {SIZE}"),
    "a space before the colon of a trace": post("traceparent : 1", f"Content-Length: {SIZE}"),
    "a NUL in a trace": post("traceparent: 1\0002", f"Content-Length: {SIZE}"),
    "a bare CR in a trace": post("traceparent: 1\rX-A: 2", f"Content-Length: {SIZE}"),
    "a bare line feed in a trace": post("traceparent: 1\nX-A: 2", f"Content-Length: {SIZE}"),
    "a NUL in a name": post(f"Content-Length: {SIZE}", "X-\0: 1"),
    "a bare CR in a value": post(f"Content-Length: {SIZE}", "X-A: 1\r2"),
    "a bare CR before a field": post(f"Content-Length: {SIZE}", "X-A: 1\rTransfer-Encoding: chunked"),
    "bare line feeds": post(f"Content-Length: {SIZE}").replace(b"\r\n", b"\n"),
    "a bare line feed in a head": post(f"Content-Length: {SIZE}", "X-A: 1\nX-B: 2"),
    "a head that ends with bare line feeds": post(f"Content-Length: {SIZE}", body=b"").removesuffix(b"\r\n")
    + b"\n"
    + BODY,
    "a version that is none": post(f"Content-Length: {SIZE}", line="POST /mcp HTTP/x.1"),
    "a version with more digits": post(f"Content-Length: {SIZE}", line="POST /mcp HTTP/1.10"),
    "a space in the target": post(f"Content-Length: {SIZE}", line="POST /mcp /x HTTP/1.1"),
    "no host": post(f"Content-Length: {SIZE}", host=False),
    "two hosts": post("Host: localhost", f"Content-Length: {SIZE}"),
    "another host after the first": post("Host: evil.example", f"Content-Length: {SIZE}"),
    "a chunk size that is none": chunked(b"g\r\n", END),
    "a chunk size with a sign": chunked(b"+4\r\nabcd\r\n", END),
    "a negative chunk size": chunked(b"-4\r\nabcd\r\n", END),
    "a chunk size with a prefix": chunked(b"0x4\r\nabcd\r\n", END),
    "a chunk size beyond 64 bits": chunked(b"10000000000000004\r\nabcd\r\n", END),
    "a chunk size that is empty": chunked(b"\r\nabcd\r\n", END),
    "a space after a chunk size": chunked(b"4 \r\nabcd\r\n", END),
    "a space before a chunk size": chunked(b" 4\r\nabcd\r\n", END),
    "a bare line feed after a chunk size": chunked(b"4\nabcd\r\n", END),
    "a bare line feed after a chunk": chunked(b"4\r\nabcd\n", END),
    "a chunk that is longer than it says": chunked(b"4\r\nabcdef\r\n", END),
    "a NUL in a chunk extension": chunked(b"4;a=\0\r\nabcd\r\n", END),
    "a bare CR in a chunk extension": chunked(b"4;a=\rb\r\nabcd\r\n", END),
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "garbage in the middle": b"POST /mcp \x01\r\n\r\n",
}
VECTORS = {**ALIKE, **REFUSED}
#: Name -> what uvicorn lets pass and we do not, and our status: there it is unclear what follows.
STRICTER: dict[str, tuple[bytes, int]] = {
    "no version": (post(f"Content-Length: {SIZE}", line="POST /mcp"), 505),
    "version 2": (post(f"Content-Length: {SIZE}", line="POST /mcp HTTP/2.0"), 505),
    "a tunnel": (post("Content-Length: 0", body=b"", line="CONNECT localhost:80 HTTP/1.1"), 400),
    "a target without a path": (post(f"Content-Length: {SIZE}", line="POST http://localhost HTTP/1.1"), 400),
    "an upgrade with chunks": (
        chunked(CHUNK, END, fields=("Transfer-Encoding: chunked", "Connection: upgrade", "Upgrade: h2c")),
        400,
    ),
}
UPGRADE = ("Connection: upgrade", "Upgrade: h2c")
#: Name -> fields and body of a request that asks for another protocol; the rest of it is read as if it did not.
UPGRADES: dict[str, tuple[tuple[str, ...], bytes]] = {
    "with a body": ((f"Content-Length: {SIZE}",), BODY),
    "with a body that is a request": ((f"Content-Length: {len(NEXT)}",), NEXT),
    "with an empty body": (("Content-Length: 0",), b""),
    "without a body": ((), b""),
    "with a body that is too long": (("Content-Length: 3000",), b"x" * 3000),
}
#: Longer than any of the bodies that are right.
MOST = 2_000


class Servers:
    """Both servers, in one loop that stays for all examples."""

    def __init__(self) -> None:
        app = Server("s", limits=Limits(max_message_bytes=MOST))

        @app.tool
        def add(a: int, b: int) -> int:
            return a + b

        @app.tool
        async def soon() -> str:
            await asyncio.sleep(0)
            return "soon"

        @app.tool
        async def count(ctx: Any) -> str:
            await ctx.progress(1)
            return "counted"

        self.asgi = app.asgi()
        self.runner = asyncio.Runner()
        self._known: dict[bytes, list[Any]] = {}

    def reference(self, data: bytes) -> list[Any]:
        """Return what uvicorn answers to ``data``."""
        if data not in self._known:
            self._known[data] = self.runner.run(self._outcome(data, range(1, len(data)), None))
        return self._known[data].copy()

    def ours(self, data: bytes, cuts: Iterable[int]) -> list[Any]:
        """Return what the native protocol answers to ``data``, cut there."""
        return self.runner.run(self._outcome(data, cuts, native(self.asgi)))

    async def _outcome(self, data: bytes, cuts: Iterable[int], protocol: Any) -> list[Any]:
        await alive(self.asgi)
        connection = Connection(self.asgi, **({} if protocol is None else {"protocol": protocol}))
        for start, end in pairwise([0, *cuts, len(data)]):
            connection.feed(data[start:end])
            cycle = connection.protocol.cycle
            if protocol is None and cycle is not None and not cycle.response_complete:
                # Enough for a refusal; the answer waits for the body.
                await connection.settle(3 if cycle.more_body else None)
        await connection.settle()
        done = connection.transport.done
        answers = [
            (answer.status, answer.body if answer.status == 200 else b"") for answer in connection.answers()
        ]
        await connection.lose()
        assert self.asgi.endpoint.open == 0
        return [*answers, done]


@pytest.fixture(scope="module")
def servers() -> Any:
    servers = Servers()
    with servers.runner:
        yield servers


@pytest.mark.parametrize("name", VECTORS)
@given(st.data())
def test_the_same_bytes_are_the_same_requests(servers: Servers, name: str, data: st.DataObject) -> None:
    sent = VECTORS[name] + NEXT
    cuts = data.draw(st.lists(st.integers(1, len(sent) - 1), max_size=6, unique=True).map(sorted))
    assert servers.ours(sent, cuts) == servers.reference(sent)


@pytest.mark.parametrize("name", VECTORS)
def test_a_head_that_is_known_changes_nothing(servers: Servers, name: str) -> None:
    """Each of them behind and before requests whose head is remembered, and behind itself as often as that takes."""
    sent = 3 * NEXT + VECTORS[name] + NEXT
    size = len(NEXT)
    assert servers.ours(sent, [size, 2 * size, 3 * size, len(sent) - size]) == servers.reference(sent)
    assert servers.ours(sent, range(1, len(sent))) == servers.reference(sent)
    own = len(VECTORS[name])
    sent = 4 * VECTORS[name] + NEXT
    assert servers.ours(sent, [own, 2 * own, 3 * own, 4 * own]) == servers.reference(sent)


@pytest.mark.parametrize("name", VECTORS)
def test_a_head_that_is_known_without_its_traces_changes_nothing(servers: Servers, name: str) -> None:
    """Each of them behind the heads that it may be taken for."""
    bare = post(f"Content-Length: {SIZE}")
    others = [bare, post("X-A: 1", f"Content-Length: {SIZE}"), b"\r\n" + bare]
    parts = [other for other in others for _ in range(3)] + [VECTORS[name], NEXT]
    assert servers.ours(b"".join(parts), list(accumulate(map(len, parts)))[:-1]) == servers.reference(
        b"".join(parts)
    )


@given(st.data())
def test_a_trace_is_read_as_a_parser_would(servers: Servers, data: st.DataObject) -> None:
    """Any line that may look like one, at any place of a head that is known."""
    value = data.draw(st.text(st.sampled_from("a1:- ;,\t\r\n\0\xff"), max_size=6))
    name = data.draw(
        st.sampled_from(["traceparent", "Traceparent", "x-b3-flags", "B3", "b33", "x-datadog-", ""])
    )
    line = data.draw(st.sampled_from([f"{name}:{value}", f"{name}: {value}", f"{name}{value}"]))
    bare = post(f"Content-Length: {SIZE}")
    lines = bare.split(b"\r\n")
    lines.insert(data.draw(st.integers(0, 8)), line.encode("latin-1"))
    traced = b"\r\n".join(lines)
    parts = [bare, bare, bare, traced, traced, traced, NEXT]
    assert servers.ours(b"".join(parts), list(accumulate(map(len, parts)))[:-1]) == servers.reference(
        b"".join(parts)
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_refused(servers: Servers, name: str) -> None:
    *answers, done = servers.ours(REFUSED[name], [])
    assert [status for status, _ in answers] == [400]
    assert done or "host" in name  # its framing is clear


@pytest.mark.parametrize("name", STRICTER)
def test_what_is_not_clear_to_us_alone_is_refused(servers: Servers, name: str) -> None:
    sent, expected = STRICTER[name]
    for cuts in ([], range(1, len(sent))):
        *answers, done = servers.ours(sent + NEXT, cuts)
        assert [status for status, _ in answers] == [expected]
        assert done


@pytest.mark.parametrize("path", ["/mcp", "/other"])
@pytest.mark.parametrize("name", UPGRADES)
def test_a_request_for_another_protocol_is_a_request(servers: Servers, name: str, path: str) -> None:
    fields, body = UPGRADES[name]
    line = f"POST {path} HTTP/1.1"
    sent = post(*fields, *UPGRADE, body=body, line=line) + NEXT
    expected = servers.reference(post(*fields, body=body, line=line) + NEXT)
    assert servers.ours(sent, []) == expected
    assert servers.ours(sent, range(1, len(sent))) == expected


@given(st.lists(st.sampled_from(sorted(VECTORS)), min_size=2, max_size=4), st.data())
def test_any_sequence_is_the_same_requests(servers: Servers, names: list[str], data: st.DataObject) -> None:
    sent = b"".join(VECTORS[name] for name in names)
    cuts = data.draw(st.lists(st.integers(1, len(sent) - 1), max_size=6, unique=True).map(sorted))
    assert servers.ours(sent, cuts) == servers.reference(sent)


@given(st.sampled_from(sorted(ALIKE)), st.data())
def test_any_byte_may_be_another_one(servers: Servers, name: str, data: st.DataObject) -> None:
    sent = bytearray(ALIKE[name])
    for place in data.draw(st.lists(st.integers(0, len(sent) - 1), min_size=1, max_size=3)):
        sent[place] = data.draw(st.sampled_from(b"\r\n\0 \t:,;+-0123abcxyzPOST/\x7f\xff"))
    whole = bytes(sent) + NEXT
    cuts = data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=4, unique=True).map(sorted))
    ours = servers.ours(whole, cuts)
    assume(all(status != 505 for status, _ in ours[:-1]))  # see STRICTER
    expected = servers.reference(whole)
    if len(expected) > len(ours) and expected[-3:-1] == [(404, b""), (400, b"")]:
        del expected[-3]  # the application has refused what turned out to be broken, before that was there
    assert ours == expected
