"""taut as a client (all revisions)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import _scenario as scenario

from taut import Client, models
from taut.errors import RequestTimeout


class Adapter:
    def __init__(self) -> None:
        self.client: Client
        self.progress: list[list[float | None]] = []
        self.logged: list[Any] = []

    @property
    def revision(self) -> str:
        return self.client.revision

    @property
    def session(self) -> str | None:
        return self.client.session_id

    def on_progress(self, params: models.ProgressParams) -> None:
        self.progress.append([params.progress, params.total])

    def on_log(self, params: models.LoggingMessageParams) -> None:
        self.logged.append(params.data)

    def on_elicit(self, params: models.ElicitParams) -> models.ElicitResult:
        (field,) = params.requested_schema["properties"]
        return models.ElicitResult(action="accept", content={field: scenario.ANSWER["answer"]})

    def on_sample(self, params: models.CreateMessageParams) -> models.CreateMessageResult:
        content = models.TextContent(scenario.SAMPLED)
        return models.CreateMessageResult(role="assistant", model="none", content=content)

    async def tools(self) -> list[str]:
        return sorted(tool.name for tool in await self.client.list_tools())

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.client.call_tool(name, arguments, on_progress=self.on_progress)
        return {"text": result.content[0].text, "is_error": bool(result.is_error)}

    async def call_with_timeout(self, name: str, arguments: dict[str, Any], seconds: float) -> str:
        try:
            result = await self.client.call_tool(name, arguments, timeout_s=seconds)
        except RequestTimeout:
            return "timed out"
        return result.content[0].text

    async def resources(self) -> list[str]:
        return [item.uri for item in await self.client.list_resources()]

    async def templates(self) -> list[str]:
        return [item.uri_template for item in await self.client.list_resource_templates()]

    async def read(self, uri: str) -> str:
        return (await self.client.read_resource(uri)).contents[0].text

    async def prompts(self) -> list[str]:
        return [item.name for item in await self.client.list_prompts()]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return (await self.client.get_prompt(name, arguments)).messages[0].content.text

    async def set_level(self, level: str) -> None:
        await self.client.set_log_level(level)

    async def hear_of_tools(self, action: Callable[[], Awaitable[Any]]) -> None:
        async with await self.client.subscribe(tools=True) as changes:
            await action()
            async for _ in changes:
                return


async def main() -> None:
    mode, target = scenario.arguments()
    adapter = Adapter()
    async with Client(
        target,
        mode=mode,
        logging=adapter.on_log,
        elicitation=adapter.on_elicit,
        sampling=adapter.on_sample,
        roots=[scenario.ROOT],
    ) as adapter.client:
        await scenario.run(adapter)


if __name__ == "__main__":
    asyncio.run(main())
