"""GET streams, clients that come back for the rest of a stream, and servers that were restarted meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from faults.loops import Run
from taut import Context, Server, SessionOptions
from taut.server import EventStore, MemoryEventStore, SQLiteEventStore
from transport.asgi import Exchange
from transport.legacy import LegacyClient, error_of, text_of
from transport.test_http_legacy import Gate

KINDS = ("memory", "sqlite")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EventStore:
    return MemoryEventStore() if request.param == "memory" else SQLiteEventStore(tmp_path / "events.db")


def kept(store: EventStore | None, **options: Any) -> dict[str, Any]:
    return {"sessions": SessionOptions(event_store=store, **options)}


async def primed(exchange: Exchange) -> str:
    """Return the id of the event without data that begins a stream."""
    event = await exchange.event()
    assert (event.data, event.retry) == (b"", 500)
    assert event.id is not None
    return event.id


class Changing:
    """A server whose list of tools and whose resource change."""

    def __init__(self) -> None:
        self.app = Server("s")
        self._tools = 0

        @self.app.resource("x://y")
        def y() -> str:
            return "y"

    def change(self) -> None:
        self._tools += 1

        def tool() -> None:
            """Do nothing."""

        self.app.tool(name=f"t{self._tools}")(tool)


class TestListening:
    def test_what_belongs_to_no_request_goes_to_the_get_stream(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            server = Changing()
            asgi = server.app.asgi(**kept(store))
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            await client.open()
            await other.open()
            listener = client.get()
            await primed(listener)
            assert (await client.post("resources/subscribe", {"uri": "x://y"}).json())["result"] == {}
            server.app.resource_updated("x://y")
            server.change()
            updated, changed = await listener.events(2)
            assert updated["params"] == {"uri": "x://y"}
            assert changed["method"] == "notifications/tools/list_changed"
            waiting = other.get()
            await primed(waiting)
            (heard,) = await waiting.events(1)
            assert heard["method"] == "notifications/tools/list_changed"
            for exchange in (listener, waiting):
                exchange.disconnect()
                await exchange.task

        run(main())

    def test_what_is_said_while_nobody_listens_waits(self, run: Run) -> None:
        async def main() -> None:
            server = Changing()
            client = LegacyClient(server.app.asgi())
            await client.open()
            await client.post("resources/subscribe", {"uri": "x://y"}).json()
            for _ in range(3):
                server.change()
                server.app.resource_updated("x://y")
                await asyncio.sleep(0)
            listener = client.get()
            await primed(listener)
            messages = await listener.events(2)  # each once, however often it was said
            assert [one["method"].rpartition("/")[2] for one in messages] == ["updated", "list_changed"]
            await client.status(client.delete())
            assert await listener.rest() == []

        run(main())

    def test_a_second_listener_is_refused_while_the_first_is_there(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(Changing().app.asgi())
            await client.open()
            first = client.get()
            last = await primed(first)
            refused = client.get()
            await client.status(refused)
            assert error_of(refused)[0] == 409
            # Who knows what came last, has lost that connection.
            second = client.get(last)
            assert await first.rest() == []
            second.disconnect()
            await second.task
            third = client.get()
            await primed(third)
            third.disconnect()
            await third.task

        run(main())

    def test_a_listener_goes_on_where_it_was(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            server = Changing()
            client = LegacyClient(server.app.asgi(**kept(store)))
            await client.open()
            await client.post("resources/subscribe", {"uri": "x://y"}).json()
            listener = client.get()
            await primed(listener)
            server.app.resource_updated("x://y")
            await listener.events(1)
            seen = listener.last_event_id
            server.change()
            await listener.events(1)
            listener.disconnect()
            await listener.task
            server.app.resource_updated("x://y")
            again = client.get(seen)
            messages = await again.events(2)
            assert [one["method"].rpartition("/")[2] for one in messages] == ["list_changed", "updated"]
            again.disconnect()
            await again.task

        run(main())

    @pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
    def test_older_clients_get_no_event_without_data(self, run: Run, revision: str) -> None:
        async def main() -> None:
            server = Changing()
            client = LegacyClient(server.app.asgi(), revision=revision)
            await client.open()
            listener = client.get()
            assert (await listener.comment()).startswith(b":")
            server.change()
            await listener.events(1)
            assert listener.last_event_id == "0-1"
            listener.disconnect()
            await listener.task

        run(main())

    def test_get_wants_events(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(Changing().app.asgi())
            await client.open()
            assert await client.status(client.get(accept="application/json")) == 406

        run(main())

    def test_roots_can_be_asked_for_when_they_have_changed(self, run: Run) -> None:
        async def main() -> None:
            server = Changing()
            found: asyncio.Queue[Any] = asyncio.Queue()

            async def changed(connection: Any) -> None:
                found.put_nowait(await connection.ask("roots/list", {}))

            server.app.on_roots_changed = changed
            client = LegacyClient(server.app.asgi())
            await client.open(roots={"listChanged": True})
            listener = client.get()
            await primed(listener)
            await client.accepted({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
            (question,) = await listener.events(1)
            assert question["method"] == "roots/list"
            await client.answer(question["id"], {"roots": [{"uri": "file:///x"}]})
            assert (await found.get()).roots[0].uri == "file:///x"
            listener.disconnect()
            await listener.task

        run(main())


class Strict(MemoryEventStore):
    """A store that is told nothing of sessions that have ended."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.ended: set[str] = set()
        self.late: list[str] = []

    def end_session(self, session: str) -> None:
        self.ended.add(session)
        super().end_session(session)

    def open_stream(self, session: str, stream: int, requests: bytes) -> None:
        self.late += self.ended & {session}
        super().open_stream(session, stream, requests)

    def close_stream(self, session: str, stream: int, last: int) -> None:
        self.late += self.ended & {session}
        super().close_stream(session, stream, last)


