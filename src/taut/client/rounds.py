"""Multi-round-trip requests (2026-07-28): a server's questions come as a result, and the answers with the next try."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from taut import models
from taut.client.answers import Answers
from taut.errors import InputRequired, RemoteProtocolError

__all__ = ["no_task", "play_rounds", "respond"]


async def play_rounds(
    send: Callable[[Any], Awaitable[Any]],
    method: str,
    params: Any,
    asked: models.InputRequiredResult,
    answers: Answers,
    *,
    maximum: int,
) -> Any:
    """Answer what the server asked, and ``send`` the request with the answers, until it has what it needs.

    :raises taut.errors.InputRequired: there is no callback for what it asks, or it does not stop asking.
    """
    for _ in range(maximum):
        responses = await _responses(asked, answers)
        again = msgspec.structs.replace(
            params, input_responses=responses or msgspec.UNSET, request_state=asked.request_state
        )
        result = await send(again)
        if not isinstance(result, models.InputRequiredResult):
            return result
        asked = result
    raise InputRequired(f"{method} still asks for input after {maximum} rounds")


def no_task(result: Any) -> Any:
    """Return ``result``.

    :raises taut.errors.RemoteProtocolError: the server made a task of the request, which was not agreed on.
    """
    if isinstance(result, (models.CreateTaskResult, models.LegacyCreateTaskResult)):
        raise RemoteProtocolError(
            "Expected a result, got a task: what may become one is called with start_tool()"
        )
    return result


async def _responses(asked: models.InputRequiredResult, answers: Answers) -> dict[str, Any]:
    questions = {} if asked.input_requests is msgspec.UNSET else asked.input_requests
    return {key: await respond(key, question, answers) for key, question in questions.items()}


async def respond(key: str, question: models.InputRequest, answers: Answers) -> Any:
    """Return the answer to one question.

    :raises taut.errors.InputRequired: there is no callback for it.
    """
    method: str = question.__struct_config__.tag  # type: ignore[assignment]  # the method is the tag
    if method not in answers:
        raise InputRequired(
            f"The server asks for {key!r} with {method}, for which this client has no callback"
        )
    params = models.RequestParams() if question.params is msgspec.UNSET else question.params
    missing = answers.undeclared(method, params)
    if missing is not None:
        raise InputRequired(f"The server asks for {key!r} with {missing}, which this client did not declare")
    return await answers.answer(method, params)
