"""``taut chat``: a conversation, on a pipe and at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.agents import APPROVAL, ECHO, EXAMPLE
from cli.conftest import Outcome, Taut, run_child

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SEARCH = '***CALL_TOOL notes__search {"query": "milk"}'

Agent = Callable[..., str]
Chat = Callable[..., Outcome]

SCRIPT = """
[agent]
model = "script"
MEMORY
[models.script]
type = "scripted"
answers = ["one", "two", "three"]
[models.other]
type = "scripted"
answers = ["other one", "other two", "other three"]
"""


@pytest.fixture
def agent(tmp_path: Path, server: str) -> Agent:
    """Write an agents file, beside ``example.py``, and return its path."""

    def write(text: str, **replaced: str) -> str:
        path = tmp_path / "helper.toml"
        for name, value in replaced.items():
            text = text.replace(name, value)
        path.write_text(text.replace("MEMORY", ""))
        return str(path)

    return write


@pytest.fixture
def chat(taut: Taut) -> Chat:
    """Have a conversation in this process, of lines on a pipe."""

    def run(path: str, *lines: str, options: tuple[str, ...] = ("-q",)) -> Outcome:
        return taut("chat", path, *options, stdin="".join(f"{line}\n" for line in lines))

    return run


class TestTurns:
    def test_each_line_is_one_and_what_was_said_is_known(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(SCRIPT), "a", "", "  ", "b") == (0, "one\ntwo\n", "")

    def test_what_is_done_is_shown_on_stderr(self, chat: Chat, agent: Agent) -> None:
        status, out, err = chat(agent(ECHO), SEARCH, options=())
        assert status == 0
        assert out.startswith('[{"title":"Errands"')
        assert err.splitlines()[0] == '-> notes__search {"query":"milk"}'
        assert err.splitlines()[-1].startswith("2 requests, ")

    def test_a_line_may_go_on(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(ECHO), "a\\", "b\\", "c", "d").out == "a\nb\nc\nd\n"
        assert chat(agent(ECHO), "a\\").out == "a\\\n"

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            (['"""', "a", "", "/b", '"""', "c"], "a\n\n/b\nc\n"),
            (['"""a', 'b"""', "c"], "a\nb\nc\n"),
            (['"""a"""'], "a\n"),
            (['"""a', "b"], "a\nb\n"),
        ],
    )
    def test_quotes_hold_several_lines(self, chat: Chat, agent: Agent, lines: list[str], said: str) -> None:
        assert chat(agent(ECHO), *lines).out == said

    def test_two_slashes_are_no_command(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(ECHO), "//help me").out == "/help me\n"

    def test_a_turn_that_fails_is_told_and_the_next_one_is_another(self, chat: Chat, agent: Agent) -> None:
        options = ("-q", "--budget-calls", "0")
        status, out, err = chat(agent(ECHO), "a", SEARCH, "b", options=options)
        assert (status, out) == (0, "a\nb\n")
        assert err == "taut chat: Budget exceeded by helper: tool_calls is 0, got 1\n"

    def test_the_status_is_that_of_the_last_turn(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(ECHO), "a", SEARCH, options=("-q", "--budget-calls", "0")).status == 1

    def test_what_has_failed_was_not_said(self, chat: Chat, agent: Agent, tmp_path: Path) -> None:
        saved = str(tmp_path / "said.json")
        chat(agent(ECHO), "a", SEARCH, f"/save {saved}", options=("--budget-calls", "0"))
        messages = msgspec.json.decode(Path(saved).read_bytes())
        assert [message["content"][0]["text"] for message in messages] == ["a", "a"]

    def test_an_output_that_is_no_text(self, chat: Chat, agent: Agent) -> None:
        text = (
            '[agent]\nmodel = "m"\noutput = { properties.x = { type = "integer" } }\n'
            "[models.m]\ntype = 'scripted'\nanswers = ['{\"x\": 1}']"
        )
        assert chat(agent(text), "a").out == '{\n  "x": 1\n}\n'

    def test_a_pattern_talks_too(self, chat: Chat, agent: Agent) -> None:
        text = '[agent]\npattern = "chain"\nagents = ["a"]\n[agents.a]\nmodel = "echo"'
        assert chat(agent(text), "x", "y") == (0, "x\ny\n", "")

    def test_mistakes_of_the_file_end_it(self, chat: Chat, agent: Agent) -> None:
        status, out, err = chat(agent("[agent]\nmodl = 1"), "a")
        assert (status, out) == (2, "")
        assert err.startswith("taut chat: ")
        assert "agent.modl: unknown key" in err


