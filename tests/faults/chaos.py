"""A TCP proxy that does to bytes what networks and broken boxes do: it cuts, stalls, doubles, swaps and splits them.

What happens to each chunk is drawn from a seeded generator, so a failure can be had again.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import cast

#: Seconds that a chunk is held back for the next one to overtake it.
HOLD_S = 0.05


@dataclass(frozen=True)
class Odds:
    """How likely each fault is for one chunk, from 0 to 1; what is left is passed on as it came."""

    cut: float = 0.0
    stall: float = 0.0
    double: float = 0.0
    swap: float = 0.0
    split: float = 0.0


FAULTS = tuple(Odds.__dataclass_fields__)


class ChaosProxy:
    """Forwards connections to ``port``. ``requests`` are the odds towards the server, ``answers`` those back."""

    def __init__(self, port: int, seed: int, *, requests: Odds = Odds(), answers: Odds = Odds()) -> None:
        self.port = 0
        self.target = port
        #: How often each fault was done.
        self.done: dict[str, int] = dict.fromkeys(FAULTS, 0)
        self.requests = requests
        self.answers = answers
        self.ends: set[_End] = set()
        self.connecting: set[asyncio.Task[None]] = set()
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ChaosProxy:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self, self.requests), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*self.connecting, return_exceptions=True)
        lost = [end.lost for end in self.ends]
        for end in list(self.ends):
            end.transport.abort()
        await asyncio.gather(*lost)

    def draw(self, odds: Odds) -> str | None:
        """Return what happens to the next chunk."""
        point = self._random.random()
        for name in FAULTS:
            point -= getattr(odds, name)
            if point < 0:
                self.done[name] += 1
                return name
        return None

    def below(self, size: int) -> int:
        return self._random.randrange(size)


class _End(asyncio.Protocol):
    """One end of a connection through the proxy: what comes in here goes out at the ``other`` one."""

    def __init__(self, proxy: ChaosProxy, odds: Odds, other: _End | None = None) -> None:
        self.transport: asyncio.Transport
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proxy = proxy
        self._odds = odds
        self._other = other
        self._early: list[bytes] = []
        self._held = b""
        self._stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not one by name
        self._proxy.ends.add(self)
        if self._other is None:
            task = asyncio.ensure_future(self._connect())
            self._proxy.connecting.add(task)
            task.add_done_callback(self._proxy.connecting.discard)

    async def _connect(self) -> None:
        there = _End(self._proxy, self._proxy.answers, self)
        await asyncio.get_running_loop().create_connection(lambda: there, "127.0.0.1", self._proxy.target)
        self._other = there
        if self.lost.done():
            there.transport.close()
        for chunk in self._early:
            self.data_received(chunk)

    def data_received(self, chunk: bytes) -> None:
        if self._other is None:
            self._early.append(chunk)
            return
        if self._stalled:
            return
        write = self._other.transport.write
        if self._held:
            write(chunk)
            self._release()
            return
        fault = self._proxy.draw(self._odds)
        if fault == "cut":
            write(chunk[: self._proxy.below(len(chunk))])
            self._other.transport.close()
            self.transport.close()
        elif fault == "stall":
            self._stalled = True
        elif fault == "swap":
            self._held = chunk
            asyncio.get_running_loop().call_later(HOLD_S, self._release)
        elif fault == "split":
            for index in range(len(chunk)):
                write(chunk[index : index + 1])
        else:
            write(chunk + chunk if fault == "double" else chunk)

    def _release(self) -> None:
        """Pass on what was held back, late."""
        held, self._held = self._held, b""
        if held and self._other is not None:
            self._other.transport.write(held)

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy.ends.discard(self)
        self.lost.set_result(None)
        if self._other is not None and not self._other.lost.done():
            self._other.transport.close()
