"""Long results of tools: cut for the model, kept whole in a blob store, and the tool with which the model reads on."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from taut.agent.tools import FunctionTool, Tool
from taut.errors import ToolError
from taut.llm.messages import Text, ToolResult

if TYPE_CHECKING:
    from taut.agent.state.blobs import BlobStore

__all__ = ["LongResults"]

NAME = "read_result"
#: How much one read returns at most, in bytes.
READ_BYTES = 20_000
#: Bytes of a character, at most.
MAX_CHARACTER = 4


@final
class LongResults:
    """Cuts results; ``blobs`` keeps them whole, if there is one. Offsets are in bytes of UTF-8; no character is cut."""

    def __init__(self, blobs: BlobStore | None) -> None:
        self._blobs = blobs

    async def cut(self, result: ToolResult, limit: int) -> ToolResult:
        """Return a result of at most ``limit`` characters of text, and a note that it is cut."""
        text = result.text
        if len(text) <= limit:
            return result
        note = f"\n[cut: {limit} of {len(text)} characters"
        if self._blobs is not None:
            blob = await self._blobs.put(text.encode(), mime_type="text/plain", name=result.name)
            note += f'; read on with {NAME}(id="{blob.id}", offset={len(text[:limit].encode())})'
        kept = text[:limit] + note + "]"
        if isinstance(result.content, str):
            return ToolResult(result.call_id, result.name, kept, result.is_error)
        others = tuple(part for part in result.content if not isinstance(part, Text))
        return ToolResult(result.call_id, result.name, (Text(kept), *others), result.is_error)

    def reader(self, max_chars: int | None) -> Tool | None:
        """Return the tool that reads on, in parts of at most ``max_chars``; None where nothing is kept."""
        blobs = self._blobs
        if blobs is None:
            return None
        most = READ_BYTES if max_chars is None else min(READ_BYTES, max_chars)
        from taut.agent.state.errors import BlobNotFound  # with the store itself

        async def read_result(id: str, offset: int = 0, length: int = READ_BYTES) -> str:
            """Read more of a result that was cut.

            Args:
                id: The id that stands where it was cut
                offset: Where to begin, in bytes
                length: How many bytes to read
            """
            if offset < 0 or length < 1:
                raise ToolError(
                    f"Expected an offset of at least 0 and a length of at least 1, got {offset} and {length}"
                )
            part = min(length, most)
            try:
                data = await blobs.get(id, offset, part + MAX_CHARACTER - 1)
            except BlobNotFound:
                raise ToolError(f"There is no result {id!r}") from None
            begin = next((at for at, byte in enumerate(data[:MAX_CHARACTER]) if not _continues(byte)), 0)
            end = min(part, len(data))
            while end < len(data) and _continues(data[end]):  # to the end of the last character
                end += 1
            text = data[begin:end].decode(errors="replace")
            has_more = end < len(data)
            return f"{text}\n[read on at offset={offset + end}]" if has_more and part == most else text

        tool = FunctionTool(read_result, name=NAME, read_only=True)
        tool.is_built_in = True
        return tool


def _continues(byte: int) -> bool:
    """Whether a byte is not the first one of a character."""
    return byte & 0xC0 == 0x80
