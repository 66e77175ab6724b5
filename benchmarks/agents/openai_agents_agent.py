"""openai-agents."""

import asyncio

from _measure import Instant, arguments, measure
from agents.mcp import MCPServerStdio
from agents.models.interface import Model
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from agents import Agent, ModelResponse, Runner, Usage, set_tracing_disabled

set_tracing_disabled(True)


class InstantModel(Model):
    def __init__(self, instant: Instant) -> None:
        self.instant = instant

    async def get_response(self, *args: object, **options: object) -> ModelResponse:
        if self.instant.step():
            output = ResponseFunctionToolCall(
                call_id=f"call_{self.instant.done}",
                name="add",
                arguments='{"a":1,"b":2}',
                type="function_call",
            )
        else:
            text = ResponseOutputText(annotations=[], text="done", type="output_text")
            output = ResponseOutputMessage(
                id="m", content=[text], role="assistant", status="completed", type="message"
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args: object, **options: object) -> object:
        raise NotImplementedError


async def main() -> None:
    runs, steps, command = arguments()
    instant = Instant(steps)
    parameters = {"command": command[0], "args": command[1:]}
    async with MCPServerStdio(parameters, cache_tools_list=True) as server:
        agent = Agent("bench", model=InstantModel(instant), mcp_servers=[server])

        async def call(number: int) -> str:
            return (await server.session.call_tool("add", {"a": number, "b": 7})).content[0].text

        async def run() -> str:
            return str((await Runner.run(agent, "Add.", max_turns=10 * steps)).final_output)

        await measure(instant, runs, call, run)


asyncio.run(main())
