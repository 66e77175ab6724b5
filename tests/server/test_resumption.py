"""Exactly once: whatever is cut, when, and how often, a client that comes back hears everything, once and in order."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from faults.loops import Run
from taut import models
from taut._core import SSEParser, parse
from taut.mcp.http.events import EventsLost, EventStore, MemoryEventStore
from taut.mcp.http.head import Head
from taut.mcp.http.legacy import SESSION_ID, Legacy
from taut.mcp.http.reply import Reply
from taut.mcp.http.sessions import SessionOptions, Sessions
from taut.mcp.http.streams import Reader, SessionResponse
from taut.mcp.server_peer import ServerProfile
from taut.server import SQLiteEventStore

PROFILE = ServerProfile(
    models.Implementation("s", "1"), models.ServerCapabilities(tools=models.ToolsCapability())
)
CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


class Listener:
    """What a client hears of one stream, over however many connections."""

    def __init__(self, source: SessionResponse | Reader) -> None:
        self.source: SessionResponse | Reader | None = source
        self.heard: list[int] = []
        self.last_event_id: str | None = None
        self.over = False
        self._parser = SSEParser(max_bytes=1 << 20)

    def connect(self, source: Reader) -> None:
        self.source = source
        self._parser = SSEParser(max_bytes=1 << 20)

    def take(self, events: int | None = None) -> None:
        """Read what there is: all of it, or so many events, after which the connection breaks."""
        source = self.source
        assert source is not None
        over = source.ended
        raw = source.events()
        found = list(self._parser.feed(raw))
        for event in found if events is None else found[:events]:
            self.last_event_id = event.id or self.last_event_id
            if event.data:
                message = msgspec.json.decode(event.data)
                self.heard.append(-1 if "result" in message else message["params"]["progress"])
        if events is not None:
            self.lose()
        elif over:
            self.source = None

    def lose(self) -> None:
        """Lose the connection, and what was on its way."""
        source, self.source = self.source, None
        if isinstance(source, SessionResponse):
            source.detach()
        elif source is not None:
            source.close()


class Resumption(RuleBasedStateMachine):
    """Calls of one session, each of which says 1, 2, 3, ... and then its result (-1)."""

    make_store: Callable[[Resumption], EventStore]

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = self.make_store()
        self.sessions = Sessions(SessionOptions(event_store=self.store))
        self.legacy = Legacy(lambda: PROFILE, self.sessions)
        self.calls: list[tuple[SessionResponse, list[int], Listener]] = []
        reply = self.legacy.receive(Head(), parse(self._request("initialize", CLIENT)))
        assert isinstance(reply, Reply)
        self.session = reply.headers[0][1]

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def _request(self, method: str, params: Any) -> bytes:
        return msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def _head(self, **more: bytes) -> Head:
        head = Head()
        head.known[SESSION_ID] = self.session
        for name, value in more.items():
            head.known[name.replace("_", "-").encode()] = value
        return head

    @precondition(lambda self: len(self.calls) < 4)
    @rule()
    def call(self) -> None:
        number = len(self.calls) + 1
        message = {
            "jsonrpc": "2.0",
            "id": number,
            "method": "tools/call",
            "params": {"name": "t", "_meta": {"progressToken": number}},
        }
        response = self.legacy.receive(self._head(), parse(msgspec.json.encode(message)))
        assert isinstance(response, SessionResponse)
        response.request.defer(lambda reason: None)
        listener = Listener(response)
        self.calls.append((response, [], listener))
        # The client knows of the stream: without its first event there is nothing to come back with.
        response.request.progress(1)
        self.calls[-1][1].append(1)
        listener.take()

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3), count=st.integers(1, 4))
    def say(self, which: int, count: int) -> None:
        response, said, _ = self.calls[which % len(self.calls)]
        for _ in range(count):
            if response.request.progress(len(said) + 1):
                said.append(len(said) + 1)
        if not response.attached:
            response.settle()  # what the exchange does when nobody follows

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3))
    def finish(self, which: int) -> None:
        response, said, _ = self.calls[which % len(self.calls)]
        if not response.done:
            response.request.respond({"content": []})
            said.append(-1)
            if not response.attached:
                response.settle()

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3), events=st.none() | st.integers(0, 3))
    def take(self, which: int, events: int | None) -> None:
        listener = self.calls[which % len(self.calls)][2]
        if listener.source is not None:
            listener.take(events)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3))
    def lose(self, which: int) -> None:
        self.calls[which % len(self.calls)][2].lose()

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3))
    def send_away(self, which: int) -> None:
        self.calls[which % len(self.calls)][0].close_stream()

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3), first=st.booleans(), meanwhile=st.integers(0, 2))
    def come_back(self, which: int, first: bool, meanwhile: int) -> None:
        """Come back; ``first``: although the connection seems to be there; ``meanwhile`` more is said."""
        _, said, listener = self.calls[which % len(self.calls)]
        if (listener.source is not None and not first) or listener.last_event_id is None:
            return
        listener.source = None
        reader = self.legacy.listen(self._head(last_event_id=listener.last_event_id.encode()))
        assert isinstance(reader, Reader)
        assert reader.after is not None
        if meanwhile:
            self.say(which=which, count=meanwhile)
        try:
            kept = self.loop.run_until_complete(
                self.store.read(reader.session.id, reader.stream, reader.after)
            )
            reader.replay(kept)
        except EventsLost:
            # The one reason: it has heard everything, the result included.
            assert listener.heard == said
            assert said[-1] == -1
            return
        listener.connect(reader)

    @invariant()
    def nothing_is_heard_twice_or_out_of_order(self) -> None:
        for _, said, listener in getattr(self, "calls", ()):
            assert listener.heard == said[: len(listener.heard)]

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 3))
    def hear_everything(self, which: int) -> None:
        """A client that comes back and stays hears all that was said."""
        response, said, listener = self.calls[which % len(self.calls)]
        if listener.source is None or listener.source.ended:
            if listener.source is not None:
                listener.take()
            self.come_back(which=which, first=False, meanwhile=0)
        if listener.source is not None:
            listener.take()
        if response.attached or listener.source is not None or not response.done:
            assert listener.heard == said


class MemoryResumption(Resumption):
    def make_store(self) -> EventStore:
        return MemoryEventStore()


class SQLiteResumption(Resumption):
    def make_store(self) -> EventStore:
        self.folder = tempfile.TemporaryDirectory()
        return SQLiteEventStore(Path(self.folder.name) / "events.db")

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestMemoryResumption = MemoryResumption.TestCase
TestSQLiteResumption = SQLiteResumption.TestCase
TestSQLiteResumption.settings = settings(max_examples=10, deadline=None)


def test_who_stops_waiting_for_events_stops_nobody_else(tmp_path: Path, run: Run) -> None:
    async def main() -> None:
        store = SQLiteEventStore(tmp_path / "events.db")
        store.open_session("s", b"{}")
        store.open_stream("s", 1, b"[1]")
        store.append("s", 1, 1, b"x")
        impatient = asyncio.ensure_future(store.read("s", 1, 0))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert (await store.read("s", 1, 0)).events == [(1, b"x")]
        await store.close()

    run(main())


def test_a_client_is_not_told_where_events_are_kept(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        store = SQLiteEventStore(folder / "events.db")
        await store.close()
        shutil.rmtree(folder)
        store.append("s", 1, 1, b"x")
        for stream in (1, 2):  # one that could not be written, and one that cannot be read
            with pytest.raises(EventsLost, match="could not be kept") as raised:
                await store.read("s", stream, 0)
            assert str(folder) not in str(raised.value)
        await store.close()

    run(main())
    assert str(tmp_path) in caplog.text
