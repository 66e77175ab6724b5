"""Tasks over HTTP: requests that share nothing but the id of a task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faults.loops import Run
from taut import Context, Server, Tasks, models
from transport.asgi import HEADERS, App, Exchange, body_of, call, post, scope_of
from transport.legacy import LegacyClient

CAPABLE = {
    "io.modelcontextprotocol/clientCapabilities": {
        "elicitation": {},
        "extensions": {models.TASKS_EXTENSION: {}},
    }
}
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def app() -> App:
    server = Server("s")

    @server.tool(task="optional")
    async def asks(ctx: Context) -> str:
        answer = await ctx.elicit("Who?", NAME, key="who")
        return f"Hello, {answer.content['name']}!"

    @server.tool(task="optional")
    async def forever() -> None:
        await asyncio.Event().wait()

    return server.asgi()


async def begin(asgi: App, tool: str) -> str:
    answer = await call(asgi, tool, **CAPABLE).json()
    assert answer["result"]["resultType"] == "task"
    task_id: str = answer["result"]["taskId"]
    return task_id


async def ask(asgi: App, method: str, task_id: str, **members: Any) -> Any:
    return await post(asgi, method, {"taskId": task_id, **members}, **CAPABLE).json()


async def until(asgi: App, task_id: str, status: str) -> Any:
    for _ in range(1_000):
        result = (await ask(asgi, "tasks/get", task_id))["result"]
        if result["status"] == status:
            return result
    raise AssertionError(result)


def test_a_task_goes_on_after_its_exchange(run: Run) -> None:
    async def main() -> None:
        asgi = app()
        task_id = await begin(asgi, "asks")
        asking = await until(asgi, task_id, "input_required")
        assert asking["inputRequests"]["who"]["method"] == "elicitation/create"
        answer = {"who": {"action": "accept", "content": {"name": "Ada"}}}
        updated = await ask(asgi, "tasks/update", task_id, inputResponses=answer)
        assert set(updated["result"]) == {"resultType", "_meta"}
        done = await until(asgi, task_id, "completed")
        assert done["result"]["content"][0]["text"] == "Hello, Ada!"

    run(main())


def test_a_stream_shows_its_states_until_the_client_leaves(run: Run) -> None:
    async def main() -> None:
        asgi = app()
        task_id = await begin(asgi, "forever")
        wanted = {"notifications": {"taskIds": [task_id]}}
        stream = post(asgi, "subscriptions/listen", wanted, id=7, **CAPABLE)
        acknowledged, first = await stream.events(2)
        assert acknowledged["params"]["notifications"] == {"taskIds": [task_id]}
        assert first["method"] == "notifications/tasks"
        assert first["params"]["status"] == "working"
        await ask(asgi, "tasks/cancel", task_id)
        (second,) = await stream.events(1)
        assert second["params"]["status"] == "cancelled"
        assert second["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7
        stream.disconnect()
        await stream.task

    run(main())


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_the_header_names_the_task(run: Run, method: str) -> None:
    async def send(asgi: App, name: str | None, params: dict[str, Any]) -> tuple[int, Any]:
        headers = {**HEADERS, "mcp-method": method} | ({} if name is None else {"mcp-name": name})
        exchange = Exchange(asgi, scope_of(headers), [body_of(method, params, **CAPABLE)])
        answer = await exchange.json()
        return exchange.status, answer["error"]["code"] if "error" in answer else None

    async def main() -> None:
        asgi = app()
        task_id = await begin(asgi, "forever")
        params = {"taskId": task_id, "inputResponses": {}}
        assert await send(asgi, task_id, params) == (200, None)
        assert await send(asgi, None, params) == (400, -32020)
        assert await send(asgi, "another", params) == (400, -32020)
        assert await send(asgi, "x", {"taskId": 5}) == (400, -32602)
        assert await send(asgi, "x", {"taskId": "x", "inputResponses": {}}) == (400, -32602)

    run(main())


def test_a_client_that_did_not_declare_it_is_told_what_is_missing(run: Run) -> None:
    async def main() -> None:
        asgi = app()
        task_id = await begin(asgi, "forever")
        exchange = post(asgi, "tasks/get", {"taskId": task_id})
        error = (await exchange.json())["error"]
        assert (exchange.status, error["code"]) == (400, -32021)
        needed = {"requiredCapabilities": {"extensions": {models.TASKS_EXTENSION: {}}}}
        assert error["data"] == needed

    run(main())


@pytest.mark.parametrize("sessions", [True, False])
def test_a_session_hears_of_its_tasks(run: Run, sessions: bool) -> None:
    server = Server("s")

    async def main() -> None:
        let_go, ended = asyncio.Event(), asyncio.Event()

        @server.tool(task="optional")
        async def work(ctx: Context) -> None:
            await let_go.wait()
            await ctx.elicitation_complete("x")
            ended.set()

        client = LegacyClient(server.asgi(sessions=sessions))
        await client.open()
        params: dict[str, Any] = {"name": "work", "arguments": {}, "task": {}}
        answer = await client.post("tools/call", params, mcp_protocol_version=client.revision).json()
        task_id = answer["result"]["task"]["taskId"]
        let_go.set()
        await ended.wait()
        if sessions:
            listener = client.get()
            complete, status = await listener.events(2)
            assert complete["method"] == "notifications/elicitation/complete"
            assert status["method"] == "notifications/tasks/status"
            assert (status["params"]["taskId"], status["params"]["status"]) == (task_id, "completed")
            listener.disconnect()
            await listener.task

    run(main())


def test_the_store_does_not_know_the_id_of_a_session(run: Run) -> None:
    tasks = Tasks()
    server = Server("s", tasks=tasks)

    @server.tool(task="optional")
    async def work() -> None:
        """Do nothing."""

    async def main() -> None:
        client = LegacyClient(server.asgi())
        await client.open()
        params: dict[str, Any] = {"name": "work", "arguments": {}, "task": {}}
        answer = await client.post("tools/call", params).json()
        record = await tasks.store.get(answer["result"]["task"]["taskId"])
        assert record is not None
        assert record.owner.startswith("session:")
        assert client.session is not None
        assert client.session not in record.owner
        (listed,) = (await client.post("tasks/list").json())["result"]["tasks"]
        assert listed["taskId"] == record.id

    run(main())
