"""``taut run``: what an agent does, where it is shown, and how a run ends and goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.agents import APPROVAL, ECHO, EXAMPLE
from cli.conftest import Taut, run_child
from taut.agent import RunState

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SEARCH = '***CALL_TOOL notes__search {"query": "milk"}'
MILK = '[{"title":"Errands","text":"Buy milk.\\nPost the letter.","tags":["home"]}]'
ID = "approval:.:1.0"

Agent = Callable[..., str]


@pytest.fixture
def agent(tmp_path: Path, server: str) -> Agent:
    """Write an agents file, beside ``example.py``, and return its path."""

    def write(text: str, name: str = "helper.toml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


class TestOutput:
    def test_the_output_goes_to_stdout_and_what_is_done_to_stderr(self, taut: Taut, agent: Agent) -> None:
        status, out, err = taut("run", agent(ECHO), SEARCH)
        assert (status, out) == (0, MILK + "\n")
        call, result, usage = err.splitlines()
        assert call == '-> notes__search {"query":"milk"}'
        assert result == f"<- notes__search: {MILK}"
        assert re.fullmatch(r"2 requests, [\d,]+ tokens in, \d+ out, 1 tool call", usage)

    def test_the_words_of_a_task_need_no_quotes(self, taut: Taut, agent: Agent) -> None:
        assert taut("run", agent(ECHO), "How", "late", "is", "it?", "-q").out == "How late is it?\n"
        assert taut("run", agent(ECHO), "-q", "--", "--odd", "words").out == "--odd words\n"

    def test_the_task_may_come_from_stdin(self, taut: Taut, agent: Agent) -> None:
        assert taut("run", agent(ECHO), "-", "-q", stdin="from a pipe").out == "from a pipe\n"

    def test_quiet_shows_the_output_only(self, taut: Taut, agent: Agent) -> None:
        assert taut("run", agent(ECHO), SEARCH, "--quiet") == (0, MILK + "\n", "")

    def test_text_before_a_call_is_no_output(self, taut: Taut, agent: Agent) -> None:
        text = '[agent]\nmodel = "m"\n[models.m]\ntype = "scripted"\nanswers = [["I look.", { call = "x" }], "Found."]'
        status, out, err = taut("run", agent(text), "go")
        assert (status, out) == (0, "Found.\n")
        assert err.splitlines()[0] == "I look."

    def test_an_output_that_is_no_text_is_json(self, taut: Taut, agent: Agent) -> None:
        text = (
            '[agent]\nmodel = "m"\noutput = { type = "array", items = { type = "integer" } }\n'
            "[models.m]\ntype = 'scripted'\nanswers = ['no', '{\"result\": [1, 2]}']"
        )
        status, out, err = taut("run", agent(text), "go")
        assert (status, out) == (0, "[\n  1,\n  2\n]\n")
        assert err.startswith("repair: ")

    def test_agents_below_are_told_apart(self, taut: Taut, agent: Agent) -> None:
        text = (
            "[agent]\npattern = 'chain'\nagents = ['a', 'b']\n[agents.a]\nmodel = 'echo'\ntools = ['tools.py:one']\n"
            "[agents.b]\nmodel = 'm'\n[models.m]\ntype = 'scripted'\nanswers = ['the end']"
        )
        path = agent(text)
        Path(path).with_name("tools.py").write_text("def one() -> int:\n    return 1")
        status, out, err = taut("run", path, "***CALL_TOOL one")
        assert (status, out) == (0, "the end\n")
        assert err.splitlines()[:4] == ["[a] -> one {}", "[a] <- one: 1", "[a] 1", "[b] the end"]

    def test_a_tool_that_fails_is_shown(self, taut: Taut, agent: Agent) -> None:
        status, out, err = taut("run", agent(EXAMPLE), '***CALL_TOOL example__fail {"why": "no more"}')
        assert (status, out) == (0, "no more\n")
        assert "<- example__fail failed: no more" in err.splitlines()

    def test_what_a_server_writes_to_stderr_is_shown(self, taut: Taut, agent: Agent) -> None:
        text = EXAMPLE.replace('command = "example.py"', 'command = "example.py"\nenv.PYTHONVERBOSE = "1"')
        assert "import " in taut("run", agent(text), "***CALL_TOOL example__count {}").err
        assert taut("run", agent(text), "***CALL_TOOL example__count {}", "-q").err == ""

    def test_a_form_is_declined_where_nobody_can_answer(self, taut: Taut, agent: Agent) -> None:
        status, out, err = taut("run", agent(EXAMPLE), "***CALL_TOOL example__greet")
        assert (status, out) == (0, "decline: None\n")
        assert "declined the server's question" in err


class TestMachines:
    def test_json_is_one_document(self, taut: Taut, agent: Agent) -> None:
        ended = taut("run", agent(ECHO), SEARCH, "--json", "-q")
        document = ended.json
        assert ended.err == ""
        assert (document["status"], document["output"], document["agent"]) == ("completed", MILK, "helper")
        assert (document["usage"]["requests"], document["usage"]["tool_calls"]) == (2, 1)
        assert [message["role"] for message in document["messages"]] == [
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        assert document["run_id"]

    def test_events_are_one_a_line(self, taut: Taut, agent: Agent) -> None:
        status, out, _ = taut("run", agent(ECHO), SEARCH, "--events")
        events = [msgspec.json.decode(line) for line in out.splitlines()]
        assert status == 0
        assert {event["path"] for event in events} == {"helper"}
        kinds = [event["event"] for event in events if event["event"] != "text"]
        assert kinds == ["step", "usage", "tool_call", "tool_result", "step", "usage", "done"]
        assert events[-1]["output"] == MILK

    def test_the_schema_is_the_one_in_the_documents(self, taut: Taut) -> None:
        assert taut("run", "--schema") == (0, (ROOT / "docs" / "agent.schema.json").read_text(), "")

    @pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently")
    @pytest.mark.parametrize("option", ["--events", "--json"])
    def test_a_reader_that_goes_away_is_no_error(self, agent: Agent, option: str) -> None:
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as out:
            done = subprocess.run(
                [sys.executable, "-m", "taut", "run", agent(ECHO), SEARCH, option, "-q"],
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=30,
            )
        assert (done.returncode, done.stderr) == (141, b"")


class TestOptions:
    def test_another_model(self, taut: Taut, agent: Agent) -> None:
        text = '[agent]\nmodel = "openai:none"\n[models.other]\ntype = "scripted"\nanswers = ["other"]'
        assert taut("run", agent(text), "hi", "--model", "other", "-q").out == "other\n"
        assert taut("run", agent(text), "hi", "--model", "echo", "-q").out == "hi\n"

    def test_a_file_with_secrets(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        secrets = tmp_path / "elsewhere.toml"
        secrets.write_text('agent.model = "echo"')
        secrets.chmod(0o600)
        assert taut("run", agent("[agent]"), "hi", "--secrets", str(secrets), "-q").out == "hi\n"

    def test_a_session(self, taut: Taut, agent: Agent) -> None:
        text = (
            '[agent]\nmodel = "m"\nmemory.sqlite = "kept.db"\n'
            '[models.m]\ntype = "scripted"\nanswers = ["first", "second"]'
        )
        assert taut("run", agent(text), "hi", "--session", "s", "-q").out == "first\n"
        assert taut("run", agent(text), "hi", "--session", "s", "-q").out == "second\n"
        assert taut("run", agent(text), "hi", "-q").out == "first\n"

    @pytest.mark.parametrize(
        ("option", "value", "tool", "message"),
        [
            ("--budget-tokens", "1", 'fail {"why": ""}', "tokens is 1, got "),
            ("--budget-calls", "0", "hang", "tool_calls is 0, got 1"),
            ("--budget-time", "0.05", "hang", "time_s is 0.05, got 0.05"),
        ],
    )
    def test_a_budget_that_is_used_up_is_status_1(
        self, taut: Taut, agent: Agent, option: str, value: str, tool: str, message: str
    ) -> None:
        task = f"***CALL_TOOL example__{tool}"
        status, out, err = taut("run", agent(EXAMPLE), task, option, value)
        assert (status, out) == (1, "")
        assert err.splitlines()[-1].startswith(f"taut run: Budget exceeded by helper: {message}")

    def test_the_agents_own_budget_stays_for_the_rest(self, taut: Taut, agent: Agent) -> None:
        text = ECHO.replace('model = "echo"', 'model = "echo"\nbudget.tool_calls = 0')
        assert taut("run", agent(text), SEARCH, "--budget-tokens", "100000").status == 1

    def test_money(self, taut: Taut, agent: Agent) -> None:
        # The cost of a model for tests is known: nothing.
        assert taut("run", agent(ECHO), SEARCH, "--budget-cost", "0.5", "-q").out == MILK + "\n"

    def test_failures_are_told_to_machines(self, taut: Taut, agent: Agent) -> None:
        ended = taut("run", agent(ECHO), SEARCH, "--budget-calls", "0", "--json")
        assert ended.status == 1
        assert ended.json["status"] == "failed"
        assert ended.json["error"]["type"] == "BudgetExceeded"
        assert ended.json["usage"]["requests"] == 1
        assert ended.err.endswith("Budget exceeded by helper: tool_calls is 0, got 1\n")


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "Expected AGENT.toml and a task, got nothing (see taut run --help)"),
            (["FILE"], "Expected a task behind AGENT.toml, or - to read it from stdin, got none"),
            (["FILE", "-"], "Expected a task on stdin, got none"),
            (["FILE", "x", "--resume", "y"], "Expected no task beside --resume, got x"),
            (["FILE", "x", "--approve", "all"], "Expected --resume FILE beside --approve and --reject"),
            (
                ["FILE", "--resume", "x", "--state", "y"],
                "Expected --state or --resume, got both: a run that is ",
            ),
            (["FILE", "--resume", "no.state"], "Cannot read the run in no.state: No such file or directory"),
            (["FILE", "--resume", "FILE"], "FILE: Expected the state of a run, got something else: "),
            (
                ["FILE", "x", "--state", "FILE"],
                "Expected --state to name a new file, got FILE: take up that run (",
            ),
            (
                ["FILE", "x", "--state", "no/such/place"],
                "Expected --state to name a file in a directory, got no/such/",
            ),
            (["none.toml", "x"], "Cannot read none.toml: No such file or directory"),
            (
                ["FILE", "x", "--model", "none"],
                "FILE: agent helper: expected a model of the file (there are none) or ",
            ),
            (
                ["FILE", "x", "--session", "s"],
                "Expected a memory of the agent helper beside --session, got none: say ",
            ),
            (["FILE", "x", "--yes", "--deny"], "argument --deny: not allowed with argument --yes"),
            (["FILE", "x", "--json", "--events"], "argument --events: not allowed with argument --json"),
            (["FILE", "x", "--budget-tokens", "-1"], "argument --budget-tokens: invalid count value: '-1'"),
            (["FILE", "x", "--budget-cost", "0"], "argument --budget-cost: invalid dollars value: '0'"),
        ],
    )
    def test_one_line_and_status_2(self, taut: Taut, agent: Agent, words: list[str], message: str) -> None:
        path = agent(ECHO)
        status, out, err = taut("run", *(path if word == "FILE" else word for word in words))
        assert (status, out) == (2, "")
        expected = re.sub(r"^FILE|(?<=got )FILE", path, message)
        assert err.startswith(f"taut run: {expected}")
        assert err.count("\n") == 1

    def test_a_server_that_does_not_start_is_status_3(self, taut: Taut, agent: Agent) -> None:
        text = (
            f'[agent]\nmodel = "echo"\nservers = ["x"]\n[servers.x]\ncommand = ["{sys.executable}", "-c", ""]'
        )
        status, out, err = taut("run", agent(text), "hi", "-q")
        assert (status, out) == (3, "")
        assert err.startswith("taut run: x: The server ")

    def test_a_server_that_is_not_required_is_done_without(self, taut: Taut, agent: Agent) -> None:
        text = (
            f'[agent]\nmodel = "echo"\nservers = ["x"]\n[servers.x]\ncommand = ["{sys.executable}", "-c", ""]\n'
            "required = false"
        )
        status, out, err = taut("run", agent(text), "hi")
        assert (status, out) == (0, "hi\n")
        assert "server missing: x: " in err

    def test_a_model_that_cannot_be_reached_is_status_3(self, taut: Taut, agent: Agent) -> None:
        text = '[agent]\nmodel = "m"\n[models.m]\nmodel = "http://127.0.0.1:1/v1#x"\nattempts = 1'
        status, out, err = taut("run", agent(text), "hi")
        assert (status, out) == (3, "")
        assert err.startswith("taut run: ")
        assert "127.0.0.1:1" in err

    def test_a_mistake_in_the_file_shows_no_secret(
        self, taut: Taut, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOKEN", "very-secret-token")
        text = '[agent]\nmodel = "echo"\n[servers.x]\nurl = "ftp://${TOKEN}"'
        for words in ([], ["--debug"]):
            status, _, err = taut("run", agent(text), "hi", *words)
            assert status == 2
            assert "${TOKEN}" in err
            assert "very-secret-token" not in err

    @pytest.mark.parametrize("command", ["run", "chat"])
    @pytest.mark.parametrize("when", ["lazily", "eagerly"])
    def test_a_server_that_cannot_be_started_shows_no_secret(
        self, taut: Taut, agent: Agent, monkeypatch: pytest.MonkeyPatch, command: str, when: str
    ) -> None:
        monkeypatch.setenv("TOKEN", "very-secret-token")
        text = (
            f"[agent]\nmodel = 'echo'\nservers = ['x']\nstart_servers = '{when}'\n"
            "[servers.x]\ncommand = ['no-such-program-${TOKEN}', '--token=${TOKEN}']"
        )
        words = [] if command == "chat" else ["hi"]
        for more in ([], ["--debug"]):
            status, _, err = taut(command, agent(text), *words, *more, stdin="hi\n")
            assert status == 2
            assert "no-such-program-${TOKEN}" in err
            assert "very-secret-token" not in err


class TestApprovals:
    def test_yes_approves_all(self, taut: Taut, agent: Agent) -> None:
        status, out, err = taut("run", agent(APPROVAL), "go", "--yes")
        assert (status, out) == (0, "Done.\n")
        assert '<- notes__search: [{"title":"Tea","text":"Green.","tags":[]}]' in err

    def test_deny_rejects_all_and_the_model_is_told(self, taut: Taut, agent: Agent) -> None:
        ended = taut("run", agent(APPROVAL), "go", "--deny", "--json")
        assert ended.json["output"] == "Done."
        told = ended.json["messages"][2]["content"][0]["content"]
        assert told.startswith("The call was not approved: calls that need approval are not made here.")

    def test_where_nobody_is_there_the_run_is_suspended(self, taut: Taut, agent: Agent) -> None:
        status, out, err = taut("run", agent(APPROVAL), "go")
        assert (status, out) == (5, "")
        assert err.splitlines() == [
            'Waits for approval: notes__add {"title":"Tea","text":"Green."}',
            f"  id {ID}",
            "The run is lost: nobody is here to approve. Run it with --state FILE, --yes or --deny.",
        ]

    def test_it_goes_on_in_another_process(self, agent: Agent, tmp_path: Path) -> None:
        path, state = agent(APPROVAL), str(tmp_path / "tea.state")
        status, out, err = run_child("run", path, "go", "--state", state)
        assert (status, out) == (5, "")
        assert f"taut run {path} --resume {state} --approve all" in err
        assert os.stat(state).st_mode & 0o077 == 0
        status, out, err = run_child("run", path, "--resume", state, "--approve", ID)
        assert (status, out) == (0, "Done.\n")
        assert '<- notes__search: [{"title":"Tea","text":"Green.","tags":[]}]' in err.splitlines()
        # Resumed once more, it would add the note again.
        assert not os.path.exists(state)
        assert os.listdir(tmp_path).count("helper.toml") == 1

    def test_a_rejection_has_a_reason(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        path, state = agent(APPROVAL), str(tmp_path / "tea.state")
        taut("run", path, "go", "--state", state, "--json")
        ended = taut("run", path, "--resume", state, "--reject", "all", "--reason", "no tea", "--json")
        assert ended.json["messages"][2]["content"][0]["content"].startswith(
            "The call was not approved: no tea."
        )

    def test_machines_are_told_what_waits_and_where(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        state = str(tmp_path / "tea.state")
        ended = taut("run", agent(APPROVAL), "go", "--state", state, "--json")
        assert ended.status == 5
        assert ended.json["status"] == "suspended"
        assert ended.json["state"] == state
        (waiting,) = ended.json["approvals"]
        assert (waiting["id"], waiting["tool"], waiting["path"]) == (ID, "notes:add", "helper")
        assert waiting["call"]["arguments"] == {"title": "Tea", "text": "Green."}

    def test_what_is_not_decided_waits_on(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        text = APPROVAL.replace(
            '{ call = "notes__add", arguments = { title = "Tea", text = "Green." } },',
            '[{ call = "notes__add", arguments = { title = "A", text = "a" } },'
            ' { call = "notes__add", arguments = { title = "B", text = "b" } }],',
        ).replace('"green"', '""')
        path, state = agent(text), str(tmp_path / "two.state")
        assert taut("run", path, "go", "--state", state).status == 5
        status, _, err = taut("run", path, "--resume", state, "--approve", ID)
        assert status == 5
        assert "approval:.:1.1" in err
        assert ID not in err
        # Those that are named are decided first, then all others.
        ended = taut("run", path, "--resume", state, "--reject", "all")
        assert ended.status == 0
        titles = [word for word in ("Errands", "Ideas", '"A"', '"B"') if word in ended.err]
        assert titles == ["Errands", "Ideas"]

    def test_named_calls_come_before_all_others(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        text = APPROVAL.replace(
            '{ call = "notes__add", arguments = { title = "Tea", text = "Green." } },',
            '[{ call = "notes__add", arguments = { title = "A", text = "a" } },'
            ' { call = "notes__add", arguments = { title = "B", text = "b" } }],',
        ).replace('"green"', '""')
        path, state = agent(text), str(tmp_path / "two.state")
        taut("run", path, "go", "--state", state)
        ended = taut("run", path, "--resume", state, "--approve", "all", "--reject", ID)
        assert ended.status == 0
        assert '"title":"B"' in ended.err
        assert "<- notes__search" in ended.err
        assert '{"title":"A"' not in ended.err.rpartition("<- notes__search")[2]

    def test_nobody_and_everybody(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        path, state = agent(APPROVAL), str(tmp_path / "tea.state")
        taut("run", path, "go", "--state", state)
        status, _, err = taut("run", path, "--resume", state, "--approve", "all", "--reject", "all")
        assert (status, err) == (2, "taut run: Expected --approve all or --reject all, got both\n")
        status, _, err = taut("run", path, "--resume", state, "--approve", "approval:.:9")
        assert status == 2
        assert err == f"taut run: Expected a call that waits for approval ({ID}), got approval:.:9\n"
        # Neither has done anything to it.
        assert taut("run", path, "--resume", state, "--approve", "all").out == "Done.\n"

    def test_the_run_of_another_agent(self, taut: Taut, agent: Agent, tmp_path: Path) -> None:
        state = str(tmp_path / "tea.state")
        taut("run", agent(APPROVAL), "go", "--state", state)
        status, _, err = taut("run", agent(APPROVAL, "other.toml"), "--resume", state, "--approve", "all")
        assert (status, err) == (2, "taut run: Expected the state of a run of other, got one of helper\n")
        assert RunState.from_bytes(Path(state).read_bytes()).agent == "helper"

    def test_a_run_that_has_failed_goes_on_with_a_larger_budget(
        self, taut: Taut, agent: Agent, tmp_path: Path
    ) -> None:
        path, state = agent(APPROVAL), str(tmp_path / "tea.state")
        status, _, err = taut("run", path, "go", "--yes", "--budget-calls", "1", "--state", state)
        assert status == 1
        assert err.splitlines()[-2] == f"Kept in {state}; to go on: taut run {path} --resume {state}"
        assert taut("run", path, "--resume", state, "--budget-calls", "2").out == "Done.\n"
        assert not os.path.exists(state)


class TestAtATerminal:
    def test_text_streams_and_calls_stand_between(self, terminal: Any, agent: Agent) -> None:
        text = (
            '[agent]\nmodel = "m"\nservers = ["example"]\n[servers.example]\ncommand = "example.py"\n'
            '[models.m]\ntype = "scripted"\n'
            'answers = [["I count.", { call = "example__count", arguments = { to = 3 } }], "Counted to 3."]'
        )
        command = terminal("run", agent(text), "go", NO_COLOR="1")
        command.wait_for("I count.\r\n")
        command.wait_for('-> example__count {"to":3}\r\n')
        # On a line that is rewritten.
        command.wait_for("\r")
        command.wait_for("example__count 3/3 counting ...")
        command.wait_for("\r<- example__count: done\r\n")
        command.wait_for("Counted to 3.\r\n")
        status, rest = command.end()
        assert status == 0
        assert rest.startswith("2 requests, ")
        assert "Counted" not in rest

    def test_lines_about_it_are_faint(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(ECHO), SEARCH)
        command.wait_for('\x1b[90m-> notes__search {"query":"milk"}\x1b[0m')
        assert command.end()[0] == 0

    def test_what_a_terminal_would_obey_is_left_out(self, terminal: Any, agent: Agent) -> None:
        text = '[agent]\nmodel = "m"\n[models.m]\ntype = "scripted"\nanswers = ["red\\u001b[31m\\u009b2J \\u0007end"]'
        command = terminal("run", agent(text), "go", NO_COLOR="1")
        command.wait_for("red[31m2J end\r\n")
        assert command.end()[0] == 0

    def test_a_call_is_approved(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(APPROVAL), "go")
        command.wait_for("helper wants to call notes:add with")
        command.wait_for('"title": "Tea"')
        command.wait_for("Approve? (y/n/e/a, ? says more) ")
        command.type("?\n")
        command.wait_for("e: edit the arguments")
        command.wait_for("Approve? ")
        command.type("y\n")
        command.wait_for('<- notes__add: {"title":"Tea"')
        command.wait_for("Done.")
        assert command.end()[0] == 0

    def test_a_call_is_rejected_with_a_reason(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(APPROVAL), "go")
        command.wait_for("Approve? ")
        command.type("n\n")
        command.wait_for("Why? ")
        command.type("no tea\n")
        command.wait_for("<- notes__search: []")
        assert command.end()[0] == 0

    def test_arguments_are_edited(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(APPROVAL), "go")
        command.wait_for("Approve? ")
        command.type("e\n")
        command.wait_for("Arguments (JSON, an empty line keeps them): ")
        command.type("\x15[1]\n")  # ^U: away with what is there
        command.wait_for("Expected a JSON object, got something else: ")
        command.wait_for("Approve? ")
        command.type("e\n")
        command.wait_for('{"title": "Tea", "text": "Green."}')
        command.type("\x15" + '{"title": "Mate", "text": "Also green."}\n')
        command.wait_for('-> notes__add {"title":"Mate","text":"Also green."}')
        command.wait_for('<- notes__search: [{"title":"Mate"')
        assert command.end()[0] == 0

    def test_calls_of_a_tool_are_approved_once_and_for_all(self, terminal: Any, agent: Agent) -> None:
        text = APPROVAL.replace('policy.approve = ["notes:add"]', 'policy.approve = ["*"]').replace(
            '{ call = "notes__search", arguments = { query = "green" } },',
            '{ call = "notes__add", arguments = { title = "B", text = "b" } }, { call = "notes__search",'
            ' arguments = { query = "b" } },',
        )
        command = terminal("run", agent(text), "go")
        command.wait_for("wants to call notes:add")
        command.type("a\n")
        command.wait_for('<- notes__add: {"title":"B"')
        command.wait_for("wants to call notes:search")
        command.type("y\n")
        command.wait_for("Done.")
        assert command.end()[0] == 0

    def test_the_end_of_input_is_a_no(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(APPROVAL), "go")
        command.wait_for("Approve? ")
        command.type("\x04")
        command.wait_for("<- notes__search: []")
        assert command.end()[0] == 0

    def test_what_cannot_be_seen_is_shown_before_it_is_approved(self, terminal: Any, agent: Agent) -> None:
        text = APPROVAL.replace('"Green."', '"a\\u202eb\\u200bc"')
        command = terminal("run", agent(text), "go")
        command.wait_for('"text": "a\\u202eb\\u200bc"')
        command.wait_for("Approve? ")
        command.type("y\n")
        assert command.end()[0] == 0

    def test_interrupt_ends_the_run(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(EXAMPLE), "***CALL_TOOL example__hang")
        command.wait_for("-> example__hang {}")
        command.type("\x03")
        status, shown = command.end()
        assert status == 130
        assert "Traceback" not in shown

    def test_interrupt_at_a_question_ends_the_run(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(APPROVAL), "go")
        command.wait_for("says more) ")
        command.press("\x03", until="\n")
        assert command.end()[0] == 130

    def test_a_form_of_a_server_is_filled_in(self, terminal: Any, agent: Agent) -> None:
        command = terminal("run", agent(EXAMPLE), "***CALL_TOOL example__greet")
        command.wait_for("Who are you?  (^D declines)")
        for question, answer in (("name: ", "Ada"), ("age: ", "36"), ('default "soup"): ', "fish")):
            command.wait_for(question)
            command.type(answer + "\n")
        command.wait_for("accept: Guest(name='Ada', age=36, meal='fish')")
        assert command.end()[0] == 0

    def test_questions_go_to_stderr_where_stdout_is_a_file(
        self, terminal: Any, agent: Agent, tmp_path: Path
    ) -> None:
        path, out = agent(APPROVAL), tmp_path / "out"
        (tmp_path / "sitecustomize.py").write_text(
            "import os, sys\n"
            f"if 'run' in sys.orig_argv: os.dup2(os.open({str(out)!r}, os.O_WRONLY | os.O_CREAT), 1)"
        )
        command = terminal("run", path, "go", PYTHONPATH=str(tmp_path))
        command.wait_for("Approve? (y/n/e/a, ? says more) ")
        command.type("y\n")
        command.wait_for("3 requests, ")
        assert command.end()[0] == 0
        assert out.read_text() == "Done.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_interrupt_without_a_terminal(agent: Agent) -> None:
    command = [sys.executable, "-m", "taut", "run", agent(EXAMPLE), "***CALL_TOOL example__hang"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        assert line == b"-> example__hang {}\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize(
    ("name", "task", "output"),
    [
        ("notes", "What do I have to buy?", "You have to buy milk.\n"),
        ("support", "My invoice is wrong", "Invoice 12 was corrected: it is 40 EUR.\n"),
        ("team", "Plan my evening", "Soup, then the notes on lamps.\n"),
        (
            "report",
            "Tea",
            '{\n  "title": "Ideas",\n  "points": [\n    "A lamp that reads with you."\n  ]\n}\n',
        ),
    ],
)
def test_examples_run(name: str, task: str, output: str) -> None:
    status, out, _ = run_child("run", str(ROOT / "examples" / "agents" / f"{name}.toml"), task)
    assert (status, out) == (0, output)


def test_the_example_of_approvals(tmp_path: Path) -> None:
    path, state = str(ROOT / "examples" / "agents" / "approvals.toml"), str(tmp_path / "tea.state")
    assert run_child("run", path, "Remember the tea", "--state", state).status == 5
    assert (
        run_child("run", path, "--resume", state, "--approve", "all").out
        == "There is a note about tea now.\n"
    )


def test_help_imports_no_agents() -> None:
    code = (
        "import sys; from taut.cli import main\n"
        "for words in (['--help'], ['run', '--help'], ['chat', '--help']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "sys.exit(', '.join({'taut.agent', 'taut.llm', 'msgspec', 'asyncio'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "have an agent do a task" in done.stdout
