"""Patterns of agents. Each is an agent itself: it nests in others, streams, keeps budgets, and can be suspended,
resumed and served like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily

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
    "Chain": "taut.agent.patterns.chain",
    "Classified": "taut.agent.patterns.intent",
    "Collected": "taut.agent.patterns.branches",
    "DeepResearch": "taut.agent.patterns.deep_research",
    "Evaluation": "taut.agent.patterns.evaluator_optimizer",
    "EvaluatorOptimizer": "taut.agent.patterns.evaluator_optimizer",
    "Fact": "taut.agent.patterns.knowledge",
    "Findings": "taut.agent.patterns.knowledge",
    "Guess": "taut.agent.patterns.intent",
    "HandOff": "taut.agent.patterns.swarm",
    "Intent": "taut.agent.patterns.intent",
    "IntentClassifier": "taut.agent.patterns.intent",
    "Knowledge": "taut.agent.patterns.knowledge",
    "Link": "taut.agent.patterns.chain",
    "MapReduce": "taut.agent.patterns.map_reduce",
    "Mapped": "taut.agent.patterns.map_reduce",
    "Options": "taut.agent.patterns.pattern",
    "Orchestrator": "taut.agent.patterns.orchestrator",
    "Outcome": "taut.agent.patterns.plan",
    "Parallel": "taut.agent.patterns.parallel",
    "Pattern": "taut.agent.patterns.pattern",
    "Plan": "taut.agent.patterns.plan",
    "Rating": "taut.agent.patterns.evaluator_optimizer",
    "ResearchReport": "taut.agent.patterns.deep_research",
    "Router": "taut.agent.patterns.router",
    "Score": "taut.agent.patterns.evaluator_optimizer",
    "Swarm": "taut.agent.patterns.swarm",
    "Task": "taut.agent.patterns.plan",
    "Vote": "taut.agent.patterns.voting",
    "Voting": "taut.agent.patterns.voting",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
