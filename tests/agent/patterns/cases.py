"""One tree of agents for each pattern, and the world that their models and tools live in.

The models answer by what they are asked, not by what they were asked before: so new agents, in another process as it
were, go on where others have ended. The world counts what was answered and what was done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from taut.agent import Agent, BaseAgent, ToolPolicy
from taut.agent.patterns import (
    Chain,
    Classified,
    Collected,
    DeepResearch,
    Evaluation,
    EvaluatorOptimizer,
    Fact,
    Guess,
    IntentClassifier,
    Mapped,
    MapReduce,
    Orchestrator,
    Parallel,
    Rating,
    ResearchReport,
    Router,
    Swarm,
    Voting,
)
from taut.errors import ModelUnavailable
from taut.llm.model import ModelRequest
from taut.testing import FunctionModel, call
from taut.testing.answers import Answer

Reply: TypeAlias = "Answer | Callable[[ModelRequest], Answer]"


class Kit:
    """The world: ``mode`` is what agents in ``weak`` do where their request contains the text that stands there.

    ``plain``: as all others; ``fail``: their model is away; ``wait``: it never answers; ``act``: they call the tool
    ``act``, which needs approval, before they answer.
    """

    def __init__(self, mode: str = "plain", weak: Mapping[str, str] | None = None) -> None:
        self.mode = mode
        self.weak = dict(weak or {})
        self.answered: Counter[bytes] = Counter()
        self.by_name: Counter[str] = Counter()
        self.prompts: list[tuple[str, str]] = []
        self.acts: list[str] = []
        self.refused: list[str] = []
        self.waiting = 0
        self.cancelled = 0
        self.on_wait: Callable[[], None] = lambda: None

    # -- agents

    def model(self, replies: Mapping[str, tuple[str, Reply]]) -> FunctionModel:
        """A model for several agents: by a text of their instructions, the name and the reply of each."""

        async def answer(request: ModelRequest) -> Answer:
            for mark, (name, reply) in replies.items():
                if mark in request.instructions:
                    return await self._answer(name, reply, request)
            raise AssertionError(f"nobody is told {request.instructions!r}")

        return FunctionModel(answer)

    def agent(self, name: str, reply: Reply, **options: Any) -> Agent[Any]:
        """An agent that can ``act``."""

        def act(what: str) -> str:
            """Act."""
            self.acts.append(what)
            return "acted"

        return Agent(
            name,
            model=self.model({"": (name, reply)}),
            tools=[act],
            policy=ToolPolicy(approve=("function:act",)),
            description=f"It is {name}",
            **options,
        )

    async def _answer(self, name: str, reply: Reply, request: ModelRequest) -> Answer:
        last = request.messages[-1]
        asked = next(message.text for message in reversed(request.messages) if message.role == "user")
        if self.mode != "plain" and name in self.weak and self.weak[name] in asked:
            if self.mode == "fail":
                raise ModelUnavailable(f"{name} is away")
            if self.mode == "wait":
                await self._wait()
            if self.mode == "act" and last.role == "user":
                self._note(name, request)
                return call("act", what=f"{name}: {asked}")
        if last.role == "tool" and "not approved" in last.content[0].text:  # type: ignore[union-attr]
            self.refused.append(name)
        self._note(name, request)
        self.prompts.append((name, asked))
        return reply(request) if callable(reply) else reply

    async def _wait(self) -> None:
        self.waiting += 1
        self.on_wait()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def _note(self, name: str, request: ModelRequest) -> None:
        self.answered[msgspec.json.encode([name, request.instructions, list(request.messages)])] += 1
        self.by_name[name] += 1

    # -- what came of it

    @property
    def total(self) -> int:
        """How many requests were answered."""
        return self.answered.total()

    @property
    def repeated(self) -> list[bytes]:
        """What was answered more than once."""
        return [key for key, count in self.answered.items() if count > 1]


def said(request: ModelRequest) -> str:
    """What the user said last."""
    return next(message.text for message in reversed(request.messages) if message.role == "user")


def js(value: Any) -> str:
    """A model's structured answer."""
    return msgspec.json.encode(value).decode()


