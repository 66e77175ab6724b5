"""Approvals that the client's user gives: asked through the call that waits for the run.

A run that waits for decisions is suspended, whoever will decide. Where the client can show a form, its user is asked
at once, about all calls that wait; then the run goes on from its journal. In the modern era the question ends the
call, and the client calls again with the answers: the run is kept meanwhile, and the names of the questions say which
one it is. So no step is done twice, and a client that never comes back leaves nothing but a suspended run.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from taut.agent.result import ApprovalRequest, Decision
from taut.agent.serving.served import ServedRun
from taut.errors import InvalidParams, RemoteError
from taut.mcp.inputs import Elicit, Elicited, Question
from taut.server.context import Context

__all__ = ["Form", "ask_user", "asked_before"]

#: What the names of our questions begin with; the run's id and the approval's follow.
KEY = "approve"
#: Characters of a call's arguments that a user is shown.
SHOWN = 2_000


class Form(Struct, frozen=True):
    """What a user is asked about a call."""

    approve: Annotated[bool, Meta(title="Approve", description="Whether the call may be made")]
    reason: Annotated[str, Meta(title="Reason", description="What the agent is told")] = ""


def _key(run: ServedRun, approval: ApprovalRequest) -> str:
    return f"{KEY}/{run.id}/{approval.id}"


def _question(approval: ApprovalRequest) -> Question:
    call = approval.call
    arguments = msgspec.json.format(msgspec.json.encode(call.arguments), indent=2).decode()
    if len(arguments) > SHOWN:
        arguments = f"{arguments[:SHOWN]}\n[cut: {SHOWN} of {len(arguments)} characters]"
    return Elicit(f"The agent {approval.path} wants to call {approval.tool} with\n{arguments}", Form)


def asked_before(ctx: Context) -> str | None:
    """Return the id of the run that earlier rounds of this call were about; None in the first round.

    :raises taut.errors.InvalidParams: this is a later round, without an answer.
    """
    # What is asked in rounds is the protocol's business everywhere else; here it tells which run goes on.
    for key in ctx.answered:
        kind, _, rest = key.partition("/")
        if kind == KEY:
            return rest.partition("/")[0]
    if ctx.round > 1:
        raise InvalidParams("Expected the answers that were asked for in inputResponses, got none of them")
    return None


async def ask_user(ctx: Context, run: ServedRun, dismissed: set[str]) -> dict[str, Decision] | str:
    """Return what the client's user decides of the calls that ``run`` waits for; or why nobody could be asked.

    Who dismisses a question has decided nothing; it is added to ``dismissed``, and not asked again.

    :raises taut.errors.InvalidParams: an answer does not fit the form.
    """
    waiting = [one for one in run.outcome.approvals if one.id not in dismissed]
    if not waiting:
        return "the questions were dismissed"
    try:
        answers: dict[str, Elicited] = await ctx.ask(**{_key(run, one): _question(one) for one in waiting})
    except InvalidParams:
        raise
    except RemoteError as error:  # it cannot be asked, or has refused
        return error.message
    decisions: dict[str, Decision] = {}
    for one in waiting:
        answer = answers[_key(run, one)]
        if answer.action == "accept":
            form: Any = answer.content
            decisions[one.id] = Decision(form.approve, form.reason)
        elif answer.action == "decline":
            decisions[one.id] = Decision(False, "The user declined")
        else:
            dismissed.add(one.id)
    return decisions or "the questions were dismissed"
