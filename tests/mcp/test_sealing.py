"""Sealed request state: given back to whom it was given, for what it was given, and in time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError, InvalidParams
from taut.mcp.sealing import AeadSealer, HmacSealer, InvalidRequestState, StateSealer, digest, new_sealer

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
PARAMS = b'{"name":"t","arguments":{"a":1}}'
BINDING = digest("tools/call", PARAMS)
NOW = 1_800_000_000.0

Make = Callable[[Sequence[bytes]], StateSealer]


@pytest.fixture(params=[HmacSealer, AeadSealer])
def make(request: pytest.FixtureRequest) -> Make:
    return lambda keys: request.param(keys, ttl_s=60)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sealed(sealer: StateSealer, state: bytes = b"state") -> str:
    return sealer.seal(state, principal="alice", binding=BINDING, now=NOW)


def opened(
    sealer: StateSealer, token: str, *, principal: str = "alice", binding: bytes = BINDING, now: float = NOW
) -> bytes:
    return sealer.open(token, principal=principal, binding=binding, now=now)


@pytest.mark.parametrize("state", [b"", b"state", bytes(range(256)) * 40])
def test_state_comes_back(make: Make, state: bytes) -> None:
    sealer = make([KEY])
    token = sealed(sealer, state)
    assert opened(sealer, token) == state
    assert opened(make([KEY]), token) == state  # another worker
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_only_encryption_hides_the_state() -> None:
    def raw(sealer: StateSealer) -> bytes:
        token = sealed(sealer, b"the secret")
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))

    assert b"the secret" in raw(HmacSealer([KEY]))
    assert b"the secret" not in raw(AeadSealer([KEY]))
    assert raw(AeadSealer([KEY])) != raw(AeadSealer([KEY]))


def test_every_single_change_of_the_token_is_noticed(make: Make) -> None:
    sealer = make([KEY])
    token = sealed(sealer)
    for at, character in enumerate(token):
        for other in {"A", "B", "_", "=", "é", chr(ord(character) ^ 1)} - {character}:
            with pytest.raises(InvalidRequestState) as caught:
                opened(sealer, token[:at] + other + token[at + 1 :])
            assert caught.value.code == -32602
    for cut in range(len(token)):
        with pytest.raises(InvalidParams):
            opened(sealer, token[:cut])
    for longer in (token + "A", token + "AAAA", token + "=", "A" + token, token + "\n"):
        with pytest.raises(InvalidParams):
            opened(sealer, longer)


@given(st.text(max_size=120) | st.binary(max_size=90).map(base64url))
def test_garbage_is_refused(token: str) -> None:
    for sealer in (HmacSealer([KEY]), AeadSealer([KEY])):
        with pytest.raises(InvalidRequestState):
            opened(sealer, token)


def test_another_principal_or_request_is_refused(make: Make) -> None:
    sealer = make([KEY])
    token = sealed(sealer)
    for principal in ("", "bob", "alice "):
        with pytest.raises(InvalidRequestState, match="not of this request and principal"):
            opened(sealer, token, principal=principal)
    for binding in (
        b"",
        digest("prompts/get", PARAMS),
        digest("tools/call", b'{"name":"t","arguments":{"a":2}}'),
    ):
        with pytest.raises(InvalidRequestState, match="not of this request and principal"):
            opened(sealer, token, binding=binding)


def test_the_token_expires(make: Make) -> None:
    sealer = make([KEY])
    token = sealed(sealer)
    assert opened(sealer, token, now=NOW + 60) == b"state"
    with pytest.raises(InvalidRequestState, match="expired"):
        opened(sealer, token, now=NOW + 60.5)


def test_the_expiry_of_a_forged_token_is_not_told(make: Make) -> None:
    token = sealed(make([KEY]))
    with pytest.raises(InvalidRequestState, match="not of this request"):
        opened(make([KEY]), token, principal="bob", now=NOW + 1000)


def test_keys_rotate(make: Make) -> None:
    old, new = make([KEY]), make([OTHER, KEY])
    assert opened(new, sealed(old)) == b"state"
    with pytest.raises(InvalidRequestState, match="key that is not in use"):
        opened(old, sealed(new))
    with pytest.raises(InvalidRequestState, match="key that is not in use"):
        opened(make([OTHER]), sealed(old))


def test_without_keys_every_sealer_has_its_own(make: Make) -> None:
    one, two = make([]), make([])
    assert opened(one, sealed(one)) == b"state"
    with pytest.raises(InvalidRequestState):
        opened(two, sealed(one))


def test_a_sealer_refuses_the_tokens_of_the_other_kind() -> None:
    for one, two in ((HmacSealer([KEY]), AeadSealer([KEY])), (AeadSealer([KEY]), HmacSealer([KEY]))):
        with pytest.raises(InvalidRequestState):
            opened(two, sealed(one))
        token = sealed(one)
        raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        raw[0] ^= 3
        with pytest.raises(InvalidRequestState):
            opened(two, base64url(raw))


@pytest.mark.parametrize("keys", [[b"short"], [KEY, b"x" * 33], [b""]])
def test_keys_have_32_bytes(keys: list[bytes]) -> None:
    with pytest.raises(ConfigError, match=r"keys\[\d\]: expected 32 bytes"):
        HmacSealer(keys)
    with pytest.raises(ConfigError, match="ttl_s"):
        HmacSealer([KEY], ttl_s=0)


def test_the_best_sealer_at_hand_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(new_sealer([KEY]), AeadSealer)
    monkeypatch.setitem(sys.modules, "taut.crypto", None)
    monkeypatch.delattr("taut.crypto", raising=False)
    assert isinstance(new_sealer([KEY]), HmacSealer)
    with pytest.raises(ImportError):
        AeadSealer([KEY])


def test_importing_the_module_does_not_import_cryptography() -> None:
    code = (
        "import sys, taut.mcp.sealing; sys.exit('cryptography' in sys.modules or 'time' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


# --- digest ---


@pytest.mark.parametrize(
    "retry",
    [
        b'{"arguments" : {"a": 1}, "name": "\\u0074"}',
        b'{"name":"t","arguments":{"a":1},"_meta":{"x":1}}',
        b'{"name":"t","requestState":"s","arguments":{"a":1},"inputResponses":{"k":{"action":"accept"}}}',
    ],
)
def test_a_retry_has_the_same_digest(retry: bytes) -> None:
    assert digest("tools/call", retry) == BINDING
    assert digest("tools/call", memoryview(retry)) == BINDING


@pytest.mark.parametrize(
    "params",
    [
        b"{}",
        b'{"name":"t"}',
        b'{"name":"u","arguments":{"a":1}}',
        b'{"name":"t","arguments":{"a":1.0}}',
        b'{"name":"t","arguments":{"a":"1"}}',
        b'{"name":"t","arguments":{"a":[1]}}',
        b'{"name":"t","arguments":{"a":1,"_meta":{}}}',
        b'{"name":"t","arguments":{"a":1,"requestState":"s"}}',
        b'{"name":"t","arguments":{"a":1},"_Meta":{}}',
    ],
)
def test_other_params_have_another_digest(params: bytes) -> None:
    assert digest("tools/call", params) != BINDING
    assert digest("tools/call", params) != digest("tools/cal", params)


def test_the_digest_sees_every_digit() -> None:
    numbers = [
        b"1",
        b"1.0",
        b"1e0",
        b"0.1",
        b"0.10000000000000000001",
        b"18446744073709551616",
        b"18446744073709551617",
        b"-0",
        b"0",
    ]
    assert len({digest("m", b'{"n":%s}' % number) for number in numbers}) >= len(numbers) - 1  # -0 may be 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.text(max_size=4), JSON, max_size=4),
    st.dictionaries(st.text(max_size=4), JSON, max_size=4),
)
def test_equal_params_and_no_others_have_equal_digests(
    one: dict[str, object], two: dict[str, object]
) -> None:
    def text(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")

    backwards = dict(reversed(one.items()))
    assert digest("m", text(one)) == digest("m", json.dumps(backwards, indent=2).encode())
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (digest("m", text(one)) == digest("m", text(two))) == same
