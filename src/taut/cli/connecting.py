"""From TARGET to an open connection."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from taut.cli.parser import Options
from taut.client import Client, HttpSettings
from taut.client.target import is_url
from taut.errors import ConfigError
from taut.transport.loop import loop_factory

__all__ = ["run_with_client", "split_command", "target_of", "target_of_options"]

T = TypeVar("T")

_FILE = re.compile(r".*\.py(:[\w.]+)?", re.DOTALL)
_MODULE = re.compile(r"[\w.]+:[A-Za-z_][\w.]*")

#: Seconds that a script waits for an answer. A person sees how long it takes, may be asked something, and has ^C.
SCRIPT_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 30.0


def run_with_client(
    options: Options, target: str | Sequence[str], work: Callable[[Client], Awaitable[T]], **callbacks: Any
) -> T:
    """Connect, to a server that is started if ``target`` is no URL, and return what ``work`` makes of the client.

    ``callbacks`` are the client's.
    """
    timeout_s = options.timeout
    if timeout_s is None and not sys.stdin.isatty():
        timeout_s = SCRIPT_TIMEOUT_S

    async def connected() -> T:
        client = Client(
            target,
            mode=options.mode,
            timeout_s=timeout_s,
            connect_timeout_s=options.timeout or CONNECT_TIMEOUT_S,
            stderr=_ignore if options.quiet else None,
            http=HttpSettings(headers=_headers(options.header or ())),
            **callbacks,
        )
        async with client:
            return await work(client)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(connected())


def target_of_options(options: Options) -> str | list[str]:
    """Return the one server that ``options`` name, as TARGET or after ``--``.

    :raises taut.errors.ConfigError: they name none, or more than one.
    """
    if options.server_command and not options.words:
        return list(options.server_command)
    if options.server_command or len(options.words) != 1:
        given = " ".join(options.words) + (" and a command after --" if options.server_command else "")
        raise ConfigError(f"Expected one TARGET, got {given or 'none'} (see taut {options.command} --help)")
    return target_of(options.words[0])


def target_of(target: str) -> str | list[str]:
    """Return the URL or the command line that ``target`` stands for; Python files and modules are served by
    ``taut serve``.

    :raises taut.errors.ConfigError: it stands for none.
    """
    if is_url(target):
        return target
    if _MODULE.fullmatch(target) or (_FILE.fullmatch(target) and _is_one_file(target)):
        # -P: the current directory must not shadow the standard library of the child.
        return [sys.executable, "-P", "-m", "taut", "serve", target]
    return split_command(target)


def _is_one_file(target: str) -> bool:
    """Tell ``my server.py`` from ``python server.py``: the words of a command are not the name of a file."""
    path = Path(target if target.endswith(".py") else target.rpartition(":")[0])
    if path.is_file():
        return True
    if any(character.isspace() for character in target):
        return False
    raise ConfigError(f"Expected a server's file or command, got {path}, which is not there")


def split_command(text: str) -> list[str]:
    """Split a command line into words, as a shell would, with no shell.

    :raises taut.errors.ConfigError: it is empty, a URL, or its quotes do not match.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise ConfigError(f"Expected a command, got the URL {text}")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"Cannot split the command {text!r} into words: {error}") from error
    if not words:
        raise ConfigError("Expected a file or a command, got an empty text")
    return words


def _headers(given: Sequence[str]) -> dict[str, str]:
    """Return the headers of ``--header`` options."""
    headers = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon:
            raise ConfigError("Expected a header like 'Name: value', got one without a colon")
        headers[name.strip()] = value.strip()
    return headers


def _ignore(line: str) -> None:
    """Take a line of the server's stderr; the transport keeps the last ones for its own error messages."""
