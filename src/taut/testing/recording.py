"""The file of recorded conversations: JSON lines, each thing once.

A line is a message, the tools of a request, or an exchange: what was asked, by reference, and what was answered. So a
conversation of many steps, each of which asks with all that was before, takes no more room than what was said in it.
Settings are not recorded, and no other thing that a model's client adds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from taut.errors import ConfigError
from taut.llm.messages import Message
from taut.llm.model import ModelRequest, ModelResponse, ToolSpec

__all__ = ["Asked", "Exchange", "Recording", "Writer", "asked"]


class Asked(Struct, frozen=True, omit_defaults=True):
    """What a model was asked with, but for settings; ``messages`` and ``tools`` are digests."""

    messages: tuple[str, ...]
    instructions: str = ""
    tools: str = ""
    tool_choice: str = "auto"
    output_schema: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        """Names the question: the same one has the same digest, in every process."""
        return _digest(self)


class RecordedMessage(Struct, frozen=True, tag_field="line", tag="message"):
    """A message that exchanges refer to."""

    digest: str
    message: Message


class RecordedTools(Struct, frozen=True, tag_field="line", tag="tools"):
    """The tools that exchanges refer to."""

    digest: str
    tools: tuple[ToolSpec, ...]


class Exchange(Struct, frozen=True, tag_field="line", tag="exchange"):
    """One request and its answer."""

    asked: Asked
    response: ModelResponse


Line: TypeAlias = RecordedMessage | RecordedTools | Exchange

_decode = msgspec.json.Decoder(Line).decode


class Writer:
    """Writes a recording to ``path``, from its first exchange on; what was there is replaced unless ``append``."""

    def __init__(self, path: str | os.PathLike[str], *, append: bool) -> None:
        self._path = Path(path)
        self._append = append
        self._written: set[str] = set()

    def write(self, request: ModelRequest, response: ModelResponse) -> None:
        """Add an exchange.

        :raises taut.errors.ConfigError: the file cannot be written.
        """
        question = asked(request)
        lines: list[Line] = []
        for digest, message in zip(question.messages, request.messages, strict=True):
            if self._is_new(digest):
                lines.append(RecordedMessage(digest, message))
        if question.tools and self._is_new(question.tools):
            lines.append(RecordedTools(question.tools, tuple(request.tools)))
        lines.append(Exchange(question, response))
        try:
            with self._path.open("ab" if self._append else "wb") as file:
                file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        except OSError as error:
            raise ConfigError(f"Cannot record to {self._path}: {error}") from error
        self._append = True

    def _is_new(self, digest: str) -> bool:
        known = digest in self._written
        self._written.add(digest)
        return not known


class Recording(Struct, frozen=True):
    """A recording as it was read."""

    exchanges: tuple[Exchange, ...]
    messages: dict[str, Message]
    tools: dict[str, tuple[ToolSpec, ...]]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a recording.

        :raises taut.errors.ConfigError: there is none, or a line that is none of a recording.
        """
        try:
            lines = Path(path).read_bytes().splitlines()
        except OSError as error:
            raise ConfigError(f"Cannot read the recording {os.fspath(path)}: {error}") from error
        exchanges: list[Exchange] = []
        messages: dict[str, Message] = {}
        tools: dict[str, tuple[ToolSpec, ...]] = {}
        for number, text in enumerate(lines, 1):
            where = f"line {number} of the recording {os.fspath(path)}"
            try:
                line = _decode(text)
            except msgspec.DecodeError as error:
                raise ConfigError(f"Expected a message, tools or an exchange on {where}: {error}") from error
            match line:
                case RecordedMessage(digest, message):
                    messages[digest] = message
                case RecordedTools(digest, specs):
                    tools[digest] = specs
                case Exchange(question):
                    if not messages.keys() >= set(question.messages):
                        raise ConfigError(f"Expected the messages of the exchange before {where}")
                    if question.tools and question.tools not in tools:
                        raise ConfigError(f"Expected the tools of the exchange before {where}")
                    exchanges.append(line)
        return cls(tuple(exchanges), messages, tools)


def asked(request: ModelRequest) -> Asked:
    """Return what a request asks."""
    return Asked(
        tuple(map(_digest, request.messages)),
        request.instructions,
        _digest(_Tools(request.tools)) if request.tools else "",
        request.tool_choice,
        request.output_schema,
    )


class _Tools(Struct, frozen=True):
    tools: Sequence[ToolSpec]


def _digest(value: Struct) -> str:
    # In sorted order: arguments that a program made have their keys in any.
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:24]
