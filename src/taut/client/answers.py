"""What a client does for its server: sampling, elicitation, roots. The era decides how the server asks for it, as a
request of its own or in a result; the callbacks are the same."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from taut import models
from taut.errors import ConfigError, LocalProtocolError
from taut.mcp.inputs import can_answer, capability_of

__all__ = ["Answerer", "Answers", "Roots"]

#: Answers one method of the server's: gets its params, returns its result, may be async.
Answerer: TypeAlias = Callable[[Any], Any]
#: Roots as URIs or objects, or a callable, perhaps async, that returns such.
Roots: TypeAlias = Iterable[str | models.Root] | Callable[[], Any]


class Answers:
    """The callbacks of one client by method, and the capabilities that they amount to.

    ``declared`` are the capabilities to declare in more detail, or beyond them.

    :raises taut.errors.ConfigError: something is declared that no callback answers.
    """

    def __init__(
        self,
        *,
        sampling: Answerer | None = None,
        elicitation: Answerer | None = None,
        roots: Roots | None = None,
        declared: models.ClientCapabilities | None = None,
    ) -> None:
        self._roots = None if roots is None else _kept(roots)
        given = {
            "sampling/createMessage": sampling,
            "elicitation/create": elicitation,
            "roots/list": None if roots is None else self._list_roots,
        }
        self._answerers = {method: answerer for method, answerer in given.items() if answerer is not None}
        self.capabilities = self._capabilities(declared)

    def __contains__(self, method: object) -> bool:
        return method in self._answerers

    def undeclared(self, method: str, params: Any) -> str | None:
        """Return the capability that a question needs and that was not declared; None when nothing is missing."""
        needed = capability_of(method, params)
        return None if can_answer(self.capabilities, needed) else needed

    async def answer(self, method: str, params: Any) -> Any:
        """Return what the callback of ``method`` makes of ``params``.

        :raises taut.errors.LocalProtocolError: it returned nothing.
        """
        result = self._answerers[method](params)
        if inspect.isawaitable(result):
            waiting: Awaitable[Any] = result
            result = await waiting
        if result is None:
            raise LocalProtocolError("Expected a result from the callback, got None")
        return result

    def set_roots(self, roots: Roots | None) -> None:
        """Have other roots from now on; None for those that the callable returns by now.

        :raises taut.errors.LocalProtocolError: the client was made without roots.
        """
        if self._roots is None:
            raise LocalProtocolError(
                "Expected a client that was made with roots, which is when they are declared"
            )
        if roots is not None:
            self._roots = _kept(roots)

    async def _list_roots(self, params: models.RequestParams) -> models.ListRootsResult:
        roots = self._roots() if callable(self._roots) else self._roots
        if inspect.isawaitable(roots):
            roots = await roots
        return models.ListRootsResult(
            roots=[models.Root(one) if isinstance(one, str) else one for one in roots or ()]
        )

    def _capabilities(self, declared: models.ClientCapabilities | None) -> models.ClientCapabilities:
        can: dict[str, Any] = {}
        if "sampling/createMessage" in self:
            can["sampling"] = models.SamplingCapability()
        if "elicitation/create" in self:
            can["elicitation"] = models.ElicitationCapability()
        if "roots/list" in self:
            can["roots"] = models.RootsCapability(list_changed=True)
        more = {} if declared is None else msgspec.structs.asdict(declared)
        given = {name: value for name, value in more.items() if value is not msgspec.UNSET}
        for name in ("sampling", "elicitation", "roots"):
            if name in given and name not in can:
                raise ConfigError(f"Expected a callback for {name}, which is declared, got none")
        return models.ClientCapabilities(**(can | given))


def _kept(roots: Roots) -> Roots:
    """Return ``roots`` in a form that can be read many times."""
    return roots if callable(roots) else list(roots)
