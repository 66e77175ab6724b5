"""The stores under test, and what is put into them."""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from taut.crypto import KEY_BYTES, KeyRing
from taut.llm.messages import (
    Audio,
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    assistant,
    tool_results,
    user,
)

#: In memory, in a file, in a sealed file.
KINDS = ("memory", "file", "sealed")
KEY, OTHER_KEY = bytes(range(KEY_BYTES)), b"o" * KEY_BYTES

DIALOGUE = [
    user("What is the weather in Bern, and in Rome?"),
    assistant(
        Thinking("Two calls.", "c2lnbmVk"),
        ToolCall("1", "weather", {"city": "Bern", "days": [1, 2.5, None, True]}),
        ToolCall("2", "weather", {}, malformed='{"city": '),
    ),
    tool_results(
        ToolResult("1", "weather", (Text("4 °C"), Image("aW1n", "image/png"), Audio("c25k", "audio/wav"))),
        ToolResult("2", "weather", "Expected a JSON object", is_error=True),
    ),
    assistant("Cold in Bern. \N{SNOWFLAKE}"),
]


def clock() -> Callable[[], float]:
    """Return a clock that goes on by a second each time it is looked at."""
    seconds = itertools.count(1_000.0)
    return lambda: next(seconds)


def ring() -> KeyRing:
    return KeyRing(KEY)


def rows(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Do something to a file behind the back of its stores."""
    file = sqlite3.connect(path, isolation_level=None)
    try:
        return file.execute(query, values).fetchall()
    finally:
        file.close()


def environment() -> dict[str, str]:
    """Return the environment in which a child may import what is here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def text() -> st.SearchStrategy[str]:
    return st.text(max_size=20)


def values() -> st.SearchStrategy[Any]:
    """Return what JSON can say: what a model can put into arguments."""
    scalars = (
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text()
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(), inner, max_size=3),
        max_leaves=5,
    )


def messages() -> st.SearchStrategy[Message]:
    media = st.builds(Image, text(), text()) | st.builds(Audio, text(), text())
    plain = st.builds(Text, text()) | media
    calls = st.builds(
        ToolCall, text(), text(), st.dictionaries(text(), values(), max_size=3), st.none() | text()
    )
    results = st.builds(
        ToolResult, text(), text(), text() | st.lists(plain, max_size=3).map(tuple), st.booleans()
    )
    thinking = st.builds(Thinking, text(), st.none() | text())
    parts = st.lists(plain | calls | results | thinking, max_size=4).map(tuple)
    return st.builds(Message, st.sampled_from(["user", "assistant", "tool"]), parts)


def numbered(count: int, start: int = 0) -> list[Message]:
    return [user(f"message {at}") for at in range(start, start + count)]


def texts(found: list[Message]) -> Iterator[str]:
    return (message.text for message in found)