def ranked(field: str, *choices: tuple[str, float]) -> str:
    """What a model that chooses answers."""
    return js({"ranked": [{"reason": "fits", field: name, "confidence": sure} for name, sure in choices]})


def planned(*tasks: tuple[str, str, str, list[str]], **fields: Any) -> str:
    """What a planner answers."""
    return js(
        {**fields, "tasks": [dict(zip(("id", "worker", "task", "needs"), one, strict=True)) for one in tasks]}
    )


@dataclass(frozen=True)
class Case:
    """A pattern in a tree: how it is built, what it answers, which runs there are below it, and who is weak.

    ``breaks``: whose failure fails the run, if it is another's; ``collecting`` builds a tree that bears the failure of
    ``weak``, or ``fails``, and answers ``collected``.
    """

    name: str
    build: Callable[[Kit], BaseAgent[Any]]
    output: Any
    paths: frozenset[str]
    weak: Mapping[str, str]
    acts: int = 1
    breaks: Mapping[str, str] = field(default_factory=dict)
    fails: Mapping[str, str] = field(default_factory=dict)
    collecting: Callable[[Kit], BaseAgent[Any]] | None = None
    collected: Any = None

    def kit(self, mode: str = "plain") -> Kit:
        return Kit(mode, (self.breaks or self.weak) if mode == "fail" else self.weak)


# -- the trees


def chain(kit: Kit) -> Chain:
    return Chain(
        "chain", [kit.agent("one", "first"), kit.agent("two", lambda request: f"after {said(request)}")]
    )


def router(kit: Kit) -> Router:
    return Router(
        "router",
        kit.model({"Choose who": ("chooser", ranked("name", ("writer", 0.9)))}),
        routes=[kit.agent("writer", "written"), kit.agent("painter", "painted")],
    )


def intent(kit: Kit) -> IntentClassifier:
    answer = ranked("intent", ("refund", 0.8), ("other", 0.1))
    return IntentClassifier(
        "intent",
        kit.model({"Say what the user wants": ("classifier", answer)}),
        intents={"refund": "Money back", "other": "All else"},
        top_k=2,
    )


def parallel(kit: Kit, **options: Any) -> Parallel:
    return Parallel(
        "parallel",
        [kit.agent("left", "L"), kit.agent("right", "R")],
        fan_in=kit.agent("both", lambda request: said(request).split("theirs.\n\n")[1]),
        **options,
    )


def parallel_bare(kit: Kit, **options: Any) -> Parallel:
    return Parallel("parallel", {"l": kit.agent("left", "L"), "r": kit.agent("right", "R")}, **options)


def mapped(kit: Kit, **options: Any) -> MapReduce:
    return MapReduce(
        "mapped",
        split=lambda text: list(text),
        map=kit.agent("mapper", lambda request: said(request).upper()),
        **options,
    )


def parallel_typed(kit: Kit) -> Parallel:
    return Parallel(
        "parallel", [kit.agent("left", js(Fact("L", ["l"])), output=Fact), kit.agent("right", "R")]
    )


def mapped_typed(kit: Kit) -> MapReduce:
    def fact(request: ModelRequest) -> str:
        return js(Fact(said(request), []))

    return MapReduce("mapped", split=lambda text: list(text), map=kit.agent("mapper", fact, output=Fact))


def map_reduced(kit: Kit) -> MapReduce:
    return MapReduce(
        "mapped",
        split=kit.agent("splitter", js({"result": ["a", "b", "c"]}), output=list[str]),
        map=kit.agent("mapper", lambda request: said(request).upper()),
        reduce=kit.agent("reducer", lambda request: said(request).split("results.\n\n")[1].replace("\n", "")),
    )


FULL = planned(
    ("a", "digger", "dig", []),
    ("b", "scribe", "write", ["a"]),
    ("c", "scribe", "draw", []),
    ("d", "digger", "fill", ["a", "b"]),
)


