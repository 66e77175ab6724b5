"""What every transport must do, whatever it is made of: the contract of `taut.transport.base`, as checks.

`check_transport` takes a function that makes two joined ends and runs every check on a fresh pair. A transport in
which the ends are joined by more than memory may need time, so checks wait for what must happen, and never for what
must not: they look for that when the connection has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from taut.errors import TransportError
from taut.mcp.limits import Limits
from taut.transport.base import Transport

__all__ = ["CHECKS", "MakePair", "Recorder", "check_transport"]

#: Makes two ends that are joined, with the given limits.
MakePair = Callable[[Limits], contextlib.AbstractAsyncContextManager[tuple[Transport, Transport]]]

#: Few enough bytes that a peer which does not read is soon noticed.
LIMITS = Limits(max_unsent_bytes=64 * 1024)


class Recorder:
    """A receiver that notes what it is told and refuses what the contract forbids."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.data = bytearray()
        self.events: list[str] = []
        self.error: TransportError | None = None
        self.lost = asyncio.Event()
        self._thread = threading.get_ident()
        self._flushing = False
        self._wanted: tuple[int, asyncio.Future[None]] | None = None

    def start(self) -> Recorder:
        """Start the transport with this receiver."""
        self.transport.start(self)
        return self

    def send(self, data: bytes) -> None:
        """Write ``data`` as one message."""
        self.transport.out.append(data)
        self._flushing = True
        self.transport.flush()
        self._flushing = False

    async def has(self, count: int) -> bytes:
        """Wait until ``count`` bytes have come in; return all that has."""
        if len(self.data) < count:
            future = asyncio.get_running_loop().create_future()
            self._wanted = (count, future)
            await future
        return bytes(self.data)

    def _check(self) -> None:
        assert threading.get_ident() == self._thread, "a callback came in another thread"
        assert not self._flushing, "a callback came from within flush"
        assert not self.lost.is_set(), f"a callback came after connection_lost: {self.events}"

    def data_received(self) -> None:
        self._check()
        buffer = self.transport.buffer
        self.data += bytes(buffer.take(len(buffer)))
        if self._wanted is not None and len(self.data) >= self._wanted[0]:
            future, self._wanted = self._wanted[1], None
            if not future.done():
                future.set_result(None)

    def eof_received(self) -> None:
        self._check()
        assert "eof" not in self.events
        self.events.append("eof")
        self.transport.close()

    def connection_lost(self, error: TransportError | None) -> None:
        self._check()
        self.events.append("lost")
        self.error = error
        self.lost.set()


@contextlib.asynccontextmanager
async def started(make_pair: MakePair) -> AsyncIterator[tuple[Recorder, Recorder]]:
    """Two started ends, closed at the end whatever happened."""
    async with make_pair(LIMITS) as (one, two):
        ours, theirs = Recorder(one).start(), Recorder(two).start()
        try:
            yield ours, theirs
        finally:
            await end(ours, theirs)


async def end(*recorders: Recorder) -> None:
    """Close every end, and check that each heard of it exactly once, as the last thing."""
    for recorder in recorders:
        recorder.transport.close()
    for recorder in recorders:
        await recorder.transport.wait_closed()
        await recorder.lost.wait()
        assert recorder.events in (["lost"], ["eof", "lost"])


