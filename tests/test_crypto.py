"""Authenticated encryption: what was sealed comes back, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.crypto import KEY_BYTES, OVERHEAD_BYTES, Forged, derive_key, seal, unseal
from taut.errors import ConfigError, TautError

KEY = bytes(range(KEY_BYTES))


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_what_was_sealed_comes_back(plaintext: bytes, associated: bytes) -> None:
    sealed = seal(KEY, plaintext, associated=associated)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert unseal(KEY, sealed, associated=associated) == plaintext


def test_any_change_is_noticed() -> None:
    sealed = seal(KEY, b"text", associated=b"a")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(Forged):
            unseal(KEY, changed, associated=b"a")
        with pytest.raises(Forged):
            unseal(KEY, sealed[:at], associated=b"a")
    for key, associated in ((KEY, b"b"), (KEY, b""), (KEY[::-1], b"a")):
        with pytest.raises(TautError):
            unseal(key, sealed, associated=associated)


def test_nothing_repeats() -> None:
    assert seal(KEY, b"text")[28:] != seal(KEY, b"text")[28:]


def test_keys_have_the_right_length() -> None:
    with pytest.raises(ConfigError, match="expected 32 bytes, got 31"):
        seal(KEY[1:], b"")
    with pytest.raises(ConfigError, match="at least 32 random bytes"):
        derive_key(b"password", purpose="x")


def test_derived_keys_differ_by_purpose_salt_and_secret() -> None:
    secret = b"s" * 40
    keys = {
        derive_key(secret, purpose="a"),
        derive_key(secret, purpose="b"),
        derive_key(secret, purpose="a", salt=b"x"),
        derive_key(b"t" * 40, purpose="a"),
    }
    assert len(keys) == 4
    assert {len(key) for key in keys} == {KEY_BYTES}
    assert derive_key(secret, purpose="a") == derive_key(secret, purpose="a")
