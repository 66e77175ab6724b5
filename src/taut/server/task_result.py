"""``tasks/result`` of 2025-11-25: it waits for the end of a task and, while it waits, carries the task's questions.

A task outlives the request that made it, so its questions have nothing to travel on but a request that the client keeps
open. When that one ends early, what is still unanswered is asked again by the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import UNSET

from taut import models
from taut.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ConfigError,
    InvalidParams,
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
    TautError,
    from_wire,
)
from taut.mcp import tasks as life
from taut.mcp.inbound import Request
from taut.mcp.tasks import Asked, TaskRecord
from taut.server.task_store import Change

if TYPE_CHECKING:
    from taut.transport.conversation import Conversation

__all__ = ["answer_at_end"]

logger = logging.getLogger("taut.server")


class News(Protocol):
    """What is needed of `Tasks`."""

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since the epoch."""

    def watch(self, record: TaskRecord, callback: Callable[[TaskRecord], None]) -> Any:
        """Call back with every later state."""

    def unwatch(self, watch: Any) -> None:
        """Undo `watch`."""

    async def change(self, task_id: str, change: Change) -> object:
        """Change a task."""


async def answer_at_end(tasks: News, record: TaskRecord, request: Request, connection: Conversation) -> None:
    """Wait for the end of the task, then answer as its call would have been answered.

    :raises taut.errors.RemoteError: what ended the task instead of a result.
    """
    record = await _Waiting(tasks, record, connection).end()
    revision = request.caller.revision
    if record.status == "completed":
        result = models.decode_result("tools/call", life.final_result(record, revision), revision)
        meta = {} if result.meta is UNSET else result.meta
        related = {models.RELATED_TASK_KEY: {"taskId": record.id}}
        request.respond(msgspec.structs.replace(result, meta=meta | related))
    elif record.error is not None:
        error = record.error
        raise from_wire(error.code, error.message, None if error.data is UNSET else error.data)
    else:
        raise from_wire(INTERNAL_ERROR, record.message or "The task was cancelled")


class _Waiting:
    """One ``tasks/result`` that waits."""

    def __init__(self, tasks: News, record: TaskRecord, connection: Conversation) -> None:
        self._tasks = tasks
        self._record = record
        self._connection = connection
        self._news = asyncio.Event()
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def end(self) -> TaskRecord:
        """Return the task when it has ended."""
        if self._record.ended:
            return self._record
        watch = self._tasks.watch(self._record, self._see)
        try:
            while not self._record.ended:
                for key, question in self._record.questions.items():
                    if key not in self._asking:
                        self._asking[key] = asyncio.ensure_future(self._ask(key, question))
                await self._news.wait()
                self._news.clear()
        finally:
            self._tasks.unwatch(watch)
            for task in self._asking.values():
                task.cancel()
        return self._record

    def _see(self, record: TaskRecord) -> None:
        self._record = record
        self._news.set()

    async def _ask(self, key: str, question: Asked) -> None:
        """Put a question to the client. Without an answer, because the client is gone, it stays open."""
        task_id, clock = self._record.id, self._tasks.clock
        params = models.decode_params(question.method, question.params, models.LATEST_LEGACY)
        meta = {models.RELATED_TASK_KEY: {"taskId": task_id}}
        try:
            result = await self._connection.ask(question.method, params, meta=meta)
            answer = {key: models.to_dict(result, models.LATEST_LEGACY)}
            await self._tasks.change(task_id, lambda old: life.answered(old, answer, clock()))
        except (RemoteError, RemoteProtocolError, LocalProtocolError) as error:
            refusal = _refusal(error)
            await self._tasks.change(task_id, lambda old: life.refused(old, key, refusal, clock()))
        except ConfigError:  # the store's file
            logger.exception("question %s of task %s is lost", key, task_id)
        except TautError:  # the connection ended
            return
        except Exception:  # of a store, which may be the user's
            logger.exception("question %s of task %s is lost", key, task_id)


def _refusal(error: RemoteError | RemoteProtocolError | LocalProtocolError) -> models.ErrorObject:
    code = INVALID_PARAMS if isinstance(error, (InvalidParams, RemoteProtocolError)) else error.code
    return models.ErrorObject(code, error.message, UNSET if error.data is None else error.data)
