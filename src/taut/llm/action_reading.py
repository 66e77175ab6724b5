"""Calls and answers out of what a model wrote: strict where that is the JSON it was asked for, patient elsewhere.

`read_action` reads what is complete; `AnswerText` takes the text of an answer out of JSON that is still coming.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, final

import msgspec

__all__ = ["Action", "Answer", "AnswerText", "read_action"]

#: Places in a text where an object may begin that are tried: a text that is no JSON at all is not read for ever.
MAX_TRIES = 50

_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into strings
_BETWEEN = re.compile(r"(?:\s|,|</?tool_calls?>)*")
_BROKEN = re.compile(r'\s*(?:```\w*\s*)?\{\s*"tool"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
#: Names that other formats have for a call's tool and for its arguments.
_TOOL_NAMES = ("tool", "name", "function", "tool_name")
_ARGUMENT_NAMES = ("arguments", "parameters", "args", "input")


class Action(msgspec.Struct, frozen=True):
    """A call. ``broken`` is the text of one whose JSON is broken off."""

    tool: str
    arguments: Any = None
    broken: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """A final answer: its value, and how it was written."""

    value: Any
    written: str

    def text(self) -> str:
        """Return it as text: the string that it is, or the JSON of anything else."""
        return _whole(self.value) if isinstance(self.value, str) else self.written


def read_action(text: str, tools: Sequence[str]) -> list[Action] | Answer | None:
    """Return the calls of ``tools``, or the answer, that a model wrote; None if it is neither.

    The first object that is one of them decides; calls that follow it directly are taken with it.
    """
    position = 0
    for _ in range(MAX_TRIES):
        position = text.find("{", position)
        if position < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        action = _action(value, tools)
        if action is not None:
            return [action, *_following(text, end, tools)]
        if "answer" in value:
            return Answer(value["answer"], _written(text[position:end]))
        position += 1
    broken = _BROKEN.match(text)
    if broken is not None and broken[1] in tools:
        return [Action(broken[1], broken=text.strip())]
    begun = AnswerText(raw=False)
    said = begun.feed(text)
    return Answer(said, said) if begun.found else None


def _following(text: str, position: int, tools: Sequence[str]) -> list[Action]:
    found: list[Action] = []
    while True:
        between = _BETWEEN.match(text, position)
        position = position if between is None else between.end()
        if not text.startswith("{", position):
            return found
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            return found
        action = _action(value, tools)
        if action is None:
            return found
        found.append(action)


def _action(value: dict[str, Any], tools: Sequence[str]) -> Action | None:
    for name in _TOOL_NAMES:
        tool = value.get(name)
        if isinstance(tool, dict):  # {"function": {"name": ..., "arguments": ...}}
            return _action(tool, tools)
        # What is written as it was asked for is a call, even of a tool that there is not: the model is told so.
        if isinstance(tool, str) and (tool in tools or (name == "tool" and "answer" not in value)):
            given = next((value[key] for key in _ARGUMENT_NAMES if key in value), None)
            return Action(tool, given)
    return None


def _written(text: str) -> str:
    """The value of ``answer`` in ``text``, an object, as it is written there."""
    view = AnswerText(raw=True)
    said = view.feed(text)
    return said if view.found else json.dumps(json.loads(text, strict=False)["answer"])


def _whole(text: str) -> str:
    """A text without halves of characters, which are no Unicode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# What is read at the moment.
SEEK, STRING, VALUE, END = range(4)
#: An object up to the value of its first member, and what may become one.
_OBJECT = re.compile(r'\{\s*"([^"\\]*)"\s*:\s*(?=\S)')
_BEGUN = re.compile(r'\{\s*(?:"[^"\\]*(?:"\s*(?::\s*)?)?)?\Z')


@final
class AnswerText:
    """Finds the value of ``answer`` in an object whose first member it is, and gives it out as it comes.

    A string is given out as the text that it stands for; anything else, and with ``raw`` a string as well, as
    it is written.
    """

    __slots__ = ("_depth", "_escape", "_high", "_in_string", "_left", "_raw", "_state", "found")

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._state = SEEK
        self._left = ""  # what cannot be decided yet
        self._escape = ""
        self._high = ""  # the first half of a character outside the basic plane
        self._depth = 0
        self._in_string = False
        #: Whether there is such a value.
        self.found = False

    def feed(self, more: str) -> str:
        """Take more of what the model writes; return what that adds to the value."""
        if self._state == SEEK:
            more = self._seek(self._left + more)
        if self._state == STRING:
            return self._string(more)
        return self._value(more) if self._state == VALUE else ""

    def _seek(self, text: str) -> str:
        """Look for the beginning of the value, in the first object there is; return what follows it."""
        start = _OBJECT.search(text)
        if start is None:
            begun = _BEGUN.search(text)
            self._left = "" if begun is None else begun[0]
            return ""
        self._left = ""
        if start[1] != "answer":
            self._state = END
            return ""
        self.found = True
        if text[start.end()] == '"' and not self._raw:
            self._state = STRING
            return text[start.end() + 1 :]
        self._state = VALUE
        return text[start.end() :]

    def _string(self, text: str) -> str:
        made: list[str] = []
        for character in text:
            if self._escape:
                self._take_escape(character, made)
            elif character == "\\":
                self._escape = character
            elif character == '"':
                self._state = END
                break
            else:
                self._give(character, made)
        if self._state == END and self._high:
            self._high = ""
            made.append("\ufffd")
        return "".join(made)

    def _take_escape(self, character: str, made: list[str]) -> None:
        self._escape += character
        if self._escape[1] != "u":
            self._give(_ESCAPES.get(character, character), made)
            self._escape = ""
        elif len(self._escape) == 6:
            try:
                self._give(chr(int(self._escape[2:], 16)), made)
            except ValueError:
                self._give("\ufffd", made)
            self._escape = ""

    def _give(self, character: str, made: list[str]) -> None:
        """Give out a character, both halves of one as one."""
        high, self._high = self._high, ""
        if "\ud800" <= character <= "\udbff":
            if high:
                made.append("\ufffd")
            self._high = character
        elif "\udc00" <= character <= "\udfff":
            made.append(_whole(high + character) if high else "\ufffd")
        else:
            made.append("\ufffd" + character if high else character)

    def _value(self, text: str) -> str:
        """Give out JSON as it is written, up to its end."""
        for position, character in enumerate(text):
            if self._in_string:
                if self._escape:
                    self._escape = ""
                elif character == "\\":
                    self._escape = character
                elif character == '"':
                    self._in_string = False
                    if self._depth == 0:
                        return self._end(text[: position + 1])
            elif character == '"':
                self._in_string = True
            elif character in "[{":
                self._depth += 1
            elif self._depth == 0:
                if character in "]}, \t\r\n":
                    return self._end(text[:position])
            elif character in "]}":
                self._depth -= 1
                if self._depth == 0:
                    return self._end(text[: position + 1])
        return text

    def _end(self, rest: str) -> str:
        self._state = END
        return rest
