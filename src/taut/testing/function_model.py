"""A model that a function plays."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from taut.errors import ConfigError
from taut.llm.messages import Usage
from taut.llm.model import ModelRequest, OnEvent
from taut.testing.answering import AnsweringModel
from taut.testing.answers import Answer

__all__ = ["Answerer", "FunctionModel"]

#: ``fn(request)`` or ``fn(request, on_event)``, async or not.
Answerer: TypeAlias = (
    "Callable[[ModelRequest], Answer | Awaitable[Answer]]"
    " | Callable[[ModelRequest, OnEvent], Answer | Awaitable[Answer]]"
)


class FunctionModel(AnsweringModel):
    """Answers with what ``fn`` returns for the request: text, a call, parts, a message or a response.

    ``fn`` may be async. If it wants a second argument, that is the ``on_event`` to stream through; what it has not
    streamed itself is streamed word by word. What it raises is raised. For the other settings see
    `taut.testing.answering.AnsweringModel`.
    """

    def __init__(
        self,
        fn: Answerer,
        *,
        name: str = "function",
        usage: Usage | None = None,
        keep: int | None = 100,
        snapshot: bool = False,
    ) -> None:
        super().__init__(name=name, usage=usage, keep=keep, snapshot=snapshot)
        if not callable(fn):
            raise ConfigError(f"Expected a function of the request, got {type(fn).__name__}")
        self._fn: Callable[..., Any] = fn
        self._streams = _takes_two(fn)

    def find(self, request: ModelRequest, on_event: OnEvent) -> Answer | Awaitable[Answer]:
        """Ask the function."""
        found: Answer | Awaitable[Answer]
        found = self._fn(request, on_event) if self._streams else self._fn(request)
        return found


def _takes_two(fn: Callable[..., Any]) -> bool:
    """Whether ``fn`` wants two arguments. One with a default is its own affair: ``lambda request, n=n: ...``."""
    try:
        inspect.signature(fn).bind(None)
    except TypeError:
        return True
    except ValueError:  # a builtin that does not tell its signature
        return False
    return False
