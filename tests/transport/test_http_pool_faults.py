"""A pool and servers that misbehave: every call ends with an error of its own kind, and no other call suffers."""

from __future__ import annotations

import asyncio
import socket
from math import inf
from typing import Any

import pytest

from faults.loops import Run
from taut.errors import (
    AnswerHeadTooLarge,
    AnswerTimeout,
    AnswerTruncated,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    HostNotFound,
    InvalidAnswer,
    TransportError,
)
from taut.transport.http import connector
from taut.transport.http.pool import Pool, is_quiet
from transport.scripted_http import OK, Heard, Peer, ask, send, serving, until

HEAD = b"HTTP/1.1 200 OK\r\n"


def answering(*answers: bytes, end: str = "rest") -> Any:
    """A script: one answer to each request, then the end."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.say(answer)
        if end == "rest":
            await peer.rest()
        elif end == "reset":
            peer.reset()

    return script


async def outcome(script: Any, **options: Any) -> Heard:
    """What comes of one request to ``script``."""
    async with serving(script) as url:
        pool = Pool(url, **options)
        heard = await ask(pool)
        await pool.close()
    return heard


class TestNoConnection:
    def test_nobody_listens(self, run: Run) -> None:
        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            pool = Pool(f"http://127.0.0.1:{port}")
            calls = [send(pool) for _ in range(10)]
            for heard in calls:
                await heard.over.wait()
                assert type(heard.error) is ConnectError
                assert not heard.error.sent
                assert f"http://127.0.0.1:{port}" in str(heard.error)
            await pool.close()

        run(main())

    def test_an_unknown_host(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> None:
            async def unknown(*args: Any, **options: Any) -> Any:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

            # A resolver may be anything; the loop's is asked, whatever it is.
            monkeypatch.setattr(connector, "resolve", unknown)
            pool = Pool("http://nowhere.invalid")
            heard = await ask(pool)
            assert isinstance(heard.error, HostNotFound)
            assert "nowhere.invalid" in str(heard.error)
            await pool.close()

        run(main())

    def test_a_host_that_does_not_answer(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> None:
            async def never(*args: Any) -> Any:
                await asyncio.Event().wait()

            monkeypatch.setattr(connector, "connect_socket", never)
            pool = Pool("http://127.0.0.1:9", connect_timeout_s=0.01)
            heard = await ask(pool)
            assert isinstance(heard.error, ConnectTimeout)
            assert "0.01 s" in str(heard.error)
            await pool.close()

        run(main())

    def test_an_abort_while_it_connects(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> None:
            async def never(*args: Any) -> Any:
                await asyncio.Event().wait()

            monkeypatch.setattr(connector, "connect_socket", never)
            pool = Pool("http://127.0.0.1:9")
            heard = send(pool)
            assert heard.call is not None
            heard.call.abort()
            heard.call.abort()
            await pool.close()
            assert heard.events == []

        run(main())

    def test_the_first_address_is_dead_and_the_second_answers(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with serving(answering(OK)) as url:
                port = int(url.rpartition(":")[2])
                with socket.create_server(("127.0.0.1", 0)) as free:
                    dead = free.getsockname()[1]

                async def two(*args: Any, **options: Any) -> Any:
                    kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
                    return [(*kind, ("127.0.0.1", dead)), (*kind, ("127.0.0.1", port))]

                monkeypatch.setattr(connector, "resolve", two)
                pool = Pool("http://two.example")
                assert (await ask(pool)).status == 200
                await pool.close()

        run(main())

    def test_a_silent_address_gets_company(self, run: Run) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            cancelled = asyncio.Event()

            async def silent() -> socket.socket:
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
                raise AssertionError

            async def answers() -> socket.socket:
                return ours

            with theirs:
                with await connector.first_of([silent(), answers()], 0.0) as winner:
                    assert winner is ours
                assert cancelled.is_set()

        run(main())

    def test_all_addresses_fail_with_the_first_ones_error(self, run: Run) -> None:
        async def main() -> None:
            async def fails(text: str) -> socket.socket:
                raise OSError(text)

            with pytest.raises(OSError, match="one"):
                await connector.first_of([fails("one"), fails("two")], 1.0)

        run(main())


class TestNoAnswer:
    def test_the_end_without_a_byte(self, run: Run) -> None:
        async def main() -> None:
            for end in ("close", "reset"):
                heard = await outcome(answering(b"", end=end))
                assert type(heard.error) is ConnectionClosed
                assert heard.error.sent
                assert "POST /mcp" in str(heard.error)

        run(main())

    def test_silence(self, run: Run) -> None:
        async def main() -> None:
            async with serving(answering(OK, b"")) as url:
                pool = Pool(url)
                await ask(pool)
                heard = await ask(pool, timeout_s=0.01)
                assert isinstance(heard.error, AnswerTimeout)
                assert heard.error.sent
                assert "POST /mcp within 0.01 s" in str(heard.error)
                await pool.close()

        run(main())

    def test_silence_in_the_middle(self, run: Run) -> None:
        async def main() -> None:
            async with serving(answering(HEAD + b"Content-Length: 5\r\n\r\nhe")) as url:
                pool = Pool(url)
                heard = send(pool)
                await until(lambda: heard.body == b"he")
                assert heard.call is not None
                heard.call.extend(0.01)
                await heard.over.wait()
                assert isinstance(heard.error, AnswerTimeout)
                assert "next part" in str(heard.error)
                assert heard.body == b"he"
                await pool.close()

        run(main())

    def test_no_connection_is_free_in_time(self, run: Run) -> None:
        async def main() -> None:
            async with serving(answering(b"")) as url:
                pool = Pool(url, max_connections=1)
                first = send(pool)
                second = await ask(pool, timeout_s=0.01)
                assert isinstance(second.error, AnswerTimeout)
                assert not second.error.sent
                assert not first.over.is_set()
                await pool.close()

        run(main())

    def test_time_does_not_count_while_paused_and_can_be_extended(self, run: Run) -> None:
        async def main() -> None:
            async with serving(answering(b"")) as url:
                pool = Pool(url)
                paused, extended, plain = (send(pool, timeout_s=0.01) for _ in range(3))
                assert paused.call is not None
                assert extended.call is not None
                paused.call.pause()
                extended.call.extend(None)
                await plain.over.wait()
                assert not paused.over.is_set()
                assert not extended.over.is_set()
                paused.call.resume()
                extended.call.extend(0.01)
                await paused.over.wait()
                await extended.over.wait()
                assert isinstance(paused.error, AnswerTimeout)
                await pool.close()

        run(main())


class TestBrokenAnswers:
    @pytest.mark.parametrize("end", ["close", "reset"])
    @pytest.mark.parametrize(
        "answer",
        [
            b"H",
            HEAD,
            HEAD + b"Content-Length: 5\r\n\r\n",
            HEAD + b"Content-Length: 5\r\n\r\nhell",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        ],
    )
    def test_an_answer_that_breaks_off(self, run: Run, answer: bytes, end: str) -> None:
        async def main() -> None:
            heard = await outcome(answering(answer, end=end))
            if end == "reset" and type(heard.error) is ConnectionClosed:
                return  # a reset may overtake what was said before
            assert isinstance(heard.error, AnswerTruncated)
            assert heard.error.sent
            assert heard.events[-1] == "failed"

        run(main())

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x15\x03\x01\x00\x02\x02\x16",
            b"HTTP/1.1 99 Low\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            HEAD + b"Content-Length: -1\r\n\r\n",
            HEAD + b"Content-Length: 1x\r\n\r\na",
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            HEAD + b"A: b\r\n c\r\n\r\n",
            HEAD + b"A: \x00\r\n\r\n",
            HEAD + b"A b: c\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ],
    )
    def test_garbage(self, run: Run, answer: bytes) -> None:
        async def main() -> None:
            heard = await outcome(answering(answer))
            assert type(heard.error) is InvalidAnswer
            assert heard.error.sent
            assert "http://127.0.0.1" in str(heard.error)

        run(main())

    @pytest.mark.parametrize(
        "head",
        [
            b"A: " + b"a" * 5000,
            b"a" * 5000,
            b"\r\n".join(b"A%d: b" % number for number in range(200)),
            b"A: b\r\n" * 200,
            b"A: " + b"a" * 1_000_000,
            b"a" * 1_000_000,
        ],
    )
    def test_headers_without_measure(self, run: Run, head: bytes) -> None:
        async def main() -> None:
            answer = HEAD + head + b": x\r\nContent-Length: 0\r\n\r\n"
            heard = await outcome(answering(answer), max_head_bytes=4096, max_headers=64)
            assert type(heard.error) is AnswerHeadTooLarge

        run(main())

    @pytest.mark.parametrize(
        "trailer", [b"A: b\r\n" * 200, b"a" * 1_000_000 + b": b\r\n", b"A: " + b"b" * 1_000_000 + b"\r\n"]
    )
    def test_trailers_without_measure(self, run: Run, trailer: bytes) -> None:
        async def main() -> None:
            answer = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + trailer + b"\r\n"
            heard = await outcome(answering(answer), max_head_bytes=4096, max_headers=64)
            assert type(heard.error) is AnswerHeadTooLarge

        run(main())

    def test_interim_answers_without_end(self, run: Run) -> None:
        async def main() -> None:
            heard = await outcome(answering(b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000))
            assert type(heard.error) is AnswerHeadTooLarge

        run(main())

    def test_a_receiver_that_fails_ends_only_its_own_call(self, run: Run) -> None:
        async def main() -> None:
            reported: list[BaseException] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))

            class Failing(Heard):
                def __init__(self, where: str) -> None:
                    super().__init__()
                    self.where = where

                def head(self, *args: Any) -> None:
                    super().head(*args)
                    self.fail("head")

                def data(self, chunk: bytes) -> None:
                    super().data(chunk)
                    self.fail("data")

                def end(self) -> None:
                    super().end()
                    self.fail("end")

                def fail(self, where: str) -> None:
                    if where == self.where:
                        raise ZeroDivisionError(where)

            async with serving(answering(OK, OK)) as url:
                pool = Pool(url)
                for where in ("head", "data", "end"):
                    heard = Failing(where)
                    pool.send(b"POST", b"/", b"", b"", heard)
                    await heard.over.wait()
                    assert type(heard.error) is (type(None) if where == "end" else TransportError)
                assert (await ask(pool)).body == b"ok"
                await pool.close()
            assert [str(error) for error in reported] == ["head", "data", "end"]

        run(main())


class TestReuse:
    @pytest.mark.parametrize(
        "surplus", [b"x", b"HTTP/1.1 2", OK, OK + b"x", b"HTTP/1.1 100 Continue\r\n\r\n"]
    )
    def test_what_follows_an_answer_is_not_taken_for_the_next(self, run: Run, surplus: bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            if peer.number == 0:
                await peer.say(HEAD + b"Content-Length: 1\r\n\r\n1" + surplus)
                assert await peer.rest() == b""
            else:
                await peer.say(OK)

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                assert (await ask(pool)).body == b"1"
                assert (await ask(pool)).body == b"ok"
                await pool.close()

        run(main())

    def test_bytes_on_an_idle_connection_close_it(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(OK)
            if peer.number == 0:
                await told.wait()
                await peer.say(OK)
                assert await peer.rest() == b""
                closed.set()

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                await ask(pool)
                told.set()
                await closed.wait()
                heard = await ask(pool)
                assert heard.body == b"ok"
                await pool.close()

        told, closed = asyncio.Event(), asyncio.Event()
        run(main())

    def test_a_connection_that_was_closed_meanwhile_is_not_used(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(OK)

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                for _ in range(5):
                    assert (await ask(pool)).body == b"ok"
                    # The end is told by the loop, or found by looking before a connection is used that has rested.
                    for connection in pool._idle:
                        await until(lambda found=connection: not is_quiet(found))  # type: ignore[misc]
                        connection.idle_since -= 1.0
                await pool.close()

        run(main())

    def test_an_answer_that_says_close_ends_the_connection(self, run: Run) -> None:
        async def main() -> None:
            for head in (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"):
                for extra in (b"", b"Keep-Alive: timeout=9\r\n"):
                    answer = head + extra + b"Content-Length: 2\r\n\r\nok"

                    async def script(peer: Peer, answer: bytes = answer) -> None:
                        await peer.request()
                        await peer.say(answer)
                        assert await peer.rest() == b""

                    async with serving(script) as url:
                        pool = Pool(url)
                        for _ in range(2):
                            assert (await ask(pool)).body == b"ok"
                        await pool.close()

        run(main())

    @pytest.mark.parametrize(
        ("timeout", "expected"), [(b"5", 4.0), (b"900", 30.0), (b"x", 30.0), (b"", 30.0)]
    )
    def test_a_keep_alive_header_shortens_the_rest(self, run: Run, timeout: bytes, expected: float) -> None:
        async def main() -> None:
            answer = HEAD + b"Keep-Alive: max=7, timeout=" + timeout + b"\r\nContent-Length: 0\r\n\r\n"
            async with serving(answering(answer)) as url:
                pool = Pool(url)
                await ask(pool)
                assert [connection.idle_limit_s for connection in pool._idle] == [expected]
                await pool.close()

        run(main())

    def test_an_idle_connection_is_closed_after_its_time(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(OK)
            assert await peer.rest() == b""
            closed.set()

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url, idle_s=0.01)
                await ask(pool)
                await closed.wait()
                await pool.close()

        closed = asyncio.Event()
        run(main())

    def test_an_early_answer_is_heard_and_the_connection_not_used_again(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
            if peer.number == 0:
                await heard_of_it.wait()
            # then it closes, with most of the body unread

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                heard = await ask(pool, body=b"x" * 30_000_000)
                assert (heard.status, heard.body, heard.error) == (413, b"large", None)
                heard_of_it.set()
                assert not pool._open
                await pool.close()

        heard_of_it = asyncio.Event()
        run(main())

    def test_what_was_not_written_to_its_end_is_sent_again_once(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            if peer.number == 0:
                await peer.request()
                await peer.say(OK)
                await peer.reader.readuntil(b"\r\n\r\n")
                peer.reset()
            else:
                bodies.append(len((await peer.request())[1]))
                await peer.say(OK)

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                await ask(pool)
                heard = await ask(pool, body=b"x" * 30_000_000)
                assert heard.body == b"ok"
                assert bodies == [30_000_000]
                await pool.close()

        bodies: list[int] = []
        run(main())

    def test_what_was_not_written_on_a_new_connection_fails_as_not_sent(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            peer.reset()

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                heard = await ask(pool, body=b"x" * 30_000_000)
                assert isinstance(heard.error, ConnectionClosed)
                assert not heard.error.sent
                await pool.close()

        run(main())

    def test_what_was_written_is_not_sent_again(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            count.append(1)
            await peer.request()
            await peer.say(OK)
            await peer.request()
            peer.reset()

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                await ask(pool)
                heard = await ask(pool)
                assert isinstance(heard.error, ConnectionClosed)
                assert heard.error.sent
                assert len(count) == 1
                await pool.close()

        count: list[int] = []
        run(main())


class TestAbort:
    def test_an_abort_closes_the_connection_and_silences_it(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(HEAD + b"Content-Length: 5\r\n\r\nhe")
            assert await peer.rest() == b""
            closed.set()

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                heard = send(pool)
                await heard.begun.wait()
                assert heard.call is not None
                heard.call.abort()
                await closed.wait()
                heard.call.abort()
                heard.call.pause()
                heard.call.resume()
                await pool.close()
                assert heard.events == ["head"]

        closed = asyncio.Event()
        run(main())

    @pytest.mark.parametrize("where", ["head", "data"])
    def test_an_abort_from_within_a_callback(self, run: Run, where: str) -> None:
        async def main() -> None:
            class Aborting(Heard):
                def head(self, *args: Any) -> None:
                    super().head(*args)
                    if where == "head":
                        self.abort()

                def data(self, chunk: bytes) -> None:
                    super().data(chunk)
                    self.abort()

                def abort(self) -> None:
                    assert self.call is not None
                    self.call.abort()
                    done.set()

            chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
            async with serving(answering(chunked)) as url:
                pool = Pool(url)
                heard = Aborting()
                heard.call = pool.send(b"POST", b"/", b"", b"", heard)
                await done.wait()
                await pool.close()
                assert heard.events == ["head"]
                assert heard.chunks == ([] if where == "head" else [b"a"])

        done = asyncio.Event()
        run(main())

    def test_an_aborted_call_makes_room_for_one_that_waits(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            if peer.number:
                await peer.say(OK)
            else:
                got.set()
            await peer.rest()

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url, max_connections=1)
                first, second = send(pool), send(pool)
                await got.wait()
                assert first.call is not None
                first.call.abort()
                await second.over.wait()
                assert second.body == b"ok"
                await pool.close()

        got = asyncio.Event()
        run(main())


class TestBackPressure:
    def test_a_paused_answer_is_not_read(self, run: Run) -> None:
        size = 50_000_000

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
            await peer.writer.drain()
            written.set()
            await peer.rest()

        async def main() -> None:
            class Pausing(Heard):
                def data(self, chunk: bytes) -> None:
                    super().data(chunk)
                    assert self.call is not None
                    self.call.pause()

            async with serving(script) as url:
                pool = Pool(url)
                heard = Pausing()
                heard.call = pool.send(b"POST", b"/", b"", b"", heard)
                await heard.begun.wait()
                for _ in range(100):
                    await asyncio.sleep(0)
                assert len(heard.body) < size // 2
                assert not written.is_set()
                while not heard.over.is_set():
                    heard.call.resume()
                    await asyncio.sleep(0)
                assert len(heard.body) == size
                assert heard.call.deadline == inf
                await pool.close()

        written = asyncio.Event()
        run(main())

    def test_paused_before_there_is_a_connection(self, run: Run) -> None:
        async def main() -> None:
            async with serving(answering(OK)) as url:
                pool = Pool(url)
                heard = send(pool)
                assert heard.call is not None
                heard.call.pause()
                await until(lambda: bool(pool._open))
                for _ in range(20):
                    await asyncio.sleep(0)
                assert heard.events == []
                heard.call.resume()
                await heard.over.wait()
                assert heard.body == b"ok"
                await pool.close()

        run(main())
