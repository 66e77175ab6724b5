"""Tool search: of thousands of tools a model's context holds no more than names, one-liners, and what was asked for.

`ToolIndex` finds tools by what they do; `Catalogue` tells a model of them. Neither calls a tool, nor knows of agents.
"""

from __future__ import annotations

from taut.agent.search.catalogue import Catalogue, Finder, estimate_tokens, one_line
from taut.agent.search.index import SEPARATOR, Embed, Field, Found, Ranking, ToolIndex
from taut.llm.signatures import signature

__all__ = [
    "SEPARATOR",
    "Catalogue",
    "Embed",
    "Field",
    "Finder",
    "Found",
    "Ranking",
    "ToolIndex",
    "estimate_tokens",
    "one_line",
    "signature",
]
