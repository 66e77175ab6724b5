"""Strict validation, one vector per way to be JSON or not; limits; linear time."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taut.errors import LimitExceeded, ParseError

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "json.jsonl").read_text().splitlines()
]


def text_of(vector: dict[str, Any]) -> bytes:
    """The bytes of a vector: one character is one byte, and `parts` repeat."""
    parts = vector.get("parts") or [[vector["data"], 1]]
    return b"".join(part.encode("latin-1") * count for part, count in parts)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["why"])
def test_vector(core: SimpleNamespace, vector: dict[str, Any]) -> None:
    data = text_of(vector)
    if "error" not in vector:
        core.validate(data)
        return
    with pytest.raises((ParseError, LimitExceeded)) as caught:
        core.validate(data)
    error = caught.value
    assert type(error).__name__ == vector["error"]
    assert error.code == -32700
    assert getattr(error, "limit", None) == vector.get("limit")
    assert getattr(error, "offset", None) == vector.get("offset")
    assert vector.get("says", "") in str(error)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 18, 40, 3000])
def test_a_duplicate_is_found_in_objects_of_any_size(core: SimpleNamespace, count: int) -> None:
    names = [f"{i:04}" * 4 for i in range(count)]
    core.validate(json.dumps(dict.fromkeys(names)).encode())
    for twice in {names[0], names[count // 2], names[-1]}:
        data = json.dumps(dict.fromkeys(names)).encode()[:-1] + f', "{twice}": 1}}'.encode()
        with pytest.raises(ParseError, match=f"Duplicate key '{twice}'") as caught:
            core.validate(data)
        assert caught.value.offset == data.rindex(twice.encode()) - 1


def test_an_object_goes_on_where_it_was_after_a_large_one_inside(core: SimpleNamespace) -> None:
    inner = ",".join(f'"k{i}":{{"k{i}":[]}}' for i in range(100))
    outer = ",".join(f'"k{i}":{{{inner}}}' for i in range(30))
    core.validate(f"{{{outer}}}".encode())
    with pytest.raises(ParseError, match="Duplicate key 'k7'"):
        core.validate(f'{{{outer},"k7":1}}'.encode())


def test_limits_can_be_set(core: SimpleNamespace) -> None:
    core.validate(b"[[1]]", max_depth=2)
    with pytest.raises(LimitExceeded, match="max_depth is 1"):
        core.validate(b"[[1]]", max_depth=1)
    core.validate(b"-12.34e56", max_digits=6)
    with pytest.raises(LimitExceeded, match="max_digits is 5"):
        core.validate(b"-12.34e56", max_digits=5)
    core.validate(b'{"a":{"b":1,"c":1},"d":1}', max_keys=2)
    with pytest.raises(LimitExceeded, match="max_keys is 2"):
        core.validate(b'{"a":1,"b":1,"c":1}', max_keys=2)


def test_many_keys_take_linear_time(core: SimpleNamespace) -> None:
    """100,000 keys would take minutes if each were compared with each other."""
    names = ",".join(f'"{i}":0' for i in range(100_000))
    core.validate(f"{{{names}}}".encode(), max_keys=100_000)


def test_large_inputs_take_the_same_way(core: SimpleNamespace) -> None:
    text = "é\\n" * 100_000
    core.validate(f'{{"text":"{text}"}}'.encode())
    with pytest.raises(ParseError, match="String without an end at byte 8"):
        core.validate(f'{{"text":"{text}'.encode())


def test_a_long_key_is_cut_in_the_message(core: SimpleNamespace) -> None:
    key = "k" * 1000
    with pytest.raises(ParseError) as caught:
        core.validate(f'{{"{key}":1,"{key}":2}}'.encode())
    assert str(caught.value) == f"Duplicate key '{'k' * 64}...' at byte 1006"


def test_only_buffers_are_taken(core: SimpleNamespace) -> None:
    with pytest.raises(TypeError):
        core.validate("{}")
    with pytest.raises(TypeError):
        core.skip_value(3)


def test_skip_value_begins_inside_the_input(core: SimpleNamespace) -> None:
    assert core.skip_value(b' [1, "]"] x') == 9
    assert core.skip_value(b'{"a": "b\\"c"}', 5) == 12
    for start in (-1, 3):
        with pytest.raises(ValueError, match="start must be from 0 to 2"):
            core.skip_value(b"[]", start)
    with pytest.raises(ParseError, match="Expected a value, got the end at byte 2"):
        core.skip_value(b"[]", 2)


def test_skip_value_does_not_look_inside(core: SimpleNamespace) -> None:
    assert core.skip_value(b"[NaN, \xff, 01, :]") == 15
    assert core.skip_value(b'"\xff\\x"') == 5


def test_skip_value_finds_brackets_that_do_not_match(core: SimpleNamespace) -> None:
    with pytest.raises(
        ParseError, match="Expected the bracket that closes what was opened, got '}' at byte 2"
    ):
        core.skip_value(b"[1}")
