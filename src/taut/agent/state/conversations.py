"""Where conversations are kept, by the id of their session: the protocol of a store, and the store in memory.

A store knows nothing of what is said. It keeps the order, and it lets nobody write over what he has not seen: who
writes says how many messages he has seen (``expected``), and a `Conflict` has both numbers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from taut.agent.state.errors import Conflict, StoreFull
from taut.errors import ConfigError
from taut.llm.messages import Message

__all__ = ["ConversationStore", "MemoryConversationStore", "SessionInfo"]

MAX_MESSAGES = 10_000
MAX_BYTES = 64 * 1024 * 1024


class SessionInfo(msgspec.Struct, frozen=True):
    """A session, from outside. ``bytes``: what its messages take, encoded. ``updated``: in seconds since the epoch."""

    session: str
    messages: int
    bytes: int
    updated: float


class ConversationStore(Protocol):
    """Keeps conversations. Implement it to keep them elsewhere; its methods may be called from any event loop.

    A session without messages is not there: there is nothing to make or to drop. Cancelling a call leaves open whether
    it was done, never half of it.
    """

    async def load(self, session: str) -> list[Message]:
        """Return the messages, the oldest first; none if there is no such session."""

    async def append(self, session: str, messages: Sequence[Message], *, expected: int | None) -> int:
        """Add messages to the end, all of them or none, and return how many there are now.

        They survive whatever the store survives once this returns.

        :param expected: messages that the caller has seen; None: whatever there is.
        :raises Conflict: there are not so many.
        :raises StoreFull: there would be too many, or they would be too large. Compact the conversation.
        """

    async def replace(self, session: str, messages: Sequence[Message], *, expected: int | None) -> int:
        """Put ``messages`` in the place of all that there are. Otherwise as `append`."""

    async def clear(self, session: str) -> None:
        """Forget a session; one that is not there is fine."""

    async def sessions(self, *, limit: int = 100) -> list[SessionInfo]:
        """Return the sessions there are, those last changed first."""

    async def close(self) -> None:
        """Let go of files and threads; a later call takes them up again."""


def check_sizes(max_messages: int, max_bytes: int) -> None:
    """Raise a `ConfigError` for limits that nothing fits."""
    for name, value in (("max_messages", max_messages), ("max_bytes", max_bytes)):
        if value < 1:
            raise ConfigError(f"{name}: expected at least 1, got {value}")


def check_room(session: str, messages: int, size: int, max_messages: int, max_bytes: int) -> None:
    """Raise a `StoreFull` if the session is too large."""
    if messages > max_messages:
        raise StoreFull(f"The conversation {session!r}", "max_messages", max_messages, messages)
    if size > max_bytes:
        raise StoreFull(f"The conversation {session!r}", "max_bytes", max_bytes, size)


def check_seen(session: str, expected: int | None, actual: int) -> None:
    """Raise a `Conflict` if the caller has not seen what there is."""
    if expected is not None and expected != actual:
        raise Conflict(f"The conversation {session!r}", expected, actual)


def encode(messages: Sequence[Message]) -> list[bytes]:
    """Return each message as MessagePack; as JSON where it has an integer that MessagePack has no room for.

    :raises taut.errors.ConfigError: a message has something in it that neither has a form for.
    """
    bodies = []
    for at, message in enumerate(messages):
        try:
            try:
                bodies.append(_to_msgpack(message))
            except OverflowError:
                bodies.append(_to_json(message))
        except (TypeError, ValueError, msgspec.EncodeError) as error:  # also text that is no Unicode
            raise ConfigError(f"messages[{at}] cannot be kept: {error}") from error
    return bodies


def decode(body: bytes) -> Message:
    """Return the message that `encode` was given.

    :raises msgspec.DecodeError: these bytes are none.
    """
    # In MessagePack that byte is a number.
    return _from_json(body) if body[:1] == b"{" else _from_msgpack(body)


_to_msgpack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode
_from_msgpack = msgspec.msgpack.Decoder(Message).decode
_from_json = msgspec.json.Decoder(Message).decode


class MemoryConversationStore:
    """Conversations that end with the process.

    :param max_messages: of one session.
    :param max_bytes: of the messages of one session, encoded.
    """

    def __init__(
        self,
        *,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_sizes(max_messages, max_bytes)
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._clock = clock
        #: Those last changed come last.
        self._sessions: dict[str, tuple[list[Message], SessionInfo]] = {}
        # Held for a few list operations: agents of loops in other threads may share the store.
        self._lock = threading.Lock()

    async def load(self, session: str) -> list[Message]:
        """See `ConversationStore`."""
        with self._lock:
            known = self._sessions.get(session)
            return [] if known is None else list(known[0])

    async def append(self, session: str, messages: Sequence[Message], *, expected: int | None) -> int:
        """See `ConversationStore`."""
        return self._put(session, messages, expected, keep=True)

    async def replace(self, session: str, messages: Sequence[Message], *, expected: int | None) -> int:
        """See `ConversationStore`."""
        return self._put(session, messages, expected, keep=False)

    def _put(self, session: str, messages: Sequence[Message], expected: int | None, *, keep: bool) -> int:
        added = sum(map(len, encode(messages)))
        with self._lock:
            kept, info = self._sessions.get(session, ([], SessionInfo(session, 0, 0, 0.0)))
            check_seen(session, expected, len(kept))
            new = SessionInfo(
                session,
                len(messages) + (info.messages if keep else 0),
                added + (info.bytes if keep else 0),
                self._clock(),
            )
            check_room(session, new.messages, new.bytes, self._max_messages, self._max_bytes)
            self._sessions.pop(session, None)
            if new.messages:
                if keep:
                    kept.extend(messages)
                else:
                    kept = list(messages)
                self._sessions[session] = (kept, new)
            return new.messages

    async def clear(self, session: str) -> None:
        """See `ConversationStore`."""
        with self._lock:
            self._sessions.pop(session, None)

    async def sessions(self, *, limit: int = 100) -> list[SessionInfo]:
        """See `ConversationStore`."""
        with self._lock:
            found = [info for _, info in self._sessions.values()]
        found.reverse()
        return sorted(found, key=lambda one: one.updated, reverse=True)[:limit]

    async def close(self) -> None:
        """See `ConversationStore`."""
