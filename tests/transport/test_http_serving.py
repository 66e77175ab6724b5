"""A server process over HTTP, from the command line to its end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from taut import Server
from taut.errors import ConfigError
from taut.transport.http.listening import Listening, adopt, listen, listen_unix
from taut.transport.http.options import HttpOptions
from taut.transport.http.patience import Patience
from taut.transport.http.tls import server_context
from transport.served import PATIENCE_S, Child, Served, call, post, result_of, send, serving

pytestmark = pytest.mark.processes

posix = pytest.mark.skipif(os.name != "posix", reason="for POSIX")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


class TestProcess:
    def test_one_connection_carries_many_requests(self, served: Served) -> None:
        connection = served.connect()
        for number in range(3):
            arguments = {"name": "add", "arguments": {"a": number, "b": 1}}
            response = post(connection, "tools/call", arguments, chunked=number == 1)
            assert result_of(response) == number + 1

    def test_a_stream_ends_with_its_answer(self, served: Served) -> None:
        response = post(
            served.connect(), "tools/call", {"name": "count", "arguments": {"to": 3}}, progressToken=1
        )
        assert response.headers["content-type"] == "text/event-stream"
        events = response.read().split(b"\n\n")
        assert [b"notifications/progress" in event for event in events] == [True, True, True, False, False]
        assert b"counted" in events[3]

    def test_a_name_from_elsewhere_is_refused(self, served: Served) -> None:
        connection = served.connect()
        connection.request("POST", "/mcp", b"", {"Host": "evil.example"})
        assert connection.getresponse().status == 403

    def test_the_path_is_as_asked(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--path", "/here", "--root-path", "/api") as served:
            assert served.url.endswith("/here")
            response = post(served.connect(), "tools/list", {}, path="/here")
            assert response.status == 200
            response.read()
            assert post(served.connect(), "tools/list", {}).status == 404

    def test_what_the_lifespan_raises_ends_it(self, tmp_path: Path) -> None:
        (tmp_path / "broken").touch()
        with serving(tmp_path) as served:
            assert served.url == ""
            said = served.end()
            assert "RuntimeError: the database is away" in said
            assert "Traceback" not in said
            assert served.child.returncode == 4

    def test_a_connection_may_take_what_is_said(self, tmp_path: Path) -> None:
        code = "from taut import Patience, Server\n"
        code += "Server('s').run('http', port=0, patience=Patience(max_headers=3), on_listening=print)"
        child = Child(tmp_path, [sys.executable, "-c", code], r"(http://\S+)")
        try:
            assert post(child.connect(), "tools/list", {}).status == 431
        finally:
            child.close()


class TestTheEnd:
    def test_a_signal_ends_open_streams_with_their_result_and_the_process(self, served: Served) -> None:
        response = post(
            served.connect(), "subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=9
        )
        assert b"acknowledged" in response.readline() + response.readline()
        said = served.stop()
        assert b'"id":9' in response.read()
        assert served.child.returncode in (0, -signal.SIGTERM)
        assert "left" in said
        assert "Traceback" not in said

    def test_open_requests_are_answered_and_then_their_connections_closed(self, served: Served) -> None:
        connection = served.connect()
        send(connection, "tools/call", {"name": "wait", "arguments": {"seconds": 0.5}})
        served.must_hear("waiting")
        served.child.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert response.headers["connection"] == "close"
        assert result_of(response) == served.child.pid
        assert "Traceback" not in served.end()

    def test_a_request_that_comes_while_it_ends_is_answered(self, served: Served) -> None:
        waiting, idle = served.connect(), served.connect()
        assert call(idle, "add", a=1, b=1) == 2
        send(waiting, "tools/call", {"name": "wait", "arguments": {"seconds": 1}})
        served.must_hear("waiting")
        served.child.send_signal(signal.SIGTERM)
        # Those that come while requests may be on their way are answered, and told to come no more.
        answers = 0
        while True:
            response = post(idle, "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
            answers += 1
            last = response.headers["connection"] == "close"
            assert result_of(response) == 3
            if last:
                break
        assert answers >= 1
        assert result_of(waiting.getresponse()) == served.child.pid

    def test_an_idle_connection_is_closed_and_not_reset(self, served: Served) -> None:
        idle = served.connect()
        assert call(idle, "add", a=1, b=1) == 2
        served.stop()
        assert idle.sock is not None
        assert idle.sock.recv(1) == b""

    def test_what_takes_longer_than_the_grace_is_cancelled_and_told(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--grace", "0.2") as served:
            connection = served.connect()
            send(connection, "tools/call", {"name": "wait", "arguments": {"seconds": 600}})
            served.must_hear("waiting")
            served.child.send_signal(signal.SIGTERM)
            answer = connection.getresponse().read()
            assert b"tools/call was cancelled by the server" in answer
            assert "left" in served.end()

    @posix
    def test_a_handler_that_blocks_cannot_hold_it(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--grace", "0.1") as served:
            send(served.connect(), "tools/call", {"name": "block", "arguments": {"seconds": 600}})
            served.must_hear("blocking")
            served.stop()
            assert served.child.returncode == -signal.SIGTERM or served.child.returncode > 128

    def test_a_second_interrupt_ends_it_at_once(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--grace", "600") as served:
            send(served.connect(), "tools/call", {"name": "wait", "arguments": {"seconds": 600}})
            served.must_hear("waiting")
            served.child.send_signal(signal.SIGINT)
            try:
                # The first is taken before a second can mean haste: its socket listens no more then.
                while True:
                    socket.create_connection(("127.0.0.1", served.port), PATIENCE_S).close()
            except OSError:
                served.stop(signal.SIGINT)
            assert served.child.returncode == 130


class TestLimits:
    def test_a_connection_too_many_is_refused_until_one_is_closed(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--max-connections", "2") as served:
            kept = [served.connect() for _ in range(2)]
            assert [call(one, "add", a=1, b=1) for one in kept] == [2, 2]
            refused = post(served.connect(), "tools/list", {})
            assert refused.status == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["connection"] == "close"
            assert b"Too many connections" in refused.read()
            assert [call(one, "add", a=1, b=1) for one in kept] == [2, 2]
            kept.pop().close()
            while post(served.connect(), "tools/list", {}).status != 200:
                pass  # until the server has seen that end


class TestListening:
    def test_a_port_that_is_taken_is_told(self) -> None:
        with listen("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
            assert Listening(taken).url("/x") == f"http://127.0.0.1:{port}/x"
            assert Listening(taken).url("/x", tls=True) == f"https://127.0.0.1:{port}/x"
            with pytest.raises(ConfigError, match=f"Cannot listen at 127.0.0.1 port {port}"):
                Server("s").run("http", port=port)

    def test_a_name_that_is_none_is_told(self) -> None:
        with pytest.raises(ConfigError, match="Cannot listen at"):
            listen("x" * 64 + ".example", 0)

    @pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
    def test_an_address_of_the_sixth_version_is_bracketed(self) -> None:
        try:
            listening = listen("::1", 0)
        except ConfigError:
            pytest.skip("no IPv6 loopback")
        with listening:
            assert Listening(listening).url("/mcp").startswith("http://[::1]:")

    def test_an_unknown_transport_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="'stdio' or 'http', got 'carrier pigeon'"):
            Server("s").run("carrier pigeon")


@posix
class TestUnixSocket:
    def test_it_is_served_to_its_owner_and_removed_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with serving(tmp_path, "--uds", str(path)) as served:
            assert served.url == f"http://unix:{path}:/mcp"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert call(served.connect(), "add", a=1, b=2) == 3
            served.stop()
            assert not path.exists()

    def test_permissions_are_as_asked(self, tmp_path: Path) -> None:
        with listen_unix(str(tmp_path / "s"), permissions=0o660):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660

    def test_what_an_earlier_process_left_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        listen_unix(str(path)).close()
        assert path.exists()
        with listen_unix(str(path)), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_one_that_listens_is_not_replaced(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        with listen_unix(path), pytest.raises(ConfigError, match="uds: a server listens at"):
            listen_unix(path)

    def test_another_file_is_not_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "s").write_text("kept")
        with pytest.raises(ConfigError, match="uds: expected a socket or nothing"):
            listen_unix(str(tmp_path / "s"))
        assert (tmp_path / "s").read_text() == "kept"

    def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="uds: cannot listen at"):
            listen_unix(str(tmp_path / "none" / "s"))

    def test_the_file_of_a_successor_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        first = Listening(listen_unix(str(path)), str(path))
        path.unlink()
        with listen_unix(str(path)):
            first.close()
            assert path.exists()


@posix
class TestInheritedSocket:
    def test_a_socket_that_was_handed_over_is_served(self, tmp_path: Path) -> None:
        with listen("127.0.0.1", 0) as listening:
            fd = listening.fileno()
            with serving(tmp_path, "--fd", str(fd), fds=(fd,)) as served:
                assert served.port == listening.getsockname()[1]
                assert call(served.connect(), "add", a=1, b=2) == 3

    def test_what_does_not_listen_is_refused_and_stays_open(self) -> None:
        with socket.socket() as silent:
            with pytest.raises(ConfigError, match=r"fd: .* got one that does not listen"):
                adopt(silent.fileno())
            silent.bind(("127.0.0.1", 0))

    def test_what_is_no_socket_is_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "f").open("w") as file, pytest.raises(ConfigError, match="fd: expected a socket"):
            adopt(file.fileno())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with a certificate for localhost, its key, and who signed it."""
    made = authority.issue_cert("localhost", "127.0.0.1")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


