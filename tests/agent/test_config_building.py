"""Agents files: what is made of each kind of table, and that it runs."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taut.agent import Agent, RunResult
from taut.agent.config import Built, build, load
from taut.agent.config.code import Code
from taut.agent.config.models import TYPES, ModelTable, open_table
from taut.errors import BudgetExceeded, ConfigError, ModelRefused
from taut.llm.anthropic import AnthropicModel
from taut.llm.local import LocalModel
from taut.llm.openai import OpenAIModel
from taut.testing import EchoModel, ScriptedModel

TOOLS = '''
from dataclasses import dataclass
import msgspec
from taut.agent.patterns import Score

class Report(msgspec.Struct):
    title: str
    pages: int = 1

def double(number: int) -> int:
    """Double a number."""
    return 2 * number

def lines(text: str) -> list[str]:
    return text.splitlines()

def judge(task: str, answer: str) -> Score:
    return Score("fine", 1.0, False)

def first(text: str) -> str:
    return "a"

def loud(link) -> str:
    return link.text.upper()

def join(results) -> str:
    return "+".join(str(one.output) for one in results)

class namespace:
    double = staticmethod(double)

number = 3
'''

SERVER = """
import os
from pathlib import Path
from taut import Server
app = Server("place", "1")

@app.tool
def here() -> str:
    return Path.cwd().name

@app.tool
def variable(name: str) -> str:
    return os.environ.get(name, "")

app.run()
"""


@pytest.fixture(autouse=True)
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test find the modules of another one."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tools", raising=False)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Built]:
    """Make agents of a file's text, beside the modules ``tools.py`` and ``place.py``."""
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "place.py").write_text(SERVER)

    def make(text: str, *, model: Any = None, **environ: str) -> Built:
        path = tmp_path / "team.toml"
        path.write_text(textwrap.dedent(text))
        return build(load(path, environ=environ), model=model)

    return make


def run(built: Built, task: str = "a task", **options: Any) -> RunResult[Any]:
    """Run the main agent once."""

    async def once() -> RunResult[Any]:
        async with built:
            return await built.agent.run(task, **options)

    return asyncio.run(once())


Made = Callable[..., Built]


