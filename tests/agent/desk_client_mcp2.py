"""The official Python SDK 2.x as a client of the desk: ``desk_client_mcp2.py MODE COMMAND...``; prints what it saw."""

import asyncio
import json
import sys
from typing import Any

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters


async def main() -> None:
    mode, *command = sys.argv[1:]
    asked: list[str] = []
    progress: list[str] = []

    async def on_elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        if "Eve" in params.message:
            return types.ElicitResult(action="decline")
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"approve": True})

    async def on_progress(number: float, total: float | None, message: str | None) -> None:
        progress.append(str(message))

    server = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(server, mode=mode, elicitation_callback=on_elicit) as client:

        async def call(name: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
            return await client.call_tool(name, arguments or {}, **options)

        def text(result: Any) -> dict[str, Any]:
            return {"text": result.content[0].text, "is_error": bool(result.is_error)}

        seen: dict[str, Any] = {"revision": client.protocol_version}
        seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        seen["weather"] = (await call("weather", {"task": "Oslo"})).structured_content
        seen["paid"] = text(await call("clerk", {"task": "Ada; Bob"}, progress_callback=on_progress))
        seen["asked"] = asked
        seen["done"] = (await call("done")).structured_content["result"]
        seen["declined"] = text(await call("clerk", {"task": "Eve"}))

        try:
            await call("thinker", {"task": "milk"}, read_timeout_seconds=0.5)
        except (MCPError, TimeoutError):
            seen["cancelled"] = text(await call("wait", {"text": "cancelled milk"}))["text"]

        run_id = (await call("run_start", {"agent": "thinker", "task": "tea"})).structured_content["run_id"]
        await call("open_gate")
        seen["run"] = (await call("run_status", {"run_id": run_id, "wait_s": 20})).structured_content
        contents = (await client.read_resource(f"run://{run_id}")).contents
        seen["resource"] = json.loads(contents[0].text)
        seen["unknown"] = text(await call("run_status", {"run_id": "x"}))
        # What comes after its result, as this SDK delivers it.
        for _ in range(50):
            if "clerk: completed" in progress:
                break
            await asyncio.sleep(0.01)
        seen["progress"] = progress
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
