"""Whatever arrives on a live stdio connection gets the right JSON-RPC answer, and the connection lives on.

Each case is one line, sent raw to a real server: before a session, in a legacy one, and in the modern era.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from faults.wire import META, MODERN, Wire

PARSE, INVALID, NO_METHOD, BAD_PARAMS = -32700, -32600, -32601, -32602

#: Stands for "no id could be read": null in the legacy era, absent in the modern one.
UNREADABLE: Any = object()
#: Stands for "no answer at all".
SILENCE: Any = object()


class Case(NamedTuple):
    """One line, and the error that answers it."""

    name: str
    line: bytes
    code: Any
    id: Any = UNREADABLE


def call(argument: bytes) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":%b}}}'
        % argument
    )


def ping(**members: str) -> bytes:
    """Return a ping with raw JSON texts for some of its members; an empty text leaves the member out."""
    texts = {"jsonrpc": '"2.0"', "id": "7", "method": '"ping"'} | members
    return ("{" + ",".join(f'"{name}":{text}' for name, text in texts.items() if text) + "}").encode()


NOT_JSON = [
    Case("unknown escape", call(rb'"\x"'), PARSE, 7),
    Case("cut escape", call(rb'"\u12"'), PARSE, 7),
    Case("lone high surrogate", call(rb'"\ud800"'), PARSE, 7),
    Case("lone low surrogate", call(rb'"\udc00"'), PARSE, 7),
    Case("surrogates in the wrong order", call(rb'"\udc00\ud800"'), PARSE, 7),
    Case("lone surrogate in a key", call(rb'{"\ud800":1}'), PARSE, 7),
    Case("control character", call(b'"\x01"'), PARSE, 7),
    Case("raw NUL", call(b'"\x00"'), PARSE, 7),
    Case("invalid UTF-8", call(b'"\xff"'), PARSE, 7),
    Case("overlong UTF-8", call(b'"\xc0\x80"'), PARSE, 7),
    Case("UTF-8 of a surrogate", call(b'"\xed\xa0\x80"'), PARSE, 7),
    Case("cut UTF-8", call(b'"\xe2\x82"'), PARSE, 7),
    Case("UTF-16", "null".encode("utf-16"), PARSE),
    Case("NaN", call(b"NaN"), PARSE, 7),
    Case("Infinity", call(b"-Infinity"), PARSE, 7),
    Case("leading zero", call(b"01"), PARSE, 7),
    Case("leading plus", call(b"+1"), PARSE, 7),
    Case("hexadecimal", call(b"0x10"), PARSE, 7),
    Case("single quotes", call(b"'1'"), PARSE, 7),
    Case("comment", call(b"1/*one*/"), PARSE, 7),
    Case("comma before the end of an array", call(b"[1,]"), PARSE, 7),
    Case("comma before the end of an object", call(b'{"a":1,}'), PARSE, 7),
    Case("depth 100,000, arrays", call(b"[" * 100_000 + b"]" * 100_000), PARSE, 7),
    Case("depth 100,000, objects", call(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), PARSE, 7),
    Case("depth 100,000, never closed", call(b"[" * 100_000), PARSE, 7),
    Case("depth 100,000, nothing else", b"[" * 100_000, PARSE),
    Case("number of 10,000 digits", call(b"1" * 10_000), PARSE, 7),
    Case("fraction of 10,000 digits", call(b"0." + b"1" * 10_000), PARSE, 7),
    Case("exponent of 10,000 digits", call(b"1e" + b"1" * 10_000), PARSE, 7),
    Case("duplicate key", call(b'{"a":1,"a":2}'), PARSE, 7),
    Case("duplicate key, spelled differently", call(rb'{"a":1,"\u0061":2}'), PARSE, 7),
    Case("duplicate key with NUL", call(rb'{"\u0000":1,"\u0000":2}'), PARSE, 7),
    Case("duplicate method", ping()[:-1] + b',"method":"tools/list"}', PARSE, 7),
    Case("duplicate id", b'{"id":8,' + ping()[1:], PARSE),
    Case("70,000 keys", call(b"{" + b",".join(b'"%d":1' % n for n in range(70_000)) + b"}"), PARSE, 7),
    Case("byte order mark", b"\xef\xbb\xbf" + call(b"1"), PARSE),
    Case("trailing garbage", call(b"1") + b"x", PARSE, 7),
    Case("two messages on one line", call(b"1") + call(b"1"), PARSE, 7),
    Case("two messages with a carriage return between", call(b"1") + b"\r" + call(b"1"), PARSE, 7),
    Case("cut after the id", b'{"jsonrpc":"2.0","id":7', PARSE, 7),
    Case("cut in a string", call(b'"')[:-3], PARSE, 7),
    Case("an opening brace", b"{", PARSE),
    Case("an opening bracket", b"[", PARSE),
    Case("a stray print", b"Starting up...", PARSE),
    Case("an HTTP request", b"GET / HTTP/1.1\r", PARSE),
    Case("binary", bytes(range(11, 256)), PARSE),
    Case("form feed only", b"\x0c", PARSE),
]

NO_MESSAGE = [
    Case("null", b"null", INVALID),
    Case("number", b"1", INVALID),
    Case("string", b'"ping"', INVALID),
    Case("empty object", b"{}", INVALID),
    Case("empty batch", b"[]", INVALID),
    Case("id only", ping(method=""), INVALID, 7),
    Case("no jsonrpc", ping(jsonrpc=""), INVALID, 7),
    Case("jsonrpc 1.0", ping(jsonrpc='"1.0"'), INVALID, 7),
    Case("jsonrpc as a number", ping(jsonrpc="2.0"), INVALID, 7),
    Case("Jsonrpc in upper case", ping(jsonrpc="", JSONRPC='"2.0"'), INVALID, 7),
    Case("id null", ping(id="null"), INVALID),
    Case("id 1.5", ping(id="1.5"), INVALID),
    Case("id 1e3", ping(id="1e3"), INVALID),
    Case("id true", ping(id="true"), INVALID),
    Case("id object", ping(id="{}"), INVALID),
    Case("id array", ping(id="[1]"), INVALID),
    Case("id of 5,000 digits", ping(id="9" * 5_000), PARSE),
    Case("method number", ping(method="1"), INVALID, 7),
    Case("method null", ping(method="null"), INVALID, 7),
    Case("params array", ping(params="[1]"), INVALID, 7),
    Case("params null", ping(params="null"), INVALID, 7),
    Case("params string", ping(params='"x"'), INVALID, 7),
    Case("result without an id", b'{"jsonrpc":"2.0","result":{}}', INVALID),
]

IGNORED = [
    Case("empty line", b"", SILENCE),
    Case("blank line", b" \t \r", SILENCE),
    Case("unknown notification", b'{"jsonrpc":"2.0","method":"notifications/nope"}', SILENCE),
    Case("request without an id", b'{"jsonrpc":"2.0","method":"tools/list"}', SILENCE),
    Case(
        "cancellation of nothing",
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}',
        SILENCE,
    ),
    Case(
        "cancellation that cannot be read",
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}',
        SILENCE,
    ),
    Case(
        "progress on nothing",
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}',
        SILENCE,
    ),
    Case("progress without params", b'{"jsonrpc":"2.0","method":"notifications/progress"}', SILENCE),
    Case("answer to nothing", b'{"jsonrpc":"2.0","id":7,"result":{}}', SILENCE),
    Case("error to nothing", b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"x"}}', SILENCE),
    Case("result that is none", b'{"jsonrpc":"2.0","id":7,"result":1}', SILENCE),
]

CASES = NOT_JSON + NO_MESSAGE + IGNORED


@pytest.fixture(params=["before initialize", "legacy", "modern"], scope="module")
def wire(request: pytest.FixtureRequest) -> Iterator[tuple[Wire, str]]:
    """One server for all cases: each must leave it able to serve the next."""
    with Wire() as server:
        if request.param == "legacy":
            server.initialize()
        elif request.param == "modern":
            server.ask(server.request("tools/list"))
        yield server, request.param


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_line_gets_its_error_and_the_next_call_is_answered(wire: tuple[Wire, str], case: Case) -> None:
    server, era = wire
    server.send(case.line + b"\n")
    if era == "before initialize":
        probe = {"jsonrpc": "2.0", "id": case.name, "method": "ping"}
    else:
        probe = server.tool("add", {"a": 1, "b": 2}, id=case.name)
    server.send_lines(probe)
    answer = server.line()
    if case.code is not SILENCE:
        assert answer["error"]["code"] == case.code
        assert answer["error"]["message"]
        if case.id is not UNREADABLE:
            assert answer["id"] == case.id
        elif era == "modern":
            assert "id" not in answer
        else:
            assert answer["id"] is None
        answer = server.line()
    assert answer["id"] == case.name
    assert "result" in answer


@pytest.mark.parametrize(
    "line",
    [b'{"jsonrpc":"2.0","id":1,"error":1}', b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}'],
)
def test_malformed_answer_does_not_end_the_request_that_has_the_same_id(line: bytes) -> None:
    """Ids of both sides are independent: an error with id 1 would be taken for that of the client's request 1."""
    with Wire() as server:
        server.initialize()
        server.send_lines(server.tool("wait", id=1))
        server.until_stderr("waiting 1")
        server.send(line + b"\n")
        server.send_lines(server.tool("add", {"a": 1, "b": 2}, id=2))
        answer = server.line()
        if answer.get("id") is None:
            answer = server.line()
        assert answer["id"] == 2


