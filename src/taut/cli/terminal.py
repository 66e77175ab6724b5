"""Blocks on a terminal, with rich: colour, wrapped text, tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text
from rich.theme import Theme

from taut.cli.page import Block, Entries, Facts, Heading, Spans, Table

__all__ = ["show"]

#: Colours of the terminal's own palette only: they fit light and dark backgrounds.
THEME = Theme(
    {
        "taut.title": "bold",
        "taut.name": "bold cyan",
        "taut.type": "green",
        "taut.value": "default",
        "taut.faint": "bright_black",
        "taut.good": "bold green",
        "taut.bad": "bold red",
    }
)
#: Lines longer than this are hard to read, however wide the window is.
MAX_WIDTH = 110


def show(blocks: Sequence[Block]) -> None:
    """Print ``blocks`` to stdout."""
    console = Console(theme=THEME, highlight=False, markup=False, emoji=False)
    console.width = min(console.width, MAX_WIDTH)
    for at, block in enumerate(blocks):
        if at:
            console.print()
        for part in _parts(block):
            console.print(part)


def _parts(block: Block) -> list[RenderableType]:
    match block:
        case Heading(spans):
            return [_text(spans)]
        case Facts(rows):
            return [_facts(rows)]
        case Entries(entries):
            parts: list[RenderableType] = []
            for entry in entries:
                parts.append(_text(entry.spans))
                if entry.text:
                    parts.append(Padding(Text(entry.text, style="taut.faint"), (0, 0, 0, 4)))
            return parts
        case Table():
            return [_table(block)]


def _facts(rows: Sequence[tuple[str, Spans]]) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="taut.faint", no_wrap=True)
    grid.add_column()
    for label, spans in rows:
        grid.add_row(label, _text(spans))
    return grid


def _table(table: Table) -> RichTable:
    rich = RichTable(box=SIMPLE_HEAD, padding=(0, 1), header_style="taut.faint", show_edge=False)
    for at, column in enumerate(table.columns):
        rich.add_column(column, justify="right" if at in table.numbers else "left")
    for row in table.rows:
        rich.add_row(*(_text([cell]) for cell in row))
    return rich


def _text(spans: Spans) -> Text:
    text = Text()
    for piece, style in spans:
        text.append(piece, style=f"taut.{style}" if style else "")
    return text
