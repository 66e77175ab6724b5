"""Commands that connect to a URL."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taut.cli import main

SERVER = """
from taut import Server

app = Server("served", version="1")

@app.tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path: Path = tmp_path_factory.mktemp("served") / "server.py"
    path.write_text(SERVER)
    words = [sys.executable, "-m", "taut", "serve", str(path), "--http", "127.0.0.1:0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/mcp", child.stderr.readline())
        assert found is not None
        yield found[0]
        child.terminate()
        child.communicate(timeout=20)


class TestUrls:
    def test_tools_are_listed(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["tools", url]) == 0
        assert "Add two numbers." in capsys.readouterr().out

    def test_a_tool_is_called(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["call", url, "add", "a=2", "b=3"]) == 0
        assert capsys.readouterr().out == "5\n"

    def test_a_server_is_inspected(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", "--header", "X-Tenant: blue", url]) == 0
        assert "served" in capsys.readouterr().out

    def test_a_server_that_is_not_there_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["tools", "http://127.0.0.1:9/mcp"]) == 3
        assert "cannot connect" in capsys.readouterr().err

    def test_what_is_no_mcp_server_is_told(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["tools", url + "/elsewhere"]) == 3
        assert "Expected /mcp, got" in capsys.readouterr().err
