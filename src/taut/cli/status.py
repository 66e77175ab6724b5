"""Exit statuses, and the one table from exceptions to them."""

from __future__ import annotations

import enum

from taut.errors import AgentError, ConfigError, TautError

__all__ = ["Status", "describe", "status_of"]

#: Where a lost connection's message goes on to quote the server's stderr.
_STDERR_FOLLOWS = "; its stderr ended with:\n"


class Status(enum.IntEnum):
    """What a command's exit status means."""

    OK = 0
    #: The tool reported a failure of its own (``isError``); an agent ended without its output: a budget is used up, or
    #: its model's answers do not fit.
    TOOL_ERROR = 1
    #: The command line, a file or a setting cannot work.
    USAGE = 2
    #: The server, or the model, could not be reached, or refused, or did not answer in time.
    CONNECTION = 3
    #: Code of the user's server, or of taut itself, failed.
    FAILURE = 4
    #: An agent waits for an approval that nobody is there to give; its state can be taken up.
    SUSPENDED = 5
    #: Interrupted from the keyboard: 128 + SIGINT, as shells have it.
    INTERRUPTED = 130
    #: Whoever read the output is gone: 128 + SIGPIPE.
    BROKEN_PIPE = 141


def status_of(error: Exception) -> Status:
    """Return the exit status for ``error``."""
    if isinstance(error, ConfigError):
        return Status.USAGE
    if isinstance(error, AgentError):
        return Status.TOOL_ERROR
    return Status.CONNECTION if isinstance(error, TautError) else Status.FAILURE


def describe(error: Exception, *, quiet: bool) -> str:
    """Return one line about ``error``; after it, what the server wrote to stderr if ``quiet`` held that back."""
    if not isinstance(error, TautError):
        return f"{type(error).__name__}: {error} (--debug shows where)"
    text = str(error)
    return text if quiet else text.partition(_STDERR_FOLLOWS)[0]
