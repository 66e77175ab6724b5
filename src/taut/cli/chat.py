"""``taut chat``: talk to an agent. At a terminal with line editing; on a pipe each line is a turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, final

import msgspec

from taut.agent.config import Built, build
from taut.agent.config.checking import near
from taut.agent.result import RunResult
from taut.cli.agent_file import agent_of, budget_of, check_session, hide_secrets
from taut.cli.agent_view import AgentView, usage_text
from taut.cli.asking import Keyboard, Person, decided
from taut.cli.foreground import Foreground
from taut.cli.page import Block, Entries, Entry, Facts, Heading, show
from taut.cli.parser import Options
from taut.cli.screen import Screen
from taut.cli.status import Status, describe, status_of
from taut.errors import ConfigError
from taut.llm.messages import Message, Usage

__all__ = ["run"]

HELP = '''\
Enter sends a line. A line that ends with \\ goes on in the next one; """ begins a text of several lines and ends it.
^C ends the answer that is being given, ^D the conversation. //text sends /text.'''


def run(options: Options) -> Status:
    """Talk until the end of input; the exit status is that of the last turn."""
    with Foreground() as foreground:
        return _Chat(options, foreground).talk(options.words[0])


class _Command(NamedTuple):
    summary: str
    do: Callable[[str], None]


class _Exit(Exception):
    """The conversation is over."""


