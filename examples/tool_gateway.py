"""A gateway of tools: an agent over several servers, with policies for what goes through, and search for what it has.

python tool_gateway.py
"""

import asyncio
from pathlib import Path

from taut import Agent, Server
from taut.agent import MemoryPins, ToolPolicy, ToolSearch, events
from taut.client import ServerPool
from taut.testing import ScriptedModel, call

HERE = Path(__file__).parent

# A server with many tools: their schemas would fill a model's context.
warehouse = Server("warehouse", title="Stock of articles on shelves")
for shelf in range(1, 61):

    @warehouse.tool(name=f"count_shelf_{shelf}", description=f"Count the articles on shelf number {shelf}.")
    def count(shelf: int = shelf) -> int:
        return shelf * 3


SCRIPT = ScriptedModel(
    call("find_tools", query="count articles on shelf 42"),
    [
        call("warehouse__count_shelf_42"),
        call("math__add", a=40, b=2),
        call("notes__add", title="x", text="y"),
    ],
    "Shelf 42 has 126 articles.",
)

pool = ServerPool(
    {
        "warehouse": warehouse,  # in this process
        "math": HERE / "server.py",  # processes, or URLs: started when they are needed
        "notes": HERE / "notes_server.py",
    }
)
agent = Agent(
    "gateway",
    model=SCRIPT,
    servers=["warehouse", "math", "notes"],
    pool=pool,
    search=ToolSearch(limit=2),
    pins=MemoryPins(),  # what changes after it was first seen is refused
    policy=ToolPolicy(
        deny=("notes:add",),
        timeouts_s={"warehouse:*": 5.0},
        cache_s={"warehouse:count_*": 60.0},
        max_result_chars=2_000,
    ),
)


async def main() -> None:
    async with agent.stream("How many articles are on shelf 42?") as stream:
        async for event in stream:
            match event:
                case events.ToolCalled(call=made):
                    print(f"-> {made.name} {made.arguments}")
                case events.ToolReturned(result=result):
                    print(f"<- {result.text}")
    print(f"shown to the model at first: {len(SCRIPT.requests[0].tools)} of 66 tools")
    print(stream.result.output)
    await pool.close()


asyncio.run(main())
