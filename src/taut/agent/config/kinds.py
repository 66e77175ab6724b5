"""What the tables of a configuration are made of: names of things elsewhere in the file, paths, and their common keys.

The docstring of a table describes its keys, as ``- ``key``: text``: that is what editors show of them
(`taut.agent.config.editors`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

import msgspec
from msgspec import Meta, Struct

from taut.agent.budget import Budget
from taut.errors import ConfigError

if TYPE_CHECKING:
    from taut.agent.base import BaseAgent
    from taut.agent.config.parts import Parts

__all__ = [
    "AgentName",
    "AnyTable",
    "CodeName",
    "FilePath",
    "ModelName",
    "SearchTable",
    "ServerName",
    "StoreTable",
    "ToolTable",
]

#: An agent of the file: a key of ``[agents]``.
AgentName: TypeAlias = Annotated[str, Meta(extra={"names": "agents"})]
#: A server of the file.
ServerName: TypeAlias = Annotated[str, Meta(extra={"names": "servers"})]
#: A model of the file, or a description that `taut.agent.config.models.open_described` takes.
ModelName: TypeAlias = Annotated[str, Meta(extra={"names": "models"})]
#: Something in Python code: ``file.py:name`` or ``package.module:name``.
CodeName: TypeAlias = Annotated[str, Meta(extra={"code": True})]
#: A file, relative to the configuration.
FilePath: TypeAlias = str


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a configuration. What is ``secret``, or may be, is not shown."""

    secret: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What is said, and may be shown."""
        fields = msgspec.structs.fields(self)
        return [
            (field.name, value if field.name not in self.secret else ...)
            for field in fields
            if (value := getattr(self, field.name)) not in (field.default, (), None)
        ]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"
        )


class AnyTable(Table, frozen=True, kw_only=True, tag_field="pattern"):
    """What every agent has.

    - ``name``: of ``[agent]``, in events and states; that of the file by default. In ``[agents]``, the key is the name.
    - ``description``: what it is good for, in words for those who choose among agents: people and models.
    - ``budget``: limits of each run.
    - ``checkpoints``: where runs are kept that are suspended or have failed.
    """

    name: str | None = None
    description: str = ""
    budget: Budget | None = None
    checkpoints: bool | StoreTable | None = None

    def build(self, name: str, parts: Parts) -> BaseAgent[Any]:
        """Return the agent, with what ``parts`` has for its names.

        :raises taut.errors.ConfigError: something of it cannot work.
        """
        raise NotImplementedError

    def common(self, parts: Parts) -> dict[str, Any]:
        """Return the options that every agent's constructor has."""
        return {
            "description": self.description,
            "budget": self.budget,
            "checkpoints": parts.store("checkpoints", self.checkpoints),
        }


class StoreTable(Table, frozen=True, kw_only=True):
    """Where something is kept for longer than a process.

    - ``sqlite``: an SQLite file, relative to this file; several stores may share one.
    - ``key``: seals the file: 32 random bytes in base64, from the environment: ``"${TAUT_KEY}"``.
    """

    secret: ClassVar[frozenset[str]] = frozenset({"key"})

    sqlite: FilePath
    key: str | None = None

    def __post_init__(self) -> None:
        if not self.sqlite:
            raise ConfigError("expected sqlite = the name of a file, got an empty text")


class ToolTable(Table, frozen=True, kw_only=True):
    """A function as a tool, where more is to be said than its name.

    - ``function``: ``file.py:name``, relative to this file, or ``package.module:name``.
    - ``name``, ``description``: what the model sees; by default what the function says.
    - ``thread``: call it in a thread: it blocks.
    - ``read_only``, ``idempotent``: it changes nothing; calling it twice is as calling it once.
    - ``ends_run``: its result is the output of the run.
    """

    function: CodeName
    name: str | None = None
    description: str | None = None
    thread: bool = False
    read_only: bool = False
    idempotent: bool = False
    ends_run: bool = False


class SearchTable(Table, frozen=True, kw_only=True):
    """Search among many tools, in place of showing all of them to the model.

    - ``min_tools``: with fewer, all are shown.
    - ``limit``: how many a search finds, unless the model says otherwise.
    - ``max_found``: how many found tools are shown at a time.
    - ``overview_chars``: characters of names and one-liners in the instructions.
    """

    min_tools: int = 40
    limit: int = 5
    max_found: int = 20
    overview_chars: int = 0

    def __post_init__(self) -> None:
        # The rules are those of the search itself; it is loaded where there is one.
        from taut.agent.finding import ToolSearch

        ToolSearch(**msgspec.structs.asdict(self))
