"""Models across MCP: a server's handler that uses its client's model, and a client that answers with one of ours.

Both ways are ``sampling/createMessage``. `SamplingModel` asks, through a handler's context or any callable like
it; `sampling_answerer` makes the callback for ``Client(sampling=...)``. The method cannot stream, and has no
schema for an answer: where one is wanted, the model is told of it in words. Nothing of ``taut.server`` or
``taut.client`` is imported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, final

import msgspec
from msgspec import UNSET

from taut import models
from taut.errors import (
    ConfigError,
    InvalidModelAnswer,
    ModelRefused,
    ModelUnavailable,
    RemoteError,
    RequestTimeout,
    TransportError,
)
from taut.llm.actions import respond_with_actions
from taut.llm.messages import Audio, Image, Message, Part, Text, Thinking, ToolCall, ToolResult, Usage
from taut.llm.model import (
    Model,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    OnEvent,
    StopReason,
    TextDelta,
    ToolSpec,
    ignore,
)
from taut.llm.requesting import NO_SETTINGS, error_text, merge_settings, unsupported

__all__ = ["SamplingContext", "SamplingModel", "sampling_answerer"]

WHO = "the client's model"

_STOP_REASONS: dict[str, StopReason] = {
    "endTurn": "stop",
    "stopSequence": "stop",
    "maxTokens": "length",
    "toolUse": "tool_calls",
}
_SAID_REASONS = {"stop": "endTurn", "length": "maxTokens", "tool_calls": "toolUse"}


class SamplingContext(Protocol):
    """What of a handler's `taut.Context` a `SamplingModel` needs."""

    @property
    def client(self) -> Any:
        """The client: its revision and its capabilities."""

    def sample(
        self, messages: list[models.SamplingMessage], *, max_tokens: int, **options: Any
    ) -> Awaitable[models.CreateMessageResult]:
        """Ask the client's model."""


@final
class SamplingModel:
    """The model of an MCP client, asked through ``ask``: called with messages, ``max_tokens`` and further
    members of the params in snake case, it returns the `models.CreateMessageResult` (`taut.Context.sample`
    does).

    ``tool_mode`` is ``native`` where the client has declared ``sampling.tools`` (2025-11-25); `of` finds that
    out. Otherwise the model writes calls as JSON. ``preferences`` say which model the client should choose.
    What it costs is the client's, and not known here; the usage has no tokens.
    """

    def __init__(
        self,
        ask: Callable[..., Awaitable[models.CreateMessageResult]],
        *,
        name: str = "sampling",
        tool_mode: Literal["native", "json_schema"] = "json_schema",
        max_tokens: int = 1024,
        settings: ModelSettings = NO_SETTINGS,
        preferences: models.ModelPreferences | None = None,
    ) -> None:
        if tool_mode not in ("native", "json_schema"):
            raise ConfigError(f"Expected tool_mode 'native' or 'json_schema', got {tool_mode!r}")
        self._ask = ask
        self._name = name
        self._tool_mode = tool_mode
        self._max_tokens = max_tokens
        self._settings = settings
        self._preferences = preferences

    @classmethod
    def of(cls, context: SamplingContext, **options: Any) -> SamplingModel:
        """Return the model of the client that a handler works for, with the ``tool_mode`` that it can do."""
        declared = models.declares(context.client.capabilities, "sampling.tools")
        return cls(context.sample, **{"tool_mode": "native" if declared else "json_schema", **options})

    @property
    def name(self) -> str:
        """See `taut.llm.Model`."""
        return self._name

    def __repr__(self) -> str:
        return f"SamplingModel({self._name!r}, tool_mode={self._tool_mode!r})"

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """See `taut.llm.Model`. What the client's user declines is `taut.errors.ModelRefused`."""
        if self._tool_mode == "json_schema" and request.tools:
            return await respond_with_actions(self._respond, request, on_event)
        return await self._respond(request, on_event)

    async def _respond(self, request: ModelRequest, on_event: OnEvent) -> ModelResponse:
        settings = merge_settings(self._settings, request.settings)
        tools, choice = _chosen(request)
        options: dict[str, Any] = {
            "system_prompt": _instructions(request) or None,
            "temperature": settings.temperature,
            "stop_sequences": list(settings.stop) or None,
            "model_preferences": self._preferences,
            "tools": [_tool(spec) for spec in tools] or None,
            "tool_choice": models.ToolChoice(choice) if choice is not None else None,
            "metadata": settings.extra or None,
        }
        given = {name: value for name, value in options.items() if value is not None}
        messages = [made for message in request.messages if (made := _message(message)) is not None]
        max_tokens = self._max_tokens if settings.max_tokens is None else settings.max_tokens
        try:
            result = await self._ask(messages, max_tokens=max_tokens, **given)
        except (RequestTimeout, TransportError) as error:
            raise ModelUnavailable(f"{WHO}: {error}") from error
        except RemoteError as error:
            raise ModelRefused(f"{WHO}: {error}") from error
        response = _response(result)
        if response.message.text:
            on_event(TextDelta(response.message.text))
        return response

    async def close(self) -> None:
        """See `taut.llm.Model`. There is nothing to close."""


