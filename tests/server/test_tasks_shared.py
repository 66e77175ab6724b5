"""Tasks that several processes know of: one works on a task, another is asked about it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from faults.loops import Run
from server.tasks import EXTENSION, accept, begin, cancel, look, until, update
from taut import Client, Context, Server, Tasks, models
from taut.errors import InvalidParams
from taut.server import SQLiteTaskStore

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Worker:
    """One of the processes that share a file."""

    def __init__(self, path: Path) -> None:
        self.store = SQLiteTaskStore(path)
        self.app = Server("s", tasks=Tasks(self.store, look_s=0.005))
        self.let_go = asyncio.Event()
        self.stopped = asyncio.Event()

        @self.app.tool(task="optional")
        async def work() -> str:
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.stopped.set()
                raise
            return "done"

        @self.app.tool(task="optional")
        async def asks(ctx: Context) -> str:
            return str((await ctx.elicit("Who?", NAME, key="who")).content)

    @contextlib.asynccontextmanager
    async def client(self, mode: str = "2026-07-28", **options: Any) -> AsyncIterator[Client]:
        def never(params: Any) -> Any:
            raise AssertionError("not asked directly")

        given = {"elicitation": never} | options
        async with Client(self.app, mode=mode, capabilities=EXTENSION, **given) as client:
            yield client


def test_another_process_shows_feeds_and_cancels(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "tasks.db"
        one, two = Worker(path), Worker(path)
        async with one.client() as here, two.client() as there:
            task = await begin(here, "asks")
            await until(there, task.task_id, "input_required")
            await update(there, task.task_id, who=accept(name="x"))
            done = await until(there, task.task_id)
            assert done.result["content"][0]["text"] == "{'name': 'x'}"
            task = await begin(here, "work")
            await look(here, task.task_id)
            await cancel(there, task.task_id)
            await one.stopped.wait()
            assert (await look(here, task.task_id)).status == "cancelled"

    run(main())


def test_who_listens_at_another_process_hears_of_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "tasks.db"
        one, two = Worker(path), Worker(path)
        ended = asyncio.Event()

        def hear(notification: Any) -> None:
            if notification.method == "notifications/tasks" and notification.params().status == "completed":
                ended.set()

        async with one.client() as here, two.client(on_notification=hear) as there:
            task = await begin(here, "work")
            wanted = models.SubscriptionFilter(task_ids=[task.task_id])
            there.connection.open_stream(models.SubscriptionsListenParams(notifications=wanted))
            await look(there, task.task_id)
            one.let_go.set()
            await ended.wait()

    run(main())


def test_a_task_whose_process_is_gone_has_failed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        path = tmp_path / "tasks.db"
        one, two = Worker(path), Worker(path)
        ended = asyncio.Event()

        def hear(notification: Any) -> None:
            if notification.method == "notifications/tasks" and notification.params().status == "failed":
                ended.set()

        async with one.client() as here, two.client(on_notification=hear) as there:
            task = await begin(here, "work")
            wanted = models.SubscriptionFilter(task_ids=[task.task_id])
            there.connection.open_stream(models.SubscriptionsListenParams(notifications=wanted))
            assert (await look(there, task.task_id)).status == "working"
            monkeypatch.setattr(two.store, "is_alive", lambda worker: False)
            await ended.wait()
            failed = await look(there, task.task_id)
            assert "ended before the task did" in failed.error.message

    run(main())


def test_what_has_ended_is_found_after_a_restart(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    names: list[str] = []

    async def first() -> None:
        worker = Worker(path)
        async with worker.client() as client:
            worker.let_go.set()
            names.append((await begin(client, "work")).task_id)
            await until(client, names[0])
            names.append((await begin(client, "asks")).task_id)
            await until(client, names[1], "input_required")

    async def second() -> None:
        async with Worker(path).client() as client:
            assert (await look(client, names[0])).result["content"][0]["text"] == "done"
            stopped = await look(client, names[1])
            assert (stopped.status, stopped.error.code) == ("failed", -32603)
            assert "shut down" in stopped.error.message
            with pytest.raises(InvalidParams):
                await look(client, "unknown")

    run(first())
    run(second())


def test_a_result_is_shown_at_the_revision_that_asks(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        worker = Worker(tmp_path / "tasks.db")
        worker.let_go.set()
        async with worker.client() as modern, worker.client(mode="2025-11-25") as legacy:
            task = await begin(modern, "work")
            await until(modern, task.task_id)
            result = await legacy.request("tasks/result", models.GetTaskParams(task_id=task.task_id))
            assert result.extra == {"content": [{"type": "text", "text": "done"}]}
            assert result.result_type is models.UNSET

    run(main())
