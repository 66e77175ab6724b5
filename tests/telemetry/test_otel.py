"""Runs of agents as spans of OpenTelemetry: their tree, their names, their failures, and traces across servers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from taut import Context, Server, models
from taut.agent import Agent, Budget, ToolPolicy
from taut.agent.serving import agent_server
from taut.errors import BudgetExceeded, ConfigError, ModelUnavailable, ToolError
from taut.llm.messages import Usage
from taut.telemetry.otel import OtelSpan, OtelTracer, continued
from taut.testing import FunctionModel, ScriptedModel, call

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traces:
    """Spans that have ended, by their names."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OtelTracer(self.provider, **options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> list[str]:
        """The spans in the order in which they began, each indented below its parent."""
        by_id = {span.context.span_id: span for span in self.spans if span.context}

        def depth(span: ReadableSpan) -> int:
            parent = None if span.parent is None else by_id.get(span.parent.span_id)
            return 0 if parent is None else 1 + depth(parent)

        ordered = sorted(self.spans, key=lambda span: (span.start_time, depth(span)))
        return ["  " * depth(span) + span.name for span in ordered]


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def broken() -> str:
    """Break."""
    raise ToolError("the belt is torn")


USAGE = Usage(input_tokens=11, output_tokens=7, requests=1)


class TestRuns:
    def test_a_run_with_a_call_is_a_tree_of_spans_with_the_conventions_attributes(self) -> None:
        traces = Traces(attributes={"gen_ai.provider.name": "openai"})
        model = ScriptedModel(call("add", a=1, b=2), "3", name="gpt-x", usage=USAGE)
        agent = Agent("clerk", model=model, tools=[add], tracer=traces.tracer)
        agent.run_sync("1 + 2?")
        assert traces.tree() == [
            "invoke_agent clerk",
            "  chat gpt-x",
            "  execute_tool add",
            "  chat gpt-x",
        ]
        run = traces.one("invoke_agent clerk")
        assert run.kind is SpanKind.INTERNAL
        assert run.status.status_code is StatusCode.UNSET
        assert attributes_of(run) == {
            "gen_ai.provider.name": "openai",
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "clerk",
            "gen_ai.usage.input_tokens": 22,
            "gen_ai.usage.output_tokens": 14,
        }
        tool = traces.one("execute_tool add")
        assert tool.kind is SpanKind.INTERNAL
        expected = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "add",
            "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.type": "function",
            "taut.tool.origin": "function:add",
        }
        assert expected.items() <= attributes_of(tool).items()
        chat = next(span for span in traces.spans if span.name == "chat gpt-x")
        assert chat.kind is SpanKind.CLIENT
        expected = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-x",
            "gen_ai.response.model": "gpt-x",
        }
        assert expected.items() <= attributes_of(chat).items()
        assert attributes_of(chat)["gen_ai.usage.input_tokens"] == 11
        scope = chat.instrumentation_scope
        assert scope is not None
        assert scope.name == "taut"

    def test_runs_side_by_side_stay_apart(self) -> None:
        traces = Traces()
        begun = 0
        both = asyncio.Event()

        async def answer(request: Any) -> str:
            nonlocal begun
            begun += 1
            if begun == 2:
                both.set()
            await both.wait()
            return "done"

        model = FunctionModel(answer, name="m")
        agents = [Agent(name, model=model, tracer=traces.tracer) for name in ("left", "right")]

        async def main() -> None:
            await asyncio.gather(*(agent.run("go") for agent in agents))

        asyncio.run(main())
        runs = [traces.one("invoke_agent left"), traces.one("invoke_agent right")]
        chats = [span for span in traces.spans if span.name == "chat m"]
        parents = {span.parent.span_id for span in chats if span.parent is not None}
        assert parents == {run.context.span_id for run in runs if run.context}
        assert len({run.context.trace_id for run in runs if run.context}) == 2

    def test_a_nested_agent_is_below_the_call_of_its_tool(self) -> None:
        traces = Traces()
        inner = Agent("inner", model=ScriptedModel("yes", name="m"))
        model = ScriptedModel(call("inner", task="really?"), "yes", name="m")
        outer = Agent("outer", model=model, tools=[inner], tracer=traces.tracer)
        outer.run_sync("ask")
        assert traces.one("invoke_agent inner").parent is not None
        below = [line for line in traces.tree() if "inner" in line]
        assert below[0].startswith("  ")

    def test_the_span_of_whoever_calls_is_the_parent_of_a_run(self) -> None:
        traces = Traces()
        agent = Agent("clerk", model=ScriptedModel("ok"), tracer=traces.tracer)

        async def main() -> None:
            with traces.provider.get_tracer("web").start_as_current_span("GET /"):
                await agent.run("go")

        asyncio.run(main())
        assert traces.tree()[:2] == ["GET /", "  invoke_agent clerk"]


