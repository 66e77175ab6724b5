"""What a message is, what its envelope shows, and which messages are refused with which id."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from taut._core import Kind
from taut.errors import InvalidMessage, LimitExceeded, ParseError, RemoteProtocolError

BODIES = ("params", "result", "error", "arguments", "meta")


def message(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}, separators=(",", ":")).encode()


def refused(core: SimpleNamespace, data: bytes, **options: Any) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        core.parse(data, **options)
    return caught.value


def body(value: Any) -> bytes:
    return bytes(memoryview(value))


class TestKinds:
    def test_request(self, core: SimpleNamespace) -> None:
        data = message(
            id=7,
            method="tools/call",
            params={"name": "add", "arguments": {"a": 1}, "_meta": {"progressToken": 7}},
        )
        envelope = core.parse(data)
        assert envelope.kind is Kind.REQUEST
        assert (envelope.id, envelope.id_key) == (b"7", 7)
        assert envelope.method == "tools/call"
        assert envelope.name == "add"
        assert envelope.arguments == b'{"a":1}'
        assert envelope.meta == b'{"progressToken":7}'
        assert envelope.params == b'{"name":"add","arguments":{"a":1},"_meta":{"progressToken":7}}'
        assert envelope.uri is None
        assert envelope.result is None
        assert envelope.error is None
        assert not envelope.extra_params
        assert envelope.size == len(data)

    def test_notification(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(method="notifications/initialized"))
        assert envelope.kind is Kind.NOTIFICATION
        assert envelope.method == "notifications/initialized"
        assert envelope.id is None
        assert envelope.id_key is None
        assert [getattr(envelope, name) for name in BODIES] == [None] * 5

    def test_result(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(id="a", result={"content": [], "_meta": {"x": "}"}}))
        assert envelope.kind is Kind.RESULT
        assert (envelope.id, envelope.id_key) == (b'"a"', "a")
        assert envelope.method is None
        assert envelope.result == b'{"content":[],"_meta":{"x":"}"}}'
        assert envelope.meta == b'{"x":"}"}'

    @pytest.mark.parametrize("result", [b"null", b"[]", b'"_meta"', b"{}"])
    def test_result_may_be_anything(self, core: SimpleNamespace, result: bytes) -> None:
        envelope = core.parse(b'{"jsonrpc":"2.0","id":1,"result":' + result + b"}")
        assert envelope.kind is Kind.RESULT
        assert envelope.result == result
        assert envelope.meta is None

    def test_error(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(id=1, error={"code": -32601, "message": "no"}))
        assert envelope.kind is Kind.ERROR
        assert envelope.error == b'{"code":-32601,"message":"no"}'

    @pytest.mark.parametrize("members", [{}, {"id": None}])
    def test_error_may_lack_an_id(self, core: SimpleNamespace, members: dict[str, Any]) -> None:
        """JSON-RPC answers what it could not read with a null id, MCP since 2025-11-25 without one."""
        envelope = core.parse(message(**members, error={"code": -32700, "message": "no"}))
        assert envelope.kind is Kind.ERROR
        assert envelope.id is None
        assert envelope.id_key is None

    def test_batch(self, core: SimpleNamespace) -> None:
        envelope = core.parse(b' [ {"a":[1,2]} ,3,"]" ] ')
        assert envelope.kind is Kind.BATCH
        assert envelope.items() == [b'{"a":[1,2]}', b"3", b'"]"']
        assert envelope.id is None
        assert envelope.method is None

    def test_only_a_batch_has_items(self, core: SimpleNamespace) -> None:
        with pytest.raises(ValueError, match="Expected a batch, got a request"):
            core.parse(message(id=1, method="ping")).items()

    @pytest.mark.parametrize("raw_id", [b"7", b'"a\\u0062"', None])
    def test_release_lets_go_of_the_bodies_and_keeps_the_rest(
        self, core: SimpleNamespace, raw_id: bytes | None
    ) -> None:
        id_member = b"" if raw_id is None else b'"id":' + raw_id + b","
        params = b'{"name":"n","uri":"u","arguments":{"x":1},"_meta":{},"more":1}'
        frame = b'{"jsonrpc":"2.0",%b"method":"tools/call","params":%b}' % (id_member, params)
        envelope = core.parse(frame)
        key = envelope.id_key
        for _ in range(2):
            envelope.release()
            assert (envelope.id, envelope.id_key) == (raw_id, key)
            assert (envelope.method, envelope.name, envelope.size) == ("tools/call", "n", len(frame))
            bodies = (
                envelope.params,
                envelope.arguments,
                envelope.meta,
                envelope.uri,
                envelope.result,
                envelope.error,
            )
            assert bodies == (None,) * 6
            assert not envelope.extra_params

    def test_repr_names_what_it_is(self, core: SimpleNamespace) -> None:
        data = message(id="x", method="ping")
        assert repr(core.parse(data)) == f'<Envelope request ping id="x", {len(data)} bytes>'

    def test_an_envelope_cannot_be_made(self, core: SimpleNamespace) -> None:
        with pytest.raises(TypeError, match="made by parse"):
            core.Envelope()


class TestMembers:
    @pytest.mark.parametrize(
        ("raw", "key"),
        [
            (b"0", 0),
            (b"-1", -1),
            (b"999999999999999999", 999999999999999999),
            (b"-99999999999999999", -99999999999999999),
            (b"9223372036854775808", 9223372036854775808),
            (b"1" * 400, int("1" * 400)),
            (b'""', ""),
            (b'"1"', "1"),
            (b'"a"', "a"),
            (rb'"\u0061"', "a"),
            (rb'"\ud83d\ude00\n\u0000"', "😀\n\0"),
            ('"é"'.encode(), "é"),
        ],
    )
    def test_id_is_exact_and_its_key_is_decoded(self, core: SimpleNamespace, raw: bytes, key: Any) -> None:
        envelope = core.parse(b'{"jsonrpc":"2.0","id": ' + raw + b' ,"method":"ping"}')
        assert envelope.id == raw
        assert envelope.id_key == key
        assert type(envelope.id_key) is type(key)

    def test_known_methods_are_one_object(self, core: SimpleNamespace) -> None:
        first, second = (core.parse(message(id=i, method="tools/call")).method for i in range(2))
        assert first is second

    @pytest.mark.parametrize("method", ["", "x", "tools/cal", "tools/calls", "Tools/call", "a\nb", "😀" * 50])
    def test_method_may_be_any_string(self, core: SimpleNamespace, method: str) -> None:
        assert core.parse(message(method=method)).method == method

    def test_escaped_spellings_are_the_same(self, core: SimpleNamespace) -> None:
        envelope = core.parse(
            rb'{"\u006asonrpc":"2\u002e0","i\u0064":1,"method":"tools\/call",'
            rb'"p\u0061rams":{"n\u0061me":"a\u0064d","\u005fmeta":{},"arguments":{}}}'
        )
        assert envelope.kind is Kind.REQUEST
        assert envelope.method == "tools/call"
        assert envelope.name == "add"
        assert envelope.meta == b"{}"
        assert not envelope.extra_params

    def test_case_matters(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(ID=1, Params=[], method="x", params={"Name": "a"}))
        assert envelope.kind is Kind.NOTIFICATION
        assert envelope.name is None
        assert envelope.extra_params

    def test_unknown_members_are_ignored(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(id=1, method="ping", trace={"id": 2, "method": 3}, ids=[]))
        assert envelope.id == b"1"
        assert envelope.method == "ping"

    def test_uri(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(id=1, method="resources/read", params={"uri": 'note://a"b'}))
        assert envelope.uri == 'note://a"b'
        assert not envelope.extra_params

    def test_name_and_uri_that_are_no_strings_are_left_to_the_decoder(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(id=1, method="tools/call", params={"name": 1, "uri": []}))
        assert envelope.name is None
        assert envelope.uri is None
        assert not envelope.extra_params
        assert envelope.params == b'{"name":1,"uri":[]}'

    def test_members_of_members_are_not_members(self, core: SimpleNamespace) -> None:
        envelope = core.parse(message(id=1, method="x", params={"arguments": {"name": "n", "_meta": 1}}))
        assert envelope.name is None
        assert envelope.meta is None

    def test_space_is_not_part_of_a_body(self, core: SimpleNamespace) -> None:
        envelope = core.parse(
            b' {\n"jsonrpc" : "2.0" , "id"\t:\r1 ,"method": "x", "params" : { "arguments" : [ 1 ] } } '
        )
        assert envelope.params == b'{ "arguments" : [ 1 ] }'
        assert envelope.arguments == b"[ 1 ]"

    def test_large_bodies_are_views(self, core: SimpleNamespace) -> None:
        small, large = {"x": "s" * 1016}, {"x": "l" * 1017}
        for strict in (True, False):
            small_envelope, envelope = (
                core.parse(message(id=1, method="x", params={"arguments": arguments}), strict=strict)
                for arguments in (small, large)
            )
            assert type(small_envelope.arguments) is bytes
            assert type(envelope.arguments) is memoryview
            assert json.loads(body(envelope.arguments)) == large
            assert json.loads(body(envelope.params)) == {"arguments": large}

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_other_buffers_are_copied(self, core: SimpleNamespace, kind: Any) -> None:
        memory = bytearray(message(id=12345, method="ping"))
        envelope = core.parse(kind(memory))
        memory[:] = bytes(len(memory))
        assert envelope.id == b"12345"

    def test_only_buffers_are_taken(self, core: SimpleNamespace) -> None:
        for frame in ("{}", 5, None):
            with pytest.raises(TypeError):
                core.parse(frame)


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "says", "raw_id"),
        [
            (b"1", "a JSON object, got 1", None),
            (b'"x"', "a JSON object", None),
            (b"null", "a JSON object, got null", None),
            (b"[]", "a batch with at least one message, got an array", None),
            (b" [ ] ", "a batch with at least one message", None),
            (b"{}", 'jsonrpc to be "2.0", got nothing', None),
            (b'{"id":1,"method":"x"}', 'jsonrpc to be "2.0", got nothing', b"1"),
            (b'{"jsonrpc":"1.0","id":1,"method":"x"}', 'jsonrpc to be "2.0", got "1.0"', b"1"),
            (b'{"jsonrpc":2.0,"id":"a","method":"x"}', 'jsonrpc to be "2.0", got 2.0', b'"a"'),
            (b'{"jsonrpc":{},"id":1,"method":"x"}', 'jsonrpc to be "2.0", got an object', b"1"),
            (b'{"jsonrpc":"2.0","id":null,"method":"x"}', "id to be a string or an integer, got null", None),
            (b'{"jsonrpc":"2.0","id":null,"result":{}}', "id to be a string or an integer, got null", None),
            (b'{"jsonrpc":"2.0","id":1.0,"method":"x"}', "id to be a string or an integer, got 1.0", None),
            (b'{"jsonrpc":"2.0","id":1e3,"method":"x"}', "id to be a string or an integer, got 1e3", None),
            (b'{"jsonrpc":"2.0","id":true,"method":"x"}', "id to be a string or an integer, got true", None),
            (
                b'{"jsonrpc":"2.0","id":{},"method":"x"}',
                "id to be a string or an integer, got an object",
                None,
            ),
            (b'{"jsonrpc":"2.0","id":[1],"error":{}}', "id to be a string or an integer, got an array", None),
            (b'{"jsonrpc":"2.0","id":1,"method":null}', "method to be a string, got null", b"1"),
            (b'{"jsonrpc":"2.0","id":1,"method":1}', "method to be a string, got 1", b"1"),
            (b'{"jsonrpc":"2.0","id":1}', "method, result or error, got nothing", b"1"),
            (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', "no error beside a result", b"1"),
            (b'{"jsonrpc":"2.0","id":1,"method":"x","result":[]}', "no result or error in a request", b"1"),
            (b'{"jsonrpc":"2.0","id":1,"method":"x","error":{}}', "no result or error in a request", b"1"),
            (b'{"jsonrpc":"2.0","result":{}}', "a result to have an id, got nothing", None),
            (b'{"jsonrpc":"2.0","id":1,"error":"x"}', 'error to be an object, got "x"', b"1"),
            (b'{"jsonrpc":"2.0","id":1,"error":null}', "error to be an object, got null", b"1"),
            (
                b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}',
                "params to be an object, got an array",
                b"1",
            ),
            (
                b'{"jsonrpc":"2.0","id":1,"method":"x","params":null}',
                "params to be an object, got null",
                b"1",
            ),
        ],
    )
    def test_json_that_is_no_message(
        self, core: SimpleNamespace, data: bytes, says: str, raw_id: bytes | None
    ) -> None:
        for strict in (True, False):
            error = refused(core, data, strict=strict)
            assert type(error) is InvalidMessage
            assert error.code == -32600
            assert says in str(error)
            assert error.id == raw_id

    @pytest.mark.parametrize(
        ("data", "raw_id"),
        [
            (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', b"1"),
            (b'{"jsonrpc":"2.0","method":"x","params":{"a":[01, "\xff"]},"id":"late"}', b'"late"'),
            (b'{"jsonrpc":"2.0","method":"x","params":' + b"[" * 1000 + b"]" * 1000 + b',"id":5}', b"5"),
            (b'{"jsonrpc":"2.0","id":5,"params":' + b"[" * 100_000, b"5"),
            (b'{"id":5,"id":5,"jsonrpc":"2.0","method":"x"}', None),
            (b'{"id":5,"jsonrpc":"2.0","method":"x","i\\u0064":6}', None),
            (b'{"method":"x","method":"y","jsonrpc":"2.0","id":7}', b"7"),
            (b'{"id":7,"params":{"a":1,"a":2}}', b"7"),
            (b'{"id":1.5,"params":{"a":1,"a":2}}', None),
            (b'{"id":{"id":3},"params":{"a":1,"a":2}}', None),
            (b'{"id":"\xff","params":{}}', None),
            (b'{"id":"a\nb","params":{}}', None),
            (b'{"id":' + b"9" * 10_000 + b"}", None),
            (b'{"id":8} trailing', b"8"),
            (b'{"id":8', b"8"),
            (b'{"id":', None),
            (b'{"id"', None),
            (b"{", None),
            (b"", None),
            (b'[{"id":1},', None),
            (b'{"text":"without an end, "id":1}', None),
            (b'{"params":{"id":1,}}', None),
        ],
    )
    def test_what_is_not_json_may_have_an_id(
        self, core: SimpleNamespace, data: bytes, raw_id: bytes | None
    ) -> None:
        error = refused(core, data)
        assert type(error) in (ParseError, LimitExceeded)
        assert error.code == -32700
        assert error.id == raw_id

    def test_limits_name_themselves(self, core: SimpleNamespace) -> None:
        data = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[123],"b":0,"c":0}}'
        for limit, maximum in {"max_depth": 2, "max_digits": 2, "max_keys": 3}.items():
            error = refused(core, data, **{limit: maximum})
            assert isinstance(error, LimitExceeded)
            assert (error.limit, error.maximum, error.id) == (limit, maximum, b"1")
            core.parse(data, **{limit: maximum + 1})

    def test_depth_counts_from_the_top(self, core: SimpleNamespace) -> None:
        data = b'{"jsonrpc":"2.0","method":"x","params":{"arguments":[[1]]}}'
        for strict in (True, False):
            core.parse(data, strict=strict, max_depth=4)
            assert isinstance(refused(core, data, strict=strict, max_depth=3), LimitExceeded)

    def test_an_id_that_int_does_not_take_is_refused(self, core: SimpleNamespace) -> None:
        data = b'{"jsonrpc":"2.0","id":' + b"9" * 4301 + b',"method":"x"}'
        assert isinstance(refused(core, data, max_digits=10_000), LimitExceeded)


class TestForwarding:
    def test_bodies_are_not_looked_into(self, core: SimpleNamespace) -> None:
        data = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":NaN,"a":\xff}}}'
        assert core.parse(data, strict=False).arguments == b'{"a":NaN,"a":\xff}'
        assert isinstance(refused(core, data), ParseError)

    def test_members_are_checked(self, core: SimpleNamespace) -> None:
        for data in (
            b'{"jsonrpc":"2.0","id":1,"id":1,"method":"x"}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","n\\u0061me":"b"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"\xff"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"uri":"\\ud800"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":01}}',
            b'{"jsonrpc":"2.0","id":1,"result":{]}',
            b'{"jsonrpc":"2.0","id":1,"result":{}}}',
        ):
            error = refused(core, data, strict=False)
            assert type(error) is ParseError

    def test_meta_of_a_result_is_checked_when_asked_for(self, core: SimpleNamespace) -> None:
        envelope = core.parse(b'{"jsonrpc":"2.0","id":1,"result":{"a" 1}}', strict=False)
        with pytest.raises(ParseError, match="Expected ':', got '1' at byte 38"):
            _ = envelope.meta

    def test_items_of_a_batch_are_checked_when_asked_for(self, core: SimpleNamespace) -> None:
        envelope = core.parse(b'[{"a":NaN} {}]', strict=False)
        with pytest.raises(ParseError, match=r"Expected ',' or '\]', got '\{' at byte 11"):
            envelope.items()


class TestRelease:
    @pytest.mark.parametrize("strict", [True, False])
    def test_a_batch_has_no_items_then(self, core: SimpleNamespace, strict: bool) -> None:
        envelope = core.parse(b"[" + b"1," * 3000 + b"1]", strict=strict)
        envelope.release()
        with pytest.raises(ValueError, match="Envelope was released"):
            envelope.items()
        assert envelope.kind is Kind.BATCH


@pytest.mark.parametrize("function", ["parse", "validate", "skip_value"])
def test_bytes_must_lie_together(core: SimpleNamespace, function: str) -> None:
    with pytest.raises(BufferError):
        getattr(core, function)(memoryview(b"[11]  ")[::2])
