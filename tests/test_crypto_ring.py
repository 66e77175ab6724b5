"""Key rings: keys change and what was sealed stays readable; passwords make the same keys again; nothing is forged."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.crypto import (
    KEY_BYTES,
    Algorithm,
    Forged,
    KeyRing,
    Pbkdf2,
    Scrypt,
    UnknownKey,
    WrongPassword,
    new_key,
    seal,
    unseal,
)
from taut.errors import ConfigError, TautError

OLD, NEW, OTHER = bytes(range(KEY_BYTES)), bytes(range(1, KEY_BYTES + 1)), b"k" * KEY_BYTES
ALGORITHMS: tuple[Algorithm, ...] = ("AES-256-GCM", "ChaCha20-Poly1305")
#: As cheap as it is allowed to be.
CHEAP = Scrypt(2**14)

algorithms = st.sampled_from(ALGORITHMS)


class TestMessages:
    @given(algorithms, st.binary(max_size=300), st.binary(max_size=50))
    def test_what_was_sealed_comes_back(
        self, algorithm: Algorithm, plaintext: bytes, associated: bytes
    ) -> None:
        ring = KeyRing(OLD, algorithm=algorithm)
        sealed = ring.seal(plaintext, associated=associated)
        assert len(sealed) == len(plaintext) + KeyRing.OVERHEAD_BYTES
        # The algorithm is the message's, not the ring's.
        for other in ALGORITHMS:
            assert KeyRing(OLD, algorithm=other).unseal(sealed, associated=associated) == plaintext

    @given(algorithms, st.binary(max_size=40), st.data())
    def test_any_bit_that_flips_is_noticed(
        self, algorithm: Algorithm, plaintext: bytes, data: st.DataObject
    ) -> None:
        sealed = KeyRing(OLD, algorithm=algorithm).seal(plaintext, associated=b"a")
        bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            KeyRing(NEW, OLD).unseal(bytes(changed), associated=b"a")

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_any_cut_and_any_change_is_noticed(self, algorithm: Algorithm) -> None:
        ring = KeyRing(OLD, algorithm=algorithm)
        sealed = ring.seal(b"text", associated=b"a")
        for at in range(len(sealed)):
            for changed in (sealed[:at], sealed[:at] + sealed[at + 1 :], sealed[:at] + b"\0" + sealed[at:]):
                with pytest.raises(Forged):
                    ring.unseal(changed, associated=b"a")
        for associated in (b"", b"b", b"aa"):
            with pytest.raises(Forged, match="not authentic"):
                ring.unseal(sealed, associated=associated)

    @given(st.binary(max_size=200))
    def test_what_was_never_sealed_is_forged(self, anything: bytes) -> None:
        with pytest.raises(Forged):
            KeyRing(OLD).unseal(anything)

    def test_a_header_cannot_be_moved_into_the_associated_data(self) -> None:
        ring = KeyRing(OLD)
        sealed = ring.seal(b"text", associated=b"a")
        with pytest.raises(Forged):
            unseal(OLD, sealed[14:], associated=sealed[:14] + b"a")
        with pytest.raises(Forged):
            ring.unseal(sealed[:14] + seal(OLD, b"text", associated=sealed[:14]))

    def test_one_algorithm_cannot_pass_for_the_other(self) -> None:
        ring = KeyRing(OLD)
        sealed = bytearray(ring.seal(b"text"))
        sealed[5] = 2
        with pytest.raises(Forged, match="not authentic"):
            ring.unseal(bytes(sealed))

    def test_nothing_repeats(self) -> None:
        ring = KeyRing(OLD)
        assert len({ring.seal(b"text")[14:] for _ in range(100)}) == 100

    def test_a_later_format_says_so(self) -> None:
        sealed = bytearray(KeyRing(OLD).seal(b"text"))
        sealed[4] = 9
        with pytest.raises(Forged, match="version 1 and a known algorithm, got 9 and 1"):
            KeyRing(OLD).unseal(bytes(sealed))


class TestRotation:
    def test_older_keys_unseal_and_the_current_one_seals(self) -> None:
        ring = KeyRing(OLD)
        before = ring.seal(b"text", associated=b"a")
        ring.rotate(NEW)
        after = ring.seal(b"text", associated=b"a")
        assert ring.unseal(before, associated=b"a") == ring.unseal(after, associated=b"a") == b"text"
        assert (ring.is_current(before), ring.is_current(after)) == (False, True)
        assert ring.key_ids == (KeyRing(NEW).key_id, KeyRing(OLD).key_id) == KeyRing(NEW, OLD).key_ids

        with pytest.raises(UnknownKey) as raised:
            KeyRing(OLD).unseal(after, associated=b"a")
        assert raised.value.key_id == KeyRing(NEW).key_id
        assert KeyRing(OLD).key_id in str(raised.value)

    def test_a_resealed_message_needs_the_old_key_no_more(self) -> None:
        ring = KeyRing(OLD)
        sealed = ring.seal(b"text", associated=b"a")
        ring.rotate(NEW)
        again = ring.reseal(sealed, associated=b"a")
        assert KeyRing(NEW).unseal(again, associated=b"a") == b"text"
        with pytest.raises(Forged):
            ring.reseal(sealed, associated=b"b")
        with pytest.raises(UnknownKey):
            KeyRing(NEW).reseal(sealed, associated=b"a")

    @given(st.lists(st.sampled_from([OLD, NEW, OTHER]), min_size=1, max_size=6))
    def test_however_often_keys_change_everything_is_readable(self, keys: list[bytes]) -> None:
        ring = KeyRing(new_key())
        sealed = [ring.seal(b"0")]
        for number, key in enumerate(keys, 1):
            ring.rotate(key)
            sealed.append(ring.seal(str(number).encode()))
            assert ring.key_id == KeyRing(key).key_id
        assert [ring.unseal(one) for one in sealed] == [str(n).encode() for n in range(len(keys) + 1)]
        assert len(ring.key_ids) == len(set(keys)) + 1

    def test_a_change_of_the_algorithm_is_a_reason_to_reseal(self) -> None:
        sealed = KeyRing(OLD).seal(b"text")
        assert not KeyRing(OLD, algorithm="ChaCha20-Poly1305").is_current(sealed)
        with pytest.raises(Forged):
            KeyRing(OLD).is_current(b"text")

    def test_mistakes(self) -> None:
        for make in (
            lambda: KeyRing(OLD[1:]),
            lambda: KeyRing(OLD, NEW[1:]),
            lambda: KeyRing(OLD).rotate(b""),
        ):
            with pytest.raises(ConfigError, match="key: expected 32 bytes, got"):
                make()
        with pytest.raises(ConfigError, match="algorithm: expected one of AES-256-GCM, ChaCha20-Poly1305"):
            KeyRing(OLD, algorithm="ROT13")  # type: ignore[arg-type]

    def test_a_ring_does_not_show_its_keys(self) -> None:
        ring = KeyRing(OLD, NEW)
        for shown in (repr(ring), str(ring), ring.key_id):
            assert OLD.hex()[:12] not in shown
            assert repr(OLD)[2:12] not in shown


class TestPasswords:
    @pytest.mark.parametrize("kdf", [CHEAP, Pbkdf2(100_000)])
    def test_the_password_alone_makes_the_key_again(self, kdf: Scrypt | Pbkdf2) -> None:
        ring = KeyRing.from_password("correct horse", kdf=kdf)
        assert ring.header is not None
        sealed = ring.seal(b"text")
        again = KeyRing.unlock("correct horse", ring.header)
        assert again.unseal(sealed) == b"text"
        assert again.header == ring.header
        with pytest.raises(WrongPassword):
            KeyRing.unlock("correct horsf", ring.header)

    def test_each_ring_has_a_salt_of_its_own(self) -> None:
        assert len({KeyRing.from_password("p", kdf=CHEAP).key_id for _ in range(3)}) == 3

    def test_the_costs_are_sound_unless_said_otherwise(self) -> None:
        assert Scrypt() == Scrypt(2**17, 8, 1)
        assert Pbkdf2() == Pbkdf2(600_000)

    @given(st.data())
    def test_no_bit_of_a_header_can_be_changed(self, data: st.DataObject) -> None:
        header = HEADER
        bit = data.draw(st.integers(0, 8 * len(header) - 1))
        changed = bytearray(header)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((WrongPassword, ConfigError)):
            KeyRing.unlock("p", bytes(changed))

    def test_a_cost_under_another_name_is_not_the_default_one(self) -> None:
        for changed in (HEADER.replace(b"\xa1r", b"\xa1q"), HEADER.replace(b"\xa1p", b"\xa1q")):
            assert changed != HEADER
            with pytest.raises(ConfigError, match="one that was changed"):
                KeyRing.unlock("p", changed)

    @given(st.binary(max_size=80))
    def test_what_is_no_header_is_a_mistake(self, anything: bytes) -> None:
        with pytest.raises(ConfigError):
            KeyRing.unlock("p", anything)

    def test_a_hostile_header_cannot_keep_us_busy(self) -> None:
        hostile = (
            {"kdf": "scrypt", "n": 2**30, "r": 8, "p": 1},
            {"kdf": "scrypt", "n": 2**14, "r": 8, "p": 2**20},
            {"kdf": "pbkdf2-hmac-sha256", "iterations": 2**40},
        )
        for kdf in hostile:
            header = msgspec.msgpack.encode([1, kdf, b"s" * 16, b"i" * 8])
            with pytest.raises(ConfigError, match=re.compile("expected", re.IGNORECASE)):
                KeyRing.unlock("p", header)

    def test_a_password_may_replace_another_and_a_key_a_password(self) -> None:
        ring = KeyRing.from_password("old", kdf=CHEAP)
        sealed = ring.seal(b"text")
        ring.rotate(KeyRing.from_password("new", kdf=CHEAP))
        assert ring.header is not None
        moved = ring.reseal(sealed)
        assert KeyRing.unlock("new", ring.header).unseal(moved) == b"text"
        with pytest.raises(WrongPassword):
            KeyRing.unlock("old", ring.header)
        ring.rotate(NEW)
        assert ring.header is None
        assert ring.unseal(sealed) == ring.unseal(moved) == b"text"

    def test_mistakes(self) -> None:
        with pytest.raises(ConfigError, match="at least 16 random bytes, got 4"):
            KeyRing.from_password("p", salt=b"salt", kdf=CHEAP)
        with pytest.raises(ConfigError, match="n of at least 16384"):
            KeyRing.from_password("p", kdf=Scrypt(2**10))
        with pytest.raises(ConfigError, match="at least 100000 iterations"):
            KeyRing.from_password("p", kdf=Pbkdf2(1_000))
        with pytest.raises(ConfigError, match="expected text, got none"):
            KeyRing.from_password("", kdf=CHEAP)
        for make in (lambda: Scrypt(3), lambda: Scrypt(r=0), lambda: Scrypt(2**40), lambda: Pbkdf2(0)):
            with pytest.raises(ConfigError):
                make()
        assert issubclass(WrongPassword, TautError)


#: Of a password, made once: to make one takes long, on purpose.
HEADER = KeyRing.from_password("p", kdf=CHEAP).header or b""
