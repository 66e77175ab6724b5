"""Models: one protocol (`Model`), several clients. The clients are loaded when they are first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily
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
    "ActionOptions": "taut.llm.actions",
    "AnthropicModel": "taut.llm.anthropic",
    "HttpOptions": "taut.llm.http",
    "JsonActions": "taut.llm.actions",
    "LocalModel": "taut.llm.local",
    "ModelStream": "taut.llm.streaming",
    "OpenAIModel": "taut.llm.openai",
    "Price": "taut.llm.prices",
    "Prices": "taut.llm.prices",
    "SamplingModel": "taut.llm.sampling",
    "open_model": "taut.llm.open",
    "sampling_answerer": "taut.llm.sampling",
    "serve_local": "taut.llm.local",
    "stream": "taut.llm.streaming",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
