"""What a model is told of tools that are not in its context: an overview, what a search finds, and details by name.

Everything here is text for a model, made of what servers say of their tools; nothing is called. `Catalogue.overview`
goes into the instructions, `Catalogue.find` and `Catalogue.describe` answer a model's tool calls. How many tokens that
costs, `estimate_tokens` says.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from taut.agent.search.index import SEPARATOR, Found, ToolIndex
from taut.errors import ConfigError
from taut.llm.model import ToolSpec
from taut.llm.signatures import parameter_notes, signature

__all__ = ["Catalogue", "Finder", "estimate_tokens", "one_line"]

#: Longer descriptions are cut in overviews and in what is found.
MAX_LINE = 120
#: Names that are suggested for one that does not exist.
MAX_SUGGESTIONS = 3
#: Names of each server that an overview falls back to, when there is no room for all.
FEWER_NAMES = (256, 128, 64, 32, 16, 8, 4, 2)
#: Characters of a token, on average, in English and JSON. Good for comparing, not for billing.
CHARS_PER_TOKEN = 4


class Finder(Protocol):
    """What finds tools: `ToolIndex`, or something of yours."""

    def search(self, query: str, limit: int = 5, *, exclude: Iterable[str] = ()) -> list[Found]:
        """Return at most ``limit`` tools that fit, the best first."""


def estimate_tokens(*parts: str | ToolSpec) -> int:
    """Return about how many tokens texts and tools cost a model: a quarter of their characters.

    A tool counts as the JSON that it is sent as. Every model counts in its own way: use it to compare.
    """
    chars = sum(len(part) if isinstance(part, str) else len(msgspec.json.encode(part)) for part in parts)
    return -(-chars // CHARS_PER_TOKEN)


def one_line(description: str, max_chars: int = MAX_LINE) -> str:
    """Return the first sentence of a description, cut after a word if it is longer than ``max_chars``."""
    text = " ".join(description.split())
    head, dot, _ = text.partition(". ")
    text = head + dot.strip()
    if len(text) <= max_chars:
        return text
    return text[: max_chars - 1].rpartition(" ")[0].rstrip(",;:. ") + "…"


class Catalogue:
    """Tools by name, described for a model. Does not change; safe to use from anywhere."""

    def __init__(
        self,
        specs: Iterable[ToolSpec],
        index: Finder | None = None,
        *,
        about: Mapping[str, str] | None = None,
        separator: str = SEPARATOR,
    ) -> None:
        """Describe ``specs``. ``index`` finds them, by default a `ToolIndex`; ``about`` says of servers what they are.

        :raises taut.errors.ConfigError: two tools have one name, or the index cannot be built.
        """
        #: The tools, by name.
        self.specs: dict[str, ToolSpec] = {}
        for spec in specs:
            if spec.name in self.specs:
                raise ConfigError(f"Expected tools with different names, got {spec.name} twice")
            self.specs[spec.name] = spec
        self._about = dict(about or {})
        self._separator = separator
        self._servers: dict[str, list[ToolSpec]] = {}
        for spec in self.specs.values():
            server, found, _ = spec.name.partition(separator)
            self._servers.setdefault(server if found else "", []).append(spec)
        self._index: Finder = (
            index
            if index is not None
            else ToolIndex(self.specs.values(), about=self._about, separator=separator)
        )

    def __len__(self) -> int:
        return len(self.specs)

    # -- everything, in short

    def overview(self, max_chars: int = 8_000) -> str:
        """Return the tools by server, in as much detail as ``max_chars`` allows; a note says what was left out.

        That is the first of these that fits: names with one line each; all names; some names of each server; servers
        with the number of their tools; as many servers as fit.
        """
        for lines, note in self._levels():
            if len(text := "\n".join([*lines, note])) <= max_chars:
                return text
        return ""

    def _levels(self) -> Iterator[tuple[list[str], str]]:
        """Yield overviews, lines and a note, the longest first."""
        note = "Search for what a tool takes." + self._how_names_are_made()
        more = "These are not all tools: search for what is to be done." + self._how_names_are_made()
        yield self._with_lines(), note
        yield self._with_names(None), note
        for most in FEWER_NAMES:
            yield self._with_names(most), more
        lines = self._with_names(0)
        yield lines, more
        for kept in range(len(lines) - 1, -1, -1):
            yield lines[:kept], f"… and {len(lines) - kept} more servers. Search for what is to be done."

    def _how_names_are_made(self) -> str:
        server = next(filter(None, self._servers), None)
        if server is None:
            return ""
        return f" The server belongs to the name of a tool: {self._servers[server][0].name}."

    def _heading(self, server: str, specs: Sequence[ToolSpec]) -> str:
        count = f"{len(specs)} tool{'s' * (len(specs) != 1)}"
        about = f": {one_line(self._about[server])}" if server in self._about else ""
        return f"{server + self._separator if server else 'Tools'} ({count}){about}"

    def _bare(self, server: str, spec: ToolSpec) -> str:
        return spec.name.removeprefix(server + self._separator) if server else spec.name

    def _with_names(self, most: int | None) -> list[str]:
        lines = []
        for server, specs in self._servers.items():
            shown = [self._bare(server, spec) for spec in specs[:most]]
            cut = ["…"] if shown and len(shown) < len(specs) else []
            lines.append(
                "\n  ".join([self._heading(server, specs), *([" ".join(shown + cut)] * bool(shown))])
            )
        return lines

    def _with_lines(self) -> list[str]:
        lines = []
        for server, specs in self._servers.items():
            each = (_with_line(self._bare(server, spec), spec.description) for spec in specs)
            lines.append("\n  ".join([self._heading(server, specs), *each]))
        return lines

    # -- what is asked for

    def find(self, query: str, limit: int = 5, *, exclude: Iterable[str] = ()) -> str:
        """Return the tools that fit ``query``: of each the signature, one line, and what is known of its parameters."""
        found = self.names(query, limit, exclude=exclude)
        if not found:
            return f"No tool fits {query!r}. Say in other words what is to be done, and with what."
        return "\n\n".join(_short(self.specs[name]) for name in found)

    def names(self, query: str, limit: int = 5, *, exclude: Iterable[str] = ()) -> list[str]:
        """Return the names of the tools that fit ``query``, the best first."""
        found = self._index.search(query, limit, exclude=exclude)
        # The index may be another's, and know of more.
        return [each.name for each in found if each.name in self.specs]

    def describe(self, names: Iterable[str]) -> str:
        """Return all that is known of tools: their whole description and JSON Schema. Of a name that is unknown, say
        which ones are like it."""
        return "\n\n".join(
            _long(self.specs[name]) if name in self.specs else self._unknown(name) for name in names
        )

    def suggest(self, name: str) -> list[str]:
        """Return the names that ``name`` may have meant: those spelled nearly so, else those that fit its words."""
        near = difflib.get_close_matches(name, self.specs, n=MAX_SUGGESTIONS, cutoff=0.75)
        return near or self.names(name, MAX_SUGGESTIONS)

    def _unknown(self, name: str) -> str:
        near = self.suggest(name)
        return f"There is no tool {name}." + (f" Did you mean {', '.join(near)}?" if near else "")


def _with_line(name: str, description: str) -> str:
    text = one_line(description)
    return f"{name}: {text}" if text else name


def _short(spec: ToolSpec) -> str:
    notes = parameter_notes(spec.input_schema).items()
    head = f"{spec.name}{signature(spec.input_schema)}"
    return "\n".join([head, *filter(None, [one_line(spec.description)]), *(f"- {n}: {t}" for n, t in notes)])


def _long(spec: ToolSpec) -> str:
    schema = msgspec.json.encode(spec.input_schema).decode()
    return "\n".join(filter(None, [spec.name, spec.description.strip(), f"Input: {schema}"]))