def test_nothing_is_kept_of_a_session_that_has_ended(run: Run) -> None:
    async def main() -> None:
        gate, store = Gate(), Strict()
        client = LegacyClient(gate.app.asgi(**kept(store)))
        await client.open()
        exchange = client.call("wait")
        await gate.began.wait()
        await client.status(client.delete())
        assert await exchange.rest() == []
        assert store.ended == {client.session}
        assert store.late == []

    run(main())


class TestResuming:
    def test_a_client_that_is_gone_comes_back_for_the_rest(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi(**kept(store)))
            await client.open()
            exchange = client.call("report", token="t")
            (first,) = await exchange.events(1)
            assert first["params"]["progress"] == 1
            exchange.disconnect()
            await exchange.task
            gate.go.set()
            again = client.get(exchange.last_event_id)
            second, third, answer = await again.rest()
            assert [second["params"]["progress"], third["params"]["progress"]] == [2, 3]
            assert text_of(answer) == "reported"
            # And once more, from the beginning, after it has ended.
            everything = await client.get("1-0").rest()
            assert everything == [first, second, third, answer]

        run(main())

    def test_a_stream_can_be_closed_by_the_server_and_polled(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi(**kept(store)))
            await client.open()
            exchange = client.call("hang_up", token="t")
            last = await primed(exchange)
            assert await exchange.rest() == []
            assert gate.closed == [True]
            again = client.get(last)
            await again.comment()
            gate.go.set()
            report, answer = await again.rest()
            assert report["method"] == "notifications/progress"
            assert text_of(answer) == "came back"

        run(main())

    def test_only_clients_that_come_back_are_sent_away(self, run: Run) -> None:
        async def main() -> None:
            for revision, options in (("2025-06-18", {}), ("2025-11-25", kept(None))):
                gate = Gate()
                client = LegacyClient(gate.app.asgi(**options), revision=revision)
                await client.open()
                exchange = client.call("hang_up")
                await gate.began.wait()
                assert gate.closed == [False]
                gate.go.set()
                assert text_of(await exchange.json()) == "came back"

        run(main())

    def test_the_last_to_come_back_is_the_one_who_listens(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi(**kept(store)))
            await client.open()
            exchange = client.call("report", token="t")
            await exchange.events(1)
            second = client.get(exchange.last_event_id)
            await second.comment()
            assert await exchange.rest() == []
            third = client.get(exchange.last_event_id)
            await third.comment()
            assert await second.rest() == []
            gate.go.set()
            assert len(await third.rest()) == 3

        run(main())

    @pytest.mark.parametrize("cursor", ["1-9", "2-0", "7-1", "nonsense", "1-01", "-1-1", "", "0-1", "1-1-1"])
    def test_an_unknown_event_is_not_taken_for_the_end_of_a_stream(
        self, run: Run, store: EventStore, cursor: str
    ) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            client = LegacyClient(gate.app.asgi(**kept(store)))
            await client.open()
            assert len(await client.call("report", token="t").rest()) == 4
            exchange = client.get(cursor)
            await client.status(exchange)
            assert error_of(exchange)[0] == 400

        run(main())

    def test_the_end_of_a_stream_is_told_from_silence(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            client = LegacyClient(gate.app.asgi(**kept(store)))
            await client.open()
            exchange = client.call("report", token="t")
            await exchange.rest()
            again = client.get(exchange.last_event_id)
            await client.status(again)
            assert again.status == 400
            assert b"has ended" in again.body

        run(main())

    def test_a_stream_that_was_forgotten_is_not_taken_for_an_interrupted_one(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            client = LegacyClient(gate.app.asgi(**kept(MemoryEventStore(max_events=4))))
            await client.open()
            for _ in range(2):
                await client.call("report", token="t").rest()
            again = client.get("1-1")
            await client.status(again)
            assert again.status == 400
            assert b"is not kept" in again.body

        run(main())

    def test_events_of_another_session_cannot_be_read(self, run: Run, store: EventStore) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            asgi = gate.app.asgi(**kept(store))
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            await client.open()
            await other.open()
            await client.call("report", token="secret").rest()
            exchange = other.get("1-0")
            await other.status(exchange)
            assert exchange.status == 400
            assert b"secret" not in exchange.body

        run(main())

    def test_without_a_store_nothing_can_be_resumed(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            client = LegacyClient(gate.app.asgi(**kept(None)))
            await client.open()
            exchange = client.call("report", token="t")
            assert len(await exchange.rest()) == 4
            assert exchange.last_event_id in (None, "")
            assert await client.status(client.get("1-0")) == 400

        run(main())

    def test_events_that_were_given_up_are_not_passed_over(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            client = LegacyClient(gate.app.asgi(**kept(MemoryEventStore(max_events=2))))
            await client.open()
            await client.call("report", token="t").rest()
            exchange = client.get("1-0")
            await client.status(exchange)
            assert exchange.status == 400
            assert b"not kept" in exchange.body

        run(main())


class TestRestart:
    def test_a_session_goes_on_in_the_next_process(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "events.db"

        async def main() -> None:
            gate = Gate()
            before = gate.app.asgi(**kept(SQLiteEventStore(path)))
            client = LegacyClient(before)
            await before.start()
            await client.open(sampling={})
            await client.post("logging/setLevel", {"level": "error"}).json()
            answered, interrupted = (
                client.call("report", token="a"),
                client.call("report", token="b", id="left"),
            )
            await answered.events(1)
            (first,) = await interrupted.events(1)
            assert first["params"]["progress"] == 1
            other = client.get()
            await primed(other)
            other.disconnect()
            await other.task
            for exchange in (answered, interrupted):
                exchange.disconnect()
                await exchange.task
            await before.end()

            client.app = after = Gate().app.asgi(**kept(SQLiteEventStore(path)))
            await after.start()
            again = client.get(interrupted.last_event_id)
            (answer,) = await again.rest()
            assert answer["id"] == "left"
            assert answer["error"]["code"] == -32603
            assert "restarted" in answer["error"]["message"]
            # It is said once: who heard it, has it.
            over = client.get(again.last_event_id)
            assert await client.status(over) == 400
            assert await client.get(interrupted.last_event_id).rest() == [answer]
            assert (await client.post("ping").json())["result"] == {}
            stranger = LegacyClient(after)
            stranger.session = "x" * 32
            assert await stranger.status(stranger.post("ping")) == 404
            await client.status(client.delete())
            await after.end()

            client.app = last = Gate().app.asgi(**kept(SQLiteEventStore(path)))
            await last.start()
            assert await client.status(client.post("ping")) == 404
            await last.end()

        run(main())

    def test_the_id_of_a_session_is_not_in_the_file(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "events.db"

        async def main() -> str:
            asgi = Gate().app.asgi(**kept(SQLiteEventStore(path)))
            client = LegacyClient(asgi)
            await asgi.start()
            await client.open()
            await asgi.end()
            return str(client.session)

        session = run(main())
        written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"tester" in written
        assert session.encode() not in written
        assert path.stat().st_mode & 0o077 == 0

    def test_a_full_disk_loses_what_is_kept_and_no_call(
        self, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = Server("s")

        @app.tool
        async def much(ctx: Context) -> str:
            for number in range(8):
                await ctx.log("error", "x" * 20_000 + str(number))
            return "said"

        async def main() -> None:
            store = SQLiteEventStore(tmp_path / "events.db", max_file_bytes=100_000)
            client = LegacyClient(app.asgi(**kept(store)))
            await client.open()
            exchange = client.call("much")
            *logs, answer = await exchange.rest()
            assert [message["params"]["data"][20_000:] for message in logs] == [
                str(number) for number in range(8)
            ]
            assert text_of(answer) == "said"
            again = client.get("1-0")
            await client.status(again)
            assert again.status == 400
            assert b"could not be kept" in again.body
            # Why is said where no client sees it.
            assert b"full" not in again.body
            assert "full" in caplog.text
            assert (await client.post("ping").json())["result"] == {}
            await store.close()

        run(main())
