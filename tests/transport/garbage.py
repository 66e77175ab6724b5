"""What work leaves for the garbage collector: objects in cycles, which only it can free."""

from __future__ import annotations

import gc
from collections.abc import Callable


def garbage_of(work: Callable[[], object], attempts: int = 5) -> int:
    """Return how many objects ``work`` leaves in cycles: the fewest of some attempts, as threads of other tests may add
    theirs."""
    fewest = None
    for _ in range(attempts):
        gc.collect()
        gc.disable()
        try:
            work()
            found = gc.collect()
        finally:
            gc.enable()
        fewest = found if fewest is None else min(fewest, found)
        if fewest == 0:
            break
    assert fewest is not None
    return fewest
