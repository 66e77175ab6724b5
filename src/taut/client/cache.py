"""Results that a modern server allows a client to keep (specification 2026-07-28, "Caching").

A result is kept for its ``ttlMs``, under its method and params; a notification that the thing changed drops it
earlier. The cache belongs to one client, and so to one authorization context: ``private`` results may be kept as
well as ``public`` ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from taut import models

__all__ = ["ResponseCache"]

#: Notification -> the methods whose results it makes stale.
_STALE = {
    "notifications/tools/list_changed": ("tools/list",),
    "notifications/prompts/list_changed": ("prompts/list",),
    "notifications/resources/list_changed": ("resources/list", "resources/templates/list", "resources/read"),
}


class ResponseCache:
    """At most ``maximum`` results, the least recently used dropped first. ``clock`` gives seconds, monotonic."""

    def __init__(self, clock: Callable[[], float], *, maximum: int = 512) -> None:
        #: How often something has become stale.
        self.changes = 0
        self._clock = clock
        self._maximum = maximum
        self._entries: OrderedDict[tuple[str, str | None], tuple[float, models.CacheableResult]] = (
            OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, method: str, key: str | None) -> models.CacheableResult | None:
        """Return a result that may still be used."""
        entry = self._entries.get((method, key))
        if entry is None:
            return None
        if entry[0] <= self._clock():
            del self._entries[method, key]
            return None
        self._entries.move_to_end((method, key))
        return entry[1]

    def put(self, method: str, key: str | None, result: object, *, seen: int | None = None) -> None:
        """Keep ``result`` if its server allows that. A negative ``ttlMs`` counts as 0.

        ``seen`` is what `changes` was when it was asked for: what has been overtaken by a change is not kept.
        """
        if (
            (seen is not None and seen != self.changes)
            or not isinstance(result, models.CacheableResult)
            or result.ttl_ms is msgspec.UNSET
            or result.ttl_ms <= 0
        ):
            return
        self._entries[method, key] = (self._clock() + result.ttl_ms / 1000, result)
        self._entries.move_to_end((method, key))
        while len(self._entries) > self._maximum:
            self._entries.popitem(last=False)

    def on_notification(self, method: str, uri: str | None = None) -> None:
        """Drop what a notification makes stale."""
        if method == "notifications/resources/updated":
            self.changes += 1
            self._entries.pop(("resources/read", uri or ""), None)
            return
        stale = _STALE.get(method)
        if stale is None:
            return
        self.changes += 1
        for key in [key for key in self._entries if key[0] in stale]:
            del self._entries[key]

    def clear(self) -> None:
        """Drop everything: what has changed meanwhile is not known."""
        self.changes += 1
        self._entries.clear()
