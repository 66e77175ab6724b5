"""Agents files: what is read, what is filled in, and how mistakes are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from taut.agent import Budget, ToolPolicy
from taut.agent.config import AgentFile, load
from taut.agent.config.agents import AgentTable
from taut.agent.config.checking import KeyProblem
from taut.agent.config.environment import Hidden, fill_in
from taut.errors import ConfigError

SECRET = "sk-very-secret-1"


def read(directory: Path, text: str, secrets: str | None = None, **environ: str) -> AgentFile:
    """Read an agents file with this text."""
    path = directory / "clock.toml"
    path.write_text(text)
    if secrets is not None:
        beside = directory / "clock.secrets.toml"
        beside.write_text(secrets)
        beside.chmod(0o600)
    return load(path, environ=environ)


def mistake(directory: Path, text: str, secrets: str | None = None, **environ: str) -> str:
    """Return what is said of an agents file that cannot be, after its directory."""
    with pytest.raises(ConfigError) as error:
        read(directory, text, secrets, **environ)
    assert error.value.__cause__ is None  # a traceback shows no more than the message
    return str(error.value).removeprefix(f"{directory}/")


class TestAgents:
    def test_one_agent_is_named_after_its_file(self, tmp_path: Path) -> None:
        file = read(tmp_path, '[agent]\nmodel = "echo"\ninstructions = "Be kind."')
        assert (file.main, list(file.agents)) == ("clock", ["clock"])
        table = file.agents["clock"]
        assert isinstance(table, AgentTable)
        assert table.instructions == "Be kind."

    def test_a_name_of_its_own_wins(self, tmp_path: Path) -> None:
        assert read(tmp_path, '[agent]\nname = "watch"').main == "watch"

    def test_a_file_name_that_is_no_agents_name_is_made_one(self, tmp_path: Path) -> None:
        path = tmp_path / "my clock.v2.toml"
        path.write_text("[agent]")
        assert load(path, environ={}).main == "my-clock-v2"

    def test_agent_is_what_is_run_beside_others(self, tmp_path: Path) -> None:
        file = read(tmp_path, '[agents.helper]\n[agent]\nagents = ["helper"]')
        assert (file.main, list(file.agents)) == ("clock", ["clock", "helper"])

    def test_main_says_what_is_run(self, tmp_path: Path) -> None:
        assert read(tmp_path, 'main = "b"\n[agents.a]\n[agents.b]').main == "b"

    def test_the_one_that_no_other_uses_is_run(self, tmp_path: Path) -> None:
        text = (
            '[agents.a]\n[agents.all]\npattern = "chain"\nagents = ["a", "b"]\n'
            '[agents.b]\nagents = ["c"]\n[agents.c]'
        )
        assert read(tmp_path, text).main == "all"

    def test_repr_has_names_only(self, tmp_path: Path) -> None:
        text = (
            '[agent]\nservers = ["web"]\nmemory = { sqlite = "x.db", key = "${K}" }\n'
            '[servers.web]\nurl = "https://x/${K}"\n[models.m]\ntype = "openai"\nmodel = "gpt"\napi_key = "${K}"\n'
            'http.proxy = "http://me:${K}@proxy"'
        )
        file = read(tmp_path, text, K=SECRET)
        assert repr(file) == (
            f"AgentFile('{tmp_path}/clock.toml', main='clock', agents=['clock'], servers=['web'], models=['m'])"
        )
        assert SECRET not in repr(file.tables) + pretty_repr(file.tables)
        assert repr(file.tables.models["m"]) == (
            "ModelTable(type='openai', model='gpt', api_key=Ellipsis, http=HttpTable(proxy=Ellipsis))"
        )
        assert file.tables.models["m"].api_key == SECRET


class TestDefaults:
    def test_they_are_for_what_an_agent_does_not_say(self, tmp_path: Path) -> None:
        file = read(
            tmp_path,
            'main = "a"\n[defaults]\nmodel = "echo"\nbudget = { tokens = 100, tool_calls = 3 }\nmemory = true\n'
            'policy = { approve = ["x"], timeout_s = 5 }\n'
            '[agents.a]\nmodel = "echo:auto"\nbudget.tokens = 7\npolicy.approve = ["y"]\n'
            '[agents.b]\nmemory = { sqlite = "b.db" }',
        )
        a, b = file.agents["a"], file.agents["b"]
        assert isinstance(a, AgentTable)
        assert isinstance(b, AgentTable)
        assert (a.model, b.model) == ("echo:auto", "echo")
        assert a.budget == Budget(tokens=7, tool_calls=3)
        assert a.policy == ToolPolicy(approve=("y",), timeout_s=5)
        assert b.budget == Budget(tokens=100, tool_calls=3)
        assert a.memory is True
        assert b.memory is not True

    def test_a_pattern_takes_those_that_it_has(self, tmp_path: Path) -> None:
        text = (
            '[defaults]\nmodel = "echo"\nmemory = true\nbudget.tokens = 9\n'
            '[agents.a]\n[agents.all]\npattern = "chain"\nagents = ["a"]'
        )
        assert read(tmp_path, text).agents["all"].budget == Budget(tokens=9)


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "clock.toml: expected a table [agent], or [agents.NAME], got neither"),
            ("agent = 3", "clock.toml: agent: expected a table, got an integer"),
            ("agents = 3", "clock.toml: agents: expected a table, got an integer"),
            (
                "x = 1\n[agent]",
                "clock.toml: x: unknown key; there are agent, agents, defaults, main, models, servers",
            ),
            ('[agent]\nmodl = "echo"', "clock.toml: agent.modl: unknown key; did you mean model?"),
            ("[agent]\nmodel = 3", "clock.toml: agent.model: expected a text, got an integer"),
            ("[agent]\nservers = 'x'", "clock.toml: agent.servers: expected an array, got a text"),
            ("[agent]\nservers = ['a', 2]", "clock.toml: agent.servers.1: expected a text, got an integer"),
            (
                "[agent]\nmemory = 'x'",
                "clock.toml: agent.memory: expected true or false or a table, got a text",
            ),
            ("[agent]\nmemory = {}", "clock.toml: agent.memory.sqlite: expected this key, got none"),
            (
                "[agent]\nmemory.sqlite = ''",
                "clock.toml: agent.memory: expected sqlite = the name of a file, got an empty text",
            ),
            (
                "[agent]\nbudget.tokens = 'many'",
                "clock.toml: agent.budget.tokens: expected an integer, got a text",
            ),
            (
                "[agent]\nbudget.tokens = -1",
                "clock.toml: agent.budget: expected tokens of at least 0, got -1",
            ),
            (
                "[agent]\nbudget.token = 1",
                "clock.toml: agent.budget.token: unknown key; did you mean tokens?",
            ),
            ("[agent]\nbudget = 1", "clock.toml: agent.budget: expected a table, got an integer"),
            (
                "[agent]\npolicy.cache_s = { 'a:*' = 1, 'b:*' = 'x' }",
                'clock.toml: agent.policy.cache_s."b:*": expected a number, got a text',
            ),
            (
                "[agent]\npolicy.timeout_s = 0",
                "clock.toml: agent.policy: expected a positive timeout_s, got 0.0",
            ),
            (
                "[agent]\nsettings.temprtre = 1",
                "clock.toml: agent.settings.temprtre: unknown key; did you mean ",
            ),
            (
                "[agent]\nsettings.stop = ['a', 1]",
                "clock.toml: agent.settings.stop.1: expected a text, got an integer",
            ),
            (
                "[agent]\nstart_servers = 'eager'",
                "clock.toml: agent.start_servers: expected one of eagerly, lazily, got 'eager'; did you mean eagerly?",
            ),
            (
                "[agent]\nsearch = { limit = 0 }",
                "clock.toml: agent.search: expected a limit of at least 1 and max_found of at least that, got 0 and 20",
            ),
            (
                "[agent]\nmemory = true\ncompaction.max_tokens = 0",
                "clock.toml: agent.compaction.max_tokens: expected at least 1, got 0",
            ),
            ("[agent]\ncompaction = {}", "clock.toml: agent: expected memory beside compaction, got none"),
            ("[agent]\nrepairs = -1", "clock.toml: agent: expected repairs of at least 0, got -1"),
            (
                "[agent]\ninstructions = 'a'\ninstructions_file = 'b'",
                "clock.toml: agent: expected instructions or instructions_file, got both",
            ),
            ("[agent]\ntools = [{}]", "clock.toml: agent.tools.0.function: expected this key, got none"),
            (
                "[agent]\ntools = [{ function = 'a:b', nme = 'c' }]",
                "clock.toml: agent.tools.0.nme: unknown key; did ",
            ),
            (
                "[agent]\npattern = 'chian'",
                "clock.toml: agent.pattern: expected one of agent, chain, router, ",
            ),
            ("[agent]\npattern = 3", "clock.toml: agent.pattern: expected one of agent, chain, router, "),
            ("[agent]\npattern = 'chain'", "clock.toml: agent.agents: expected this key, got none"),
            (
                "[agents.a]\nname = 'b'",
                "clock.toml: agents.a.name: expected no name beside the key a, got 'b'",
            ),
            (
                "[agents.a]\n[agent]\nname = 'a'",
                "clock.toml: agents.a: expected another name, since [agent] is a",
            ),
            (
                "main = 'x'\n[agent]",
                "clock.toml: main: expected it with [agents] only: [agent] is what is run",
            ),
            (
                "main = 'cloc'\n[agents.clock]",
                "clock.toml: main: expected an agent (clock), got 'cloc'; did you mean ",
            ),
            (
                "[agents.a]\n[agents.b]",
                "clock.toml: expected main = the name of the agent that is run (a, b), got none",
            ),
            (
                "[agent]\nservers = ['tim']\n[servers.time]\ncommand = 'x'",
                "clock.toml: agent.servers.0: expected a server of the file (time), got 'tim'; did you mean time?",
            ),
            (
                "[agent]\nservers = ['time']",
                "clock.toml: agent.servers.0: expected a server of the file (there are none), got 'time'",
            ),
            (
                "[agent]\nagents = ['b']\n[agents.a]",
                "clock.toml: agent.agents.0: expected an agent of the file (a), got 'b'",
            ),
            (
                "[agent]\nmodel = 'fsat'\n[models.fast]\ntype = 'echo'",
                "clock.toml: agent.model: expected a model of the file (fast) or one like openai:NAME, got 'fsat'; ",
            ),
            (
                "[defaults]\nmodel = 'x'\n[agent]",
                "clock.toml: defaults.model: expected a model of the file (there are ",
            ),
            ("[defaults]\nservers = ['x']\n[agent]", "clock.toml: defaults.servers: unknown key; there are "),
            ("defaults = 1\n[agent]", "clock.toml: defaults: expected a table, got an integer"),
            (
                "[agents.a]\nagents = ['b']\n[agents.b]\npattern = 'chain'\nagents = ['a']",
                "clock.toml: agents.a: expected agents that do not use each other in a circle, got a -> b -> a",
            ),
            ("[servers.x]\n[agent]", "clock.toml: servers.x: expected a command or a url, got neither"),
            (
                "[servers.x]\nurl = 'ftp://y'\n[agent]",
                "clock.toml: servers.x: expected a url of http, https, ws or ",
            ),
            (
                "[servers.x]\nurls = 'y'\n[agent]",
                "clock.toml: servers.x.urls: unknown key; did you mean url?",
            ),
            (
                "[servers.'a b']\ncommand = 1\n[agent]",
                'clock.toml: servers."a b".command: expected a text or an array',
            ),
            (
                "[models.m]\n[agent]",
                "clock.toml: models.m.type: expected a type, or a model like openai:NAME, got nei",
            ),
            (
                "[models.m]\nmodel = 'gpt'\n[agent]",
                "clock.toml: models.m.model: expected a type, or a model like ",
            ),
            (
                "[models.m]\ntype = 'openai'\n[agent]",
                "clock.toml: models.m.model: expected the name of a model of open",
            ),
            (
                "[models.m]\ntype = 'openia'\n[agent]",
                "clock.toml: models.m.type: expected one of anthropic, deepseek, ",
            ),
            (
                "[models.m]\ntype = 'anthropic'\nmodel = 'x'\nthreads = 2\n[agent]",
                "clock.toml: models.m.threads: expected this key with type local only, got it with anthropic",
            ),
            (
                "[models.m]\ntype = 'echo'\napi_key = 'x'\n[agent]",
                "clock.toml: models.m.api_key: expected this key with type openai or anthropic only, got it with echo",
            ),
            (
                "[models.m]\ntype = 'scripted'\n[agent]",
                "clock.toml: models.m: expected answers or a file, got neither",
            ),
            (
                "[models.m]\ntype = 'scripted'\nfile = 'a.json'\nanswers = []\n[agent]",
                "clock.toml: models.m: expected answers or a file, got both",
            ),
            (
                "[models.m]\ntype = 'scripted'\nanswers = [{ cal = 'x' }]\n[agent]",
                "clock.toml: models.m.answers.0.cal: unknown key; did you mean call?",
            ),
            (
                "[models.m]\ntype = 'openai'\nmodel = 'x'\nattempts = 0\n[agent]",
                "clock.toml: models.m.attempts: expected at least 1, got 0",
            ),
        ],
    )
    def test_file_key_what_was_expected_and_what_there_is(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        said = mistake(tmp_path, text)
        assert said.startswith(message)
        assert "\n" not in said
        assert "`" not in said

    def test_a_near_pattern_is_suggested(self, tmp_path: Path) -> None:
        assert mistake(tmp_path, "[agent]\npattern = 'chian'").endswith("got 'chian'; did you mean chain?")

    def test_no_toml(self, tmp_path: Path) -> None:
        said = mistake(tmp_path, "[agent]\nmodel =")
        assert said.startswith("clock.toml: expected TOML, got something else: Invalid value (at ")

    def test_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_bytes(b"\xff")
        with pytest.raises(ConfigError, match=r"x.toml: expected TOML, got something else: .*utf-8"):
            load(tmp_path / "x.toml")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"^Cannot read .*nothing.toml: No such file or directory$"):
            load(tmp_path / "nothing.toml")


class TestEnvironment:
    def test_variables_are_filled_in_wherever_there_is_text(self, tmp_path: Path) -> None:
        file = read(
            tmp_path,
            '[agent]\nmodel = "${PROVIDER}:${MODEL:-small}"\nservers = ["x"]\nbudget.tokens = "${TOKENS}"\n'
            'instructions = "costs $5, $${NAME}, ${EMPTY:-nothing}"\n'
            '[servers.x]\ncommand = ["run", "--key=${KEY}"]\nenv.TOKEN = "${KEY}"',
            PROVIDER="openai",
            TOKENS="500",
            KEY="k",
            EMPTY="",
        )
        table = file.agents["clock"]
        assert isinstance(table, AgentTable)
        assert table.model == "openai:small"
        assert table.budget == Budget(tokens=500)
        assert table.instructions == "costs $5, ${NAME}, nothing"
        server = file.tables.servers["x"]
        assert (server.command, server.env) == (["run", "--key=k"], {"TOKEN": "k"})

    def test_a_variable_that_is_not_set(self, tmp_path: Path) -> None:
        said = mistake(tmp_path, '[models.m]\ntype = "openai"\nmodel = "x"\napi_key = "${KEY}"\n[agent]')
        assert said == "clock.toml: models.m.api_key: expected the environment variable KEY, which is not set"

    def test_one_in_an_array_is_found_by_its_index(self, tmp_path: Path) -> None:
        said = mistake(tmp_path, '[servers.x]\ncommand = ["a", "${KEY}"]\n[agent]')
        assert (
            said == "clock.toml: servers.x.command.1: expected the environment variable KEY, which is not set"
        )

    @pytest.mark.parametrize("text", ["${", "${A", "${}", "${1}", "${a.b}", "${A:b}", "${A-b}"])
    def test_what_is_no_variable(self, tmp_path: Path, text: str) -> None:
        said = mistake(tmp_path, f'[agent]\nmodel = "{text}"', A="x")
        assert said.startswith("clock.toml: agent.model: expected ${NAME} or ${NAME:-default}, got ${")
        assert said.endswith("a ${ that means itself is written $${")

    @pytest.mark.parametrize(
        "text",
        [
            '[agent]\nmodel = "${KEY}"',
            '[servers.x]\nurl = "ftp://${KEY}/y"\n[agent]',
            '[servers.x]\ncommand = "a"\nmode = "${KEY}"\n[agent]',
            '[models.m]\ntype = "${KEY}"\n[agent]',
            '[agent]\ntool_mode = "${KEY}"',
            'main = "${KEY}"\n[agents.a]',
        ],
    )
    def test_no_message_shows_what_was_filled_in(self, tmp_path: Path, text: str) -> None:
        said = mistake(tmp_path, text, KEY=SECRET)
        assert SECRET not in said
        assert "${KEY}" in said

    @given(st.text(min_size=4), st.text(), st.text())
    def test_a_value_is_hidden_in_every_form_that_messages_quote(
        self, value: str, before: str, after: str
    ) -> None:
        hidden = Hidden()
        hidden.add(value, "")
        for quoted in (value, repr(value)):
            assert value not in hidden.hide(before + quoted + after) or value in before + after

    @given(
        st.recursive(
            st.integers() | st.text("ab{}:-A"),
            lambda below: st.lists(below) | st.dictionaries(st.text(), below),
        )
    )
    def test_what_has_no_variables_stays_as_it_is(self, value: object) -> None:
        assert fill_in(value, {}, Hidden()) == value

    def test_a_problem_has_its_path(self) -> None:
        with pytest.raises(KeyProblem) as error:
            fill_in({"a": {"b c": "${X}"}}, {}, Hidden())
        assert error.value.path == ("a", "b c")
        assert str(error.value).startswith('a."b c": expected the environment')


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
class TestSecrets:
    TEXT = '[agent]\nmodel = "m"\n[models.m]\ntype = "openai"\nmodel = "gpt"'

    def test_the_file_beside_is_merged_over(self, tmp_path: Path) -> None:
        file = read(tmp_path, self.TEXT, f'models.m.api_key = "{SECRET}"\nmodels.m.model = "gpt-9"')
        assert (file.tables.models["m"].api_key, file.tables.models["m"].model) == (SECRET, "gpt-9")
        assert file.tables.models["m"].type == "openai"

    def test_another_one_can_be_named(self, tmp_path: Path) -> None:
        read(tmp_path, self.TEXT, 'models.m.api_key = "not this"')
        other = tmp_path / "other.toml"
        other.write_text(f'models.m.api_key = "{SECRET}"')
        other.chmod(0o400)
        assert load(tmp_path / "clock.toml", secrets=other, environ={}).tables.models["m"].api_key == SECRET

    def test_one_that_is_named_must_be_there(self, tmp_path: Path) -> None:
        read(tmp_path, self.TEXT)
        with pytest.raises(ConfigError, match=r"^Cannot read .*none.toml: No such file"):
            load(tmp_path / "clock.toml", secrets=tmp_path / "none.toml")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
    def test_others_must_not_reach_it(self, tmp_path: Path, mode: int) -> None:
        read(tmp_path, self.TEXT, "")
        beside = tmp_path / "clock.secrets.toml"
        beside.chmod(mode)
        with pytest.raises(ConfigError) as error:
            load(tmp_path / "clock.toml")
        assert str(error.value) == (
            f"{beside}: expected a file that only its owner can read, since it holds secrets, got mode {mode:o}; "
            f"chmod 600 {beside}"
        )

    def test_mistakes_in_it_are_told_of_it_and_show_nothing(self, tmp_path: Path) -> None:
        said = mistake(tmp_path, self.TEXT, f'servers.x.url = "ftp:{SECRET}"')
        assert (
            said == "clock.secrets.toml: servers.x: expected a url of http, https, ws or wss, got '[secret]'"
        )
        said = mistake(tmp_path, self.TEXT, f'models.m.api_kye = "{SECRET}"')
        assert said == "clock.secrets.toml: models.m.api_kye: unknown key; did you mean api_key?"

    def test_mistakes_beside_it_are_told_of_the_other_file(self, tmp_path: Path) -> None:
        said = mistake(tmp_path, f"{self.TEXT}\nx = 1", f'models.m.api_key = "{SECRET}"')
        assert said.startswith("clock.toml: models.m.x: unknown key")

    def test_it_may_use_the_environment(self, tmp_path: Path) -> None:
        file = read(tmp_path, self.TEXT, 'models.m.api_key = "${KEY}"', KEY=SECRET)
        assert file.tables.models["m"].api_key == SECRET
        assert file.hide(f"the key {SECRET} is wrong") == "the key ${KEY} is wrong"
