"""What a tool answered, as text; images, sound and files as a line each, and on request as files."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import msgspec

from taut import models
from taut.errors import ConfigError

__all__ = ["ResultPrinter", "brief", "size_text"]

#: What `mimetypes` calls in an odd way, or does not know on every system.
SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp", "audio/wav": ".wav", "audio/mpeg": ".mp3"}


class ResultPrinter:
    """Prints results to ``out``; media go to files in ``directory``, which is made if need be, or are only named.

    :raises taut.errors.ConfigError: a file cannot be written.
    """

    def __init__(self, out: TextIO, directory: Path | None) -> None:
        self._out = out
        self._directory = directory
        self._written = 0

    def print(self, result: models.CallToolResult) -> None:
        """Print the content, then the structured content unless the text says the same."""
        structured = result.structured_content
        said = structured is msgspec.UNSET
        for block in result.content:
            if isinstance(block, models.TextContent):
                same = not said and says_the_same(block.text, structured)
                said = said or same
                self._line(_pretty(structured) if same and _is_object(structured) else block.text)
            else:
                self._line(self._other(block))
        if not said:
            self._line(_pretty(structured))

    def _line(self, text: str) -> None:
        self._out.write(text if text.endswith("\n") else text + "\n")

    def _other(self, block: Any) -> str:
        match block:
            case models.ImageContent():
                return self._media("image", block.to_bytes, block.mime_type)
            case models.AudioContent():
                return self._media("audio", block.to_bytes, block.mime_type)
            case models.EmbeddedResource(resource=contents):
                if contents.text is not msgspec.UNSET and self._directory is None:
                    return contents.text
                return self._media(contents.uri, contents.to_bytes, contents.mime_type or "", contents.uri)
            case models.ResourceLink():
                return f"[{block.uri}: {block.title or block.name}]"
            case _:
                return f"[content of type {block.type}] {_json(block.raw)}"

    def _media(self, what: str, read: Any, mime_type: str, uri: str = "") -> str:
        try:
            data: bytes = read()
        except ValueError as error:
            return f"[{what} {mime_type}: not base64 ({error})]"
        described = f"{what} {mime_type}".strip() + f", {size_text(len(data))}"
        if self._directory is None:
            return f"[{described}; --save DIR writes it to a file]"
        return f"[{described}: {self._save(data, mime_type, uri)}]"

    def _save(self, data: bytes, mime_type: str, uri: str) -> Path:
        assert self._directory is not None
        self._written += 1
        # The last part of a URI only, and never one that hides or climbs: servers choose it.
        name = unquote(urlsplit(uri).path).replace("\\", "/").rpartition("/")[2].lstrip(".")
        suffix = SUFFIXES.get(mime_type) or mimetypes.guess_extension(mime_type) or ".bin"
        path = self._directory / (name or f"{mime_type.partition('/')[0] or 'file'}-{self._written}{suffix}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
        except (OSError, ValueError) as error:  # ValueError: a name with a null character
            raise ConfigError(f"Cannot write {path}: {error}") from error
        return path


def brief(result: models.CallToolResult) -> str:
    """Return a result in one line."""
    if result.structured_content is not msgspec.UNSET:
        return _json(_value(result.structured_content))
    texts = (one.text for one in result.content if isinstance(one, models.TextContent))
    return " ".join(" ".join(texts).split())


def says_the_same(text: str, structured: Any) -> bool:
    """Tell whether ``text`` is what ``structured`` says, where a lone ``result`` stands for its value."""
    lone = _value(structured)
    if text == lone:
        return True
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return value in (structured, lone)


def size_text(size: int) -> str:
    """Return a number of bytes for people: 812 B, 1.5 kB, 3.2 MB."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def _value(structured: Any) -> Any:
    """Return structured content without the lone ``result`` in which values that are no objects travel."""
    return (
        structured["result"]
        if isinstance(structured, dict) and list(structured) == ["result"]
        else structured
    )


def _is_object(structured: Any) -> bool:
    """Whether indenting helps."""
    return isinstance(_value(structured), (dict, list))


def _pretty(structured: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(_value(structured)), indent=2).decode()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
