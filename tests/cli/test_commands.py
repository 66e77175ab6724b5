"""Whole commands: what goes to stdout, what to stderr, and the exit status."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Taut, run_child
from taut import __version__
from taut.cli import main

pytestmark = pytest.mark.processes

ECHO_CHILD = [sys.executable, "-c", "import sys; sys.stderr.write('no key\\n'); sys.exit(7)"]


class TestStart:
    def test_help_imports_no_event_loop_no_codec_and_no_rich(self) -> None:
        code = (
            "import sys; from taut.cli import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = {'asyncio', 'msgspec', 'rich', 'uvloop', 'inspect', 'logging'} & set(sys.modules)\n"
            "sys.exit(', '.join(heavy) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        assert "inspect  show what was negotiated" in done.stdout

    def test_python_m_taut_is_the_command(self) -> None:
        assert run_child("--version") == (0, f"taut {__version__}\n", "")

    @pytest.mark.parametrize("command", ["serve", "tools", "call", "inspect", "run", "chat", "demo"])
    def test_every_command_has_help(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: taut {command} ")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "taut: Expected a command (serve, tools, call, inspect, run, chat, demo), got none"),
            (
                ["tolls"],
                "taut: Expected a command (serve, tools, call, inspect, run, chat, demo), got 'tolls'",
            ),
            (["--json"], "taut: unrecognized arguments: --json (see taut --help)"),
            (["tools", "--jsn", "x"], "taut tools: unrecognized arguments: --jsn (see taut tools --help)"),
            (["tools"], "taut tools: Expected one TARGET, got none (see taut tools --help)"),
            (["tools", "a", "b"], "taut tools: Expected one TARGET, got a b (see taut tools --help)"),
            (["tools", "x", "--"], "taut: Expected the command line of a server after --, got nothing"),
            (
                ["tools", "--timeout", "-1", "x"],
                "taut tools: argument --timeout: invalid seconds value: '-1'",
            ),
            (
                ["tools", "nothing.py"],
                "taut tools: Expected a server's file or command, got nothing.py, which is not",
            ),
            (["tools", "ws://x/mcp"], "taut tools: Expected a command, got the URL ws://x/mcp"),
            (["tools", "http://"], "taut tools: Expected the name or address of a host, got "),
            (
                ["tools", "--header", "x", "http://x/"],
                "taut tools: Expected a header like 'Name: value', got ",
            ),
            (["tools", "'"], 'taut tools: Cannot split the command "\'" into words: No closing quotation'),
            (["tools", ""], "taut tools: Expected a file or a command, got an empty text"),
            (
                ["tools", "no-such-program"],
                "taut tools: Cannot start 'no-such-program': No such file or directory",
            ),
            (["call", "x"], "taut call: Expected TARGET and TOOL, got x (see taut call --help)"),
            (["call", "--", "x"], "taut call: Expected TOOL before --, got nothing (see taut call --help)"),
            (
                ["tools", "--mode", "2020", "cat"],
                "taut tools: Expected mode auto, legacy or one of 2024-11-05, ",
            ),
            (
                ["serve", "nothing.py"],
                "taut serve: Expected a Python file, got nothing.py, which is not there",
            ),
            (["demo", "--also-call", "x"], "taut demo: Expected --also COMMAND along with --also-call"),
        ],
    )
    def test_a_command_line_that_cannot_work_gets_one_line_and_status_2(
        self, taut: Taut, words: list[str], message: str
    ) -> None:
        status, out, err = taut(*words)
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith(message)

    def test_debug_shows_where_an_error_comes_from(self, taut: Taut) -> None:
        status, _, err = taut("tools", "nothing.py", "--debug")
        assert status == 2
        assert err.startswith("Traceback (most recent call last):\n")
        assert err.splitlines()[-1].startswith("taut.errors.ConfigError: ")


class TestConnecting:
    def test_a_server_that_ends_is_status_3_and_speaks_for_itself_on_stderr(self, taut: Taut) -> None:
        status, out, err = taut("tools", "--", *ECHO_CHILD)
        first, second = err.splitlines()
        assert (status, out, first) == (3, "", "no key")
        assert second.startswith("taut tools: The server ")
        assert second.endswith(" exited with status 7")

    def test_quiet_holds_stderr_back_until_it_explains_an_error(self, taut: Taut) -> None:
        status, _, err = taut("tools", "-q", shlex.join(ECHO_CHILD))
        assert status == 3
        assert err.splitlines()[0].endswith(" exited with status 7; its stderr ended with:")
        assert err.splitlines()[1:] == ["no key"]

    def test_a_server_that_does_not_answer_in_time_is_status_3(self, taut: Taut, server: str) -> None:
        status, out, err = taut("call", server, "hang", "--timeout", "0.2")
        assert (status, out) == (3, "")
        assert err.startswith("taut call: No answer to tools/call within 0.2 s")

    @pytest.mark.parametrize("form", ["file", "object", "quoted", "dashes"])
    def test_every_form_of_target_reaches_the_server(self, taut: Taut, server: str, form: str) -> None:
        served = [sys.executable, "-m", "taut", "serve", server]
        words = {"file": [server], "object": [f"{server}:app"], "quoted": [shlex.join(served)], "dashes": []}[
            form
        ]
        rest = ["--", *served] if form == "dashes" else []
        assert taut("call", *words, "add", "a=1", *rest) == (0, "2\n", "")

    def test_a_file_with_a_space_in_its_name_is_a_file(self, taut: Taut, server: str, tmp_path: Path) -> None:
        spaced = tmp_path / "my server.py"
        Path(server).rename(spaced)
        assert taut("call", str(spaced), "add", "a=1") == (0, "2\n", "")

    @pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
    def test_interrupt_ends_a_waiting_call_without_a_traceback(self, server: str) -> None:
        command = [sys.executable, "-m", "taut", "call", server, "hang", "--debug"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE
        ) as child:
            wait_for_child_of(child.pid)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=20)
        assert (child.returncode, out, err) == (130, b"", b"")

    @pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently")
    def test_a_reader_that_goes_away_is_no_error(self, server: str) -> None:
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as out:
            command = [sys.executable, "-m", "taut", "inspect", server]
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=30)
        assert (done.returncode, done.stderr) == (141, b"")


def wait_for_child_of(pid: int) -> None:
    """Return once the process has started a server: from then on it waits in its event loop."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("this platform does not list the children of a process")
    while not children.read_text():
        os.sched_yield()


