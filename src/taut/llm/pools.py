"""One pool of connections for each event loop that asks for one.

A `Pool` belongs to the loop of its first request, but a model may be used from the loops of several threads, or
from one loop after another. A pool is closed with its loop, or by `LoopPools.close`, from any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple, final

from taut.transport.http.pool import Pool

__all__ = ["LoopPools"]

#: Seconds that the loop of another thread gets to close its pool.
CLOSE_S = 5.0


class _Held(NamedTuple):
    pool: Pool
    end: AsyncGenerator[None, None]


@final
class LoopPools:
    """The pools that ``make`` makes, by event loop."""

    __slots__ = ("_make", "_pools")

    def __init__(self, make: Callable[[], Pool]) -> None:
        self._make = make
        # Each loop adds and takes away its own entry only, so no lock is needed.
        self._pools: dict[asyncio.AbstractEventLoop, _Held] = {}

    async def here(self) -> Pool:
        """Return the pool of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._pools.get(loop)
        if held is not None:
            return held.pool
        for other in [other for other in self._pools if other.is_closed()]:
            self._pools.pop(other, None)
        pool = self._make()
        held = self._pools[loop] = _Held(pool, self._close_with_loop(loop, pool))
        await anext(held.end)
        return pool

    async def _close_with_loop(
        self, loop: asyncio.AbstractEventLoop, pool: Pool
    ) -> AsyncGenerator[None, None]:
        """Close ``pool`` when the loop ends: `asyncio.run` ends what generators there are before it closes the loop,
        and says it to nobody else."""
        try:
            yield
        finally:
            held = self._pools.get(loop)
            if held is not None and held.pool is pool:
                del self._pools[loop]
            await pool.close()

    async def close(self) -> None:
        """Close the pools of all loops. A cancelled close may be called again."""
        here = asyncio.get_running_loop()
        for loop, held in list(self._pools.items()):
            if loop is here:
                await self._close(loop, held)
            elif loop.is_running():
                closing = self._close(loop, held)
                try:
                    there = asyncio.run_coroutine_threadsafe(closing, loop)
                except RuntimeError:  # it has ended since, and its pool with it
                    closing.close()
                    continue
                await asyncio.wait([asyncio.wrap_future(there)], timeout=CLOSE_S)
            else:
                self._pools.pop(loop, None)

    async def _close(self, loop: asyncio.AbstractEventLoop, held: _Held) -> None:
        await held.pool.close()
        if self._pools.get(loop) is held:
            del self._pools[loop]
            await held.end.aclose()
