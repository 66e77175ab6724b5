"""From an agents file to what it says: read, filled in from the environment and the file with the secrets, checked.

Nothing is started, opened or imported here: that is for `taut.agent.config.building`.
"""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, final, get_args

from msgspec import field, inspect

from taut.agent.budget import Budget
from taut.agent.config.agents import AgentTable
from taut.agent.config.checking import KeyProblem, converted, named_things, near
from taut.agent.config.environment import Hidden, fill_in
from taut.agent.config.kinds import FilePath, ModelName, SearchTable, StoreTable, Table
from taut.agent.config.models import ModelTable, is_description
from taut.agent.config.patterns import PATTERNS
from taut.agent.policy import ToolPolicy
from taut.client.server_config import ServerConfig
from taut.errors import ConfigError
from taut.llm.model import ModelSettings

__all__ = ["AgentFile", "FileTable", "load"]

AnyAgentTable: TypeAlias = AgentTable | PATTERNS
#: Tables of ``[defaults]`` that are merged with an agent's own; of all others the agent's own counts.
MERGED = ("budget", "policy", "settings")


class DefaultsTable(Table, frozen=True, kw_only=True):
    """What each agent gets that does not say it itself; ``budget``, ``policy`` and ``settings`` key by key."""

    model: ModelName | None = None
    budget: Budget | None = None
    checkpoints: bool | StoreTable | None = None
    repairs: int | None = None
    settings: ModelSettings | None = None
    tool_mode: Literal["native", "json_schema"] | None = None
    policy: ToolPolicy | None = None
    pins: FilePath | None = None
    search: bool | SearchTable | None = None
    memory: bool | StoreTable | None = None
    blobs: bool | StoreTable | None = None


class FileTable(Table, frozen=True, kw_only=True):
    """Agents, and what they are made of.

    - ``agent``: the agent that is run.
    - ``agents``: agents by name: others, that ``[agent]`` uses, or all of them, of which ``main`` is run.
    - ``main``: which of ``[agents]`` is run.
    - ``servers``: MCP servers by name.
    - ``models``: models by name.
    - ``defaults``: what each agent gets that does not say it itself.
    """

    secret: ClassVar[frozenset[str]] = frozenset({"servers"})  # their commands and URLs

    main: str | None = None
    agent: AnyAgentTable | None = None
    agents: dict[str, AnyAgentTable] = field(default_factory=dict)
    servers: dict[str, ServerConfig] = field(default_factory=dict)
    models: dict[str, ModelTable] = field(default_factory=dict)
    defaults: DefaultsTable | None = None


@final
class AgentFile:
    """What an agents file says, checked. `build` makes agents of it.

    ``tables`` are those of the file, filled in: they may hold secrets, and `hide` takes those out of a text.
    """

    def __init__(
        self, path: Path, tables: FileTable, agents: Mapping[str, AnyAgentTable], main: str, hidden: Hidden
    ) -> None:
        self.path = path
        self.tables = tables
        #: Every agent by its name.
        self.agents = agents
        #: The name of the agent that is run.
        self.main = main
        self._hidden = hidden

    @property
    def directory(self) -> Path:
        """What paths in the file are relative to."""
        return self.path.resolve().parent

    def hide(self, text: str) -> str:
        """Return ``text`` with the names of variables in the place of their values."""
        return self._hidden.hide(text)

    def problem(self, error: ConfigError) -> ConfigError:
        """Return ``error`` with the name of the file, and without its secrets."""
        return _problem(self.path, error, self._hidden)

    def __repr__(self) -> str:
        """Names only."""
        servers, models = list(self.tables.servers), list(self.tables.models)
        return (
            f"AgentFile({str(self.path)!r}, main={self.main!r}, agents={list(self.agents)}, servers={servers}, "
            f"models={models})"
        )


