"""A server that dies, closes, lies or says nothing: every call of the client ends, and says why."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from faults.loops import Lines, Run
from faults.wire import SERVER, alive, until
from taut import Client
from taut.errors import ConfigError, ConnectionClosed, ConnectTimeout, TautError, TransportError
from taut.transport.process import ProcessTransport


def script(text: str) -> list[str]:
    """Return the command of a child that runs ``text``."""
    return [sys.executable, "-c", text]


def pid_of(client: Client) -> int:
    transport = client.connection.transport
    assert isinstance(transport, ProcessTransport)
    return transport.pid


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_every_open_call_ends_with_the_signal_and_the_stderr_of_a_killed_server(run: Run, mode: str) -> None:
    async def main() -> None:
        stderr = Lines()
        async with Client(SERVER, mode=mode, stderr=stderr) as client:
            calls = [asyncio.ensure_future(client.call_tool("wait")) for _ in range(20)]
            await stderr.hold("waiting", 20)
            os.kill(pid_of(client), signal.SIGKILL)
            for error in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(error, ConnectionClosed)
                assert not error.clean
                assert "SIGKILL" in str(error)
                assert stderr.lines[-1] in str(error)
            with pytest.raises(ConnectionClosed, match="SIGKILL"):
                await client.call_tool("add", {"a": 1, "b": 2})
            assert client.connection.peer.open_calls == 0

    run(main())


def test_exit_in_the_middle_of_a_call_tells_status_and_last_words(run: Run) -> None:
    async def main() -> None:
        async with Client(SERVER, stderr=Lines()) as client:
            with pytest.raises(ConnectionClosed, match=r"exited with status 7(.|\n)*last words"):
                await client.call_tool("die")

    run(main())


def test_answers_written_before_the_end_are_not_lost(run: Run) -> None:
    """A server that answers and exits at once: what it wrote is read before the connection ends."""

    async def main() -> None:
        async with Client(SERVER, stderr=Lines()) as client:
            answers = [asyncio.ensure_future(client.call_tool("big", {"count": 20_000})) for _ in range(200)]
            end = asyncio.ensure_future(client.call_tool("die"))
            results = await asyncio.gather(*answers, end, return_exceptions=True)
            assert isinstance(results[-1], ConnectionClosed)
            # The server writes at the end of a read event; what it never wrote may be missing, nothing else.
            for result in results[:-1]:
                assert isinstance(result, ConnectionClosed) or len(result.content[0].text) == 20_000

    run(main())


ANSWER_THEN_EXIT = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "tools/call":
        result = {"content": [{"type": "text", "text": "x" * 300000}]}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        os.close(0)
        print(json.dumps(answer), flush=True)
        print("done here", file=sys.stderr)
        sys.exit(5)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "0"}}}), flush=True)
"""


