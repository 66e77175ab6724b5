"""``taut call``: call a tool and print its result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from taut import models
from taut.cli.arguments import read_arguments
from taut.cli.connecting import run_with_client, target_of
from taut.cli.form import answer_form
from taut.cli.page import show_json
from taut.cli.parser import Options
from taut.cli.result import ResultPrinter
from taut.cli.status import Status
from taut.client import Client
from taut.errors import ConfigError

__all__ = ["run"]


def run(options: Options) -> Status:
    """Print the result's text to stdout; a tool's own failure goes to stderr and makes the status 1."""
    target, name, words = _words(options)
    whole = sys.stdin.read() if options.args == "-" else options.args
    progress = _ProgressLine()

    async def call(client: Client) -> tuple[models.CallToolResult, str]:
        tool = await find_tool(client, name)
        arguments = read_arguments(words, whole, tool)
        result = await client.call_tool(
            name, arguments, on_progress=progress.show if progress.visible else None
        )
        return result, client.revision

    callbacks: dict[str, Any] = {"elicitation": answer_form}
    if options.log is not None:
        callbacks |= {"logging": _log, "log_level": options.log}
    try:
        result, revision = run_with_client(options, target, call, **callbacks)
    finally:
        progress.clear()
    if options.json:
        show_json(models.to_dict(result, revision))
    else:
        _print(name, result, None if options.save is None else Path(options.save))
    return Status.TOOL_ERROR if result.is_error is True else Status.OK


def _words(options: Options) -> tuple[str | Sequence[str], str, Sequence[str]]:
    """Return the server's URL or command line, the tool's name, and the words that are its arguments."""
    if options.server_command:
        if not options.words:
            raise ConfigError("Expected TOOL before --, got nothing (see taut call --help)")
        return options.server_command, options.words[0], options.words[1:]
    if len(options.words) < 2:
        raise ConfigError(
            f"Expected TARGET and TOOL, got {' '.join(options.words) or 'nothing'} (see taut call --help)"
        )
    target, name, *words = options.words
    return target_of(target), name, words


async def find_tool(client: Client, name: str) -> models.Tool:
    """Return the server's tool ``name``.

    :raises taut.errors.ConfigError: it has no such tool.
    """
    tools = await client.list_tools() if client.server_capabilities.tools else []
    for tool in tools:
        if tool.name == name:
            return tool
    names = ", ".join(tool.name for tool in tools)
    raise ConfigError(f"Expected a tool of the server ({names or 'it has none'}), got {name!r}")


def _print(name: str, result: models.CallToolResult, directory: Path | None) -> None:
    if result.is_error is True:
        print(f"taut call: tool {name} failed:", end=" ", file=sys.stderr)
        ResultPrinter(sys.stderr, directory).print(result)
    else:
        ResultPrinter(sys.stdout, directory).print(result)


def _log(entry: models.LoggingMessageParams) -> None:
    origin = f" {entry.logger}" if entry.logger else ""
    data = entry.data if isinstance(entry.data, str) else msgspec.json.encode(entry.data).decode()
    print(f"[{entry.level}{origin}] {data}", file=sys.stderr)


class _ProgressLine:
    """The tool's progress, on one line of the terminal that is rewritten and at last removed."""

    def __init__(self) -> None:
        self.visible = sys.stderr.isatty()
        self._width = 0

    def show(self, progress: models.ProgressParams) -> None:
        """Show how far the tool is."""
        of = f"/{progress.total:g}" if progress.total else ""
        text = f"{progress.progress:g}{of} {progress.message or ''}".rstrip()[:76]
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
