"""Models: one protocol (`Model`), several clients. The clients are loaded when they are first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from taut.llm.messages import (
    Audio,
    Content,
    Image,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    assistant,
    tool_results,
    user,
)
from taut.llm.model import (
    Model,
    ModelEvent,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    OnEvent,
    Restarted,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolSpec,
    ignore,
)

if TYPE_CHECKING:
    from taut.llm.actions import ActionOptions, JsonActions
    from taut.llm.anthropic import AnthropicModel
    from taut.llm.http import HttpOptions
    from taut.llm.local import LocalModel, serve_local
    from taut.llm.open import open_model
    from taut.llm.openai import OpenAIModel
    from taut.llm.prices import Price, Prices
    from taut.llm.sampling import SamplingModel, sampling_answerer
    from taut.llm.streaming import ModelStream, stream

__all__ = [
    "ActionOptions",
    "AnthropicModel",
    "Audio",
    "Content",
    "HttpOptions",
    "Image",
    "JsonActions",
    "LocalModel",
    "Message",
    "Model",
    "ModelEvent",
    "ModelRequest",
    "ModelResponse",
    "ModelSettings",
    "ModelStream",
    "OnEvent",
    "OpenAIModel",
    "Part",
    "Price",
    "Prices",
    "Restarted",
    "SamplingModel",
    "StopReason",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "ToolSpec",
    "Usage",
    "assistant",
    "ignore",
    "open_model",
    "sampling_answerer",
    "serve_local",
    "stream",
    "tool_results",
    "user",
]

_HOMES = {
    "ActionOptions": "actions",
    "AnthropicModel": "anthropic",
    "HttpOptions": "http",
    "JsonActions": "actions",
    "LocalModel": "local",
    "ModelStream": "streaming",
    "OpenAIModel": "openai",
    "Price": "prices",
    "Prices": "prices",
    "SamplingModel": "sampling",
    "open_model": "open",
    "sampling_answerer": "sampling",
    "serve_local": "local",
    "stream": "streaming",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'taut.llm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"taut.llm.{home}"), name)
    globals()[name] = value
    return value