class TestApprovals:
    def test_the_next_line_decides(self, chat: Chat, agent: Agent) -> None:
        status, out, err = chat(agent(APPROVAL), "go", "y")
        assert (status, out) == (0, "Done.\n")
        assert "helper wants to call notes:add with" in err

    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            (["n", "not today"], "not approved: not today. Do"),
            (["n because"], "not approved: because. Do"),
            (["n", ""], "not approved. Do"),
        ],
    )
    def test_a_no_may_have_a_reason(
        self, chat: Chat, agent: Agent, tmp_path: Path, lines: list[str], told: str
    ) -> None:
        saved = str(tmp_path / "said.json")
        chat(agent(APPROVAL), "go", *lines, f"/save {saved}")
        assert told in Path(saved).read_text()

    def test_the_end_of_input_is_a_no(self, chat: Chat, agent: Agent) -> None:
        status, out, err = chat(agent(APPROVAL), "go", options=())
        assert (status, out) == (0, "Done.\n")
        assert "<- notes__search: []" in err.splitlines()

    @pytest.mark.parametrize(("option", "found"), [("--yes", "Green."), ("--deny", "[]")])
    def test_nobody_is_asked(self, chat: Chat, agent: Agent, option: str, found: str) -> None:
        status, out, err = chat(agent(APPROVAL), "go", options=(option,))
        assert (status, out) == (0, "Done.\n")
        assert found in next(line for line in err.splitlines() if line.startswith("<- notes__search"))