# -- a line that never ends


def test_line_over_the_limit_is_refused_at_once_and_skipped() -> None:
    with Wire(env={"TORMENT_LIMITS": '{"max_message_bytes":65536}'}) as server:
        server.send(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"text":"' + b"x" * 500_000)
        answer = server.line()  # although the line goes on
        assert answer["error"]["data"] == {"limit": "max_message_bytes", "maximum": 65536}
        assert answer["id"] == 1
        server.send(b"y" * 1_000_000 + b'"}}\n')
        assert server.call("add", a=1, b=2) == "3"


def test_line_over_the_limit_takes_no_memory() -> None:
    with Wire(env={"TORMENT_LIMITS": '{"max_message_bytes":65536}'}) as server:
        before = int(server.call("memory"))
        for _ in range(64):
            server.send(b"x" * 1_000_000)
        server.send(b"\n")
        assert server.line()["error"]["data"]["limit"] == "max_message_bytes"
        assert int(server.call("memory")) - before < 16_000_000


def test_messages_before_and_after_a_line_over_the_limit_are_answered() -> None:
    with Wire(env={"TORMENT_LIMITS": '{"max_message_bytes":65536}'}) as server:
        lines = [server.tool("add", {"a": n, "b": 0}, id=n) for n in range(3)]
        texts = [json.dumps(line).encode() + b"\n" for line in lines]
        server.send(texts[0] + texts[1] + b"z" * 70_000 + b"\n" + texts[2])
        assert [server.line().get("id") for _ in range(4)] == [0, 1, None, 2]


def test_bytes_may_arrive_one_by_one() -> None:
    with Wire() as server:
        text = json.dumps(server.tool("add", {"a": 20, "b": 22}, id=1)).encode() + b"\r\n"
        for start in range(len(text)):
            server.send(text[start : start + 1])
        assert server.line()["result"]["content"][0]["text"] == "42"


# -- life cycle


def test_request_before_initialize_is_refused_and_initialize_still_works() -> None:
    with Wire() as server:
        answer = server.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
        assert answer["error"]["code"] == INVALID
        server.initialize()
        assert server.call("add", a=1, b=2) == "3"


@pytest.mark.parametrize("params", ["{}", '{"protocolVersion":1}', '{"protocolVersion":"2025-11-25"}'])
def test_initialize_that_cannot_be_read_is_refused_and_a_good_one_still_works(params: str) -> None:
    with Wire() as server:
        server.send(ping(method='"initialize"', params=params) + b"\n")
        assert server.line()["error"]["code"] == BAD_PARAMS
        server.initialize()
        assert server.call("add", a=1, b=2) == "3"


def test_second_initialize_is_refused_and_the_session_lives() -> None:
    with Wire() as server:
        server.initialize("2025-06-18")
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "x", "version": "0"},
        }
        answer = server.ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        assert answer["error"]["code"] == INVALID
        assert "2025-06-18" in answer["error"]["message"]
        assert server.call("add", a=1, b=2) == "3"


