"""Whatever is cancelled over HTTP, and whenever: the client works on, and nothing of it is left when it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from web import INITIALIZED, Asked, legacy, modern, web

from faults.loops import Run
from taut import Client
from taut.client import HttpSettings
from taut.errors import AuthorizationRequired, TransportError
from taut.transport.http import pool

#: Turns of the loop after which the work is interrupted, at most; most ends before that.
TURNS = 60

WORK: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "call": lambda client: client.call_tool("t"),
    "close": lambda client: client.close(),
    "connect": lambda client: client.connect(),
    "subscribe": lambda client: client.subscribe("mem://x", tools=True),
}


class _Tokens:
    """A source that takes a turn of the loop."""

    async def token(self) -> str | None:
        await asyncio.sleep(0)
        return "t"

    async def challenged(self, error: AuthorizationRequired) -> bool:
        await asyncio.sleep(0)
        return True


class _Server:
    """Refuses the first call, for want of a token or, in the legacy era, of its session; answers all else."""

    def __init__(self, era: str) -> None:
        self._legacy = era == "legacy"
        self._sessions = 0
        self._refused = False

    async def __call__(self, asked: Asked) -> None:
        if asked.method == "initialize":
            self._sessions += 1
            asked.result(INITIALIZED, mcp_session_id=f"s-{self._sessions}")
        else:
            await (legacy(self._answer, events=True) if self._legacy else modern(self._answer))(asked)

    async def _answer(self, asked: Asked) -> None:
        if asked.verb == "GET":
            asked.stream()
        elif asked.method == "subscriptions/listen":
            asked.stream()
            meta = {"io.modelcontextprotocol/subscriptionId": asked.message["id"]}
            params = {"_meta": meta, "notifications": {}}
            asked.event({"method": "notifications/subscriptions/acknowledged", "params": params})
        elif asked.headers.get("mcp-session-id") == "s-1" and asked.method == "tools/call":
            asked.reply(status=404)
        elif not self._legacy and not self._refused:
            self._refused = True
            asked.reply(status=401)
        elif asked.method == "tools/call":
            asked.text("ok")
        else:
            asked.result({})


async def interrupted(era: str, what: str, turns: int, *, close: bool) -> bool:
    """Begin ``what``, interrupt it, check what is left; tell whether it had ended before."""
    async with web(_Server(era)) as there:
        before = asyncio.all_tasks()
        client = Client(there.url, mode="auto" if era == "modern" else era, http=HttpSettings(auth=_Tokens()))
        if what != "connect":
            await client.connect()
        others = [asyncio.ensure_future(client.call_tool("t")) for _ in range(2)] if what != "connect" else []
        work = asyncio.ensure_future(WORK[what](client))
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = work.done()
        if close:
            await client.close()
        else:
            work.cancel()
        with contextlib.suppress(TransportError if close else asyncio.CancelledError):
            await work
        for other in others:
            with contextlib.suppress(TransportError):
                assert (await other).text == "ok"
        if what in ("call", "subscribe") and not close:
            assert (await client.call_tool("t")).text == "ok"
        await client.close()
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() - before if "Web._serve" not in repr(task)]
        assert not left
    return ended


@pytest.mark.parametrize("close", [False, True], ids=["cancelled", "closed"])
@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_at_any_moment(run: Run, monkeypatch: pytest.MonkeyPatch, era: str, what: str, close: bool) -> None:
    monkeypatch.setattr(pool, "CLOSE_S", 60.0)  # what is waited for in vain does not end in time

    async def main() -> None:
        for turns in range(TURNS):
            if await interrupted(era, what, turns, close=close):
                break

    run(main())