class TestCommands:
    def test_help_names_them_all(self, chat: Chat, agent: Agent) -> None:
        out = chat(agent(SCRIPT), "/help").out
        for name in ("/help", "/tools", "/usage", "/clear", "/model", "/save", "/exit"):
            assert name in out

    def test_an_unknown_one(self, chat: Chat, agent: Agent) -> None:
        status, out, err = chat(agent(SCRIPT), "/modl", "a")
        assert (status, out) == (0, "one\n")
        assert err.startswith("taut chat: Expected a command (/help, /tools, ")
        assert err.endswith("got /modl; did you mean model?\n")

    def test_tools(self, chat: Chat, agent: Agent) -> None:
        out = chat(agent(APPROVAL), "/tools").out
        assert out.splitlines()[0] == "helper"
        assert "notes__add  needs approval\n    Add a note.\n" in out
        assert "notes__search\n" in out

    def test_an_agent_without_tools(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(SCRIPT), "/tools").out == "helper\n\nno tools\n"

    def test_usage_is_of_all_turns(self, chat: Chat, agent: Agent) -> None:
        out = chat(agent(ECHO), "a", SEARCH, "/usage").out
        assert out.splitlines()[-1].startswith("2 answers: 3 requests, ")
        assert out.endswith(", 1 tool call\n")

    def test_clear_forgets(self, chat: Chat, agent: Agent, tmp_path: Path) -> None:
        saved = str(tmp_path / "said.json")
        assert chat(agent(SCRIPT), "a", "/clear", "b", f"/save {saved}").status == 0
        assert len(msgspec.json.decode(Path(saved).read_bytes())) == 2

    def test_model_goes_on_with_another(self, chat: Chat, agent: Agent) -> None:
        lines = ("a", "/model other", "b", "/model", "/model script", "c")
        out = chat(agent(SCRIPT), *lines).out
        assert out == "one\nother two\nother; models of the file: script, other\nthree\n"

    def test_an_unknown_model_leaves_the_one_there_is(self, chat: Chat, agent: Agent) -> None:
        status, out, err = chat(agent(SCRIPT), "a", "/model none", "b")
        assert (status, out) == (0, "one\ntwo\n")
        assert "expected a model of the file (script, other) or one like openai:NAME, got 'none'" in err

    def test_servers_stay_with_another_model(self, chat: Chat, agent: Agent) -> None:
        text = ECHO + '[models.other]\ntype = "echo"\n'
        add = '***CALL_TOOL notes__add {"title": "Tea", "text": "Green."}'
        out = chat(agent(text), add, "/model other", '***CALL_TOOL notes__search {"query": "tea"}').out
        assert out.splitlines()[-1] == '[{"title":"Tea","text":"Green.","tags":[]}]'

    def test_save_as_json_and_as_markdown(self, chat: Chat, agent: Agent, tmp_path: Path) -> None:
        as_json, as_text = tmp_path / "said.json", tmp_path / "said.md"
        err = chat(agent(ECHO), SEARCH, f"/save {as_json}", f"/save {as_text}").err
        assert err == f"4 messages in {as_json}\n4 messages in {as_text}\n"
        roles = [message["role"] for message in msgspec.json.decode(as_json.read_bytes())]
        assert roles == ["user", "assistant", "tool", "assistant"]
        text = as_text.read_text()
        assert text.startswith(f"## You\n\n{SEARCH}\n\n## Agent\n\n[")
        assert text.count("##") == 2

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("/save", "Expected /save FILE, got no file"),
            ("/save no/such/place", "Cannot write no/such/place: No such "),
        ],
    )
    def test_save_where_it_cannot_be(self, chat: Chat, agent: Agent, line: str, message: str) -> None:
        assert chat(agent(SCRIPT), line).err.startswith(f"taut chat: {message}")

    def test_exit_ends_it(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(SCRIPT), "a", "/exit", "b") == (0, "one\n", "")


class TestSessions:
    MEMORY = 'memory.sqlite = "kept.db"'

    def test_one_is_taken_up(self, chat: Chat, agent: Agent) -> None:
        path = agent(SCRIPT, MEMORY=self.MEMORY)
        assert chat(path, "a", options=("-q", "--session", "s")).out == "one\n"
        assert chat(path, "b", "/clear", options=("-q", "--session", "s")).out == "two\n"
        assert chat(path, "c", options=("-q", "--session", "s")).out == "one\n"

    def test_without_a_name_it_is_a_new_one(self, chat: Chat, agent: Agent, tmp_path: Path) -> None:
        path, saved = agent(SCRIPT, MEMORY=self.MEMORY), str(tmp_path / "said.json")
        assert chat(path, "a", options=("-q", "--session", "s")).out == "one\n"
        assert chat(path, "b", f"/save {saved}").out == "one\n"
        assert len(msgspec.json.decode(Path(saved).read_bytes())) == 2

    def test_another_model_remembers(self, chat: Chat, agent: Agent) -> None:
        assert chat(agent(SCRIPT, MEMORY="memory = true"), "a", "/model other", "b").out == "one\nother two\n"

    def test_one_without_a_memory(self, chat: Chat, agent: Agent) -> None:
        status, _, err = chat(agent(SCRIPT), "a", options=("--session", "s"))
        assert status == 2
        assert err == (
            "taut chat: Expected a memory of the agent helper beside --session, got none: say "
            'memory = { sqlite = "conversations.db" } in its table\n'
        )


