"""The table of sessions, without HTTP: ids, principals, room, time and memory."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import msgspec
import pytest
from wire import server_profile

from taut import models
from taut._core import parse
from taut.errors import ConfigError
from taut.mcp.http.events import MemoryEventStore, Resumed
from taut.mcp.http.head import Head
from taut.mcp.http.legacy import SESSION_ID, Legacy
from taut.mcp.http.reply import Reply
from taut.mcp.http.sessions import IDLE_SWEEPS, Session, SessionOptions, Sessions, TooManySessions
from taut.mcp.inbound import Caller

ADA = Caller(revision="2025-11-25", capabilities=models.ClientCapabilities())


def initialize(version: str = "1") -> bytes:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {
            "roots": {"listChanged": True},
            "sampling": {},
            "elicitation": {"form": {}, "url": {}},
        },
        "clientInfo": {"name": "a client of the usual kind", "title": "A client", "version": version},
    }
    return msgspec.json.encode({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})


def answer_of(legacy: Legacy, body: bytes, session: bytes | None = None) -> Reply:
    head = Head()
    if session is not None:
        head.known[SESSION_ID] = session
    answer = legacy.receive(head, parse(body))
    assert isinstance(answer, Reply)
    return answer


class TestTable:
    def test_ids_are_unguessable_and_visible(self) -> None:
        sessions = Sessions()
        ids = {sessions.open("", ADA).id for _ in range(100)}
        assert len(ids) == 100
        assert all(len(id) == 32 and id.isascii() and id.isprintable() and " " not in id for id in ids)

    def test_a_session_is_its_principal_s(self) -> None:
        sessions = Sessions()
        session = sessions.open("ada", ADA)
        assert sessions.find(session.id, "ada") is session
        assert sessions.find(session.id, "bob") is None
        assert sessions.find(session.id, "") is None

    def test_there_is_no_more_room_than_there_is(self) -> None:
        sessions = Sessions(SessionOptions(max_sessions=2))
        first = sessions.open("", ADA)
        sessions.open("", ADA)
        with pytest.raises(TooManySessions):
            sessions.open("", ADA)
        sessions.end(first, "over")
        sessions.end(first, "twice")
        sessions.open("", ADA)
        assert len(sessions) == 2

    def test_who_is_looked_for_by_a_stranger_does_not_stay_for_it(self) -> None:
        sessions = Sessions()
        ended: list[Session] = []
        sessions.on_end = ended.append
        session = sessions.open("ada", ADA)
        for _ in range(IDLE_SWEEPS):
            sessions.sweep()
        sessions.find(session.id, "bob")
        sessions.sweep()
        assert ended == [session]

    @pytest.mark.parametrize("record", [b"", b"{}", b'["ada"]', b'["ada",1,{}]'])
    def test_a_record_that_cannot_be_read_is_no_session(self, record: bytes) -> None:
        class Other(MemoryEventStore):
            """A store that another version has written."""

            def load_session(self, session: str) -> Resumed | None:
                return Resumed(record, 1, 1)

        sessions = Sessions(SessionOptions(event_store=Other()))
        assert sessions.find("x", "ada") is None
        assert len(sessions) == 0

    @pytest.mark.parametrize("options", [{"idle_s": 0}, {"max_sessions": 0}, {"retry_ms": -1}])
    def test_options_that_make_no_sense_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=next(iter(options))):
            SessionOptions(**options)


class TestMemory:
    @pytest.mark.parametrize("alike", [True, False])
    def test_an_idle_session_is_small(self, alike: bool) -> None:
        profile = server_profile()
        legacy = Legacy(lambda: profile, Sessions(SessionOptions(max_sessions=20_000)))
        count = 10_000

        def opened(numbers: range) -> None:
            for number in numbers:
                reply = answer_of(legacy, initialize("1" if alike else str(number)))
                session = reply.headers[0][1]
                answer_of(legacy, b'{"jsonrpc":"2.0","method":"notifications/initialized"}', session)
                ping = answer_of(legacy, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', session)
                assert ping.status == 200

        opened(range(100))
        gc.collect()
        tracemalloc.start()
        try:
            opened(range(count))
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size / count <= 2048

    def test_what_is_refused_leaves_nothing_behind(self) -> None:
        profile = server_profile()
        sessions = Sessions()
        legacy = Legacy(lambda: profile, sessions)
        for number in range(1000):
            assert (
                answer_of(legacy, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', b"%d" % number).status == 404
            )
            assert answer_of(legacy, b'{"jsonrpc":"2.0","id":1,"method":"initialize"}').status == 200
        assert len(sessions) == 0
