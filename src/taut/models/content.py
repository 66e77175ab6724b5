"""Content blocks: what tools return, prompts contain and models see; tagged by ``type``.

Base64 members stay text until someone asks for the bytes. A type that no revision defines is kept whole in
`UnknownContent`, so that one new kind of content does not make a result unreadable.
"""

from __future__ import annotations

import binascii
from typing import TypeAlias

from msgspec import UNSET, UnsetType

from taut.models._base import UNKNOWN_TAG, JsonObject, JsonValue, Model
from taut.models.common import Annotations, Icon
from taut.models.meta import MetaObject

__all__ = [
    "AudioContent",
    "ContentBlock",
    "EmbeddedResource",
    "ImageContent",
    "ResourceContents",
    "ResourceLink",
    "SamplingContent",
    "TextContent",
    "ToolResultContent",
    "ToolUseContent",
    "UnknownContent",
]


class _WithMeta(Model, frozen=True, kw_only=True):
    meta: MetaObject | UnsetType = UNSET


class _Annotated(_WithMeta, frozen=True, kw_only=True):
    annotations: Annotations | UnsetType = UNSET


class TextContent(_Annotated, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageContent(_Annotated, frozen=True, tag_field="type", tag="image"):
    """An image; ``data`` is base64."""

    data: str
    mime_type: str

    @classmethod
    def from_bytes(
        cls, data: bytes, mime_type: str, *, annotations: Annotations | UnsetType = UNSET
    ) -> ImageContent:
        """Encode an image."""
        return cls(_to_base64(data), mime_type, annotations=annotations)

    def to_bytes(self) -> bytes:
        """Return the image. Raises ValueError when ``data`` is not base64."""
        return _from_base64(self.data)


class AudioContent(_Annotated, frozen=True, tag_field="type", tag="audio"):
    """Sound (since 2025-03-26); ``data`` is base64."""

    data: str
    mime_type: str

    @classmethod
    def from_bytes(
        cls, data: bytes, mime_type: str, *, annotations: Annotations | UnsetType = UNSET
    ) -> AudioContent:
        """Encode sound."""
        return cls(_to_base64(data), mime_type, annotations=annotations)

    def to_bytes(self) -> bytes:
        """Return the sound. Raises ValueError when ``data`` is not base64."""
        return _from_base64(self.data)


class ResourceContents(_WithMeta, frozen=True):
    """What a resource holds: either ``text`` or ``blob`` (base64), never both.

    The specification's TextResourceContents and BlobResourceContents; the member that is there tells which.
    """

    uri: str
    text: str | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.text is UNSET) is (self.blob is UNSET):
            raise ValueError("Expected exactly one of `text` and `blob`")

    @classmethod
    def from_bytes(cls, uri: str, data: bytes, mime_type: str | UnsetType = UNSET) -> ResourceContents:
        """Encode a binary resource."""
        return cls(uri, blob=_to_base64(data), mime_type=mime_type)

    def to_bytes(self) -> bytes:
        """Return the bytes of the resource, text as UTF-8. Raises ValueError when ``blob`` is not base64."""
        return _from_base64(self.blob) if isinstance(self.blob, str) else str(self.text).encode()


class EmbeddedResource(_Annotated, frozen=True, tag_field="type", tag="resource"):
    """The contents of a resource, in place."""

    resource: ResourceContents


class ResourceLink(_Annotated, frozen=True, tag_field="type", tag="resource_link"):
    """A resource that the server can read (since 2025-06-18)."""

    uri: str
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET


class UnknownContent(Model, frozen=True, tag_field="type", tag=UNKNOWN_TAG):
    """Content of a type that taut does not know; ``raw`` is the whole object, and is sent on as it came."""

    raw: JsonObject

    @property
    def type(self) -> str:
        """The type that the peer gave."""
        return str(self.raw.get("type"))


ContentBlock: TypeAlias = (
    TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource | UnknownContent
)


class ToolUseContent(_WithMeta, frozen=True, tag_field="type", tag="tool_use"):
    """A model's wish to call a tool, in sampling (since 2025-11-25)."""

    id: str
    name: str
    input: JsonObject


class ToolResultContent(_WithMeta, frozen=True, tag_field="type", tag="tool_result"):
    """What the tool answered, in sampling (since 2025-11-25)."""

    tool_use_id: str
    content: list[ContentBlock]
    structured_content: JsonValue | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET


SamplingContent: TypeAlias = (
    TextContent | ImageContent | AudioContent | ToolUseContent | ToolResultContent | UnknownContent
)


def _to_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _from_base64(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)
