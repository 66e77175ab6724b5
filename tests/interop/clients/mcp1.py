"""The official Python SDK 1.x as a client (legacy era)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import _scenario as scenario
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl


class Adapter:
    def __init__(self) -> None:
        self.client: ClientSession
        self.revision = ""
        self.session_id: Callable[[], str | None] = lambda: None
        self.changed = asyncio.Event()
        self.progress: list[list[float | None]] = []
        self.logged: list[Any] = []

    @property
    def session(self) -> str | None:
        return self.session_id()

    async def on_message(self, message: Any) -> None:
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ToolListChangedNotification
        ):
            self.changed.set()

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append([progress, total])

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logged.append(params.data)

    async def on_elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        (field,) = params.requestedSchema["properties"]
        return types.ElicitResult(action="accept", content={field: scenario.ANSWER["answer"]})

    async def on_sample(
        self, context: Any, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text=scenario.SAMPLED)
        return types.CreateMessageResult(role="assistant", model="none", content=content)

    async def on_roots(self, context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=AnyUrl(scenario.ROOT))])

    async def tools(self) -> list[str]:
        page = await self.client.list_tools()
        names = [tool.name for tool in page.tools]
        while page.nextCursor is not None:
            page = await self.client.list_tools(params=types.PaginatedRequestParams(cursor=page.nextCursor))
            names += [tool.name for tool in page.tools]
        return sorted(names)

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.client.call_tool(name, arguments, progress_callback=self.on_progress)
        return {"text": result.content[0].text, "is_error": result.isError}

    async def call_with_timeout(self, name: str, arguments: dict[str, Any], seconds: float) -> str:
        try:
            result = await self.client.call_tool(name, arguments, timedelta(seconds=seconds))
        except McpError:
            return "timed out"
        return result.content[0].text

    async def resources(self) -> list[str]:
        return [str(item.uri) for item in (await self.client.list_resources()).resources]

    async def templates(self) -> list[str]:
        return [item.uriTemplate for item in (await self.client.list_resource_templates()).resourceTemplates]

    async def read(self, uri: str) -> str:
        return (await self.client.read_resource(AnyUrl(uri))).contents[0].text

    async def prompts(self) -> list[str]:
        return [item.name for item in (await self.client.list_prompts()).prompts]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return (await self.client.get_prompt(name, arguments)).messages[0].content.text

    async def set_level(self, level: str) -> None:
        await self.client.set_logging_level(level)

    async def hear_of_tools(self, action: Callable[[], Awaitable[Any]]) -> None:
        await action()
        await self.changed.wait()

    @asynccontextmanager
    async def streams(self, target: str | list[str]) -> AsyncIterator[tuple[Any, Any]]:
        if isinstance(target, str):
            async with streamable_http_client(target) as (reader, writer, self.session_id):
                yield reader, writer
        else:
            async with stdio_client(StdioServerParameters(command=target[0], args=target[1:])) as streams:
                yield streams


async def main() -> None:
    _, target = scenario.arguments()
    adapter = Adapter()
    async with (
        adapter.streams(target) as (reader, writer),
        ClientSession(
            reader,
            writer,
            logging_callback=adapter.on_log,
            message_handler=adapter.on_message,
            elicitation_callback=adapter.on_elicit,
            sampling_callback=adapter.on_sample,
            list_roots_callback=adapter.on_roots,
        ) as adapter.client,
    ):
        adapter.revision = str((await adapter.client.initialize()).protocolVersion)
        await scenario.run(adapter)


if __name__ == "__main__":
    asyncio.run(main())