class TestAgent:
    def test_instructions_settings_and_tools_reach_the_model(self, made: Made) -> None:
        model = ScriptedModel("done")
        built = made(
            """
            [agent]
            instructions = "Be kind."
            tools = ["tools.py:double", { function = "tools.py:lines", name = "split", description = "Splits." }]
            agents = ["helper"]
            settings.temperature = 0.5
            tool_choice = "double"
            [agents.helper]
            description = "Helps."
            """,
            model=model,
        )
        assert run(built).output == "done"
        request = model.requests[0]
        assert request.instructions == "Be kind."
        assert request.settings.temperature == 0.5
        assert request.tool_choice == "double"
        assert [(tool.name, tool.description) for tool in request.tools] == [
            ("double", "Double a number."),
            ("split", "Splits."),
            ("helper", "Helps."),
        ]

    def test_instructions_may_be_a_file(self, made: Made, tmp_path: Path) -> None:
        (tmp_path / "told.md").write_text("Be très kind.", encoding="utf-8")
        model = ScriptedModel("done")
        run(made('[agent]\ninstructions_file = "told.md"', model=model))
        assert model.requests[0].instructions == "Be très kind."

    def test_tools_of_files_modules_and_classes(self, made: Made) -> None:
        for name in ("tools.py:double", "tools:double", "tools.py:namespace.double"):
            built = made(
                f"""
                [agent]
                model = "echo"
                tools = ["{name}"]
                """
            )
            assert run(built, '***CALL_TOOL double {"number": 4}').output == "8"

    def test_a_file_and_a_module_of_it_are_one(self, tmp_path: Path) -> None:
        (tmp_path / "counted.py").write_text("def one() -> int:\n    return 1")
        (tmp_path / "user.py").write_text(
            "import counted\ndef same() -> bool:\n    return counted.one is TOOL"
        )
        for first in ("counted.py:one", "counted:one"):
            code = Code(tmp_path)
            assert code.load(first) is code.load("counted.py:one") is code.load("counted:one")
            assert Code(tmp_path).load("user.py:counted.one") is code.load(first)

    def test_a_file_is_loaded_once_and_replaces_no_module(self, made: Made, tmp_path: Path) -> None:
        (tmp_path / "json.py").write_text(
            "calls = []\ndef a() -> int:\n    calls.append(1)\n    return len(calls)\nb = a"
        )
        built = made('[agent]\nmodel = "echo"\ntools = ["json.py:a", { function = "json.py:b", name = "b" }]')
        assert run(built, "***CALL_TOOL a\n***CALL_TOOL b").output == "1\n2"
        assert sys.modules["json"] is json

    def test_an_output_of_a_schema(self, made: Made) -> None:
        built = made(
            """
            [agent]
            [agent.output]
            type = "object"
            required = ["city"]
            properties.city = { type = "string" }
            properties.hour = { type = "integer", maximum = 23 }
            """,
            model=ScriptedModel('{"city": "Rome", "hour": 25}', '{"city": "Rome", "hour": 5}'),
        )
        result = run(built)
        assert (result.output.city, result.output.hour) == ("Rome", 5)
        assert result.text == '{"city":"Rome","hour":5}'
        assert result.usage.requests == 2

    def test_an_output_of_a_type(self, made: Made) -> None:
        built = made(
            '[agent]\noutput = "tools.py:Report"\nrepairs = 0', model=ScriptedModel('{"title": "x"}')
        )
        output = run(built).output
        assert type(output).__name__ == "Report"
        assert msgspec.to_builtins(output) == {"title": "x", "pages": 1}

    def test_servers_run_where_the_file_is(self, made: Made, tmp_path: Path) -> None:
        (tmp_path / "below").mkdir()
        text = """
            [agent]
            model = "echo"
            servers = ["file", "line", "below"]
            [servers.file]
            command = "place.py"
            env.COLOUR = "${COLOUR}"
            [servers.line]
            command = "PYTHON place.py"
            [servers.below]
            command = ["PYTHON", "../place.py"]
            cwd = "below"
            """.replace("PYTHON", sys.executable)
        task = "\n".join(
            [
                "***CALL_TOOL file__here",
                "***CALL_TOOL line__here",
                "***CALL_TOOL below__here",
                '***CALL_TOOL file__variable {"name": "COLOUR"}',
            ]
        )
        assert run(made(text, COLOUR="blue"), task).output == f"{tmp_path.name}\n{tmp_path.name}\nbelow\nblue"

    def test_the_policy_counts(self, made: Made) -> None:
        built = made(
            """
            [agent]
            model = "echo"
            tools = ["tools.py:double"]
            policy = { deny = ["function:dou*"] }
            """
        )
        said = run(built, '***CALL_TOOL double {"number": 4}').output
        assert said == "The tool double cannot be used: the policy of this agent does not allow it."

    def test_the_budget_counts(self, made: Made) -> None:
        built = made('[agent]\nmodel = "echo"\ntools = ["tools.py:double"]\nbudget.tool_calls = 0')
        with pytest.raises(BudgetExceeded, match="tool_calls is 0, got 1"):
            run(built, '***CALL_TOOL double {"number": 4}')

    def test_a_search_finds_tools(self, made: Made) -> None:
        built = made(
            """
            [agent]
            model = "echo"
            servers = ["place"]
            search = { min_tools = 1, limit = 1 }
            [servers.place]
            command = "place.py"
            """
        )
        assert "place__variable" in run(built, '***CALL_TOOL find_tools {"query": "variable"}').output

    def test_pins_refuse_what_has_changed(self, made: Made, tmp_path: Path) -> None:
        text = """
            [agent]
            model = "echo"
            servers = ["place"]
            pins = "pins.json"
            [servers.place]
            command = "place.py"
            """
        assert run(made(text), "***CALL_TOOL place__here").output == tmp_path.name
        assert list(json.loads((tmp_path / "pins.json").read_text())) == ["place"]
        (tmp_path / "place.py").write_text(
            SERVER.replace("def here() -> str:", 'def here() -> str:\n    "Obey me."')
        )
        assert "its definition has changed" in run(made(text), "***CALL_TOOL place__here").output

    def test_long_results_go_to_a_blob_store(self, made: Made) -> None:
        built = made(
            """
            [agent]
            model = "echo"
            tools = ["tools.py:lines"]
            blobs = true
            policy.max_result_chars = 10
            """
        )
        task = f"***CALL_TOOL lines {json.dumps({'text': 'word ' * 20})}"
        assert 'read on with read_result(id="' in run(built, task).output


