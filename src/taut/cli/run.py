"""``taut run``: have an agent do a task, or take up a run that waits for a decision."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import msgspec

from taut.agent.events import Event
from taut.agent.result import RunResult, RunState
from taut.cli.agent_file import agent_of, budget_of, check_session, hide_secrets
from taut.cli.agent_view import AgentView, EventLines, call_text, usage_text
from taut.cli.asking import Keyboard, Person, decided
from taut.cli.foreground import Foreground
from taut.cli.page import show_json
from taut.cli.parser import Options
from taut.cli.screen import Screen
from taut.cli.states import check_free, read_state, write_state
from taut.cli.status import Status
from taut.errors import AgentError, ConfigError, ModelError

__all__ = ["run"]


def run(options: Options) -> Status:
    """Print the output to stdout, and what the agent does to stderr."""
    if options.schema:
        from taut.agent.config.editors import json_schema

        show_json(json_schema())
        return Status.OK
    path, task, state = _asked(options)
    with Foreground() as foreground:
        return _Command(options, foreground).run(path, task, state)


def _asked(options: Options) -> tuple[str, str, RunState | None]:
    """Return the file of the agent, and what it is to do: a task, or to go on with a run.

    :raises taut.errors.ConfigError: that is not said, or twice.
    """
    words = [*options.words, *options.server_command]
    if not words:
        raise ConfigError("Expected AGENT.toml and a task, got nothing (see taut run --help)")
    path, *task = words
    if options.resume is None:
        if options.approve or options.reject:
            raise ConfigError("Expected --resume FILE beside --approve and --reject")
        if options.state is not None:
            check_free(Path(options.state))
        text = sys.stdin.read() if task == ["-"] else " ".join(task)
        if not text.strip():
            where = "on stdin" if task == ["-"] else "behind AGENT.toml, or - to read it from stdin"
            raise ConfigError(f"Expected a task {where}, got none")
        return path, text, None
    if task:
        raise ConfigError(f"Expected no task beside --resume, got {' '.join(task)}")
    if options.state is not None:
        raise ConfigError(
            "Expected --state or --resume, got both: a run that is resumed stays where it is kept"
        )
    state = read_state(Path(options.resume))
    _decide(state, options)
    return path, "", state


def _decide(state: RunState, options: Options) -> None:
    """Tell the run what was decided; those that are named before all others.

    :raises taut.errors.ConfigError: no such call waits.
    """
    approve, reject, reason = options.approve or [], options.reject or [], options.reason or ""
    if "all" in approve and "all" in reject:
        raise ConfigError("Expected --approve all or --reject all, got both")
    for id in approve:
        if id != "all":
            state.approve(id)
    for id in reject:
        if id != "all":
            state.reject(id, reason=reason)
    if "all" in approve:
        state.approve()
    if "all" in reject:
        state.reject(reason=reason)


@final
class _Command:
    """One ``taut run``."""

    def __init__(self, options: Options, foreground: Foreground) -> None:
        self._options = options
        self._foreground = foreground
        keyboard = Keyboard()
        self._screen = Screen(sys.stdout, sys.stderr)
        #: Who is asked for approvals: nobody, where nobody would see the question.
        self._person = Person(foreground, keyboard)
        self._asks = keyboard.is_terminal and sys.stderr.isatty()
        self._view: AgentView | None = None

    def run(self, path: str, task: str, state: RunState | None) -> Status:
        """Do the task, or go on from ``state``."""
        built = agent_of(path, self._options, self._person, self._tell_line)
        check_session(built, self._options)
        agent = built.agent
        view = self._view = self._person.view = AgentView(
            agent.name,
            self._screen,
            streams=agent.output_type is str and not self._options.json and not self._options.events,
            quiet=self._options.quiet,
        )
        heard = _Heard(EventLines().hear if self._options.events else view.hear)
        settings: dict[str, Any] = {
            "budget": budget_of(agent, self._options),
            "approver": self._approver(),
            "listener": heard.hear,
        }

        async def work() -> RunResult[Any]:
            heard.task = asyncio.current_task()
            async with built:
                if state is not None:
                    return await agent.resume(state, **settings)
                return await agent.run(task, session=self._options.session, **settings)

        try:
            result = self._foreground.run(work())
        except BaseException as error:
            view.stop()
            if heard.failure is not None:
                raise heard.failure from None
            hide_secrets(built, error)
            if isinstance(error, (AgentError, ModelError)):
                self._failed(path, error)
            raise
        return self._ended(path, view, result)

    def _approver(self) -> Any:
        if self._options.yes or self._options.deny:
            return decided(self._options.yes)
        return self._person.approve if self._asks else None

    def _tell_line(self, line: str) -> None:
        """Show what a server has written to stderr."""
        if self._view is not None:
            self._view.note(line)

    # -- the end

    def _ended(self, path: str, view: AgentView, result: RunResult[Any]) -> Status:
        kept = self._keep(result)
        if result.status == "completed":
            if self._options.json:
                show_json(_document(result))
            elif not self._options.events:
                view.finish(result.output)
            view.note(usage_text(result.usage, result.tool_calls))
            return Status.OK
        view.stop()
        if self._options.json:
            show_json(_document(result, kept=kept))
        self._tell_waiting(path, result, kept)
        return Status.SUSPENDED

    def _failed(self, path: str, error: AgentError | ModelError) -> None:
        """Keep and show what there is of a run that has failed; the message is for who prints all errors."""
        result: RunResult[Any] | None = error.result
        kept = None if result is None else self._keep(result)
        if self._options.json:
            told = {"type": type(error).__name__, "message": str(error)}
            show_json(
                {"status": "failed"} | (_document(result, kept=kept) if result else {}) | {"error": told}
            )
        if kept is not None:
            print(f"Kept in {kept}; to go on: taut run {path} --resume {kept}", file=sys.stderr)

    def _keep(self, result: RunResult[Any]) -> Path | None:
        """Keep the state of a run that has not ended well; forget it once it has. Returns where it is kept."""
        said = self._options.state or self._options.resume
        if result.state is not None:
            if said is not None:
                write_state(Path(said), result.state)
            return None if said is None else Path(said)
        if self._options.resume is not None:
            # To resume it again would do again what has been done since.
            with suppress(FileNotFoundError):
                Path(self._options.resume).unlink()
        return None

    def _tell_waiting(self, path: str, result: RunResult[Any], kept: Path | None) -> None:
        assert result.state is not None
        say = self._screen.line
        for request in result.state.approvals:
            say(f"Waits for approval: {call_text(request.call)}\n  id {request.id}", "")
        if kept is None:
            say("The run is lost: nobody is here to approve. Run it with --state FILE, --yes or --deny.", "")
        else:
            say(f"To go on: taut run {path} --resume {kept} --approve all  (or an id; or --reject)", "")


@final
class _Heard:
    """A listener that may write to a pipe. If nobody reads that any more, the run is of no use, and is cancelled."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self.task: asyncio.Task[Any] | None = None
        self.failure: BrokenPipeError | None = None

    def hear(self, event: Event) -> None:
        """Pass an event on."""
        if self.failure is not None:
            return
        try:
            self._hear(event)
        except BrokenPipeError as error:
            self.failure = error
            if self.task is not None:
                self.task.cancel()


def _document(result: RunResult[Any], *, kept: Path | None = None) -> dict[str, Any]:
    """Return a result for machines."""
    document: dict[str, Any] = {
        "status": result.status,
        "output": result.output,
        "agent": result.agent,
        "run_id": result.run_id,
        "usage": {**msgspec.structs.asdict(result.usage), "tool_calls": result.tool_calls},
        "messages": list(result.messages),
    }
    if result.state is not None:
        document["approvals"] = result.state.approvals
        document["state"] = None if kept is None else str(kept)
    return document
