"""What tests of tasks share: a server, a client of each era that follows them by hand, and a clock."""

from __future__ import annotations

import asyncio
from typing import Any

from taut import Client, Server, Tasks, models

EXTENSION = models.ClientCapabilities(extensions={models.TASKS_EXTENSION: {}})
#: A task that takes so many looks to change has not changed.
LOOKS = 2_000
#: A form that asks for a name.
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def begin(client: Client, tool: str, arguments: dict[str, Any] | None = None, **members: Any) -> Any:
    """Call a tool that becomes a task; returns the task."""
    given = models.UNSET if arguments is None else arguments
    if client.agreement.modern:
        result = await client.request("tools/call", models.CallToolParams(name=tool, arguments=given))
        assert isinstance(result, models.CreateTaskResult), result
        return result
    params = models.CallToolParams(name=tool, arguments=given, task=models.TaskMetadata(**members))
    result = await client.request("tools/call", params)
    assert isinstance(result, models.LegacyCreateTaskResult), result
    return result.task


async def look(client: Client, task_id: str) -> Any:
    """Return the task as it is."""
    return await client.request("tasks/get", models.GetTaskParams(task_id=task_id))


async def until(client: Client, task_id: str, *statuses: str) -> Any:
    """Look until the task has one of these statuses; by default, until it has ended."""
    wanted = statuses or ("completed", "failed", "cancelled")
    for _ in range(LOOKS):
        task = await look(client, task_id)
        if task.status in wanted:
            return task
    raise AssertionError(f"Expected {wanted}, got {task}")


async def cancel(client: Client, task_id: str) -> Any:
    """Cancel the task."""
    return await client.request("tasks/cancel", models.CancelTaskParams(task_id=task_id))


async def update(client: Client, task_id: str, **responses: Any) -> Any:
    """Answer questions of the task."""
    params = models.UpdateTaskParams(task_id=task_id, input_responses=responses)
    return await client.request("tasks/update", params)


def accept(**content: Any) -> dict[str, Any]:
    """Return a user's consent to a form."""
    return {"action": "accept", "content": content}


def client_of(app: Server, **options: Any) -> Client:
    return Client(app, **{"mode": "2026-07-28", "capabilities": EXTENSION} | options)


def with_forms(app: Server) -> Client:
    """A client that may be asked, but answers by hand."""

    def never(params: Any) -> Any:
        raise AssertionError("a task does not ask directly")

    return client_of(app, elicitation=never)


class Bench:
    """A server with one task tool that ends when it is told to."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.tasks = Tasks(clock=self.clock, **options)
        self.app = Server("s", tasks=self.tasks)
        self.let_go = asyncio.Event()
        self.stopped: list[str] = []
        self.ended = asyncio.Event()

        @self.app.tool(task="optional")
        async def work(text: str = "done") -> str:
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.stopped.append(text)
                self.ended.set()
                raise
            return text