class TestEnds:
    def test_a_model_that_fails_fails_its_span_and_the_run(self) -> None:
        traces = Traces()
        model = ScriptedModel(ModelUnavailable("overloaded"), name="m")
        agent = Agent("clerk", model=model, tracer=traces.tracer)
        with pytest.raises(ModelUnavailable):
            agent.run_sync("go")
        for name in ("chat m", "invoke_agent clerk"):
            span = traces.one(name)
            assert span.status.status_code is StatusCode.ERROR
            assert span.status.description == "overloaded"
            assert attributes_of(span)["error.type"] == "taut.errors.ModelUnavailable"
            (event,) = span.events
            assert event.name == "exception"
            assert (event.attributes or {})["exception.message"] == "overloaded"

    def test_a_tool_that_fails_fails_its_span_only(self) -> None:
        traces = Traces()
        model = ScriptedModel(call("broken"), "I cannot", name="m")
        agent = Agent("clerk", model=model, tools=[broken], tracer=traces.tracer)
        agent.run_sync("go")
        tool = traces.one("execute_tool broken")
        assert tool.status.status_code is StatusCode.ERROR
        assert attributes_of(tool)["error.type"] == "taut.errors.ToolError"
        assert traces.one("invoke_agent clerk").status.status_code is StatusCode.UNSET

    def test_a_result_that_says_it_failed_fails_the_span(self) -> None:
        traces = Traces()
        app = Server("s")

        @app.tool
        def torn() -> str:
            raise ToolError("the belt is torn")

        model = ScriptedModel(call("plant__torn"), "I cannot", name="m")
        agent = Agent("clerk", model=model, servers={"plant": app}, tracer=traces.tracer)
        agent.run_sync("go")
        tool = traces.one("execute_tool plant__torn")
        assert tool.status.status_code is StatusCode.ERROR
        assert attributes_of(tool)["error.type"] == "tool_error"

    def test_a_budget_that_is_used_up_is_a_failure_of_the_run(self) -> None:
        traces = Traces()
        model = ScriptedModel(call("add", a=1, b=2), "3")
        agent = Agent("clerk", model=model, tools=[add], tracer=traces.tracer, budget=Budget(model_calls=1))
        with pytest.raises(BudgetExceeded):
            agent.run_sync("go")
        run = traces.one("invoke_agent clerk")
        assert attributes_of(run)["error.type"] == "taut.errors.BudgetExceeded"

    def test_a_run_that_waits_for_approval_has_not_failed(self) -> None:
        traces = Traces()
        model = ScriptedModel(call("add", a=1, b=2), "3")
        policy = ToolPolicy(approve=("add",))
        agent = Agent("clerk", model=model, tools=[add], tracer=traces.tracer, policy=policy)
        agent.run_sync("go")
        run = traces.one("invoke_agent clerk")
        assert run.status.status_code is StatusCode.UNSET
        assert attributes_of(run)["taut.outcome"] == "suspended"
        assert run.events == ()

    def test_work_that_was_cancelled_has_not_failed(self) -> None:
        traces = Traces()
        asked = asyncio.Event()

        async def never(request: Any) -> str:
            asked.set()
            await asyncio.Event().wait()
            return ""

        agent = Agent("clerk", model=FunctionModel(never, name="m"), tracer=traces.tracer)

        async def main() -> None:
            task = asyncio.ensure_future(agent.run("go"))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        for name in ("chat m", "invoke_agent clerk"):
            assert traces.one(name).status.status_code is StatusCode.UNSET
            assert attributes_of(traces.one(name))["taut.outcome"] == "cancelled"