class TestTools:
    def test_lists_signatures_over_descriptions(self, taut: Taut, server: str) -> None:
        status, out, err = taut("tools", server)
        assert (status, err) == (0, "")
        assert out.startswith(
            "add(a: integer, b: integer = 1) -> integer  read-only\n    Add two numbers.\necho(text: "
        )

    def test_json_is_the_list_as_the_server_sent_it(self, taut: Taut, server: str) -> None:
        listed = taut("tools", server, "--json").json
        assert [tool["name"] for tool in listed][:3] == ["add", "echo", "describe"]
        assert listed[0]["inputSchema"]["required"] == ["a"]
        assert listed[0]["annotations"] == {"readOnlyHint": True}

    def test_a_server_without_tools_has_none(self, taut: Taut, tmp_path: Path) -> None:
        (tmp_path / "bare.py").write_text("import taut\napp = taut.Server('bare')\n")
        assert taut("tools", str(tmp_path / "bare.py")) == (0, "The server has no tools.\n", "")
        assert taut("tools", str(tmp_path / "bare.py"), "--json").json == []


class TestInspect:
    def test_json_has_what_was_negotiated_and_all_that_is_offered(self, taut: Taut, server: str) -> None:
        seen = taut("inspect", server, "--json", "--mode", "2025-03-26").json
        assert (seen["revision"], seen["era"]) == ("2025-03-26", "legacy")
        assert seen["serverInfo"] == {"name": "example", "version": "1.5"}
        assert seen["instructions"] == "Be kind."
        assert set(seen["capabilities"]) >= {"tools", "resources", "prompts"}
        assert [one["uri"] for one in seen["resources"]] == ["mem://motto"]
        assert [one["uriTemplate"] for one in seen["resourceTemplates"]] == ["mem://note/{name}"]
        assert [one["name"] for one in seen["prompts"]] == ["review"]
        assert len(seen["tools"]) == 8

    def test_text_names_the_revision_and_every_kind_of_offer(self, taut: Taut, server: str) -> None:
        status, out, err = taut("inspect", server)
        assert (status, err) == (0, "")
        assert out.startswith("example 1.5  2026-07-28, modern era\n\n")
        for line in (
            "instructions  Be kind.",
            "Tools  8",
            "mem://motto  text/plain",
            "    What we live by.",
            "mem://note/{name}",
            "review(code, tone?)",
        ):
            assert line in out.splitlines()


