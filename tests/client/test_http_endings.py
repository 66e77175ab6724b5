"""Every call over HTTP ends, with an error that says why: whatever fails on the way, and whoever gives up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from web import INITIALIZED, Asked, encoded, legacy, modern, text_result, until, web

from faults.loops import Run
from taut import Client
from taut.client import HttpSettings
from taut.errors import (
    AuthorizationRequired,
    ConnectionClosed,
    HttpError,
    LimitExceeded,
    LocalProtocolError,
    RemoteError,
    RequestTimeout,
    TautError,
    UnsupportedProtocolVersion,
)
from taut.mcp.http.resumption import Resumption
from taut.mcp.limits import Limits


async def nothing(asked: Asked) -> None:
    """Leave a request unanswered."""


class TestTheEndOfTheClient:
    def test_a_call_that_waits_for_a_new_session_is_closed_and_not_cancelled(self, run: Run) -> None:
        opened: list[str] = []

        async def script(asked: Asked) -> None:
            if asked.method == "initialize":
                opened.append("s")
                if len(opened) > 1:
                    return
            await legacy(forget)(asked)

        async def forget(asked: Asked) -> None:
            asked.reply(status=404)

        async def main() -> None:
            async with web(script) as there:
                client = Client(there.url, mode="legacy")
                await client.connect()
                calls = [asyncio.ensure_future(client.call_tool("t")) for _ in range(2)]
                await there.heard("initialize", 2)
                await client.close()
                for result in await asyncio.gather(*calls, return_exceptions=True):
                    assert isinstance(result, ConnectionClosed)

        run(main())

    def test_its_error_keeps_nothing_of_those_who_call_in_vain(self, run: Run) -> None:
        async def main() -> None:
            async with web(modern(nothing)) as there:
                client = Client(there.url)
                await client.connect()
                await client.close()
                depths = set()
                for _ in range(3):
                    with pytest.raises(ConnectionClosed) as caught:
                        await client.call_tool("t")
                    depths.add(len(caught.traceback))
                assert len(depths) == 1

        run(main())


class _Broken:
    """Tokens whose source fails from some moment on."""

    def __init__(self, good: int) -> None:
        self.left = good

    async def token(self) -> str | None:
        self.left -= 1
        if self.left < 0:
            raise OSError("the keyring is locked")
        return "t"

    async def challenged(self, error: AuthorizationRequired) -> bool:
        raise OSError("the keyring is locked")


class TestTokensThatFail:
    @pytest.mark.parametrize("good", [0, 1, 2, 3])
    def test_connecting_ends(self, run: Run, good: int) -> None:
        async def main() -> None:
            async with web(legacy(nothing, events=True)) as there:
                client = Client(there.url, mode="legacy", http=HttpSettings(auth=_Broken(good)))
                with contextlib.suppress(OSError):
                    await client.connect()
                await client.close()

        run(main())

    def test_a_subscription_ends(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            asked.stream()

        async def main() -> None:
            tokens = _Broken(1)
            async with (
                web(modern(script)) as there,
                Client(there.url, http=HttpSettings(auth=tokens)) as client,
            ):
                with pytest.raises(TautError, match="keyring"):
                    await client.subscribe(tools=True)

        run(main())

    def test_a_subscription_that_is_refused_ends(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            asked.reply(status=401)

        async def main() -> None:
            tokens = _Broken(9)
            async with (
                web(modern(script)) as there,
                Client(there.url, http=HttpSettings(auth=tokens)) as client,
            ):
                with pytest.raises(TautError):
                    await client.subscribe(tools=True)

        run(main())


class TestNamesThatCannotBeLookedUp:
    def test_a_part_that_is_too_long(self, run: Run) -> None:
        async def main() -> None:
            with pytest.raises(TautError):
                async with Client(f"http://{'a' * 70}.example/mcp", connect_timeout_s=60.0):
                    pass

        run(main())


class TestSubscriptions:
    def test_one_that_cannot_be_opened_again_ends(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Resumption, "delay_s", lambda self, chance: 0.02)
        streams: list[Asked] = []

        async def script(asked: Asked) -> None:
            if asked.method == "subscriptions/listen":
                streams.append(asked)
                asked.stream()
                meta = {"io.modelcontextprotocol/subscriptionId": asked.message["id"]}
                params = {"_meta": meta, "notifications": {}}
                asked.event({"method": "notifications/subscriptions/acknowledged", "params": params})

        async def main() -> None:
            async with (
                web(modern(script)) as there,
                Client(there.url, limits=Limits(max_in_flight=1)) as client,
            ):
                changes = await client.subscribe(tools=True)
                streams[0].drop()
                await until(lambda: not client.connection.peer.open_calls)
                call = asyncio.ensure_future(client.call_tool("t"))  # which takes its place
                with pytest.raises(LimitExceeded):
                    await anext(changes)
                call.cancel()

        run(main())


class TestSessionsAnew:
    def test_initialize_is_sent_again_without_the_session_of_the_first_attempt(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.method == "initialize" and there_[0].methods().count("initialize") == 1:
                asked.stream(mcp_session_id="s-0")
                asked.drop()
                return
            await legacy(nothing)(asked)

        there_: list[Any] = []

        async def main() -> None:
            async with web(script) as there:
                there_.append(there)
                async with Client(there.url, mode="legacy"):
                    second = await there.heard("initialize", 2)
                    assert "mcp-session-id" not in second.headers

        run(main())

    @pytest.mark.parametrize("revision", ["1999-01-01", "2026-07-28", "2025-11-25\r\nx: y"])
    def test_a_server_that_comes_back_with_a_revision_that_is_none_is_refused(
        self, run: Run, revision: str
    ) -> None:
        opened: list[Asked] = []

        async def script(asked: Asked) -> None:
            if asked.method == "initialize":
                opened.append(asked)
                given = INITIALIZED if len(opened) == 1 else INITIALIZED | {"protocolVersion": revision}
                asked.result(given, mcp_session_id=f"s-{len(opened)}")
            else:
                await legacy(forget)(asked)

        async def forget(asked: Asked) -> None:
            if asked.headers["mcp-session-id"] == "s-1":
                asked.reply(status=404)
            else:
                asked.text("ok")

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy") as client:
                with pytest.raises(UnsupportedProtocolVersion):
                    await client.call_tool("t")

        run(main())

    def test_no_call_overtakes_the_word_that_the_session_has_begun(self, run: Run) -> None:
        held: list[Asked] = []

        async def script(asked: Asked) -> None:
            if asked.method == "initialize":
                asked.result(INITIALIZED, mcp_session_id=f"s-{there_[0].methods().count('initialize')}")
            elif asked.method == "notifications/initialized" and asked.headers["mcp-session-id"] == "s-2":
                held.append(asked)
            elif asked.method == "tools/call" and asked.headers["mcp-session-id"] == "s-1":
                asked.reply(status=404)
            else:
                await legacy(answer)(asked)

        async def answer(asked: Asked) -> None:
            asked.text("ok")

        there_: list[Any] = []

        async def main() -> None:
            async with web(script) as there:
                there_.append(there)
                async with Client(there.url, mode="legacy") as client:
                    first = asyncio.ensure_future(client.call_tool("t"))
                    await until(lambda: bool(held))
                    second = asyncio.ensure_future(client.call_tool("t"))
                    for _ in range(50):
                        await asyncio.sleep(0)
                    assert there.methods().count("tools/call") == 1
                    held[0].reply(status=202)
                    assert (await first).text == (await second).text == "ok"

        run(main())


class TestConnectionsThatAreTaken:
    @pytest.mark.parametrize("most", [1, 2])
    def test_the_stream_of_a_session_does_not_take_the_last_one(self, run: Run, most: int) -> None:
        async def script(asked: Asked) -> None:
            if asked.verb == "GET":
                asked.stream()
            else:
                asked.text("ok")

        async def main() -> None:
            settings = HttpSettings(max_connections=most)
            async with (
                web(legacy(script, events=True)) as there,
                Client(there.url, mode="legacy", http=settings, timeout_s=5.0) as client,
            ):
                await there.heard("GET")
                assert (await client.call_tool("t")).text == "ok"

        run(main())

    def test_an_answer_that_came_another_way_leaves_no_call_behind(self, run: Run) -> None:
        streams: list[Asked] = []

        async def script(asked: Asked) -> None:
            if asked.verb == "GET":
                asked.stream()
                streams.append(asked)
            else:
                streams[0].event({"id": asked.message["id"], "result": text_result("ok")})

        async def main() -> None:
            async with (
                web(legacy(script, events=True)) as there,
                Client(there.url, mode="legacy", timeout_s=5.0) as client,
            ):
                await there.heard("GET")
                assert (await client.call_tool("t")).text == "ok"
                await asyncio.wait_for(there.left(), 5.0)

        run(main())

    def test_a_message_that_is_taken_with_an_endless_stream_gives_its_connection_back(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.method == "notifications/roots/list_changed":
                asked.stream()
            else:
                await legacy(nothing)(asked)

        async def main() -> None:
            async with (
                web(script) as there,
                Client(there.url, mode="legacy", roots=["file:///x"]) as client,
            ):
                client.roots_changed()
                await asyncio.wait_for(there.left(), 5.0)

        run(main())


class TestTexts:
    def test_what_cannot_be_encoded_is_refused_and_not_remembered(self, run: Run) -> None:
        async def main() -> None:
            async with web(modern(nothing)) as there, Client(there.url) as client:
                with pytest.raises(LocalProtocolError):
                    await client.call_tool("\ud800", {"a": 1})
                with pytest.raises(LocalProtocolError):
                    await client.read_resource("mem://\ud800")
                assert client.connection.peer.open_calls == 0

        run(main())

    def test_settings_do_not_show_secrets(self) -> None:
        settings = HttpSettings(headers={"Authorization": "Bearer s3cret"}, proxy="http://u:s3cret@proxy")
        assert "s3cret" not in repr(settings)
        assert "Authorization" in repr(settings)

    def test_errors_do_not_show_the_query_of_a_url(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.method == "tools/call":
                asked.drop()
            else:
                asked.reply(b"", status=301, location="/mcp/?key=s3cret")

        async def main() -> None:
            async with web(modern(script)) as there, Client(f"{there.url}?key=s3cret") as client:
                with pytest.raises(TautError) as dropped:
                    await client.call_tool("t")
                with pytest.raises(TautError) as moved:
                    await client.list_tools()
                for caught in (dropped, moved):
                    assert "/mcp" in str(caught.value)
                    assert "s3cret" not in str(caught.value)

        run(main())


class TestStreams:
    def test_an_error_without_an_id_is_about_the_request(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            asked.stream()
            asked.event({"id": None, "error": {"code": -32600, "message": "no"}})

        async def main() -> None:
            async with web(modern(script)) as there, Client(there.url, timeout_s=5.0) as client:
                with pytest.raises(RemoteError, match="no"):
                    await client.call_tool("t")

        run(main())

    def test_an_event_over_the_limit_behind_a_smaller_one_is_noticed_at_once(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            asked.stream()
            params = {"progressToken": 9, "progress": 1}
            small = encoded(method="notifications/progress", params=params)
            asked.chunk(b"data: %b\n\ndata: %b\n\n" % (small, b"x" * 20_000))

        async def main() -> None:
            async with (
                web(modern(script)) as there,
                Client(there.url, limits=Limits(max_message_bytes=10_000), timeout_s=5.0) as client,
            ):
                with pytest.raises(LimitExceeded):
                    await client.call_tool("t")

        run(main())


class TestRefusals:
    def test_an_endless_one_ends_the_call_with_its_status(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            asked.raw(b"HTTP/1.1 500 X\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n")
            asked.chunk(b"x" * 100_000)

        async def main() -> None:
            async with web(modern(script)) as there, Client(there.url, timeout_s=5.0) as client:
                with pytest.raises(HttpError, match="500"):
                    await client.call_tool("t")

        run(main())


class TestTime:
    def test_the_whole_wait_is_bounded_also_while_a_token_is_sought(self, run: Run) -> None:
        class Slow:
            async def token(self) -> str | None:
                return None

            async def challenged(self, error: AuthorizationRequired) -> bool:
                await asyncio.Event().wait()
                return True

        async def script(asked: Asked) -> None:
            asked.reply(status=401)

        async def main() -> None:
            async with (
                web(modern(script)) as there,
                Client(there.url, http=HttpSettings(auth=Slow())) as client,
            ):
                with pytest.raises(RequestTimeout):
                    await client.call_tool("t", total_timeout_s=0.05)

        run(main())
