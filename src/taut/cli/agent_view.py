"""What an agent does, shown while it does it: the text of its answer on stdout, all else in faint lines on stderr.

Runs side by side speak one at a time: whoever began goes on until it has said its piece, and what the others say
meanwhile is shown when they have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, final

import msgspec

from taut.agent import events
from taut.cli.page import show_json
from taut.cli.screen import Screen, Style, fit, one_line
from taut.llm.messages import ToolCall, Usage

__all__ = ["AgentView", "EventLines", "call_text", "usage_text"]

#: Characters of arguments and results where there is no terminal to say how much fits.
MAX_CHARS = 400


@final
class AgentView:
    """Shows the events of runs of the agent ``root``; not approvals, which who asks for them shows.

    :param streams: its text is shown as it comes, where stdout is a terminal: not for an output that is no text.
    """

    def __init__(self, root: str, screen: Screen, *, streams: bool = True, quiet: bool = False) -> None:
        self._root = root
        self._screen = screen
        self._streams = streams and screen.shows_text
        self._quiet = quiet
        self._speaker: str | None = None
        #: What others than the speaker have said, by their paths.
        self._said: dict[str, str] = {}
        #: The text of the agent's last message, and how much of it is on stdout.
        self._answer = ""
        self._shown = ""
        self._held: list[Callable[[], None]] | None = None

    def hear(self, event: events.Event) -> None:
        """Show an event. A `taut.agent.events.Listener`."""
        self._later(lambda: self._show(event))

    def note(self, text: str, style: Style = "faint") -> None:
        """Show a line, unless nothing is to be shown."""
        if not self._quiet:
            self._later(lambda: self._screen.line(text, style))

    def _later(self, work: Callable[[], None]) -> None:
        if self._held is None:
            work()
        else:
            self._held.append(work)

    def hold(self) -> None:
        """Be still, while something is asked at the terminal."""
        self._held = []
        self._screen.end_text()
        self._screen.status("")

    def release(self) -> None:
        """Show what has come meanwhile."""
        held, self._held = self._held or [], None
        for work in held:
            work()

    def finish(self, output: Any) -> None:
        """Show what the run ended with, as far as it is not shown."""
        self._screen.status("")
        if isinstance(output, str):
            self._screen.end_text()
            if not self._shown or self._shown.strip() != output.strip():
                self._screen.text(output if output.endswith("\n") else output + "\n")
        else:
            self._screen.end_text()
            show_json(output)
        sys.stdout.flush()
        self._screen.end_text()

    def stop(self) -> None:
        """Leave a clean line, whatever happened."""
        self._speaker = None
        self._said.clear()
        self._screen.end_text()
        self._screen.status("")

    # -- events

    def _show(self, event: events.Event) -> None:
        path = event.path
        match event:
            case events.StepBegan():
                self._tell_answer(path)
                self._begin(path)
                self._status(path, "asking the model")
            case events.Text():
                self._say(path, event.text)
            case events.Thinking():
                self._speak(path, event.text)
            case events.Restarted():
                self._end(path)
                self._begin(path)
                self._line(path, f"the model begins again: {event.reason}", "bad")
            case events.ToolCalled():
                self._end(path)
                self._tell_answer(path)
                self._line(path, f"-> {call_text(event.call)}")
                self._status(path, event.call.name)
            case events.ToolProgress():
                self._status(path, f"{event.name} {_progress_text(event)}")
            case events.ToolReturned():
                self._end(path)
                self._tell_answer(path)
                result = event.result
                failed = " failed" if result.is_error else ""
                text = f"<- {result.name}{failed}: {result.text}"
                self._line(path, text, "bad" if result.is_error else "faint")
            case events.Noted():
                self._line(path, f"{event.topic}: {event.text}")
            case events.UsageReported():
                self._end(path)
            case events.Failed():
                self._end(path)
                if path != self._root:
                    self._line(path, f"failed: {event.error}", "bad")
            case events.Done():
                self._end(path)

    def _line(self, path: str, text: str, style: Style = "faint") -> None:
        if self._quiet:
            return
        whole = one_line(f"{self._where(path)}{text}")
        self._screen.line(
            fit(whole, self._screen.columns - 1 if self._screen.shows_lines else MAX_CHARS), style
        )

    def _status(self, path: str, text: str) -> None:
        if not self._quiet:
            self._screen.status(f"{self._where(path)}{text} ...")

    def _where(self, path: str) -> str:
        """Return which run it is, if it is not the agent's own."""
        return "" if path == self._root else f"[{path.partition('/')[2] or path}] "

    # -- what models say

    def _begin(self, path: str) -> None:
        if path == self._root:
            self._answer = self._shown = ""

    def _say(self, path: str, text: str) -> None:
        if path != self._root:
            self._speak(path, text)
            return
        begins = not self._answer
        self._answer += text
        if self._streams and (self._speaker == path or (begins and self._speaker is None)):
            self._speaker = path
            self._shown += text
            self._screen.text(text)

    def _speak(self, path: str, text: str) -> None:
        """Say what does not belong on stdout: at once at a terminal, if nobody else speaks."""
        if self._quiet:
            return
        if self._speaker is None and self._screen.shows_lines and path not in self._said:
            self._speaker = path
            self._screen.text(self._where(path), "faint")
        if self._speaker == path:
            self._screen.text(text, "faint")
        else:
            self._said[path] = self._said.get(path, "") + text

    def _end(self, path: str) -> None:
        """Let others speak."""
        if self._speaker == path:
            self._speaker = None
            self._screen.end_text()
        said = self._said.pop(path, "")
        if said.strip() and not self._quiet:
            self._screen.line(f"{self._where(path)}{said.strip()}")

    def _tell_answer(self, path: str) -> None:
        """Show what the agent said before it went on, where that is not on stdout."""
        if path == self._root and self._answer.strip() and not self._shown:
            self._line(path, self._answer)
            self._answer = ""


@final
class EventLines:
    """Writes events to stdout, as JSON, one a line."""

    def hear(self, event: events.Event) -> None:
        """Write an event. A `taut.agent.events.Listener`."""
        sys.stdout.write(msgspec.json.encode(event, enc_hook=str).decode() + "\n")
        sys.stdout.flush()


def call_text(call: ToolCall) -> str:
    """Return a call in one line."""
    arguments = call.malformed if call.malformed is not None else msgspec.json.encode(call.arguments).decode()
    return f"{call.name} {arguments}"


def usage_text(usage: Usage, tool_calls: int) -> str:
    """Return what was used, in one line."""
    parts = [
        _count(usage.requests, "request"),
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out",
    ]
    if tool_calls:
        parts.append(_count(tool_calls, "tool call"))
    if usage.cost:
        parts.append(f"${usage.cost:.4f}")
    elif usage.cost is None:
        parts.append("cost not known")
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _progress_text(event: events.ToolProgress) -> str:
    of = f"/{event.total:g}" if event.total else ""
    return f"{event.progress:g}{of} {event.message}".rstrip()