def test_modern_request_in_a_legacy_session_is_refused() -> None:
    with Wire() as server:
        server.initialize()
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
        assert server.ask(request)["error"]["code"] == INVALID
        assert server.call("add", a=1, b=2) == "3"


def test_modern_request_at_an_unknown_version_names_the_known_ones() -> None:
    with Wire() as server:
        meta = META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        error = server.ask(request)["error"]
        assert error["code"] == -32022
        assert error["data"] == {"supported": [MODERN], "requested": "2099-01-01"}


# -- ids


@pytest.mark.parametrize("raw", ["0", "-1", '""', '"1"', str(2**70), '"\\u0061"', '"\u65e5\\n"'])
def test_id_is_echoed_as_it_was_written(raw: str) -> None:
    with Wire() as server:
        server.send(ping(id=raw) + b"\n")
        assert server.line()["id"] == json.loads(raw)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_id_in_flight_is_refused_and_its_first_request_lives(era: str) -> None:
    with Wire() as server:
        if era == "legacy":
            server.initialize()
        server.send_lines(server.tool("wait", id=1))
        server.until_stderr("waiting 1")
        assert server.ask(server.tool("add", {"a": 1, "b": 2}, id=1))["error"]["code"] == INVALID
        # The number 1 and the text "1" are different ids.
        assert "result" in server.ask(server.tool("add", {"a": 1, "b": 2}, id="1"))
        cancelled = {"requestId": 1, "_meta": META}
        server.send_lines({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        server.until_stderr("cancelled 1")
        assert "result" in server.ask(server.tool("add", {"a": 1, "b": 2}, id=1))


def test_requests_over_the_limit_in_flight_are_refused_by_name() -> None:
    with Wire(env={"TORMENT_LIMITS": '{"max_in_flight":2}'}) as server:
        server.send_lines(server.tool("wait", id=1), server.tool("wait", id=2))
        server.until_stderr("waiting 2")
        error = server.ask(server.tool("wait", id=3))["error"]
        assert error["data"] == {"limit": "max_in_flight", "maximum": 2}
        server.send_lines({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        server.until_stderr("cancelled 1")
        assert server.call("add", a=1, b=2) == "3"


# -- methods, tools, handlers


@pytest.fixture(params=["legacy", "modern"], scope="module")
def session(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with Wire() as server:
        if request.param == "legacy":
            server.initialize()
        yield server


def test_unknown_method(session: Wire) -> None:
    assert session.ask(session.request("tools/nope"))["error"]["code"] == NO_METHOD


@pytest.mark.parametrize(
    "method", ["sampling/createMessage", "notifications/initialized", "elicitation/create"]
)
def test_method_that_is_not_the_clients_to_call(session: Wire, method: str) -> None:
    assert session.ask(session.request(method))["error"]["code"] == NO_METHOD


def test_unknown_tool(session: Wire) -> None:
    error = session.ask(session.tool("nope"))["error"]
    assert error["code"] == BAD_PARAMS
    assert "nope" in error["message"]


@pytest.mark.parametrize("params", [{}, {"name": 1}, {"name": None}, {"arguments": {}}])
def test_call_without_a_readable_name(session: Wire, params: dict[str, Any]) -> None:
    assert session.ask(session.request("tools/call", params))["error"]["code"] == BAD_PARAMS


@pytest.mark.parametrize("uri", [1, None, "nope://x", "", "note://a/b"])
def test_resource_that_is_none(session: Wire, uri: Any) -> None:
    assert session.ask(session.request("resources/read", {"uri": uri}))["error"]["code"] in (
        BAD_PARAMS,
        -32002,
    )


@pytest.mark.parametrize("cursor", [1, "nope", "", "AAAA" * 1000])
def test_cursor_that_was_never_given_out(session: Wire, cursor: Any) -> None:
    assert session.ask(session.request("tools/list", {"cursor": cursor}))["error"]["code"] == BAD_PARAMS


@pytest.mark.parametrize(
    "arguments",
    [{}, {"a": 1}, {"a": 1, "b": "2"}, {"a": 1, "b": None}, {"a": 1, "b": 1.5}, {"a": 1, "b": 2, "c": 3}],
    ids=str,
)
def test_arguments_that_do_not_fit_are_shown_to_the_model(session: Wire, arguments: dict[str, Any]) -> None:
    result = session.ask(session.tool("add", arguments))["result"]
    assert result["isError"] is True
    assert "add" in result["content"][0]["text"]


@pytest.mark.parametrize("arguments", [[], 1, "x"])
def test_arguments_that_are_no_object(session: Wire, arguments: Any) -> None:
    answer = session.ask(session.request("tools/call", {"name": "add", "arguments": arguments}))
    assert "error" in answer or answer["result"]["isError"] is True


@pytest.mark.parametrize("tool", ["fail", "fail_later"])
def test_exception_of_a_handler_is_an_error_without_its_details(session: Wire, tool: str) -> None:
    answer = session.ask(session.tool(tool))
    assert answer["result"]["isError"] is True
    text = json.dumps(answer)
    assert "a detail that no client may see" not in text
    assert "Traceback" not in text
    session.until_stderr("a detail that no client may see")  # but the log has it


def test_tool_error_is_told(session: Wire) -> None:
    result = session.ask(session.tool("refuse"))["result"]
    assert result["isError"] is True
    assert result["content"][0]["text"] == "refused on purpose"


@pytest.mark.parametrize("kind", ["object", "surrogate", "nested surrogate", "recursive", "key"])
def test_result_that_is_no_json_is_an_error_and_is_logged(session: Wire, kind: str) -> None:
    seen = len(session.stderr())
    answer = session.ask(session.tool("unencodable", {"kind": kind}))
    assert "error" in answer or answer["result"]["isError"] is True
    assert session.call("add", a=1, b=2) == "3"
    assert "Traceback" in session.stderr()[seen:]


def test_handler_that_cancels_itself_is_an_error(session: Wire) -> None:
    answer = session.ask(session.tool("cancel_itself"))
    assert "error" in answer or answer["result"]["isError"] is True


def test_handler_that_exits_is_an_error_and_not_the_end(session: Wire) -> None:
    answer = session.ask(session.tool("leave"))
    assert "error" in answer or answer["result"]["isError"] is True
    assert session.call("add", a=1, b=2) == "3"


# -- batches


def batch(*messages: Any) -> bytes:
    return json.dumps(messages).encode() + b"\n"


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18", "2025-11-25"])
def test_batch_at_a_revision_without_batches_is_refused(revision: str) -> None:
    with Wire() as server:
        server.initialize(revision)
        server.send(batch(server.tool("add", {"a": 1, "b": 2}, id=1)))
        assert server.line()["error"]["code"] == INVALID
        assert server.call("add", a=1, b=2) == "3"


@pytest.fixture(scope="module")
def batching() -> Iterator[Wire]:
    with Wire() as server:
        server.initialize("2025-03-26")
        yield server


def test_mixed_batch_is_answered_as_one_array(batching: Wire) -> None:
    notification = {"jsonrpc": "2.0", "method": "notifications/nope"}
    answer_to_nothing = {"jsonrpc": "2.0", "id": 5, "result": {}}
    batching.send(
        batch(
            batching.tool("add", {"a": 1, "b": 2}, id=1),
            notification,
            17,
            batching.tool("add_later", {"a": 3, "b": 4}, id=2),
            answer_to_nothing,
            batching.request("nope", id=3),
            {"jsonrpc": "1.0", "id": 4, "method": "ping"},
            batching.request("initialize", id=6),
            [batching.tool("add", {"a": 1, "b": 2}, id=9)],
            batching.tool("add_later", {"a": 3, "b": 4}, id=2),
        )
    )
    answers = batching.line()
    shown = [
        (one["id"], one["error"]["code"] if "error" in one else one["result"]["content"][0]["text"])
        for one in answers
    ]
    expected = [
        (1, "3"),
        (None, INVALID),
        (2, "7"),
        (2, INVALID),
        (3, NO_METHOD),
        (4, INVALID),
        (6, INVALID),
        (None, INVALID),
    ]
    assert sorted(shown, key=str) == sorted(expected, key=str)
    assert batching.call("add", a=1, b=2) == "3"


def test_batch_without_requests_has_no_answer(batching: Wire) -> None:
    batching.send(batch({"jsonrpc": "2.0", "method": "notifications/nope"}))
    assert batching.call("add", a=1, b=2) == "3"


def test_batch_that_is_not_json_is_one_error(batching: Wire) -> None:
    batching.send(b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc"]\n')
    assert batching.line()["error"]["code"] == PARSE
    assert batching.call("add", a=1, b=2) == "3"


def test_batch_over_the_limit_is_refused_by_name(batching: Wire) -> None:
    batching.send(batch(*[batching.request("ping", id=n) for n in range(1001)]))
    answer = batching.line()
    assert answer["error"]["data"] == {"limit": "max_batch", "maximum": 1000}
    assert batching.call("add", a=1, b=2) == "3"


def test_batch_is_answered_when_one_of_its_requests_is_cancelled(batching: Wire) -> None:
    batching.send(batch(batching.tool("wait", id="w"), batching.tool("add", {"a": 1, "b": 2}, id="a")))
    batching.until_stderr("waiting w")
    batching.send_lines({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "w"}})
    assert [one["id"] for one in batching.line()] == ["a"]
