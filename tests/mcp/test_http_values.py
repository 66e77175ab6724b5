"""Values in headers, the table of mirrored arguments, and who may reach the endpoint."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError, HeaderMismatch
from taut.mcp.http.guard import Guard
from taut.mcp.http.values import ParamHeaders, decode_value, encode_value


class TestEncoding:
    @pytest.mark.parametrize(
        ("value", "encoded"),
        [
            ("us-west1", b"us-west1"),
            ("Hello, 世界", b"=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", b"=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", b"=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", b"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", b""),
            (42, b"42"),
            (-7, b"-7"),
            (True, b"true"),
        ],
    )
    def test_the_examples_of_the_specification(self, value: Any, encoded: bytes) -> None:
        assert encode_value(value) == encoded
        if isinstance(value, str):
            assert decode_value(encoded) == value

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_text_comes_back(self, text: str) -> None:
        encoded = encode_value(text)
        assert all(0x20 <= byte < 0x7F or byte == 9 for byte in encoded)
        assert encoded == encoded.strip(b" \t")
        assert decode_value(encoded) == text

    @pytest.mark.parametrize(
        "raw",
        [
            b"=?base64?YQ?=",
            b"=?base64?YQ=?=",
            b"=?base64?YR==?=",
            b"=?base64?Y Q==?=",
            b"=?base64?/w==?=",
            b"a\x00b",
            b"\xc3\xa9",
            b"a\rb",
            b"\x7f",
        ],
    )
    def test_what_is_malformed_is_no_value(self, raw: bytes) -> None:
        assert decode_value(raw) is None

    @pytest.mark.parametrize("raw", [b"=?base64?YQ==", b"YQ==?=", b"=?BASE64?YQ==?=", b"=?base64?="])
    def test_half_a_sentinel_is_text(self, raw: bytes) -> None:
        assert decode_value(raw) == raw.decode()


def table(**properties: Any) -> ParamHeaders:
    compiled = ParamHeaders.compile({"type": "object", "properties": properties})
    assert compiled is not None
    return compiled


def marked(type: Any, name: Any = "P") -> dict[str, Any]:
    return {"type": type, "x-mcp-header": name}


class TestParamHeaders:
    def test_a_schema_without_marks_has_no_table(self) -> None:
        schema = {"properties": {"x-mcp-header": {"type": "string", "default": {"x-mcp-header": 1}}}}
        assert ParamHeaders.compile(schema) is None

    @pytest.mark.parametrize(
        ("kind", "value", "header"),
        [
            ("string", "eu", b"eu"),
            ("string", "世界", encode_value("世界")),
            ("integer", 42, b"42"),
            ("integer", 42, b"42.0"),
            ("integer", 42.0, b"42"),
            ("integer", -7, b"-7"),
            ("boolean", True, b"true"),
            ("string", None, None),
        ],
    )
    def test_equal_values_agree(self, kind: str, value: Any, header: bytes | None) -> None:
        headers = {} if header is None else {b"mcp-param-p": header}
        table(p=marked(kind)).check(headers, msgspec.json.encode({"p": value}))

    @pytest.mark.parametrize(
        ("value", "header"),
        [
            ("eu", b"us"),
            ("eu", None),
            (42, b"43"),
            (42, b"4_2"),
            (42, b"42.5"),
            (42, b"9" * 5000),
            (True, b"True"),
            (True, b"1"),
            (1, b"true"),
            ("eu", b"=?base64?!?="),
            (None, b"eu"),
            ([], b"[]"),
        ],
    )
    def test_values_that_differ_do_not(self, value: Any, header: bytes | None) -> None:
        headers = {} if header is None else {b"mcp-param-p": header}
        with pytest.raises(HeaderMismatch, match="mcp-param-p"):
            table(p=marked("string")).check(headers, msgspec.json.encode({"p": value}))

    def test_nested_properties_are_reached(self) -> None:
        nested = table(outer={"type": "object", "properties": {"p": marked("string")}})
        nested.check({b"mcp-param-p": b"x"}, b'{"outer":{"p":"x"}}')
        nested.check({}, b'{"outer":3}')
        nested.check({}, None)
        with pytest.raises(HeaderMismatch, match=r"outer\.p"):
            nested.check({b"mcp-param-p": b"y"}, b'{"outer":{"p":"x"}}')

    @pytest.mark.parametrize(
        "properties",
        [
            {"p": marked("number")},
            {"p": marked(["string", "null"])},
            {"p": marked("string", "")},
            {"p": marked("string", "a b")},
            {"p": marked("string", "a\r\nb")},
            {"p": marked("string", 3)},
            {"p": marked("string", "Same"), "q": marked("string", "SAME")},
            {"p": {"type": "array", "items": marked("string")}},
            {"p": {"anyOf": [marked("string")]}},
        ],
    )
    def test_marks_that_hide_a_tool_are_refused(self, properties: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="x-mcp-header"):
            ParamHeaders.compile({"type": "object", "properties": properties})


class TestGuard:
    def test_other_names_must_be_allowed(self) -> None:
        guard = Guard(["example.com", "proxy:8443"], ["https://app.example.org"])
        assert guard.problem(b"example.com:1", None) is None
        assert guard.problem(b"proxy:8443", b"https://app.example.org") is None
        assert guard.problem(b"example.com", b"https://example.com") is None
        assert guard.problem(b"proxy:80", None) is not None
        assert guard.problem(b"localhost", None) is not None
        assert guard.problem(b"example.com", b"https://evil.example") is not None

    def test_an_accepted_pair_does_not_let_its_parts_in(self) -> None:
        guard = Guard()
        assert guard.problem(b"localhost", None) is None
        assert guard.problem(b"localhost", b"http://evil.example") is not None
        assert guard.problem(b"localhost", b"http://evil.example") is not None

    @pytest.mark.parametrize(
        "host",
        [
            b"localhost.evil.example",
            b"evil.example:localhost",
            b"localhost:80:80",
            b"localhost@evil",
            b"",
            b"::1",
        ],
    )
    def test_names_that_look_alike_are_foreign(self, host: bytes) -> None:
        assert Guard().problem(host, None) is not None

    def test_a_star_allows_all_hosts_but_not_all_origins(self) -> None:
        guard = Guard(["*"])
        assert guard.problem(b"anything:1", None) is None
        assert guard.problem(b"anything:1", b"http://evil.example") is not None
        assert Guard(["*"], ["*"]).problem(b"anything", b"null") is None

    @pytest.mark.parametrize("bad", [{"hosts": ["http://x"]}, {"hosts": [""]}, {"origins": ["example.com"]}])
    def test_names_that_can_never_match_are_refused(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="Expected an allowed"):
            Guard(**bad)
