"""What a run ends with: its result, and the state that it can be taken up from.

A state is complete: another process, with the same agents, resumes the run from its bytes. It holds what every
finished step returned, the conversation among it, so it is as secret as that: give `RunState.to_bytes` keys where it
is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from taut.agent.budget import Budget
from taut.errors import ConfigError
from taut.llm.messages import Message, Part, ToolCall, Usage
from taut.steps import Journal

if TYPE_CHECKING:
    from taut.crypto import KeyRing

__all__ = ["ApprovalRequest", "Decision", "RunResult", "RunState"]

T = TypeVar("T")

#: The shape of a state's bytes.
VERSION = 1
ASSOCIATED = b"taut run state"


class Decision(Struct, frozen=True, omit_defaults=True):
    """What was decided of a call. ``arguments`` replace those of the model; ``reason`` is what the model is told."""

    approved: bool
    reason: str = ""
    arguments: dict[str, Any] | None = None


class ApprovalRequest(Struct, frozen=True):
    """A call that waits for a decision. ``path`` is the run that wants it, ``tool`` the tool as policies name it."""

    id: str
    path: str
    tool: str
    call: ToolCall


class RunState(Struct, kw_only=True):
    """A run that has not ended: what it was asked, what it has done, and what it waits for.

    ``budget`` is what the run was given in place of its agent's.
    """

    agent: str
    task: tuple[Part, ...]
    journal: Journal
    session: str | None = None
    history: tuple[Message, ...] = ()
    approvals: list[ApprovalRequest] = []
    usage: Usage = Usage()
    budget: Budget | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.journal.run_id

    def approve(
        self, id: str | None = None, *, arguments: dict[str, Any] | None = None, reason: str = ""
    ) -> None:
        """Approve a call, or all that wait; ``arguments`` replace those that the model gave.

        :raises taut.errors.ConfigError: no call of this id waits.
        """
        if arguments is not None and id is None and len(self.approvals) != 1:
            raise ConfigError("Expected the id of the call that gets these arguments, got none")
        self._decide(id, Decision(True, reason, arguments))

    def reject(self, id: str | None = None, *, reason: str = "") -> None:
        """Reject a call, or all that wait; the model is told ``reason``, and goes on.

        :raises taut.errors.ConfigError: no call of this id waits.
        """
        self._decide(id, Decision(False, reason))

    def _decide(self, id: str | None, decision: Decision) -> None:
        chosen = [one for one in self.approvals if id is None or one.id == id]
        if not chosen:
            known = ", ".join(one.id for one in self.approvals)
            raise ConfigError(
                f"Expected a call that waits for approval ({known or 'there is none'}), got {id}"
            )
        for one in chosen:
            self.journal.signals[one.id] = msgspec.to_builtins(decision)
        self.approvals = [one for one in self.approvals if one not in chosen]

    def to_bytes(self, keys: KeyRing | None = None) -> bytes:
        """Return the state as bytes, sealed if there are ``keys``."""
        stored = _Stored(
            version=VERSION,
            agent=self.agent,
            task=self.task,
            journal=self.journal.to_bytes(),
            session=self.session,
            history=self.history,
            approvals=self.approvals,
            usage=self.usage,
            budget=self.budget,
        )
        data = msgspec.msgpack.encode(stored)
        return data if keys is None else keys.seal(data, associated=ASSOCIATED)

    @classmethod
    def from_bytes(cls, data: bytes, keys: KeyRing | None = None) -> RunState:
        """Return the state that `to_bytes` made.

        :raises taut.errors.ConfigError: these bytes are no state of a run, or of another version.
        :raises taut.crypto.Forged: they were not sealed with these keys.
        """
        if keys is not None:
            data = keys.unseal(data, associated=ASSOCIATED)
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        except msgspec.DecodeError as error:
            raise ConfigError(f"Expected the state of a run, got something else: {error}") from None
        if stored.version != VERSION:
            raise ConfigError(f"Expected the state of a run in version {VERSION}, got {stored.version}")
        return cls(
            agent=stored.agent,
            task=stored.task,
            journal=Journal.from_bytes(stored.journal),
            session=stored.session,
            history=stored.history,
            approvals=stored.approvals,
            usage=stored.usage,
            budget=stored.budget,
        )


class _Stored(Struct, kw_only=True):
    version: int
    agent: str
    task: tuple[Part, ...]
    journal: bytes
    session: str | None
    history: tuple[Message, ...]
    approvals: list[ApprovalRequest]
    usage: Usage
    budget: Budget | None = None


class RunResult(Struct, Generic[T], kw_only=True):
    """What a run ended with.

    - ``status``: ``completed``; ``suspended``, it waits for ``state.approvals``; or ``failed``, as the ``result`` of an
      exception;
    - ``output``: of the agent's output type, or text; None unless completed;
    - ``messages``: what was said in this run, from the task on, by the agent itself;
    - ``usage``, ``tool_calls``: of this run and all below it;
    - ``state``: what to resume from; None once completed.
    """

    run_id: str
    agent: str
    status: Literal["completed", "suspended", "failed"]
    output: Any = None
    messages: Sequence[Message] = ()
    usage: Usage = Usage()
    tool_calls: int = 0
    state: RunState | None = None

    @property
    def text(self) -> str:
        """The output as text: JSON where it is not text already."""
        if self.output is None:
            return ""
        return self.output if isinstance(self.output, str) else msgspec.json.encode(self.output).decode()
