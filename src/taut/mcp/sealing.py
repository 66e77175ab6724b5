"""Request state that a client carries for us and cannot change: sealed, bound and dated.

A multi-round-trip request leaves its state with the client, which must be treated as hostile.
`StateSealer.seal` binds the state to the principal, to a digest of method and params, and to a time; `open`
gives it back for exactly these, and raises `InvalidRequestState` (-32602) for anything else. A token may be
presented again until it expires: state that must be used once needs a record on the server.

Two sealers make one token format. `AeadSealer` encrypts (AES-256-GCM, with ``taut[crypto]``). `HmacSealer`
needs the standard library only and signs: the client *can read* the state, and cannot forge it. `new_sealer`
takes the best at hand. Neither accepts the other's tokens, nor anything that was sealed for another purpose
with the same key.

Keys are 32 bytes. The first one seals; all of them open, so to rotate, put the new key first and drop the old
one when the last token has expired. Without keys a random one is made: tokens then end with the process, and
*several workers need a shared key*. Time comes in as seconds since the epoch; nothing here reads a clock.

Token, before base64url without padding: version (1 byte), key id (4), expiry in seconds (8), then ciphertext,
or state and tag (32). The header, principal and binding are authenticated with it.
"""

from __future__ import annotations

import abc
import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec
from msgspec import Raw

from taut.errors import ConfigError, InvalidParams

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AeadSealer", "HmacSealer", "InvalidRequestState", "StateSealer", "digest", "new_sealer"]

KEY_BYTES: Final = 32
DEFAULT_TTL_S: Final = 600.0

_HEADER = struct.Struct(">B4sQ")
_KEY_ID_BYTES = 4
_TAG_BYTES = 32
#: Members that a retry carries anew.
_VOLATILE = ("_meta", "inputResponses", "requestState")


class InvalidRequestState(InvalidParams):
    """The request state is malformed, expired, of another key, or not of this principal and request."""


class StateSealer(Protocol):
    """Seals state for one principal and one request; implement it to keep the state elsewhere."""

    def seal(self, state: bytes, *, principal: str, binding: bytes, now: float) -> str:
        """Return the token that a client shall carry."""

    def open(self, token: str, *, principal: str, binding: bytes, now: float) -> bytes:
        """Return the state. Raises `InvalidRequestState`."""


def digest(method: str, params: Buffer) -> bytes:
    """Return the binding of a request: the same for its retry, another for any other method or params.

    ``params`` is a JSON object that has been validated.

    Insensitive to ``_meta``, ``inputResponses`` and ``requestState`` of the params, to white space and to the
    order of members; sensitive to everything else, to the last digit of a number.
    """
    members = _DECODER.decode(params)
    for name in _VOLATILE:
        members.pop(name, None)
    return hashlib.sha256(method.encode() + b"\0" + _ENCODER.encode(members)).digest()


# Floats keep their text: two numbers that only a Decimal or a raw parameter tells apart are different params.
_DECODER = msgspec.json.Decoder(dict[str, object], float_hook=lambda text: Raw(text.encode()))
_ENCODER = msgspec.json.Encoder(order="sorted")


def new_sealer(keys: Sequence[bytes] = (), *, ttl_s: float = DEFAULT_TTL_S) -> StateSealer:
    """Return an `AeadSealer`, or an `HmacSealer` where `cryptography` is not installed."""
    try:
        return AeadSealer(keys, ttl_s=ttl_s)
    except ImportError:
        return HmacSealer(keys, ttl_s=ttl_s)


