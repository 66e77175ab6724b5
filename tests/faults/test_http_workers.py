"""Workers that are killed and replaced under load: nothing is lost but what a killed one was working on."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from transport.served import Served, call, serving

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]
if os.name != "posix":
    pytest.skip("workers are forked", allow_module_level=True)

CLIENTS = 6


class Client(threading.Thread):
    """Calls a tool over and over: on one connection until the server closes it, or on a new one each time."""

    def __init__(self, served: Served, *, keeps: bool) -> None:
        super().__init__(daemon=True)
        self._served = served
        self._keeps = keeps
        self._enough = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        #: Calls that were answered, and by whom.
        self.answered = 0
        self.pids: set[int] = set()
        #: Calls that ended with the connection, and whether that was the first on a new one.
        self.lost: list[str] = []
        #: Kept connections that had ended before anything of the call was answered.
        self.crossed = 0

    def run(self) -> None:
        while not self._enough.is_set():
            fresh = self._connection is None
            if self._connection is None:
                self._connection = self._served.connect()
            try:
                self.pids.add(call(self._connection, "pid"))
                self.answered += 1
            except http.client.RemoteDisconnected:
                # An end without a byte of an answer: on a kept connection it may have crossed the call.
                self._connection.close()
                self._connection = None
                if fresh:
                    self.lost.append("closed without an answer on a new connection")
                else:
                    self.crossed += 1
                continue
            except (http.client.HTTPException, OSError) as error:
                self.lost.append(repr(error))
                self._connection.close()
                self._connection = None
                continue
            if self._connection.sock is None:  # the server said that this was the last
                self._connection = None
            elif not self._keeps:
                self._connection.close()
                self._connection = None

    def enough(self) -> None:
        """End after the call that is open."""
        self._enough.set()

    def stop(self) -> None:
        self.enough()
        self.join(30)
        assert not self.is_alive()


class Load:
    """Clients of both kinds."""

    def __init__(self, served: Served) -> None:
        self.clients = [Client(served, keeps=number % 2 == 0) for number in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def wait(self, more: int) -> None:
        """Wait until every client has had so many more answers."""
        goals = [(client, client.answered + more) for client in self.clients]
        for client, goal in goals:
            while client.answered < goal:
                assert client.is_alive()

    def stop(self) -> None:
        for client in self.clients:
            client.stop()

    @property
    def lost(self) -> list[str]:
        return [lost for client in self.clients for lost in client.lost]

    @property
    def crossed(self) -> int:
        return sum(client.crossed for client in self.clients)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--workers", "2") as served:
        served.entered(2)
        yield served


def test_replacing_all_workers_under_load_loses_nothing(served: Served) -> None:
    load = Load(served)
    load.wait(20)
    for _ in range(3):
        served.child.send_signal(signal.SIGHUP)
        for _ in range(2):
            served.must_hear("left")
    load.wait(20)
    load.stop()
    assert load.lost == []
    assert load.crossed == 0


def test_a_killed_worker_takes_along_only_what_it_was_working_on(served: Served) -> None:
    load = Load(served)
    load.wait(20)
    kept = served.connect()
    for _ in range(5):
        victim = call(kept, "pid")
        while (other := call(connection := served.connect(), "pid")) == victim:
            connection.close()
        os.kill(victim, signal.SIGKILL)
        served.must_hear(f"Worker {victim} was ended by SIGKILL")
        served.must_hear("entered")
        kept = connection
        load.wait(20)
        assert call(kept, "pid") == other
    load.stop()
    # What waits at the socket is served by another; what a worker has in hand is one call of each client at most.
    assert len(load.lost) <= 5 * CLIENTS
    ends = ("without an answer", "reset", "broken pipe")
    assert all(any(end in lost.lower() for end in ends) for lost in load.lost), load.lost


def test_the_end_under_load_answers_what_was_accepted(served: Served) -> None:
    load = Load(served)
    load.wait(20)
    served.child.send_signal(signal.SIGTERM)
    served.end()
    for client in load.clients:
        client.enough()
    load.stop()
    # Once nobody listens, connections are refused; one that was accepted is never just dropped.
    assert {lost for lost in load.lost if "refused" not in lost.lower()} == set()
