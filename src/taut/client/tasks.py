"""A call that goes on as a task, seen from the client: the same in both eras.

The client looks at the task as often as the server asks it to, and answers what the task asks with the client's
callbacks. In 2025-11-25 ``tasks/result`` waits for the end, and the questions come as requests meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from taut import models
from taut.client.rounds import respond
from taut.errors import (
    LocalProtocolError,
    MethodNotFound,
    RequestCancelled,
    RequestTimeout,
    TransportError,
    from_wire,
)

if TYPE_CHECKING:
    from taut.client.client import Client

__all__ = ["ClientTask", "TaskState", "declaring", "follow", "start"]

#: What a task looks like; its attributes have the same names in both eras.
TaskState: TypeAlias = models.GetTaskResult | models.LegacyGetTaskResult

T = TypeVar("T")

EXTENSION = f"extensions.{models.TASKS_EXTENSION}"
TERMINAL = frozenset({"completed", "failed", "cancelled"})
#: Seconds between two looks where the server says nothing of it, and the least that it can ask for.
POLL_S = 1.0
MIN_POLL_S = 0.001
#: Looks in a row that may fail on their way before waiting for the task does.
MAX_LOST_LOOKS = 5


def declaring(capabilities: models.ClientCapabilities | None) -> models.ClientCapabilities:
    """Return ``capabilities`` with the extension among them."""
    given = models.ClientCapabilities() if capabilities is None else capabilities
    extensions = {} if given.extensions is UNSET else given.extensions
    return msgspec.structs.replace(given, extensions={models.TASKS_EXTENSION: {}} | extensions)


class ClientTask:
    """One task. `result` waits for its end; iterating over it yields its states, the last one included.

    A call that the server has answered at once is a task that has ended: it has a result, and no ``id``. Keep the
    ``id`` to come back to a task from another connection (`taut.Client.task`).
    """

    def __init__(self, client: Client, task_id: str | None, *, result: models.CallToolResult | None = None):
        self.id = task_id
        #: What was last seen of it; None: nothing yet, or it is none.
        self.state: TaskState | None = None
        self._client = client
        self._result = result
        self._poll_s = POLL_S
        self._answered: set[str] = set()

    def __repr__(self) -> str:
        return f"<ClientTask {self.id or 'answered at once'} {self.status}>"

    @property
    def status(self) -> str:
        """The status that was last seen."""
        if self._result is not None:
            return "completed"
        return "working" if self.state is None else self.state.status

    @property
    def ended(self) -> bool:
        """Whether it was seen to have ended."""
        return self.status in TERMINAL

    async def look(self) -> TaskState:
        """Ask how the task is.

        :raises taut.errors.InvalidParams: the server knows no such task, or not any more.
        """
        state: TaskState = await self._request("tasks/get", models.GetTaskParams(task_id=self._known_id))
        self._note(state)
        return state

    def _note(self, state: TaskState) -> None:
        self.state = state
        if state.poll_interval_ms is not UNSET:
            self._poll_s = max(MIN_POLL_S, state.poll_interval_ms / 1000)

    async def __aiter__(self) -> AsyncIterator[TaskState]:
        """Look as often as the server asks for; questions are not answered: see `answer`."""
        while self.id is not None:
            yield await self._persist(self.look)
            if self.ended:
                return
            await asyncio.sleep(self._poll_s)

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask what bears repeating, and ask again where that was lost on the way."""
        for _ in range(MAX_LOST_LOOKS - 1):
            try:
                return await ask()
            except (TransportError, RequestTimeout):
                if self._client.connection.lost is not None:
                    raise
            await asyncio.sleep(self._poll_s)
        return await ask()

    async def result(self) -> models.CallToolResult:
        """Wait for the end of the task and return its result; what it asks meanwhile the client's callbacks answer.

        Cancelling this ends the waiting, not the task: see `cancel`.

        :raises taut.errors.RemoteError: the error that ended the task.
        :raises taut.errors.RequestCancelled: the task was cancelled.
        :raises taut.errors.InputRequired: there is no callback for what it asks.
        """
        if self._result is None:
            if self._client.agreement.modern:
                async for state in self:
                    if isinstance(state, models.GetTaskResult) and state.input_requests is not UNSET:
                        await self._answer_all(state.input_requests)
                self._result = self._outcome()
            else:
                given = await self._persist(self._wait)
                self._result = models.convert(
                    models.to_dict(given, self._client.revision), models.CallToolResult
                )
        return self._result

    async def _wait(self) -> Any:
        """Wait for the end of a task of 2025-11-25: as long as it takes, which no timeout of calls knows."""
        params = models.GetTaskParams(task_id=self._known_id)
        return await self._client.connection.ask("tasks/result", params)

    def _outcome(self) -> models.CallToolResult:
        state = self.state
        assert isinstance(state, models.GetTaskResult)  # of a modern task that has ended
        if state.status == "completed" and state.result is not UNSET:
            return models.convert(state.result, models.CallToolResult)
        if state.error is not UNSET:
            data = None if state.error.data is UNSET else state.error.data
            raise from_wire(state.error.code, state.error.message, data)
        said = state.status_message
        raise RequestCancelled(f"The task was {state.status}" if said is UNSET else said)

    async def _answer_all(self, questions: Mapping[str, models.InputRequest]) -> None:
        """Answer what was not answered before; a key means the same question for as long as the task lives."""
        new = {key: one for key, one in questions.items() if key not in self._answered}
        self._answered |= new.keys()
        try:
            given = await asyncio.gather(
                *(respond(key, one, self._client._answers) for key, one in new.items())
            )
            if new:
                await self.answer(dict(zip(new, given, strict=True)))
        except BaseException:
            self._answered -= new.keys()  # whoever waits next may do better
            raise

    async def answer(self, responses: Mapping[str, Any]) -> None:
        """Answer questions of the task: results for keys of ``state.input_requests`` (2026-07-28).

        :raises taut.errors.InvalidParams: an answer does not fit its question.
        """
        params = models.UpdateTaskParams(task_id=self._known_id, input_responses=dict(responses))
        await self._request("tasks/update", params)

    async def cancel(self) -> None:
        """Ask the server to cancel the task. One that has ended stays as it is; in 2025-11-25 that is an error."""
        await self._request("tasks/cancel", models.CancelTaskParams(task_id=self._known_id))

    @property
    def _known_id(self) -> str:
        if self.id is None:
            raise LocalProtocolError("The call was answered at once: there is no task")
        return self.id

    async def _request(self, method: str, params: object) -> Any:
        return await self._client.request(method, params, meta=meta_of(self._client))


