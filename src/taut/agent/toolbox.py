"""All tools of an agent at one moment: collected from its functions, its agents and its servers, named, judged.

A toolbox never changes; when a server's tools do, there is another one. Tools of servers are named ``SERVER__TOOL``.
Names are looked up, never taken apart: where two would be the same, or one must be changed to be a name for models,
it gets a suffix that depends on the tool alone.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

from taut.agent.policy import Rules, ToolPolicy
from taut.agent.tools import Tool
from taut.errors import ConfigError
from taut.llm.model import ToolSpec

if TYPE_CHECKING:
    from taut import models

__all__ = ["Entry", "Toolbox", "names_of"]

#: What every model provider accepts as a tool's name.
MAX_NAME = 64
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")


class Entry(NamedTuple):
    """A tool, and what applies to its calls."""

    tool: Tool
    rules: Rules


@final
class Toolbox:
    """The tools that ``policy`` allows, by the name that the model sees; ``refused`` says why others are not there.

    :raises taut.errors.ConfigError: two tools have the same name, or one has a name that models do not take.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        policy: ToolPolicy,
        refused: Mapping[str, str] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        #: What each server is, in a few words.
        self.about = dict(about or {})
        #: What others work out of a toolbox, by whatever they like, to be found with it.
        self.kept: dict[Any, Any] = {}
        self.refused = dict(refused or {})
        for tool in tools:
            if not _NAME.fullmatch(tool.name):
                raise ConfigError(
                    f"Expected a tool's name of at most {MAX_NAME} letters, digits, '_' and '-', got {tool.name!r} "
                    f"from {tool.origin}"
                )
            if tool.name in self.entries:
                other = self.entries[tool.name].tool
                raise ConfigError(
                    f"Expected tools of different names, got {tool.name!r} from {other.origin} and from {tool.origin}"
                )
            if tool.name in self.refused:
                continue
            if policy.allows(tool):
                self.entries[tool.name] = Entry(tool, policy.rules(tool))
            else:
                self.refused[tool.name] = "the policy of this agent does not allow it"
        self.specs: tuple[ToolSpec, ...] = tuple(entry.tool.spec for entry in self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def extended(self, tools: Iterable[Tool], policy: ToolPolicy) -> Toolbox:
        """Return a toolbox with ``tools`` besides those of this one."""
        larger = Toolbox(tools, policy, self.refused)
        for name in larger.entries.keys() & self.entries.keys():
            raise ConfigError(
                f"Expected a tool of a name that is free, got {name!r}, which the agent has already"
            )
        larger.entries = {**self.entries, **larger.entries}
        larger.specs = (*self.specs, *larger.specs)
        return larger

    def ends_run(self, name: str) -> bool:
        """Whether a call of this tool is the end of a run."""
        entry = self.entries.get(name)
        return entry is not None and entry.rules.ends_run

    def missing(self, name: str) -> str:
        """Return what a model is told that calls ``name``, which is not there."""
        if name in self.refused:
            return f"The tool {name} cannot be used: {self.refused[name]}."
        import difflib  # models rarely call what is not there

        near = difflib.get_close_matches(name, self.entries, n=3, cutoff=0.85)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return f"There is no tool {name!r}.{hint}"


def names_of(servers: Mapping[str, Sequence[models.Tool]]) -> dict[tuple[str, str], str]:
    """Return the names that a model sees, by server and the server's own name."""
    candidates = {
        (server, tool.name): f"{server}__{tool.name}" for server, tools in servers.items() for tool in tools
    }
    plain = {pair: _OTHER.sub("_", name)[:MAX_NAME] for pair, name in candidates.items()}
    count = Counter(plain.values())
    return {
        pair: plain[pair]
        if count[plain[pair]] == 1 and plain[pair] == name
        else _with_suffix(plain[pair], pair)
        for pair, name in candidates.items()
    }


def _with_suffix(name: str, pair: tuple[str, str]) -> str:
    mark = hashlib.sha256("\0".join(pair).encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9]}_{mark}"
