"""The package from outside: public names, what an import costs, and what does not belong in it."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import taut

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(taut.__file__).parent

#: Needed only by those who ask for them: none may be loaded by a server.
OPTIONAL = {
    "cryptography",
    "httptools",
    "httpx",
    "pydantic",
    "pygments",
    "rich",
    "starlette",
    "uvicorn",
    "opentelemetry",
    "numpy",
    "openai",
    "anthropic",
    "xllamacpp",
}
#: Ours, and what msgspec itself loads.
DEPENDENCIES = {"taut", "msgspec", "uvloop", "typing_extensions"}


def loaded_by(code: str) -> set[str]:
    """Return the modules that ``code`` loads in a new interpreter, beyond what the interpreter itself has."""
    script = f"""
import json, sys
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(done.stdout))


class TestPublicNames:
    def test_all_is_sorted_and_complete(self) -> None:
        assert taut.__all__ == sorted(set(taut.__all__))
        assert set(taut.__all__) <= set(dir(taut))

    @pytest.mark.parametrize("name", taut.__all__)
    def test_every_name_is_there(self, name: str) -> None:
        value = getattr(taut, name)
        home = importlib.import_module(value.__module__)
        assert getattr(home, value.__name__) is value

    def test_type_checkers_see_the_same_names(self) -> None:
        imports = [
            node
            for node in ast.walk(ast.parse(Path(taut.__file__).read_text()))
            if isinstance(node, ast.ImportFrom)
        ]
        declared = {
            alias.name for node in imports if (node.module or "").startswith("taut.") for alias in node.names
        }
        assert declared == set(taut.__all__)

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="module 'taut' has no attribute 'nothing'"):
            taut.nothing  # noqa: B018

    @pytest.mark.parametrize(
        "module",
        [
            "taut._core",
            "taut.agent",
            "taut.agent.patterns",
            "taut.agent.state",
            "taut.client",
            "taut.errors",
            "taut.llm",
            "taut.mcp.limits",
            "taut.models",
            "taut.server",
            "taut.steps",
            "taut.testing",
        ],
    )
    def test_all_of_a_module_exists(self, module: str) -> None:
        found = importlib.import_module(module)
        assert [name for name in found.__all__ if not hasattr(found, name)] == []
        assert len(set(found.__all__)) == len(found.__all__)


class TestImports:
    def test_importing_taut_loads_nothing_else(self) -> None:
        ours = {name for name in loaded_by("import taut") if name.partition(".")[0] == "taut"}
        assert ours == {"taut"}
        foreign = {name.partition(".")[0] for name in loaded_by("import taut")} - sys.stdlib_module_names
        assert foreign == {"taut"}

    @pytest.mark.parametrize("name", ["Server", "Client", "Agent"])
    def test_a_server_client_or_agent_loads_no_optional_library(self, name: str) -> None:
        loaded = {module.partition(".")[0] for module in loaded_by(f"from taut import {name}")}
        assert loaded & OPTIONAL == set()
        assert {name for name in loaded - sys.stdlib_module_names if "cython" not in name} <= DEPENDENCIES

    def test_a_server_loads_no_client_and_a_client_no_server(self) -> None:
        assert "taut.client" not in loaded_by("from taut import Server")
        assert "taut.server" not in loaded_by("from taut import Client")

    def test_an_agent_loads_neither_server_nor_client_before_it_has_one(self) -> None:
        ours = {name for name in loaded_by("from taut import Agent") if name.startswith("taut")}
        assert not any(name.startswith(("taut.server", "taut.client", "taut.transport")) for name in ours)

    def test_errors_load_no_part_of_the_protocol(self) -> None:
        ours = {name for name in loaded_by("from taut import ToolError") if name.startswith("taut")}
        assert ours == {"taut", "taut.errors"}


class TestSources:
    def test_every_compiled_module_has_a_stub_and_a_twin(self) -> None:
        sources = ROOT / "ext" / "taut" / "_core"
        if not sources.is_dir():
            pytest.skip("the sources of the extensions are not here")
        for source in sources.glob("*.pyx"):
            assert (PACKAGE / "_core" / f"{source.stem}.pyi").is_file()
            assert (PACKAGE / "_core" / "_pure" / f"{source.stem}.py").is_file()

    def test_the_package_is_typed(self) -> None:
        assert (PACKAGE / "py.typed").is_file()

    def test_every_module_says_what_it_is_for(self) -> None:
        silent = [
            str(path.relative_to(PACKAGE))
            for path in PACKAGE.rglob("*.py")
            if path.stat().st_size and not path.read_text().lstrip().startswith('"""')
        ]
        assert silent == []

    def test_no_unfinished_work_is_left(self) -> None:
        marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
        found = [
            f"{path.relative_to(PACKAGE)}:{number}"
            for path in PACKAGE.rglob("*.py")
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if any(mark in line for mark in marks)
        ]
        assert found == []

    def test_nothing_names_the_machine_it_was_written_on(self) -> None:
        if not (ROOT / ".git").exists():
            pytest.skip("not a checkout")
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
        places = {str(place) for place in (ROOT, Path.home()) if len(place.parts) > 1}
        found = []
        for name in filter(None, listed):
            path = ROOT / name
            text = path.read_text(errors="replace") if path.is_file() else ""
            found += [f"{name}: {place}" for place in places if f"{place}/" in text]
        assert found == []