def message(size: int, seed: int = 0) -> bytes:
    """Return bytes in which a chunk that is lost or moved is seen, always the same ones."""
    return random.Random(seed).randbytes(size // 2 + 1).hex().encode()[:size]


async def bytes_travel_both_ways_in_order(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):
        sizes = [1, 2, 1000, 65_535, 65_536, 65_537, 1, 3_000_000, 7]
        texts = [message(size, seed) for seed, size in enumerate(sizes)]
        expected = b"".join(text + b"\n" for text in texts)
        for text in texts:
            ours.send(text)
            theirs.send(text)
        assert await theirs.has(len(expected)) == expected
        assert await ours.has(len(expected)) == expected


async def many_small_messages_arrive(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):
        for number in range(5_000):
            ours.send(b"%d" % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        expected = b"".join(b"%d\n" % number for number in range(5_000))
        assert await theirs.has(len(expected)) == expected


async def flush_of_nothing_does_nothing(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):
        for _ in range(3):
            ours.transport.flush()
        ours.send(b"x")
        assert await theirs.has(2) == b"x\n"


async def what_was_written_before_the_start_is_sent(make_pair: MakePair) -> None:
    async with make_pair(LIMITS) as (one, two):
        ours, theirs = Recorder(one), Recorder(two)
        ours.send(b"early")
        ours.start()
        ours.transport.flush()
        theirs.start()
        assert await theirs.has(6) == b"early\n"
        await end(ours, theirs)


async def what_was_sent_before_the_other_end_started_arrives(make_pair: MakePair) -> None:
    async with make_pair(LIMITS) as (one, two):
        ours, theirs = Recorder(one).start(), Recorder(two)
        ours.send(b"first")
        await asyncio.sleep(0)
        theirs.start()
        assert await theirs.has(6) == b"first\n"
        await end(ours, theirs)


async def close_sends_what_is_unsent_and_the_peer_hears_of_it(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):
        text = message(3_000_000)
        ours.send(text)
        ours.transport.close()
        assert await theirs.has(len(text) + 1) == text + b"\n"
        await theirs.lost.wait()
        await ours.lost.wait()


async def close_before_the_other_end_started_is_heard(make_pair: MakePair) -> None:
    async with make_pair(LIMITS) as (one, two):
        ours, theirs = Recorder(one).start(), Recorder(two)
        ours.send(b"last words")
        ours.transport.close()
        await ours.lost.wait()
        theirs.start()
        assert await theirs.has(11) == b"last words\n"
        await theirs.lost.wait()
        await end(ours, theirs)


async def close_twice_from_any_task_is_fine(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):

        async def close() -> None:
            ours.transport.close()
            await ours.transport.wait_closed()
            ours.transport.close()

        await asyncio.gather(close(), close(), asyncio.create_task(close()))
        assert ours.events == ["lost"]
        assert ours.error is None
        await theirs.lost.wait()


async def both_ends_may_close_at_once(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):
        ours.transport.close()
        theirs.transport.close()
        await ours.lost.wait()
        await theirs.lost.wait()


async def close_without_a_start_releases_everything(make_pair: MakePair) -> None:
    async with make_pair(LIMITS) as (one, two):
        one.close()
        one.close()
        await one.wait_closed()
        two.close()
        await two.wait_closed()


async def nothing_is_sent_after_close(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, theirs):
        ours.send(b"before")
        ours.transport.close()
        await ours.lost.wait()
        ours.send(b"after")
        await theirs.lost.wait()
        assert bytes(theirs.data) == b"before\n"


async def waiting_for_the_end_may_be_cancelled(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, _):
        waiter = asyncio.create_task(ours.transport.wait_closed())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert waiter.cancelled()
        assert not ours.lost.is_set()
        ours.transport.close()
        await ours.transport.wait_closed()


async def drain_waits_for_a_peer_that_does_not_read(make_pair: MakePair) -> None:
    async with make_pair(LIMITS) as (one, two):
        ours, theirs = Recorder(one).start(), Recorder(two)
        text = message(
            6_000_000
        )  # more than any pipe on the way holds; what keeps messages apart holds one or two
        for _ in range(6):
            ours.send(text)
        drained = asyncio.create_task(ours.transport.drain())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not drained.done()
        theirs.start()
        await drained
        assert len(ours.transport.out) <= LIMITS.max_unsent_bytes
        assert await theirs.has(6 * len(text) + 6) == (text + b"\n") * 6
        await end(ours, theirs)


async def drain_ends_with_the_connection(make_pair: MakePair) -> None:
    async with make_pair(LIMITS) as (one, two):
        ours = Recorder(one).start()
        ours.send(message(6_000_000))
        drained = asyncio.create_task(ours.transport.drain())
        await asyncio.sleep(0)
        assert not drained.done()
        two.close()
        ours.transport.close()
        await drained
        await end(ours)


async def drain_of_little_does_not_wait(make_pair: MakePair) -> None:
    async with started(make_pair) as (ours, _):
        ours.send(b"little")
        await ours.transport.drain()


CHECKS: list[Callable[[MakePair], Awaitable[Any]]] = [
    bytes_travel_both_ways_in_order,
    many_small_messages_arrive,
    flush_of_nothing_does_nothing,
    what_was_written_before_the_start_is_sent,
    what_was_sent_before_the_other_end_started_arrives,
    close_sends_what_is_unsent_and_the_peer_hears_of_it,
    close_before_the_other_end_started_is_heard,
    close_twice_from_any_task_is_fine,
    both_ends_may_close_at_once,
    close_without_a_start_releases_everything,
    nothing_is_sent_after_close,
    waiting_for_the_end_may_be_cancelled,
    drain_waits_for_a_peer_that_does_not_read,
    drain_ends_with_the_connection,
    drain_of_little_does_not_wait,
]


async def check_transport(make_pair: MakePair) -> None:
    """Run every check on pairs of ``make_pair``."""
    for check in CHECKS:
        await check(make_pair)
