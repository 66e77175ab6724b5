"""What a handler may do besides returning: report progress, log, and ask the client.

A handler gets its `Context` by declaring a parameter of that type; a handler without one costs nothing for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any

from taut import models
from taut.errors import InvalidParams, LocalProtocolError
from taut.mcp.inbound import Caller, Request, RequestState
from taut.mcp.inputs import Elicit, Elicited, ElicitUrl, ListRoots, Question, Rounds, Sample
from taut.mcp.levels import severity

if TYPE_CHECKING:
    from taut.server.server import Server
    from taut.transport.conversation import Conversation

__all__ = ["Context"]


class _Drain:
    """Awaiting it waits for a peer that does not keep up; not awaiting it is fine as well."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Conversation) -> None:
        self._connection = connection

    def __await__(self) -> Generator[Any, None, None]:
        return self._connection.drain().__await__()


class Context:
    """One request, seen from its handler. Usable until the handler returns."""

    __slots__ = ("_connection", "_drain", "_request", "_rounds", "server")

    def __init__(
        self, server: Server, request: Request, connection: Conversation, rounds: Rounds | None
    ) -> None:
        self.server = server
        self._request = request
        self._connection = connection
        self._rounds = rounds
        self._drain = _Drain(connection)

    # -- who asks

    @property
    def request_id(self) -> int | str:
        """The JSON-RPC id of the request."""
        return self._request.key

    @property
    def client(self) -> Caller:
        """The client: revision, capabilities, name, log level."""
        return self._request.caller

    @property
    def revision(self) -> str:
        """The protocol revision of the request."""
        return self._request.caller.revision

    @property
    def principal(self) -> str:
        """Whom the transport has authenticated; empty where nobody asks."""
        return self._request.principal

    @property
    def session(self) -> str:
        """What tells the session of the request from others; empty where nothing does. As secret as a session's id."""
        return self._connection.session

    @property
    def round(self) -> int:
        """Which round of a multi-round-trip request this is, from 1; a handler runs from its start in each."""
        return 1 if self._rounds is None else self._rounds.round

    @property
    def answered(self) -> Collection[str]:
        """The names of the questions that earlier rounds of this request have answered; see `ask`."""
        return () if self._rounds is None else self._rounds.answered

    @property
    def meta(self) -> models.RequestMeta | None:
        """The request's ``_meta``: trace context, and what the client added."""
        return self._request.meta

    @property
    def lifespan(self) -> Any:
        """What the server's lifespan yielded; None without one."""
        return self.server.lifespan_state

    @property
    def cancelled(self) -> bool:
        """Whether the client has withdrawn the request: for handlers in threads, which cannot be interrupted."""
        return self._request.state is not RequestState.OPEN

    @property
    def task_id(self) -> str | None:
        """The id of the task that this call has become; None while it is a call."""
        return None

    # -- beside the answer

    def progress(self, progress: float, total: float | None = None, message: str | None = None) -> _Drain:
        """Report progress; dropped when the client asked for none, or when it does not grow.

        May be called from any thread. Awaiting the result waits for a client that does not keep up.
        """
        return self._send(self._request.progress, progress, total, message)

    def log(self, level: str, data: Any, *, logger: str | None = None) -> _Drain:
        """Send a log message; dropped when the client did not ask for this level.

        ``level`` is one of debug, info, notice, warning, error, critical, alert, emergency; ``data`` any JSON value.

        :raises taut.errors.ConfigError: no such level.
        """
        severity(level)  # here, where a mistake in another thread is its own
        return self._send(self._request.log, level, data, logger)

    def debug(self, data: Any) -> _Drain:
        """Log at level debug."""
        return self.log("debug", data)

    def info(self, data: Any) -> _Drain:
        """Log at level info."""
        return self.log("info", data)

    def warning(self, data: Any) -> _Drain:
        """Log at level warning."""
        return self.log("warning", data)

    def error(self, data: Any) -> _Drain:
        """Log at level error."""
        return self.log("error", data)

    def _send(self, send: Any, *args: Any) -> _Drain:
        self._connection.run_here(self._send_here, send, args)
        return self._drain

    def _send_here(self, send: Any, args: tuple[Any, ...]) -> None:
        send(*args)
        self._connection.flush_soon()

    def close_stream(self) -> bool:
        """Let the client hang up until there is news, so that a long wait holds no connection open.

        The client comes back by itself, and gets what was said meanwhile, once and in order. That takes a legacy client
        of revision 2025-11-25 ("polling", SEP-1699) on HTTP, and a server that keeps events: for any other one nothing
        happens, and False is returned.
        """
        return self._connection.close_stream()

    # -- asking the client

    async def ask(self, **questions: Question) -> dict[str, Any]:
        """Ask the client for several things at once; returns its answers by name.

        In the modern era the handler is run again, from its start, once the answers are there (`taut.mcp.inputs`).

        :raises taut.errors.MissingRequiredClientCapability: the client did not declare what a question needs.
        :raises taut.errors.LocalProtocolError: the request has ended.
        """
        if self.cancelled:
            raise LocalProtocolError(f"{self._request.method} has ended: nobody is left to ask")
        for question in questions.values():
            self._connection.check_asking(question.method)
            question.check(self.client)
        if self._rounds is not None:
            return self._rounds.answers(questions)
        if self.revision in models.MODERN:
            raise LocalProtocolError(
                f"{self._request.method} cannot ask for input at revision {self.revision}"
            )
        asked = questions.values()
        results = await asyncio.gather(*(self._connection.ask(one.method, one.params) for one in asked))
        try:
            return {
                key: one.answer(result) for key, one, result in zip(questions, asked, results, strict=True)
            }
        except ValueError as error:  # not what the form asks
            raise InvalidParams(f"Invalid answer of the client: {error}") from error

    async def begin_task(self) -> bool:
        """Let the rest of the call be a task, whose client may go away and come back.

        For tools that are registered with ``task=TaskOptions(begins="later")``. The client is answered with the task
        now, and what the function returns becomes the task's result. Returns whether that is so: a client that cannot
        follow tasks waits for the result, as for that of any tool.

        :raises taut.errors.LimitExceeded: there are too many tasks.
        """
        return False

    def _key(self, method: str) -> str:
        """Return a key for a question that has none."""
        return "answer" if self._rounds is None else self._rounds.key(method)

    async def _ask_one(self, question: Question, key: str | None) -> Any:
        name = key or self._key(question.method)
        answers = await self.ask(**{name: question})
        return answers[name]

    async def elicit(
        self, message: str, schema: type | dict[str, Any], *, key: str | None = None
    ) -> Elicited:
        """Ask the user to fill in a form.

        ``schema`` is a flat object schema, or a class with such fields (msgspec Struct, dataclass, TypedDict).
        The answer has ``action`` (accept, decline, cancel) and ``content``: what was entered, decoded to ``schema``
        if that is a class. ``key`` names the question in a multi-round-trip request.
        """
        answer: Elicited = await self._ask_one(Elicit(message, schema), key)
        return answer

    async def elicit_url(
        self, message: str, url: str, *, elicitation_id: str | None = None, key: str | None = None
    ) -> Elicited:
        """Ask the user to open ``url``, for what must not pass through the client.

        Accepting means that the user will open it, not that anything has been done there; `elicitation_complete`
        says when it has (2025-11-25).
        """
        question = ElicitUrl(message, url, elicitation_id=elicitation_id)
        answer: Elicited = await self._ask_one(question, key)
        return answer

    def elicitation_complete(self, elicitation_id: str) -> _Drain:
        """Say that what a URL asked for was done; dropped at the revisions that do not know it."""
        return self._send(self._complete, elicitation_id)

    def _complete(self, elicitation_id: str) -> None:
        method = "notifications/elicitation/complete"
        if models.lookup(method, self.revision) is not None:
            self._request.notify(method, models.ElicitationCompleteParams(elicitation_id=elicitation_id))

    async def sample(
        self,
        messages: str | list[models.SamplingMessage],
        *,
        max_tokens: int = 1024,
        key: str | None = None,
        **options: Any,
    ) -> models.CreateMessageResult:
        """Ask the client's model for a message; ``options`` are further members of the params, in snake case."""
        if isinstance(messages, str):
            messages = [models.SamplingMessage(role="user", content=models.TextContent(messages))]
        result: models.CreateMessageResult = await self._ask_one(
            Sample(messages, max_tokens=max_tokens, **options), key
        )
        return result

    async def list_roots(self, *, key: str | None = None) -> list[models.Root]:
        """Return the client's roots."""
        roots: list[models.Root] = await self._ask_one(ListRoots(), key)
        return roots
