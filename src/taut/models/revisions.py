"""The five revisions of MCP, their order and their two eras.

Revisions are enumerated, never compared as text: a string that is not listed here is older than nothing
and newer than nothing, so that a made-up or future revision enables no feature.
"""

from __future__ import annotations

__all__ = ["LATEST", "LATEST_LEGACY", "LEGACY", "MODERN", "REVISIONS", "at_least"]

#: Every revision that taut speaks, oldest first.
REVISIONS: tuple[str, ...] = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")

#: Stateless revisions: ``server/discover``, ``_meta`` on every request, no sessions.
MODERN: frozenset[str] = frozenset({"2026-07-28"})

#: Revisions that begin with ``initialize``.
LEGACY: frozenset[str] = frozenset(REVISIONS) - MODERN

LATEST = "2026-07-28"
LATEST_LEGACY = "2025-11-25"

_RANK = {revision: rank for rank, revision in enumerate(REVISIONS)}
_NOT_BEFORE = {oldest: frozenset(REVISIONS[rank:]) for rank, oldest in enumerate(REVISIONS)}


def at_least(revision: str, oldest: str) -> bool:
    """Tell whether ``revision`` is ``oldest`` or newer; an unknown revision is not at least anything."""
    return revision in _NOT_BEFORE.get(oldest, ())


def since(oldest: str, until: str = LATEST) -> frozenset[str]:
    """Return the revisions from ``oldest`` to ``until``, both included."""
    return frozenset(REVISIONS[_RANK[oldest] : _RANK[until] + 1])