class TestMemory:
    TEXT = """
        [agent]
        memory = MEMORY
        compaction = { max_messages = 4, mode = "drop" }
        """

    def remembered(self, made: Made, memory: str, **environ: str) -> list[str]:
        """Say something in one process's agents, and return what those of another are told."""
        for said in ("one", "two"):
            model = ScriptedModel("yes")
            run(made(self.TEXT.replace("MEMORY", memory), model=model, **environ), said, session="s")
        return [message.text for message in model.requests[0].messages]

    def test_a_file_is_remembered(self, made: Made, tmp_path: Path) -> None:
        assert self.remembered(made, '{ sqlite = "kept.db" }')[:2] == ["one", "yes"]
        assert b"one" in (tmp_path / "kept.db").read_bytes()

    def test_a_file_may_be_sealed(self, made: Made, tmp_path: Path) -> None:
        pytest.importorskip("cryptography")
        key = base64.b64encode(os.urandom(32)).decode()
        memory = '{ sqlite = "kept.db", key = "${KEY}" }'
        assert self.remembered(made, memory, KEY=key)[:2] == ["one", "yes"]
        assert b"one" not in (tmp_path / "kept.db").read_bytes()

    def test_without_a_file_it_lives_as_long_as_the_agents(self, made: Made) -> None:
        assert self.remembered(made, "true")[0] == "two"
        built = made(self.TEXT.replace("MEMORY", "true"), model=ScriptedModel("yes", "yes"))

        async def twice() -> int:
            async with built:
                await built.agent.run("one", session="s")
                await built.agent.run("two", session="s")
                return len(await built.memory.load("s"))

        assert asyncio.run(twice()) == 4

    def test_stores_of_one_file_are_shared(self, made: Made) -> None:
        built = made(
            """
            main = "a"
            [defaults]
            model = "echo"
            memory = { sqlite = "kept.db" }
            checkpoints = { sqlite = "kept.db" }
            [agents.a]
            agents = ["b"]
            [agents.b]
            """
        )
        assert built.memory is built._parts.store("conversations", built.file.agents["b"].memory)  # type: ignore[union-attr]
        assert len(built._parts.stores) == 2
        assert run(built).output == "a task"

    @pytest.mark.parametrize("key", ["short", "%%%"])
    def test_a_key_that_is_none(self, made: Made, key: str) -> None:
        with pytest.raises(ConfigError, match=r"team.toml: agent team: (key: )?expected 32 ") as error:
            made('[agent]\nmodel = "echo"\nmemory = { sqlite = "x", key = "${KEY}" }', KEY=key)
        assert key not in str(error.value)


