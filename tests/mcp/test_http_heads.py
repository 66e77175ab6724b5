"""What an endpoint remembers of heads: it changes no judgement, and has an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mcp.test_http_endpoint import endpoint

from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.head import MAX_HEAD_BYTES, MAX_HEADS, MAX_SILENT, Head, Heads
from taut.mcp.http.reply import Reply

GOOD = [
    (b"host", b"localhost"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
    (b"mcp-method", b"tools/call"),
]
FIELDS = st.one_of(
    st.sampled_from(
        [
            *GOOD,
            (b"Host", b"localhost"),
            (b"HOST", b"evil.example"),
            (b"origin", b"http://evil.example"),
            (b"Accept", b"text/plain"),
            (b"Mcp-Method", b"other"),
            (b"MCP-Protocol-Version", b"2025-06-18"),
            (b"expect", b"100-continue"),
            (b"content-length", b"9999999999"),
            (b"X-A", b"1"),
            (b"x-a", b"2"),
        ]
    ),
    st.tuples(st.sampled_from([b"traceparent", b"Traceparent"]), st.binary(max_size=3)),
)


def said(answer: Head | Reply) -> object:
    if isinstance(answer, Reply):
        return answer
    return answer.known, answer.method, answer.legacy, answer.principal, answer.repeated, answer.expects


@given(st.lists(st.lists(FIELDS, max_size=4), min_size=1, max_size=6))
def test_a_head_is_judged_as_if_none_had_come_before(heads: list[list[tuple[bytes, bytes]]]) -> None:
    at = endpoint()
    for more in heads * 2:
        for fields in ([*GOOD, *more], [*more, *GOOD]):
            assert said(at.judge("POST", fields)) == said(endpoint().judge("POST", fields))


def test_what_says_nothing_makes_no_new_head() -> None:
    at: Endpoint = endpoint()
    first = at.judge("POST", [*GOOD, (b"traceparent", b"0")])
    assert isinstance(first, Head)
    for number in range(10):
        assert at.judge("POST", [*GOOD, (b"traceparent", b"%d" % number)]) is first
    assert at.judge("POST", [*GOOD, (b"mcp-name", b"0")]) is not first


def test_spelling_is_the_client_s_business() -> None:
    head = endpoint().judge("POST", [(name.title(), value) for name, value in GOOD])
    assert isinstance(head, Head)
    assert head.known == dict(GOOD)


def test_fields_may_be_lists() -> None:
    at = endpoint()
    fields = [list(field) for field in GOOD]
    assert at.judge("POST", fields) is at.judge("POST", fields)  # type: ignore[arg-type]  # as some servers send them


def test_memory_has_an_end() -> None:
    heads = Heads()
    for number in range(MAX_HEADS + MAX_SILENT + 10):
        _, told = heads.find([*GOOD, (b"mcp-name", b"%d" % number), (b"x-%d" % number, b"")])
        heads.keep(told, Head())
        assert len(heads._heads) <= MAX_HEADS
        assert len(heads._silent) <= MAX_SILENT
    large = [*GOOD, (b"mcp-name", b"x" * MAX_HEAD_BYTES), (b"x" * MAX_HEAD_BYTES, b"")]
    _, told = heads.find(large)
    heads.keep(told, Head())
    assert heads.find(large)[0] is None
    assert max(map(len, heads._silent)) < 100
