"""What patterns know of outputs: their types, and how they are told to the next agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Union, get_type_hints

import msgspec

from taut.agent.base import BaseAgent
from taut.errors import ConfigError

__all__ = ["choice_of", "list_of", "one_of", "returned_by", "text_of"]


def text_of(output: Any) -> str:
    """Return an output as text: JSON where it is not text already."""
    return output if isinstance(output, str) else msgspec.json.encode(output).decode()


def one_of(agents: Iterable[BaseAgent[Any]]) -> Any:
    """Return the type of what one of ``agents`` returns.

    :raises taut.errors.ConfigError: the types cannot be told apart once they are JSON.
    """
    kinds: list[Any] = []
    for agent in agents:
        if agent.output_type not in kinds:
            kinds.append(agent.output_type)
    if Any in kinds or not kinds:
        return Any
    if len(kinds) == 1:
        return kinds[0]
    kind: Any = Union[tuple(kinds)]  # noqa: UP007 - the members are only known at run time
    try:
        msgspec.json.Decoder(kind)
    except TypeError as error:
        names = ", ".join(getattr(one, "__name__", str(one)) for one in kinds)
        raise ConfigError(
            f"Expected agents whose outputs can be told apart, got {names}: {error} (structs can: give them tag=True)"
        ) from None
    return kind


def returned_by(function: Callable[..., Any]) -> Any:
    """Return the type that a function says it returns; `Any` where it does not say, or where it has no JSON form.

    A run that is taken up in another process has outputs of `Any` as plain dicts and lists.
    """
    try:
        kind = get_type_hints(function, include_extras=True).get("return", Any)
        msgspec.json.Decoder(kind)
    except (NameError, TypeError):
        return Any
    return kind


def list_of(kind: Any) -> Any:
    """Return the type of a list of ``kind``, which was made at run time."""
    return list[kind]


def choice_of(names: Iterable[str]) -> Any:
    """Return the type of a text that the schema limits to ``names``; it is for the pattern to say what another one
    means.
    """
    return Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(names)})]
