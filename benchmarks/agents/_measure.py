"""Measure one agent library from inside its process: the CPU of an agent's steps beside that of bare calls.

Standard library only: it runs in the environments of all libraries. The model is instant: it is a function in the
process that asks for ``add(a, b)`` again and again, then answers. One step is one request to it and one tool call.

    AGENT.py RUNS STEPS COMMAND...
"""

import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

#: Calls and runs before anything is counted.
WARM_UP_CALLS, WARM_UP_RUNS = 300, 2
CALLS = 200
#: Where in a run "the beginning" and "the end" are: medians of this many steps around step 5 and the last one.
AROUND = 5


def arguments() -> tuple[int, int, list[str]]:
    """Return the number of runs, the steps of each, and the command of the server."""
    return int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]


class Instant:
    """Keeps count for the model of a library: `step` is called with each request, and says whether to call the tool."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0
        #: The CPU clock at each request of the current run.
        self.clock: list[int] = []

    def step(self) -> bool:
        """Whether to ask for the tool once more."""
        self.clock.append(time.process_time_ns())
        self.done += 1
        return self.done <= self.steps

    def again(self) -> None:
        """Begin another run."""
        self.done = 0
        self.clock = []


async def measure(
    instant: Instant,
    runs: int,
    call: Callable[[int], Awaitable[str]],
    run: Callable[[], Awaitable[str]],
) -> None:
    """Print the costs as one line of JSON: of ``call(n)``, ``add(n, 7)`` as text, and of ``run()``, all of
    whose steps end in the text ``done``."""
    for number in range(WARM_UP_CALLS):
        await call(number)

    async def bare_us() -> float:
        cpu = time.process_time_ns()
        for number in range(CALLS):
            if (text := await call(number)) != str(number + 7):
                sys.exit(f"Expected {number + 7}, got {text!r}")
        return (time.process_time_ns() - cpu) / CALLS / 1e3

    async def steps_us() -> list[float]:
        instant.again()
        if (text := await run()) != "done":
            sys.exit(f"Expected 'done', got {text!r}")
        if len(instant.clock) != instant.steps + 1:
            sys.exit(f"Expected {instant.steps + 1} requests to the model, got {len(instant.clock)}")
        pairs = zip(instant.clock, instant.clock[1:], strict=False)
        return [(after - before) / 1e3 for before, after in pairs]

    for _ in range(WARM_UP_RUNS):
        await steps_us()
    bare, steps, own, growth = [], [], [], []
    for _ in range(runs):
        # Bare calls before and after each run: the machine's speed drifts.
        before, took, after = await bare_us(), await steps_us(), await bare_us()
        bare.append((before + after) / 2)
        steps.append(statistics.fmean(took))
        own.append(steps[-1] - bare[-1])
        early, late = took[5 - AROUND // 2 - 1 : 5 + AROUND // 2], took[-AROUND:]
        growth.append(statistics.median(late) / statistics.median(early))
    medians = {"bare_us": bare, "step_us": steps, "own_us": own, "growth": growth}
    print(json.dumps({name: statistics.median(values) for name, values in medians.items()}))
