"""What a client keeps of the tools that a server has listed, for when they are called over HTTP.

Which arguments travel in headers (``x-mcp-header``, 2026-07-28); which tools are not to be called, as their marks are
invalid; and which calls may be repeated, where nobody knows whether the first one arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET, Struct

from taut import models
from taut.errors import ConfigError
from taut.mcp.http.values import ParamHeaders

__all__ = ["KnownTools", "arguments_of", "may_repeat"]

#: Tools of one server that are kept; a list that is longer is not kept beyond.
MAX_TOOLS = 65_536
#: Besides calls of tools that say so: reading changes nothing, and subscribing twice is subscribing.
REPEATABLE = frozenset(
    {
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "tasks/cancel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tools/list",
    }
)


class _Known(Struct, frozen=True):
    headers: ParamHeaders | None = None
    repeatable: bool = False
    #: Why it is not to be called.
    problem: str | None = None


class KnownTools:
    """The tools of one server by name, as they were last listed."""

    def __init__(self) -> None:
        #: Whether there may be a tool whose arguments are mirrored, and one that must not be called.
        self.mirrors = False
        self.hides = False
        self._tools: dict[str, _Known] = {}

    def learn(self, tools: Iterable[models.Tool], *, marks: bool) -> dict[str, str]:
        """Take a page of tools; return those that must not be shown, with the reason.

        ``marks`` tells whether the revision knows the marks: elsewhere they are nothing but unknown keywords.
        """
        hidden: dict[str, str] = {}
        for tool in tools:
            if len(self._tools) >= MAX_TOOLS and tool.name not in self._tools:
                continue
            try:
                headers = ParamHeaders.compile(tool.input_schema) if marks else None
            except ConfigError as error:
                hidden[tool.name] = str(error)
                self.hides = True
                self._tools[tool.name] = _Known(problem=str(error))
            else:
                self._tools[tool.name] = _Known(headers, _is_repeatable(tool))
                self.mirrors = self.mirrors or headers is not None
        return hidden

    def problem(self, name: str | None) -> str | None:
        """Return why the tool must not be called; None when it may be."""
        known = self._tools.get(name or "")
        return None if known is None else known.problem

    def mirrored(self, name: str | None, arguments: Mapping[str, Any]) -> bytes:
        """Return the header lines that mirror ``arguments`` of a call."""
        known = self._tools.get(name or "")
        return b"" if known is None or known.headers is None else known.headers.encode(arguments)

    def is_repeatable(self, name: str | None) -> bool:
        """Whether the server says that a second call does no more than the first."""
        known = self._tools.get(name or "")
        return known is not None and known.repeatable


def arguments_of(params: Any) -> Mapping[str, Any]:
    """Return the arguments of a call of a tool."""
    given = params.get("arguments") if isinstance(params, dict) else getattr(params, "arguments", None)
    return given if isinstance(given, dict) else {}


def may_repeat(method: str, name: str | None, tools: KnownTools) -> bool:
    """Whether a request may be sent again although it may have been carried out."""
    return method in REPEATABLE or (method == "tools/call" and tools.is_repeatable(name))


def _is_repeatable(tool: models.Tool) -> bool:
    hints = tool.annotations
    return hints is not UNSET and (hints.read_only_hint is True or hints.idempotent_hint is True)
