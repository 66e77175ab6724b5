"""From the options of ``taut run`` and ``taut chat`` to agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.config import Built, build, load
from taut.cli.asking import Person
from taut.cli.parser import Options
from taut.errors import ConfigError

__all__ = ["agent_of", "budget_of", "check_session", "hide_secrets"]


def agent_of(path: str, options: Options, person: Person, on_line: Callable[[str], None]) -> Built:
    """Return the agents of a file. Forms of its servers are for ``person``, and lines of their stderr for ``on_line``.

    :raises taut.errors.ConfigError: the file says what cannot be.
    """
    file = load(path, secrets=options.secrets)
    return build(file, model=options.model, client_options={"elicitation": person.elicit, "stderr": on_line})


def hide_secrets(built: Built, error: BaseException) -> None:
    """Take what the file has of secrets out of a message: a command line that cannot be started, say."""
    seen: BaseException | None = error
    while seen is not None:
        seen.args = tuple(built.file.hide(one) if isinstance(one, str) else one for one in seen.args)
        for name in ("message", "filename"):  # of an answer of a server, and of the system
            text = getattr(seen, name, None)
            if isinstance(text, str):
                setattr(seen, name, built.file.hide(text))
        seen = seen.__cause__ or seen.__context__


def check_session(built: Built, options: Options) -> None:
    """Make sure that a session can be kept, if there is one.

    :raises taut.errors.ConfigError: it cannot.
    """
    if options.session is not None and built.memory is None:
        raise ConfigError(
            f"Expected a memory of the agent {built.agent.name} beside --session, got none: say "
            'memory = { sqlite = "conversations.db" } in its table'
        )


def budget_of(agent: BaseAgent[Any], options: Options) -> Budget | None:
    """Return the budget of a run: what is said on the command line, and the agent's own for the rest."""
    said = {
        "tokens": options.budget_tokens,
        "cost": options.budget_cost,
        "time_s": options.budget_time,
        "tool_calls": options.budget_calls,
    }
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(agent.budget or Budget(), **given) if given else None
