"""Published vectors through our functions, and messages of the past, which must stay readable."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from taut.crypto import Algorithm, Kdf, KeyRing, Pbkdf2, Scrypt, _seal
from taut.crypto._ring import _WAYS


def run_of(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


@pytest.mark.parametrize(
    ("secret", "salt", "info", "okm"),
    [
        # RFC 5869, A.1 to A.3: the first 32 bytes.
        (
            b"\x0b" * 22,
            run_of(0, 0x0C),
            run_of(0xF0, 0xF9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        (
            run_of(0, 0x4F),
            run_of(0x60, 0xAF),
            run_of(0xB0, 0xFF),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c",
        ),
        (b"\x0b" * 22, b"", b"", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
    ],
)
def test_hkdf(secret: bytes, salt: bytes, info: bytes, okm: str) -> None:
    assert _seal.hkdf(secret, salt, info).hex() == okm


@pytest.mark.parametrize(
    ("kdf", "password", "salt", "key"),
    [
        # RFC 7914, sections 11 and 12: the first 32 bytes.
        (Pbkdf2(1), b"passwd", b"salt", "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
        (
            Pbkdf2(80_000),
            b"Password",
            b"NaCl",
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56",
        ),
        (Scrypt(16, 1, 1), b"", b"", "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"),
        (
            Scrypt(1024, 8, 16),
            b"password",
            b"NaCl",
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
        ),
        (
            Scrypt(16_384, 8, 1),
            b"pleaseletmein",
            b"SodiumChloride",
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
        ),
    ],
)
def test_keys_from_passwords(kdf: Kdf, password: bytes, salt: bytes, key: str) -> None:
    assert kdf.derive(password, salt).hex() == key


SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)


@pytest.mark.parametrize(
    ("algorithm", "key", "nonce", "associated", "plaintext", "sealed"),
    [
        (  # McGrew and Viega, The Galois/Counter Mode of Operation, test case 16
            "AES-256-GCM",
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            bytes.fromhex(
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
            ),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
        ),
        (  # RFC 8439, 2.8.2
            "ChaCha20-Poly1305",
            run_of(0x80, 0x9F).hex(),
            "070000004041424344454647",
            "50515253c0c1c2c3c4c5c6c7",
            SUNSCREEN,
            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
            "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
        ),
    ],
)
def test_ciphers(
    monkeypatch: pytest.MonkeyPatch,
    algorithm: Algorithm,
    key: str,
    nonce: str,
    associated: str,
    plaintext: bytes,
    sealed: str,
) -> None:
    """With a message key and a nonce that are given, what `encrypt` makes is what the cipher's authors say."""
    monkeypatch.setattr(_seal, "hkdf", lambda *of: bytes.fromhex(key))
    monkeypatch.setattr("secrets.token_bytes", lambda n: bytes.fromhex(nonce) if n == 12 else bytes(n))
    made = _seal.encrypt(_WAYS[algorithm].cipher, b"", b"", plaintext, bytes.fromhex(associated))
    assert made.hex() == bytes(16).hex() + nonce + sealed


KEY = run_of(0, 31)
SALT, NONCE = run_of(100, 115), run_of(200, 211)


def expand(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Derive a key as RFC 5869 has it, with the standard library alone."""
    return hmac.digest(hmac.digest(salt or bytes(32), secret, "sha256"), info + b"\x01", "sha256")


@pytest.mark.parametrize(
    ("algorithm", "number", "cipher", "recorded"),
    [
        (
            "AES-256-GCM",
            1,
            AESGCM,
            "746175740101375cb3faefeab3256465666768696a6b6c6d6e6f70717273c8c9cacbcccdcecfd0d1d2d3107d37ca04e4b434317143a59d0c4d3dcb5ab0e543",
        ),
        (
            "ChaCha20-Poly1305",
            2,
            ChaCha20Poly1305,
            "746175740102375cb3faefeab3256465666768696a6b6c6d6e6f70717273c8c9cacbcccdcecfd0d1d2d3ad457494d7090906ff320e20b3cdd81380a66087d1",
        ),
    ],
)
def test_a_message_of_version_1(
    monkeypatch: pytest.MonkeyPatch,
    algorithm: Algorithm,
    number: int,
    cipher: type[AESGCM] | type[ChaCha20Poly1305],
    recorded: str,
) -> None:
    """The format as it is documented, made by other means; and as it was recorded when it was new."""
    header = b"taut" + bytes([1, number]) + expand(KEY, b"", b"taut key ring, id of a key")[:8]
    key = expand(KEY, SALT, f"taut key ring, {algorithm} key of one message".encode())
    made = header + SALT + NONCE + cipher(key).encrypt(NONCE, b"hello", header + b"here")
    assert made.hex() == recorded

    ring = KeyRing(KEY, algorithm=algorithm)
    assert ring.unseal(made, associated=b"here") == b"hello"
    monkeypatch.setattr("secrets.token_bytes", lambda n: SALT if n == 16 else NONCE)
    assert ring.seal(b"hello", associated=b"here") == made


def test_a_password_header_of_version_1() -> None:
    for kdf, header in (
        (
            Scrypt(2**14),
            "940184a36b6466a6736372797074a16ecd4000a17208a17001c4106465666768696a6b6c6d6e6f70717273c4080afd0ec3894c8298",
        ),
        (
            Pbkdf2(100_000),
            "940182a36b6466b270626b6466322d686d61632d736861323536aa697465726174696f6e73ce000186a0c4106465666768696a6b6c6d6e6f70717273c4085d1ae5bfa791afb8",
        ),
    ):
        made = KeyRing.from_password("pässword", salt=SALT, kdf=kdf)
        assert made.header is not None
        assert made.header.hex() == header
        assert KeyRing.unlock("pa\u0308ssword", bytes.fromhex(header)).key_id == made.key_id
