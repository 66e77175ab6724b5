"""Tools of MCP servers as tools of an agent. Apart from the others: an agent without servers does not load a client."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut import models
from taut.agent.tools import Call, Hints, Tool
from taut.llm.messages import Audio, Image, Text, ToolResult
from taut.llm.model import ToolSpec

if TYPE_CHECKING:
    from taut.client.pool import ServerLease

__all__ = ["ServerTool", "content_of_result"]

#: Where a tool finds the key that tells one call from another, however often it is sent.
IDEMPOTENCY_KEY = "dev.taut/idempotency-key"


@final
class ServerTool(Tool):
    """A tool of an MCP server. The server ends a call by its timeout, and hears of cancellation."""

    times_itself = True

    def __init__(self, name: str, server: str, tool: models.Tool, lease: ServerLease) -> None:
        description = tool.description or tool.title or ""
        super().__init__(ToolSpec(name, description, tool.input_schema), f"{server}:{tool.name}")
        hints = tool.annotations
        if hints:
            reads = hints.read_only_hint is True
            self.hints = Hints(reads, reads or hints.idempotent_hint is True)
        self._tool_name = tool.name
        self._lease = lease

    async def call(self, key: str, call: Call) -> ToolResult:
        """See `Tool`."""
        options: dict[str, Any] = {}
        if call.timeout_s is not None:
            options["timeout_s"] = call.timeout_s
        if call.run.root.listener is not None:
            options["on_progress"] = lambda said: call.progress(
                said.progress, said.total or None, said.message or ""
            )
        meta: dict[str, Any] = {IDEMPOTENCY_KEY: key}
        span = call.span
        if span is not None and span.traceparent is not None:
            meta["traceparent"] = span.traceparent
        result = await self._lease.call_tool(
            self._tool_name, call.call.arguments, replay=call.replay, meta=meta, **options
        )
        return ToolResult(call.call.id, self.name, content_of_result(result), result.is_error is True)


def content_of_result(result: models.CallToolResult) -> str | tuple[Text | Image | Audio, ...]:
    """Return what a model sees of a server's result: its content blocks, or its structured content without any."""
    blocks = result.content
    if len(blocks) == 1 and type(blocks[0]) is models.TextContent:
        return blocks[0].text
    if not blocks:
        if result.structured_content is msgspec.UNSET:
            return "failed" if result.is_error is True else "done"
        return msgspec.json.encode(result.structured_content).decode()
    parts = tuple(_part_of(block) for block in blocks)
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return parts


def _part_of(block: models.ContentBlock) -> Text | Image | Audio:
    match block:
        case models.TextContent():
            return Text(block.text)
        case models.ImageContent():
            return _checked(Image(block.data, block.mime_type))
        case models.AudioContent():
            return _checked(Audio(block.data, block.mime_type))
        case models.ResourceLink():
            about = f": {block.description}" if block.description else ""
            return Text(f"[resource {block.name} at {block.uri}{about}]")
        case models.EmbeddedResource():
            resource = block.resource
            if resource.text is not msgspec.UNSET:
                return Text(str(resource.text))
            blob, kind = str(resource.blob), str(resource.mime_type or "binary")
            if kind.startswith("image/"):
                return _checked(Image(blob, kind))
            return Text(f"[resource {resource.uri}, {kind}, {len(blob.rstrip('=')) * 3 // 4} bytes]")
    return Text(f"[content of type {block.type}]")


def _checked(part: Image | Audio) -> Text | Image | Audio:
    """Return the part, or words in its place: a model's provider would refuse the whole conversation."""
    for data in (part.data, "".join(part.data.split())):  # some break it into lines
        try:
            binascii.a2b_base64(data, strict_mode=True)
        except ValueError:
            continue
        return part if data is part.data else type(part)(data, part.mime_type)
    return Text(f"[{part.mime_type} that is no base64]")
