"""What models that answer out of hand have in common: names, ids of calls, usage, and the requests they got."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import structs

from taut.errors import ConfigError
from taut.llm.messages import Usage
from taut.llm.model import ModelEvent, ModelRequest, ModelResponse, OnEvent, ignore
from taut.testing.answers import Answer, check_answer, stop_reason, tell, to_message
from taut.testing.tokens import TokenCounter

__all__ = ["AnsweringModel", "Delay"]

#: Awaited before a request is answered.
Delay: TypeAlias = Callable[[ModelRequest], Awaitable[object]]


class AnsweringModel(ABC):
    """A model whose subclass finds the answer in `find`.

    ``usage`` is what each answer uses; by default it is counted (`taut.testing.tokens`). ``keep`` is how many of the
    last requests are kept in `requests`; None keeps all. They are kept as they came, and the messages of a request are
    mostly a list that its agent goes on writing to: with ``snapshot`` each keeps the messages that there were, at the
    price of a copy for each request. ``delay`` is awaited before an answer is given. Calls get the ids
    ``{call_prefix}_1``, and so on, also where a history is taken up that another such model has begun.
    """

    def __init__(
        self,
        *,
        name: str,
        usage: Usage | None = None,
        delay: Delay | None = None,
        keep: int | None = None,
        snapshot: bool = False,
        call_prefix: str = "call",
    ) -> None:
        if keep is not None and keep < 0:
            raise ConfigError(f"Expected to keep at least 0 requests, got {keep}")
        self._name = name
        self._usage = usage
        self._delay = delay
        self._snapshot = snapshot
        self._call_prefix = call_prefix
        self._calls = 0
        self._tokens = TokenCounter()
        #: The last requests, the oldest first.
        self.requests: deque[ModelRequest] = deque(maxlen=keep)
        #: How many requests came.
        self.asked = 0
        self.closed = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @abstractmethod
    def find(self, request: ModelRequest, on_event: OnEvent) -> Answer | Awaitable[Answer]:
        """Return the answer to ``request``, the one that is number `asked`, or raise what it is to fail with.

        Whoever calls ``on_event`` has streamed the answer; otherwise it is streamed word by word.
        """

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """Return the answer that `find` finds. See `taut.llm.model.Model`."""
        self.asked = number = self.asked + 1
        self.requests.append(
            structs.replace(request, messages=tuple(request.messages)) if self._snapshot else request
        )
        input_tokens = 0 if self._usage is not None else self._tokens.input_tokens(request)
        self._continue_ids(request)
        streamed = False

        def hear(event: ModelEvent) -> None:
            nonlocal streamed
            streamed = True
            on_event(event)

        found = self.find(request, hear)
        if inspect.isawaitable(found):
            found = await found
        check_answer(found, f"the answer of {self._name!r} to request {number}")
        response = self._to_response(found, input_tokens)
        if not streamed:
            tell(response, on_event)
        return response

    async def wait(self, request: ModelRequest) -> None:
        """Wait as long as ``delay`` does."""
        if self._delay is not None:
            await self._delay(request)

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def _to_response(self, answer: Answer, input_tokens: int) -> ModelResponse:
        if isinstance(answer, ModelResponse):
            message = to_message(answer.message, self._new_id)
            return answer if message is answer.message else structs.replace(answer, message=message)
        message = to_message(answer, self._new_id)
        usage = self._tokens.usage(input_tokens, message) if self._usage is None else self._usage
        return ModelResponse(message=message, usage=usage, stop_reason=stop_reason(message), model=self._name)

    def _new_id(self) -> str:
        self._calls += 1
        return f"{self._call_prefix}_{self._calls}"

    def _continue_ids(self, request: ModelRequest) -> None:
        """Go on behind the ids of the last calls in the history: a run that was taken up has some of a model before."""
        for message in reversed(request.messages):
            calls = message.tool_calls if message.role == "assistant" else ()
            if calls:
                for made in calls:
                    prefix, _, number = made.id.rpartition("_")
                    if prefix == self._call_prefix and number.isdecimal():
                        self._calls = max(self._calls, int(number))
                return
