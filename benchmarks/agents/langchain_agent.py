"""langchain, with its agent on langgraph."""

import asyncio
from typing import Any

from _measure import Instant, arguments, measure
from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


class InstantModel(BaseChatModel):
    instant: Any

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, tools: Any, **options: Any) -> "InstantModel":
        return self

    def _generate(self, *args: Any, **options: Any) -> ChatResult:
        if self.instant.step():
            call = {"name": "add", "args": {"a": 1, "b": 2}, "id": f"call_{self.instant.done}"}
            message = AIMessage(content="", tool_calls=[call])
        else:
            message = AIMessage(content="done")
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, *args: Any, **options: Any) -> ChatResult:
        return self._generate()


async def main() -> None:
    runs, steps, command = arguments()
    instant = Instant(steps)
    parameters = StdioServerParameters(command=command[0], args=command[1:])
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        agent = create_agent(InstantModel(instant=instant), await load_mcp_tools(session))
        task = {"messages": [{"role": "user", "content": "Add."}]}

        async def call(number: int) -> str:
            return (await session.call_tool("add", {"a": number, "b": 7})).content[0].text

        async def run() -> str:
            state = await agent.ainvoke(task, {"recursion_limit": 10 * steps})
            return str(state["messages"][-1].content)

        await measure(instant, runs, call, run)


asyncio.run(main())