class TestTls:
    WORDS = ("--tls-cert", "cert.pem", "--tls-key", "key.pem")

    def test_requests_travel_encrypted(self, files: Path, authority: trustme.CA) -> None:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        with serving(files, *self.WORDS) as served:
            assert served.url.startswith("https://")
            connection = served.connect(trusting)
            assert call(connection, "add", a=1, b=2) == 3
            assert call(connection, "add", a=2, b=2) == 4
            assert isinstance(connection.sock, ssl.SSLSocket)
            assert connection.sock.version() == "TLSv1.3"
            # A client that speaks none is shown the door, and nobody else suffers.
            with pytest.raises((http.client.HTTPException, OSError)):
                post(served.connect(), "tools/list", {})
            assert call(connection, "add", a=3, b=2) == 5
            assert "Traceback" not in served.stop()

    def test_open_requests_are_answered_at_the_end(self, files: Path, authority: trustme.CA) -> None:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        with serving(files, *self.WORDS) as served:
            connection, idle = served.connect(trusting), served.connect(trusting)
            assert call(idle, "add", a=1, b=2) == 3
            send(connection, "tools/call", {"name": "wait", "arguments": {"seconds": 0.3}})
            served.must_hear("waiting")
            served.child.send_signal(signal.SIGTERM)
            assert result_of(connection.getresponse()) == served.child.pid
            assert "Traceback" not in served.end()

    def test_old_versions_are_refused(self, files: Path, authority: trustme.CA) -> None:
        context = server_context(HttpOptions.of({"tls_cert": files / "both.pem"}))
        assert context is not None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2

    def test_clients_show_a_certificate_where_asked(self, files: Path, authority: trustme.CA) -> None:
        stranger, known = ssl.create_default_context(), ssl.create_default_context()
        for context in (stranger, known):
            authority.configure_trust(context)
        authority.issue_cert("client@example.com").configure_cert(known)
        with serving(files, "--tls-cert", "both.pem", "--tls-client-ca", "ca.pem") as served:
            with pytest.raises(OSError):  # noqa: PT011  # the alert, or the close behind it
                post(served.connect(stranger), "tools/list", {})
            assert call(served.connect(known), "add", a=1, b=2) == 3

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"tls_cert": "none.pem"}, "tls_cert: cannot read .*none.pem: No such file"),
            ({"tls_cert": "cert.pem", "tls_key": "none.pem"}, "tls_key: cannot read"),
            ({"tls_cert": "cert.pem"}, "tls_cert: expected a certificate and its key in PEM format"),
            ({"tls_cert": "both.pem", "tls_client_ca": "key.pem"}, "tls_client_ca: expected certificates"),
            ({"tls_key": "key.pem"}, "tls_key: expected tls_cert beside it"),
        ],
    )
    def test_files_that_will_not_do_are_named(
        self, files: Path, options: dict[str, str], problem: str
    ) -> None:
        with pytest.raises(ConfigError, match=problem):
            server_context(HttpOptions.of({name: files / value for name, value in options.items()}))

    def test_a_password_opens_the_key(self, files: Path, authority: trustme.CA) -> None:
        from cryptography.hazmat.primitives import serialization as forms

        key = forms.load_pem_private_key((files / "key.pem").read_bytes(), None)
        locked = key.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"sesame")
        )
        (files / "key.pem").write_bytes(locked)
        options = {"tls_cert": files / "cert.pem", "tls_key": files / "key.pem"}
        assert server_context(HttpOptions.of({**options, "tls_password": "sesame"})) is not None
        for wrong in ({}, {"tls_password": "open"}):
            with pytest.raises(ConfigError, match="tls_cert and tls_key: expected"):
                server_context(HttpOptions.of({**options, **wrong}))


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"port": 70_000}, "port: expected 0 to 65535, got 70000"),
            ({"port": "80"}, "port: expected `int`, got `str`"),
            ({"wokers": 2}, r"Expected an option for HTTP \(host, .*, got 'wokers'"),
            ({"uds": "s", "port": 1}, "Expected one place to listen at, got uds and host and port"),
            ({"uds": "s", "fd": 3}, "got uds and fd"),
            ({"path": "mcp"}, "path: expected one that begins with /, got 'mcp'"),
            ({"root_path": "/x/"}, "root_path: expected"),
            ({"workers": 0}, "workers: expected 1 or more, got 0"),
            ({"max_connections": 0}, "max_connections: expected 1 or more"),
            ({"grace_s": -1}, "grace_s: expected seconds"),
            ({"keep_alive_s": float("nan")}, "keep_alive_s: expected seconds"),
            ({"patience": 5}, "patience: expected a Patience, got int"),
            ({"patience": Patience(), "keep_alive_s": 5}, "keep_alive_s: expected it in patience"),
            ({"uds_permissions": 0o1000}, "uds_permissions: expected 0 to 0o777, got 0o1000"),
            ({"allowed_hosts": "example.com"}, "allowed_hosts: expected a list of texts"),
            ({"allowed_hosts": [1]}, "allowed_hosts"),
            ({"workers": 2, "sessions": True}, "sessions: .* expected workers=1 for it, got 2"),
        ],
    )
    def test_what_cannot_be_is_named(self, options: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            HttpOptions.of(options)

    def test_sessions_are_kept_by_one_worker_unless_said_otherwise(self) -> None:
        assert HttpOptions.of({}).keeps_sessions
        assert not HttpOptions.of({"workers": 2}).keeps_sessions
        assert not HttpOptions.of({"sessions": False}).keeps_sessions

    def test_patience_is_the_connections(self) -> None:
        given = Patience(head_s=1, keep_alive_s=2)
        assert HttpOptions.of({"patience": given}).connection_patience == given
        assert HttpOptions.of({"keep_alive_s": 3}).connection_patience == Patience(keep_alive_s=3)

    def test_lists_may_be_any_iterable(self) -> None:
        assert HttpOptions.of({"allowed_hosts": iter(["a", "b"])}).allowed_hosts == ("a", "b")

    def test_stdio_takes_none(self) -> None:
        with pytest.raises(ConfigError, match="Expected no options for stdio, got port"):
            Server("s").run(port=1)
