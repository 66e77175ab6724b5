"""Heads that came before: known by all but their traces, once they have come twice, and not without end."""

from __future__ import annotations

import pytest

from taut.mcp.http.head import Head
from taut.transport.http.known import MAX_HEAD_BYTES, MAX_HEADS, KnownHeads

HEAD = Head()
BODY = b'{"a":1}'


def head_of(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in ("POST /mcp HTTP/1.1", "Host: a", *lines, "")).encode("latin-1")


def known(*, max_bytes: int = 10_000, max_headers: int = 100) -> KnownHeads:
    """Return what has met ``head_of()`` often enough."""
    heads = KnownHeads(max_bytes, max_headers)
    for _ in range(2):
        heads.meet(head_of(), HEAD, 7, 1)
    return heads


def meaning(heads: KnownHeads, raw: bytes) -> Head | None:
    """Return what a message with the head ``raw`` is known to mean."""
    found = heads.recall(raw + BODY)
    if found is None:
        return None
    assert (found[0], found[2]) == (raw, len(raw + BODY))
    return found[1]


def test_a_head_is_remembered_when_it_comes_again() -> None:
    heads = KnownHeads(10_000, 100)
    heads.meet(head_of(), HEAD, 7, 1)
    assert not heads.known
    heads.meet(head_of(), HEAD, 7, 1)
    assert heads.recall(head_of() + BODY) == (head_of(), HEAD, len(head_of()) + 7, 99)


def test_traces_make_no_other_head_of_it() -> None:
    heads = KnownHeads(10_000, 100)
    for number in range(2):
        raw = head_of(f"traceparent: {number}")
        assert meaning(heads, raw) is None
        heads.meet(raw, HEAD, 7, 2)
    assert list(heads.known) == [head_of()]
    assert meaning(heads, head_of()) is HEAD


@pytest.mark.parametrize(
    "lines",
    [
        ["traceparent: 1"],
        ["Traceparent: 1", "TraceState:a=b", "baggage: ", "X-B3-TraceId: 1", "b3: 0", "Sentry-Trace: 1"],
        ["X-Request-Id: a b c", "x-correlation-id: 1", "X-Amzn-Trace-Id: Root=1", "x-datadog-trace-id: 1"],
        ["X-Cloud-Trace-Context: 1/2;o=1"],
    ],
)
def test_traces_are_not_looked_at(lines: list[str]) -> None:
    assert meaning(known(), head_of(*lines)) is HEAD
    assert known().recall(head_of(*lines) + BODY + b"1") is None


@pytest.mark.parametrize(
    "line",
    [
        "x-trace: 1",
        "transfer-encoding: chunked",
        "traceparent : 1",
        "traceparent",
        " traceparent: 1",
        "traceparent: 1\r\n 2",
        "traceparent: 1\r\n\t2",
        "traceparent: 1\n2",
        "traceparent: 1\r2",
        "traceparent: \t1",
        "traceparent: \0",
        "traceparent: \x7f",
        "traceparent: \xff",
        "mcp-traceparent: 1",
    ],
)
def test_what_is_no_plain_trace_makes_another_head(line: str) -> None:
    assert meaning(known(), head_of(line)) is None


def test_a_trace_before_the_first_line_is_none() -> None:
    heads = known()
    for _ in range(2):
        heads.meet(b"\r\n" + head_of(), HEAD, 7, 1)
    assert meaning(heads, b"\r\ntraceparent: 1" + b"\r\n" + head_of()) is None


def test_traces_count_as_headers() -> None:
    assert meaning(known(max_headers=3), head_of("b3: 1", "b3: 1")) is HEAD
    assert meaning(known(max_headers=3), head_of("b3: 1", "b3: 1", "b3: 1")) is None


def test_traces_count_as_bytes() -> None:
    heads = known(max_bytes=100)
    assert meaning(heads, head_of("b3: " + "1" * 20)) is HEAD
    assert meaning(heads, head_of("b3: " + "1" * 100)) is None


def test_memory_has_an_end() -> None:
    heads = KnownHeads(10_000, 100)
    for number in range(MAX_HEADS + 10):
        for _ in range(2):
            heads.meet(head_of(f"x-a: {number}"), HEAD, 7, 2)
        assert len(heads.known) <= MAX_HEADS
        assert len(heads._met) <= MAX_HEADS
    large = head_of("x-a: " + "1" * MAX_HEAD_BYTES)
    for _ in range(3):
        heads.meet(large, HEAD, 7, 2)
    assert large not in heads.known
