"""A terminal, or two files, on which text grows while lines come between and a last line is rewritten.

Data goes to stdout, lines about it to stderr. Where both are one terminal, a line about something never begins in the
middle of text, and the last line, which says what is going on, stands below all else and leaves no trace. What others
have written, models and servers, is shown without the characters that a terminal takes as commands.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from typing import Literal, TextIO, TypeAlias, final

__all__ = ["Screen", "Style", "clean", "fit", "one_line"]

Style: TypeAlias = Literal["", "faint", "name", "good", "bad"]
#: The terminal's own palette, as in `taut.cli.terminal`: it fits light and dark backgrounds.
_CODES: dict[Style, str] = {
    "": "",
    "faint": "\x1b[90m",
    "name": "\x1b[1;36m",
    "good": "\x1b[1;32m",
    "bad": "\x1b[1;31m",
}
_RESET = "\x1b[0m"
#: All that a terminal may take as a command: C0 but for tab and end of line, DEL, C1.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: Columns where nothing is known of the terminal, and for files.
COLUMNS = 100


@final
class Screen:
    """``out`` and ``err``, which may be one terminal. Not for two threads at a time."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        is_dumb = os.environ.get("TERM") == "dumb"
        #: Whether text that grows is seen by somebody; and lines about it.
        self.shows_text = out.isatty() and not is_dumb
        self.shows_lines = err.isatty() and not is_dumb
        self._colours = self.shows_lines and _has_colours()
        self._within_line = False
        self._status_columns = 0

    @property
    def columns(self) -> int:
        """How wide a line may be."""
        said = os.environ.get("COLUMNS", "")
        if said.isdecimal() and int(said):
            return int(said)
        try:
            return os.get_terminal_size(self._err.fileno()).columns or COLUMNS
        except (OSError, ValueError):
            return COLUMNS

    def text(self, piece: str, style: Style = "") -> None:
        """Write more of a text: to stdout, or to stderr if it has a style."""
        if not piece:
            return
        self.status("")
        if style:
            self._err.write(self._styled(clean(piece), style))
            self._err.flush()
        else:
            self._out.write(clean(piece) if self.shows_text else piece)
            self._out.flush()
        if self.shows_lines if style else self.shows_text:
            self._within_line = not piece.endswith("\n")

    def end_text(self) -> None:
        """Begin a new line, unless there is one."""
        if self._within_line:
            self.status("")
            (self._err if self.shows_lines else self._out).write("\n")
            self._err.flush()
            self._out.flush()
            self._within_line = False

    def line(self, text: str, style: Style = "faint") -> None:
        """Write a line, or several, to stderr."""
        self.end_text()
        self.status("")
        self._err.write(self._styled(clean(text), style) + "\n")
        self._err.flush()

    def status(self, text: str) -> None:
        """Show what is going on, in place of what was; nothing removes it. Only at a terminal, and between lines."""
        if not self.shows_lines or (self._within_line and text) or not (text or self._status_columns):
            return
        if self._status_columns:
            self._err.write("\r" + " " * self._status_columns + "\r")
        text = fit(one_line(clean(text)), self.columns - 1)
        self._status_columns = _columns_of(text)
        self._err.write(self._styled(text, "faint"))
        self._err.flush()

    def _styled(self, text: str, style: Style) -> str:
        return f"{_CODES[style]}{text}{_RESET}" if self._colours and style and text else text


def clean(text: str) -> str:
    """Return ``text`` without what a terminal would take as a command."""
    return _COMMANDS.sub("", text)


def one_line(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


def fit(text: str, columns: int) -> str:
    """Return ``text``, cut if it is wider than ``columns``."""
    if _columns_of(text) <= columns:
        return text
    kept, width = [], 0
    for character in text:
        width += _columns_of(character)
        if width > max(0, columns - 3):
            break
        kept.append(character)
    return "".join(kept) + "..."


def _columns_of(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def _has_colours() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return sys.platform != "win32" or "WT_SESSION" in os.environ  # an old console shows the codes
