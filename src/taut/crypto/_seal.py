"""Messages sealed with one key.

Salt (16 bytes), nonce (12), ciphertext, tag (16). The salt and the key make the message's own key (HKDF-SHA256).
"""

from __future__ import annotations

import secrets
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taut.errors import ConfigError, TautError

__all__ = [
    "KEY_BYTES",
    "OVERHEAD_BYTES",
    "Cipher",
    "Forged",
    "checked_key",
    "decrypt",
    "derive_key",
    "encrypt",
    "hkdf",
    "new_key",
    "seal",
    "unseal",
]

KEY_BYTES = 32
#: How much longer a sealed message is than its plaintext.
OVERHEAD_BYTES = 16 + 12 + 16

_SALT_BYTES = 16
_NONCE_BYTES = 12
_MESSAGE_KEY = b"taut seal, key of one message"

Cipher: TypeAlias = type[AESGCM] | type[ChaCha20Poly1305]


class Forged(TautError):
    """The message was not sealed with this key and this associated data, or was changed since."""


def new_key() -> bytes:
    """Return a random key."""
    return secrets.token_bytes(KEY_BYTES)


def derive_key(secret: bytes, *, purpose: str, salt: bytes = b"") -> bytes:
    """Return the 32-byte key for ``purpose`` from a strong secret (HKDF-SHA256); not for passwords."""
    if len(secret) < KEY_BYTES:
        raise ConfigError(f"secret: expected at least {KEY_BYTES} random bytes, got {len(secret)}")
    return hkdf(secret, salt, purpose.encode())


def seal(key: bytes, plaintext: bytes, *, associated: bytes = b"") -> bytes:
    """Encrypt and authenticate ``plaintext`` (AES-256-GCM); ``associated`` is authenticated, not included."""
    return encrypt(AESGCM, checked_key(key), _MESSAGE_KEY, plaintext, associated)


def unseal(key: bytes, sealed: bytes, *, associated: bytes = b"") -> bytes:
    """Return what `seal` was given. Raises `Forged`."""
    return decrypt(AESGCM, checked_key(key), _MESSAGE_KEY, sealed, associated)


def encrypt(cipher: Cipher, key: bytes, purpose: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Seal with the key of one message, which is good for one cipher and ``purpose``."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    return salt + nonce + cipher(hkdf(key, salt, purpose)).encrypt(nonce, plaintext, associated)


def decrypt(cipher: Cipher, key: bytes, purpose: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Return what `encrypt` was given. Raises `Forged`."""
    if len(sealed) < OVERHEAD_BYTES:
        raise Forged("The sealed message is too short")
    salt, nonce = sealed[:_SALT_BYTES], sealed[_SALT_BYTES : _SALT_BYTES + _NONCE_BYTES]
    try:
        return cipher(hkdf(key, salt, purpose)).decrypt(
            nonce, sealed[_SALT_BYTES + _NONCE_BYTES :], associated
        )
    except InvalidTag:
        raise Forged("The sealed message is not authentic") from None


def checked_key(key: bytes) -> bytes:
    """Return ``key`` if it is as long as keys are."""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    return key


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return a key (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=info).derive(secret)
