"""Keys that change: one to seal with, and the older ones to unseal with.

A message is: magic (4 bytes), version (1), algorithm (1), key id (8), and what `taut.crypto._seal.encrypt` makes. The
first four are its header, which is authenticated with it. A key's id is derived from the key, and says nothing about
it.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple, TypeAlias, final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from taut.crypto._password import SALT_BYTES, Header, Kdf, Scrypt, WrongPassword, key_from, new_salt
from taut.crypto._seal import OVERHEAD_BYTES, Cipher, Forged, checked_key, decrypt, encrypt, hkdf
from taut.errors import ConfigError

__all__ = ["Algorithm", "KeyRing", "UnknownKey"]

Algorithm: TypeAlias = Literal["AES-256-GCM", "ChaCha20-Poly1305"]

MAGIC = b"taut"
_VERSION = 1
_LAYOUT = struct.Struct(">4sBB8s")
_KEY_ID = b"taut key ring, id of a key"
_KEY_ID_BYTES = 8


class _Way(NamedTuple):
    """An algorithm: its number in headers, and what the key of one message is derived for."""

    number: int
    cipher: Cipher
    purpose: bytes


_WAYS: dict[Algorithm, _Way] = {
    "AES-256-GCM": _Way(1, AESGCM, b"taut key ring, AES-256-GCM key of one message"),
    "ChaCha20-Poly1305": _Way(2, ChaCha20Poly1305, b"taut key ring, ChaCha20-Poly1305 key of one message"),
}
_BY_NUMBER = {way.number: way for way in _WAYS.values()}


class _Keys(NamedTuple):
    current: bytes
    by_id: dict[bytes, bytes]
    header: bytes | None


@final
class UnknownKey(Forged):
    """The message names a key that is not in the ring: one of another ring, or dropped too early. Or it was changed.

    ``key_id`` is the id that it names.
    """

    def __init__(self, message: str, key_id: str) -> None:
        super().__init__(message)
        self.key_id = key_id


@final
class KeyRing:
    """Seals with the current key, unseals with all of them. For any thread.

    To change the key of what is kept: `rotate`, seal everything anew (`reseal`), and make the ring without the old key
    from then on.

    :param older: keys that some messages are still sealed with.
    :param algorithm: what new messages are sealed by; older ones say it themselves.
    :raises taut.errors.ConfigError: a key that is no 32 bytes, or an algorithm that is none.
    """

    #: How much longer a sealed message is than its plaintext.
    OVERHEAD_BYTES = _LAYOUT.size + OVERHEAD_BYTES

    def __init__(self, current: bytes, *older: bytes, algorithm: Algorithm = "AES-256-GCM") -> None:
        if algorithm not in _WAYS:
            raise ConfigError(f"algorithm: expected one of {', '.join(_WAYS)}, got {algorithm}")
        self._way = _WAYS[algorithm]
        by_id = {_id_of(key): bytes(key) for key in (current, *older)}
        # Replaced as a whole: `rotate` may be called while another thread seals.
        self._keys = _Keys(next(iter(by_id)), by_id, None)

    @classmethod
    def from_password(
        cls,
        password: str | bytes,
        *,
        salt: bytes | None = None,
        kdf: Kdf = Scrypt(),  # noqa: B008 - frozen
        algorithm: Algorithm = "AES-256-GCM",
    ) -> KeyRing:
        """Return a ring with the key of a password. Keep its `header` with what it seals: `unlock` needs it.

        This takes as long as guessing one password is to take, and blocks; call it in a thread where that matters.

        :param salt: at least 16 random bytes; None makes them.
        :raises taut.errors.ConfigError: the salt is too short, guessing is too cheap, or there is no password.
        """
        salt = new_salt() if salt is None else salt
        if len(salt) < SALT_BYTES:
            raise ConfigError(f"salt: expected at least {SALT_BYTES} random bytes, got {len(salt)}")
        kdf.check_cost()
        ring = cls(key_from(password, salt, kdf), algorithm=algorithm)
        ring._keys = ring._keys._replace(header=Header.of(kdf, salt, ring._keys.current).to_bytes())
        return ring

    @classmethod
    def unlock(cls, password: str | bytes, header: bytes, *, algorithm: Algorithm = "AES-256-GCM") -> KeyRing:
        """Return the ring that `from_password` made ``header`` for. Blocks, as that does.

        :raises WrongPassword: it was another password, or the header was changed.
        :raises taut.errors.ConfigError: this is no such header.
        """
        read = Header.from_bytes(header)
        ring = cls(key_from(password, read.salt, read.kdf), algorithm=algorithm)
        if ring._keys.current != read.key_id:
            raise WrongPassword("The password is wrong, or the header that belongs to it was changed")
        ring._keys = ring._keys._replace(header=header)
        return ring

    @property
    def header(self) -> bytes | None:
        """What `unlock` needs besides the password; None if the current key is not of a password."""
        return self._keys.header

    @property
    def key_id(self) -> str:
        """The id of the current key."""
        return self._keys.current.hex()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the current one first."""
        keys = self._keys
        return (keys.current.hex(), *(one.hex() for one in keys.by_id if one != keys.current))

    def rotate(self, new: bytes | KeyRing) -> None:
        """Seal with ``new`` from now on, and go on to unseal with the keys that there are.

        A ring brings all its keys, and the header of its password.
        """
        ring = new if isinstance(new, KeyRing) else KeyRing(new)
        keys = ring._keys
        self._keys = _Keys(keys.current, {**keys.by_id, **self._keys.by_id}, keys.header)

    def seal(self, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt and authenticate ``plaintext``; ``associated`` is authenticated, not included."""
        keys, way = self._keys, self._way
        header = _LAYOUT.pack(MAGIC, _VERSION, way.number, keys.current)
        key = keys.by_id[keys.current]
        return header + encrypt(way.cipher, key, way.purpose, plaintext, header + associated)

    def unseal(self, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Return what `seal` was given.

        :raises UnknownKey: the ring has no such key.
        :raises Forged: the message, its header or ``associated`` is not what it was.
        """
        way, key_id = _read_header(sealed)
        keys = self._keys
        key = keys.by_id.get(key_id)
        if key is None:
            raise UnknownKey(
                f"Expected a message of one of the keys {', '.join(self.key_ids)}, got one of {key_id.hex()}",
                key_id.hex(),
            )
        header, body = sealed[: _LAYOUT.size], sealed[_LAYOUT.size :]
        return decrypt(way.cipher, key, way.purpose, body, header + associated)

    def is_current(self, sealed: bytes) -> bool:
        """Tell whether a message was sealed with the current key and algorithm. Raises `Forged` if it is no message."""
        way, key_id = _read_header(sealed)
        return way is self._way and key_id == self._keys.current

    def reseal(self, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Return the message sealed with the current key. Raises as `unseal` does."""
        return self.seal(self.unseal(sealed, associated=associated), associated=associated)

    def __repr__(self) -> str:
        return f"KeyRing(key_ids={self.key_ids})"


def _id_of(key: bytes) -> bytes:
    return hkdf(checked_key(key), b"", _KEY_ID)[:_KEY_ID_BYTES]


def _read_header(sealed: bytes) -> tuple[_Way, bytes]:
    if len(sealed) < KeyRing.OVERHEAD_BYTES:
        raise Forged("The sealed message is too short")
    magic, version, number, key_id = _LAYOUT.unpack_from(sealed)
    if magic != MAGIC:
        raise Forged("Expected a message that a key ring has sealed, got something else")
    way = _BY_NUMBER.get(number)
    if version != _VERSION or way is None:
        raise Forged(
            f"Expected a sealed message of version {_VERSION} and a known algorithm, got {version} and {number}: "
            "it was changed, or sealed by a later release"
        )
    return way, key_id
