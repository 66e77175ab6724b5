"""Agents as tools of a server: what clients see of them, what a call comes to, and how they live with the server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from agent.desks import ERAS, LEGACY, Desk, reached, run_of
from agent.worlds import run
from taut import Client, Context, Server, ToolError, models
from taut.agent import Agent, AgentState
from taut.agent.base import BaseAgent
from taut.agent.run import Run
from taut.agent.serving import RunTable, agent_server, serve_agents
from taut.agent.state import MemoryConversationStore
from taut.agent.tools import ToolContext
from taut.errors import BudgetExceeded, ConfigError, ModelRefused, ModelUnavailable
from taut.testing import EchoModel, FunctionModel, ScriptedModel, call


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "http"])
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestTools:
    def test_an_agent_is_a_tool_that_takes_a_task(self, era: str) -> None:
        async def main() -> None:
            async with Client(Desk().app, mode=era) as client:
                tools = {tool.name: tool for tool in await client.list_tools()}
                assert list(tools) == [
                    "clerk",
                    "thinker",
                    "weather",
                    "run_start",
                    "run_status",
                    "run_resume",
                    "run_cancel",
                    "run_list",
                ]
                clerk = tools["clerk"]
                assert clerk.description == "Pays people."
                assert clerk.input_schema["required"] == ["task"]
                assert list(clerk.input_schema["properties"]) == ["task", "session"]
                assert clerk.output_schema is msgspec.UNSET
                assert tools["weather"].output_schema == {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
                    "required": ["city", "degrees"],
                }
                assert tools["run_start"].input_schema["properties"]["agent"]["enum"] == [
                    "clerk",
                    "thinker",
                    "weather",
                ]

        run(main())

    def test_the_output_comes_as_text_and_as_an_object_where_it_is_one(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            desk.gate.set()
            async with reached(desk.app, over, era) as client:
                thought = await client.call_tool("thinker", {"task": "tea"})
                assert thought.text == "thought about tea"
                assert thought.structured_content is msgspec.UNSET
                weather = await client.call_tool("weather", {"task": "Oslo"})
                assert weather.structured_content == {"city": "Oslo", "degrees": 4}
                assert msgspec.json.decode(weather.text) == weather.structured_content
                assert run_of(thought) != run_of(weather)

        run(main())

    def test_progress_tells_what_happens(self, era: str, over: str) -> None:
        said: list[tuple[float, str]] = []

        def hear(progress: models.ProgressParams) -> None:
            said.append((progress.progress, str(progress.message)))

        def look(ctx: ToolContext) -> str:
            """Look."""
            ctx.progress(1, 2, "nearly")
            return "fine"

        async def main() -> None:
            model = ScriptedModel(call("look"), "It is\nall fine.")
            app = agent_server("desk", Agent("clerk", model=model, tools=[look]))
            async with reached(app, over, era) as client:
                await client.call_tool("clerk", {"task": "look"}, on_progress=hear)

        run(main())
        assert [text for _, text in said] == [
            "clerk: step 1",
            "clerk: calls look",
            "clerk: look 1/2 nearly",
            "clerk: look answered",
            "clerk: step 2",
            "clerk: It is",
            "clerk: all fine.",
            "clerk: completed",
        ]
        assert [number for number, _ in said] == list(range(1, 9))

    def test_the_names_can_begin_otherwise(self) -> None:
        async def main() -> None:
            desk = Desk(prefix="job")
            async with Client(desk.app) as client:
                names = {tool.name for tool in await client.list_tools()}
                assert {"job_start", "job_status", "job_resume", "job_cancel", "job_list"} <= names
                templates = {one.uri_template for one in await client.list_resource_templates()}
                assert templates == {"job://{run_id}", "job://{run_id}/messages", "job://{run_id}/events"}

        run(main())

    def test_an_empty_task_is_refused(self) -> None:
        async def main() -> None:
            async with Client(Desk().app) as client:
                for tool, more in (("thinker", {}), ("run_start", {"agent": "thinker"})):
                    result = await client.call_tool(tool, {"task": "  ", **more})
                    assert result.is_error is True
                    assert result.text == "Expected a task, got an empty text"

        run(main())

    def test_output_types_that_are_no_objects_come_as_text(self) -> None:
        async def main() -> None:
            app = agent_server(
                "desk",
                Agent("lister", model=ScriptedModel('{"result":["a","b"]}'), output=list[str]),
                Loose("loose"),
            )
            async with Client(app) as client:
                listed = await client.call_tool("lister", {"task": "list"})
                assert (listed.text, listed.structured_content) == ('["a","b"]', msgspec.UNSET)
                loose = await client.call_tool("loose", {"task": "go"})
                assert (loose.text, loose.structured_content) == ('{"any":"thing"}', msgspec.UNSET)

        run(main())


class Loose(BaseAgent[Any]):
    """An agent with an output of any type."""

    async def work(self, run: Run[Any]) -> Any:
        return {"any": "thing"}


class Odd(BaseAgent[Any]):
    """An agent whose output has no JSON."""

    async def work(self, run: Run[Any]) -> Any:
        return object()


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (BudgetExceeded("tokens", 1, 2, who="a"), "Budget exceeded by a: tokens is 1, got 2"),
            (ModelUnavailable("http://secret: 503"), "The model cannot be reached now"),
            (
                ModelRefused("secret key sk-123 is no good"),
                "The model did not answer as it should; the server's log has the details",
            ),
            (ValueError("secret"), "Failed with ValueError; the server's log has the details"),
        ],
        ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
    )
    def test_a_run_that_fails_is_an_error_that_tells_no_secrets(
        self, era: str, error: Exception, text: str
    ) -> None:
        async def main() -> None:
            app = agent_server("desk", Agent("a", model=ScriptedModel(error)))
            async with Client(app, mode=era) as client:
                result = await client.call_tool("a", {"task": "go"})
                assert result.is_error is True
                assert result.text == f"{text}. Run {run_of(result)} can be taken up with run_resume."
                for what in ("", "/events"):
                    shown = (await client.read_resource(f"run://{run_of(result)}{what}")).contents[0].text
                    assert "secret" not in str(shown)

        run(main())

    def test_an_output_without_a_json_form_is_a_failure(self) -> None:
        async def main() -> None:
            async with Client(agent_server("desk", Odd("a"))) as client:
                result = await client.call_tool("a", {"task": "go"})
                assert result.is_error is True
                assert result.text.startswith("Failed with TypeError;")
                # The event has it, whatever it is.
                events = (await client.read_resource(f"run://{run_of(result)}/events")).contents[0].text
                assert "<object object at" in str(events)

        run(main())


class TestSessions:
    def test_calls_of_one_session_go_on_with_a_conversation(self) -> None:
        async def main() -> None:
            model = FunctionModel(lambda request: f"{len(request.messages)} messages")
            agent = Agent("talker", model=model, memory=MemoryConversationStore())
            async with Client(agent_server("desk", agent)) as client:
                said = [
                    (await client.call_tool("talker", {"task": "hello", "session": session})).text
                    for session in ("a", "a", "b")
                ]
                assert said == ["1 messages", "3 messages", "1 messages"]

        run(main())

    def test_what_depends_on_the_request_is_made_of_it(self) -> None:
        def who(ctx: ToolContext) -> str:
            """Tell who asks."""
            return str(ctx.deps)

        def deps(ctx: Context) -> str:
            return f"{ctx.client.implementation.name} at {ctx.revision}" if ctx.client.implementation else ""

        async def main() -> None:
            model = ScriptedModel(call("who"), lambda request: request.messages[-1].content[0].content)
            app = agent_server("desk", Agent("a", model=model, tools=[who]), deps=deps)
            async with Client(app, mode=LEGACY, name="tester") as client:
                assert (await client.call_tool("a", {"task": "who?"})).text == "tester at 2025-11-25"

        run(main())


class TestLife:
    def test_agents_are_ready_while_the_server_runs_inside_of_its_lifespan(self) -> None:
        desk_states: list[Any] = []
        agent = Agent("a", model=EchoModel())

        @contextlib.asynccontextmanager
        async def lifespan(server: Server) -> AsyncIterator[str]:
            desk_states.append(agent.state)
            yield "yielded"
            desk_states.append(agent.state)

        app = Server("desk", lifespan=lifespan)

        @app.tool
        def state(ctx: Context) -> str:
            assert ctx.lifespan == "yielded"
            return str(agent.state)

        serve_agents(app, agent)

        async def main() -> None:
            for _ in range(2):  # it may run again
                async with Client(app) as client:
                    assert (await client.call_tool("state")).text == "ready"
                assert agent.state is AgentState.STOPPED

        run(main())
        assert desk_states == [
            AgentState.CREATED,
            AgentState.STOPPED,
            AgentState.STOPPED,
            AgentState.STOPPED,
        ]

    def test_a_server_that_cannot_start_an_agent_does_not_start(self) -> None:
        class Lame(Loose):
            async def open(self) -> None:
                raise ToolError("no legs")

        async def main() -> None:
            sound = Loose("sound")
            app = agent_server("desk", sound, Lame("lame"))
            with pytest.raises(ToolError, match="no legs"):
                async with app.running():
                    pass
            assert sound.state is AgentState.STOPPED

        run(main())


class TestRegistration:
    def test_what_cannot_work_is_refused(self) -> None:
        agent = Agent("a", model=EchoModel())
        with pytest.raises(ConfigError, match="different names, got none"):
            agent_server("desk")
        with pytest.raises(ConfigError, match="different names, got a, a"):
            agent_server("desk", agent, Loose("a"))
        with pytest.raises(ConfigError, match="small letters"):
            agent_server("desk", agent, prefix="Run_")
        table = RunTable()
        agent_server("desk", agent, runs=table)
        with pytest.raises(ConfigError, match="RunTable for each server"):
            agent_server("desk", agent, runs=table)
        with pytest.raises(ConfigError, match="positive keep_s"):
            RunTable(keep_s=0)

    def test_a_server_that_runs_takes_no_agents(self) -> None:
        async def main() -> None:
            app = Server("desk")
            async with app.running():
                with pytest.raises(ConfigError, match="does not run yet"):
                    serve_agents(app, Agent("a", model=EchoModel()))

        run(main())

    def test_two_desks_at_one_server(self) -> None:
        async def main() -> None:
            app = Server("desk")
            serve_agents(app, Agent("a", model=ScriptedModel("of a")))
            serve_agents(app, Agent("b", model=ScriptedModel("of b")), prefix="other")
            async with Client(app) as client:
                assert (await client.call_tool("a", {"task": "go"})).text == "of a"
                assert (await client.call_tool("b", {"task": "go"})).text == "of b"

        run(main())


def test_serving_is_loaded_by_whoever_serves() -> None:
    code = "import sys, taut.agent; print(sorted(name for name in sys.modules if 'taut.server' in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
