"""Find the official schemas and examples of MCP, for the tests that compare with them.

They are no part of this repository. ``$TAUT_SPEC`` names the directory, else ``../shared/spec`` beside the
checkout is tried: ``<revision>/schema.json`` and ``<revision>/examples/<Definition>/*.json``. Tests that need
them are marked with `needs_spec`, and skip without; what they prove has a second witness in the official SDK.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def directory() -> Path | None:
    """Return the directory with the official schemas, or None."""
    named = os.environ.get("TAUT_SPEC")
    path = Path(named) if named else CHECKOUT.parent / "shared" / "spec"
    return path if (path / "2026-07-28" / "schema.json").is_file() else None


needs_spec = pytest.mark.skipif(
    directory() is None, reason="the official schemas are not here: set TAUT_SPEC to their directory"
)


@cache
def schema(revision: str) -> dict[str, Any]:
    """Return the official JSON Schema of a revision."""
    found = directory()
    assert found is not None
    document: dict[str, Any] = json.loads((found / revision / "schema.json").read_bytes())
    return document


def definitions(revision: str) -> dict[str, Any]:
    """Return the definitions of a revision's schema by name."""
    document = schema(revision)
    found: dict[str, Any] = document.get("$defs") or document["definitions"]
    return found


def reference(revision: str, definition: str) -> dict[str, Any]:
    """Return a schema that is one definition of a revision, with all that it refers to."""
    document = schema(revision)
    keyword = "$defs" if "$defs" in document else "definitions"
    return {"$schema": document["$schema"], "$ref": f"#/{keyword}/{definition}", keyword: document[keyword]}


def examples(revision: str) -> list[Path]:
    """Return the official examples; the name of a file's directory is the definition that it shows."""
    found = directory()
    return [] if found is None else sorted(found.glob(f"{revision}/examples/*/*.json"))
