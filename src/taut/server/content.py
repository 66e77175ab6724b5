"""Content that handlers return: media by bytes or by file, and what a return value becomes on the wire."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec

from taut import models
from taut.errors import ConfigError
from taut.mcp.function import Function
from taut.mcp.inbound import Caller
from taut.mcp.inputs import check_input

__all__ = ["Audio", "File", "Image", "prompt_result", "resource_result", "tool_error", "tool_result"]

TextContent = models.TextContent
CallToolResult = models.CallToolResult
MODERN = models.MODERN
UNSET = msgspec.UNSET
#: Values that are JSON and nothing else.
PLAIN = frozenset({int, float, bool, dict})

#: What a result may hold as a content block.
BLOCKS = (
    models.TextContent,
    models.ImageContent,
    models.AudioContent,
    models.EmbeddedResource,
    models.ResourceLink,
)

_encode = msgspec.json.Encoder().encode


class _Media:
    """Bytes with a media type, given or read from a file when it is returned."""

    _fallback = "application/octet-stream"

    def __init__(
        self, data: bytes | None = None, *, path: str | Path | None = None, mime_type: str | None = None
    ) -> None:
        if (data is None) == (path is None):
            raise ConfigError(
                f"Expected {type(self).__name__}(data) or {type(self).__name__}(path=...), one of them"
            )
        self.path = None if path is None else Path(path)
        self._data = data
        if mime_type is None and path is not None:
            import mimetypes  # here, as it reads the system's tables: few servers return files

            mime_type = mimetypes.guess_type(str(path))[0]
        self.mime_type = mime_type or self._fallback

    def base64(self) -> str:
        """Return the bytes as base64 text."""
        data = self._data if self.path is None else self.path.read_bytes()
        return base64.b64encode(data or b"").decode("ascii")

    def block(self) -> Any:
        """Return the content block."""
        raise NotImplementedError


class Image(_Media):
    """An image that a tool or a prompt returns: ``Image(png)`` or ``Image(path="plot.png")``."""

    _fallback = "image/png"

    def block(self) -> models.ImageContent:
        """Return the content block."""
        return models.ImageContent(data=self.base64(), mime_type=self.mime_type)


class Audio(_Media):
    """Audio that a tool or a prompt returns."""

    _fallback = "audio/wav"

    def block(self) -> models.AudioContent:
        """Return the content block."""
        return models.AudioContent(data=self.base64(), mime_type=self.mime_type)


class File(_Media):
    """A file that a tool or a prompt returns, as an embedded resource."""

    def __init__(
        self,
        data: bytes | None = None,
        *,
        path: str | Path | None = None,
        mime_type: str | None = None,
        uri: str | None = None,
    ) -> None:
        super().__init__(data, path=path, mime_type=mime_type)
        self.uri = uri or ("resource://file" if self.path is None else self.path.absolute().as_uri())

    def block(self) -> models.EmbeddedResource:
        """Return the content block."""
        contents = models.ResourceContents(self.uri, blob=self.base64(), mime_type=self.mime_type)
        return models.EmbeddedResource(resource=contents)


def _block(value: object) -> Any | None:
    """Return ``value`` as a content block, or None if it is none."""
    if isinstance(value, BLOCKS):
        return value
    if isinstance(value, _Media):
        return value.block()
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def tool_result(function: Function, value: object, caller: Caller) -> Any:
    """Return what a tool's return ``value`` is on the wire.

    - a `CallToolResult` (or `InputRequiredResult`, or a task) is taken as it is;
    - ``str`` is one text block, ``None`` no content;
    - content blocks and `Image`, `Audio`, `File`, alone or in a list, are the content, strings among them text blocks;
    - everything else is JSON: a text block, and ``structuredContent`` where the tool has an output schema.
    """
    kind = type(value)
    if kind is str:
        content: list[Any] = [TextContent(value)]  # type: ignore[arg-type]
    elif kind in PLAIN:
        content = [TextContent(_encode(value).decode())]
    elif isinstance(value, models.Result):
        if isinstance(value, models.InputRequiredResult):
            check_input(value, caller)
        return value
    else:
        content = _content(value)
    # Said here, it need not be filled in by copying the result.
    result_type = "complete" if caller.revision in MODERN else UNSET
    if function.output_schema is None:
        return CallToolResult(content, result_type=result_type)
    return CallToolResult(content, structured_content=function.structured(value), result_type=result_type)


def _content(value: object) -> list[Any]:
    if value is None:
        return []
    block = _block(value)
    if block is not None:
        return [block]
    if isinstance(value, (list, tuple)):
        blocks = [_block(item) for item in value]
        if any(one is not None for one in blocks):
            return [one or TextContent(_text(item)) for one, item in zip(blocks, value, strict=True)]
    return [TextContent(_text(value))]


def tool_error(message: str) -> models.CallToolResult:
    """Return the result that tells a model what went wrong."""
    return CallToolResult([TextContent(message)], is_error=True)


def resource_result(uri: str, mime_type: str | None, value: object) -> models.ReadResourceResult:
    """Return what a resource function's ``value`` is on the wire: text, bytes, media, contents, or JSON."""
    if isinstance(value, models.ReadResourceResult):
        return value
    values = value if isinstance(value, list) and value and all(map(_is_contents, value)) else [value]
    return models.ReadResourceResult(contents=[_contents(uri, mime_type, item) for item in values])


def _is_contents(value: object) -> bool:
    return isinstance(value, models.ResourceContents)


def _contents(uri: str, mime_type: str | None, value: Any) -> Any:
    if _is_contents(value):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        blob = base64.b64encode(value).decode("ascii")
        return models.ResourceContents(uri, blob=blob, mime_type=mime_type or "application/octet-stream")
    if isinstance(value, _Media):
        return models.ResourceContents(uri, blob=value.base64(), mime_type=mime_type or value.mime_type)
    default = "text/plain" if isinstance(value, str) else "application/json"
    return models.ResourceContents(uri, text=_text(value), mime_type=mime_type or default)


def prompt_result(description: str | None, value: object) -> models.GetPromptResult:
    """Return what a prompt function's ``value`` is on the wire: strings and content blocks speak as the user."""
    if isinstance(value, models.GetPromptResult):
        return value
    values = value if isinstance(value, list) else [value]
    return models.GetPromptResult(
        description=UNSET if description is None else description,
        messages=[_message(item) for item in values],
    )


def _message(value: object) -> models.PromptMessage:
    if isinstance(value, models.PromptMessage):
        return value
    return models.PromptMessage(role="user", content=_block(value) or TextContent(_text(value)))
