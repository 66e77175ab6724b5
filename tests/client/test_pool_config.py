"""One server of a pool as data: what a table of a configuration file may say, and what becomes of it."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from taut.client import HttpSettings, ServerConfig, ServerPool
from taut.errors import AuthorizationRequired, ConfigError


class Tokens:
    async def token(self) -> str | None:
        return "t"

    async def challenged(self, error: AuthorizationRequired) -> bool:
        return False


def convert(**table: Any) -> ServerConfig:
    return msgspec.convert(table, ServerConfig)


class TestTables:
    def test_one_from_toml(self) -> None:
        table = b"""
            command = "uvx"
            args = ["mcp-server-git", "--repository", "."]
            env = { TOKEN = "secret" }
            timeout_s = 5
            required = false
            description = "Looks into the repository."
        """
        config = msgspec.toml.decode(table, type=ServerConfig)
        assert config.target() == ["uvx", "mcp-server-git", "--repository", "."]
        assert config.timeout_s == 5
        assert not config.required

    def test_one_from_json_and_back(self) -> None:
        config = convert(url="https://example.com/mcp", headers={"X-Key": "secret"}, proxy="http://proxy")
        assert msgspec.json.decode(msgspec.json.encode(config), type=ServerConfig) == config

    def test_a_key_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(msgspec.ValidationError, match="unknown field `comand`"):
            convert(comand="x")

    @pytest.mark.parametrize(
        ("table", "what"),
        [
            ({}, "a command or a url, got neither"),
            ({"command": "x", "url": "http://x/mcp"}, "a command or a url, got both"),
            ({"command": ""}, "a command, got ''"),
            ({"command": []}, r"a command, got \[\]"),
            ({"url": "example.com/mcp"}, "a url of http, https, ws or wss, got 'example.com/mcp'"),
            ({"url": "http://x/mcp", "args": ["y"], "cwd": "/"}, "args, cwd with a command only"),
            ({"command": "x", "headers": {"a": "b"}}, "headers with a url of http or https only"),
            ({"url": "wss://x/mcp", "proxy": "http://y"}, "proxy with a url of http or https only"),
            ({"command": "x", "listen": False}, "listen with a url of http or https only"),
            ({"command": "x", "mode": "new"}, "mode to be one of auto, legacy, .*got 'new'"),
            ({"command": "x", "timeout_s": 0}, "a positive timeout_s, got 0"),
            ({"command": "x", "connect_timeout_s": -1}, "a positive connect_timeout_s, got -1"),
            ({"command": "x", "log_level": "loud"}, "a log level of"),
        ],
    )
    def test_what_can_never_work_is_refused(self, table: dict[str, Any], what: str) -> None:
        with pytest.raises(ConfigError, match=what):
            convert(**table)

    def test_secrets_are_not_shown(self) -> None:
        child = convert(command="x", env={"TOKEN": "secret"})
        remote = convert(url="https://x/mcp", headers={"X-Key": "secret"}, proxy="http://me:secret@proxy:1")
        assert "secret" not in repr(child) + repr(remote)
        assert "TOKEN" in repr(child)
        assert "proxy:1" in repr(remote)


class TestTargets:
    @pytest.mark.parametrize(
        ("table", "target"),
        [
            ({"command": "uvx some-server"}, "uvx some-server"),
            ({"command": "/with a space/server", "args": ["-v"]}, ["/with a space/server", "-v"]),
            ({"command": ["a", "b"], "args": ["c"]}, ["a", "b", "c"]),
            ({"command": "server.py", "args": ["c"]}, [sys.executable, "server.py", "c"]),
            ({"url": "http://x/mcp"}, "http://x/mcp"),
        ],
    )
    def test_what_a_client_connects_to(self, table: dict[str, Any], target: Any) -> None:
        assert convert(**table).target() == target


class TestOptions:
    def test_the_childs_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURS", "1")
        monkeypatch.setenv("KEY", "secret")
        for table, env in (
            ({}, None),
            ({"inherit_env": False}, {}),
            ({"inherit_env": ["OURS", "MISSING"], "env": {"A": "b"}}, {"OURS": "1", "A": "b"}),
        ):
            assert convert(command="x", **table).options({})["env"] == env
        whole = convert(command="x", env={"KEY": "theirs"}).options({})["env"]
        assert (whole["OURS"], whole["KEY"]) == ("1", "theirs")
        assert convert(command="x", env={"A": "b"}).options({"env": {"C": "d"}})["env"] == {
            "A": "b",
            "C": "d",
        }

    def test_what_is_said_overrules_what_is_said_for_all(self) -> None:
        common = {"timeout_s": 7.0, "mode": "legacy", "stderr": print}
        options = convert(url="ws://x/mcp", mode="2026-07-28", tasks=True).options(common)
        assert options == {"timeout_s": 7.0, "mode": "2026-07-28", "stderr": print, "tasks": True}
        assert common == {"timeout_s": 7.0, "mode": "legacy", "stderr": print}

    def test_http_settings(self) -> None:
        tokens = Tokens()
        base = HttpSettings(headers={"A": "1"}, idle_s=3, auth=tokens)
        config = convert(url="https://x/mcp", headers={"B": "2"}, trust_env=False, uds="/run/x")
        http = config.options({"http": base})["http"]
        expected = HttpSettings(
            headers={"A": "1", "B": "2"}, idle_s=3, auth=tokens, trust_env=False, uds="/run/x"
        )
        assert http == expected

    def test_tokens_come_by_the_name_of_the_server(self) -> None:
        tokens = Tokens()
        servers = {"one": convert(url="https://x/mcp", headers={"A": "1"}), "two": "https://y/mcp"}
        pool = ServerPool(servers, auth={"one": tokens})
        assert pool._plans["one"].options["http"].auth is tokens
        assert pool._plans["one"].options["http"].headers == {"A": "1"}
        assert "http" not in pool._plans["two"].options
        with pytest.raises(ConfigError, match="one: Expected auth or a header Authorization, got both"):
            ServerPool(
                {"one": convert(url="https://x/mcp", headers={"Authorization": "x"})}, auth={"one": tokens}
            )
