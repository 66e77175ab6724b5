"""Input that a server asks of the client while it works: elicitation, sampling, roots.

A handler asks in one way; the era decides how the question travels. In the legacy era it is a request of the server,
and the answer comes back to the waiting handler. In the modern era a server may not send requests: the handler's
question ends the call with an ``input_required`` result, and the client calls again with the answers. The
handler then runs again from its start and finds the answers that it has already been given, so what it does before
a question must bear repeating. Answers of earlier rounds travel in the sealed request state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.errors import (
    ConfigError,
    InvalidParams,
    LocalProtocolError,
    MissingRequiredClientCapability,
    RemoteProtocolError,
)
from taut.mcp.form import check_answer, check_form, form_schema

if TYPE_CHECKING:
    from taut.mcp.inbound import Caller
    from taut.mcp.sealing import StateSealer

__all__ = [
    "METHODS_WITH_INPUT",
    "Elicit",
    "ElicitUrl",
    "Elicited",
    "InputNeeded",
    "ListRoots",
    "Question",
    "Rounds",
    "Sample",
    "all_needed",
    "can_answer",
    "capability_of",
    "check_input",
]

#: How a question is written in an ``input_required`` result.
_REQUESTS: dict[str, Any] = {
    "elicitation/create": models.ElicitRequest,
    "sampling/createMessage": models.CreateMessageRequest,
    "roots/list": models.ListRootsRequest,
}


#: The methods whose results may ask for input (specification 2026-07-28, "Multi Round-Trip Requests").
METHODS_WITH_INPUT = frozenset(
    spec.method for spec in models.METHODS.values() if "input_required" in spec.alternatives
)


def capability_of(method: str, params: Any) -> str:
    """Return the client capability that a question needs."""
    if method == "elicitation/create":
        return "elicitation.url" if params.mode == "url" else "elicitation.form"
    if method == "sampling/createMessage":
        with_tools = params.tools is not msgspec.UNSET or params.tool_choice is not msgspec.UNSET
        return "sampling.tools" if with_tools else "sampling"
    return "roots"


def can_answer(capabilities: models.ClientCapabilities | models.ServerCapabilities, capability: str) -> bool:
    """Tell whether a client declared ``capability``; forms are what an empty ``elicitation`` object means."""
    if capability == "elicitation.form" and not models.declares(capabilities, "elicitation.url"):
        capability = "elicitation"
    return models.declares(capabilities, capability)


class Question(msgspec.Struct, frozen=True):
    """A request to the client, whichever way it travels."""

    method: str
    params: Any
    #: The class that the content of an accepted form is decoded to.
    kind: Any = None

    def check(self, caller: Caller) -> None:
        """Refuse a question that the client did not say it can answer.

        :raises taut.errors.MissingRequiredClientCapability: with ``data.requiredCapabilities``.
        """
        needed = capability_of(self.method, self.params)
        known = (
            caller.revision not in models.LEGACY or models.lookup(self.method, caller.revision) is not None
        )
        if known and can_answer(caller.capabilities, needed):
            return
        if needed == "elicitation.form" and not models.declares(caller.capabilities, "elicitation"):
            needed = "elicitation"
        first, _, second = needed.partition(".")
        required: dict[str, Any] = {first: {second: {}} if second else {}}
        raise MissingRequiredClientCapability(
            f"{self.method} needs the client capability {needed}, which was not declared",
            data={"requiredCapabilities": required},
        )

    def answer(self, result: Any) -> Any:
        """Return the client's ``result`` as the handler gets it.

        :raises ValueError: the content of a form does not fit it, or its class (`msgspec.ValidationError`).
        """
        if isinstance(result, models.ElicitResult):
            if result.action != "accept" or self.params.requested_schema is msgspec.UNSET:
                return Elicited(result.action)
            content = {} if result.content is msgspec.UNSET else result.content
            check_answer(self.params.requested_schema, content)
            return Elicited(
                result.action, content if self.kind is None else msgspec.convert(content, self.kind)
            )
        if isinstance(result, models.ListRootsResult):
            return result.roots
        return result


class Elicited(msgspec.Struct, frozen=True):
    """The user's reaction to a form: ``content`` is what was entered when ``action`` is accept, else None."""

    action: str
    content: Any = None

    @property
    def accepted(self) -> bool:
        """Whether the user filled in the form."""
        return self.action == "accept"


