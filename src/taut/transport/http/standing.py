"""Connections that stand: WebSockets, and the HTTP+SSE transport of 2024-11-05, beside the endpoint. Both are opt-in.

Each is a transport with a connection of the server behind it. Who may open one is decided as at the endpoint: by Host
and Origin, and by the token where there is an `Auth`; their number is limited.

HTTP+SSE: GET opens a stream of events, the first of which names where to POST messages to, with the id of the session;
they are answered with 202, and with what they ask for on the stream.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from taut._core import SSE_KEEPALIVE, encode_sse
from taut.errors import TransportError
from taut.mcp.http.head import Head
from taut.mcp.http.reply import STREAM_HEADERS, Reply, refusal
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.base import Transport
from taut.transport.http.websocket import SUBPROTOCOL, AsgiWebSocket
from taut.transport.messages import MessageTransport

if TYPE_CHECKING:
    from taut.transport.http.asgi import AsgiApp, Receive, Scope, Send

__all__ = ["EventSession", "Held", "Standing"]

#: Connections of all kinds at a time; each may have requests in flight, and takes some memory.
MAX_CONNECTIONS = 10_000
#: Seconds without a message until a comment keeps a stream of events alive.
QUIET_S = 15.0
#: Random bytes of a session's id.
ID_BYTES = 24
RETRY_AFTER = (b"retry-after", b"1")


class Held(Protocol):
    """What the server has behind a transport."""

    def start(self) -> None:
        """Begin to serve."""

    def shut_down(self) -> None:
        """Close once every open request is answered, or a grace is over."""

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, and its tasks have."""


