"""JSON text for property tests, valid in every spelling and broken in many ways, and an oracle."""

import json
from typing import Any, NoReturn

from hypothesis import strategies as st

SPACES = st.text(alphabet=" \t\r\n", max_size=3)
SHORT_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def utf16_escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))


@st.composite
def strings(draw: st.DrawFn, max_size: int = 20) -> str:
    """A JSON string whose characters are plain, escaped, or escaped by number."""
    spelled = []
    for char in draw(st.text(max_size=max_size)):
        must_escape = char < " " or char in '"\\'
        way = draw(st.integers(1 if must_escape else 0, 2))
        spelled.append(char if way == 0 else SHORT_ESCAPES.get(char) if way == 1 else None)
        if spelled[-1] is None:
            spelled[-1] = utf16_escape(char)
    return '"' + "".join(map(str, spelled)) + '"'


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
SCALARS = st.one_of(NUMBERS, strings(), st.sampled_from(["true", "false", "null"]))


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = [draw(SPACES) + item + draw(SPACES) for item in draw(st.lists(values, max_size=5))]
    return "[" + (",".join(items) or draw(SPACES)) + "]"


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(strings(max_size=6), max_size=5, unique_by=lambda name: str(json.loads(name))))
    members = [
        f"{draw(SPACES)}{name}{draw(SPACES)}:{draw(SPACES)}{draw(values)}{draw(SPACES)}" for name in names
    ]
    return "{" + (",".join(members) or draw(SPACES)) + "}"


VALUES = st.recursive(SCALARS, lambda values: arrays(values) | objects(values), max_leaves=12)
VALID = st.builds(lambda before, value, after: (before + value + after).encode(), SPACES, VALUES, SPACES)

#: Pieces that break, or nearly break, what stands around them.
STRUCTURE = [b"{", b"}", b"[", b"]", b",", b":", b'"', b" ", b"\n"]
ESCAPES = [b"\\", b"\\u", b"\\ud800", b"\\udc00"]
PARTS = [b"0", b"-", b".", b"e", b"NaN", b"nul", b'"a":1,', b'"\\u0061":2,', b'"id":3,', b'"jsonrpc":"2.0",']
CONTROLS = [b"\x00", b"\x1f", b"\x7f"]
BAD_UTF8 = [b"\x80", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf"]
FRAGMENTS = st.sampled_from([*STRUCTURE, *ESCAPES, *PARTS, *CONTROLS, *BAD_UTF8])


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """A text with a few pieces cut out, repeated or put in."""
    data = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 8)))
        piece = draw(st.one_of(FRAGMENTS, st.binary(max_size=3), st.just(b""), st.just(2 * data[start:stop])))
        data = data[:start] + piece + data[stop:]
    return data


#: Random bytes with a grammar's alphabet get further into a parser than uniform ones.
NOISE = st.lists(FRAGMENTS | st.binary(max_size=2), max_size=30).map(b"".join)
ANY_BYTES = st.one_of(VALID, mutated(VALID), NOISE)


def accepts(data: bytes) -> bool:
    """Whether the standard library takes `data` as JSON, with what it tolerates beyond RFC 8259 refused."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=without_duplicates, parse_constant=no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates cannot be encoded
    except ValueError:
        return False
    return True


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate key")
    return members


def no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