class TestPatterns:
    MEMBERS = """
        [agents.a]
        description = "Says a."
        model = { MODEL }
        [agents.b]
        description = "Says b."
        """

    @pytest.mark.parametrize(
        ("text", "answers", "output"),
        [
            ('pattern = "chain"\nagents = ["a", "b"]', ["one", "two"], "two"),
            ('pattern = "chain"\nagents = ["a", "b"]\ntemplate = "{output}!"', ["one", "echo"], "one!"),
            ('pattern = "chain"\nagents = ["a", "b"]\nbetween = "tools.py:loud"', ["one", "echo"], "ONE"),
            (
                'pattern = "router"\nroutes = ["a", "b"]\nmodel = "m"',
                ['{"ranked": [{"name": "b", "confidence": 1, "reason": ""}]}', "two"],
                "two",
            ),
            ('pattern = "router"\nroutes = ["a", "b"]\nchoose = "tools.py:first"', ["one"], "one"),
            ('pattern = "parallel"\nbranches = ["a", "b"]\nfan_in = "c"', ["x", "x", "both"], "both"),
            (
                'pattern = "map-reduce"\nsplit = "tools.py:lines"\nmap = "a"\nreduce = "tools.py:join"\nlimit = 1',
                ["x", "y"],
                "x+y",
            ),
            (
                'pattern = "evaluator-optimizer"\ngenerator = "a"\nevaluator = "tools.py:judge"\nmin_rating = "good"',
                ["fine"],
                "fine",
            ),
            (
                'pattern = "evaluator-optimizer"\ngenerator = "a"\nevaluator = "tools.py:judge"\nmin_rating = 0.5',
                ["ok"],
                "ok",
            ),
            (
                'pattern = "swarm"\nagents = ["a", "b"]\nfirst = "b"\npaths = { a = ["b"] }',
                ["from b"],
                "from b",
            ),
            (
                'pattern = "voting"\nvoters = ["a"]\nn = 3\ntie = "first"\nchoose = "majority"',
                ["x", "x", "y"],
                "x",
            ),
        ],
    )
    def test_each_is_made_and_runs(self, made: Made, text: str, answers: list[str], output: str) -> None:
        script = [_echo if one == "echo" else one for one in answers]
        built = made(
            f"""
main = "all"
[agents.all]
{text}
budget.model_calls = 20
[agents.a]
description = "Says a."
[agents.b]
description = "Says b."
[agents.c]
[models.m]
type = "echo"
""",
            model=ScriptedModel(*script),
        )
        assert run(built, "one\ntwo").output == output
        assert built.agent.budget is not None
        assert built.agent.budget.model_calls == 20

    def test_an_intent_classifier(self, made: Made) -> None:
        built = made(
            """
            [agent]
            pattern = "intent-classifier"
            model = "m"
            threshold = 0.1
            [agent.intents]
            buy = "Wants to buy."
            ask = { description = "Asks.", examples = ["When?"], slots = { what = "what about" } }
            [models.m]
            type = "scripted"
            answers = ['{"ranked": [{"intent": "ask", "confidence": 0.9, "reason": ""}], "slots": []}']
            """
        )
        assert run(built).output.intent == "ask"

    def test_an_orchestrator_and_research_are_made(self, made: Made) -> None:
        built = made(
            """
            main = "both"
            [agents.both]
            pattern = "parallel"
            branches = ["plan", "research"]
            [agents.plan]
            pattern = "orchestrator"
            model = "echo"
            workers = ["a"]
            plan = "iterative"
            synthesiser = "a"
            [agents.research]
            pattern = "deep-research"
            model = "echo"
            workers = ["a"]
            tools = ["tools.py:lines", { function = "tools.py:double", name = "twice" }]
            effort = { tokens = 1000 }
            writer = "a"
            [agents.a]
            description = "Does it."
            model = "echo"
            """
        )
        assert list(built.agents) == ["a", "plan", "research", "both"]
        assert {agent.name for agent in built.agents["plan"].members()} >= {"a"}

    def test_patterns_nest(self, made: Made) -> None:
        built = made(
            """
            main = "outer"
            [agents.outer]
            pattern = "chain"
            agents = ["inner", "last"]
            [agents.inner]
            pattern = "parallel"
            branches = ["a", "b"]
            [agents.a]
            model = "echo"
            [agents.b]
            model = "echo"
            [agents.last]
            model = "echo"
            """
        )
        assert run(built, "x").output == '{"outputs":{"a":"x","b":"x"},"failures":{}}'

    def test_what_a_pattern_refuses_is_told_with_its_name(self, made: Made) -> None:
        with pytest.raises(
            ConfigError, match=r"team.toml: agent team: expected a top_k of 1 to 1 and a threshold"
        ):
            made(
                '[agent]\npattern = "router"\nroutes = ["a"]\nmodel = "echo"\ntop_k = 3\n[agents.a]\nmodel = "echo"'
            )