def worker(name: str) -> Callable[[ModelRequest], str]:
    def reply(request: ModelRequest) -> str:
        text = said(request)
        task, _, built_on = text.partition("\n\nThis builds on these results:\n\n")
        needs = [line[3:].partition(":")[0] for line in built_on.splitlines() if line.startswith("## ")]
        return f"{name} did {task}" + (f" with {' '.join(needs)}" if needs else "")

    return reply


def results(request: ModelRequest) -> str:
    return "; ".join(
        line
        for line in said(request).partition("so far:")[2].splitlines()
        if " did " in line or "needs" in line
    )


def orchestrator(kit: Kit, **options: Any) -> Orchestrator:
    return Orchestrator(
        "orchestrator",
        kit.model({"You plan work": ("planner", FULL), "Others have": ("synthesiser", results)}),
        workers=[kit.agent("digger", worker("digger")), kit.agent("scribe", worker("scribe"))],
        **options,
    )


def next_step(request: ModelRequest) -> str:
    text = said(request)
    if "## b" in text:
        return planned(done=True)
    if "## a" in text:
        return planned(("b", "scribe", "write", ["a"]), done=False)
    return planned(("a", "digger", "dig", []), done=False)


def iterative(kit: Kit, **options: Any) -> Orchestrator:
    return Orchestrator(
        "orchestrator",
        kit.model({"You plan work": ("planner", next_step), "Others have": ("synthesiser", results)}),
        workers=[kit.agent("digger", worker("digger")), kit.agent("scribe", worker("scribe"))],
        plan="iterative",
        **options,
    )


def judged(request: ModelRequest) -> str:
    good = "better" in said(request)
    return js(Evaluation("fine" if good else "too short", Rating.GOOD if good else Rating.POOR, not good))


def improving(kit: Kit, **options: Any) -> EvaluatorOptimizer:
    return EvaluatorOptimizer(
        "improving",
        kit.agent("generator", lambda request: "better" if "too short" in said(request) else "draft"),
        kit.agent("evaluator", judged, output=Evaluation),
        **options,
    )


def swarm(kit: Kit) -> Swarm:
    return Swarm(
        "swarm",
        [
            kit.agent("triage", lambda request: call("transfer_to_billing", task="refund the order")),
            kit.agent("billing", lambda request: f"billing: {said(request)}"),
        ],
    )


def verdict(request: ModelRequest) -> str:
    known = "Moss likes rain" in said(request)
    more = [] if known else [{"question": "What do mosses like?", "worker": "digger"}]
    return js({"missing": "" if known else "what they like", "complete": known, "questions": more})


def read(request: ModelRequest) -> str:
    answer = said(request).partition("Answer of digger:\n\n")[2]
    return js({"facts": [{"text": answer, "sources": ["the digger"]}]})


def dug(request: ModelRequest) -> str:
    return "Moss likes rain" if "like" in said(request) else "Moss is a plant"


def research(kit: Kit, **options: Any) -> DeepResearch:
    plan = {
        "questions": [
            {"question": "What is moss?", "worker": "digger"},
            {"question": "Is moss a plant?", "worker": "digger"},
        ]
    }
    return DeepResearch(
        "research",
        kit.model(
            {
                "You plan research": ("planner", js(plan)),
                "You check research": ("verifier", verdict),
                "List the facts": ("reader", read),
                "Write a report": ("writer", "Moss."),
            }
        ),
        workers=[kit.agent("digger", dug)],
        **options,
    )


def voting(kit: Kit, **options: Any) -> Voting:
    answers = {"ada": "Red.", "bob": "blue", "eve": " red"}
    return Voting("voting", [kit.agent(name, answer) for name, answer in answers.items()], **options)


def report(text: str = "Moss.", **fields: Any) -> ResearchReport:
    known = [Fact("Moss is a plant", ["the digger"]), Fact("Moss likes rain", ["the digger"])]
    return ResearchReport(
        **{
            "text": text,
            "complete": True,
            "reason": "The verifier is content",
            "facts": tuple(known),
            **fields,
        }
    )