class EventSession(MessageTransport):
    """The server's end of an HTTP+SSE session: messages leave on the stream, and come in with `post`."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        endpoint: str,
        principal: str | None = "",
        quiet_s: float = QUIET_S,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(limits=limits, pauses=True, quiet_s=quiet_s)
        #: Whom the stream was opened by; nobody else may post.
        self.principal = principal
        self._endpoint = endpoint
        self._receive_event = receive
        self._send_event = send
        self._started = asyncio.Event()
        self._begun = False
        self._gone = False

    async def _open(self) -> None:
        self._begun = True
        await self._send_event({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        await self._say(encode_sse(self._endpoint.encode("ascii"), event="endpoint"))

    async def _receive(self) -> TransportError | None:
        self._started.set()
        while (await self._receive_event())["type"] != "http.disconnect":
            pass
        self._gone = True
        return None

    async def _send(self, message: bytes) -> None:
        await self._say(encode_sse(message, event="message"))

    async def _keep_alive(self) -> None:
        await self._say(SSE_KEEPALIVE)

    async def _say(self, data: bytes, *, more: bool = True) -> None:
        await self._send_event({"type": "http.response.body", "body": data, "more_body": more})

    async def post(self, message: bytes) -> bool:
        """Take a message, once the client takes what it is sent; False where the session has ended."""
        await self._started.wait()
        await self.may_receive()
        if self.closing:
            return False
        self.take(message)
        self.tell()
        return True

    def _holds(self) -> bool:
        return True

    async def _release(self) -> None:
        self._started.set()
        if self._begun and not self._gone:
            self._gone = True
            try:
                await self._say(b"", more=False)
            except OSError:  # the client has gone meanwhile
                return


class Standing:
    """The connections that stand, of one application.

    :param connect: makes what the server has behind a transport, for a principal.
    """

    def __init__(
        self,
        app: AsgiApp,
        connect: Callable[[Transport, str], Held],
        *,
        post_path: str = "/messages",
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._app = app
        self._connect = connect
        self._post_path = post_path
        self._max_connections = max_connections
        self._held: dict[Held, MessageTransport] = {}
        self._sessions: dict[str, EventSession] = {}

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._held)

    def shut_down(self) -> None:
        """End every connection once its open requests are answered."""
        for held, transport in list(self._held.items()):
            if isinstance(transport, AsgiWebSocket):
                transport.go_away()
            held.shut_down()

    def give_up(self) -> None:
        """End every connection as it is."""
        for transport in list(self._held.values()):
            transport.close()

    # -- who comes in

    async def _admit(self, scope: Scope) -> Head | Reply:
        endpoint = self._app.endpoint
        head = endpoint.approach(scope["headers"])
        if isinstance(head, Reply):
            return head
        refused = endpoint.authenticate(head, time.time())
        if inspect.isawaitable(refused):
            refused = await refused
        return refused or head

    async def _hold(self, transport: MessageTransport, head: Head) -> None:
        """Serve ``transport`` until it has ended."""
        held = self._connect(transport, head.principal or "")
        self._held[held] = transport
        try:
            held.start()
            await held.wait_closed()
        finally:
            transport.close()
            del self._held[held]
            await transport.wait_closed()

    # -- WebSockets

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection scope of type ``websocket``."""
        await receive()
        head = await self._admit(scope)
        if isinstance(head, Head) and SUBPROTOCOL not in scope.get("subprotocols", ()):
            head = refusal(400, "Expected the WebSocket subprotocol mcp")
        if isinstance(head, Head) and self.count >= self._max_connections:
            head = refusal(503, "Too many connections", headers=(RETRY_AFTER,))
        if isinstance(head, Reply):
            await _deny(scope, send, head)
            return
        await self._app.ensure_running()
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        await self._hold(AsgiWebSocket(receive, send, limits=self._app.endpoint.limits), head)

    # -- HTTP+SSE

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open a session: GET, answered with a stream of events."""
        if scope["method"] != "GET":
            # Without a body: clients that try a POST first go on with GET.
            await _reply(send, Reply(405, headers=((b"allow", b"GET"),)))
            return
        head = await self._admit(scope)
        refused = head if isinstance(head, Reply) else head.refuse_listener()
        if refused is None and self.count >= self._max_connections:
            refused = refusal(503, "Too many connections", headers=(RETRY_AFTER,))
        if isinstance(head, Reply) or refused is not None:
            await _reply(send, refused or refusal(403, "Refused"))
            return
        await self._app.ensure_running()
        session_id = secrets.token_urlsafe(ID_BYTES)
        place = urllib.parse.quote(scope.get("root_path", "") + self._post_path)
        session = EventSession(
            receive,
            send,
            endpoint=f"{place}?session_id={session_id}",
            principal=head.principal,
            limits=self._app.endpoint.limits,
        )
        self._sessions[session_id] = session
        try:
            await self._hold(session, head)
        finally:
            del self._sessions[session_id]

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a message of a session."""
        await _reply(send, await self._post(scope, receive))

    async def _post(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            return Reply(405, headers=((b"allow", b"POST"),))
        head = await self._admit(scope)
        if isinstance(head, Reply):
            return head
        head.legacy = True
        head.known.pop(b"accept", None)  # the answer is 202, whatever it is
        if (refused := head.refuse_types()) is not None:
            return refused
        length = head.content_length
        if length is not None and length > self._app.endpoint.limits.max_message_bytes:
            return self._app.endpoint.too_large()
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        session = self._sessions.get(query.get("session_id", [""])[0])
        if session is None or session.principal != head.principal:
            return refusal(404, "No such session")
        if (refused := self._app.endpoint.enter(head)) is not None:
            return refused
        try:
            body = await self._app.read(receive)
            if body is None or isinstance(body, Reply):
                return body or refusal(400, "The client went away")
            if not await session.post(bytes(body)):
                return refusal(404, "The session has ended")
            return Reply(202)
        finally:
            self._app.endpoint.leave()


async def _reply(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields()})
    await send({"type": "http.response.body", "body": reply.body})


async def _deny(scope: Scope, send: Send, reply: Reply) -> None:
    """Refuse a WebSocket: with a response where the server can send one, else with whatever it makes of a close."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": reply.fields()})
    await send({"type": "websocket.http.response.body", "body": reply.body})
