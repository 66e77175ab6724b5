"""One call that runs as a task: from its beginning to the one outcome that the store keeps.

A run belongs to the event loop in which it was begun, and to no connection: its client may go away. What it learns
from outside (answers, a cancellation, from whichever process) it learns from its record, when that has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.errors import (
    INTERNAL_ERROR,
    InternalError,
    InvalidParams,
    LocalProtocolError,
    ProtocolError,
    RemoteError,
    from_wire,
)
from taut.mcp import tasks as life
from taut.mcp.inbound import Request, RequestState
from taut.mcp.inputs import Question, Rounds
from taut.mcp.tasks import TaskRecord
from taut.mcp.terms import wire_code
from taut.server.content import tool_result
from taut.server.context import Context
from taut.server.registry import ToolEntry
from taut.server.tools import answer_to, run_tool

if TYPE_CHECKING:
    from taut.server.server import Server
    from taut.server.tasks import Tasks
    from taut.transport.conversation import Conversation

__all__ = ["TaskContext", "TaskRun"]

logger = logging.getLogger("taut.server")

#: ``_meta`` of a new task: what a model may be told instead of the result (2025-11-25, "Creating Tasks").
MEANWHILE = "io.modelcontextprotocol/model-immediate-response"


class TaskRun:
    """A call of a tool that is a task, or may become one."""

    def __init__(
        self,
        tasks: Tasks,
        server: Server,
        tool: ToolEntry,
        request: Request,
        connection: Conversation,
        arguments: object,
        rounds: Rounds | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.tool = tool
        self.request = request
        self.connection = connection
        #: The task as it was when it began; None while this is a call.
        self.record: TaskRecord | None = None
        #: Why it is being ended from outside; empty: it is not.
        self.stopped = ""
        self._tasks = tasks
        self._server = server
        self._arguments = arguments
        self._rounds = rounds
        self._context: TaskContext | None = None
        if tool.function.context_parameter is not None:
            self._context = TaskContext(server, request, connection, rounds, self)
        self._beginning = asyncio.Lock()
        #: The answer to the call, or None: it goes on as a task.
        self._answer: asyncio.Future[Any] = self.loop.create_future()
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._slots = tasks.slots
        self._holds_slot = False
        self._asking = 0
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._keys: set[str] = set()
        #: What is to be said next of how it goes, and whoever is saying something now.
        self._news = ""
        self._telling: asyncio.Task[None] | None = None

    # -- the beginning

    async def begin(self) -> None:
        """Be a task at once: keep it, answer with it, then start to work."""
        record = await self._keep()
        self.request.envelope.release()
        self._start()
        self._respond(record)

    async def begin_later(self) -> None:
        """Work on the call; answer with its result, or with the task that it has become."""
        self._start()
        try:
            answer = await asyncio.shield(self._answer)
        except asyncio.CancelledError:
            self.stop("the request was withdrawn")
            raise
        if self.record is None:
            self.request.respond(answer)
        else:
            self._respond(self.record)

    async def become_task(self) -> None:
        """Go on as a task; nothing happens if this is one."""
        async with self._beginning:
            if self.record is None:
                await self._keep()
                self._answer.set_result(None)
                await self._take_slot()

    async def _keep(self) -> TaskRecord:
        """Keep a new task in the store, unless its client has gone meanwhile."""
        record = self._tasks.new_record(self.tool, self.request, self.connection)
        try:
            await self._tasks.add(record)
            if self.request.state is not RequestState.OPEN:
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            await asyncio.shield(self._tasks.store.remove(record.id))
            raise
        self.record = record
        self._tasks.enter(self, record)
        if record.ttl_s is not None:
            self._timer = self.loop.call_later(record.ttl_s, self._expire)
        return record

    def _start(self) -> None:
        self._worker = self.loop.create_task(self._work())

    def _respond(self, record: TaskRecord) -> None:
        result = life.created_result(record, self.request.caller.revision)
        options = self.tool.task
        if isinstance(result, models.LegacyCreateTaskResult) and options is not None and options.meanwhile:
            result = msgspec.structs.replace(result, meta={MEANWHILE: options.meanwhile})
        self.request.respond(result)

    # -- the work

    async def _work(self) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            if self.record is not None:
                await self._take_slot()
            result = await self._call()
        except (Exception, asyncio.CancelledError) as raised:  # told to whoever asks for the task
            error = raised
        finally:
            self._ending = True
            self._give_slot()
            if self._timer is not None:
                self._timer.cancel()
            if self._telling is not None:
                self._telling.cancel()
        if self.record is not None:
            await self._keep_outcome(self.record, result, error)
            self._tasks.leave(self, self.record)
        elif self._answer.cancelled():
            return
        elif error is None:
            self._answer.set_result(result)
        else:
            self._answer.set_exception(_without_cancellation(error, self.tool.key))
            self._answer.exception()  # whoever has asked for it may be gone

    async def _call(self) -> Any:
        """Call the tool; return its result as it goes over the wire."""
        function = self.tool.function
        try:
            value = await run_tool(self._server, self.tool, self._arguments, self._context)
            result = tool_result(function, value, self.request.caller)
        except BaseException as error:  # the border to user code
            result = answer_to(self._server, self.tool.key, error, self._rounds)
        if self.record is not None and not isinstance(result, models.CallToolResult):
            raise InternalError(
                f"Expected the result of a tool from {self.tool.key}, got {type(result).__name__}"
            )
        return result

    async def _keep_outcome(self, record: TaskRecord, result: Any, error: BaseException | None) -> None:
        now = self._tasks.clock()
        if error is None:
            try:
                body = models.encode(result, record.revision)
            except (TypeError, ValueError, OverflowError, RecursionError):
                logger.exception("the result of %s cannot be encoded", self.tool.key)
                error = InternalError(f"The result of {self.tool.key} cannot be encoded")
        if error is None:
            is_error = result.is_error is True
            changed = self._tasks.change(
                record.id, lambda old: life.completed(old, body, now, is_error=is_error)
            )
        else:
            failure = self._failure(error)
            changed = self._tasks.change(record.id, lambda old: life.failed(old, failure, now))
        try:
            await _whatever_happens(changed)
        except (
            Exception
        ):  # of a store, which may be the user's: the work is done, and there is nobody to tell
            logger.exception("the outcome of task %s is lost", record.id)

    def _failure(self, error: BaseException) -> models.ErrorObject:
        """Return the error that a request would have been answered with."""
        name = self.tool.key
        if isinstance(error, asyncio.CancelledError):
            why = self.stopped or "it was cancelled by the server"
            return models.ErrorObject(INTERNAL_ERROR, f"{name} did not finish: {why}")
        if isinstance(error, (RemoteError, ProtocolError)) and not isinstance(error, LocalProtocolError):
            data = msgspec.UNSET if error.data is None else error.data
            return models.ErrorObject(wire_code(error, self.request.caller.revision), error.message, data)
        logger.error("task of %s failed", name, exc_info=error)
        return models.ErrorObject(INTERNAL_ERROR, f"Internal error while running {name}")

    # -- what comes from outside

    def see(self, record: TaskRecord) -> None:
        """Take notice of the record's next state."""
        if record.ended and not self._ending:
            self.stop(record.message or "it has ended")
        for key, future in self._waiting.items():
            if future.done():
                continue
            if key in record.answers:
                future.set_result(record.answers[key])
            elif key in record.refusals:
                refusal = record.refusals[key]
                data = None if refusal.data is msgspec.UNSET else refusal.data
                future.set_exception(from_wire(refusal.code, refusal.message, data))
        revision = self.request.caller.revision
        if revision not in models.MODERN:
            self.connection.tell("notifications/tasks/status", life.status_params(record, revision))

    def stop(self, why: str) -> None:
        """Cancel the work."""
        self.stopped = self.stopped or why
        if self._worker is not None and not self._ending:
            self._worker.cancel()

    def _expire(self) -> None:
        record = self.record
        if record is None or record.ttl_s is None:
            return
        left = record.created + record.ttl_s - self._tasks.clock()
        if left > 0:  # a clock that was set back
            self._timer = self.loop.call_later(left, self._expire)
        else:
            self.stop("its time was over")

    async def wait_ended(self) -> None:
        """Wait until the work has ended."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    # -- slots: how many tasks may work at once

    async def _take_slot(self) -> None:
        if not self._holds_slot:
            await self._slots.acquire()
            self._holds_slot = True

    def _give_slot(self) -> None:
        if self._holds_slot:
            self._holds_slot = False
            self._slots.release()

    # -- saying how it goes

    def say(self, message: str) -> None:
        """Have ``message`` said of the task, soon; of several that come meanwhile only the last. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._say, message)

    def _say(self, message: str) -> None:
        self._news = message
        if self._telling is None and not self._ending:
            self._telling = self.loop.create_task(self._tell())

    async def _tell(self) -> None:
        record = self.record
        try:
            while self._news and record is not None:
                said = functools.partial(life.said, message=self._news, now=self._tasks.clock())
                self._news = ""
                await self._tasks.change(record.id, said)
        except Exception:  # of a store, which may be the user's
            logger.exception("how it goes with %s cannot be said", self.tool.key)
        finally:
            self._telling = None

    # -- asking the client

    def key(self, method: str) -> str:
        """Return a key for a question that has none."""
        return f"{method.partition('/')[0]}_{len(self._keys) + 1}"

    def _new_key(self, key: str) -> str:
        """Return ``key``, or one like it: none may come twice in the life of a task (SEP-2663)."""
        number, name = 1, key
        while name in self._keys:
            number += 1
            name = f"{key}_{number}"
        self._keys.add(name)
        return name

    async def ask(self, questions: Mapping[str, Question]) -> dict[str, Any]:
        """Ask the client, and wait for all of its answers; others of the handler's questions may wait beside.

        :raises taut.errors.RemoteError: the client answered with an error (2025-11-25).
        :raises taut.errors.InvalidParams: an answer does not fit the class of its question.
        """
        record = self.record
        if record is None or self.stopped:
            raise LocalProtocolError(f"{self.tool.key} has ended: nobody is left to ask")
        names = {key: self._new_key(key) for key in questions}
        posed = {names[key]: life.question_of(one, record.revision) for key, one in questions.items()}
        futures = {name: self.loop.create_future() for name in posed}
        self._waiting.update(futures)
        self._asking += 1
        try:
            await self._tasks.change(record.id, lambda old: life.asked(old, posed, self._tasks.clock()))
            self._give_slot()
            await _all(futures.values())
        finally:
            self._asking -= 1
            for name in posed:
                del self._waiting[name]
            if not all(one.done() and not one.cancelled() for one in futures.values()) and not self.stopped:
                await _whatever_happens(
                    self._tasks.change(record.id, lambda old: life.withdrawn(old, posed, self._tasks.clock()))
                )
        if not self._asking:
            await self._take_slot()
        return {key: _decoded(key, one, futures[names[key]].result()) for key, one in questions.items()}


