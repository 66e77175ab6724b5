"""Heads of messages as bytes, and what they mean: one that came before is not parsed again.

Some headers only trace a request, and are others each time. A line that has one of their names and printable ASCII,
with a line of its own behind it, makes no other message of a head: a parser that takes the head without the line finds
the same in the head with it. So such lines are taken out before a head is looked up.
"""

from __future__ import annotations

import re

from taut.mcp.http.head import Head

__all__ = ["KnownHead", "KnownHeads"]

#: Heads that are remembered, and the longest of them in bytes: at most 2 MiB.
MAX_HEADS = 1024
MAX_HEAD_BYTES = 2048
#: What its first line begins with: something that is no header.
METHOD = b"POST "

_TRACES = re.compile(
    # The first letter apart, which is twice as fast.
    rb"\r\n[TtBbSsXx](?i:raceparent|racestate|aggage|3|entry-trace|-b3-\w{1,20}|-request-id|-correlation-id"
    rb"|-datadog-[a-z-]{1,30}|-amzn-trace-id|-cloud-trace-context): ?[\x20-\x7e]*(?=\r\n[^ \t])"
)

#: Its bytes, what it means, bytes of the whole message, and how many traces it may have besides.
KnownHead = tuple[bytes, Head, int, int]


class KnownHeads:
    """The heads that one server knows. ``max_bytes`` and ``max_headers`` are what a head may have."""

    def __init__(self, max_bytes: int, max_headers: int) -> None:
        #: By all their bytes.
        self.known: dict[bytes, KnownHead] = {}
        self._max_bytes = min(max_bytes, MAX_HEAD_BYTES)
        self._max_headers = max_headers
        #: Hashes of those that came once: what does not come again takes no room.
        self._met: set[int] = set()
        self._last = (b"", b"")

    def recall(self, data: bytes) -> KnownHead | None:
        """Return what is known of the head of ``data``, if that is one whole message with such a head."""
        raw = data[: data.find(b"\r\n\r\n") + 4]
        known = self.known.get(raw)
        if known is None:
            known = self._recall_bare(raw)
        return known if known is not None and known[2] == len(data) else None

    def _recall_bare(self, raw: bytes) -> KnownHead | None:
        """Return what is known of a head if nothing but its traces is new."""
        if len(raw) > self._max_bytes:
            return None
        bare, traces = _TRACES.subn(b"", raw)
        self._last = raw, bare
        known = self.known.get(bare) if traces else None
        if known is None or traces > known[3]:
            return None
        return raw, known[1], known[2] + len(raw) - len(bare), 0

    def meet(self, raw: bytes, head: Head, body_bytes: int, headers: int) -> None:
        """Remember what a head means when it has come for the second time."""
        if len(raw) > self._max_bytes or not raw.startswith(METHOD):
            return
        last, bare = self._last
        if raw != last:
            bare = _TRACES.sub(b"", raw)
        met = self._met
        mark = hash(bare)
        if mark not in met:
            if len(met) >= MAX_HEADS:
                met.clear()
            met.add(mark)
            return
        if len(self.known) >= MAX_HEADS:
            self.known.clear()
        self.known[bare] = bare, head, len(bare) + body_bytes, self._max_headers - headers