CASES = [
    Case("chain", chain, "after first", frozenset({"chain/one", "chain/two"}), {"one": ""}),
    Case("router", router, "written", frozenset({"router/chooser", "router/writer"}), {"writer": ""}),
    Case(
        "intent",
        intent,
        Classified("refund", 0.8, {}, (Guess("refund", 0.8, "fits"), Guess("other", 0.1, "fits"))),
        frozenset({"intent/classifier"}),
        {"classifier": ""},
        acts=0,
    ),
    Case(
        "parallel",
        parallel,
        "## left\nL\n\n## right\nR",
        frozenset({"parallel/left", "parallel/right", "parallel/both"}),
        {"right": ""},
        collecting=lambda kit: parallel(kit, on_failure="collect"),
        collected="## left\nL\n\n## right (failed)\nright is away",
    ),
    Case(
        "parallel bare",
        parallel_bare,
        Collected({"l": "L", "r": "R"}),
        frozenset({"parallel/left", "parallel/right"}),
        {"left": "", "right": ""},
        acts=2,
    ),
    Case(
        "map",
        mapped,
        [Mapped("a", "A"), Mapped("b", "B"), Mapped("c", "C")],
        frozenset({"mapped/mapper"}),
        {"mapper": "b"},
        collecting=lambda kit: mapped(kit, on_failure="collect"),
        collected=[Mapped("a", "A"), Mapped("b", None, "mapper is away"), Mapped("c", "C")],
    ),
    Case(
        "parallel typed",
        parallel_typed,
        Collected({"left": Fact("L", ["l"]), "right": "R"}),
        frozenset({"parallel/left", "parallel/right"}),
        {"left": ""},
    ),
    Case(
        "map typed",
        mapped_typed,
        [Mapped(letter, Fact(letter, [])) for letter in "abc"],
        frozenset({"mapped/mapper"}),
        {"mapper": "c"},
    ),
    Case(
        "map reduce",
        map_reduced,
        "## aA## bB## cC",
        frozenset({"mapped/splitter", "mapped/mapper", "mapped/reducer"}),
        {"mapper": "c"},
    ),
    Case(
        "orchestrator",
        orchestrator,
        "digger did dig; scribe did write with a; scribe did draw; digger did fill with a b",
        frozenset(f"orchestrator/{name}" for name in ("planner", "digger", "scribe", "synthesiser")),
        {"scribe": "write"},
        collecting=lambda kit: orchestrator(kit, on_failure="collect"),
        collected="digger did dig; scribe did draw; Not done: it needs b",
    ),
    Case(
        "iterative orchestrator",
        iterative,
        "digger did dig; scribe did write with a",
        frozenset(f"orchestrator/{name}" for name in ("planner", "digger", "scribe", "synthesiser")),
        {"digger": "", "scribe": ""},
        acts=2,
    ),
    Case(
        "evaluator optimizer",
        improving,
        "better",
        frozenset({"improving/generator", "improving/evaluator"}),
        {"generator": "evaluated"},
        collecting=lambda kit: improving(kit, on_failure="collect"),
        collected="draft",
    ),
    Case(
        "swarm",
        swarm,
        "billing: refund the order",
        frozenset({"swarm/triage", "swarm/billing"}),
        {"billing": ""},
    ),
    Case(
        "deep research",
        research,
        report(),
        frozenset(
            {f"research/investigation/{name}" for name in ("planner", "digger", "reader", "verifier")}
            | {"research/writer"}
        ),
        {"digger": "like"},
        breaks={"verifier": ""},
        collecting=research,
        collected=report(
            complete=False,
            reason="There is nothing left to ask",
            facts=(Fact("Moss is a plant", ["the digger"]),),
            failed=("What do mosses like? (digger is away)",),
        ),
    ),
    Case(
        "voting",
        voting,
        "Red.",
        frozenset({"voting/ada", "voting/bob", "voting/eve"}),
        {"eve": ""},
        fails={"bob": ""},
        collecting=voting,
        collected="Red.",
    ),
]
