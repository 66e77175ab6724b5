"""Authenticated encryption and key derivation, thin over `cryptography` (the extra ``taut[crypto]``).

Importing this module imports `cryptography`; whoever can do without imports it late. Keys are 32 bytes.
`seal` never uses a key and nonce twice: each message gets a fresh key, derived from the given one and 16
random bytes, so one key may seal any number of messages (a bare AES-GCM key with random nonces is good for
about 2**32).
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taut.errors import ConfigError, TautError

__all__ = ["KEY_BYTES", "OVERHEAD_BYTES", "Forged", "derive_key", "seal", "unseal"]

KEY_BYTES = 32
#: How much longer a sealed message is than its plaintext.
OVERHEAD_BYTES = 16 + 12 + 16

_SALT_BYTES = 16
_NONCE_BYTES = 12
_MESSAGE_KEY = b"taut seal, key of one message"


class Forged(TautError):
    """The message was not sealed with this key and this associated data, or was changed since."""


def derive_key(secret: bytes, *, purpose: str, salt: bytes = b"") -> bytes:
    """Return the 32-byte key for ``purpose`` from a strong secret (HKDF-SHA256); not for passwords."""
    if len(secret) < KEY_BYTES:
        raise ConfigError(f"secret: expected at least {KEY_BYTES} random bytes, got {len(secret)}")
    return _hkdf(secret, salt, purpose.encode())


def seal(key: bytes, plaintext: bytes, *, associated: bytes = b"") -> bytes:
    """Encrypt and authenticate ``plaintext`` (AES-256-GCM); ``associated`` is authenticated, not included."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    return salt + nonce + _cipher(key, salt).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, sealed: bytes, *, associated: bytes = b"") -> bytes:
    """Return what `seal` was given. Raises `Forged`."""
    if len(sealed) < OVERHEAD_BYTES:
        raise Forged("The sealed message is too short")
    salt, nonce = sealed[:_SALT_BYTES], sealed[_SALT_BYTES : _SALT_BYTES + _NONCE_BYTES]
    try:
        return _cipher(key, salt).decrypt(nonce, sealed[_SALT_BYTES + _NONCE_BYTES :], associated)
    except InvalidTag:
        raise Forged("The sealed message is not authentic") from None


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ConfigError(f"key: expected {KEY_BYTES} bytes, got {len(key)}")
    return AESGCM(_hkdf(key, salt, _MESSAGE_KEY))


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=info).derive(secret)
