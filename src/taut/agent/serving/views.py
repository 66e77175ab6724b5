"""What clients see of a run: the results of the ``run_*`` tools, and the JSON of its resource."""

from __future__ import annotations

import datetime
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from taut.agent.result import ApprovalRequest
from taut.llm.messages import Usage

__all__ = ["Approval", "RunInfo", "RunList", "Status", "moment"]

#: ``suspended``: it waits for decisions; ``failed``: it may be taken up again if it is ``resumable``.
Status: TypeAlias = Literal["running", "suspended", "completed", "failed", "cancelled"]


class Approval(Struct, frozen=True, kw_only=True):
    """A call of a tool that waits for a decision. ``tool`` says where the tool is from."""

    id: str
    path: str
    tool: str
    name: str
    arguments: dict[str, Any]

    @classmethod
    def of(cls, request: ApprovalRequest) -> Approval:
        """Return what is shown of ``request``."""
        call = request.call
        return cls(
            id=request.id, path=request.path, tool=request.tool, name=call.name, arguments=call.arguments
        )


class RunInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run, from outside.

    ``path`` and ``step`` say who is at work; ``message`` is the last line of what happened. ``usage`` is that of the
    whole run, and missing where it is not known yet.
    """

    run_id: str
    agent: str
    status: Status
    task: str
    created: datetime.datetime
    updated: datetime.datetime
    path: str = ""
    step: int = 0
    message: str = ""
    usage: Usage | UnsetType = UNSET
    tool_calls: int = 0
    approvals: list[Approval] = []
    resumable: bool = False
    output: Any = UNSET
    error: str = ""


class RunList(Struct, frozen=True):
    """Runs, those that changed last first."""

    runs: list[RunInfo]


def moment(seconds: float) -> datetime.datetime:
    """Return seconds since the epoch as a time, to the millisecond."""
    return datetime.datetime.fromtimestamp(round(seconds, 3), datetime.UTC)
