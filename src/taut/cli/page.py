"""What a command shows, apart from how: blocks of text with styles by meaning, and the choice of a renderer.

On a terminal, with the extra ``taut[cli]``, `taut.cli.terminal` renders them with rich (which respects ``NO_COLOR``);
everywhere else, and without the extra, `taut.cli.plain` does, in text that other programs can read.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

__all__ = [
    "Block",
    "Entries",
    "Entry",
    "Facts",
    "Heading",
    "Spans",
    "Table",
    "plain_text",
    "show",
    "show_json",
]

Style: TypeAlias = Literal["", "name", "type", "value", "faint", "good", "bad", "title"]
#: A line: pieces of text, each with the style of its meaning.
Spans: TypeAlias = Sequence[tuple[str, Style]]


class Heading(NamedTuple):
    """The title of what follows."""

    spans: Spans


class Facts(NamedTuple):
    """Labels, each with a value."""

    rows: Sequence[tuple[str, Spans]]


class Entry(NamedTuple):
    """One thing of a list: a line that names it, and text about it."""

    spans: Spans
    text: str = ""


class Entries(NamedTuple):
    """A list."""

    entries: Sequence[Entry]


class Table(NamedTuple):
    """Rows under column titles; numbers stand on the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[tuple[str, Style]]]
    numbers: frozenset[int] = frozenset()


Block: TypeAlias = Heading | Facts | Entries | Table


def plain_text(spans: Spans) -> str:
    """Return a line without its styles."""
    return "".join(text for text, _ in spans)


def show(blocks: Sequence[Block]) -> None:
    """Print ``blocks`` to stdout."""
    if _is_terminal() and importlib.util.find_spec("rich") is not None:
        from taut.cli import terminal

        terminal.show(blocks)
    else:
        from taut.cli import plain

        sys.stdout.write(plain.render(blocks))


def show_json(value: object) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