def Elicit(message: str, schema: type | dict[str, Any]) -> Question:
    """Ask the user to fill in a form.

    ``schema`` is a flat object schema (specification, "Elicitation"), or a class with such fields (msgspec Struct,
    dataclass, TypedDict), to which the answer is then decoded.

    :raises taut.errors.ConfigError: no form can ask for that.
    """
    if not isinstance(schema, dict):
        kind = schema
        schema = form_schema(kind)
        params = models.ElicitParams(message=message, requested_schema=schema)
        return Question("elicitation/create", params, kind)
    check_form(schema)
    params = models.ElicitParams(message=message, requested_schema=schema)
    return Question("elicitation/create", params)


def ElicitUrl(message: str, url: str, *, elicitation_id: str | None = None) -> Question:
    """Ask the user to open ``url``, for what must not pass through the client: credentials, payments, consent.

    Accepting means that the user will open it, not that anything has been done there. 2025-11-25 knows the
    elicitation by ``elicitation_id``, a random one unless given.

    :raises taut.errors.ConfigError: the URL is none.
    """
    # Imported here: few servers ask for this, and hashing is a tenth of a server's start-up.
    from secrets import token_urlsafe
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if not (parts.scheme and parts.netloc):
        raise ConfigError(f"Expected an absolute URL to open, got {url!r}")
    identifier = token_urlsafe() if elicitation_id is None else elicitation_id
    params = models.ElicitParams(message=message, mode="url", url=url, elicitation_id=identifier)
    return Question("elicitation/create", params)


def Sample(messages: list[models.SamplingMessage], *, max_tokens: int, **options: Any) -> Question:
    """Ask the client's model for a message (specification, "Sampling").

    :raises taut.errors.ConfigError: the uses and the results of tools in ``messages`` do not belong together.
    """
    _check_tool_messages(messages)
    params = models.CreateMessageParams(messages=messages, max_tokens=max_tokens, **options)
    return Question("sampling/createMessage", params)


def _check_tool_messages(messages: list[models.SamplingMessage]) -> None:
    """Refuse what providers refuse: results among other content, and uses that are not answered at once."""
    open_uses: set[str] = set()
    for number, message in enumerate(messages):
        blocks = message.content if isinstance(message.content, list) else [message.content]
        results = {block.tool_use_id for block in blocks if isinstance(block, models.ToolResultContent)}
        if results and not all(isinstance(block, models.ToolResultContent) for block in blocks):
            raise ConfigError(f"messages[{number}]: expected tool results alone, got other content with them")
        if results != open_uses:
            raise ConfigError(
                f"messages[{number}]: expected results for the tool uses {sorted(open_uses)}, got {sorted(results)}"
            )
        open_uses = {block.id for block in blocks if isinstance(block, models.ToolUseContent)}
    if open_uses:
        raise ConfigError(f"Expected results for the tool uses {sorted(open_uses)} after the last message")


def ListRoots() -> Question:
    """Ask for the client's roots."""
    return Question("roots/list", models.RequestParams())


def check_input(result: models.InputRequiredResult, caller: Caller) -> None:
    """Refuse an ``input_required`` result of a handler's own making that the client cannot take.

    :raises taut.errors.LocalProtocolError: the revision has no such results.
    :raises taut.errors.MissingRequiredClientCapability: the client did not declare what a request in it needs.
    """
    if caller.revision in models.LEGACY:
        raise LocalProtocolError(
            f"Revision {caller.revision} has no input_required results: ask with a Context"
        )
    asked = {} if result.input_requests is msgspec.UNSET else result.input_requests
    for request in asked.values():
        Question(str(request.__struct_config__.tag), request.params).check(caller)


