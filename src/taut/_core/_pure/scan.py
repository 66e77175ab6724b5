"""JSON at byte level, in Python: what the compiled module does, whose docstring is the contract.

Regular expressions stand in for the loops over blocks. A `Walker` goes over one input, as in the compiled
module, but raises as soon as something is wrong.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, NoReturn

from taut._core._common import Fault, fault_error
from taut._core._pure.buffer import copy_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ISAS", "isa", "set_isa", "skip_value", "validate"]

ISAS = ("python",)

UNLIMITED = sys.maxsize

SPACE = re.compile(rb"[ \t\n\r]*+")
DIGITS = re.compile(rb"[0-9]*+")
HEX_UNIT = re.compile(rb"[0-9A-Fa-f]{4}")

#: As much of a valid string as there is: plain text, escapes (surrogates in pairs), UTF-8 (RFC 3629).
TEXT = re.compile(
    rb"""(?:
        [ !#-\[\]-\x7f]++
      | \\["\\/bfnrt]
      | \\u(?: [0-9A-CE-Fa-ce-f][0-9A-Fa-f]{3} | [Dd][0-7][0-9A-Fa-f]{2}
             | [Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2} )
      | [\xc2-\xdf][\x80-\xbf]
      | (?: \xe0[\xa0-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf] | \xed[\x80-\x9f] )[\x80-\xbf]
      | (?: \xf0[\x90-\xbf] | [\xf1-\xf3][\x80-\xbf] | \xf4[\x80-\x8f] )[\x80-\xbf]{2}
    )*+""".replace(b"[ !#", b"[\\x20!#"),
    re.VERBOSE,
)

#: For skipping: the end of a string, and the next thing outside strings that counts. A quote behind an odd
#: number of backslashes does not.
TEXT_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
BRACKET_OR_QUOTE = re.compile(rb'(?<!\\)(?:\\\\)*+\\"|["{}\[\]]')


def validate(data: Buffer, *, max_depth: int = 128, max_digits: int = 400, max_keys: int = 10_000) -> None:
    """Check that `data` is exactly one JSON value in UTF-8, without duplicate keys in any object."""
    walker = Walker(copy_of(data), max_depth=max_depth, max_digits=max_digits, max_keys=max_keys)
    walker.expect_end(walker.validate_value(0))


def skip_value(data: Buffer, start: int = 0) -> int:
    """Return the index after the value at `start`; the inside of a string or container is not validated."""
    walker = Walker(copy_of(data))
    if not 0 <= start <= len(walker.data):
        raise ValueError(f"start must be from 0 to {len(walker.data)}, got {start}")
    return walker.skip_value(walker.skip_space(start))


def isa() -> str:
    """Return "python": there are no block loops here."""
    return ISAS[0]


def set_isa(name: str) -> None:
    """Accept the only one of `ISAS`."""
    if name not in ISAS:
        raise ValueError(f"Instruction set must be one of {', '.join(ISAS)}, got {name}")


def unescape(text: bytes) -> bytes:
    """Return the UTF-8 that the inside of a valid JSON string stands for."""
    if b"\\" not in text:
        return text
    plain: str = json.loads(f'"{text.decode()}"')
    return plain.encode()


class Walker:
    """One walk over one input: indexes go in and come out. `name` is the last member name that was read."""

    def __init__(
        self,
        data: bytes,
        *,
        max_depth: int = UNLIMITED,
        max_digits: int = UNLIMITED,
        max_keys: int = UNLIMITED,
        unique: bool = True,
    ) -> None:
        self.data = data
        self.max_depth = max_depth
        self.max_digits = max_digits
        self.max_keys = max_keys
        self.unique = unique
        self.name = b""
        self.closed = False
        self._levels: list[
            set[bytes] | None
        ] = []  # open containers: the keys of an object, None for an array

    def at(self, pos: int) -> bytes:
        """Return the byte at `pos`, or nothing at the end."""
        return self.data[pos : pos + 1]

    def skip_space(self, pos: int) -> int:
        return end_of(SPACE, self.data, pos)

    def expect_end(self, pos: int) -> None:
        pos = self.skip_space(pos)
        if pos < len(self.data):
            self._fail(Fault.EXPECTED_END, pos)

    def validate_value(self, pos: int) -> int:
        """Check every byte of the value at `pos`; return the index after it."""
        base = len(self._levels)
        while True:
            # A value is expected; opening a container leads to its first value, or past an empty one.
            pos = self.skip_space(pos)
            char = self.at(pos)
            if char == b'"':
                pos = self._read_string(pos)
            elif char == b"{":
                pos = self._next_member(self.open_object(pos), first=True)
                if not self.closed:
                    continue
            elif char == b"[":
                self._open_level(pos, None)
                pos = self.skip_space(pos + 1)
                if self.at(pos) != b"]":
                    continue
                self._levels.pop()
                pos += 1
            else:
                pos = self._read_scalar(pos)
            # After a value: close what ends here, until a comma asks for another one.
            while len(self._levels) > base:
                if self._levels[-1] is None:
                    pos = self.skip_space(pos)
                    char = self.at(pos)
                    if char not in (b",", b"]"):
                        self._fail(Fault.EXPECTED_COMMA_OR_BRACKET, pos)
                    pos += 1
                    if char == b",":
                        break
                    self._levels.pop()
                else:
                    pos = self._next_member(pos, first=False)
                    if not self.closed:
                        break
            else:
                return pos

    def skip_value(self, pos: int) -> int:
        """Return the index after the value at `pos`; of a string or container only the end is looked for."""
        char = self.at(pos)
        if char == b'"':
            text = TEXT_END.match(self.data, pos + 1)
            return text.end() if text else self._fail(Fault.UNCLOSED_STRING, pos)
        if char in (b"{", b"["):
            return self._skip_container(pos)
        return self._read_scalar(pos)

    def open_object(self, pos: int) -> int:
        """Open the object at `pos`; return the index after the brace."""
        self._open_level(pos, set())
        return pos + 1

    def next_member(self, pos: int, *, first: bool) -> int:
        """Return the index of the next member's value; or set `closed`, and the index after the object."""
        pos = self._next_member(pos, first=first)
        return pos if self.closed else self.skip_space(pos)

    def _next_member(self, pos: int, *, first: bool) -> int:
        pos = self.skip_space(pos)
        self.closed = self.at(pos) == b"}"
        if self.closed:
            self._levels.pop()
            return pos + 1
        if first:
            return self._read_member(pos, Fault.EXPECTED_NAME_OR_END)
        if self.at(pos) != b",":
            self._fail(Fault.EXPECTED_COMMA_OR_BRACE, pos)
        return self._read_member(self.skip_space(pos + 1), Fault.EXPECTED_NAME)

    def _read_member(self, pos: int, otherwise: Fault) -> int:
        if self.at(pos) != b'"':
            self._fail(otherwise, pos)
        end = self._read_string(pos)
        self.name = unescape(self.data[pos + 1 : end - 1])
        keys = self._levels[-1]
        if keys is not None and self.unique:
            if len(keys) >= self.max_keys:
                self._fail(Fault.TOO_MANY_KEYS, pos)
            if self.name in keys:
                self._fail(Fault.DUPLICATE_KEY, pos)
            keys.add(self.name)
        end = self.skip_space(end)
        if self.at(end) != b":":
            self._fail(Fault.EXPECTED_COLON, end)
        return end + 1

    def _open_level(self, pos: int, keys: set[bytes] | None) -> None:
        if len(self._levels) >= self.max_depth:
            self._fail(Fault.TOO_DEEP, pos)
        self._levels.append(keys)

    def _skip_container(self, start: int) -> int:
        depth = 0
        pos = start
        while token := BRACKET_OR_QUOTE.search(self.data, pos):
            pos = token.end()
            match token[0]:
                case b'"':
                    text = TEXT_END.match(self.data, pos)
                    if text is None:
                        break
                    pos = text.end()
                case b"{" | b"[":
                    depth += 1
                    if depth > self.max_depth - len(self._levels):
                        self._fail(Fault.TOO_DEEP, start)
                case b"}" | b"]":
                    depth -= 1
                    if depth == 0:
                        if token[0] != {b"{": b"}", b"[": b"]"}[self.at(start)]:
                            self._fail(Fault.WRONG_BRACKET, pos - 1)
                        return pos
        self._fail(Fault.UNCLOSED_CONTAINER, start)

    def _read_string(self, quote: int) -> int:
        """Check the string at `quote`; return the index after it."""
        pos = end_of(TEXT, self.data, quote + 1)
        char = self.at(pos)
        if char == b'"':
            return pos + 1
        if char == b"" or self.data[pos:] == b"\\":
            self._fail(Fault.UNCLOSED_STRING, quote)
        if char < b" ":
            self._fail(Fault.CONTROL_CHARACTER, pos)
        if char != b"\\":
            self._fail(Fault.BAD_UTF8, pos)
        if self.at(pos + 1) != b"u":
            self._fail(Fault.UNKNOWN_ESCAPE, pos)
        self._fail(Fault.LONE_SURROGATE if HEX_UNIT.match(self.data, pos + 2) else Fault.BAD_HEX, pos)

    def _read_scalar(self, pos: int) -> int:
        """Check the number or literal at `pos`; return the index after it."""
        char = self.at(pos)
        if char.isdigit() or char == b"-":
            return self._read_number(pos)
        for literal in (b"true", b"false", b"null"):
            if char == literal[:1]:
                if not self.data.startswith(literal, pos):
                    self._fail(Fault.UNKNOWN_LITERAL, pos)
                return pos + len(literal)
        if pos == 0 and self.data.startswith(b"\xef\xbb\xbf"):
            self._fail(Fault.BYTE_ORDER_MARK, 0)
        self._fail(Fault.EXPECTED_VALUE, pos)

    def _read_number(self, start: int) -> int:
        pos = start + (self.at(start) == b"-")
        end = self._read_digits(pos)
        if end - pos > 1 and self.at(pos) == b"0":
            self._fail(Fault.LEADING_ZERO, pos)
        digits = end - pos
        if self.at(end) == b".":
            pos = end + 1
            end = self._read_digits(pos)
            digits += end - pos
        if self.at(end) in (b"e", b"E"):
            pos = end + 1 + (self.at(end + 1) in (b"+", b"-"))
            end = self._read_digits(pos)
            digits += end - pos
        if digits > self.max_digits:
            self._fail(Fault.TOO_MANY_DIGITS, start)
        return end

    def _read_digits(self, pos: int) -> int:
        end = end_of(DIGITS, self.data, pos)
        return end if end > pos else self._fail(Fault.EXPECTED_DIGIT, pos)

    def _fail(self, fault: Fault, offset: int) -> NoReturn:
        maximum = {
            Fault.TOO_DEEP: self.max_depth,
            Fault.TOO_MANY_DIGITS: self.max_digits,
            Fault.TOO_MANY_KEYS: self.max_keys,
        }
        got = self.data[offset] if offset < len(self.data) else None
        raise fault_error(fault, offset, got=got, key=self.name, maximum=maximum.get(fault, 0))


def end_of(pattern: re.Pattern[bytes], data: bytes, pos: int) -> int:
    """Return where the match at `pos` ends, of a pattern that matches anything, if only nothing."""
    found = pattern.match(data, pos)
    return pos if found is None else found.end()
