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
_RULE = re.compile(r"-{3,}")
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
        section = _section(lines, at)
        if section is None:
            kept.append(lines[at])
            at += 1
        else:
            at = section.end
            parameters.update(section.parameters)
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return Docstring(description or None, parameters)


class _Section(NamedTuple):
    end: int
    parameters: dict[str, str]


def _section(lines: list[str], at: int) -> _Section | None:
    """Read the lines from ``at`` that are about parameters; None if the line there is not."""
    line = lines[at]
    end = _indented_end(lines, at + 1)
    if sphinx := _SPHINX_ITEM.match(line):
        text = _join([sphinx[2], *lines[at + 1 : end]])
        return _Section(end, {sphinx[1]: text} if text else {})
    if _SPHINX_TYPE.match(line):
        return _Section(end, {})
    if _GOOGLE_HEADER.match(line):
        items = _items(lines[at + 1 : end], _GOOGLE_ITEM, inline=True)
    elif line == "Parameters" and at + 1 < len(lines) and _RULE.fullmatch(lines[at + 1]):
        titles = (n for n in range(at + 2, len(lines) - 1) if lines[n] and _RULE.fullmatch(lines[n + 1]))
        end = next(titles, len(lines))
        items = _items(lines[at + 2 : end], _NUMPY_ITEM, inline=False)
    else:
        items = {}
    return _Section(end, items) if items else None


def _indented_end(lines: list[str], start: int) -> int:
    """Return where the lines end that are indented or blank."""
    end = start
    while end < len(lines) and (not lines[end] or lines[end][0].isspace()):
        end += 1
    return end


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