def _chosen(request: ModelRequest) -> tuple[Sequence[ToolSpec], Literal["none", "required"] | None]:
    """Return the tools and the choice among them: a certain one can only be asked for by giving no others."""
    choice = request.tool_choice
    if not request.tools or choice == "auto":
        return request.tools, None
    if choice == "none":
        return request.tools, "none"
    chosen = [tool for tool in request.tools if tool.name == choice]
    return chosen or request.tools, "required"


def _instructions(request: ModelRequest) -> str:
    if request.output_schema is None:
        return request.instructions
    schema = msgspec.json.encode(request.output_schema).decode()
    told = f"Your answer must be JSON of this JSON Schema, and nothing else:\n{schema}"
    return f"{request.instructions}\n\n{told}" if request.instructions else told


def _tool(spec: ToolSpec) -> models.Tool:
    return models.Tool(
        spec.name, {"type": "object", **spec.input_schema}, description=spec.description or UNSET
    )


def _message(message: Message) -> models.SamplingMessage | None:
    """Return a message as it is sampled; None if nothing of it can be said."""
    blocks = [block for part in message.content if (block := _block(part)) is not None]
    if not blocks:
        return None
    role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
    return models.SamplingMessage(role, blocks[0] if len(blocks) == 1 else blocks)


def _block(part: Part) -> Any:
    if isinstance(part, ToolCall):
        return models.ToolUseContent(part.id, part.name, part.arguments)
    if isinstance(part, ToolResult):
        inner = part.content
        content = (
            [models.TextContent(error_text(part, inner))]
            if isinstance(inner, str)
            else [_block(one) for one in inner]
        )
        return models.ToolResultContent(part.call_id, content, is_error=part.is_error or UNSET)
    if isinstance(part, Text):
        return models.TextContent(part.text)
    if isinstance(part, Image):
        return models.ImageContent(part.data, part.mime_type)
    if isinstance(part, Audio):
        return models.AudioContent(part.data, part.mime_type)
    return None  # thinking has no place here, and the model does without


def _response(result: models.CreateMessageResult) -> ModelResponse:
    blocks = result.content if isinstance(result.content, list) else [result.content]
    parts: list[Part] = []
    for block in blocks:
        if isinstance(block, models.ToolUseContent):
            parts.append(ToolCall(block.id, block.name, dict(block.input)))
        elif isinstance(block, models.TextContent):
            parts.append(Text(block.text))
        elif isinstance(block, models.ImageContent):
            parts.append(Image(block.data, block.mime_type))
        elif isinstance(block, models.AudioContent):
            parts.append(Audio(block.data, block.mime_type))
        else:
            raise InvalidModelAnswer(f"{WHO}: expected text, media or tool uses, got {type(block).__name__}")
    said = result.stop_reason if isinstance(result.stop_reason, str) else "endTurn"
    reason = _STOP_REASONS.get(said, "other")
    if any(isinstance(part, ToolCall) for part in parts) and reason in ("stop", "other"):
        reason = "tool_calls"
    return ModelResponse(
        message=Message("assistant", tuple(parts)),
        usage=Usage(requests=1, cost=None),
        stop_reason=reason,
        model=result.model,
    )


