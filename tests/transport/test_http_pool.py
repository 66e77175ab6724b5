"""A pool and servers that behave: what is sent, what is told, which connections are used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.loops import Run
from taut.errors import ConfigError, ConnectionClosed, PoolFull
from taut.transport.http import pool as module
from taut.transport.http.pool import Pool, encode_fields
from transport.scripted_http import OK, Heard, Peer, ask, send, serving


async def echo(peer: Peer) -> None:
    """Answer each request with its own bytes."""
    while True:
        head, body = await peer.request()
        said = b"%d %b%b" % (peer.number, head, body)
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))


async def constant(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.say(OK)


class TestRequests:
    def test_head_and_body_are_sent_as_given(self, run: Run) -> None:
        async def main() -> None:
            async with serving(echo) as url:
                pool = Pool(url)
                heard = await ask(pool, b"/mcp?x=1", b'{"a":1}', headers=[(b"Accept", b"*/*"), (b"X", b"")])
                host = url.removeprefix("http://").encode()
                assert heard.body == (
                    b"0 POST /mcp?x=1 HTTP/1.1\r\nHost: " + host + b"\r\nAccept: */*\r\nX: \r\n"
                    b'Content-Length: 7\r\n\r\n{"a":1}'
                )
                await pool.close()

        run(main())

    def test_headers_may_be_encoded_before(self, run: Run) -> None:
        async def main() -> None:
            async with serving(echo) as url:
                pool = Pool(url)
                lines = encode_fields([(b"Accept", b"text/event-stream")])
                heard = await ask(pool, headers=lines)
                assert b"\r\nAccept: text/event-stream\r\nContent-Length: 2\r\n\r\n{}" in heard.body
                await pool.close()

        run(main())

    def test_get_and_delete_without_body_say_no_length(self, run: Run) -> None:
        async def main() -> None:
            async with serving(echo) as url:
                pool = Pool(url)
                for method in (b"GET", b"DELETE"):
                    heard = await ask(pool, body=b"", method=method)
                    assert heard.body.startswith(b"0 " + method + b" /mcp HTTP/1.1\r\nHost: ")
                    assert b"Content-Length" not in heard.body
                heard = await ask(pool, body=b"")
                assert heard.body.endswith(b"Content-Length: 0\r\n\r\n")
                await pool.close()

        run(main())

    def test_a_large_body_arrives(self, run: Run) -> None:
        async def main() -> None:
            body = bytes(range(256)) * 20_000
            async with serving(echo) as url:
                pool = Pool(url)
                for _ in range(2):
                    heard = await ask(pool, body=body)
                    assert heard.body.endswith(b"\r\n\r\n" + body)
                    assert heard.body.startswith(b"0 ")
                await pool.close()

        run(main())

    @pytest.mark.parametrize(
        ("method", "path", "headers", "what"),
        [
            (b"GET\r\nX: y", b"/", b"", "method"),
            (b"HEAD", b"/", b"", "method"),
            (b"GET", b"/ HTTP/1.1\r\nX: y", b"", "path"),
            (b"GET", b"/a b", b"", "path"),
            (b"GET", b"", b"", "path"),
            (b"GET", b"/", b"X: y", "lines"),
            (b"GET", b"/", b"X: y\r\n\r\n", "lines"),
            (b"GET", b"/", b"X: y\n\r\n", "lines"),
            (b"GET", b"/", b"X : y\r\n", "lines"),
            (b"GET", b"/", b"X: y\x00\r\n", "lines"),
            (b"GET", b"/", b"A: b\r\nhost: y\r\n", "host"),
            (b"GET", b"/", b"Content-Length: 0\r\n", "Content-Length"),
            (b"GET", b"/", b"Transfer-Encoding: chunked\r\n", "Transfer-Encoding"),
            (b"GET", b"/", [(b"Content-Length", b"1")], "Content-Length"),
            (b"GET", b"/", [(b"X", b"y\r\nZ: 1")], "header X"),
            (b"GET", b"/", [(b"X", b"y\nZ")], "header X"),
            (b"GET", b"/", [(b"X\r\nY", b"z")], "header name"),
            (b"GET", b"/", [(b"", b"z")], "header name"),
        ],
    )
    def test_what_would_break_the_request_apart_is_refused(
        self, run: Run, method: bytes, path: bytes, headers: bytes | list[tuple[bytes, bytes]], what: str
    ) -> None:
        async def main() -> None:
            pool = Pool("http://127.0.0.1:1")
            with pytest.raises(ConfigError, match=what):
                pool.send(method, path, headers, b"", Heard())
            await pool.close()

        run(main())


class TestConnections:
    def test_one_connection_serves_requests_that_follow_each_other(self, run: Run) -> None:
        async def main() -> None:
            async with serving(echo) as url:
                pool = Pool(url)
                for _ in range(5):
                    assert (await ask(pool)).body.startswith(b"0 ")
                await pool.close()

        run(main())

    def test_a_request_sent_from_the_end_of_another_uses_its_connection(self, run: Run) -> None:
        async def main() -> None:
            async with serving(echo) as url:
                pool = Pool(url)
                second = Heard()

                class First(Heard):
                    def end(self) -> None:
                        super().end()
                        pool.send(b"POST", b"/2", b"", b"", second)

                pool.send(b"POST", b"/1", b"", b"", First())
                await second.over.wait()
                assert second.body.startswith(b"0 POST /2")
                await pool.close()

        run(main())

    def test_requests_at_once_get_a_connection_each_and_the_last_used_is_used_first(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            numbers.append(peer.number)
            if len(numbers) == 3:
                all_there.set()
            await all_there.wait()
            await peer.say(OK)
            while True:
                await peer.request()
                numbers.append(peer.number)
                await peer.say(OK)

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                together = [send(pool) for _ in range(3)]
                for heard in together:
                    await heard.over.wait()
                assert sorted(numbers) == [0, 1, 2]
                await ask(pool)
                await ask(pool)
                assert numbers[3] == numbers[4]
                await pool.close()

        numbers: list[int] = []
        all_there = asyncio.Event()
        run(main())

    def test_more_than_the_connections_wait_in_order(self, run: Run) -> None:
        async def main() -> None:
            async with serving(echo) as url:
                pool = Pool(url, max_connections=1)
                order: list[int] = []

                class Noting(Heard):
                    def __init__(self, number: int) -> None:
                        super().__init__()
                        self.number = number

                    def end(self) -> None:
                        super().end()
                        order.append(self.number)

                waiting = [Noting(number) for number in range(20)]
                for heard in waiting:
                    pool.send(b"POST", b"/", b"", b"", heard)
                for heard in waiting:
                    await heard.over.wait()
                    assert heard.body.startswith(b"0 ")
                assert order == list(range(20))
                await pool.close()

        run(main())

    def test_too_many_waiting_are_refused(self, run: Run) -> None:
        async def main() -> None:
            async with serving(constant) as url:
                pool = Pool(url, max_connections=1, max_waiting=2)
                heard = [send(pool) for _ in range(4)]
                for one in heard:
                    await one.over.wait()
                assert [type(one.error) for one in heard] == [type(None), type(None), PoolFull, PoolFull]
                error = heard[-1].error
                assert isinstance(error, PoolFull)
                assert not error.sent
                assert url in str(error)
                await pool.close()

        run(main())

    def test_a_unix_socket_will_do(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = str(tmp_path / "s")
            async with serving(echo, uds=path) as url:
                pool = Pool(url, uds=path)
                assert b"\r\nHost: localhost\r\n" in (await ask(pool)).body
                await pool.close()

        run(main())


class TestTheEnd:
    def test_close_ends_what_is_open_and_what_waits(self, run: Run) -> None:
        async def silent(peer: Peer) -> None:
            await peer.rest()

        async def main() -> None:
            async with serving(silent) as url:
                pool = Pool(url, max_connections=2)
                calls = [send(pool) for _ in range(5)]
                await asyncio.sleep(0)
                await pool.close()
                assert all(isinstance(heard.error, ConnectionClosed) for heard in calls)
                late = await ask(pool)
                assert isinstance(late.error, ConnectionClosed)
                assert not late.error.sent

        run(main())

    def test_close_twice_and_at_once_from_any_task(self, run: Run) -> None:
        async def main() -> None:
            async with serving(constant) as url:
                pool = Pool(url)
                await ask(pool)
                await asyncio.gather(pool.close(), pool.close(), asyncio.create_task(pool.close()))
                await pool.close()

        run(main())

    @pytest.mark.parametrize("turns", range(12))
    def test_close_while_it_connects_waits_for_nobody(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, turns: int
    ) -> None:
        monkeypatch.setattr(module, "CLOSE_S", 60.0)

        async def main() -> None:
            async with serving(constant) as url:
                pool = Pool(url)
                heard = send(pool)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await pool.close()
                assert heard.status or isinstance(heard.error, ConnectionClosed)

        run(main())

    def test_close_before_anything_was_sent(self, run: Run) -> None:
        run(Pool("http://127.0.0.1:1").close())
