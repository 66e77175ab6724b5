"""How a stdio server ends, and what it lets near its wire: signals, the end of input, stray output, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from faults.wire import SERVER, Wire, alive, until

pytestmark = pytest.mark.processes

#: The promise is one second; the rest is for a machine that has other things to do.
GENEROUS_S = 4.0

ENDS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "end of input": None}


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture(params=["uvloop", "asyncio"])
def each(request: pytest.FixtureRequest) -> Wire:
    """A server on each kind of loop."""
    return Wire(env={"TAUT_LOOP": request.param})


def end(server: Wire, how: str) -> None:
    number = ENDS[how]
    if number is None:
        server.close_input()
    else:
        server.signal(number)


def ends_in_time(server: Wire) -> int:
    begun = time.monotonic()
    status = server.status()
    assert time.monotonic() - begun < GENEROUS_S, server.stderr()
    return status


@pytest.mark.parametrize("how", ENDS)
def test_idle_server_ends_with_status_0_and_without_a_word(each: Wire, how: str) -> None:
    with each as server:
        server.call("add", a=1, b=2)
        end(server, how)
        assert server.rest() == []
        assert ends_in_time(server) == 0
        assert server.stderr() == ""


@pytest.mark.parametrize("how", ENDS)
def test_server_that_nobody_has_talked_to_ends(wire: Wire, how: str) -> None:
    with wire as server:
        if ENDS[how] is not None:
            server.call("add", a=1, b=2)  # the handlers of signals are in place
        end(server, how)
        assert ends_in_time(server) == 0


@pytest.mark.parametrize("how", ENDS)
def test_answers_to_what_was_asked_come_before_the_end(each: Wire, how: str) -> None:
    with each as server:
        server.call("add", a=1, b=2)
        server.send_lines(*[server.tool("add_later", {"a": n, "b": 0}, id=n) for n in range(500)])
        seen = []
        if ENDS[how] is not None:  # a signal does not wait for what is still in the pipe
            seen = [server.line()]
        end(server, how)
        seen += server.rest()
        assert ends_in_time(server) == 0
        ids = {line["id"] for line in seen}
        assert ids == set(range(500)) if ENDS[how] is None else ids <= set(range(500))


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("tool", ["wait", "stubborn"])
def test_handlers_in_flight_do_not_hold_the_process(wire: Wire, how: str, tool: str) -> None:
    with wire as server:
        server.send_lines(*[server.tool(tool, id=n) for n in range(3)])
        server.until_stderr("waiting")
        end(server, how)
        ends_in_time(server)
        if tool == "wait":
            assert server.stderr().count("cancelled") == 3
            assert server.process.returncode == 0
        assert "Traceback" not in server.stderr()
        assert "never awaited" not in server.stderr()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("tool", ["block", "block_thread"])
def test_blocking_handler_does_not_hold_the_process(wire: Wire, how: str, tool: str) -> None:
    with wire as server:
        server.send_lines(server.tool(tool, {"seconds": 60}, id=1))
        server.until_stderr("blocking")
        end(server, how)
        ends_in_time(server)
        assert "Traceback" not in server.stderr()


@pytest.mark.parametrize(("tool", "how"), [("block", "SIGTERM"), ("wait", "end of input")])
def test_plain_loop_ends_as_well(tool: str, how: str) -> None:
    with Wire(env={"TAUT_LOOP": "asyncio"}) as server:
        server.send_lines(server.tool(tool, {"seconds": 60} if tool == "block" else {}, id=1))
        server.until_stderr("blocking" if tool == "block" else "waiting")
        end(server, how)
        ends_in_time(server)
        assert "Traceback" not in server.stderr()


def test_handler_that_blocks_a_moment_is_answered_after_the_end_of_input(wire: Wire) -> None:
    with wire as server:
        server.send_lines(*[server.tool("block", {"seconds": 0.2}, id=n) for n in range(6)])
        server.close_input()
        assert [line["id"] for line in server.rest()] == list(range(6))
        assert ends_in_time(server) == 0


def test_second_signal_ends_at_once(wire: Wire) -> None:
    with wire as server:
        server.send_lines(server.tool("stubborn", id=1))
        server.until_stderr("waiting")
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)
        assert ends_in_time(server) in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_client_that_stops_reading_does_not_hold_the_process(wire: Wire) -> None:
    with wire as server:
        server.send_lines(*[server.tool("big", {"count": 3_000_000}, id=n) for n in range(10)])
        server.until_stderr("")
        server.signal(signal.SIGTERM)
        ends_in_time(server)


def test_closed_output_ends_the_server(each: Wire) -> None:
    with each as server:
        server.call("add", a=1, b=2)
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.send_lines(server.tool("add", {"a": 1, "b": 2}))
        ends_in_time(server)
        assert "Traceback" not in server.stderr()


def test_killed_parent_takes_the_server_along() -> None:
    """The client is killed while the server's handler blocks, so that only the end of its pipe can tell."""
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({SERVER!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)\n"
        "print(child.pid, flush=True)\n"
        "child.stdin.write(sys.stdin.buffer.readline())\n"
        "child.stdout.read()\n"
    )
    with Wire([sys.executable, "-c", parent]) as process:
        pid = int(process.raw_line())
        process.send_lines(process.tool("block", {"seconds": 60}))
        process.until_stderr("blocking")
        process.signal(signal.SIGKILL)
        until(lambda: not alive(pid), "the server to be gone")


