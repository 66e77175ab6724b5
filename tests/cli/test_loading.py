"""From the name of a file or module to the server in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taut import Server
from taut.cli.loading import load_server
from taut.errors import ConfigError


@pytest.fixture(autouse=True)
def _imports_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(directory: Path, text: str, name: str = "srv.py") -> str:
    path = directory / name
    path.write_text("from taut import Server\n" + text)
    return str(path)


def test_the_only_server_of_a_file_is_found_whatever_its_name(tmp_path: Path) -> None:
    assert load_server(write(tmp_path, "thing = Server('one')\nalias = thing")).implementation.name == "one"


def test_an_object_is_found_by_name_even_inside_another(tmp_path: Path) -> None:
    path = write(tmp_path, "a = Server('one')\nclass ns:\n    b = Server('two')")
    assert load_server(f"{path}:a").implementation.name == "one"
    assert load_server(f"{path}:ns.b").implementation.name == "two"


def test_a_file_may_import_its_neighbours_and_itself(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_srv.py").write_text("NAME = 'n'")
    text = (
        "from dataclasses import dataclass\nimport sys, neighbour_of_srv\n"
        "@dataclass\nclass D:\n    x: 'int'\n"
        "assert sys.modules[__name__].D is D\n"
        "app = Server(neighbour_of_srv.NAME)"
    )
    assert load_server(write(tmp_path, text)).implementation.name == "n"


def test_a_module_is_found_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "app = Server('m')", "mod_of_this_test.py")
    monkeypatch.chdir(tmp_path)
    assert load_server("mod_of_this_test:app").implementation.name == "m"


def test_an_unguarded_run_does_nothing_while_loading(tmp_path: Path) -> None:
    run = Server.run
    assert load_server(write(tmp_path, "app = Server('r')\napp.run()")).implementation.name == "r"
    assert Server.run is run


def test_prints_of_the_file_stay_off_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_server(write(tmp_path, "print('hello')\napp = Server('r')"))
    assert capfd.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "", "Expected a Server in {path}, such as app = Server('demo'); there is none at the top level"),
        (
            "a = Server('1')\nb = Server('2')",
            "",
            "Expected one Server in {path}, got 2; say which: {path}:a, {path}:b",
        ),
        ("a = Server('1')", ":b", "Expected a Server named b in {path}; it has a"),
        ("a = 1", ":a", "Expected {path}:a to be a Server, got int; it has no Server"),
        (
            "import no_such_module",
            "",
            "Cannot load {path}: ModuleNotFoundError: No module named 'no_such_module' (srv.py",
        ),
        (
            "def f():\n    1 / 0\n\nf()",
            "",
            "Cannot load {path}: ZeroDivisionError: division by zero (srv.py, line 3)",
        ),
        ("a = (", "", "Cannot load {path}: SyntaxError: '(' was never closed (srv.py, line 2)"),
        (
            "app = Server('x')\n@app.tool\ndef f(a: object()): ...",
            "",
            "Cannot load {path}: f(): parameter 'a': ",
        ),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    tmp_path: Path, text: str, name: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_server(path + name)
    assert str(caught.value).startswith(message.format(path=path))


def test_what_is_no_file_and_no_module_says_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "dir.py").mkdir()
    with pytest.raises(ConfigError, match=r"got .*, which is a directory$"):
        load_server(str(tmp_path / "dir.py"))
    with pytest.raises(
        ConfigError, match=r"^Expected server\.py, server\.py:app or package\.module:app, got 'a b'$"
    ):
        load_server("a b")
    with pytest.raises(ConfigError, match=r"^Cannot load no_such_module: ModuleNotFoundError: "):
        load_server("no_such_module:app")
