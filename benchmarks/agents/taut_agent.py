"""taut's agent."""

import uvloop
from _measure import Instant, arguments, measure

from taut.agent import Agent, Budget
from taut.client.pool import ServerPool
from taut.llm.messages import ToolCall, Usage, assistant
from taut.llm.model import ModelRequest, ModelResponse, OnEvent, ignore

CALL = ModelResponse(
    message=assistant(ToolCall("call_1", "m__add", {"a": 1, "b": 2})),
    usage=Usage(10, 5, requests=1),
    stop_reason="tool_calls",
)
END = ModelResponse(message=assistant("done"), usage=Usage(10, 5, requests=1))


class InstantModel:
    name = "instant"

    def __init__(self, instant: Instant) -> None:
        self.instant = instant

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        return CALL if self.instant.step() else END

    async def close(self) -> None:
        pass


async def main() -> None:
    runs, steps, command = arguments()
    instant = Instant(steps)
    pool = ServerPool({"m": command})
    agent = Agent(
        "bench",
        model=InstantModel(instant),
        servers=["m"],
        pool=pool,
        budget=Budget(model_calls=10 * steps),
    )
    async with agent, pool.lease("m") as lease:
        client = await lease.client()

        async def call(number: int) -> str:
            return (await client.call_tool("add", {"a": number, "b": 7})).text

        async def run() -> str:
            return (await agent.run("Add.")).text

        await measure(instant, runs, call, run)
    await pool.close()


uvloop.run(main())