class TestAtATerminal:
    def test_a_conversation(self, terminal: Any, agent: Agent) -> None:
        command = terminal("chat", agent(SCRIPT, MEMORY="memory = true"), NO_COLOR="1")
        command.wait_for("helper on script, session chat-")
        command.wait_for("/help says more, ^D ends")
        command.wait_for("> ")
        command.type("hello\n")
        command.wait_for("one\r\n")
        command.wait_for("1 request, ")
        command.wait_for("> ")
        command.type("\x1b[A\n")  # the last line again
        command.wait_for("hello")
        command.wait_for("two\r\n")
        command.wait_for("> ")
        command.type("\x04")
        assert command.end()[0] == 0

    def test_interrupt_ends_the_answer_and_not_the_conversation(self, terminal: Any, agent: Agent) -> None:
        command = terminal("chat", agent(EXAMPLE), NO_COLOR="1")
        command.wait_for("> ")
        command.type("***CALL_TOOL example__hang\n")
        command.wait_for("-> example__hang {}")
        command.type("\x03")
        command.wait_for("cancelled\r\n")
        command.wait_for("> ")
        # The server is there as before.
        command.type('***CALL_TOOL example__echo {"text": "still here"}\n')
        command.wait_for("still here\r\n")
        command.wait_for("> ")
        command.type("/exit\n")
        status, shown = command.end()
        assert status == 0
        assert "Traceback" not in shown

    def test_interrupt_at_the_prompt_drops_the_line(self, terminal: Any, agent: Agent) -> None:
        command = terminal("chat", agent(ECHO), NO_COLOR="1")
        command.wait_for("> ")
        command.type("half a li")
        command.wait_for("half a li")
        command.press("\x03", until="^D or /exit ends the conversation")
        command.wait_for("> ")
        command.type("whole\n")
        command.wait_for("\rwhole\r\n")
        command.wait_for("> ")
        command.type("\x04")
        assert command.end()[0] == 0

    def test_progress_and_a_form(self, terminal: Any, agent: Agent) -> None:
        command = terminal("chat", agent(EXAMPLE), NO_COLOR="1")
        command.wait_for("> ")
        command.type('***CALL_TOOL example__count {"to": 2}\n')
        command.wait_for("example__count 2/2 counting ...")
        command.wait_for("done\r\n")
        command.wait_for("> ")
        command.type("***CALL_TOOL example__greet\n")
        command.wait_for("Who are you?  (^D declines)")
        for question, answer in (("name: ", "Ada"), ("age: ", "36"), ('default "soup"): ', "")):
            command.wait_for(question)
            command.type(answer + "\n")
        command.wait_for("accept: Guest(name='Ada', age=36, meal='soup')")
        command.wait_for("> ")
        command.type("\x04")
        assert command.end()[0] == 0

    def test_interrupt_at_a_form_cancels_it(self, terminal: Any, agent: Agent) -> None:
        command = terminal("chat", agent(EXAMPLE), NO_COLOR="1")
        command.wait_for("> ")
        command.type("***CALL_TOOL example__greet\n")
        command.wait_for("name: ")
        command.type("\x03")
        command.wait_for("cancelled\r\n")
        command.wait_for("> ")
        command.type("hello\n")
        command.wait_for("\rhello\r\n")
        command.wait_for("> ")
        command.type("\x04")
        assert command.end()[0] == 0

    def test_an_approval_is_no_turn(self, terminal: Any, agent: Agent) -> None:
        command = terminal("chat", agent(APPROVAL), NO_COLOR="1")
        command.wait_for("> ")
        command.type("go\n")
        command.wait_for("Approve? (y/n/e/a, ? says more) ")
        command.type("y\n")
        command.wait_for("Done.")
        command.wait_for("> ")
        command.type("\x1b[A")
        command.wait_for("go")  # and not y
        command.type("\x15/exit\n")
        assert command.end()[0] == 0


def test_the_example() -> None:
    path = str(ROOT / "examples" / "agents" / "notes.toml")
    status, out, _ = run_child("chat", path, stdin="What do I have to buy?\nRemember the tea\ny\n/exit\n")
    assert (status, out) == (0, "You have to buy milk.\nThere is a note about tea now.\n")