# -- the other way


def sampling_answerer(
    model: Model, *, settings: ModelSettings = NO_SETTINGS
) -> Callable[[models.CreateMessageParams], Awaitable[models.CreateMessageResult]]:
    """Return what answers a server's ``sampling/createMessage`` with ``model``, for ``Client(sampling=...)``.

    ``settings`` are used where the server asks for nothing else. A server may only use tools if the client says
    so: ``Client(capabilities=models.ClientCapabilities(sampling=models.SamplingCapability(tools={})))``. The
    user is not asked; put a callable of your own before it for that.
    """

    async def answer(params: models.CreateMessageParams) -> models.CreateMessageResult:
        response = await model.respond(_request(params, settings))
        blocks = [_answered(part) for part in response.message.content if not isinstance(part, Thinking)]
        if not blocks:
            blocks = [models.TextContent("")]
        return models.CreateMessageResult(
            role="assistant",
            content=blocks[0] if len(blocks) == 1 else blocks,
            model=response.model or model.name,
            stop_reason=_SAID_REASONS.get(response.stop_reason, response.stop_reason),
        )

    return answer


def _answered(part: Part) -> Any:
    if isinstance(part, ToolResult):
        raise unsupported("sampling", part, "an answer")
    return _block(part)


def _request(params: models.CreateMessageParams, settings: ModelSettings) -> ModelRequest:
    asked = ModelSettings(
        temperature=None if params.temperature is UNSET else params.temperature,
        max_tokens=params.max_tokens,
        stop=() if params.stop_sequences is UNSET else tuple(params.stop_sequences),
    )
    choice = UNSET if params.tool_choice is UNSET else params.tool_choice.mode
    names: dict[str, str] = {}
    return ModelRequest(
        messages=[_read(message, names) for message in params.messages],
        instructions="" if params.system_prompt is UNSET else params.system_prompt,
        tools=[
            ToolSpec(tool.name, "" if tool.description is UNSET else tool.description, tool.input_schema)
            for tool in ([] if params.tools is UNSET else params.tools)
        ],
        tool_choice="auto" if choice is UNSET else choice,
        settings=merge_settings(settings, asked),
    )


def _read(message: models.SamplingMessage, names: dict[str, str]) -> Message:
    """Return a message in our terms; ``names`` are those of the tools by the ids of their uses."""
    blocks = message.content if isinstance(message.content, list) else [message.content]
    parts = tuple(_part(block, names) for block in blocks)
    if message.role == "assistant":
        return Message("assistant", parts)
    return Message("tool" if any(isinstance(part, ToolResult) for part in parts) else "user", parts)


def _part(block: Any, names: dict[str, str]) -> Part:
    if isinstance(block, models.ToolUseContent):
        names[block.id] = block.name
        return ToolCall(block.id, block.name, dict(block.input))
    if isinstance(block, models.ToolResultContent):
        content = tuple(_content(one) for one in block.content)
        return ToolResult(
            block.tool_use_id, names.get(block.tool_use_id, "tool"), content, is_error=block.is_error is True
        )
    return _content(block)


def _content(block: Any) -> Text | Image | Audio:
    if isinstance(block, models.TextContent):
        return Text(block.text)
    if isinstance(block, models.ImageContent):
        return Image(block.data, block.mime_type)
    if isinstance(block, models.AudioContent):
        return Audio(block.data, block.mime_type)
    if isinstance(block, models.EmbeddedResource) and isinstance(block.resource.text, str):
        return Text(block.resource.text)
    if isinstance(block, models.ResourceLink):
        return Text(f"{block.name}: {block.uri}")
    return Text(msgspec.json.encode(models.to_dict(block, models.REVISIONS[-1])).decode())