def test_answer_of_a_server_that_no_longer_reads_is_not_lost(run: Run) -> None:
    """Writing fails with EPIPE while an answer lies in the pipe."""

    async def main() -> None:
        async with Client(script(ANSWER_THEN_EXIT), mode="legacy", stderr=Lines()) as client:
            calls = [asyncio.ensure_future(client.call_tool("x", {"text": "y" * 100_000})) for _ in range(50)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert len(results[0].content[0].text) == 300_000
            for error in results[1:]:
                assert isinstance(error, ConnectionClosed)
                assert "exited with status 5" in str(error)
                assert "done here" in str(error)

    run(main())


def test_server_that_closes_its_output_but_lives_on_ends_the_connection(run: Run) -> None:
    child = script(
        "import os, sys, time; sys.stdin.readline(); print('going mute', file=sys.stderr, flush=True);"
        "os.close(1); sys.stdin.read(); time.sleep(1)"
    )

    async def main() -> None:
        client = Client(child, stderr=Lines())
        with pytest.raises(ConnectionClosed, match=r"closed its output(.|\n)*going mute"):
            await client.connect()

    run(main())


def test_server_that_exits_at_once_tells_its_stderr(run: Run) -> None:
    child = script("import sys; print('no configuration found', file=sys.stderr); sys.exit(2)")

    async def main() -> None:
        with pytest.raises(ConnectionClosed, match=r"exited with status 2(.|\n)*no configuration found"):
            await Client(child, stderr=Lines()).connect()

    run(main())


@pytest.mark.parametrize("command", [["/no/such/program"], "no-such-program-anywhere --flag", [__file__]])
def test_command_that_cannot_be_started(run: Run, command: Any) -> None:
    async def main() -> None:
        with pytest.raises((ConfigError, TransportError)):
            await Client(command, stderr=Lines()).connect()

    run(main())


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_server_that_never_answers_is_a_timeout_and_is_ended(run: Run, mode: str) -> None:
    async def main() -> None:
        pids: list[int] = []
        child = script("import os, sys; print(os.getpid(), file=sys.stderr, flush=True); sys.stdin.read()")
        client = Client(
            child,
            mode=mode,
            probe_timeout_s=0.05,
            connect_timeout_s=0.4,
            stderr=lambda line: pids.append(int(line)),
        )
        with pytest.raises(ConnectTimeout):
            await client.connect()
        assert not any(alive(pid) for pid in pids)

    run(main())


def test_garbage_before_the_first_answer_is_skipped(run: Run) -> None:
    wrapped = script(
        "import os, sys; os.write(1, b'Loading model...\\n\\xff\\xfe\\n{\"jsonrpc\":\\n[]\\nnull\\n\\n');"
        f"os.execv(sys.executable, {SERVER!r})"
    )

    async def main() -> None:
        async with Client(wrapped) as client:
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.content[0].text == "3"
            assert client.connection.peer.malformed == 5

    run(main())


#: A legacy server that answers ``initialize`` well and everything else with the line that it was given.
LIAR = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "logging": {}}, "serverInfo": {"name": "liar", "version": "0"}}}), flush=True)
    elif message.get("params", {}).get("name") == "honest":
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}}), flush=True)
    elif "id" in message:
        print(sys.argv[1].replace("$", str(message["id"])), flush=True)