class _Sealer(abc.ABC):
    """The token format, key choice and dating; a subclass protects the state."""

    _version: int
    _purpose: bytes

    def __init__(self, keys: Sequence[bytes] = (), *, ttl_s: float = DEFAULT_TTL_S) -> None:
        if ttl_s <= 0:
            raise ConfigError(f"ttl_s: expected more than 0, got {ttl_s:g}")
        for at, key in enumerate(keys):
            if len(key) != KEY_BYTES:
                raise ConfigError(f"keys[{at}]: expected {KEY_BYTES} bytes, got {len(key)}")
        self._ttl_s = ttl_s
        # A key for each version: no token is worth anything to another algorithm or another use of the key.
        roots = keys or (secrets.token_bytes(KEY_BYTES),)
        derived = [hmac.digest(key, self._purpose, "sha256") for key in roots]
        self._keys = {hashlib.sha256(key).digest()[:_KEY_ID_BYTES]: key for key in derived}
        self._current = next(iter(self._keys))

    def seal(self, state: bytes, *, principal: str, binding: bytes, now: float) -> str:
        """Return the token that a client shall carry, good for ``ttl_s`` from ``now``."""
        header = _HEADER.pack(self._version, self._current, ceil(now + self._ttl_s))
        body = self._protect(self._keys[self._current], state, _associated(header, principal, binding))
        return base64.urlsafe_b64encode(header + body).rstrip(b"=").decode()

    def open(self, token: str, *, principal: str, binding: bytes, now: float) -> bytes:
        """Return the state sealed for ``principal`` and ``binding``. Raises `InvalidRequestState`."""
        raw = _from_base64url(token)
        header, body = raw[: _HEADER.size], raw[_HEADER.size :]
        if len(header) < _HEADER.size:
            raise InvalidRequestState("Invalid requestState: too short")
        version, key_id, expires_at = _HEADER.unpack(header)
        key = self._keys.get(key_id)
        if version != self._version or key is None:
            raise InvalidRequestState("Invalid requestState: sealed with a key that is not in use")
        state = self._verify(key, body, _associated(header, principal, binding))
        if state is None:
            raise InvalidRequestState("Invalid requestState: changed, or not of this request and principal")
        if now > expires_at:  # only an authentic token may tell that it expired
            raise InvalidRequestState("Invalid requestState: expired; start the request again")
        return state

    @abc.abstractmethod
    def _protect(self, key: bytes, state: bytes, associated: bytes) -> bytes:
        """Return the body of a token."""

    @abc.abstractmethod
    def _verify(self, key: bytes, body: bytes, associated: bytes) -> bytes | None:
        """Return the state in ``body``, or None when it is not authentic."""


@final
class HmacSealer(_Sealer):
    """Signs with HMAC-SHA256 from the standard library: the client can read the state, but not forge it."""

    _version = 1
    _purpose = b"taut request state, HMAC-SHA256"

    def _protect(self, key: bytes, state: bytes, associated: bytes) -> bytes:
        return state + hmac.digest(key, associated + state, "sha256")

    def _verify(self, key: bytes, body: bytes, associated: bytes) -> bytes | None:
        state, tag = body[:-_TAG_BYTES], body[-_TAG_BYTES:]
        return state if hmac.compare_digest(tag, hmac.digest(key, associated + state, "sha256")) else None


@final
class AeadSealer(_Sealer):
    """Encrypts with AES-256-GCM. Raises ImportError on construction where `cryptography` is not installed."""

    _version = 2
    _purpose = b"taut request state, AES-256-GCM"

    def __init__(self, keys: Sequence[bytes] = (), *, ttl_s: float = DEFAULT_TTL_S) -> None:
        from taut import crypto  # late: cryptography is optional and takes 20 ms to import

        self._crypto = crypto
        super().__init__(keys, ttl_s=ttl_s)

    def _protect(self, key: bytes, state: bytes, associated: bytes) -> bytes:
        return self._crypto.seal(key, state, associated=associated)

    def _verify(self, key: bytes, body: bytes, associated: bytes) -> bytes | None:
        try:
            return self._crypto.unseal(key, body, associated=associated)
        except self._crypto.Forged:
            return None


def _associated(header: bytes, principal: str, binding: bytes) -> bytes:
    """Join what is authenticated, unambiguously: only the binding varies in length, and says it."""
    name = hashlib.sha256(principal.encode("utf-8", "surrogatepass")).digest()
    return header + name + len(binding).to_bytes(4, "big") + binding


def _from_base64url(token: str) -> bytes:
    """Decode the one spelling that `seal` makes: unused bits must be zero, or a changed token could pass."""
    try:
        text = token.encode("ascii")
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise InvalidRequestState("Invalid requestState: not base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != text:
        raise InvalidRequestState("Invalid requestState: not base64url")
    return raw
