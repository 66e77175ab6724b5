"""fastmcp as a client (both eras)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import _scenario as scenario
import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from mcp import MCPError
from mcp.client.subscriptions import listen


class Adapter:
    def __init__(self) -> None:
        self.client: Client[Any]
        self.changed = asyncio.Event()
        self.progress: list[list[float | None]] = []
        self.logged: list[Any] = []

    @property
    def revision(self) -> str:
        return self.client.session.protocol_version

    @property
    def session(self) -> str | None:
        transport = self.client.transport
        return transport.get_session_id() if isinstance(transport, StreamableHttpTransport) else None

    async def on_message(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append([progress, total])

    async def on_log(self, message: Any) -> None:
        self.logged.append(message.data)

    async def on_elicit(self, message: str, response_type: type[Any], params: Any, context: Any) -> Any:
        (field,) = params.requested_schema["properties"]
        return response_type(**{field: scenario.ANSWER["answer"]})

    async def on_sample(self, messages: Any, params: Any, context: Any) -> str:
        return scenario.SAMPLED

    async def tools(self) -> list[str]:
        return sorted(tool.name for tool in await self.client.list_tools())

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.client.call_tool_mcp(name, arguments, progress_handler=self.on_progress)
        return {"text": result.content[0].text, "is_error": result.is_error}

    async def call_with_timeout(self, name: str, arguments: dict[str, Any], seconds: float) -> str:
        try:
            result = await self.client.call_tool_mcp(name, arguments, timeout=seconds)
        except MCPError:
            return "timed out"
        return result.content[0].text

    async def resources(self) -> list[str]:
        return [str(item.uri) for item in await self.client.list_resources()]

    async def templates(self) -> list[str]:
        return [item.uri_template for item in await self.client.list_resource_templates()]

    async def read(self, uri: str) -> str:
        return (await self.client.read_resource(uri))[0].text

    async def prompts(self) -> list[str]:
        return [item.name for item in await self.client.list_prompts()]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return (await self.client.get_prompt(name, arguments)).messages[0].content.text

    async def set_level(self, level: str) -> None:
        if self.revision < "2026":
            await self.client.set_logging_level(level)

    async def hear_of_tools(self, action: Callable[[], Awaitable[Any]]) -> None:
        if self.revision < "2026":
            await action()
            await self.changed.wait()
            return
        async with listen(self.client.session, tools_list_changed=True) as changes:
            await action()
            async for _ in changes:
                return


async def main() -> None:
    mode, target = scenario.arguments()
    adapter = Adapter()
    async with Client(
        StreamableHttpTransport(target)
        if isinstance(target, str)
        else StdioTransport(command=target[0], args=target[1:], keep_alive=False),
        mode=mode,
        log_handler=adapter.on_log,
        message_handler=adapter.on_message,
        elicitation_handler=adapter.on_elicit,
        sampling_handler=adapter.on_sample,
        roots=[scenario.ROOT],
    ) as adapter.client:
        await scenario.run(adapter)


if __name__ == "__main__":
    asyncio.run(main())
