"""The person at the terminal: reads lines, decides calls that need approval, fills in the forms of servers.

All of it is read in the main thread (`taut.cli.foreground`), one question at a time, however many runs ask.
"""

from __future__ import annotations

import asyncio
import json
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, final

import msgspec

from taut import models
from taut.agent.result import ApprovalRequest, Decision
from taut.cli.foreground import Foreground
from taut.cli.form import answer_form
from taut.cli.screen import clean

__all__ = ["Keyboard", "Person", "ask_decision", "decided"]

T = TypeVar("T")

CHOICES = "y: yes, n: no, e: edit the arguments, a: yes to all further calls of this tool"


class Pausing(Protocol):
    """What is quiet while somebody is asked: `taut.cli.agent_view.AgentView`."""

    def hold(self) -> None:
        """Be quiet."""

    def release(self) -> None:
        """Go on."""


@final
class Keyboard:
    """Lines of stdin; with line editing and history where it is a terminal that is also stdout."""

    def __init__(self) -> None:
        #: Whether somebody is there.
        self.is_terminal = sys.stdin.isatty()
        self._readline: Any = None
        if self.is_terminal and sys.stdout.isatty():
            try:
                import readline  # not on every platform
            except ImportError:
                return
            self._readline = readline
            readline.set_auto_history(False)

    def read(self, prompt: str, *, prefill: str = "", remember: bool = False) -> str | None:
        """Return the next line; None at the end of input.

        ``prefill`` is there to be edited, where lines can be. ``remember`` adds the line to the history.

        :raises KeyboardInterrupt: ^C was pressed.
        """
        if self._readline is None:
            if self.is_terminal:
                sys.stderr.write(prompt)
                sys.stderr.flush()
            line = sys.stdin.readline()
            return line.rstrip("\r\n") if line else None
        sys.stderr.flush()
        if prefill:
            self._readline.set_startup_hook(lambda: self._readline.insert_text(prefill))
        try:
            line = input(prompt)
        except EOFError:
            print(file=sys.stderr)  # the cursor stands behind the prompt
            return None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            raise
        finally:
            self._readline.set_startup_hook(None)
        if remember and line.strip():
            self._readline.add_history(line)
        return line

    @property
    def edits(self) -> bool:
        """Whether a line can be given to be edited."""
        return self._readline is not None


@final
class Person:
    """Decides and answers, asked from the event loop. ``view`` is quiet meanwhile."""

    def __init__(self, foreground: Foreground, keyboard: Keyboard) -> None:
        self._foreground = foreground
        self._keyboard = keyboard
        self.view: Pausing | None = None
        #: Tools of which every further call is approved.
        self._approved: set[str] = set()
        self._turn: asyncio.Lock | None = None

    async def approve(self, request: ApprovalRequest) -> Decision:
        """Decide a call. A `taut.agent.run.Approver`."""
        if request.tool in self._approved:
            return Decision(True)
        return await self._ask(lambda: self._decide(request))

    def _decide(self, request: ApprovalRequest) -> Decision:
        if request.tool in self._approved:  # since this was asked
            return Decision(True)
        return ask_decision(request, self._keyboard, self._approved.add)

    async def elicit(self, params: models.ElicitParams) -> models.ElicitResult:
        """Answer a server's form. The ``elicitation`` of a `taut.Client`."""
        # The form is asked in an event loop, and the main thread has none.
        try:
            return await self._ask(lambda: asyncio.run(answer_form(params)))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return models.ElicitResult(action="cancel")  # ^C in place of an answer

    async def _ask(self, question: Callable[[], T]) -> T:
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            if self.view is not None:
                self.view.hold()
            try:
                return await self._foreground.ask(question)
            finally:
                if self.view is not None:
                    self.view.release()


def ask_decision(
    request: ApprovalRequest, keyboard: Keyboard, approve_all: Callable[[str], None]
) -> Decision:
    """Ask whether a call may be made, and return what was decided; the end of input is a no.

    ``approve_all`` is told of a tool whose further calls are all approved.
    """
    call = request.call
    who = request.path.replace("/", " / ")
    _say(f"\n{who} wants to call {_visible(request.tool)} with\n{_visible(_pretty(call.arguments))}")
    while True:
        line = keyboard.read("Approve? (y/n/e/a, ? says more) ")
        word, _, rest = (line or "").strip().partition(" ")
        match word.lower() if line is not None else None:
            case None:
                return Decision(False, "nobody answered")
            case "y" | "yes":
                return Decision(True)
            case "a" | "all":
                approve_all(request.tool)
                return Decision(True)
            case "n" | "no":
                reason = rest.strip() or keyboard.read("Why? The model is told; an empty line says nothing: ")
                return Decision(False, (reason or "").strip())
            case "e" | "edit":
                arguments = _edited(call.arguments, keyboard)
                if arguments is not None:
                    return Decision(True, arguments=arguments)
            case _:
                _say(CHOICES)


def _edited(arguments: dict[str, Any], keyboard: Keyboard) -> dict[str, Any] | None:
    """Return other arguments; None to ask again."""
    text = json.dumps(arguments, ensure_ascii=False)
    line = keyboard.read("Arguments (JSON, an empty line keeps them): ", prefill=text)
    if line is None or not line.strip():
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        _say(f"Expected a JSON object, got something else: {error}")
        return None


def decided(answer: bool) -> Callable[[ApprovalRequest], Decision]:
    """Return what decides every call in the same way, where nobody is asked. A `taut.agent.run.Approver`."""
    decision = Decision(answer, "" if answer else "calls that need approval are not made here")
    return lambda request: decision


def _pretty(arguments: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(arguments), indent=2).decode()


def _visible(text: str) -> str:
    """Return ``text`` with what cannot be seen, or turns it around, as escapes: it is what somebody agrees to."""
    return "".join(
        f"\\u{ord(one):04x}" if unicodedata.category(one) in ("Cf", "Cc") and one != "\n" else one
        for one in text
    )


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)
