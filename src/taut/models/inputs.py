"""Multi-round-trip requests of 2026-07-28: a result that asks the client for input before the real one.

An `InputRequiredResult` answers ``tools/call``, ``prompts/get`` or ``resources/read``. The client repeats the
request with ``input_responses`` under the same keys and ``request_state`` unchanged.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, UnsetType

from taut.models._base import Model
from taut.models._messages import RequestParams, Result
from taut.models.elicitation import ElicitParams
from taut.models.sampling import CreateMessageParams

__all__ = [
    "CreateMessageRequest",
    "ElicitRequest",
    "InputRequest",
    "InputRequiredResult",
    "ListRootsRequest",
]


class CreateMessageRequest(Model, frozen=True, tag_field="method", tag="sampling/createMessage"):
    """Asks the client's model."""

    params: CreateMessageParams


class ListRootsRequest(Model, frozen=True, tag_field="method", tag="roots/list"):
    """Asks for the client's roots."""

    params: RequestParams | UnsetType = UNSET


class ElicitRequest(Model, frozen=True, tag_field="method", tag="elicitation/create"):
    """Asks the client's user."""

    params: ElicitParams


InputRequest: TypeAlias = CreateMessageRequest | ListRootsRequest | ElicitRequest


class InputRequiredResult(Result, frozen=True, kw_only=True):
    """``resultType: input_required``; at least one of the two members is there."""

    input_requests: dict[str, InputRequest] | UnsetType = UNSET
    request_state: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.input_requests is UNSET and self.request_state is UNSET:
            raise ValueError("Expected at least one of `inputRequests` and `requestState`")
