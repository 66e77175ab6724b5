"""The body of a request as an ASGI server hands it over: whole, in time, and no longer than it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any

from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.reply import Reply, refusal

__all__ = ["Disconnected", "Message", "Receive", "read_body"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_body(receive: Receive, endpoint: Endpoint, seconds: float) -> bytes | bytearray | Reply:
    """Return the body, or what is answered to one that is too long or takes too long.

    Nearly always it is there already; only then is no timer set, which costs as much as all else here.

    :raises Disconnected: the client does not send the rest.
    """
    receiving = receive().__await__()
    try:
        pause = next(receiving)
    except StopIteration as received:
        message: Message | None = received.value
        if not received.value.get("more_body", False):
            return _joined(b"", received.value, endpoint)
    else:
        message = None
    try:
        async with asyncio.timeout(seconds):
            if message is None:
                message = await _Begun(receiving, pause)
            body = _joined(b"", message, endpoint)
            while message.get("more_body", False) and not isinstance(body, Reply):
                message = await receive()
                body = _joined(body, message, endpoint)
    except TimeoutError:
        return refusal(408, f"Expected the whole body within {seconds:g} s")
    return body


def _joined(body: bytes | bytearray, message: Message, endpoint: Endpoint) -> bytes | bytearray | Reply:
    """Return ``body`` with the part that ``message`` brings."""
    if message["type"] == "http.disconnect":
        raise Disconnected
    part: bytes = message.get("body", b"")
    if len(body) + len(part) > endpoint.limits.max_message_bytes:
        return endpoint.too_large()
    if not body:
        return bytearray(part) if message.get("more_body", False) else part
    body += part
    return body


class _Begun:
    """What was begun by hand, and waits: it goes on when it is awaited."""

    def __init__(self, rest: Generator[Any, Any, Message], pause: Any) -> None:
        self._rest = rest
        self._pause = pause

    def __await__(self) -> Generator[Any, Any, Message]:
        pause = self._pause
        while True:
            try:
                yield pause
            except BaseException as error:  # is for the one who waits, such as the end of its time
                try:
                    pause = self._rest.throw(error)
                except StopIteration as received:
                    message: Message = received.value
                    return message
            else:
                return (yield from self._rest)
