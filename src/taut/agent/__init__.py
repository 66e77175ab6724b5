"""Agents: a model with tools in a loop, and patterns of agents, which are agents.

`Agent` is the loop; `taut.agent.patterns` has the patterns; every one of them inherits `BaseAgent`, and so can be
run, streamed, suspended and resumed, nested and served alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily
from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.lifecycle import AgentState
from taut.agent.policy import ToolPolicy
from taut.agent.result import ApprovalRequest, Decision, RunResult, RunState
from taut.agent.run import Failure, Run
from taut.agent.stream import RunStream
from taut.agent.tools import AgentTool, FunctionTool, Tool, ToolContext

if TYPE_CHECKING:
    from taut.agent.finding import ToolSearch
    from taut.agent.pins import FilePins, MemoryPins

__all__ = [
    "Agent",
    "AgentState",
    "AgentTool",
    "ApprovalRequest",
    "BaseAgent",
    "Budget",
    "Decision",
    "Failure",
    "FilePins",
    "FunctionTool",
    "MemoryPins",
    "Run",
    "RunResult",
    "RunState",
    "RunStream",
    "Tool",
    "ToolContext",
    "ToolPolicy",
    "ToolSearch",
]

#: Loaded when they are first asked for.
_HOMES = {
    "FilePins": "taut.agent.pins",
    "MemoryPins": "taut.agent.pins",
    "ToolSearch": "taut.agent.finding",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
