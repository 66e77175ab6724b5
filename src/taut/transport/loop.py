"""The event loop that taut starts, wherever it starts one: uvloop, where there is one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

__all__ = ["loop_factory"]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what `asyncio.Runner` makes its loop with; ``TAUT_LOOP=asyncio`` asks for the plain one."""
    if sys.platform == "win32" or os.environ.get("TAUT_LOOP") == "asyncio":
        return None
    import uvloop

    return uvloop.new_event_loop
