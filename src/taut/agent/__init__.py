"""Agents: a model with tools in a loop, and patterns of agents, which are agents.

`Agent` is the loop; `taut.agent.patterns` has the patterns; every one of them inherits `BaseAgent`, and so can be
run, streamed, suspended and resumed, nested and served alike.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'taut.agent' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