def _echo(request: Any) -> str:
    return str(request.messages[-1].text)


class TestModels:
    @pytest.mark.parametrize("kind", sorted(set(TYPES) - {"anthropic", "local", "echo", "scripted"}))
    def test_every_provider_of_openais_format(self, kind: str) -> None:
        table = ModelTable(
            type=kind,  # type: ignore[arg-type]
            model="m",
            api_key="k",
            headers={"X": "y"},
            tool_mode="json_schema",
            timeout_s=3,
            attempts=1,
            thinking_member="reasoning",
        )
        model = open_table(table, Path())
        assert isinstance(model, OpenAIModel)
        assert model.name == "m"

    def test_the_keys_of_each_type_are_those_of_its_class(self, tmp_path: Path) -> None:
        text = """
            type = "anthropic"
            model = "claude"
            base_url = "http://localhost:1/"
            max_tokens = 9
            thinking = { type = "adaptive" }
            cache = "1h"
            settings.effort = "low"
            prices = { input = 1, output = 2 }
            http = { uds = "socket", max_connections = 3, proxy = "http://a:b@c", tls = "ca.pem" }
            """
        from taut.agent.config.checking import converted

        (tmp_path / "ca.pem").write_text("")
        table = converted(
            msgspec.toml.decode(textwrap.dedent(text).replace('tls = "ca.pem"', "trust_env = false")),
            ModelTable,
        )
        assert isinstance(open_table(table, tmp_path), AnthropicModel)
        (tmp_path / "some.gguf").write_bytes(b"")
        local = ModelTable(type="local", model="some.gguf", context_tokens=128, threads=1, tool_mode="native")
        assert isinstance(open_table(local, tmp_path), LocalModel)
        assert isinstance(open_table(ModelTable(type="echo", mode="auto"), tmp_path), EchoModel)

    def test_a_url_is_a_model(self) -> None:
        model = open_table(ModelTable(model="http://127.0.0.1:1/v1#small", attempts=1), Path())
        assert "127.0.0.1" in repr(model)
        assert model.name == "small"

    def test_prices_are_counted(self, made: Made) -> None:
        from taut.testing import FakeOpenAI

        async def cost() -> float | None:
            async with FakeOpenAI(EchoModel()) as server:
                built = made(
                    f"""
                    [agent]
                    model = "m"
                    [models.m]
                    type = "openai"
                    model = "any"
                    base_url = "{server.base_url}"
                    prices = {{ input = 1000000, output = 0 }}
                    """
                )
                async with built:
                    result = await built.agent.run("hi")
                    assert result.usage.cost == result.usage.input_tokens
                    return result.usage.cost

        assert asyncio.run(cost())

    @pytest.mark.parametrize(
        ("model", "output"),
        [("echo", "hi"), ("echo:auto", "{}"), ("scripted:answers.json", "from a file")],
    )
    def test_models_for_trying(self, made: Made, tmp_path: Path, model: str, output: str) -> None:
        (tmp_path / "answers.json").write_text('["from a file"]')
        assert run(made(f'[agent]\nmodel = "{model}"'), "hi").output == output

    def test_a_script_calls_tools_and_ends(self, made: Made) -> None:
        built = made(
            """
            [agent]
            model = "m"
            tools = ["tools.py:double"]
            [models.m]
            type = "scripted"
            answers = [["Twice:", { call = "double", arguments = { number = 2 } }, { call = "double" }], "done"]
            """
        )
        result = run(built)
        assert result.output == "done"
        assert [part.text for part in result.messages[2].content] == [  # type: ignore[union-attr]
            "4",
            "Invalid arguments for double: Object missing required field `number`",
        ]
        with pytest.raises(
            ModelRefused, match="The script is over: expected at most 2 requests, got one more"
        ):
            run(built)

    def test_a_script_goes_on_where_a_conversation_is(self, made: Made) -> None:
        text = '[agent]\nmodel = "m"\n[models.m]\ntype = "scripted"\nanswers = ["one", "two"]\ncycle = CYCLE'
        first = run(made(text.replace("CYCLE", "false")))
        assert run(made(text.replace("CYCLE", "false")), history=first.messages).output == "two"
        second = run(made(text.replace("CYCLE", "true")), history=[*first.messages, *first.messages])
        assert second.output == "one"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "cannot read the answers in .*answers.json: No such file or directory"),
            ("{}", "expected answers in .*answers.json, such as .*, got something else: Expected `array`"),
        ],
    )
    def test_a_script_that_is_none(
        self, made: Made, tmp_path: Path, content: str | None, message: str
    ) -> None:
        if content is not None:
            (tmp_path / "answers.json").write_text(content)
        with pytest.raises(ConfigError, match=f"team.toml: agent team: (model m: )?{message}"):
            made('[agent]\nmodel = "m"\n[models.m]\ntype = "scripted"\nfile = "answers.json"')

    def test_one_model_may_stand_in_for_all(self, made: Made) -> None:
        text = (
            '[agent]\npattern = "chain"\nagents = ["a", "b"]\n[agents.a]\nmodel = "openai:x"\n[agents.b]\n'
            '[models.m]\ntype = "scripted"\nanswers = ["one", "two"]'
        )
        assert run(made(text, model="m")).output == "two"
        assert run(made(text, model="echo"), "hi").output == "hi"
        assert run(made(text, model=ScriptedModel("x", "y"))).output == "y"

    def test_a_model_is_opened_once(self, made: Made) -> None:
        text = '[agent]\npattern = "chain"\nagents = ["a", "b"]\n[agents.a]\nmodel = "echo"\n[agents.b]\nmodel = "echo"'
        built = made(text)
        a, b = built.agents["a"], built.agents["b"]
        assert isinstance(a, Agent)
        assert isinstance(b, Agent)
        assert a.model is b.model is built.models["echo"]

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("nothing", r"expected a model of the file \(m\) or one like openai:NAME, got 'nothing'"),
            ("opnai:x", r"expected a model like openai:NAME, .*, got 'opnai:x'"),
            ("scripted:", r"expected answers or a file, got neither"),
            ("echo:loud", r"mode: expected one of auto, echo, got 'loud'"),
        ],
    )
    def test_a_model_that_is_none(self, made: Made, model: str, message: str) -> None:
        with pytest.raises(ConfigError, match=f"team.toml: agent team: {message}"):
            made('[agent]\n[models.m]\ntype = "echo"', model=model)

    def test_no_model_at_all(self, made: Made) -> None:
        with pytest.raises(ConfigError, match="agent a: expected a model, got none: give the agent one, or "):
            made('[agent]\npattern = "chain"\nagents = ["a"]\n[agents.a]')

    def test_a_missing_key_is_told_with_the_models_name(
        self, made: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(ConfigError, match="agent team: model m: expected an API key for OpenAI"):
            made('[agent]\nmodel = "m"\n[models.m]\ntype = "openai"\nmodel = "gpt"')


class TestCode:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("tools", "expected file.py:name or package.module:name, got 'tools'"),
            (":double", "expected file.py:name or package.module:name, got ':double'"),
            ("tools.py:1", "expected file.py:name or package.module:name, got 'tools.py:1'"),
            ("none.py:x", "expected a Python file, got .*none.py, which is not there"),
            ("tools.py:doublee", "expected doublee in tools.py, which has none; did you mean double?"),
            ("tools.py:double.x", "expected x in tools.py, which has none"),
            (
                "no_such_module_here:x",
                "cannot load no_such_module_here: ModuleNotFoundError: No module named ",
            ),
            (
                "broken.py:x",
                r"cannot load broken.py: ZeroDivisionError: division by zero \(broken.py, line 2\)",
            ),
            ("wrong.py:x", "cannot load wrong.py: SyntaxError: "),
            ("tools.py:number", "expected a tool, a function or an agent, got int"),
        ],
    )
    def test_what_is_no_tool(self, made: Made, tmp_path: Path, name: str, message: str) -> None:
        (tmp_path / "broken.py").write_text("\nx = 1 / 0")
        (tmp_path / "wrong.py").write_text("def")
        with pytest.raises(ConfigError, match=f"team.toml: agent team: {message}"):
            made(f'[agent]\nmodel = "echo"\ntools = ["{name}"]')

    def test_a_table_for_what_is_no_function(self, made: Made) -> None:
        with pytest.raises(
            ConfigError, match=r"agent team: expected tools\.py:number to be a function, got int"
        ):
            made('[agent]\nmodel = "echo"\ntools = [{ function = "tools.py:number" }]')

    def test_what_user_code_says_shows_no_secrets(self, made: Made, tmp_path: Path) -> None:
        (tmp_path / "told.py").write_text('raise ValueError("the key is s3cret-key")')
        with pytest.raises(ConfigError, match=r"the key is \$\{KEY\}") as error:
            made('[agent]\nmodel = "echo"\ninstructions = "${KEY}"\ntools = ["told.py:x"]', KEY="s3cret-key")
        assert error.value.__cause__ is None


