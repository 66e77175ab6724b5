"""The headers of a client's requests, for each era, encoded once for as long as they stay the same.

What travels in a header of its own in the modern era (2026-07-28, "Streamable HTTP") says what the body says, so that
intermediaries need not read bodies: the revision, the method, the name of what is called, and arguments that a tool
marks. In the legacy era it is the session, and the revision once that is agreed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from taut.errors import ConfigError
from taut.mcp.http.values import encode_value

__all__ = ["RequestHeaders", "name_of", "session_id"]

#: Method -> the member of its params that ``Mcp-Name`` mirrors, in Python and in JSON.
_NAMED = {
    "tools/call": ("name", "name"),
    "prompts/get": ("name", "name"),
    "resources/read": ("uri", "uri"),
    "tasks/get": ("task_id", "taskId"),
    "tasks/update": ("task_id", "taskId"),
    "tasks/cancel": ("task_id", "taskId"),
}
#: Heads that are remembered, by method and name.
MAX_KNOWN = 1_024
#: Bytes of a session's id; the specification asks for visible ASCII, and leaves the length open.
MAX_SESSION_ID = 1_024

_BOTH = b"accept: application/json, text/event-stream\r\n"
_POST = b"content-type: application/json\r\n" + _BOTH
_GET = b"accept: text/event-stream\r\ncache-control: no-store\r\n"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SESSION = re.compile(rb"[\x21-\x7e]+")
#: What this module and the connection below it say themselves.
_OURS = re.compile(
    "accept|connection|content-(?:length|type)|expect|host|keep-alive|last-event-id|te|trailer|transfer-encoding"
    "|upgrade|(?:mcp|proxy)-.*"
)


def session_id(raw: bytes | None) -> bytes | None:
    """Return the session's id of an answer to ``initialize``; None where there is no session.

    :raises taut.errors.ConfigError: it is one that no header can carry.
    """
    if raw is None:
        return None
    if len(raw) > MAX_SESSION_ID or not _SESSION.fullmatch(raw):
        raise ConfigError(
            f"Expected a session id of at most {MAX_SESSION_ID} visible ASCII characters, got {raw[:40]!r}"
        )
    return raw


def name_of(method: str, params: Any) -> str | None:
    """Return what ``Mcp-Name`` has to say; None where the method has no such header."""
    members = _NAMED.get(method)
    if members is None:
        return None
    value = params.get(members[1]) if isinstance(params, dict) else getattr(params, members[0], None)
    return value if isinstance(value, str) else None


class RequestHeaders:
    """The heads of one client's requests: ``name: value`` lines, each with its CRLF.

    ``own`` are headers that every request carries besides.

    :raises taut.errors.ConfigError: one of them is malformed, or none that a caller may set.
    """

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._own = b"".join(_line(name, value) for name, value in (own or {}).items())
        self._authorization = b""
        self._revision: str | None = None
        self._modern = False
        self._session: bytes | None = None
        self._known: dict[tuple[str, str | None], bytes] = {}

    # -- what changes them

    def speak(self, revision: str | None, *, modern: bool) -> None:
        """Name ``revision``; None while the legacy one is not agreed."""
        self._revision = revision
        self._modern = modern
        self._known.clear()

    def authorize(self, token: str | None) -> None:
        """Present a bearer token (RFC 6750), or none.

        :raises taut.errors.ConfigError: a header cannot carry it.
        """
        if token is None:
            self._authorization = b""
        elif not token or not _VALUE.fullmatch(token) or token.strip() != token:
            # The token itself is a secret.
            raise ConfigError("Expected a token of characters that a header can carry")
        else:
            self._authorization = b"authorization: Bearer %b\r\n" % token.encode("latin-1")
        self._known.clear()

    @property
    def session(self) -> bytes | None:
        """The legacy session that requests belong to."""
        return self._session

    @session.setter
    def session(self, value: bytes | None) -> None:
        self._session = value
        self._known.clear()

    # -- the heads

    def post(self, method: str, name: str | None = None) -> bytes:
        """Return the head of a request."""
        key = (method, name)
        head = self._known.get(key)
        if head is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            head = self._known[key] = self._encode(method, name)
        return head

    def _encode(self, method: str, name: str | None) -> bytes:
        parts = [_POST, self._common()]
        if self._modern:
            parts.append(b"mcp-method: %b\r\n" % encode_value(method))
            if name is not None:
                parts.append(b"mcp-name: %b\r\n" % encode_value(name))
        return b"".join(parts)

    def message(self) -> bytes:
        """Return the head of a notification or of an answer to the server, which only the legacy era has."""
        return _POST + self._common()

    def listen(self, last_event_id: str | None = None) -> bytes:
        """Return the head of a GET for a stream of events, from the beginning or behind one of them."""
        at = b"" if last_event_id is None else b"last-event-id: %b\r\n" % last_event_id.encode()
        return _GET + self._common() + at

    def end(self) -> bytes:
        """Return the head of the DELETE that ends the session."""
        return self._common()

    def _common(self) -> bytes:
        revision = (
            b"" if self._revision is None else b"mcp-protocol-version: %b\r\n" % self._revision.encode()
        )
        session = b"" if self._session is None else b"mcp-session-id: %b\r\n" % self._session
        return b"".join((revision, session, self._authorization, self._own))


def _line(name: str, value: str) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ConfigError(f"Expected a header's name like X-Tenant, got {name[:100]!r}")
    lower = name.lower()
    if _OURS.fullmatch(lower):
        raise ConfigError(f"Expected headers of your own only, got {name}, which the client sets by itself")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        # The value may be a secret; its name is enough to find it.
        raise ConfigError(f"Expected text without control characters for the header {name}")
    return b"%b: %b\r\n" % (lower.encode(), value.strip(" \t").encode("latin-1"))
