"""Where tracing is plugged in. Nothing is traced, and nothing paid for it, where no tracer is given.

Names of spans and attributes are those of OpenTelemetry's conventions for generative AI (``invoke_agent``, ``chat``,
``execute_tool``; ``gen_ai.*``). Parents are passed by hand, not by context: what runs side by side stays apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Span", "Tracer"]


class Span(Protocol):
    """One piece of work. Ended exactly once."""

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context that a peer may continue; it travels as ``traceparent`` in ``_meta``."""

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes."""

    def end(self, error: BaseException | None = None) -> None:
        """The work is done, or has failed with ``error``."""


class Tracer(Protocol):
    """Makes spans. Called in the loop's thread; must not wait."""

    def begin(self, name: str, attributes: Mapping[str, Any], parent: Span | None) -> Span:
        """Begin a span."""