def meta_of(client: Client) -> dict[str, Any] | None:
    """Return the ``_meta`` that lets a request be about tasks; None where every request of ``client`` does."""
    capabilities = client.capabilities
    if not client.agreement.modern or models.declares(capabilities, EXTENSION):
        return None
    declared = models.to_dict(declaring(capabilities), client.revision)
    return {models.CLIENT_CAPABILITIES_KEY: declared}


async def start(
    client: Client, params: models.CallToolParams, options: Mapping[str, Any], *, ttl_s: float | None
) -> ClientTask:
    """Call a tool, as a task if the server can; see `taut.Client.start_tool`."""
    given = dict(options)
    own = meta_of(client)
    if own is not None:
        given["meta"] = own | dict(given.get("meta") or {})
    if not client.agreement.modern and models.declares(
        client.server_capabilities, "tasks.requests.tools.call"
    ):
        ttl_ms = UNSET if ttl_s is None else round(ttl_s * 1000)
        asking = msgspec.structs.replace(params, task=models.TaskMetadata(ttl_ms=ttl_ms))
        try:
            return task_of(client, await client.request("tools/call", asking, **given))
        except MethodNotFound:  # a tool that must not be a task
            pass
    return task_of(client, await client._call("tools/call", params, given))


def task_of(client: Client, result: Any) -> ClientTask:
    """Return the task that a call was answered with, or one that has ended where it was answered."""
    if isinstance(result, models.CreateTaskResult):
        task = ClientTask(client, result.task_id)
        interval = result.poll_interval_ms
    elif isinstance(result, models.LegacyCreateTaskResult):
        task = ClientTask(client, result.task.task_id)
        interval = result.task.poll_interval_ms
    else:
        return ClientTask(client, None, result=result)
    if interval is not UNSET:
        task._poll_s = max(MIN_POLL_S, interval / 1000)
    return task


async def follow(
    client: Client, params: models.CallToolParams, options: dict[str, Any]
) -> models.CallToolResult:
    """Call a tool and wait for its result, also where the call goes on as a task: who gives up cancels it.

    :raises taut.errors.RequestTimeout: it takes longer than ``total_timeout_s``.
    """
    limit_s: float | None = options.get("total_timeout_s")
    task: ClientTask | None = None
    try:
        async with asyncio.timeout(limit_s) as limit:
            task = await _call(client, params, options)
            return await task.result()
    except (asyncio.CancelledError, TimeoutError) as error:
        if task is not None and task.id is not None and client.connection.lost is None:
            client.connection.call_back(task.cancel)
        if limit_s is not None and limit.expired():
            raise RequestTimeout("tools/call", limit_s) from error
        raise


async def _call(client: Client, params: models.CallToolParams, options: dict[str, Any]) -> ClientTask:
    """Call a tool; as a task only if the server makes it one or, in 2025-11-25, will not have it otherwise."""
    try:
        return task_of(client, await client._call("tools/call", params, options))
    except MethodNotFound:
        if client.agreement.modern:
            raise
        return await start(client, params, options, ttl_s=None)