@final
class _Chat:
    """One conversation."""

    def __init__(self, options: Options, foreground: Foreground) -> None:
        self._options = options
        self._foreground = foreground
        self._keyboard = Keyboard()
        self._person = Person(foreground, self._keyboard)
        self._screen = Screen(sys.stdout, sys.stderr)
        self._view: AgentView | None = None
        self._agents: list[Built] = []
        #: The conversation, where the agent does not keep it itself.
        self._history: list[Message] = []
        self._session: str | None = None
        self._usage = Usage()
        self._tool_calls = 0
        self._turns = 0
        self._status = Status.OK
        self._commands = {
            "help": _Command("this list", self._help),
            "tools": _Command("what the agent can call", self._tools),
            "usage": _Command("what the conversation has used", self._show_usage),
            "clear": _Command("forget what was said", self._clear),
            "model": _Command(
                "NAME: go on with another model, of the file or one like openai:NAME", self._model
            ),
            "save": _Command("FILE: write the conversation as JSON, or as Markdown to FILE.md", self._save),
            "exit": _Command("end the conversation", self._exit),
        }

    @property
    def _built(self) -> Built:
        """The agents that answer."""
        return self._agents[-1]

    def talk(self, path: str) -> Status:
        """Read turns and commands until the end."""
        built = agent_of(path, self._options, self._person, self._tell_line)
        check_session(built, self._options)
        try:
            self._enter(built)
            if built.memory is not None:
                self._session = self._options.session or time.strftime("chat-%Y%m%d-%H%M%S")
            self._greet()
            while (text := self._read()) is not None:
                self._take(text)
        except _Exit:
            pass
        finally:
            while self._agents:
                self._foreground.run(self._agents.pop().__aexit__(None, None, None))
        return self._status

    def _enter(self, built: Built) -> None:
        """Have these agents answer from now on."""
        try:
            self._foreground.run(built.__aenter__())
        except BaseException as error:
            hide_secrets(built, error)
            raise
        self._agents.append(built)

    def _greet(self) -> None:
        if not self._keyboard.is_terminal or self._options.quiet:
            return
        models = ", ".join(self._built.models)
        session = f", session {self._session}" if self._session else ""
        self._screen.line(f"{self._built.agent.name} on {models}{session}; /help says more, ^D ends")

    def _take(self, text: str) -> None:
        """Do what a line, or a text of several, asks for. What fails is told, and the conversation goes on."""
        try:
            if text.startswith("/") and not text.startswith("//"):
                self._obey(text[1:])
            elif text.strip():
                self._status = Status.OK
                self._answer(text.removeprefix("/"))
        except KeyboardInterrupt:
            self._stop_view()
            self._screen.line("cancelled")
            self._status = Status.INTERRUPTED
        except BrokenPipeError:
            raise
        except _Exit:
            raise
        except Exception as error:  # the border to models, servers and the user's code: one turn failed
            self._stop_view()
            hide_secrets(self._built, error)
            if self._options.debug:
                raise
            self._screen.line(f"taut chat: {describe(error, quiet=self._options.quiet)}", "bad")
            self._status = status_of(error)

    def _stop_view(self) -> None:
        if self._view is not None:
            self._view.stop()

    def _tell_line(self, line: str) -> None:
        """Show what a server has written to stderr."""
        if self._view is not None:
            self._view.note(line)

    # -- reading

    def _read(self) -> str | None:
        """Return what is said next; None at the end."""
        while True:
            try:
                line = self._keyboard.read("> ", remember=True)
                if line is None:
                    return None
                if line.strip().startswith('"""'):
                    return self._block(line.strip()[3:])
                while line.endswith("\\") and (more := self._keyboard.read("| ", remember=True)) is not None:
                    line = f"{line[:-1]}\n{more}"
                return line
            except KeyboardInterrupt:
                self._screen.line("^D or /exit ends the conversation")

    def _block(self, text: str) -> str:
        """Return a text up to its closing quotes, or the end of input."""
        lines = [text]
        while not lines[-1].rstrip().endswith('"""'):
            line = self._keyboard.read("| ", remember=True)
            if line is None:
                return "\n".join(lines).strip("\n")
            lines.append(line)
        lines[-1] = lines[-1].rstrip()[:-3]
        return "\n".join(lines).strip("\n")

    # -- answers

    def _answer(self, text: str) -> None:
        agent = self._built.agent
        view = self._view = self._person.view = AgentView(
            agent.name,
            self._screen,
            streams=agent.output_type is str,
            quiet=self._options.quiet,
        )
        decides = self._options.yes or self._options.deny
        result: RunResult[Any] = self._foreground.run(
            agent.run(
                text,
                session=self._session,
                history=self._history,
                budget=budget_of(agent, self._options),
                approver=decided(self._options.yes) if decides else self._person.approve,
                listener=view.hear,
            )
        )
        view.finish(result.output)
        view.note(usage_text(result.usage, result.tool_calls))
        self._turns += 1
        self._usage = self._usage + result.usage
        self._tool_calls += result.tool_calls
        if self._session is None:
            self._history += result.messages

    # -- commands

    def _obey(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        command = self._commands.get(name)
        if command is None:
            known = ", ".join(f"/{one}" for one in self._commands)
            raise ConfigError(f"Expected a command ({known}), got /{name}{near(name, self._commands)}")
        command.do(rest.strip())

    def _help(self, rest: str) -> None:
        show([Facts([(f"/{name}", [(one.summary, "")]) for name, one in self._commands.items()])])
        self._screen.line(HELP)

    def _tools(self, rest: str) -> None:
        blocks: list[Block] = []
        for name, box in self._foreground.run(self._built.tools()).items():
            blocks.append(Heading([(name, "title")]))
            entries = [
                Entry(
                    [(tool, "name"), ("  needs approval" if entry.rules.needs_approval else "", "bad")],
                    entry.tool.spec.description.partition("\n")[0],
                )
                for tool, entry in box.entries.items()
            ]
            blocks.append(Entries(entries or [Entry([("no tools", "faint")])]))
        show(blocks)

    def _show_usage(self, rest: str) -> None:
        self._print(f"{self._turns} answers: {usage_text(self._usage, self._tool_calls)}")

    def _clear(self, rest: str) -> None:
        self._history = []
        if self._session is not None:
            self._foreground.run(self._built.memory.clear(self._session))

    def _model(self, name: str) -> None:
        """Go on with another model; servers stay connected, and what was said stays known."""
        first = self._agents[0]
        if not name:
            listed = ", ".join(first.file.tables.models) or "none"
            self._print(f"{', '.join(self._built.models)}; models of the file: {listed}")
            return
        built = build(first.file, model=name, shared=first)
        self._enter(built)
        if len(self._agents) > 2:
            self._foreground.run(self._agents.pop(1).__aexit__(None, None, None))

    def _save(self, name: str) -> None:
        if not name:
            raise ConfigError("Expected /save FILE, got no file")
        said: list[Message] = self._history
        if self._session is not None:
            said = self._foreground.run(self._built.memory.load(self._session))
        text = _markdown(said) if name.endswith(".md") else _json(said)
        try:
            Path(name).expanduser().write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"Cannot write {name}: {error.strerror or error}") from error
        self._screen.line(f"{len(said)} messages in {name}")

    def _exit(self, rest: str) -> None:
        raise _Exit

    def _print(self, text: str) -> None:
        print(text, flush=True)


def _json(said: list[Message]) -> str:
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode() + "\n"


def _markdown(said: list[Message]) -> str:
    """Return what was said, without calls and results."""
    titles = {"user": "## You", "assistant": "## Agent"}
    parts = [
        f"{titles[one.role]}\n\n{one.text.strip()}\n"
        for one in said
        if one.role in titles and one.text.strip()
    ]
    return "\n".join(parts)
