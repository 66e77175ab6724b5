"""Severity of log messages (RFC 5424, section 6.2.1, as the specification's "Logging" lists it)."""

from __future__ import annotations

from taut.errors import ConfigError

__all__ = ["LEVELS", "severity"]

#: From the least severe to the most.
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}


def severity(level: str) -> int:
    """Return the rank of ``level``; a higher one is more severe.

    :raises taut.errors.ConfigError: no such level.
    """
    rank = _RANKS.get(level)
    if rank is None:
        raise ConfigError(f"Expected a log level of {', '.join(LEVELS)}, got {level!r}")
    return rank
