"""The package from outside: its names, and what comes with them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from taut.agent import state


def loaded_by(code: str) -> set[str]:
    """Return the packages that ``code`` loads in a new interpreter."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(done.stdout))


def test_every_name_is_there_once() -> None:
    assert len(set(state.__all__)) == len(state.__all__)
    assert set(state.__all__) == set(state._HOMES)
    assert set(state.__all__) <= set(dir(state))
    for name in state.__all__:
        assert getattr(state, name) is not None
    with pytest.raises(AttributeError, match=r"module 'taut.agent.state' has no attribute 'nothing'"):
        state.nothing  # noqa: B018


def test_type_checkers_see_the_same_names_in_the_same_places() -> None:
    declared = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(state.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("taut.agent.")
        for alias in node.names
    }
    assert declared == state._HOMES


def test_optional_and_heavy_modules_come_with_what_needs_them() -> None:
    heavy = {"sqlite3", "cryptography"}
    assert not loaded_by("import taut.agent.state") & heavy
    names = "MemoryConversationStore, MemoryCheckpointStore, Compaction, transcript"
    assert not loaded_by(f"from taut.agent.state import {names}") & heavy
    stores = "SQLiteConversationStore, SQLiteCheckpointStore, SQLiteBlobStore, reseal, password_keys"
    loaded = loaded_by(f"from taut.agent.state import {stores}")
    assert "sqlite3" in loaded
    assert "cryptography" not in loaded
