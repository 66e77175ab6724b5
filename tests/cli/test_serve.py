"""What ``taut serve`` makes of its options for HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from taut.cli.parser import Options, parse
from taut.cli.serve import _http_options
from taut.errors import ConfigError
from taut.transport.http.options import HttpOptions


def read(*words: str) -> HttpOptions | None:
    options = Options()
    parse(["serve", "server.py", *words], options)
    return _http_options(options)


def made(*words: str) -> HttpOptions:
    options = read(*words)
    assert options is not None
    return options


def test_without_any_it_is_stdio() -> None:
    assert read() is None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8000", "127.0.0.1", 8000),
        (":8000", "127.0.0.1", 8000),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:80", "::1", 80),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    options = made("--http", text)
    assert (options.host, options.port) == (host, port)


def test_every_flag_is_an_option(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("sesame\nand more")
    # fmt: off
    options = made(
        "--uds", "s", "--uds-permissions", "660", "--path", "/x", "--root-path", "/api", "--workers", "3",
        "--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a",
        "--tls-password-file", str(tmp_path / "word"), "--allowed-host", "a.example",
        "--allowed-host", "b.example", "--allowed-origin", "https://c.example",
        "--forwarded-allow-ips", "10.0.0.1", "--no-sessions", "--max-connections", "5", "--keep-alive", "9",
        "--grace", "0.5",
    )
    # fmt: on
    assert options == HttpOptions(
        uds="s",
        uds_permissions=0o660,
        path="/x",
        root_path="/api",
        workers=3,
        tls_cert="c",
        tls_key="k",
        tls_client_ca="a",
        tls_password="sesame",
        allowed_hosts=("a.example", "b.example"),
        allowed_origins=("https://c.example",),
        forwarded_allow_ips=("10.0.0.1",),
        sessions=False,
        max_connections=5,
        keep_alive_s=9.0,
        grace_s=0.5,
    )
    assert made("--fd", "3", "--sessions").sessions is True


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--workers", "2"], "Expected --http HOST:PORT, --uds PATH or --fd N beside --workers"),
        (["--http", "here"], "Expected --http HOST:PORT, got 'here'"),
        (["--http", "80", "--workers", "0"], "--workers: expected 1 or more, got 0"),
        (["--http", "80", "--workers", "x"], "argument --workers: invalid int value: 'x'"),
        (["--http", "80", "--tls-key", "k"], "--tls-key: expected --tls-cert beside it, got none"),
        (["--http", "80", "--path", "mcp"], "--path: expected one that begins with /"),
        (["--http", "99999"], "--http: expected 0 to 65535, got 99999"),
        (["--http", "80", "--uds", "s"], "Expected one place to listen at, got uds and host and port"),
        (["--uds", "s", "--uds-permissions", "9"], "argument --uds-permissions: invalid mode value: '9'"),
        (["--http", "80", "--workers", "2", "--sessions"], "--sessions: a session lives in one process"),
        (["--http", "80", "--tls-password-file", "none"], "--tls-password-file: cannot read none"),
        (["--http", "80", "--grace", "0"], "invalid seconds value: '0'"),
        (["--http", "80", "--grace", "1e9"], "--grace: expected seconds, at most those of a day"),
    ],
)
def test_mistakes_are_told_by_flag(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*words)
    assert problem in str(caught.value)
