"""The official Python SDK 2.x as a client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import _scenario as scenario
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters


class Adapter:
    def __init__(self) -> None:
        self.client: Client
        self.progress: list[list[float | None]] = []
        self.logged: list[Any] = []
        self.changed = asyncio.Event()

    @property
    def revision(self) -> str:
        return self.client.protocol_version

    session = None  # This SDK keeps the id to itself.

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append([progress, total])

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logged.append(params.data)

    async def on_message(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()

    async def on_elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        (field,) = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content={field: scenario.ANSWER["answer"]})

    async def on_sample(
        self, context: Any, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text=scenario.SAMPLED)
        return types.CreateMessageResult(role="assistant", model="none", content=content)

    async def on_roots(self, context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=scenario.ROOT)])

    async def tools(self) -> list[str]:
        page = await self.client.list_tools()
        names = [tool.name for tool in page.tools]
        while page.next_cursor is not None:
            page = await self.client.list_tools(cursor=page.next_cursor)
            names += [tool.name for tool in page.tools]
        return sorted(names)

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.client.call_tool(name, arguments, progress_callback=self.on_progress)
        return {"text": result.content[0].text, "is_error": result.is_error}

    async def call_with_timeout(self, name: str, arguments: dict[str, Any], seconds: float) -> str:
        try:
            result = await self.client.call_tool(name, arguments, read_timeout_seconds=seconds)
        except (MCPError, TimeoutError):
            return "timed out"
        return result.content[0].text

    async def resources(self) -> list[str]:
        return [str(item.uri) for item in (await self.client.list_resources()).resources]

    async def templates(self) -> list[str]:
        found = await self.client.list_resource_templates()
        return [item.uri_template for item in found.resource_templates]

    async def read(self, uri: str) -> str:
        return (await self.client.read_resource(uri)).contents[0].text

    async def prompts(self) -> list[str]:
        return [item.name for item in (await self.client.list_prompts()).prompts]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return (await self.client.get_prompt(name, arguments)).messages[0].content.text

    async def set_level(self, level: str) -> None:
        # The modern era asks in every request: see log_level below.
        if self.revision < "2026":
            await self.client.set_logging_level(level)

    async def hear_of_tools(self, action: Callable[[], Awaitable[Any]]) -> None:
        if self.revision < "2026":
            await action()
            await self.changed.wait()
            return
        async with self.client.listen(tools_list_changed=True) as changes:
            await action()
            async for _ in changes:
                return


async def main() -> None:
    mode, target = scenario.arguments()
    adapter = Adapter()
    async with Client(
        target if isinstance(target, str) else StdioServerParameters(command=target[0], args=target[1:]),
        mode=mode,
        log_level="debug",
        logging_callback=adapter.on_log,
        message_handler=adapter.on_message,
        elicitation_callback=adapter.on_elicit,
        sampling_callback=adapter.on_sample,
        list_roots_callback=adapter.on_roots,
    ) as adapter.client:
        await scenario.run(adapter)


if __name__ == "__main__":
    asyncio.run(main())
