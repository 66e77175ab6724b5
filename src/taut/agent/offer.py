"""What one run offers to its model: the agent's tools, those of the run, and, of very many, those that were found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, final

from taut.agent.policy import ToolPolicy
from taut.agent.toolbox import Toolbox
from taut.llm.messages import ToolResult
from taut.llm.model import ToolSpec

if TYPE_CHECKING:
    from taut.agent.finding import FindTools, ToolSearch
    from taut.agent.run import Run

__all__ = ["Offer"]


@final
class Offer:
    """``specs`` are what the model is shown, ``overview`` what it is told of the tools that it is not shown."""

    def __init__(self, run: Run[Any], policy: ToolPolicy, search: ToolSearch | None) -> None:
        self._run = run
        self._policy = policy
        self._search = search
        self._finding: FindTools | None = None
        self._base: Toolbox | None = None
        self._box: Toolbox | None = None
        self.specs: tuple[ToolSpec, ...] = ()
        self.overview = ""

    def update(self, base: Toolbox) -> Toolbox:
        """Take what the agent has now; returns that and the tools of the run."""
        if base is self._base:
            assert self._box is not None
            return self._box
        self._base = base
        extra = list(self._run.tools)
        finding = self._searching(base)
        if finding is not None:
            extra.append(finding)
        self._box = base if not extra else base.extended(extra, self._policy)
        self.overview = "" if finding is None else finding.overview
        self._show()
        return self._box

    def _searching(self, base: Toolbox) -> FindTools | None:
        """Return the search of ``base``; None where all of it can be shown."""
        if self._search is None:
            return None
        catalogue = self._search.catalogue(base)
        if catalogue is None:
            self._finding = None
            return None
        if self._finding is None:
            from taut.agent.finding import FindTools  # few agents search

            self._finding = FindTools(self._search)
        self._finding.search(catalogue)
        return self._finding

    def found(self, results: Iterable[ToolResult]) -> None:
        """Show the model what has been found, if it has searched."""
        if self._finding is not None and self._finding.show(results):
            self._show()

    def _show(self) -> None:
        assert self._box is not None
        self.specs = self._box.specs if self._finding is None else self._finding.specs(self._box)