"""

LIES = {
    "result that is no object": '{"jsonrpc":"2.0","id":$,"result":1}',
    "result null": '{"jsonrpc":"2.0","id":$,"result":null}',
    "result of another method": '{"jsonrpc":"2.0","id":$,"result":{"tools":[]}}',
    "result of wrong types": '{"jsonrpc":"2.0","id":$,"result":{"content":7}}',
    "error that is no object": '{"jsonrpc":"2.0","id":$,"error":"no"}',
    "empty error": '{"jsonrpc":"2.0","id":$,"error":{}}',
    "error code as text": '{"jsonrpc":"2.0","id":$,"error":{"code":"1","message":"x"}}',
    "result and error": '{"jsonrpc":"2.0","id":$,"result":{},"error":{"code":1,"message":"x"}}',
    "no jsonrpc": '{"id":$,"result":{"content":[]}}',
    "lone surrogate": '{"jsonrpc":"2.0","id":$,"result":{"content":[{"type":"text","text":"\\ud800"}]}}',
    "too deep": '{"jsonrpc":"2.0","id":$,"result":' + "[" * 10_000 + "]" * 10_000 + "}",
    "trailing garbage": '{"jsonrpc":"2.0","id":$,"result":{"content":[]}}x',
}


@pytest.mark.parametrize("lie", LIES)
def test_malformed_answer_ends_its_call_and_no_other(run: Run, lie: str) -> None:
    async def main() -> None:
        async with Client([*script(LIAR), LIES[lie]], mode="legacy", timeout_s=5) as client:
            with pytest.raises(TautError) as caught:
                await client.call_tool("x")
            assert "No answer" not in str(caught.value)
            assert (await client.call_tool("honest")).content == []

    run(main())


MALFORMED_NOTIFICATIONS = [
    '{"jsonrpc":"2.0","method":"notifications/message"}',
    '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":7}}',
    '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{}}',
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$,"progress":"much"}}',
    '{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":7}}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":$}}',
]


@pytest.mark.parametrize("line", MALFORMED_NOTIFICATIONS)
def test_malformed_notification_loses_no_answer_that_came_with_it(run: Run, line: str) -> None:
    # One write: the notification and the answer arrive in one read event.
    lines = line + '\n{"jsonrpc":"2.0","id":$,"result":{"content":[]}}'

    async def main() -> None:
        async with Client(
            [*script(LIAR), lines], mode="legacy", timeout_s=5, logging=lambda _: None
        ) as client:
            assert (await client.call_tool("x")).content == []
            assert (await client.call_tool("honest")).content == []

    run(main())


def test_callback_that_raises_loses_no_answer(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    lines = (
        '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"x"}}\n'
        '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$,"progress":1}}\n'
        '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
        '{"jsonrpc":"2.0","id":$,"result":{"content":[]}}'
    )

    def raises(_: object) -> None:
        raise RuntimeError("the callback is broken")

    async def main() -> None:
        child = [*script(LIAR), lines]
        async with Client(
            child, mode="legacy", timeout_s=5, logging=raises, on_notification=raises
        ) as client:
            assert (await client.call_tool("x", on_progress=raises)).content == []

    run(main())
    assert caplog.text.count("the callback is broken") >= 3


def test_grandchild_does_not_outlive_the_connection(run: Run) -> None:
    async def main() -> None:
        async with Client(SERVER) as client:
            grandchild = int((await client.call_tool("grandchild")).content[0].text)
            assert alive(grandchild)
        until(lambda: not alive(grandchild), "the grandchild to be gone")

    run(main())


def test_killed_server_does_not_leave_a_grandchild(run: Run) -> None:
    async def main() -> None:
        async with Client(SERVER, stderr=Lines()) as client:
            grandchild = int((await client.call_tool("grandchild")).content[0].text)
            os.kill(pid_of(client), signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                await client.call_tool("wait")
        until(lambda: not alive(grandchild), "the grandchild to be gone")

    run(main())


def test_flood_on_stderr_does_not_stop_the_answers(run: Run) -> None:
    async def main() -> None:
        received = 0

        def count(line: str) -> None:
            nonlocal received
            received += len(line) + 1

        async with Client(SERVER, stderr=count) as client:
            flood = asyncio.ensure_future(client.call_tool("flood", {"count": 12_000_000}))
            added = await asyncio.gather(*(client.call_tool("add", {"a": n, "b": 1}) for n in range(100)))
            assert [int(one.content[0].text) for one in added] == list(range(1, 101))
            assert (await flood).content[0].text == "flooded"
        assert received >= 11_900_000

    run(main())


def test_stderr_without_line_ends_takes_no_memory(run: Run) -> None:
    child = script("import os, sys\nfor _ in range(300): os.write(2, b'z' * 65536)\nsys.exit(1)")

    async def main() -> None:
        longest = 0

        def measure(line: str) -> None:
            nonlocal longest
            longest = max(longest, len(line))

        with pytest.raises(ConnectionClosed) as caught:
            await Client(child, stderr=measure).connect()
        assert longest <= 8192
        assert len(str(caught.value)) < 200_000

    run(main())


def test_broken_stderr_sink_does_not_break_the_connection(run: Run) -> None:
    def raises(_: str) -> None:
        raise RuntimeError("the sink is broken")

    async def main() -> None:
        seen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
        async with Client(SERVER, stderr=raises) as client:
            assert (await client.call_tool("flood", {"count": 5000})).content[0].text == "flooded"
            assert (await client.call_tool("add", {"a": 1, "b": 2})).content[0].text == "3"

    run(main())