class TestCall:
    @pytest.mark.parametrize(
        ("words", "out"),
        [
            (["add", "a=2", "b=3"], "5\n"),
            (["add", "--args", '{"a": 2, "b": 3}'], "5\n"),
            (["add", "--args", '{"a": 2, "b": 3}', "b=4"], "6\n"),
            (["echo", "text=12"], "12\n"),
            (["echo", "text=a=b"], "a=b\n"),
            (["echo", 'text:="12"'], "12\n"),
            (["describe", "anything=[1,2]"], '{\n  "got": [\n    1,\n    2\n  ]\n}\n'),
            (["picture"], "a picture\n[image image/png, 6 B; --save DIR writes it to a file]\n"),
        ],
    )
    def test_prints_what_the_tool_answers(self, taut: Taut, server: str, words: list[str], out: str) -> None:
        assert taut("call", server, *words) == (0, out, "")

    def test_arguments_may_come_from_stdin(self, taut: Taut, server: str) -> None:
        assert taut("call", server, "add", "--args", "-", stdin='{"a": 40, "b": 2}').out == "42\n"

    def test_options_may_stand_anywhere(self, taut: Taut, server: str) -> None:
        assert taut("call", "--quiet", server, "add", "a=1", "--mode", "legacy", "b=1").out == "2\n"

    def test_a_tools_own_failure_is_status_1_and_goes_to_stderr(self, taut: Taut, server: str) -> None:
        assert taut("call", server, "fail", "why=no more") == (
            1,
            "",
            "taut call: tool fail failed: no more\n",
        )

    def test_json_is_the_result_whether_it_failed_or_not(self, taut: Taut, server: str) -> None:
        status, out, err = taut("call", server, "add", "a=1", "--json")
        assert (status, err) == (0, "")
        assert '"structuredContent": {\n    "result": 2\n  }' in out
        failed = taut("call", server, "fail", "why=x", "--json")
        assert (failed.status, failed.err) == (1, "")
        assert failed.json["isError"] is True

    def test_an_unknown_tool_is_status_2_and_names_the_known_ones(self, taut: Taut, server: str) -> None:
        status, _, err = taut("call", server, "ad", "a=1")
        assert status == 2
        assert err.startswith("taut call: Expected a tool of the server (add, echo, describe, ")

    def test_a_value_of_the_wrong_type_is_status_2_before_any_call(self, taut: Taut, server: str) -> None:
        expected = (
            "taut call: Expected integer (as JSON) for a, got 'x'; add takes a: integer, b: integer = 1\n"
        )
        assert taut("call", server, "add", "a=x") == (2, "", expected)

    def test_save_writes_media_to_files(self, taut: Taut, server: str, tmp_path: Path) -> None:
        directory = tmp_path / "new"
        status, out, _ = taut("call", server, "picture", "--save", str(directory))
        assert (status, out) == (0, f"a picture\n[image image/png, 6 B: {directory / 'image-1.png'}]\n")
        assert (directory / "image-1.png").read_bytes() == b"pixels"

    def test_save_overwrites_nothing(self, taut: Taut, server: str, tmp_path: Path) -> None:
        (tmp_path / "image-1.png").write_text("mine")
        status, _, err = taut("call", server, "picture", "--save", str(tmp_path))
        assert status == 2
        assert "Cannot write" in err
        assert (tmp_path / "image-1.png").read_text() == "mine"

    def test_log_shows_the_servers_messages_on_stderr(self, taut: Taut, server: str) -> None:
        assert taut("call", server, "count", "to=1", "--log", "info") == (0, "done\n", "[info] counted\n")
        assert taut("call", server, "count", "to=1") == (0, "done\n", "")

    @pytest.mark.parametrize("mode", ["auto", "legacy"])
    def test_a_question_is_declined_where_nobody_can_answer(self, taut: Taut, server: str, mode: str) -> None:
        status, out, err = taut("call", server, "greet", "--mode", mode)
        assert (status, out) == (0, "decline: None\n")
        assert err == "taut: declined the server's question, since stdin is no terminal: Who are you?\n"
