"""Measure one Python client from inside its process: CPU and time of ``call_tool``, alone and many at once.

Standard library only: it runs in the environments of all peers.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

WARM_UP = 2000
#: Calls at once.
WINDOW = int(sys.argv[2])


async def measure(call: Callable[[int], Awaitable[str]], calls: int) -> None:
    """Print the costs of `call(n)`, which must return the text of ``add(n, 7)``, as one line of JSON."""
    results: dict[str, float] = {}

    async def checked(number: int) -> None:
        text = await call(number)
        if text != str(number + 7):
            sys.exit(f"Expected {number + 7}, got {text!r}")

    async def share(start: int, stop: int) -> None:
        for number in range(start, stop, WINDOW):
            await checked(number)

    await asyncio.gather(*[share(index, WARM_UP) for index in range(WINDOW)])
    times = []
    cpu = time.process_time_ns()
    for number in range(calls // 4):
        start = time.perf_counter_ns()
        await checked(number)
        times.append(time.perf_counter_ns() - start)
    results["sequential_cpu_us"] = (time.process_time_ns() - cpu) / len(times) / 1e3
    results["p50_us"] = statistics.median(times) / 1e3
    cpu, start = time.process_time_ns(), time.perf_counter_ns()
    await asyncio.gather(*[share(index, calls) for index in range(WINDOW)])
    results["cpu_us"] = (time.process_time_ns() - cpu) / calls / 1e3
    results["calls_per_s"] = calls / (time.perf_counter_ns() - start) * 1e9
    print(json.dumps(results))


def arguments() -> tuple[int, list[str]]:
    """Return (number of calls, where the server is) from ``client.py CALLS WINDOW TARGET...``.

    The target is the command of a server on stdio, or the URL of one and the revision to speak.
    """
    return int(sys.argv[1]), sys.argv[3:]


def is_url(target: list[str]) -> bool:
    return target[0].startswith("http://")
