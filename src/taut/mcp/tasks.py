"""The life of a task, sans-I/O: what is known of one, how that may change, and what each revision is shown of it.

A `TaskRecord` is what a store keeps: it never changes. Each change is a function from a record to the next one, and
gives back *the same object* where the change is not allowed any more. A store that applies such functions atomically
(compare and swap, a transaction) needs to know nothing of tasks, and two workers that end the same task at once
cannot both win:

    working <-> input_required
       |              |
       +--------------+--> completed | failed | cancelled    (for good)

The extension of 2026-07-28 (SEP-2663) and the experiment of 2025-11-25 share all of this. They differ in names, and
in what becomes of a tool's own failure: an ``isError`` result is completed in the one, failed in the other.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from taut import models
from taut.errors import InvalidParams, MissingRequiredClientCapability
from taut.mcp.inputs import Question

__all__ = [
    "CAPABILITY",
    "TERMINAL",
    "Asked",
    "TaskRecord",
    "answered",
    "asked",
    "cancelled",
    "check_declared",
    "completed",
    "created_result",
    "detailed_result",
    "expired",
    "failed",
    "final_result",
    "legacy_task",
    "question_of",
    "refused",
    "said",
    "status_params",
    "withdrawn",
]

#: The client capability that a modern request about tasks must carry.
CAPABILITY: Final = f"extensions.{models.TASKS_EXTENSION}"
TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})

_MS = 1000


class Asked(msgspec.Struct, frozen=True):
    """A question that waits for the client: its method, and the JSON text of its params."""

    method: str
    params: bytes

    def decode_answer(self, key: str, value: Any) -> None:
        """Check a raw answer.

        :raises taut.errors.InvalidParams: it is no result of the method, or not what the form asks for.
        """
        params = models.decode_params(self.method, self.params, models.LATEST_LEGACY)
        try:
            Question(self.method, params).answer(models.decode_input_response(self.method, value))
        except ValueError as error:  # not what the form asks
            raise InvalidParams(f"Invalid inputResponses[{key!r}]: {error}") from error


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task. Times are seconds since the epoch; ``ttl_s`` None means that it is kept for ever."""

    id: str
    #: Who may reach it; empty: whoever knows the id.
    owner: str
    #: The revision of the request that it came from, and of the JSON text of its result.
    revision: str
    created: float
    updated: float
    ttl_s: float | None
    poll_s: float
    #: Which process works on it, in the words of the store.
    worker: str = ""
    #: Grows with each change.
    version: int = 0
    status: models.TaskStatus = "working"
    message: str | None = None
    #: JSON text of the result, once completed.
    result: bytes | None = None
    #: Whether that result is a tool's report of its failure.
    is_error: bool = False
    error: models.ErrorObject | None = None
    #: What waits for an answer.
    questions: dict[str, Asked] = {}
    #: JSON text of the answers that came in; gone when the task has ended.
    answers: dict[str, bytes] = {}
    #: What came in place of an answer.
    refusals: dict[str, models.ErrorObject] = {}

    @property
    def ended(self) -> bool:
        """Whether its status will never change."""
        return self.status in TERMINAL

    def open_to(self, owner: str) -> bool:
        """Whether ``owner`` may reach it."""
        return not self.owner or self.owner == owner


# -- how a task changes


def _changed(record: TaskRecord, now: float, **changes: Any) -> TaskRecord:
    # Clocks of several workers may disagree; what a client sees does not go back.
    return replace(record, updated=max(now, record.updated), version=record.version + 1, **changes)


def _ended(record: TaskRecord, now: float, **changes: Any) -> TaskRecord:
    if record.ended:
        return record
    return _changed(record, now, questions={}, answers={}, refusals={}, **changes)


def _without(record: TaskRecord, keys: Iterable[str], now: float, **changes: Any) -> TaskRecord:
    """Return the record when these questions wait no longer."""
    gone = frozenset(keys) & record.questions.keys()
    if record.ended or not gone:
        return record
    left = {key: one for key, one in record.questions.items() if key not in gone}
    return _changed(record, now, status="input_required" if left else "working", questions=left, **changes)


def asked(record: TaskRecord, questions: Mapping[str, Asked], now: float) -> TaskRecord:
    """Let the task wait for answers, besides those it waits for already."""
    if record.ended or not questions:
        return record
    return _changed(record, now, status="input_required", questions={**record.questions, **questions})


def answered(record: TaskRecord, responses: Mapping[str, Any], now: float) -> TaskRecord:
    """Take raw answers to some of the questions. Answers to what was not asked, or was answered, are ignored.

    :raises taut.errors.InvalidParams: an answer does not fit its question; then none of them is taken.
    """
    given = {key: value for key, value in responses.items() if key in record.questions}
    for key, value in given.items():
        record.questions[key].decode_answer(key, value)
    answers = record.answers | {key: msgspec.json.encode(value) for key, value in given.items()}
    return _without(record, given, now, answers=answers)


