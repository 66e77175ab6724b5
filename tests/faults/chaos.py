"""A TCP proxy that does to bytes what networks and broken boxes do: it cuts, stalls, doubles, swaps and splits them.

What happens to each chunk is drawn from a seeded generator, so a failure can be had again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Odds:
    """How likely each fault is for one chunk, from 0 to 1; what is left is passed on as it came."""

    cut: float = 0.0
    stall: float = 0.0
    double: float = 0.0
    swap: float = 0.0
    split: float = 0.0


class ChaosProxy:
    """Forwards connections to ``port``. ``requests`` are the odds towards the server, ``answers`` those back."""

    def __init__(self, port: int, seed: int, *, requests: Odds = Odds(), answers: Odds = Odds()) -> None:
        self.port = 0
        #: How often each fault was done.
        self.done: dict[str, int] = dict.fromkeys(("cut", "stall", "double", "swap", "split"), 0)
        self._target = port
        self._random = random.Random(seed)
        self._odds = (requests, answers)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ChaosProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            both = [
                asyncio.ensure_future(self._forward(reader, back, self._odds[0])),
                asyncio.ensure_future(self._forward(there, writer, self._odds[1])),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                back.close()
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except OSError:  # an end that is gone is what is being played here
            return
        except asyncio.CancelledError:  # streams would report it as an error of ours
            return
        finally:
            writer.close()

    async def _forward(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, odds: Odds) -> None:
        held = b""
        while chunk := await source.read(65536):
            fault = self._draw(odds)
            if fault is not None:
                self.done[fault] += 1
            if fault == "cut":
                to.write(chunk[: self._random.randrange(len(chunk))])
                await to.drain()
                return
            if fault == "stall":
                await asyncio.Event().wait()
            if fault == "swap" and not held:
                held = chunk
                # Nothing may follow for long: then the first part comes alone, and late.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        chunk = await source.read(65536)
                        to.write(chunk)
                to.write(held)
                held = b""
            elif fault == "split":
                for index in range(len(chunk)):
                    to.write(chunk[index : index + 1])
                    await asyncio.sleep(0)
            else:
                to.write(chunk + chunk if fault == "double" else chunk)
            await to.drain()

    def _draw(self, odds: Odds) -> str | None:
        point = self._random.random()
        for name in self.done:
            point -= getattr(odds, name)
            if point < 0:
                return name
        return None
