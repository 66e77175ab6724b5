"""What patterns share: options, models by name, the names of the package, coroutines side by side."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

import taut.agent.patterns as patterns
from agent.patterns.cases import FULL, Kit, chain, ranked
from agent.worlds import run
from taut.agent import Budget
from taut.agent.patterns import Chain, Orchestrator, Router
from taut.agent.patterns.side_by_side import SideBySide
from taut.agent.state import MemoryCheckpointStore
from taut.errors import ConfigError, RunSuspended
from taut.testing import FunctionModel


def test_the_names_of_the_package_are_those_that_there_are() -> None:
    assert patterns.__all__ == sorted(patterns.__all__)
    assert set(patterns.__all__) == set(patterns._HOMES)
    for name, home in patterns._HOMES.items():
        module = importlib.import_module(home)
        assert name in module.__all__
        assert getattr(patterns, name) is getattr(module, name)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = patterns.Nothing  # type: ignore[attr-defined]


def test_a_pattern_is_loaded_when_it_is_asked_for() -> None:
    code = (
        "import sys, taut.agent.patterns as p; loaded = lambda: {m for m in sys.modules if 'patterns.' in m}; "
        "assert not loaded(); p.Chain; assert not [m for m in loaded() if 'swarm' in m]; "
        "assert not {'pydantic', 'numpy', 'httpx', 'taut.llm.open'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Span:
    traceparent = None

    def __init__(self, name: str, parent: Span | None) -> None:
        self.name = name if parent is None else f"{parent.name} > {name}"

    def set(self, attributes: Mapping[str, Any]) -> None:
        pass

    def end(self, error: BaseException | None = None) -> None:
        pass


class Tracer:
    def __init__(self) -> None:
        self.names: list[str] = []

    def begin(self, name: str, attributes: Mapping[str, Any], parent: Any) -> Span:
        span = Span(name, parent)
        self.names.append(span.name)
        return span


def test_options_are_those_of_any_agent() -> None:
    kit, tracer, store = Kit("act", {"one": ""}), Tracer(), MemoryCheckpointStore()
    agent = Chain(
        "chain",
        [kit.agent("one", "1")],
        description="One after another",
        budget=Budget(model_calls=5),
        tracer=tracer,
        checkpoints=store,
    )
    assert (agent.description, agent.budget) == ("One after another", Budget(model_calls=5))

    async def work() -> None:
        result = await agent.run("x", run_id="r1")
        assert result.status == "suspended"
        kept = await store.load("r1")
        assert kept is not None
        assert (kept[0].agent, kept[0].status) == ("chain", "suspended")
        result.state.approve()
        assert (await agent.resume(result.state)).output == "1"
        assert await store.load("r1") is None

    run(work())
    assert tracer.names[:3] == [
        "invoke_agent chain",
        "invoke_agent chain > invoke_agent one",
        "invoke_agent chain > invoke_agent one > chat function",
    ]
    with pytest.raises(TypeError, match="colour"):
        Chain("chain", [kit.agent("one", "1")], colour="red")  # type: ignore[call-arg]


def test_a_model_by_name_is_opened_once_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[FunctionModel] = []

    def open_model(spec: str) -> FunctionModel:
        assert spec == "some:model"
        replies = {
            "You plan": ("p", FULL),
            "Others": ("s", "done"),
            "Choose": ("c", ranked("name", ("digger", 1))),
        }
        opened.append(Kit().model(replies))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr("taut.llm.open.open_model", open_model)
    kit = Kit()
    workers = [kit.agent("digger", "dug"), kit.agent("scribe", "written")]
    agent = Orchestrator("o", "some:model", workers=workers)

    async def work() -> None:
        async with agent:
            assert (await agent.run("x")).output == "done"
            assert [model.closed for model in opened] == [False]
        assert [model.closed for model in opened] == [True]

    run(work())
    assert len(opened) == 1
    given = Kit().model({"Choose": ("c", ranked("name", ("digger", 1)))})
    assert run(Router("r", given, routes=workers).run("x")).output == "dug"
    assert not given.closed


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="Expected a model or its name, got int"):
        Orchestrator("o", 5, workers=[Kit().agent("a", "x")])  # type: ignore[arg-type]


def test_runs_of_one_pattern_do_not_disturb_each_other() -> None:
    async def work() -> None:
        async with chain(Kit()) as agent:
            results = await asyncio.gather(*(agent.run(f"task {n}") for n in range(20)))
        assert [one.messages[0].text for one in results] == [f"task {n}" for n in range(20)]
        assert {one.output for one in results} == {"after first"}

    run(work())


# -- side by side


async def value(result: Any, turns: int = 0) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    if isinstance(result, Exception):
        raise result
    return result


def test_what_ends_first_is_taken_first() -> None:
    async def work() -> None:
        async with SideBySide[str, int]() as going:
            going.start("slow", value(1, 5))
            going.start("fast", value(2))
            going.start("also", value(3))
            assert [await going.next() for _ in range(4)] == [("fast", 2), ("also", 3), ("slow", 1), None]

    run(work())


def test_a_failure_is_raised_when_it_is_taken() -> None:
    async def work() -> None:
        async with SideBySide[str, int]() as going:
            going.start("good", value(1))
            going.start("bad", value(OSError("gone")))
            assert await going.next() == ("good", 1)
            with pytest.raises(OSError, match="gone"):
                await going.next()

    run(work())


def test_nothing_outlives_the_block() -> None:
    async def left_early() -> None:
        async with SideBySide[str, int](limit=3) as going:
            going.start("bad", value(OSError("never heard")))
            going.start("good", value(1))
            going.start("never", value(1, 100_000))
            going.start("late", value(1))
            with pytest.raises(OSError, match="never heard"):
                await going.next()
            raise KeyError("left")

    async def work() -> None:
        with pytest.raises(KeyError, match="left"):
            await left_early()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        async with SideBySide[str, int]() as going:
            going.start("good", value(1))
            going.start("bad", value(OSError("not needed")))
            assert await going.next() == ("good", 1)

    run(work())


def test_what_is_suspended_is_left_out() -> None:
    async def work() -> None:
        async with SideBySide[str, int](limit=1) as going:
            going.start("suspended", value(RunSuspended("wait")))
            going.start("good", value(1))
            assert [await going.next(), await going.next()] == [("good", 1), None]
            assert isinstance(going.suspended, RunSuspended)

    run(work())
