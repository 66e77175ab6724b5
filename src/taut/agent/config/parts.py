"""What the agents of a file are built of: other agents, servers, models, stores and code, each made once and shared."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut.agent.base import BaseAgent
from taut.agent.config.checking import lower
from taut.agent.config.code import Code
from taut.agent.config.models import is_description, open_described, open_table
from taut.agent.config.shapes import type_of_schema
from taut.agent.tools import FunctionTool
from taut.errors import ConfigError
from taut.llm.model import Model

if TYPE_CHECKING:
    from taut.agent.config.kinds import AnyTable, StoreTable, ToolTable
    from taut.agent.config.models import ModelTable
    from taut.client.pool import ServerPool

__all__ = ["Parts"]

#: The classes of stores: in memory, and in a file. By what they keep.
_STORES = {
    "conversations": ("MemoryConversationStore", "SQLiteConversationStore"),
    "blobs": ("MemoryBlobStore", "SQLiteBlobStore"),
    "checkpoints": ("MemoryCheckpointStore", "SQLiteCheckpointStore"),
}


@final
class Parts:
    """The parts of one file's agents. What it makes, its owner closes: `models`, `stores`.

    ``model`` is used in place of all that the file names; ``stores`` are those of others, to be shared.
    """

    def __init__(
        self,
        directory: Path,
        *,
        agents: Mapping[str, AnyTable],
        models: Mapping[str, ModelTable],
        pool: ServerPool | None,
        model: str | Model | None = None,
        stores: dict[tuple[str, str], Any] | None = None,
    ) -> None:
        self.directory = directory
        self.pool = pool
        self.code = Code(directory)
        self._agent_tables = agents
        self._model_tables = models
        self._model = model
        self.agents: dict[str, BaseAgent[Any]] = {}
        self.models: dict[str, Model] = {}
        self.stores: dict[tuple[str, str], Any] = {} if stores is None else stores
        #: What each agent that asks a model has as tools, besides those of its servers.
        self.tools: dict[BaseAgent[Any], Sequence[Any]] = {}

    def agent(self, key: str) -> BaseAgent[Any]:
        """Return the agent of this key.

        :raises taut.errors.ConfigError: it cannot work; says which agent.
        """
        known = self.agents.get(key)
        if known is not None:
            return known
        try:
            made = self._agent_tables[key].build(key, self)
        except _InAgent:
            raise
        except ConfigError as error:
            raise _InAgent(f"agent {key}: {lower(str(error))}") from error
        self.agents[key] = made
        return made

    def all_agents(self, keys: Sequence[str]) -> list[BaseAgent[Any]]:
        """Return the agents of these keys, in this order."""
        return [self.agent(key) for key in keys]

    def model(self, name: str | None) -> Model:
        """Return the model of this name or description; None: the file says none.

        :raises taut.errors.ConfigError: there is none, or it cannot be made.
        """
        if isinstance(self._model, Model):
            return self._model
        text = self._model if self._model is not None else name
        if text is None:
            raise ConfigError("expected a model, got none: give the agent one, or [defaults], or say --model")
        known = self.models.get(text)
        if known is not None:
            return known
        table = self._model_tables.get(text)
        if table is not None:
            try:
                made = open_table(table, self.directory)
            except ConfigError as error:
                raise ConfigError(f"model {text}: {lower(str(error))}") from error
        elif is_description(text):
            made = open_described(text, self.directory)
        else:
            named = ", ".join(self._model_tables) or "there are none"
            raise ConfigError(f"expected a model of the file ({named}) or one like openai:NAME, got {text!r}")
        self.models[text] = made
        return made

    def tool(self, said: str | ToolTable) -> Any:
        """Return what is a tool: a function, or what else the code has.

        :raises taut.errors.ConfigError: there is none.
        """
        if isinstance(said, str):
            return self.code.load(said)
        function = self.code.load(said.function)
        if not callable(function):
            raise ConfigError(f"expected {said.function} to be a function, got {type(function).__name__}")
        options = msgspec.structs.asdict(said)
        del options["function"]
        return FunctionTool(function, **options)

    def output(self, said: str | Mapping[str, Any] | None) -> Any:
        """Return the type of an output: text, a schema, or a type in Python."""
        if said is None:
            return str
        return self.code.load(said) if isinstance(said, str) else type_of_schema(said)

    def path(self, name: str) -> Path:
        """Return a path of the file; it is relative to the file's directory."""
        return self.directory / name

    def text(self, name: str) -> str:
        """Return the text in a file.

        :raises taut.errors.ConfigError: it cannot be read.
        """
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {self.path(name)}: {error}") from error

    def store(self, kind: str, said: bool | StoreTable | None) -> Any:
        """Return the store of ``kind``: in memory for true, in a file; None where there is to be none.

        :raises taut.errors.ConfigError: the key is none, or what it takes is not installed.
        """
        if said is None or said is False:
            return None
        from taut.agent import state

        in_memory, in_file = _STORES[kind]
        place = "" if said is True else str(self.path(said.sqlite))
        known = self.stores.get((kind, place))
        if known is None:
            if said is True:
                known = getattr(state, in_memory)()
            else:
                known = getattr(state, in_file)(place, keys=None if said.key is None else _keys(said.key))
            self.stores[kind, place] = known
        return known


class _InAgent(ConfigError):
    """Says already which agent it is about."""


def _keys(text: str) -> Any:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("key: expected 32 random bytes in base64, got something else") from None
    try:
        from taut.crypto import KeyRing
    except ImportError as error:
        raise ConfigError("key: expected the package cryptography, got none: install taut[crypto]") from error
    return KeyRing(key)
