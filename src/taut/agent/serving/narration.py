"""What a run does, told in lines: for progress messages, the status of tasks, and whoever asks how it goes.

Text comes from a model word by word, and is told line by line. What a tool was given, and what it returned, is in the
events of the run, not in its lines.
"""

from __future__ import annotations

from typing import final

from taut.agent import events

__all__ = ["Narrator"]

#: Characters of text that are told without a line's end.
LINE = 160


@final
class Narrator:
    """Tells one run. ``details``: also what models write, and what patterns say of their decisions."""

    def __init__(self, *, details: bool) -> None:
        self._details = details
        #: What was written and not yet told, by the path of who writes.
        self._text: dict[str, str] = {}

    def tell(self, event: events.Event) -> list[str]:
        """Return the lines that ``event`` is worth: none, mostly."""
        path = event.path
        if isinstance(event, events.Text):
            return self._write(path, event.text) if self._details else []
        if isinstance(event, events.Restarted):
            self._text.pop(path, None)  # it is void
        lines = self._rest(path)
        line = self._line(event)
        if line:
            lines.append(f"{path}: {line}")
        return lines

    def _write(self, path: str, text: str) -> list[str]:
        written = self._text.pop(path, "") + text
        *lines, rest = written.split("\n")
        if len(rest) >= LINE:
            lines.append(rest)
            rest = ""
        if rest:
            self._text[path] = rest
        return [f"{path}: {line}" for line in lines if line.strip()]

    def _rest(self, path: str) -> list[str]:
        rest = self._text.pop(path, "")
        return [f"{path}: {rest}"] if rest.strip() else []

    def _line(self, event: events.Event) -> str:
        match event:
            case events.StepBegan():
                return f"step {event.step}"
            case events.ToolCalled():
                return f"calls {event.call.name}"
            case events.ToolProgress():
                of = "" if event.total is None else f"/{event.total:g}"
                return (
                    f"{event.name} {event.progress:g}{of} {event.message if self._details else ''}".rstrip()
                )
            case events.ToolReturned():
                return f"{event.result.name} {'failed' if event.result.is_error else 'answered'}"
            case events.ApprovalAsked():
                return f"{event.call.name} waits for approval"
            case events.Noted():
                return f"{event.topic}: {event.text}" if self._details else event.topic
            case events.Restarted():
                return "the model begins again"
            case events.Failed():
                return "failed"
            case events.Done():
                return event.status
        return ""  # usage and thoughts: there are too many of them