# -- stray output


def test_stray_output_goes_to_stderr_and_the_wire_stays_clean(each: Wire) -> None:
    with each as server:
        for _ in range(3):
            assert server.call("noisy") == "quiet"
        server.close_input()
        assert server.rest() == []
        assert ends_in_time(server) == 0
        seen = server.stderr()
        assert seen.count("stray print") == 3
        assert seen.count("from a child") == 3
        assert seen.count("unfinished") == 3


def test_handler_and_its_children_find_no_input(wire: Wire) -> None:
    with wire as server:
        server.send_lines(server.tool("read_stdin", id=1), server.tool("add", {"a": 1, "b": 2}, id=2))
        assert server.line()["result"]["content"][0]["text"] == "0 0"
        assert server.line()["id"] == 2


def test_output_at_import_time_is_the_servers_own_fault_but_no_hang(tmp_path: Path) -> None:
    """What is printed before `run` cannot be held back; the client skips it."""
    script = tmp_path / "server.py"
    script.write_text(
        "from taut import Server\nprint('loading')\napp = Server('x', '1')\n"
        "@app.tool\ndef one() -> int:\n    return 1\napp.run()\n"
    )
    with Wire([sys.executable, str(script)]) as server:
        assert server.raw_line() == b"loading\n"
        assert server.call("one") == "1"


# -- stdin and stdout that are no pipes


def test_input_may_be_a_file(wire: Wire) -> None:
    with wire as model, tempfile.TemporaryFile() as file:
        lines = [model.tool("add", {"a": n, "b": 1}, id=n) for n in range(2000)]
        file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        file.seek(0)
        with Wire(stdin=file.fileno()) as server:
            answers = server.rest()
            assert [one["result"]["content"][0]["text"] for one in answers] == [
                str(n + 1) for n in range(2000)
            ]
            assert server.status() == 0


def test_large_input_file_is_read_no_faster_than_it_is_answered() -> None:
    with Wire() as model, tempfile.TemporaryFile() as file:
        # While this one blocks, the rest could be read.
        file.write(json.dumps(model.tool("block", {"seconds": 0.5}, id=0)).encode() + b"\n")
        line = json.dumps(model.tool("size", {"text": "x" * 1_000_000}, id=1)).encode() + b"\n"
        for _ in range(150):
            file.write(line)
        file.write(json.dumps(model.tool("memory", id=2)).encode() + b"\n")
        file.seek(0)
        with Wire(stdin=file.fileno()) as server:
            _, *sizes, memory = server.rest()
            assert len(sizes) == 150
            assert int(memory["result"]["content"][0]["text"]) < 120_000_000


def test_input_may_be_a_terminal() -> None:
    controller, terminal = os.openpty()
    try:
        with Wire(stdin=terminal) as server:
            os.close(terminal)
            os.write(controller, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            assert server.line() == {"jsonrpc": "2.0", "id": 1, "result": {}}
            os.write(controller, b"\x04")  # end of file
            assert server.status() == 0
    finally:
        os.close(controller)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&-", "< /dev/null", "> /dev/full"])
def test_closed_or_full_streams_end_the_server_or_leave_it_working(redirection: str) -> None:
    command = f"exec {' '.join(SERVER)} {redirection}"
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    done = subprocess.run(
        ["sh", "-c", command],
        input=line,
        capture_output=True,
        timeout=20,
        check=False,
    )
    if redirection == "2>&-":
        assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert done.returncode == 0
    else:
        assert done.stdout == b""


def test_descriptors_are_blocking_again_after_the_end() -> None:
    """A terminal or a file that the shell shares with us must not stay non-blocking."""
    reader, writer = os.pipe()
    out_reader, out_writer = os.pipe()
    try:
        process = subprocess.Popen(SERVER, stdin=reader, stdout=out_writer)
        os.write(writer, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert os.read(out_reader, 1000)
        assert not os.get_blocking(reader)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert os.get_blocking(reader)
        assert os.get_blocking(out_writer)
    finally:
        for fd in (reader, writer, out_reader, out_writer):
            os.close(fd)
