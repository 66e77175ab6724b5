"""The two twins agree on every input, and with the standard library on what is JSON."""

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from json_texts import ANY_BYTES, NOISE, VALID, VALUES, accepts, mutated
from outcomes import outcome

Twins = tuple[SimpleNamespace, SimpleNamespace]

TIGHT = {"max_depth": 3, "max_digits": 8, "max_keys": 3}


@given(data=ANY_BYTES)
@example(data=b'"\\ud800\\u0041"')
@example(data=b'"\\ud83d\\ude00"')
@example(data=b'{"a":1,"\\u0061":2}')
def test_validate_accepts_what_the_standard_library_accepts(core: SimpleNamespace, data: bytes) -> None:
    accepted = outcome(core.validate, data)[0] == "returned"
    assert accepted == accepts(data)


@given(data=ANY_BYTES, limits=st.sampled_from([{}, TIGHT]))
def test_validate_comes_to_the_same_in_both_twins(twins: Twins, data: bytes, limits: dict[str, int]) -> None:
    compiled, pure = twins
    assert outcome(compiled.validate, data, **limits) == outcome(pure.validate, data, **limits)


@given(data=ANY_BYTES | st.builds(lambda noise: b"[" + noise, NOISE), start=st.integers(0, 8))
@example(data=b'[\\"]', start=0)
@example(data=b'[\\\\"]"]', start=0)
@example(data=b'["\\\\"]', start=0)
def test_skip_value_comes_to_the_same_in_both_twins(twins: Twins, data: bytes, start: int) -> None:
    compiled, pure = twins
    start = min(start, len(data))
    assert outcome(compiled.skip_value, data, start) == outcome(pure.skip_value, data, start)


@given(before=st.binary(max_size=3), value=VALUES, after=st.sampled_from([b"", b",", b" ", b"]", b'"']))
def test_skip_value_ends_behind_a_valid_value(
    core: SimpleNamespace, before: bytes, value: str, after: bytes
) -> None:
    text = value.encode()
    assert core.skip_value(before + text + after, len(before)) == len(before + text)


@given(data=VALID | mutated(VALID), kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_validate_takes_any_buffer(core: SimpleNamespace, data: bytes, kind: Any) -> None:
    assert outcome(core.validate, kind(data)) == outcome(core.validate, data)
