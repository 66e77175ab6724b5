"""The two twins see the same in every message, valid or not."""

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from json_texts import ANY_BYTES, SPACES, VALUES, mutated
from outcomes import outcome, shown

Twins = tuple[SimpleNamespace, SimpleNamespace]

IDS = st.sampled_from(
    ["1", "-7", "12345678901234567890", '"a"', r'"\u0061\ud83d\ude00"', "null", "1.5", "{}"]
)
NAMES = st.sampled_from(["name", "uri", "arguments", "_meta", r"n\u0061me", "cursor", "Name"])


@st.composite
def members(draw: st.DrawFn, names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> str:
    """An object with these names, some of them more than once."""
    pairs = draw(st.lists(st.tuples(names, values), max_size=5))
    return (
        "{"
        + ",".join(f'{draw(SPACES)}"{name}"{draw(SPACES)}:{value}{draw(SPACES)}' for name, value in pairs)
        + "}"
    )


PARAMS = members(NAMES, st.sampled_from(['"add"', r'"a\/b"', "{}", '{"a":[1,"}"]}', "1"]) | VALUES)
MEMBERS = st.one_of(
    st.tuples(st.just("id"), IDS),
    st.tuples(st.just("method"), st.sampled_from(['"tools/call"', r'"ping\n"', "1", '"x"'])),
    st.tuples(st.sampled_from(["params", r"p\u0061rams"]), PARAMS | VALUES),
    st.tuples(st.just("result"), PARAMS | VALUES),
    st.tuples(st.just("error"), st.sampled_from(['{"code":1,"message":""}', "{}", "null"])),
    st.tuples(st.sampled_from(["extra", "ID"]), VALUES),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    pairs = [("jsonrpc", draw(st.sampled_from(['"2.0"'] * 8 + [r'"\u0032.0"', '"1.0"'])))]
    pairs += draw(st.lists(MEMBERS, min_size=1, max_size=4, unique_by=lambda pair: pair[0]))
    text = ",".join(
        f'{draw(SPACES)}"{name}"{draw(SPACES)}:{draw(SPACES)}{value}'
        for name, value in draw(st.permutations(pairs))
    )
    return ("{" + text + draw(SPACES) + "}").encode()


BATCHES = st.lists(messages() | VALUES.map(str.encode), max_size=3).map(
    lambda items: b"[" + b",".join(items) + b" ]"
)
FRAMES = st.one_of(
    messages(), messages(), mutated(messages()), mutated(messages()), BATCHES, mutated(BATCHES), ANY_BYTES
)


def parsed(core: SimpleNamespace, frame: bytes, options: dict[str, Any]) -> Any:
    result, *details = outcome(core.parse, frame, **options)
    return shown(details[0]) if result == "returned" else (result, details)


@given(
    frame=FRAMES,
    strict=st.booleans(),
    limits=st.sampled_from([{}, {}, {"max_depth": 3, "max_digits": 6, "max_keys": 3}]),
)
@example(frame=b'{"jsonrpc":"2.0","id":1,"result":[1}}', strict=False, limits={})
@example(frame=b'{"jsonrpc":"2.0","id":1,"method":"x","params":', strict=False, limits={})
def test_parse_comes_to_the_same_in_both_twins(
    twins: Twins, frame: bytes, strict: bool, limits: dict[str, int]
) -> None:
    compiled, pure = twins
    options = {"strict": strict, **limits}
    assert parsed(compiled, frame, options) == parsed(pure, frame, options)


@given(frame=FRAMES)
def test_strict_parsing_is_validation_and_more(core: SimpleNamespace, frame: bytes) -> None:
    """What the parser takes is valid; what is not valid JSON it refuses for the same reason."""
    validated = outcome(core.validate, frame)
    result, *details = outcome(core.parse, frame)
    if validated[0] == "returned":
        assert result in ("returned", "InvalidMessage")
    else:
        assert (result, *details[:-1]) == validated[:-1]


@given(frame=FRAMES)
def test_forwarding_sees_the_same_in_what_is_valid(core: SimpleNamespace, frame: bytes) -> None:
    strict = parsed(core, frame, {"strict": True})
    if isinstance(strict, list):
        assert parsed(core, frame, {"strict": False}) == strict
