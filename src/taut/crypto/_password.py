"""Keys from passwords, and the header by which the password alone makes the same key again.

The header has the function, its costs and the salt; none of them is secret. It also has the key's id: a wrong
password, or a header that somebody changed to make guessing cheap, is noticed before anything is sealed or unsealed.
"""

from __future__ import annotations

import secrets
import unicodedata
from typing import ClassVar, TypeAlias, final

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as _Scrypt

from taut.crypto._seal import KEY_BYTES
from taut.errors import ConfigError, TautError

__all__ = ["Header", "Kdf", "Pbkdf2", "Scrypt", "WrongPassword", "key_from", "new_salt"]

SALT_BYTES = 16
_VERSION = 1


@final
class WrongPassword(TautError):
    """The password is not the one that the header was made with, or the header was changed."""


class Scrypt(msgspec.Struct, frozen=True, tag_field="kdf", tag="scrypt"):
    """scrypt (RFC 7914): takes 128 * n * r bytes of memory, and time in proportion to n * r * p.

    The defaults are OWASP's (Password Storage Cheat Sheet): 128 MiB, and a third of a second or so.
    """

    n: int = 2**17
    r: int = 8
    p: int = 1

    #: More than this is an attempt to keep us busy, or to use up memory.
    max_memory_bytes: ClassVar[int] = 1024**3
    max_p: ClassVar[int] = 64
    min_n: ClassVar[int] = 2**14

    def __post_init__(self) -> None:
        if self.n < 2 or self.n & (self.n - 1) or self.r < 1 or not 1 <= self.p <= self.max_p:
            raise ConfigError(
                f"scrypt: expected n a power of two, r from 1 and p from 1 to {self.max_p}, "
                f"got {self.n}, {self.r} and {self.p}"
            )
        if 128 * self.n * self.r > self.max_memory_bytes:
            raise ConfigError(
                f"scrypt: expected at most {self.max_memory_bytes} bytes of memory, got {128 * self.n * self.r}"
            )

    def check_cost(self) -> None:
        """Raise a `ConfigError` where guessing passwords would be too cheap."""
        if self.n < self.min_n or self.r < 8:
            raise ConfigError(
                f"scrypt: expected n of at least {self.min_n} and r of 8, got {self.n} and {self.r}"
            )

    def derive(self, password: bytes, salt: bytes) -> bytes:
        """Return the key."""
        return _Scrypt(salt=salt, length=KEY_BYTES, n=self.n, r=self.r, p=self.p).derive(password)


class Pbkdf2(msgspec.Struct, frozen=True, tag_field="kdf", tag="pbkdf2-hmac-sha256"):
    """PBKDF2 with HMAC-SHA256 (RFC 8018), where scrypt is not allowed; the default is OWASP's number."""

    iterations: int = 600_000

    min_iterations: ClassVar[int] = 100_000
    max_iterations: ClassVar[int] = 100_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.iterations <= self.max_iterations:
            raise ConfigError(
                f"PBKDF2: expected from 1 to {self.max_iterations} iterations, got {self.iterations}"
            )

    def check_cost(self) -> None:
        """Raise a `ConfigError` where guessing passwords would be too cheap."""
        if self.iterations < self.min_iterations:
            raise ConfigError(
                f"PBKDF2: expected at least {self.min_iterations} iterations, got {self.iterations}"
            )

    def derive(self, password: bytes, salt: bytes) -> bytes:
        """Return the key."""
        return PBKDF2HMAC(SHA256(), length=KEY_BYTES, salt=salt, iterations=self.iterations).derive(password)


Kdf: TypeAlias = Scrypt | Pbkdf2


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What the password makes the key with, and the id of that key."""

    version: int
    kdf: Kdf
    salt: bytes
    key_id: bytes

    @classmethod
    def of(cls, kdf: Kdf, salt: bytes, key_id: bytes) -> Header:
        """Return a header of this version."""
        return cls(_VERSION, kdf, salt, key_id)

    def to_bytes(self) -> bytes:
        """Return it as MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Return the header that `to_bytes` made.

        :raises taut.errors.ConfigError: these bytes are none, or are of a later version, or its costs are absurd.
        """
        try:
            header = msgspec.msgpack.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"Expected the header of a key from a password, got something else: {error}"
            ) from None
        if header.version != _VERSION:
            raise ConfigError(
                f"Header of a key from a password: expected version {_VERSION}, got {header.version}"
            )
        if header.to_bytes() != data:  # a cost under another name would be the default one, unnoticed
            raise ConfigError("Expected the header of a key from a password, got one that was changed")
        return header


def new_salt() -> bytes:
    """Return a random salt."""
    return secrets.token_bytes(SALT_BYTES)


def key_from(password: str | bytes, salt: bytes, kdf: Kdf) -> bytes:
    """Return the key of a password; text is the same in whichever normal form it was typed (RFC 8265, 4.2)."""
    secret = unicodedata.normalize("NFC", password).encode() if isinstance(password, str) else password
    if not secret:
        raise ConfigError("password: expected text, got none")
    return kdf.derive(secret, salt)
