"""The ``WWW-Authenticate`` header: what a server wants to see before it answers (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re

__all__ = ["Challenge", "read_challenges"]

#: A scheme in lower case, and its parameters by lower-case name. A lone token68 is under the empty name.
Challenge = tuple[str, dict[str, str]]

#: A header that is longer than this is not read.
MAX_BYTES = 16 * 1024

_SPACE = re.compile(r"[ \t,]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9\-._~+/]+=*)[ \t]*(?=,|$)")
_ESCAPE = re.compile(r"\\(.)")


def read_challenges(raw: bytes | None) -> tuple[Challenge, ...]:
    """Return the challenges of the header, as far as they can be read. Repeated headers are joined with commas."""
    if raw is None or len(raw) > MAX_BYTES:
        return ()
    text = raw.decode("latin-1")
    challenges: list[Challenge] = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing as well
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            break
        at = token.end()
        equals = _EQUALS.match(text, at)
        if equals is not None and challenges:
            value, at = _value(text, equals.end())
            if value is None:
                break
            challenges[-1][1].setdefault(token[0].lower(), value)
        else:
            challenges.append((token[0].lower(), {}))
            lone = _TOKEN68.match(text, at)
            if lone is not None:
                challenges[-1][1][""] = lone[1]
                at = lone.end()
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the same
    return tuple(challenges)


def _value(text: str, at: int) -> tuple[str | None, int]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted[1]), quoted.end()
    token = _TOKEN.match(text, at)
    return (None, at) if token is None else (token[0], token.end())