class TestAcrossServers:
    def test_a_server_sees_the_trace_context_of_the_call(self) -> None:
        traces = Traces()
        app = Server("s")
        seen: list[models.RequestMeta] = []

        @app.tool
        def look(ctx: Context) -> str:
            assert ctx.meta is not None
            seen.append(ctx.meta)
            return "seen"

        model = ScriptedModel(call("plant__look"), "ok")
        agent = Agent("clerk", model=model, servers={"plant": app}, tracer=traces.tracer)
        agent.run_sync("go")
        span = traces.one("execute_tool plant__look")
        assert span.context is not None
        assert span.kind is SpanKind.CLIENT
        expected = {
            "mcp.method.name": "tools/call",
            "gen_ai.tool.type": "extension",
            "taut.server": "plant",
        }
        assert expected.items() <= attributes_of(span).items()
        (meta,) = seen
        assert isinstance(meta.traceparent, str)
        version, trace_id, span_id, flags = meta.traceparent.split("-")
        assert (version, int(trace_id, 16), int(span_id, 16)) == (
            "00",
            span.context.trace_id,
            span.context.span_id,
        )
        assert int(flags, 16) & 1  # it is recorded

    def test_an_agent_behind_a_server_goes_on_with_the_trace(self) -> None:
        traces = Traces()
        inner = Agent("inner", model=ScriptedModel("yes"), tracer=traces.tracer)
        app = agent_server("s", inner, tracing=continued)
        model = ScriptedModel(call("plant__inner", task="really?"), "yes")
        outer = Agent("outer", model=model, servers={"plant": app}, tracer=traces.tracer)
        outer.run_sync("ask")
        assert [line for line in traces.tree() if "chat" not in line] == [
            "invoke_agent outer",
            "  execute_tool plant__inner",
            "    invoke_agent inner",
        ]

    def test_without_a_trace_context_a_run_begins_a_trace(self) -> None:
        traces = Traces()
        with continued(None), continued({"traceparent": "nonsense"}), continued(models.RequestMeta()):
            traces.tracer.begin("a", {}, None).end()
        assert traces.one("a").parent is None

    def test_the_context_is_left_as_it_was(self) -> None:
        with continued({"traceparent": TRACEPARENT, "tracestate": "a=b"}):
            context = trace.get_current_span().get_span_context()
            assert f"{context.trace_id:032x}" == TRACEPARENT.split("-")[1]
            assert context.trace_state.get("a") == "b"
        assert trace.get_current_span().get_span_context() == trace.INVALID_SPAN_CONTEXT


class TestSpans:
    def test_attributes_that_are_no_plain_values_are_json(self) -> None:
        traces = Traces()
        span = traces.tracer.begin("a", {"none": None, "list": ["x"], "object": {"n": [1, 2.5]}}, None)
        span.set({"more": (1, 2), "flag": True})
        span.end()
        assert attributes_of(traces.one("a")) == {
            "list": ("x",),
            "object": '{"n":[1,2.5]}',
            "more": "[1,2]",
            "flag": True,
        }

    def test_without_an_sdk_nothing_is_traced_and_nothing_is_sent(self) -> None:
        tracer = OtelTracer(trace.NoOpTracerProvider())
        span = tracer.begin("a", {}, None)
        assert span.traceparent is None
        child = tracer.begin("b", {}, span)
        child.end(ValueError("x"))
        span.end()

    def test_a_parent_of_another_tracer_is_refused(self) -> None:
        class Other:
            traceparent = None

            def set(self, attributes: Any) -> None: ...
            def end(self, error: BaseException | None = None) -> None: ...

        with pytest.raises(ConfigError, match="Expected a parent that an OtelTracer has made, got Other"):
            Traces().tracer.begin("a", {}, Other())

    def test_the_trace_context_is_that_of_the_span(self) -> None:
        traces = Traces()
        with continued({"traceparent": TRACEPARENT}):
            span = traces.tracer.begin("a", {}, None)
        assert isinstance(span, OtelSpan)
        version, trace_id, span_id, flags = (span.traceparent or "").split("-")
        assert (version, trace_id, flags) == ("00", TRACEPARENT.split("-")[1], "01")
        assert span_id == f"{span.span.get_span_context().span_id:016x}"
        span.end()


def test_without_opentelemetry_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from taut.errors import ConfigError\n"
        "try:\n    import taut.telemetry.otel\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install taut[otel]" in done.stdout


def test_an_agent_does_not_load_opentelemetry() -> None:
    code = "import sys, taut.agent; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
