"""Calls that run as tasks: the extension of 2026-07-28 (SEP-2663) and the experiment of 2025-11-25.

`Tasks` is what a server knows of them: the store, the limits, the runs of this process, and who waits for news. What a
task is, and how it may change, is in `taut.mcp.tasks`; how one is worked on, in `task_run`.

Several processes may share a store. A task is worked on where its call came in; every process can show, feed and
cancel it, by changing its record. What another process has changed is found by looking, every ``look_s`` seconds, at
the records that somebody here waits for. A task whose process is gone has failed: it is not run again, since nobody
knows what it had done.

A task lasts as long as the server runs: over HTTP until it is shut down, over stdio until the client is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from taut import models
from taut.errors import INTERNAL_ERROR, ConfigError, InvalidParams, InvalidRequest, MethodNotFound
from taut.mcp import tasks as life
from taut.mcp.function import InvalidArguments
from taut.mcp.inbound import Request
from taut.mcp.inputs import Rounds
from taut.mcp.pagination import paginate
from taut.mcp.tasks import TaskRecord
from taut.server.registry import ToolEntry
from taut.server.task_result import answer_at_end
from taut.server.task_run import TaskRun
from taut.server.task_store import Change, MemoryTaskStore, TaskStore

if TYPE_CHECKING:
    from taut.server.server import Server
    from taut.transport.conversation import Conversation

__all__ = ["Tasks"]

logger = logging.getLogger("taut.server")

#: Bytes of randomness in an id: whoever knows it may reach a task that has no owner.
ID_BYTES = 24
#: Seconds that a task gets to clean up when the server stops.
STOP_S = 0.5
#: Tasks of one page of ``tasks/list``.
PAGE_SIZE = 100

_GONE = models.ErrorObject(INTERNAL_ERROR, "The server process that ran this task ended before the task did")
_OVER = models.ErrorObject(INTERNAL_ERROR, "The time of this task was over before it was done")


class Tasks:
    """The tasks of one server.

    :param store: where they are kept; the default is memory (`SQLiteTaskStore` survives the process).
    :param ttl_s: how long a task is kept, counted from its beginning, unless its tool says otherwise; None: for ever.
    :param max_ttl_s: the longest time that a client may ask for (2025-11-25); also limits ``ttl_s`` of None.
    :param poll_s: how often clients are told to look.
    :param max_tasks: how many are kept at once, in all processes; more are refused.
    :param max_per_owner: how many of one authenticated client, or of one legacy session.
    :param max_running: how many work at once in one process; more wait, as ``working``. One that waits for its client
        does not count.
    :param look_s: how often a shared store is looked at for what other processes have changed.
    :param clock: seconds since the epoch.
    :raises taut.errors.ConfigError: a number that is not positive.
    """

    def __init__(
        self,
        store: TaskStore | None = None,
        *,
        ttl_s: float | None = 3600.0,
        max_ttl_s: float | None = 86_400.0,
        poll_s: float = 1.0,
        max_tasks: int = 10_000,
        max_per_owner: int = 1_000,
        max_running: int = 256,
        look_s: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        numbers = {
            "ttl_s": ttl_s,
            "max_ttl_s": max_ttl_s,
            "poll_s": poll_s,
            "max_tasks": max_tasks,
            "max_per_owner": max_per_owner,
            "max_running": max_running,
            "look_s": look_s,
        }
        for name, value in numbers.items():
            if value is not None and value <= 0:
                raise ConfigError(f"Tasks: expected a positive {name}, got {value}")
        self.store: TaskStore = MemoryTaskStore() if store is None else store
        self.clock = clock
        self._ttl_s = ttl_s
        self._max_ttl_s = max_ttl_s
        self._poll_s = poll_s
        self._max_tasks = max_tasks
        self._max_per_owner = max_per_owner
        self._max_running = max_running
        self._look_s = look_s
        self._places: dict[asyncio.AbstractEventLoop, _Place] = {}
        self._watches: dict[str, set[_Watch]] = {}

    # -- calls

    def takes(self, tool: ToolEntry, request: Request) -> bool:
        """Tell whether a call of ``tool``, which has task options, runs as a task.

        :raises taut.errors.MissingRequiredClientCapability: it must, and the client cannot follow one.
        :raises taut.errors.MethodNotFound: it must, and the client did not ask for one, or cannot (before 2026-07-28).
        """
        required = tool.task is not None and tool.task.support == "required"
        caller = request.caller
        if caller.revision in models.MODERN:
            if required:
                life.check_declared(caller.capabilities, f"The tool {tool.key}")
            return models.declares(caller.capabilities, life.CAPABILITY)
        asked = _asks_for_task(request)
        if required and not asked:
            raise MethodNotFound(
                f"The tool {tool.key} runs as a task only: ask for one (2025-11-25, params.task)"
            )
        return asked

    def refuse_arguments(self, request: Request, error: InvalidArguments) -> None:
        """Refuse arguments of a call that asks for a task, which no result of a tool may answer (2025-11-25)."""
        if request.caller.revision not in models.MODERN and _asks_for_task(request):
            raise InvalidParams(f"Invalid arguments: {error}") from error

    def call(
        self,
        server: Server,
        tool: ToolEntry,
        request: Request,
        connection: Conversation,
        arguments: object,
        rounds: Rounds | None,
    ) -> Coroutine[Any, Any, None]:
        """Answer a call with a task, now or when the tool says so."""
        options = tool.task
        if options is not None and options.begins == "later" and request.caller.revision in models.MODERN:
            return TaskRun(self, server, tool, request, connection, arguments, rounds).begin_later()
        return TaskRun(self, server, tool, request, connection, arguments).begin()

    def new_record(self, tool: ToolEntry, request: Request, connection: Conversation) -> TaskRecord:
        """Return a new task for a call of ``tool``."""
        # Imported here: see taut.mcp.inputs.
        from secrets import token_urlsafe

        options = tool.task
        ttl_s = self._ttl_s if options is None or options.ttl_s is None else options.ttl_s
        if request.caller.revision not in models.MODERN:
            ttl_s = self._agreed_ttl(request, ttl_s)
        now = self.clock()
        return TaskRecord(
            id=token_urlsafe(ID_BYTES),
            owner=_owner(request, connection),
            revision=request.caller.revision,
            created=now,
            updated=now,
            ttl_s=ttl_s,
            poll_s=self._poll_s if options is None or options.poll_s is None else options.poll_s,
            worker=self.store.worker,
        )

    def _agreed_ttl(self, request: Request, ttl_s: float | None) -> float | None:
        """Return what a client of 2025-11-25 asked for, within bounds; else ``ttl_s``."""
        task: models.TaskMetadata = request.params().task
        if task.ttl_ms is UNSET or task.ttl_ms <= 0:
            return ttl_s
        wanted = task.ttl_ms / 1000
        return wanted if self._max_ttl_s is None else min(wanted, self._max_ttl_s)

    # -- the store

    async def add(self, record: TaskRecord) -> None:
        """Keep a new task.

        :raises taut.errors.LimitExceeded: there are too many.
        """
        await self.store.add(
            record, now=self.clock(), max_tasks=self._max_tasks, max_per_owner=self._max_per_owner
        )

    async def change(self, task_id: str, change: Change) -> tuple[TaskRecord, TaskRecord] | None:
        """Change a task, and tell whoever waits for news of it; see `TaskStore.change`."""
        changed = await self.store.change(task_id, change)
        if changed is not None and changed[1] is not changed[0]:
            self._publish(changed[1])
        return changed

    async def find(self, task_id: str, owner: str) -> TaskRecord:
        """Return a task that ``owner`` may reach.

        :raises taut.errors.InvalidParams: there is none; no word about one that belongs to somebody else.
        """
        record = await self.store.get(task_id)
        if record is None or life.expired(record, self.clock()) or not record.open_to(owner):
            raise InvalidParams(f"Task not found: {task_id[:100]}")
        return await self._judged(record)

    async def _judged(self, record: TaskRecord) -> TaskRecord:
        """Return the task; it has failed if its process is gone."""
        if record.ended or self.store.is_alive(record.worker):
            return record
        changed = await self.change(record.id, lambda old: life.failed(old, _GONE, self.clock()))
        return record if changed is None else changed[1]

    # -- news

    def watch(self, record: TaskRecord, callback: Callable[[TaskRecord], None]) -> _Watch:
        """Call ``callback``, in this loop, with every later state of the task; undo it with `unwatch`."""
        watch = _Watch(asyncio.get_running_loop(), record, callback)
        self._watches.setdefault(record.id, set()).add(watch)
        if self.store.shared:
            self._place.look(self)
        return watch

    def unwatch(self, watch: _Watch) -> None:
        """Undo `watch`."""
        watches = self._watches.get(watch.record.id, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.record.id, None)

    def _publish(self, record: TaskRecord) -> None:
        here = asyncio.get_running_loop()
        for watch in list(self._watches.get(record.id, ())):
            if watch.loop is here:
                watch.see(record)
            else:
                with contextlib.suppress(RuntimeError):  # a loop that is closed
                    watch.loop.call_soon_threadsafe(watch.see, record)

    async def look(self) -> bool:
        """Find out what other processes have done to the tasks that are watched in this loop; False: none is."""
        watched = self._watched_here()
        for record in await self.store.newer({one.id: one.version for one in watched.values()}):
            self._publish(record)
        for record in watched.values():
            if life.expired(record, self.clock()):
                self._publish(life.failed(record, _OVER, self.clock()))
            else:
                await self._judged(record)
        return bool(self._watched_here())  # as of now: some may have come while the store was asked

    def _watched_here(self) -> dict[str, TaskRecord]:
        here = asyncio.get_running_loop()
        return {
            watch.record.id: watch.record
            for watches in list(self._watches.values())
            for watch in list(watches)
            if watch.loop is here
        }

    async def keep_looking(self) -> None:
        """Look every ``look_s`` seconds, for as long as somebody waits for news."""
        try:
            while True:
                if not await self.look():
                    return
                await asyncio.sleep(self._look_s)
        except (
            Exception
        ):  # of a store, which may be the user's: the next who waits makes it be looked at again
            logger.exception("tasks of other processes cannot be looked at")

    # -- the runs of this process

    @property
    def _place(self) -> _Place:
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is None:
            place = self._places[loop] = _Place(self._max_running)
        return place

    @property
    def slots(self) -> asyncio.Semaphore:
        """What a run takes while it works."""
        return self._place.slots

    def enter(self, run: TaskRun, record: TaskRecord) -> None:
        """Begin to tell ``run`` of what happens to its task."""
        self._place.runs[run] = self.watch(record, run.see)

    def leave(self, run: TaskRun, record: TaskRecord) -> None:
        """Forget ``run``, which has ended."""
        place = self._places.get(run.loop)
        watch = None if place is None else place.runs.pop(run, None)
        if watch is not None:
            self.unwatch(watch)

    async def stop(self) -> None:
        """End the tasks that run in this loop: each has failed, because the server was shut down."""
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is not None:
            await place.stop()
            for run, watch in place.runs.items():
                self.unwatch(watch)
                logger.warning("left behind: a task of %s that did not end when cancelled", run.tool.key)
            del self._places[loop]
        await self.store.close()

    # -- requests about tasks

    def answer(self, request: Request, connection: Conversation) -> Coroutine[Any, Any, None]:
        """Answer ``tasks/get``, ``update``, ``cancel``, ``result`` or ``list``.

        :raises taut.errors.MissingRequiredClientCapability: the client did not declare the extension.
        """
        if request.caller.revision in models.MODERN:
            life.check_declared(request.caller.capabilities, request.method)
        handler = {
            "tasks/get": self._get,
            "tasks/update": self._update,
            "tasks/cancel": self._cancel,
            "tasks/result": self._result,
            "tasks/list": self._list,
        }[request.method]
        return handler(request, connection)

    async def _get(self, request: Request, connection: Conversation) -> None:
        record = await self.find(request.params().task_id, _owner(request, connection))
        request.respond(life.detailed_result(record, request.caller.revision))

    async def _update(self, request: Request, connection: Conversation) -> None:
        params = request.params()
        record = await self.find(params.task_id, _owner(request, connection))
        await self.change(record.id, lambda old: life.answered(old, params.input_responses, self.clock()))
        request.respond(models.EmptyResult())

    async def _cancel(self, request: Request, connection: Conversation) -> None:
        record = await self.find(request.params().task_id, _owner(request, connection))
        message = "The task was cancelled by request"
        changed = await self.change(record.id, lambda old: life.cancelled(old, message, self.clock()))
        if request.caller.revision in models.MODERN:
            request.respond(models.EmptyResult())
            return
        old, new = changed or (record, record)
        if new is old:
            raise InvalidParams(f"Cannot cancel the task: it is {old.status} already")
        shown = life.legacy_task(new)
        request.respond(models.LegacyCancelTaskResult(**_members(shown)))

    async def _list(self, request: Request, connection: Conversation) -> None:
        owner = _owner(request, connection)
        if not owner:
            raise InvalidRequest(
                "tasks/list needs a session or an authenticated client: whose tasks are meant?"
            )
        now = self.clock()
        owned = [one for one in await self.store.owned(owner) if not life.expired(one, now)]
        cursor = request.params().cursor
        page, following = paginate(
            owned, None if cursor is UNSET else cursor, PAGE_SIZE, kind="task", key=lambda one: one.id
        )
        shown = [life.legacy_task(await self._judged(one)) for one in page]
        request.respond(models.LegacyListTasksResult(tasks=shown, next_cursor=following or UNSET))

    async def listen(
        self, server: Server, request: Request, connection: Conversation, task_ids: Sequence[str]
    ) -> None:
        """``subscriptions/listen`` with ``taskIds``: those that can be reached are honoured, and shown at once."""
        life.check_declared(request.caller.capabilities, "taskIds")
        owner = _owner(request, connection)
        maximum = connection.limits.max_subscriptions
        records = []
        for task_id in list(dict.fromkeys(task_ids))[: maximum + 1]:
            # One that is unknown, or not theirs, is not honoured, as the answer shows.
            with contextlib.suppress(InvalidParams):
                records.append(await self.find(task_id, owner))
        meta = server.subscriptions.listen(connection, request, [one.id for one in records])

        def tell(record: TaskRecord) -> None:
            request.notify("notifications/tasks", life.status_params(record, request.caller.revision, meta))
            connection.flush_soon()

        watches = [self.watch(one, tell) for one in records if not one.ended]

        def end() -> None:
            for watch in watches:
                self.unwatch(watch)

        request.when_ended(end)
        for record in records:
            tell(record)

    async def _result(self, request: Request, connection: Conversation) -> None:
        record = await self.find(request.params().task_id, _owner(request, connection))
        await answer_at_end(self, record, request, connection)


class _Watch:
    """Somebody who waits for news of a task."""

    __slots__ = ("_callback", "loop", "record")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, record: TaskRecord, callback: Callable[[TaskRecord], None]
    ) -> None:
        self.loop = loop
        #: The last state that was seen.
        self.record = record
        self._callback = callback

    def see(self, record: TaskRecord) -> None:
        if record.version > self.record.version:
            self.record = record
            self._callback(record)


class _Place:
    """What goes on in one event loop."""

    def __init__(self, max_running: int) -> None:
        self.runs: dict[TaskRun, _Watch] = {}
        self.slots = asyncio.Semaphore(max_running)
        self._looking: asyncio.Task[None] | None = None

    def look(self, tasks: Tasks) -> None:
        """Look at the store from time to time, for as long as somebody waits for news."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(tasks.keep_looking())

    async def stop(self) -> None:
        """Cancel what goes on, and wait for it, but not for long."""
        if self._looking is not None:
            self._looking.cancel()
        runs = list(self.runs)
        for run in runs:
            run.stop("the server was shut down")
        if runs:
            await asyncio.wait([asyncio.ensure_future(run.wait_ended()) for run in runs], timeout=STOP_S)


def _owner(request: Request, connection: Conversation) -> str:
    """Return whom a task of this request belongs to; empty: nobody that could be told from others."""
    if request.principal:
        return f"principal:{request.principal}"
    if request.caller.revision in models.MODERN or not connection.session:
        return ""
    # Hashed, so that who can read the store cannot take over the session.
    return f"session:{hashlib.sha256(connection.session.encode()).hexdigest()}"


def _asks_for_task(request: Request) -> bool:
    """Whether a client of 2025-11-25 wants the call to be a task."""
    if request.caller.revision != models.LATEST_LEGACY or not request.envelope.extra_params:
        return False
    return request.params().task is not UNSET


def _members(model: Any) -> dict[str, Any]:
    return {name: getattr(model, name) for name in model.__struct_fields__}
