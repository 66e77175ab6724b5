"""Authenticated encryption and key derivation, thin over `cryptography` (the extra ``taut[crypto]``).

Importing this package imports `cryptography`; whoever can do without imports it late. Keys are 32 bytes. Nothing here
uses a key and nonce twice: each message gets a fresh key, derived from the given one and 16 random bytes, so one key
may seal any number of messages (a bare AES-GCM key with random nonces is good for about 2**32).

`seal` and `unseal` take one key, and what they make says nothing of itself: it is for what is read soon, by who made
it. `KeyRing` is for what is kept: its messages say which key and algorithm they were sealed with, so that keys can be
changed; and its keys may come from a password.
"""

from __future__ import annotations

from taut.crypto._password import Kdf, Pbkdf2, Scrypt, WrongPassword
from taut.crypto._ring import Algorithm, KeyRing, UnknownKey
from taut.crypto._seal import KEY_BYTES, OVERHEAD_BYTES, Forged, derive_key, new_key, seal, unseal

__all__ = [
    "KEY_BYTES",
    "OVERHEAD_BYTES",
    "Algorithm",
    "Forged",
    "Kdf",
    "KeyRing",
    "Pbkdf2",
    "Scrypt",
    "UnknownKey",
    "WrongPassword",
    "derive_key",
    "new_key",
    "seal",
    "unseal",
]
