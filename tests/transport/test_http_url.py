"""URLs are read strictly, and a proxy is found where the environment names one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError
from taut.transport.http.proxy import bypasses, parse_proxy, proxy_from_environment
from taut.transport.http.url import parse_url


class TestUrl:
    @pytest.mark.parametrize(
        ("text", "host", "port", "target", "authority"),
        [
            ("http://example.com", "example.com", 80, b"/", "example.com"),
            ("HTTPS://Example.COM/Mcp?a=B", "example.com", 443, b"/Mcp?a=B", "example.com"),
            ("http://example.com:80/", "example.com", 80, b"/", "example.com"),
            ("http://example.com:8080?q", "example.com", 8080, b"/?q", "example.com:8080"),
            ("http://[::1]:8000/mcp", "::1", 8000, b"/mcp", "[::1]:8000"),
            ("https://[2001:DB8::0:1]", "2001:db8::1", 443, b"/", "[2001:db8::1]"),
            ("http://127.0.0.1:1/a%20b", "127.0.0.1", 1, b"/a%20b", "127.0.0.1:1"),
            ("http://bücher.example/ü", "xn--bcher-kva.example", 80, b"/%C3%BC", "xn--bcher-kva.example"),
            ("http://my_service:65535/x#part", "my_service", 65535, b"/x", "my_service:65535"),
        ],
    )
    def test_what_is_meant(self, text: str, host: str, port: int, target: bytes, authority: str) -> None:
        url = parse_url(text)
        assert (url.host, url.port, url.target, url.authority) == (host, port, target, authority)
        assert parse_url(str(url)) == url

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "example.com",
            "/mcp",
            "ftp://example.com",
            "http:/example.com",
            "http://",
            "http://:80",
            "http://example.com:",
            "http://example.com:0",
            "http://example.com:65536",
            "http://example.com:8o",
            "http://example.com:+80",
            "http://example.com:٣",
            "http://exa mple.com",
            "http://example.com/a b",
            "http://example.com/\r\nX: y",
            "http://example.com\\@evil.example",
            "http://example.com/\x00",
            "http://-a.example",
            "http://a..b",
            "http://[::1",
            "http://[::1]x",
            "http://[fe80::1%25eth0]/",
            "http://[example.com]/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://256.1.1.1/",
            "http://" + "a" * 300,
            "http://a%2eb/",
        ],
    )
    def test_what_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError):
            parse_url(text)

    def test_a_password_is_refused_and_not_repeated(self) -> None:
        with pytest.raises(ConfigError, match="Authorization") as caught:
            parse_url("https://user:secret@example.com/")
        assert "secret" not in str(caught.value)

    @given(st.text())
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            url = parse_url("http://" + text)
        except ConfigError:
            return
        assert parse_url(str(url)) == url
        assert url.target.isascii()
        assert not set(url.target) & set(b" \r\n\x00")

    @pytest.mark.parametrize(
        ("text", "loopback"),
        [
            ("http://localhost", True),
            ("http://app.localhost.", True),
            ("http://127.9.9.9", True),
            ("http://[::1]", True),
            ("http://10.0.0.1", False),
            ("http://localhost.example", False),
        ],
    )
    def test_this_machine_is_known(self, text: str, loopback: bool) -> None:
        assert parse_url(text).loopback is loopback

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("/x", "http://a.example/x"),
            ("x?y", "http://a.example/m/x?y"),
            ("../x", "http://a.example/x"),
            ("//b.example/x", "http://b.example/x"),
            ("https://a.example/", "https://a.example/"),
        ],
    )
    def test_references(self, reference: str, expected: str) -> None:
        assert str(parse_url("http://a.example/m/n").join(reference)) == expected


class TestProxy:
    @pytest.mark.parametrize(
        ("environ", "url", "expected"),
        [
            ({}, "http://a.example", None),
            ({"http_proxy": "http://p:1"}, "http://a.example", "http://p:1"),
            ({"HTTP_PROXY": "http://p:1"}, "http://a.example", "http://p:1"),
            ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://q:1"}, "http://a.example", "http://q:1"),
            ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://a.example", None),
            ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http://a.example", "http://p:1"),
            ({"HTTP_PROXY": "http://p:1"}, "https://a.example", None),
            ({"HTTPS_PROXY": "p:1"}, "https://a.example", "http://p:1"),
            ({"ALL_PROXY": "https://p"}, "https://a.example", "https://p"),
            ({"ALL_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "https://a.example", "http://q:1"),
            ({"HTTP_PROXY": " "}, "http://a.example", None),
            ({"ALL_PROXY": "http://p:1"}, "http://127.0.0.1", None),
            ({"ALL_PROXY": "http://p:1"}, "http://localhost:8000", None),
            ({"ALL_PROXY": "socks5://p:1"}, "http://localhost", None),
            ({"ALL_PROXY": "http://p:1", "NO_PROXY": "a.example"}, "http://a.example", None),
            ({"ALL_PROXY": "http://p:1", "no_proxy": "b.example"}, "http://a.example", "http://p:1"),
            ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "a.example"}, "http://a.example", None),
        ],
    )
    def test_from_the_environment(self, environ: dict[str, str], url: str, expected: str | None) -> None:
        proxy = proxy_from_environment(parse_url(url), environ)
        assert (None if proxy is None else str(proxy)) == expected

    @pytest.mark.parametrize(
        ("excluded", "url", "expected"),
        [
            ("*", "http://a.example", True),
            ("example", "http://a.example", True),
            (".example", "http://a.example", True),
            (".a.example", "http://a.example", True),
            ("*.example", "http://a.example", True),
            ("A.Example", "http://a.example", True),
            ("ample", "http://a.example", False),
            ("b.a.example", "http://a.example", False),
            ("x, a.example", "http://a.example", True),
            ("x a.example", "http://a.example", True),
            ("a.example:80", "http://a.example", True),
            ("a.example:81", "http://a.example", False),
            ("10.0.0.0/8", "http://10.1.2.3", True),
            ("10.0.0.0/8", "http://11.1.2.3", False),
            ("10.1.2.3", "http://10.1.2.3:5", True),
            ("10.1.2.3:5", "http://10.1.2.3:5", True),
            ("10.1.2.3:6", "http://10.1.2.3:5", False),
            ("[fe80::1]", "http://[fe80::1]", True),
            ("[fe80::1]:80", "http://[fe80::1]", True),
            ("fe80::/10", "http://[fe80::1]", True),
            ("fe80::/10", "http://10.0.0.1", False),
            ("10.0.0.0/8", "http://a.example", False),
            ("", "http://a.example", False),
            (",", "http://a.example", False),
            (".", "http://a.example", False),
        ],
    )
    def test_what_is_reached_directly(self, excluded: str, url: str, expected: bool) -> None:
        assert bypasses(parse_url(url), excluded) is expected

    def test_credentials_go_into_the_header_and_nowhere_else(self) -> None:
        proxy = parse_proxy("http://user:p%40ss@proxy.example:3128")
        assert proxy.authorization == b"Basic dXNlcjpwQHNz"
        assert str(proxy) == "http://proxy.example:3128"
        for shown in (repr(proxy), str(proxy), f"{proxy}"):
            assert "p@ss" not in shown
            assert "dXNlcj" not in shown

    @pytest.mark.parametrize("text", ["socks5://user:secret@p:1", "http://user:secret@p:x", "http://"])
    def test_one_that_cannot_be_used_is_refused_without_its_secret(self, text: str) -> None:
        with pytest.raises(ConfigError, match="ALL_PROXY") as caught:
            parse_proxy(text, "ALL_PROXY")
        assert "secret" not in str(caught.value)
