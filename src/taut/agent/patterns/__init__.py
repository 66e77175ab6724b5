"""Patterns of agents. Each is an agent itself: it nests in others, streams, keeps budgets, and can be suspended,
resumed and served like any other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taut.agent.patterns.branches import Collected
    from taut.agent.patterns.chain import Chain, Link
    from taut.agent.patterns.deep_research import DeepResearch, ResearchReport
    from taut.agent.patterns.evaluator_optimizer import Evaluation, EvaluatorOptimizer, Rating, Score
    from taut.agent.patterns.intent import Classified, Guess, Intent, IntentClassifier
    from taut.agent.patterns.knowledge import Fact, Findings, Knowledge
    from taut.agent.patterns.map_reduce import Mapped, MapReduce
    from taut.agent.patterns.orchestrator import Orchestrator
    from taut.agent.patterns.parallel import Parallel
    from taut.agent.patterns.pattern import Options, Pattern
    from taut.agent.patterns.plan import Outcome, Plan, Task
    from taut.agent.patterns.router import Router
    from taut.agent.patterns.swarm import HandOff, Swarm
    from taut.agent.patterns.voting import Vote, Voting

__all__ = [
    "Chain",
    "Classified",
    "Collected",
    "DeepResearch",
    "Evaluation",
    "EvaluatorOptimizer",
    "Fact",
    "Findings",
    "Guess",
    "HandOff",
    "Intent",
    "IntentClassifier",
    "Knowledge",
    "Link",
    "MapReduce",
    "Mapped",
    "Options",
    "Orchestrator",
    "Outcome",
    "Parallel",
    "Pattern",
    "Plan",
    "Rating",
    "ResearchReport",
    "Router",
    "Score",
    "Swarm",
    "Task",
    "Vote",
    "Voting",
]

#: Each is loaded when it is first asked for.
_HOMES = {
    "Chain": "chain",
    "Classified": "intent",
    "Collected": "branches",
    "DeepResearch": "deep_research",
    "Evaluation": "evaluator_optimizer",
    "EvaluatorOptimizer": "evaluator_optimizer",
    "Fact": "knowledge",
    "Findings": "knowledge",
    "Guess": "intent",
    "HandOff": "swarm",
    "Intent": "intent",
    "IntentClassifier": "intent",
    "Knowledge": "knowledge",
    "Link": "chain",
    "MapReduce": "map_reduce",
    "Mapped": "map_reduce",
    "Options": "pattern",
    "Orchestrator": "orchestrator",
    "Outcome": "plan",
    "Parallel": "parallel",
    "Pattern": "pattern",
    "Plan": "plan",
    "Rating": "evaluator_optimizer",
    "ResearchReport": "deep_research",
    "Router": "router",
    "Score": "evaluator_optimizer",
    "Swarm": "swarm",
    "Task": "plan",
    "Vote": "voting",
    "Voting": "voting",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'taut.agent.patterns' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
