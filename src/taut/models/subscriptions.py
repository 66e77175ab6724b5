"""``subscriptions/listen`` of 2026-07-28: one stream of the notifications that a client chose."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._base import Open
from taut.models._messages import NotificationParams, RequestParams, Result
from taut.models.common import RequestId
from taut.models.meta import SUBSCRIPTION_ID_KEY

__all__ = [
    "SubscriptionFilter",
    "SubscriptionsAcknowledgedParams",
    "SubscriptionsListenParams",
    "SubscriptionsListenResult",
]


class SubscriptionFilter(Open, frozen=True, kw_only=True):
    """What to be told of. ``task_ids`` belongs to the tasks extension."""

    tools_list_changed: bool | UnsetType = UNSET
    prompts_list_changed: bool | UnsetType = UNSET
    resources_list_changed: bool | UnsetType = UNSET
    resource_subscriptions: list[str] | UnsetType = UNSET
    task_ids: list[str] | UnsetType = UNSET


class SubscriptionsListenParams(RequestParams, frozen=True):
    """``subscriptions/listen``."""

    notifications: SubscriptionFilter


class SubscriptionsAcknowledgedParams(NotificationParams, frozen=True):
    """``notifications/subscriptions/acknowledged``: the part of the filter that the server honours."""

    notifications: SubscriptionFilter


class SubscriptionsListenResult(Result, frozen=True, kw_only=True):
    """The end of a stream, said by the server. ``_meta`` names the subscription."""

    @classmethod
    def of(cls, subscription_id: RequestId) -> SubscriptionsListenResult:
        """Return the result that ends the subscription opened by the request ``subscription_id``."""
        return cls(meta={SUBSCRIPTION_ID_KEY: subscription_id})
