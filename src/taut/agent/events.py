"""What a run tells while it goes on. One set of events for every way to listen: in process, over HTTP, at a terminal.

``path`` says which run of a tree of runs speaks: the agent's name, behind those of the runs above it
(``chain/writer``). Each event encodes to JSON and back (`msgspec`), tagged by ``event``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct

from taut.llm.messages import ToolCall, ToolResult, Usage

__all__ = [
    "ApprovalAsked",
    "Done",
    "Event",
    "Failed",
    "Listener",
    "Noted",
    "Restarted",
    "StepBegan",
    "Text",
    "Thinking",
    "ToolCalled",
    "ToolProgress",
    "ToolReturned",
    "UsageReported",
]


class _Event(Struct, frozen=True, tag_field="event"):
    path: str


class StepBegan(_Event, frozen=True, tag="step"):
    """A model is asked, for the ``step``-th time in this run (from 1)."""

    step: int


class Text(_Event, frozen=True, tag="text"):
    """More of the text that a model writes."""

    text: str


class Thinking(_Event, frozen=True, tag="thinking"):
    """More of what a model thinks."""

    text: str


class Restarted(_Event, frozen=True, tag="restarted"):
    """A model failed while it wrote, and begins again: its text since the last `StepBegan` is void."""

    reason: str


class ToolCalled(_Event, frozen=True, tag="tool_call"):
    """A tool is called."""

    call: ToolCall


class ToolProgress(_Event, frozen=True, tag="tool_progress"):
    """A tool says how far it is."""

    call_id: str
    name: str
    progress: float
    total: float | None = None
    message: str = ""


class ToolReturned(_Event, frozen=True, tag="tool_result"):
    """A tool has answered, or failed."""

    result: ToolResult


class ApprovalAsked(_Event, frozen=True, tag="approval"):
    """A call waits for approval. ``id`` is what to approve or reject."""

    id: str
    call: ToolCall
    tool: str
    reason: str = ""


class UsageReported(_Event, frozen=True, tag="usage"):
    """What the run has used so far, itself and below."""

    usage: Usage
    tool_calls: int


class Noted(_Event, frozen=True, tag="note"):
    """Something that a pattern has decided, or that a user should know: a route, a plan, a score, a missing server."""

    topic: str
    text: str
    data: Any = None


class Failed(_Event, frozen=True, tag="failed"):
    """The run at ``path`` ended without an output."""

    error: str


class Done(_Event, frozen=True, tag="done"):
    """The run at ``path`` ended: ``status`` is ``completed`` or ``suspended``."""

    status: str
    output: Any
    usage: Usage


Event: TypeAlias = (
    StepBegan
    | Text
    | Thinking
    | Restarted
    | ToolCalled
    | ToolProgress
    | ToolReturned
    | ApprovalAsked
    | UsageReported
    | Noted
    | Failed
    | Done
)
#: Gets every event, in the loop's thread; must not wait. What it raises is logged: the run goes on.
Listener: TypeAlias = Callable[[Event], None]
