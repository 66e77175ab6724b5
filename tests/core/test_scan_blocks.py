"""Every instruction set finds the same ends, wherever in a block they lie."""

import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from outcomes import outcome

Twins = tuple[SimpleNamespace, SimpleNamespace]

BLOCK = 64

#: Texts whose outcome hangs on the state that a block hands to the next one.
ENDINGS = [
    b'"',
    b'\\"',
    b'\\"x"',
    b'\\\\"',
    b'\\\\\\"',
    b'\\\\\\\\"',
    b'\\u00e9"',
    "é€😀".encode() + b'"',
    b"\xe2\x82",
    b"\xff",
    b"\x1f",
    b"\\",
    b"\\u12",
    b"",
]

CONTAINERS = [
    b"{}",
    b"[[[]]]",
    b'["]"]',
    b'["\\"]"]',
    b'["\\\\"]',
    b'{"a":{"b":[1,{"c":"}"}]}}',
    b'[[],[],[[],[]],{"a":[]},"[[["]',
    b"[[[[",
    b'["',
    b"[}",
]


@pytest.fixture
def instruction_sets(twins: Twins) -> Iterator[SimpleNamespace]:
    """The compiled twin, put back on its own choice afterwards."""
    compiled, _ = twins
    chosen = compiled.isa()
    yield compiled
    compiled.set_isa(chosen)


def check_all(compiled: SimpleNamespace, pure: SimpleNamespace, texts: list[bytes]) -> None:
    for function in ("validate", "skip_value"):
        expected = [outcome(getattr(pure, function), text) for text in texts]
        for isa in compiled.ISAS:
            compiled.set_isa(isa)
            for text, wanted in zip(texts, expected, strict=True):
                assert outcome(getattr(compiled, function), text) == wanted, (isa, function, text)


@pytest.mark.parametrize("ending", ENDINGS)
def test_strings_end_at_any_offset(instruction_sets: SimpleNamespace, twins: Twins, ending: bytes) -> None:
    texts = [b'"' + b"x" * length + ending for length in range(2 * BLOCK + 2)]
    check_all(instruction_sets, twins[1], texts)


@pytest.mark.parametrize("ending", ENDINGS)
def test_text_may_go_on_behind_a_string(
    instruction_sets: SimpleNamespace, twins: Twins, ending: bytes
) -> None:
    texts = [b'["' + b"x" * length + ending + b',"' + b"y" * BLOCK + b'"]' for length in range(BLOCK + 2)]
    check_all(instruction_sets, twins[1], texts)


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_end_at_any_offset(
    instruction_sets: SimpleNamespace, twins: Twins, container: bytes
) -> None:
    inside = [b'["' + b"x" * length + b'",' + container + b"]" for length in range(BLOCK + 2)]
    behind = [b"[" + b" " * length + container + b"]" + b" " * BLOCK for length in range(BLOCK + 2)]
    check_all(instruction_sets, twins[1], inside + behind)


def test_runs_of_backslashes_of_any_length_at_any_offset(
    instruction_sets: SimpleNamespace, twins: Twins
) -> None:
    texts = [
        b'["' + b"x" * length + b"\\" * run + b'","' + b"]" * 5 + b'"]'
        for length in (*range(0, 8), *range(BLOCK - 10, BLOCK + 2))
        for run in (*range(6), *range(BLOCK - 2, BLOCK + 3), 2 * BLOCK, 2 * BLOCK + 1)
    ]
    check_all(instruction_sets, twins[1], texts)


def test_random_brackets_quotes_and_backslashes(instruction_sets: SimpleNamespace, twins: Twins) -> None:
    dice = random.Random(7)
    texts = [b"[" + bytes(dice.choices(b'[]{}"\\ x', k=dice.randrange(300))) for _ in range(300)]
    check_all(instruction_sets, twins[1], texts)


def test_nothing_behind_the_end_is_read(instruction_sets: SimpleNamespace) -> None:
    """A quote or bracket just behind the buffer must not count."""
    memory = memoryview(b'["' + b"x" * (3 * BLOCK) + b'"]')
    for isa in instruction_sets.ISAS:
        instruction_sets.set_isa(isa)
        for stop in range(1, len(memory)):
            assert outcome(instruction_sets.validate, memory[:stop])[0] == "ParseError"
            assert outcome(instruction_sets.skip_value, memory[:stop])[0] == "ParseError"


def test_the_instruction_set_can_be_asked_for_and_chosen(core: SimpleNamespace) -> None:
    chosen = core.isa()
    assert chosen == core.ISAS[0]
    core.set_isa(core.ISAS[-1])
    assert core.isa() == core.ISAS[-1]
    core.set_isa(chosen)
    with pytest.raises(ValueError, match=r"Instruction set must be one of .*, got mmx"):
        core.set_isa("mmx")
