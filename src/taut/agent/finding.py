"""Tool search for an agent: of many tools, the model sees names and one-liners, and asks for the schemas that it needs.

Below ``min_tools`` nothing changes. Above it, a request holds the schemas of the agent's own tools, of `find_tools`,
and of those that were found in this run, the last ``max_found`` of them; what is found can be called in the next
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from msgspec import Struct

from taut.agent.search import Catalogue, ToolIndex, one_line
from taut.agent.server_tool import ServerTool
from taut.agent.toolbox import Toolbox
from taut.agent.tools import Call, Hints, Tool
from taut.errors import ConfigError, ToolError
from taut.llm.messages import ToolResult
from taut.llm.model import ToolSpec

__all__ = ["FindTools", "ToolSearch"]

NAME = "find_tools"
#: Before the name of each tool in what is told.
ITEM = "- "


class ToolSearch(Struct, frozen=True, kw_only=True, eq=False):
    """How an agent searches its tools.

    ``overview_chars`` bounds the list of names and one-liners in the instructions; 0 leaves it out. ``embed`` adds a
    search by meaning to that by words: see `taut.agent.search.ToolIndex`.
    """

    min_tools: int = 40
    limit: int = 5
    max_found: int = 20
    overview_chars: int = 0
    embed: Callable[[Sequence[str]], Sequence[Sequence[float]]] | None = None

    def __post_init__(self) -> None:
        if self.limit < 1 or self.max_found < self.limit:
            raise ConfigError(
                "search: expected a limit of at least 1 and max_found of at least that, got "
                f"{self.limit} and {self.max_found}"
            )

    def catalogue(self, box: Toolbox) -> Catalogue | None:
        """Return what is searched of ``box``; None where there are so few tools that all can be shown."""
        far = [entry.tool.spec for entry in box.entries.values() if isinstance(entry.tool, ServerTool)]
        if len(far) < self.min_tools:
            return None
        catalogue = box.kept.get(self)
        if catalogue is None:
            index = ToolIndex(far, about=box.about, embed=self.embed)
            catalogue = box.kept[self] = Catalogue(far, index, about=box.about)
        return catalogue


@final
class FindTools(Tool):
    """The search of one run, as a tool, and what it has found."""

    hints = Hints(read_only=True, idempotent=True)
    is_built_in = True

    def __init__(self, settings: ToolSearch) -> None:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What the tool should do, in a few words"},
                "limit": {"type": "integer", "minimum": 1, "maximum": settings.max_found},
            },
            "required": ["query"],
            "additionalProperties": False,
        }
        super().__init__(
            ToolSpec(NAME, "Find tools by what they do. What is found can be called afterwards.", schema),
            f"function:{NAME}",
        )
        self._settings = settings
        self._catalogue: Catalogue | None = None
        self._found: dict[str, None] = {}

    @property
    def overview(self) -> str:
        """What the instructions say of the tools that are not shown."""
        if self._catalogue is None or not self._settings.overview_chars:
            return ""
        listed = self._catalogue.overview(self._settings.overview_chars)
        return f"\n\nMore tools; get one with {NAME} before you call it:\n{listed}"

    def search(self, catalogue: Catalogue) -> None:
        """Search ``catalogue`` from now on."""
        self._catalogue = catalogue

    async def call(self, key: str, call: Call) -> ToolResult:
        """See `Tool`."""
        query, limit = call.call.arguments.get("query"), call.call.arguments.get("limit")
        if not isinstance(query, str) or not query.strip():
            raise ToolError(f"Invalid arguments for {NAME}: expected `query`, a text - at `$.query`")
        if not isinstance(limit, int) or not 1 <= limit <= self._settings.max_found:
            limit = self._settings.limit
        assert self._catalogue is not None
        found = self._catalogue.names(query, limit)
        if not found:
            return ToolResult(call.call.id, NAME, "Nothing was found. Say in other words what is to be done.")
        # Their schemas come with the next request, as those of all tools.
        lines = [f"{ITEM}{name}: {one_line(self._catalogue.specs[name].description)}" for name in found]
        return ToolResult(call.call.id, NAME, "\n".join(["These can be called now:", *lines]))

    def show(self, results: Iterable[ToolResult]) -> bool:
        """Show the model from now on what it was told in ``results`` that it can call, and what was found first no
        more, where there is too much. Returns whether that is anything.

        It is read from the results since those are what is recorded: a search is not done again.
        """
        told = [result.text for result in results if result.name == NAME and not result.is_error]
        names = [
            line.removeprefix(ITEM).partition(":")[0]
            for text in told
            for line in text.splitlines()
            if line.startswith(ITEM)
        ]
        for name in names:
            self._found.pop(name, None)
            self._found[name] = None
        while len(self._found) > self._settings.max_found:
            del self._found[next(iter(self._found))]
        return bool(names)

    def specs(self, box: Toolbox) -> tuple[ToolSpec, ...]:
        """Return what the model is shown of ``box``."""
        return tuple(
            entry.tool.spec
            for name, entry in box.entries.items()
            if not isinstance(entry.tool, ServerTool) or name in self._found
        )
