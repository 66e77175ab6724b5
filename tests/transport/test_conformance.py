"""Every transport of taut, held to the one contract, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from faults.loops import Run
from taut.mcp.limits import Limits
from taut.transport.base import Transport
from taut.transport.memory import memory_pair
from taut.transport.pipe import PipeTransport
from taut.transport.process import ProcessTransport
from transport.conformance import CHECKS, MakePair
from transport.standing import event_pair, websocket_pair

pytestmark = pytest.mark.processes

#: Joins its stdin and stdout to two named pipes, and passes the end of each on.
RELAY = """
import os, sys, threading
def copy(source, sink):
    try:
        while data := os.read(source, 65536):
            while data:
                data = data[os.write(sink, data):]
    except OSError:
        pass
    os.close(source)
    os.close(sink)
out = os.open(sys.argv[1], os.O_WRONLY)
back = threading.Thread(target=copy, args=(os.open(sys.argv[2], os.O_RDONLY), 1))
back.start()
copy(0, out)
back.join()
"""


@contextlib.asynccontextmanager
async def memory(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
    yield memory_pair(limits=limits)


@contextlib.asynccontextmanager
async def pipes(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
    there, back = os.pipe(), os.pipe()
    yield (
        PipeTransport(back[0], there[1], limits=limits, pauses=False),
        PipeTransport(there[0], back[1], limits=limits),
    )


@contextlib.asynccontextmanager
async def sockets(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
    """Some hosts give a server one socket as both stdin and stdout."""
    one, two = socket.socketpair()
    ours, theirs = one.detach(), two.detach()
    yield (
        PipeTransport(ours, os.dup(ours), limits=limits, pauses=False),
        PipeTransport(theirs, os.dup(theirs), limits=limits),
    )


@contextlib.asynccontextmanager
async def process(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
    with tempfile.TemporaryDirectory() as folder:
        there, back = str(Path(folder) / "there"), str(Path(folder) / "back")
        os.mkfifo(there)
        os.mkfifo(back)
        child = ProcessTransport([sys.executable, "-ISc", RELAY, there, back], limits=limits)
        # Opening a named pipe waits for its other end.
        yield (
            child,
            PipeTransport(os.open(there, os.O_RDONLY), os.open(back, os.O_WRONLY), limits=limits),
        )
        child.close()
        await child.wait_closed()


def swapped(make_pair: MakePair) -> MakePair:
    """The same pair, seen from its other end."""

    @contextlib.asynccontextmanager
    async def pair(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
        async with make_pair(limits) as (one, two):
            yield two, one

    return pair


PAIRS: dict[str, MakePair] = {
    "memory": memory,
    "pipes": pipes,
    "sockets": sockets,
    "process": process,
    "process, from the child's side": swapped(process),
    "websocket": websocket_pair,
    "websocket, from the server's side": swapped(websocket_pair),
    "sse": event_pair,
    "sse, from the server's side": swapped(event_pair),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("pair", PAIRS)
def test_contract(run: Run, pair: str, check: Callable[[MakePair], Any]) -> None:
    run(asyncio.sleep(0))  # a loop keeps some descriptors from its first use on
    before = open_descriptors()
    run(check(PAIRS[pair]))
    assert open_descriptors() <= before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
