"""The limits that stand on every input path, with their defaults and the reason for each.

A limit that is passed gives an error that names it (`taut.errors.LimitExceeded`, ``data.limit``), and the
connection lives on. All are per connection.
"""

from __future__ import annotations

import msgspec

from taut.errors import ConfigError

__all__ = ["DEFAULT_LIMITS", "Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one peer may ask of us. Raise or lower a limit with ``Limits(max_depth=64)``.

    :raises ConfigError: a limit is not positive.
    """

    #: Bytes of one message. Screenshots and documents travel as base64, so this is generous;
    #: the memory is taken as the bytes arrive, not in advance.
    max_message_bytes: int = 128 * 1024 * 1024
    #: Nesting of arrays and objects, the message itself being 1.
    max_depth: int = 128
    #: Digits of one number: what CPython itself converts (CVE-2020-10735).
    max_digits: int = 4300
    #: Members of one object.
    max_keys: int = 65_536
    #: Requests of the peer that wait for our answer; more are refused, not queued.
    max_in_flight: int = 16_384
    #: Bytes that wait for a peer that does not read; reading from it pauses at this point.
    max_unsent_bytes: int = 8 * 1024 * 1024
    #: Messages of one batch (2025-03-26 only).
    max_batch: int = 1_000
    #: Resource subscriptions and open ``subscriptions/listen`` streams of one peer.
    max_subscriptions: int = 1_024
    #: Rounds of one multi-round-trip request.
    max_rounds: int = 16

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value <= 0:
                raise ConfigError(f"Expected a positive limit for {name}, got {value}")


DEFAULT_LIMITS = Limits()