class InputNeeded(BaseException):
    """Unwinds a handler whose questions have no answers yet. No `Exception`, so that no handler takes it for one."""

    def __init__(self, questions: dict[str, Question]) -> None:
        super().__init__(f"input needed: {', '.join(questions)}")
        self.questions = questions


def all_needed(group: BaseExceptionGroup[BaseException]) -> InputNeeded | None:
    """Return the questions of several tasks of a handler as one; None if there is another exception among them."""
    asking, others = group.split(InputNeeded)
    if asking is None or others is not None:
        return None
    questions: dict[str, Question] = {}
    waiting: list[BaseException] = [asking]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        elif isinstance(error, InputNeeded):
            questions.update(error.questions)
    return InputNeeded(questions)


class Rounds:
    """What one multi-round-trip request knows: the answers so far, and how to carry them.

    :raises taut.errors.InvalidParams: the request state is forged, expired, or belongs to another request or principal.
    """

    def __init__(
        self,
        sealer: Callable[[], StateSealer],
        method: str,
        raw_params: models.Buffer,
        responses: dict[str, Any] | None,
        state: str | None,
        *,
        principal: str,
        now: float,
        max_rounds: int,
    ) -> None:
        self._sealer = sealer
        self._principal = principal
        self._method = method
        self._raw_params = raw_params
        self._round = 1
        self._answers: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}
        if state is not None:
            sealed = sealer().open(state, principal=principal, binding=self._binding(), now=now)
            carried = msgspec.json.decode(sealed, type=_State)
            self._round = carried.round + 1
            self._answers = carried.answers
            if self._round > max_rounds:
                raise InvalidParams(f"Expected at most {max_rounds} rounds of input, got round {self._round}")
        if responses:
            self._answers.update(responses)

    @property
    def round(self) -> int:
        """Which round it is, from 1."""
        return self._round

    @property
    def answered(self) -> Collection[str]:
        """The keys of the questions that have an answer."""
        return self._answers.keys()

    def _binding(self) -> bytes:
        """Return what ties the state to this request: its method and params, without what changes in a retry."""
        # Imported here: hashing and its libraries are a tenth of a server's start-up, and few servers ask.
        from taut.mcp.sealing import digest

        return digest(self._method, self._raw_params)

    def key(self, method: str) -> str:
        """Return the next automatic key: the same question gets the same key in every round."""
        name = method.partition("/")[0]
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        return f"{name}_{number}"

    def answers(self, questions: dict[str, Question]) -> dict[str, Any]:
        """Return the decoded answers to ``questions``.

        :raises InputNeeded: some have none yet; names just these.
        :raises taut.errors.InvalidParams: an answer does not fit its question.
        """
        missing = {key: question for key, question in questions.items() if key not in self._answers}
        if missing:
            raise InputNeeded(missing)
        return {key: self._decode(key, question) for key, question in questions.items()}

    def _decode(self, key: str, question: Question) -> Any:
        try:
            return question.answer(models.decode_input_response(question.method, self._answers[key]))
        except (RemoteProtocolError, ValueError) as error:  # not a result; not what the form asks
            raise InvalidParams(f"Invalid inputResponses[{key!r}]: {error}") from error

    def result(self, needed: InputNeeded, now: float) -> models.InputRequiredResult:
        """Return the result that asks for what is needed and carries what is known."""
        state = msgspec.json.encode(_State(round=self._round, answers=self._answers))
        return models.InputRequiredResult(
            input_requests={
                key: _REQUESTS[question.method](question.params) for key, question in needed.questions.items()
            },
            request_state=self._sealer().seal(
                state, principal=self._principal, binding=self._binding(), now=now
            ),
        )


class _State(msgspec.Struct):
    """What the sealed request state holds."""

    round: int
    answers: dict[str, Any]
