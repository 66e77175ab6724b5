"""When a kept result may not be used: another page, and a change while it was under way."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import Scripted

from faults.loops import Run
from taut import Client, models
from taut.errors import RemoteProtocolError

KEEP = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "private"}


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}}


class TestPages:
    def test_an_empty_cursor_is_a_cursor(self, run: Run) -> None:
        def on_message(server: Scripted, message: dict[str, Any]) -> None:
            cursor = message["params"].get("cursor")
            page = {None: {"tools": [tool("a")], "nextCursor": ""}, "": {"tools": [tool("b")]}}[cursor]
            server.say({"id": message["id"], "result": {**KEEP, **page}})

        async def main() -> None:
            server = Scripted(on_message)
            async with Client(server) as client:
                for _ in range(2):
                    assert [one.name for one in await client.list_tools()] == ["a", "b"]
            assert len(server.heard) == 2

        run(main())


class TestChangesUnderWay:
    def test_a_result_that_was_overtaken_by_a_change_is_not_kept(self, run: Run) -> None:
        reads: list[int] = []

        def on_message(server: Scripted, message: dict[str, Any]) -> None:
            reads.append(1)
            contents = [{"uri": "mem://x", "text": str(len(reads))}]
            result = {"id": message["id"], "result": {**KEEP, "contents": contents}}
            changed = {"method": "notifications/resources/updated", "params": {"uri": "mem://x"}}
            if len(reads) == 1:
                server.say(result, changed)
            else:
                server.say(result)

        async def main() -> None:
            async with Client(Scripted(on_message)) as client:
                texts = [(await client.read_resource("mem://x")).contents[0].text for _ in range(3)]
                assert texts == ["1", "2", "2"]

        run(main())

    def test_nor_a_list(self, run: Run) -> None:
        def on_message(server: Scripted, message: dict[str, Any]) -> None:
            name = str(len(server.heard))
            result = {"id": message["id"], "result": {**KEEP, "tools": [tool(name)]}}
            changed = {"method": "notifications/tools/list_changed"}
            server.say(*([result, changed] if name == "1" else [result]))

        async def main() -> None:
            async with Client(Scripted(on_message)) as client:
                assert [(await client.list_tools())[0].name for _ in range(3)] == ["1", "2", "2"]

        run(main())


def test_a_task_that_was_not_agreed_on_is_no_result(run: Run) -> None:
    task = {
        "resultType": "task",
        "taskId": "1",
        "status": "working",
        "createdAt": "2026-01-01T00:00:00Z",
        "lastUpdatedAt": "2026-01-01T00:00:00Z",
        "ttlMs": None,
    }

    def server() -> Scripted:
        return Scripted(lambda server, message: server.say({"id": message["id"], "result": task}))

    async def main() -> None:
        async with Client(server()) as client:
            with pytest.raises(RemoteProtocolError, match="got a task"):
                await client.call_tool("x")
        given = models.ClientCapabilities(extensions={"io.modelcontextprotocol/tasks": {}})
        async with Client(server(), capabilities=given) as client:
            asked = await client.request("tools/call", models.CallToolParams("x"))
            assert isinstance(asked, models.CreateTaskResult)

    run(main())
