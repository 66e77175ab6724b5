"""Header fields of a request as bytes, checked before they are sent: nothing in them can end a line early."""

from __future__ import annotations

import re
from collections.abc import Iterable

from taut.errors import ConfigError

__all__ = ["check_fields", "check_request_line", "encode_fields"]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
#: What the connection says itself; two of them would let two readers disagree about where a request ends.
_OURS = re.compile(
    rb"^(?:host|content-length|transfer-encoding|connection|upgrade|te|trailer|expect|keep-alive"
    rb"|proxy-authorization|proxy-connection):",
    re.IGNORECASE | re.MULTILINE,
)


def encode_fields(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return ``pairs`` as the lines of a head.

    :raises taut.errors.ConfigError: a name is no token, a value holds a control character, or the field is one that
        the connection sets.
    """
    lines = []
    for name, value in pairs:
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"Expected a header name like Content-Type, got {name[:100]!r}")
        if not _VALUE.fullmatch(value):
            # The value may be a secret; its name is enough to find it.
            raise ConfigError(
                f"Expected a value without control characters for the header {name.decode('ascii')}"
            )
        lines.append(b"%b: %b\r\n" % (name, value))
    fields = b"".join(lines)
    _refuse_ours(fields)
    return fields


def check_fields(fields: bytes) -> None:
    """Check lines that somebody else has encoded.

    :raises taut.errors.ConfigError: as `encode_fields`.
    """
    if not _FIELDS.fullmatch(fields):
        raise ConfigError(
            "Expected header lines like b'Name: value\\r\\n' without other control characters; "
            "encode_fields makes them"
        )
    _refuse_ours(fields)


def check_request_line(method: bytes, target: bytes) -> None:
    """Check what the first line of a request is made of.

    :raises taut.errors.ConfigError: the method is no token or one whose answer is read differently, or the target is
        no path.
    """
    if not _TOKEN.fullmatch(method) or method in (b"HEAD", b"CONNECT"):
        raise ConfigError(f"Expected a method like GET or POST, got {method[:100]!r}")
    if not _TARGET.fullmatch(target):
        raise ConfigError(
            f"Expected a path that starts with / and has no spaces or control characters, got {target[:100]!r}"
        )


def _refuse_ours(fields: bytes) -> None:
    ours = _OURS.search(fields)
    if ours is not None:
        raise ConfigError(
            f"Expected headers of the request only, got {ours[0][:-1].decode('ascii')}, "
            "which the connection sets by itself"
        )