def load(
    path: str | os.PathLike[str],
    *,
    secrets: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> AgentFile:
    """Read an agents file.

    :param secrets: a file that is merged over it, and that nobody else may read; by default ``NAME.secrets.toml``
        beside ``NAME.toml``, if it is there.
    :param environ: where ``${NAME}`` is taken from.
    :raises taut.errors.ConfigError: a file cannot be read, or says what cannot be; names file and key.
    """
    place = Path(path)
    hidden = Hidden()
    raw = _toml(place)
    over, over_place = {}, place.with_name(f"{place.stem}.secrets.toml")
    if secrets is not None or over_place.exists():
        over_place = over_place if secrets is None else Path(secrets)
        over = _toml(over_place, private=True)
    try:
        filled = fill_in(_merged(raw, over), environ, hidden)
        _hide(over, filled, hidden)
        _prepare(filled)
        tables = converted(filled, FileTable)
        agents = _all_agents(place, tables)
        main = _main_of(tables, agents, _checked_uses(filled))
        return AgentFile(place, tables, agents, main, hidden)
    except ConfigError as error:
        raise _problem(over_place if _is_from(over, error) else place, error, hidden) from None


def _problem(path: Path, error: ConfigError, hidden: Hidden) -> ConfigError:
    return ConfigError(hidden.hide(f"{path}: {error}"))


def _is_from(table: dict[str, Any], error: ConfigError) -> bool:
    """Whether what is wrong is said in ``table``."""
    if not isinstance(error, KeyProblem) or not error.path:
        return False
    value: Any = table
    for key in error.path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _toml(path: Path, *, private: bool = False) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and sys.platform != "win32" and mode & 0o077:
                raise ConfigError(
                    f"{path}: expected a file that only its owner can read, since it holds secrets, got mode "
                    f"{stat.S_IMODE(mode):o}; chmod 600 {path}"
                )
            return tomllib.loads(file.read().decode())
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, got something else: {error}") from None


def _merged(table: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``table`` with what ``over`` says in place of it; tables are merged key by key."""
    merged = dict(table)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _hide(over: dict[str, Any], filled: dict[str, Any], hidden: Hidden) -> None:
    """Hide all that the file with the secrets says, as it is once variables are filled in."""
    for key, value in over.items():
        if isinstance(value, dict):
            _hide(value, filled[key], hidden)
        else:
            hidden.add_all(filled[key], "[secret]")


# -- agents


def _prepare(raw: dict[str, Any]) -> None:
    """Say in each agent's table what is left to defaults: its pattern, and what ``[defaults]`` says.

    :raises KeyProblem: the defaults are none.
    """
    defaults = raw.get("defaults", {})
    converted(defaults, DefaultsTable, ("defaults",))
    keys = {str(kind.__struct_config__.tag): kind.__struct_fields__ for kind in get_args(AnyAgentTable)}
    agents = raw.get("agents")
    for table in (raw.get("agent"), *(agents.values() if isinstance(agents, dict) else ())):
        if not isinstance(table, dict):
            continue  # told by the check of the whole
        pattern = table.setdefault("pattern", "agent")
        for key, value in defaults.items():
            if key not in keys.get(pattern, ()):
                continue
            if key not in table:
                table[key] = value
            elif key in MERGED and isinstance(table[key], dict):
                table[key] = _merged(value, table[key])


def _all_agents(path: Path, tables: FileTable) -> dict[str, AnyAgentTable]:
    agents = dict(tables.agents)
    for key, table in agents.items():
        if table.name not in (None, key):
            raise KeyProblem(
                ("agents", key, "name"), f"expected no name beside the key {key}, got {table.name!r}"
            )
    if tables.agent is None:
        return agents
    key = tables.agent.name or _as_name(path.stem)
    if key in agents:
        raise KeyProblem(("agents", key), f"expected another name, since [agent] is {key}")
    return {key: tables.agent, **agents}


def _as_name(stem: str) -> str:
    name = "".join(one if one.isalnum() or one in "_-" else "-" for one in stem)
    return name.strip("-") or "agent"


def _main_of(
    tables: FileTable, agents: Mapping[str, AnyAgentTable], uses: Mapping[str, Sequence[str]]
) -> str:
    if not agents:
        raise ConfigError("expected a table [agent], or [agents.NAME], got neither")
    if tables.agent is not None:
        if tables.main is not None:
            raise KeyProblem(("main",), "expected it with [agents] only: [agent] is what is run")
        return next(iter(agents))
    if tables.main is not None:
        if tables.main not in agents:
            known = ", ".join(agents)
            raise KeyProblem(
                ("main",), f"expected an agent ({known}), got {tables.main!r}{near(tables.main, agents)}"
            )
        return tables.main
    used = {name for names in uses.values() for name in names}
    free = [key for key in agents if key not in used]
    if len(free) == 1:
        return free[0]
    raise ConfigError(
        f"expected main = the name of the agent that is run ({', '.join(free or agents)}), got none"
    )


def _checked_uses(raw: dict[str, Any]) -> dict[str, list[str]]:
    """Return which agents each agent of ``[agents]`` uses.

    :raises KeyProblem: something that is named is not there, or agents use each other in a circle.
    """
    uses: dict[str, list[str]] = {}
    named = list(named_things(raw, inspect.type_info(FileTable)))
    # What the defaults say is in every agent by now, and is to be told of them.
    for path, what, name in sorted(named, key=lambda one: one[0][0] != "defaults"):
        known = raw.get(what, {})
        if what == "agents" and path[0] == "agents":
            uses.setdefault(path[1], []).append(name)
        if name in known or (what == "models" and is_description(name)):
            continue
        names = ", ".join(known) or "there are none"
        kind = what.removesuffix("s")
        more = " or one like openai:NAME" if what == "models" else ""
        article = "an" if kind == "agent" else "a"
        raise KeyProblem(
            path, f"expected {article} {kind} of the file ({names}){more}, got {name!r}{near(name, known)}"
        )
    for start in uses:
        circle = _circle(uses, [start])
        if circle:
            raise KeyProblem(
                ("agents", start),
                f"expected agents that do not use each other in a circle, got {' -> '.join(circle)}",
            )
    return uses


def _circle(uses: Mapping[str, list[str]], way: list[str]) -> list[str]:
    """Return the way from an agent back to itself that begins with ``way``; nothing if there is none."""
    for name in uses.get(way[-1], ()):
        if name == way[0]:
            return [*way, name]
        if name not in way:
            found = _circle(uses, [*way, name])
            if found:
                return found
    return []
