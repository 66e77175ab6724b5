"""What `taut.testing` has to offer, and what it costs to import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import taut.testing

#: Loaded by nobody who only wants a model.
HEAVY = {"uvicorn", "httptools", "pydantic", "httpx", "openai", "anthropic", "numpy", "starlette"}


def test_all_is_sorted_and_complete() -> None:
    assert taut.testing.__all__ == sorted(set(taut.testing.__all__))
    assert set(taut.testing.__all__) == set(taut.testing._HOMES)


@pytest.mark.parametrize("name", taut.testing.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(taut.testing, name) is not None


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        taut.testing.Nothing  # noqa: B018


def test_models_load_nothing_heavy() -> None:
    names = [name for name in taut.testing.__all__ if name not in ("FakeOpenAI", "Fault")]
    code = f"import sys, json; from taut.testing import {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert not loaded & HEAVY
