"""The document of agents files is true: its files can be loaded, and its commands print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest

from taut.agent.config import load
from taut.agent.config.editors import json_schema
from taut.agent.config.models import TYPES
from taut.agent.config.patterns import PATTERNS

pytestmark = pytest.mark.processes

DOCUMENT = Path(__file__).parents[2] / "docs" / "agents-toml.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(DOCUMENT.read_text())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with all files of the document, and a ``taut`` to run them."""
    for kind, text in BLOCKS:
        name = re.match(r"# ([\w.]+)\n", text)
        if name and kind in ("toml", "python"):
            (tmp_path / name[1]).write_text(text)
    program = tmp_path / "bin" / "taut"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m taut "$@"\n')
    program.chmod(0o755)
    return tmp_path


def test_its_files_are_fine(directory: Path) -> None:
    validator = jsonschema_rs.Draft7Validator(json_schema())
    files = sorted(directory.glob("*.toml"))
    assert len(files) >= 6
    for path in files:
        load(path, environ={})
        validator.validate(msgspec.toml.decode(path.read_bytes()))


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a POSIX shell")
def test_its_commands_print_what_it_says(directory: Path) -> None:
    environment = {**os.environ, "PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}
    count = 0
    for kind, text in BLOCKS:
        if kind != "console" or not text.startswith("$ "):
            continue
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            done = subprocess.run(
                command,
                shell=True,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.stdout == expected, (command, done.stderr)
            count += 1
    assert count >= 6


def test_it_names_every_provider_and_pattern() -> None:
    text = DOCUMENT.read_text()
    patterns = [str(kind.__struct_config__.tag) for kind in PATTERNS.__args__]
    assert [name for name in (*TYPES, *patterns) if f"`{name}`" not in text] == []
