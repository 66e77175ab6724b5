"""Several workers on one address: who serves, who is replaced, and how they end."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from taut import Server
from taut.errors import ConfigError
from taut.transport.http.accepting import Board
from transport.served import PATIENCE_S, Served, call, post, send, serving

if os.name != "posix":
    pytest.skip("workers are forked", allow_module_level=True)
from taut.transport.http.workers import FIRST_DELAY_S, MAX_CRASHES, Crashes

pytestmark = pytest.mark.processes


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--workers", "2") as served:
        yield served


def both(served: Served) -> dict[int, http.client.HTTPConnection]:
    """Return a connection to each worker."""
    workers = set(served.entered(2))
    found: dict[int, http.client.HTTPConnection] = {}
    while set(found) != workers:
        connection = served.connect()
        found[call(connection, "pid")] = connection
    return found


def wait_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        psutil.Process(pid).wait(PATIENCE_S)
    except psutil.NoSuchProcess:
        return


class TestServing:
    def test_all_workers_serve_and_each_has_its_lifespan(self, served: Served) -> None:
        workers = both(served)
        assert len(workers) == 2
        assert served.child.pid not in workers
        said = served.stop()
        assert sorted(re.findall(r"left (\d+)", said)) == sorted(map(str, workers))

    def test_connections_are_spread(self, served: Served) -> None:
        served.entered(2)
        # Kept open: one at a time, each goes to whoever has fewer.
        pids = [call(served.connect(), "pid") for _ in range(20)]
        assert min(pids.count(pid) for pid in set(pids)) >= 5
        assert len(set(pids)) == 2

    def test_what_one_sealed_another_opens(self, served: Served) -> None:
        workers = both(served)
        first, second = workers.values()
        capable = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
        asked = msgspec.json.decode(
            post(first, "tools/call", {"name": "ask", "arguments": {}}, **capable).read()
        )
        [key] = asked["result"]["inputRequests"]
        params = {
            "name": "ask",
            "arguments": {},
            "requestState": asked["result"]["requestState"],
            "inputResponses": {key: {"action": "accept", "content": {"name": "Ada"}}},
        }
        answer = msgspec.json.decode(post(second, "tools/call", params, **capable).read())
        assert answer["result"]["content"][0]["text"] == f"Ada {list(workers)[1]}"

    def test_legacy_clients_are_served_without_sessions(self, served: Served) -> None:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "old", "version": "0"},
        }
        kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        for number, connection in enumerate(both(served).values()):
            # Any worker answers the call, whichever was asked to initialize.
            method = "initialize" if number == 0 else "tools/list"
            said = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params if number == 0 else {}}
            headers = kinds if number == 0 else {**kinds, "MCP-Protocol-Version": "2025-11-25"}
            connection.request("POST", "/mcp", msgspec.json.encode(said), headers)
            response = connection.getresponse()
            assert response.headers["mcp-session-id"] is None
            assert "result" in msgspec.json.decode(response.read())


class TestTheEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_all_after_open_requests_are_answered(self, served: Served, number: int) -> None:
        workers = both(served)
        for connection in workers.values():
            send(connection, "tools/call", {"name": "wait", "arguments": {"seconds": 0.3}})
            served.must_hear("waiting")
        served.child.send_signal(number)
        for pid, connection in workers.items():
            response = connection.getresponse()
            assert f'"result":{pid}' in response.read().decode()
        said = served.end()
        assert said.count("left") == 2
        assert "Traceback" not in said
        assert served.child.returncode in (-number, 128 + number)
        for pid in workers:
            wait_gone(pid)

    def test_the_interrupt_of_a_terminal_reaches_all_and_is_no_haste(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--workers", "2") as served:
            workers = both(served)
            for pid, connection in workers.items():
                send(connection, "tools/call", {"name": "wait", "arguments": {"seconds": 0.3}})
                served.must_hear("waiting")
                os.kill(pid, signal.SIGINT)
            served.child.send_signal(signal.SIGINT)
            for connection in workers.values():
                assert connection.getresponse().status == 200

    def test_a_worker_that_blocks_is_killed_when_its_time_is_over(self, tmp_path: Path) -> None:
        with serving(tmp_path, "--workers", "2", "--grace", "0.1") as served:
            pid, connection = both(served).popitem()
            send(connection, "tools/call", {"name": "block", "arguments": {"seconds": 600}})
            served.must_hear("blocking")
            served.stop()
            wait_gone(pid)

    def test_workers_die_with_a_parent_that_is_killed(self, served: Served) -> None:
        workers = both(served)
        send(next(iter(workers.values())), "tools/call", {"name": "wait", "arguments": {"seconds": 600}})
        served.must_hear("waiting")
        served.child.kill()
        for pid in workers:
            wait_gone(pid)


class TestWorkersThatDie:
    def test_one_that_is_killed_is_replaced(self, served: Served) -> None:
        workers = both(served)
        pid, connection = workers.popitem()
        os.kill(pid, signal.SIGKILL)
        served.must_hear(f"Worker {pid} was ended by SIGKILL; another is started")
        # The other goes on meanwhile, and keeps its connections.
        [(other, kept)] = workers.items()
        assert call(kept, "pid") == other
        assert served.entered(3)[2] not in (pid, other)
        connection.close()

    def test_a_lifespan_that_fails_at_first_ends_all(self, tmp_path: Path) -> None:
        (tmp_path / "broken").touch()
        with serving(tmp_path, "--workers", "2") as served:
            assert served.url == ""
            said = served.end()
            assert "the database is away" in said
            assert "A worker exited with status 1 before any was ready" in said
            assert served.child.returncode == 2

    def test_they_are_given_up_when_they_die_at_once_again_and_again(self, served: Served) -> None:
        served.entered(2)
        for _ in range(MAX_CRASHES):
            try:
                call(served.connect(), "die")
            except (http.client.HTTPException, OSError):
                served.must_hear("exited with status 7")
        assert f"gave up after {MAX_CRASHES}" in served.end()
        assert served.child.returncode == 3

    def test_the_wait_grows_until_it_is_given_up(self) -> None:
        crashes = Crashes()
        delays = [crashes.delay_after(0.0) for _ in range(MAX_CRASHES)]
        assert delays[:4] == [0.0, FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S]
        assert delays[-1] is None

    def test_one_that_lived_for_long_is_replaced_at_once(self) -> None:
        crashes = Crashes()
        for _ in range(MAX_CRASHES - 1):
            crashes.delay_after(0.0)
        assert [crashes.delay_after(3600.0), crashes.delay_after(0.0)] == [0.0, 0.0]


class TestReplacing:
    def test_all_are_replaced_one_by_one(self, served: Served) -> None:
        old = both(served)
        served.child.send_signal(signal.SIGHUP)
        # Each old one leaves after a new one has entered, and before the next one does.
        story = [served.must_hear("entered|left") for _ in range(4)]
        assert story == ["entered", "left", "entered", "left"]
        new = served.entered(4)[2:]
        assert {call(served.connect(), "pid") for _ in range(20)} <= set(new)
        for connection in old.values():
            assert connection.sock is not None
            assert connection.sock.recv(1) == b""

    def test_open_requests_end_where_they_began(self, served: Served) -> None:
        old = both(served)
        for connection in old.values():
            send(connection, "tools/call", {"name": "wait", "arguments": {"seconds": 0.3}})
            served.must_hear("waiting")
        served.child.send_signal(signal.SIGHUP)
        for pid, connection in old.items():
            assert f'"result":{pid}' in connection.getresponse().read().decode()

    def test_none_is_replaced_by_one_that_fails(self, served: Served, tmp_path: Path) -> None:
        old = both(served)
        (tmp_path / "broken").touch()
        served.child.send_signal(signal.SIGHUP)
        served.must_hear("The replacement of worker .* exited with status 1 .*: no worker is replaced")
        for pid, connection in old.items():
            assert call(connection, "pid") == pid
        (tmp_path / "broken").unlink()
        served.child.send_signal(signal.SIGHUP)
        assert not set(served.entered(4)[2:]) & set(old)


class TestRefusals:
    def test_tasks_in_memory_would_be_found_by_one_worker_only(self) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def long() -> None:
            """Take long."""

        with pytest.raises(ConfigError, match=r"workers: tasks are kept in the memory .* got 2"):
            app.run("http", port=0, workers=2)

    def refusal(self, tmp_path: Path, before: str, after: str = "") -> str:
        path = tmp_path / "program.py"
        path.write_text(
            "import asyncio, threading\nfrom taut import Server\napp = Server('s')\n"
            f"{before}app.run('http', port=0, workers=2)\n{after}"
        )
        done = subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 1
        return done.stderr

    def test_threads_would_be_lost(self, tmp_path: Path) -> None:
        start = "threading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()\n"
        assert "workers: expected no thread before the workers start, got mine" in self.refusal(
            tmp_path, start
        )

    def test_an_event_loop_cannot_be_shared(self, tmp_path: Path) -> None:
        problem = self.refusal(tmp_path, "async def main():\n  ", "asyncio.run(main())\n")
        assert "workers: expected no running event loop" in problem


class TestBoard:
    def test_places_are_given_once_and_again_when_left(self) -> None:
        board = Board(2)
        assert [board.free_place(), board.free_place()] == [0, 1]
        board.leave(0)
        assert board.free_place() == 0

    def test_who_has_fewer(self) -> None:
        board = Board(3)
        board.write(0, 2)
        assert not board.others_have_fewer(0)  # nobody else is there
        board.write(1, 1)
        assert board.others_have_fewer(0)
        assert not board.others_have_fewer(1)
        board.write(1, 2)
        assert not board.others_have_fewer(0)
