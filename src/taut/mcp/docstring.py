"""What a docstring says of a function: its description, and a line about each parameter.

Reads the three styles in use: Google (``Args:``), NumPy (``Parameters`` over a rule) and Sphinx (``:param
x:``). What it says of parameters leaves the description, since it goes to the schema's properties: nothing is
sent twice. Never raises; a docstring in no style at all is all description.
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

__all__ = ["Docstring", "parse_docstring"]

_GOOGLE_HEADER = re.compile(r"(?:Args|Arguments|Parameters|Params):\s*$")
_GOOGLE_ITEM = re.compile(r"\*{0,2}(\w+)(?:\s*\([^()]*(?:\([^()]*\)[^()]*)*\))?:(?:\s+(.*)|$)")
_NUMPY_ITEM = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")
_SPHINX_ITEM = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*(.*)$")
_SPHINX_TYPE = re.compile(r":type\s+\w+:")


class Docstring(NamedTuple):
    """The description without its parameter sections (None if nothing is left), and text by parameter."""

    description: str | None
    parameters: dict[str, str]


def parse_docstring(text: str | None) -> Docstring:
    """Split ``text``, a docstring as written, into a description and the text on each parameter."""
    if not text:
        return Docstring(None, {})
    lines = inspect.cleandoc(text).splitlines()
    kept: list[str] = []
    parameters: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        if _GOOGLE_HEADER.match(line):
            block = _indented(lines, at + 1)
            items = _items(block, _GOOGLE_ITEM, inline=True)
        elif line == "Parameters" and at + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[at + 1]):
            block = lines[at + 1 : _numpy_end(lines, at + 2)]
            items = _items(block[1:], _NUMPY_ITEM, inline=False)
        elif sphinx := _SPHINX_ITEM.match(line):
            block = _indented(lines, at + 1)
            items = {sphinx[1]: _join([sphinx[2], *block])}
        elif _SPHINX_TYPE.match(line):
            block, items = _indented(lines, at + 1), {}
        else:
            block, items = [], None
        if items is None or (not items and not _SPHINX_TYPE.match(line)):
            kept.append(line)
            at += 1
        else:
            parameters.update(items)
            at += 1 + len(block)
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return Docstring(description or None, parameters)


def _indented(lines: list[str], start: int) -> list[str]:
    """Return the lines from ``start`` that are indented or blank."""
    end = start
    while end < len(lines) and (not lines[end] or lines[end][0].isspace()):
        end += 1
    return lines[start:end]


def _numpy_end(lines: list[str], start: int) -> int:
    """Return where a NumPy section ends: at the next underlined title, or at the end."""
    for at in range(start, len(lines) - 1):
        if lines[at] and re.fullmatch(r"-{3,}", lines[at + 1]):
            return at
    return len(lines)


def _items(block: list[str], pattern: re.Pattern[str], *, inline: bool) -> dict[str, str]:
    """Read items, which deeper lines continue. ``inline``: an item's text begins on its own line."""
    depths = [len(line) - len(line.lstrip()) for line in block if line]
    margin = min(depths, default=0)
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in block:
        match = pattern.match(line[margin:]) if line and not line[margin].isspace() else None
        if match is None:
            current.append(line)
            continue
        current = [match[2] or ""] if inline else []
        for name in match[1].split(","):
            found[name.strip()] = current
    return {name: text for name, parts in found.items() if (text := _join(parts))}


def _join(parts: list[str]) -> str:
    return " ".join(stripped for part in parts if (stripped := part.strip()))
