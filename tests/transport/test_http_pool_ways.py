"""The ways to a server: TLS, proxies, tunnels through them, redirects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from faults.loops import Run
from taut.errors import ConnectError, ProxyError, RedirectRefused, TlsError
from taut.transport.http.pool import Pool
from transport.scripted_http import Peer, ask, send, serving, until


class Authority:
    """A certificate authority, a server's context of it, and the file to trust it by."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.file)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "right.example").configure_cert(self.server)
        self.server.set_alpn_protocols(["h2", "http/1.1"])
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


async def say_head(peer: Peer) -> None:
    while True:
        head, _ = await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


class TestTls:
    def test_with_a_file_and_with_a_context(self, run: Run, authority: Authority) -> None:
        async def main() -> None:
            async with serving(say_head, tls=authority.server) as url:
                for tls in (authority.file, authority.client):
                    pool = Pool(url, tls=tls)
                    together = await asyncio.gather(*(ask(pool) for _ in range(3)))
                    assert [heard.status for heard in together] == [200, 200, 200]
                    heard = await ask(pool, body=b"x" * 3_000_000)
                    assert b"\r\nContent-Length: 3000000\r\n" in heard.body
                    (protocol,) = {
                        found.transport.get_extra_info("ssl_object").selected_alpn_protocol()
                        for found in pool._open
                    }
                    assert protocol == ("http/1.1" if tls is authority.file else None)
                    await pool.close()

        run(main())

    def test_an_unknown_authority(self, run: Run, authority: Authority) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the server's side
            async with serving(say_head, tls=authority.server) as url:
                pool = Pool(url)
                heard = await ask(pool)
                assert isinstance(heard.error, TlsError)
                assert "certificate" in str(heard.error)
                assert not heard.error.sent
                await pool.close()

        run(main())

    def test_another_name_unless_it_is_given(self, run: Run, authority: Authority) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the server's side
            async with serving(say_head, tls=authority.server) as url:
                url = url.replace("localhost", "127.0.0.1")
                pool = Pool(url, tls=authority.file)
                assert isinstance((await ask(pool)).error, TlsError)
                await pool.close()
                pool = Pool(url, tls=authority.file, server_name="right.example")
                assert (await ask(pool)).status == 200
                await pool.close()

        run(main())

    def test_a_server_that_speaks_no_tls(self, run: Run, authority: Authority) -> None:
        async def script(peer: Peer) -> None:
            await peer.reader.read(10)
            await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url.replace("http:", "https:"), tls=authority.file)
                heard = await ask(pool)
                assert isinstance(heard.error, TlsError)
                await pool.close()

        run(main())

    def test_a_server_that_closes_within_the_handshake(self, run: Run, authority: Authority) -> None:
        async def script(peer: Peer) -> None:
            await peer.reader.read(10)

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url.replace("http:", "https:"), tls=authority.file)
                heard = await ask(pool)
                assert isinstance(heard.error, ConnectError)
                assert not heard.error.sent
                await pool.close()

        run(main())

    def test_a_file_without_certificates(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            pool = Pool("https://127.0.0.1:1", tls=str(tmp_path / "none.pem"))
            heard = await ask(pool)
            assert isinstance(heard.error, ConnectError)
            assert "none.pem" in str(heard.error)
            await pool.close()

        run(main())

    def test_closed_while_the_context_is_made(self, run: Run) -> None:
        async def main() -> None:
            pool = Pool("https://127.0.0.1:1")
            asking = asyncio.create_task(ask(pool))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await pool.close()
            assert (await asking).error is not None

        run(main())


def tunnel(answer: bytes, seen: list[bytes]) -> Callable[[Peer], Awaitable[None]]:
    """A proxy that answers CONNECT with ``answer`` and then joins both sides."""

    async def script(peer: Peer) -> None:
        head, _ = await peer.request()
        seen.append(head)
        await peer.say(answer)
        if not answer.startswith(b"HTTP/1.1 200"):
            return
        port = head.split(b" ")[1].rpartition(b":")[2]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        there = Peer(0, reader, writer)

        async def pass_on(source: Peer, target: Peer) -> None:
            while data := await source.reader.read(65536):
                await target.say(data)
            await target.close()

        await asyncio.gather(pass_on(peer, there), pass_on(there, peer), return_exceptions=True)

    return script


class TestProxies:
    def test_plain_http_names_the_whole_url(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> None:
            async with serving(say_head) as proxy:
                monkeypatch.setenv("http_proxy", proxy.replace("//", "//user:secret@"))
                monkeypatch.delenv("no_proxy", raising=False)
                monkeypatch.delenv("NO_PROXY", raising=False)
                pool = Pool("http://a.example:8080")
                heard = await ask(pool, b"/mcp?x")
                assert heard.body.startswith(
                    b"POST http://a.example:8080/mcp?x HTTP/1.1\r\nHost: a.example:8080\r\n"
                    b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"
                )
                assert "secret" not in pool.peer
                await pool.close()

        run(main())

    def test_the_environment_may_be_left_out(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("all_proxy", "http://proxy.example")
        assert "proxy.example" in Pool("http://a.example").peer
        assert "proxy.example" not in Pool("http://a.example", trust_env=False).peer
        assert "proxy.example" not in Pool("http://127.0.0.1").peer
        assert "other.example" in Pool("http://127.0.0.1", proxy="http://other.example").peer

    @pytest.mark.parametrize("secure", [False, True])
    def test_https_goes_through_a_tunnel(self, run: Run, authority: Authority, secure: bool) -> None:
        async def main() -> None:
            seen: list[bytes] = []
            script = tunnel(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n", seen)
            async with (
                serving(say_head, tls=authority.server) as url,
                serving(script, tls=authority.server if secure else None) as proxy,
            ):
                pool = Pool(url, tls=authority.file, proxy=proxy.replace("//", "//user:secret@"))
                for _ in range(2):
                    heard = await ask(pool)
                    assert heard.error is None
                    assert heard.body.startswith(b"POST /mcp HTTP/1.1\r\n")
                    assert b"Proxy-Authorization" not in heard.body
                await pool.close()
                place = url.removeprefix("https://").encode()
                assert seen == [
                    b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
                    % (place, place)
                ]

        run(main())

    @pytest.mark.parametrize(
        ("answer", "what"),
        [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "credentials"),
            (b"HTTP/1.1 503 No\r\n\r\n", "503"),
            (b"SSH-2.0\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "before the TLS"),
            (b"HTTP/1.1 200", "end of the connection"),
            (b"", "end of the connection"),
            (b"HTTP/1.1 502 OK\r\nX: " + b"y" * 100_000, "without an end"),
        ],
    )
    def test_a_proxy_that_refuses(self, run: Run, authority: Authority, answer: bytes, what: str) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(answer)

        async def main() -> None:
            async with serving(script) as proxy:
                pool = Pool("https://a.example", tls=authority.file, proxy=proxy.replace("//", "//u:secret@"))
                heard = await ask(pool)
                assert isinstance(heard.error, ProxyError)
                assert what in str(heard.error)
                assert "a.example:443" in str(heard.error)
                assert "secret" not in str(heard.error)
                assert not heard.error.sent
                await pool.close()

        run(main())


def moved(status: int, location: str, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        location.encode(),
        len(body),
        body,
    )


class TestRedirects:
    @pytest.mark.parametrize("status", [307, 308])
    @pytest.mark.parametrize("size", [0, 10, 1_000_000])
    def test_within_the_origin_the_same_request_is_sent_there(self, run: Run, status: int, size: int) -> None:
        async def script(peer: Peer) -> None:
            while True:
                head, body = await peer.request()
                if head.startswith(b"POST /mcp HTTP"):
                    await peer.say(moved(status, "/there?x=1", bytes(size)))
                else:
                    said = head + body
                    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                heard = await ask(pool, body=b'{"a":1}', headers=b"Authorization: Bearer x\r\n")
                assert heard.error is None
                assert heard.body.startswith(b"POST /there?x=1 HTTP/1.1\r\n")
                assert b"\r\nAuthorization: Bearer x\r\n" in heard.body
                assert heard.body.endswith(b'\r\n\r\n{"a":1}')
                await pool.close()

        run(main())

    @pytest.mark.parametrize(
        ("status", "location", "what"),
        [
            (307, "https://other.example/mcp", "another origin, https://other.example"),
            (308, "//other.example/mcp", "another origin, http://other.example"),
            (307, "http://127.0.0.1:1/", "another origin, http://127.0.0.1:1"),
            (301, "/there", "/there as another request"),
            (302, "/there", "/there as another request"),
            (303, "/there", "/there as another request"),
            (302, "https://other.example/", "another origin"),
            (307, "http://user:pw@127.0.0.1/", "no URL"),
            (307, "ftp://x/", "no URL"),
            (307, "/a b", "no URL"),
            (307, "/mcp", "after 3 others"),
        ],
    )
    def test_others_are_refused(self, run: Run, status: int, location: str, what: str) -> None:
        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.say(moved(status, location))

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                heard = await ask(pool)
                assert type(heard.error) is RedirectRefused
                assert what in str(heard.error)
                assert url in str(heard.error)
                await pool.close()

        run(main())

    def test_without_a_location_it_is_an_answer(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            for status in (b"302 Found", b"304 Not Modified"):
                await peer.request()
                await peer.say(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                assert (await ask(pool)).status == 302
                assert (await ask(pool)).status == 304
                await pool.close()

        run(main())

    def test_an_abort_on_the_way(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(moved(307, "/there", b"12345")[:-2])
            assert await peer.rest() == b""

        async def main() -> None:
            async with serving(script) as url:
                pool = Pool(url)
                await asyncio.wait_for(ask_and_abort(pool), 5)
                await pool.close()

        async def ask_and_abort(pool: Pool) -> None:
            heard = send(pool)
            call = heard.call
            assert call is not None
            await until(lambda: call.redirects == 1)
            call.abort()
            assert heard.events == []

        run(main())
