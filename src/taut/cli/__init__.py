"""The command line: ``taut serve | call | tools | inspect | run | chat | demo``.

Data goes to stdout, everything else to stderr; ``--json`` makes the data one JSON document. The exit status says
what happened: see `Status`. Only the module of the command that runs is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from taut.cli.parser import Options, parse
from taut.cli.status import Status, describe, status_of
from taut.errors import TautError

__all__ = ["Status", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = Options()
    try:
        parse(arguments, options)
        run: Callable[[Options], int] = importlib.import_module(f"taut.cli.{options.command}").run
        status = run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return Status.BROKEN_PIPE
    except TautError as error:
        return _fail(options, error)
    except Exception as error:  # user code, or a mistake of ours: still one line, and a status of its own
        return _fail(options, error)


def _fail(options: Options, error: Exception) -> Status:
    if options.debug:
        import traceback

        traceback.print_exception(error)
    else:
        program = f"taut {options.command}" if options.command else "taut"
        print(f"{program}: {describe(error, quiet=options.quiet)}", file=sys.stderr)
    return status_of(error)


def _forget_stdout() -> None:
    """Nobody reads our stdout any more: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
