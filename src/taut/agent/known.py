"""Results of calls that are good for the same call, for a while; shared by all runs of one agent, in any thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import final

import msgspec

from taut.llm.messages import ToolCall, ToolResult

__all__ = ["KnownResults"]

#: How many are kept; those that were made last.
MAX_KNOWN = 1_000


@final
class KnownResults:
    """Results by tool and arguments. ``clock`` gives seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._results: OrderedDict[tuple[str, bytes], tuple[float, ToolResult]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tool: str, call: ToolCall) -> ToolResult | None:
        """Return the result of ``call``, if the same one was made before and that is not too long ago."""
        with self._lock:
            known = self._results.get(_key(tool, call))
        if known is None or known[0] <= self._clock():
            return None
        return msgspec.structs.replace(known[1], call_id=call.id)

    def put(self, tool: str, call: ToolCall, result: ToolResult, seconds: float) -> None:
        """Keep a result that was made now."""
        key = _key(tool, call)
        with self._lock:
            self._results[key] = (self._clock() + seconds, result)
            self._results.move_to_end(key)
            if len(self._results) > MAX_KNOWN:
                self._results.popitem(last=False)


def _key(tool: str, call: ToolCall) -> tuple[str, bytes]:
    return tool, msgspec.json.encode(call.arguments, order="deterministic")
