"""A load generator for HTTP where wrk is not installed: the same requests, the same line of JSON.

    python -m benchmarks._http_load PORT CONNECTIONS SECONDS FILE

Every connection sends a request when the one before is answered. One process on uvloop, whose own work limits the rate
at some ten thousand requests a second: then the CPU time of the server still says what one costs.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httptools
import uvloop


def read_requests(path: Path) -> list[bytes]:
    """Read a file of requests, each after a line with its length."""
    data, at, requests = path.read_bytes(), 0, []
    while at < len(data):
        end = data.index(b"\n", at)
        size = int(data[at:end])
        requests.append(data[end + 1 : end + 1 + size])
        at = end + 1 + size
    return requests


class Totals:
    """What all connections have seen."""

    def __init__(self) -> None:
        self.running = True
        self.times: list[int] = []
        self.bytes = self.refused = self.broken = 0


class Connection(asyncio.Protocol):
    """Sends and counts; a connection that breaks is not opened again."""

    def __init__(self, next_request: Callable[[], bytes], totals: Totals) -> None:
        self.next_request = next_request
        self.totals = totals
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        self.started_ns = time.perf_counter_ns()
        self.transport.write(self.next_request())

    def data_received(self, data: bytes) -> None:
        self.totals.bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_complete(self) -> None:
        totals = self.totals
        totals.times.append(time.perf_counter_ns() - self.started_ns)
        if self.parser.get_status_code() != 200:
            totals.refused += 1
        if not self.parser.should_keep_alive():
            self.transport.close()
        elif totals.running:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.totals.running:
            self.totals.broken += 1


async def load(port: int, connections: int, seconds: float, requests: list[bytes]) -> dict[str, float]:
    """Run one load and return what wrk.lua prints."""
    totals = Totals()
    next_request = itertools.cycle(requests).__next__
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    opened = [
        await loop.create_connection(lambda: Connection(next_request, totals), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    totals.running = False
    for transport, _ in opened:
        transport.abort()
    times = sorted(totals.times) or [0]
    return {
        "requests": len(totals.times),
        "seconds": elapsed,
        "bytes": totals.bytes,
        "p50_us": times[len(times) // 2] / 1e3,
        "p99_us": times[len(times) * 99 // 100] / 1e3,
        "refused": totals.refused,
        "broken": totals.broken,
    }


if __name__ == "__main__":
    port, connections, seconds, path = sys.argv[1:]
    result = uvloop.run(load(int(port), int(connections), float(seconds), read_requests(Path(path))))
    print(json.dumps(result))