def refused(record: TaskRecord, key: str, error: models.ErrorObject, now: float) -> TaskRecord:
    """Take an error in place of an answer (2025-11-25, where questions are requests)."""
    return _without(record, [key], now, refusals={**record.refusals, key: error})


def withdrawn(record: TaskRecord, keys: Iterable[str], now: float) -> TaskRecord:
    """Take back questions that nobody waits for any more."""
    return _without(record, keys, now)


def said(record: TaskRecord, message: str, now: float) -> TaskRecord:
    """Say how it goes."""
    return record if record.ended or record.message == message else _changed(record, now, message=message)


def completed(record: TaskRecord, result: bytes, now: float, *, is_error: bool) -> TaskRecord:
    """End with the JSON text of the request's result."""
    return _ended(record, now, status="completed", message=None, result=result, is_error=is_error)


def failed(record: TaskRecord, error: models.ErrorObject, now: float) -> TaskRecord:
    """End with the JSON-RPC error that the request would have been answered with."""
    return _ended(record, now, status="failed", message=error.message, error=error)


def cancelled(record: TaskRecord, message: str, now: float) -> TaskRecord:
    """End because the client wants it so."""
    return _ended(record, now, status="cancelled", message=message)


def expired(record: TaskRecord, now: float) -> bool:
    """Whether its time is over: it may be forgotten, whatever its status."""
    return record.ttl_s is not None and now >= record.created + record.ttl_s


# -- what each revision is shown


def check_declared(capabilities: models.ClientCapabilities | models.ServerCapabilities, what: str) -> None:
    """Refuse a modern request about tasks whose client did not declare the extension in it.

    :raises taut.errors.MissingRequiredClientCapability: with ``data.requiredCapabilities``.
    """
    if not models.declares(capabilities, CAPABILITY):
        raise MissingRequiredClientCapability(
            f"{what} needs the client capability {CAPABILITY}, which was not declared",
            data={"requiredCapabilities": {"extensions": {models.TASKS_EXTENSION: {}}}},
        )


def _timestamp(seconds: float) -> str:
    """Return a time as ISO 8601 text, UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _facts(record: TaskRecord) -> dict[str, Any]:
    return {
        "task_id": record.id,
        "status": record.status,
        "created_at": _timestamp(record.created),
        "last_updated_at": _timestamp(record.updated),
        "ttl_ms": None if record.ttl_s is None else round(record.ttl_s * _MS),
        "poll_interval_ms": max(1, round(record.poll_s * _MS)),
        "status_message": UNSET if record.message is None else record.message,
    }


def _legacy_facts(record: TaskRecord) -> dict[str, Any]:
    facts = _facts(record)
    if record.status == "completed" and record.is_error:
        facts |= {"status": "failed", "status_message": "The tool reported an error"}
    return facts


def _details(record: TaskRecord, revision: str) -> dict[str, Any]:
    details = _facts(record)
    if record.result is not None:
        details["result"] = msgspec.Raw(final_result(record, revision))
    if record.error is not None:
        details["error"] = record.error
    if record.status == "input_required":
        details["input_requests"] = {
            key: {"method": one.method, "params": msgspec.Raw(one.params)}
            for key, one in record.questions.items()
        }
    return details


def final_result(record: TaskRecord, revision: str) -> bytes:
    """Return the JSON text of the result of a completed task, as ``revision`` has it."""
    result = record.result or b"{}"
    if revision == record.revision:
        return result
    return models.encode(models.decode_result("tools/call", result, record.revision), revision)


def created_result(record: TaskRecord, revision: str) -> models.Result:
    """Return what a request is answered with whose work goes on as ``record``."""
    if revision in models.MODERN:
        return models.CreateTaskResult(**_facts(record))
    return models.LegacyCreateTaskResult(task=legacy_task(record))


def detailed_result(record: TaskRecord, revision: str) -> models.Result:
    """Return the answer to ``tasks/get``."""
    if revision in models.MODERN:
        return models.GetTaskResult(**_details(record, revision))
    return models.LegacyGetTaskResult(**_legacy_facts(record))


def status_params(record: TaskRecord, revision: str, meta: Any = UNSET) -> models.NotificationParams:
    """Return the params of ``notifications/tasks``, or of ``notifications/tasks/status`` (2025-11-25)."""
    if revision in models.MODERN:
        return models.TaskStatusParams(meta=meta, **_details(record, revision))
    return models.LegacyTaskStatusParams(meta=meta, **_legacy_facts(record))


def legacy_task(record: TaskRecord) -> models.LegacyTask:
    """Return the task as 2025-11-25 lists it."""
    return models.LegacyTask(**_legacy_facts(record))


def question_of(question: Question, revision: str) -> Asked:
    """Return a handler's question as a record keeps it."""
    return Asked(question.method, models.encode(question.params, revision))
