"""How a body stands in a file: plain, or sealed with a ring of keys and bound to its place.

The place (a kind, and what tells one of its kind from another) is authenticated with the body, so that nobody can put
the body of one row into another one. What sealing does not hide is how many rows there are, their sizes and times, and
what is stored to be searched for: the ids of sessions, runs and blobs, names of agents, states of runs. Nor does it
tell whether rows, or the whole file, are older ones that stood in the same place, or whether the last rows are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import msgspec

from taut.errors import ConfigError

if TYPE_CHECKING:
    from taut.crypto import KeyRing

__all__ = ["Bodies"]

#: Begins a plain body. A sealed one begins with the magic of a ring.
_PLAIN = b"\0"


@final
class Bodies:
    """Wraps and unwraps bodies: all sealed if there are keys, all plain if there are none."""

    def __init__(self, keys: KeyRing | None) -> None:
        self.keys = keys

    def wrap(self, plain: bytes, kind: str, *place: str | int) -> bytes:
        """Return what stands in the file."""
        if self.keys is None:
            return _PLAIN + plain
        return self.keys.seal(plain, associated=_encode((kind, *place)))

    def unwrap(self, body: bytes, kind: str, *place: str | int, where: str = "") -> bytes:
        """Return what `wrap` was given, with the same place. ``where`` names it in errors.

        :raises taut.crypto.Forged: it was sealed elsewhere, or changed; `taut.crypto.UnknownKey` where the key is not
            in the ring.
        :raises taut.errors.ConfigError: it is sealed, and there are no keys; or it is no body at all.
        """
        where = where or f"{kind} {', '.join(map(repr, place))}"
        if not isinstance(body, bytes):  # SQLite keeps anything in any column
            raise ConfigError(f"{where} is damaged: expected bytes, got {type(body).__name__}")
        if self.keys is None:
            if body[:1] != _PLAIN:
                raise ConfigError(f"{where} is sealed: expected keys, got none")
            return body[1:]

        from taut.crypto import Forged, UnknownKey  # late; there are keys, so it is loaded

        try:
            return self.keys.unseal(body, associated=_encode((kind, *place)))
        except UnknownKey as error:
            raise UnknownKey(f"{where}: {error}", error.key_id) from None
        except Forged as error:
            raise Forged(f"{where}: {error}") from None

    def is_plain(self, body: bytes) -> bool:
        """Tell whether a body is not sealed."""
        return body[:1] == _PLAIN

    def rewrap(self, old: Bodies, body: bytes, kind: str, *place: str | int) -> bytes | None:
        """Return a body of ``old`` as `wrap` makes it here; None if it is that already. Raises as `unwrap` does."""
        if self.keys is not None and not self.is_plain(body) and self.keys.is_current(body):
            return None
        return self.wrap(old.unwrap(body, kind, *place), kind, *place)


_encode = msgspec.msgpack.Encoder().encode
