"""The server's end of stdio: the process's own standard streams.

The protocol takes stdin and stdout for itself: it works on private duplicates, file descriptor 0 becomes
``/dev/null`` and descriptor 1 becomes stderr. So a stray ``print``, a C library that writes to stdout or a child
process that inherits it cannot corrupt the wire, and a child cannot eat its input.
"""

from __future__ import annotations

import contextlib
import os
import sys

from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.pipe import PipeTransport

__all__ = ["StdioTransport", "open_standard_streams"]


def open_standard_streams() -> None:
    """Open whichever of the descriptors 0, 1 and 2 are closed on the null device.

    Else the next file, pipe or event loop gets that number, and is taken for stdin, stdout or stderr.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY)  # the lowest number that is free


class StdioTransport(PipeTransport):
    """Reads the process's stdin and writes its stdout; puts both back when it is closed."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # no stdout, or a closed one
            sys.stdout.flush()
        self._restore: list[tuple[int, int]] | None = [(os.dup(0), 0), (os.dup(1), 1)]
        super().__init__(os.dup(0), os.dup(1), limits=limits)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)

    def _release_descriptors(self) -> None:
        super()._release_descriptors()
        if self._restore is None:
            return
        with contextlib.suppress(AttributeError, ValueError, OSError):
            sys.stdout.flush()
        for saved, fd in self._restore:
            os.dup2(saved, fd)
            os.close(saved)
        self._restore = None
