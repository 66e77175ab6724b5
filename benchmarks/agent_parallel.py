"""Many slow calls in one message of a model: do they take the time of one?

    python -m benchmarks.agent_parallel [--calls 100] [--ms 200]

The tool waits on an MCP server over stdio. Printed is the time from the model's message to its next request,
over the time that one call takes the same way; 1.0 is ideal, and one after the other would be the number of
calls.
"""

import argparse
import asyncio
import statistics
import sys
import time

import uvloop

from benchmarks._peers import SERVERS
from benchmarks._report import machine, number, spread
from taut.agent import Agent
from taut.llm.model import ModelRequest
from taut.testing import Answer, FunctionModel, call


async def measure(calls: int, ms: int, rounds: int) -> dict[int, list[float]]:
    """Return the milliseconds of each round, for one call and for ``calls``."""
    clock: list[float] = []

    def answer(request: ModelRequest) -> Answer:
        clock.append(time.perf_counter())
        if len(request.messages) == 1:
            return [call("slow__wait", ms=ms)] * int(request.messages[0].text)
        return "done"

    agent = Agent(
        "bench",
        model=FunctionModel(answer, keep=0),
        servers={"slow": [sys.executable, str(SERVERS / "slow_server.py")]},
    )
    took: dict[int, list[float]] = {1: [], calls: []}
    async with agent:
        await agent.run("1")  # the server is started
        for _ in range(rounds):
            for count, times in took.items():
                clock.clear()
                await agent.run(str(count))
                times.append((clock[1] - clock[0]) * 1e3)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.agent_parallel", description="Slow calls side by side.")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--ms", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = runner.run(measure(options.calls, options.ms, options.rounds))
    one, many = took[1], took[options.calls]
    print(f"one call of {options.ms} ms: {spread(one)} ms; {options.calls} side by side: {spread(many)} ms")
    print(f"ratio {number(statistics.median(many) / statistics.median(one))}; {machine()['cpu']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
