"""Blocks as plain text: nothing is wrapped, cut or coloured."""

from __future__ import annotations

from collections.abc import Sequence

from taut.cli.page import Block, Entries, Facts, Heading, Table, plain_text

__all__ = ["render"]

INDENT = "    "


def render(blocks: Sequence[Block]) -> str:
    """Return the text, with an empty line between blocks but for a heading and what it heads."""
    parts: list[str] = []
    for block in blocks:
        if parts:
            parts.append("\n")
        parts += (line.rstrip() + "\n" for line in _lines(block))
    return "".join(parts)


def _lines(block: Block) -> list[str]:
    match block:
        case Heading(spans):
            return [plain_text(spans)]
        case Facts(rows):
            width = max((len(label) for label, _ in rows), default=0)
            return [f"{label:{width}}  {plain_text(spans)}" for label, spans in rows]
        case Entries(entries):
            return [line for entry in entries for line in (plain_text(entry.spans), *_indented(entry.text))]
        case Table():
            return _table(block)


def _indented(text: str) -> list[str]:
    return [INDENT + line for line in text.splitlines()]


def _table(table: Table) -> list[str]:
    cells = [list(table.columns), *([text for text, _ in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if at in table.numbers else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