class TaskContext(Context):
    """The context of a call that is a task, or may become one: then it outlives its request."""

    __slots__ = ("_run",)

    def __init__(
        self,
        server: Server,
        request: Request,
        connection: Conversation,
        rounds: Rounds | None,
        run: TaskRun,
    ) -> None:
        super().__init__(server, request, connection, rounds)
        self._run = run

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the result any more."""
        return bool(self._run.stopped) or (self._run.record is None and super().cancelled)

    @property
    def task_id(self) -> str | None:
        """The id of the task; None while this is a call."""
        return None if self._run.record is None else self._run.record.id

    async def begin_task(self) -> bool:
        """Go on as a task, if this is none yet."""
        await self._run.become_task()
        return True

    def progress(self, progress: float, total: float | None = None, message: str | None = None) -> Any:
        """Report progress. Of a task nobody hears the numbers; the ``message`` is what is said of how it goes."""
        if self._run.record is None:
            return super().progress(progress, total, message)
        if message:
            self._run.say(message)
        return _NOTHING_TO_WAIT_FOR

    def _send(self, send: Any, *args: Any) -> Any:
        if self._run.record is None:
            return super()._send(send, *args)
        # Neither progress nor log messages belong to a task (SEP-2663, "Task Status Notifications").
        if send == self._complete:
            self._connection.run_here(send, *args)
        return _NOTHING_TO_WAIT_FOR

    def _complete(self, elicitation_id: str) -> None:
        if self._run.record is None:
            super()._complete(elicitation_id)
        elif models.lookup("notifications/elicitation/complete", self.revision) is not None:
            params = models.ElicitationCompleteParams(elicitation_id=elicitation_id)
            self._connection.tell("notifications/elicitation/complete", params)

    def _key(self, method: str) -> str:
        return super()._key(method) if self._run.record is None else self._run.key(method)

    async def ask(self, **questions: Question) -> dict[str, Any]:
        """Ask the client for several things at once; returns its answers by name.

        In a task the handler waits where it stands, however the answers travel: nothing is run again.
        """
        if self._run.record is None:
            return await super().ask(**questions)
        for question in questions.values():
            question.check(self.client)
        return await self._run.ask(questions)


class _Nothing:
    """Awaiting it waits for nothing."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


_NOTHING_TO_WAIT_FOR = _Nothing()


def _decoded(key: str, question: Question, raw: bytes) -> Any:
    try:
        return question.answer(models.decode_input_response(question.method, msgspec.json.decode(raw)))
    except ValueError as error:  # not what the class of the form takes
        raise InvalidParams(f"Invalid inputResponses[{key!r}]: {error}") from error


async def _all(futures: Any) -> None:
    """Wait until all futures are done, or one has failed, which is raised."""
    await asyncio.gather(*futures)


async def _whatever_happens(work: Any) -> None:
    """Wait for ``work`` through any cancellation: it is short, and must not be left half done."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


def _without_cancellation(error: BaseException, name: str) -> BaseException:
    """Return what a request can be answered with; a future takes no cancellation."""
    return (
        InternalError(f"{name} was cancelled by the server")
        if isinstance(error, asyncio.CancelledError)
        else error
    )