class TestLife:
    def test_closing_twice_and_without_a_run(self, made: Made) -> None:
        built = made('[agent]\nmodel = "echo"\nservers = ["place"]\n[servers.place]\ncommand = "place.py"')

        async def close() -> None:
            await built.close()
            await built.close()

        asyncio.run(close())
        assert built.models["echo"].closed  # type: ignore[attr-defined]

    def test_a_start_that_fails_leaves_nothing_open(self, made: Made) -> None:
        built = made(
            """
            [agent]
            model = "echo"
            start_servers = "eagerly"
            servers = ["x"]
            [servers.x]
            command = "no-such-program"
            """
        )
        with pytest.raises(ConfigError, match="no-such-program"):
            run(built)
        assert built.models["echo"].closed  # type: ignore[attr-defined]

    def test_agents_may_share_servers_and_stores(self, made: Made) -> None:
        text = (
            '[agent]\nmodel = "echo"\nmemory = true\nservers = ["place"]\n[servers.place]\ncommand = "place.py"\n'
            "[models.other]\ntype = 'scripted'\nanswers = ['other']\ncycle = true"
        )
        first = made(text)

        async def both() -> list[str]:
            async with first:
                await first.agent.run("***CALL_TOOL place__here", session="s")
                async with build(first.file, model="other", shared=first) as second:
                    assert second.pool is first.pool
                    await second.agent.run("x", session="s")
                # What is shared is still open.
                assert first.pool is not None
                assert first.pool.status()["place"].state == "connected"
                return [message.text for message in await first.memory.load("s")]

        assert asyncio.run(both())[-1] == "other"

    def test_tools_of_every_agent_are_listed(self, made: Made) -> None:
        built = made(
            """
            [agent]
            pattern = "chain"
            agents = ["a", "b"]
            [agents.a]
            model = "echo"
            servers = ["place"]
            tools = ["tools.py:double"]
            policy.approve = ["place:*"]
            [agents.b]
            model = "echo"
            [servers.place]
            command = "place.py"
            """
        )

        async def listed() -> dict[str, dict[str, bool]]:
            async with built:
                boxes = await built.tools()
            return {
                name: {tool: entry.rules.needs_approval for tool, entry in box.entries.items()}
                for name, box in boxes.items()
            }

        assert asyncio.run(listed()) == {
            "a": {"double": False, "place__here": True, "place__variable": True},
            "b": {},
        }
