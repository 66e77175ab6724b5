"""pydantic-ai."""

import asyncio

from _measure import Instant, arguments, measure
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import UsageLimits


async def main() -> None:
    runs, steps, command = arguments()
    instant = Instant(steps)

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if instant.step():
            return ModelResponse(parts=[ToolCallPart("add", {"a": 1, "b": 2})])
        return ModelResponse(parts=[TextPart("done")])

    toolset = MCPToolset(StdioTransport(command[0], command[1:]))
    agent = Agent(FunctionModel(answer), toolsets=[toolset])
    async with agent:
        client = toolset.client

        async def call(number: int) -> str:
            return (await client.call_tool_mcp("add", {"a": number, "b": 7})).content[0].text

        async def run() -> str:
            return (await agent.run("Add.", usage_limits=UsageLimits(request_limit=None))).output

        await measure(instant, runs, call, run)


asyncio.run(main())
