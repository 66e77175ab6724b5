"""What llhttp finds in the bytes of a connection, as turns: requests in the order in which they came.

What a request is, llhttp decides and nobody else. A head whose bytes llhttp has read before, at the beginning of a
message and in one piece, means the same again: what was found then is remembered, and a message that has such a head
and exactly the body that it declares is not parsed a second time.

A POST to the endpoint is judged when its head is there and becomes a turn when its body is, or when it is refused;
every other request is one of the application. How turns are answered is for the subclass to say.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Any
from urllib.parse import quote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from taut.mcp.http.head import Head, read_head
from taut.mcp.http.reply import Reply, refusal
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.exchange import Exchange
from taut.transport.http.known import KnownHead, KnownHeads
from taut.transport.http.patience import Patience, Sweep

__all__ = ["BETWEEN", "BODY", "HEAD", "Foreign", "Reading", "Shared", "Turn"]

#: What a chunk may have besides its data: its size and two line ends, with room for leading zeros.
CHUNK_BYTES = 16

#: A target with a host, which is what is found in it.
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#]*)")

BETWEEN, HEAD, BODY = range(3)
VERSIONS = ("1.1", "1.0")


class _Busy:
    """Stands before every request of the application, so that uvicorn queues it."""

    response_complete = False


class Turn:
    """A request that is being received or waits for its turn."""

    __slots__ = ("answer", "body", "expects", "keep_alive")

    def __init__(self, answer: Head | Reply, keep_alive: bool, expects: bool = False) -> None:
        #: A head that was admitted, or what is answered already.
        self.answer = answer
        self.body: bytes | bytearray = b""
        self.keep_alive = keep_alive
        #: Whether the client waits to be told to send the body.
        self.expects = expects


#: A request of the application that waits for its turn.
Foreign = tuple[RequestResponseCycle, ASGI3Application]


class Shared:
    """What the connections of one server share."""

    def __init__(self, app: AsgiApp, patience: Patience, sweep: Sweep) -> None:
        self.app = app
        self.patience = patience
        self.sweep = sweep
        self.target = (quote(app.path, safe="/!$&'()*+,;=:@~") or "/").encode()
        self.heads = KnownHeads(patience.max_head_bytes, patience.max_headers)


class Reading(HttpToolsProtocol):
    """The part of a connection that reads."""

    def __init__(
        self,
        shared: Shared,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared = shared
        self._app = shared.app
        self._endpoint = shared.app.endpoint
        #: Whether requests are worked on here. An `auth` may have to wait, and knows when a token has expired.
        self._works = self.limit_concurrency is None and shared.app.endpoint.auth is None
        #: What is complete, or has been refused, and waits for its turn.
        self._queue: deque[Turn | Foreign] = deque()
        #: What is being answered.
        self._active: Exchange | RequestResponseCycle | None = None
        #: Whether a message may begin and be answered at once.
        self._idle = True
        #: Whether nothing that comes is looked at any more.
        self._deaf = False
        #: Whether the client has sent anything.
        self._fresh = True
        #: When what is waited for began to be.
        self._since = shared.sweep.now
        #: The head that came last, if it is one that is remembered.
        self._usual: KnownHead | None = None

        # The message that is being received.
        self._part = BETWEEN
        self._message = 0
        self._native = False
        #: Where its body goes; None where that is dropped.
        self._turn: Turn | None = None
        self._fields = 0
        self._size = 0
        self._pieces = 0
        #: Bytes of the reads that it came in while its head was incomplete, and of the read that is parsed.
        self._before = 0
        self._read = 0
        #: Bytes of it in reads after the one with which its head or body began.
        self._fed = 0
        #: Bytes of its body that follow behind what llhttp takes for the end of the message.
        self._untold = 0

    # -- what a subclass does

    def _proceed(self) -> None:
        """Answer what waits, as far as that goes."""
        raise NotImplementedError

    def _work(self, head: Head, body: bytes | bytearray, keep_alive: bool) -> None:
        """Begin to work on a request, and answer it if that is done at once."""
        raise NotImplementedError

    def _say(self, reply: Reply, keep_alive: bool) -> None:
        """Answer with ``reply``."""
        raise NotImplementedError

    def _hang_up(self) -> None:
        """Close the connection after what was written."""
        raise NotImplementedError

    def look(self, now: float) -> None:
        """Close the connection if it has been waited for too long."""
        raise NotImplementedError

    # -- bytes in

    def data_received(self, data: bytes) -> None:
        if self._idle:
            usual = self._usual
            # To compare with the last one costs a fifth of looking it up: most clients ask again what they asked.
            if usual is None or usual[2] != len(data) or not data.startswith(usual[0]):
                usual = self._usual = self._shared.heads.recall(data)
            if usual is not None and self.loop in self._app.loops:
                refused = self._endpoint.enter(usual[1])
                if refused is None:
                    self._work(usual[1], data[len(usual[0]) :], True)
                else:
                    self._say(refused, True)
                return
        if self._deaf:
            return
        self._feed(data)
        if not self._deaf or self._queue:
            self._proceed()

    def _feed(self, data: bytes) -> None:
        """Let llhttp read ``data``."""
        if self._fresh:
            self._fresh = False
            self._since = self._shared.sweep.now
        idle, part, message, size = self._idle, self._part, self._message, self._size
        self._idle = False
        self._read = len(data)
        try:
            rest = self._take(data) if self._untold else data
            while rest:
                rest = self._parse(rest)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None  # a mistake of ours
        except httptools.HttpParserError:
            if not self._deaf:
                self.logger.warning("Invalid HTTP request received.")
                self._break_off(refusal(400, "Expected an HTTP request"))
            return
        if self._part == HEAD:
            self._before += len(data)
        if self._part != BETWEEN and part == self._part and message == self._message:
            self._count(len(data), self._size - size)
        elif idle and self._part == BETWEEN and message + 1 == self._message and len(self._queue) == 1:
            self._remember(data)

    def _parse(self, data: bytes) -> bytes:
        """Let llhttp read ``data``; return what is left of it behind a request for another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                return self._take(data[upgrade.args[0] :])
            self.handle_websocket_upgrade()
        return b""

    def _take(self, data: bytes) -> bytes:
        """Take the body that llhttp does not read, as far as it is there; return what is behind it."""
        if not self._untold:
            return data
        body, rest = data[: self._untold], data[self._untold :]
        self._untold -= len(body)
        self.on_body(body)
        if not self._untold:
            self.on_message_complete()
        return rest

    def handle_websocket_upgrade(self) -> None:
        self._shared.sweep.discard(self)
        self._deaf = True
        super().handle_websocket_upgrade()

    def _count(self, fed: int, body: int) -> None:
        """Count what a message has besides its data; a head or trailer without end is refused."""
        patience = self._shared.patience
        self._fed += fed - body
        if self._fed > patience.max_head_bytes + CHUNK_BYTES * self._pieces:
            self._break_off(refusal(431, f"Expected at most {patience.max_head_bytes} bytes of headers"))
        elif self._size > patience.max_dropped_bytes and self._native and self._turn is None:
            self._deaf = True
            if not self._queue and self._active is None:
                self._hang_up()

    def _remember(self, data: bytes) -> None:
        """Remember the head of the one message that ``data`` was."""
        turn = self._queue[0]
        if not isinstance(turn, Turn) or not isinstance(turn.answer, Head):
            return
        end = data.find(b"\r\n\r\n") + 4
        # Framed by its length, with nothing before or after it, and nothing else to heed.
        plain = turn.keep_alive and not turn.expects and not self.parser.should_upgrade()
        plain = plain and b"content-length" in turn.answer.known
        if plain and end + self._size == len(data):
            self._shared.heads.meet(data[:end], turn.answer, self._size, self._fields)

    # -- what llhttp finds in them

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._part = HEAD
        self._message += 1
        self._fed = self._size = self._pieces = self._before = 0
        self._since = self._shared.sweep.now

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._part = BODY
        self._fed = 0
        self._native = True
        self._turn = None
        self._since = self._shared.sweep.now
        if self._deaf:
            return
        patience = self._shared.patience
        parser = self.parser
        self._fields = len(self.headers)
        if self._fields > patience.max_headers:
            self._break_off(refusal(431, f"Expected at most {patience.max_headers} headers"))
            return
        # What it came in is hardly ever larger than a head may be.
        if self._before + self._read > patience.max_head_bytes and self._head_bytes > patience.max_head_bytes:
            self._break_off(refusal(431, f"Expected at most {patience.max_head_bytes} bytes of headers"))
            return
        version = parser.get_http_version()
        if version not in VERSIONS:
            self._break_off(refusal(505, "Expected HTTP/1.1"))
            return
        ours = self._works and self.url == self._shared.target and parser.get_method() == b"POST"
        if parser.should_upgrade():
            self.headers = [(name.lower(), value) for name, value in self.headers]
            if self._should_upgrade():
                ours = False
            elif not self._keep_to_http():
                self._break_off(refusal(400, "Expected a body with a length, and no tunnel"))
                return
        if ours and self.loop in self._app.loops:
            self._judge(parser.should_keep_alive() and version == "1.1")
        else:
            self._pass_on()

    @property
    def _head_bytes(self) -> int:
        return sum([len(name) + len(value) for name, value in self.headers]) + len(self.url)

    def _keep_to_http(self) -> bool:
        """Whether a request to change the protocol can be read as if it did not ask for that (RFC 9110, section 7.8).

        Some HTTP/2 clients ask with their first request. To llhttp it has no body, so that is read here.
        """
        names = [name for name, _ in self.headers]
        if b"transfer-encoding" in names or self.parser.get_method() == b"CONNECT":
            return False
        if b"content-length" in names:
            self._untold = int(self.headers[names.index(b"content-length")][1])
        return True

    def _pass_on(self) -> None:
        """Make it a request of the application, which waits for its turn."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers if url.startswith(b"/") else _with_host_of(url, headers):
            super().on_header(name, value)
        # What comes from here on are trailers, which are no part of the head.
        self.headers = self.headers.copy()
        self.cycle = _Busy  # type: ignore[assignment]
        try:
            super().on_headers_complete()
        except (httptools.HttpParserError, ValueError, AttributeError):  # it is no URL, or has no path
            self._break_off(refusal(400, "Expected an HTTP request"))
            return
        if self.pipeline:
            self._native = False
            if self._active is None and not self._queue:
                self.flow.resume_reading()
            self._queue.append(self.pipeline.pop())

    def _judge(self, keep_alive: bool) -> None:
        # What comes from here on are trailers; nobody reads those.
        headers, self.headers = self.headers, []
        head = self._endpoint.judge("POST", headers)
        if isinstance(head, Reply):
            refused = head
        else:
            full = self._endpoint.enter(head)
            if full is None:
                self._turn = Turn(head, keep_alive, head.expects)
                return
            refused = full
        turn = Turn(refused, keep_alive)
        known = read_head(headers)
        # Without the 100 nobody knows whether the body will come (RFC 9110, section 10.1.1).
        if known.expects or (known.content_length or 0) > self._shared.patience.max_dropped_bytes:
            turn.keep_alive = False
        self._deaf = not turn.keep_alive
        self._queue.append(turn)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._pieces += 1
        if self._deaf:
            return
        turn = self._turn
        if turn is not None:
            if self._size > self._endpoint.limits.max_message_bytes:
                self._endpoint.leave()
                self._turn = None
                turn.answer = self._endpoint.too_large()
                turn.body = b""
                turn.keep_alive = turn.keep_alive and self._size <= self._shared.patience.max_dropped_bytes
                self._deaf = not turn.keep_alive
                self._queue.append(turn)
            elif turn.body:
                if type(turn.body) is bytes:
                    turn.body = bytearray(turn.body)
                turn.body += body
            else:
                turn.body = body
        elif not self._native:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._untold:
            return
        self._part = BETWEEN
        turn, self._turn = self._turn, None
        if self._deaf:
            return
        if turn is not None:
            self._queue.append(turn)
            self._deaf = not turn.keep_alive
        elif not self._native:
            super().on_message_complete()

    def _break_off(self, reply: Reply) -> None:
        """Answer what is complete, then ``reply``, and close the connection."""
        self._deaf = True
        if self._turn is not None:
            self._turn = None
            self._endpoint.leave()
        elif self._part == BODY and not self._native and self._is_unanswered(self.cycle):
            # Its application waits for a body that will not come.
            if self.cycle is self._active:
                self._active = None
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            else:
                self._queue.pop()
        self._queue.append(Turn(reply, False))

    def _is_unanswered(self, cycle: RequestResponseCycle) -> bool:
        if cycle is self._active:
            return not cycle.response_started
        return bool(self._queue) and type(self._queue[-1]) is tuple


def _with_host_of(target: bytes, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return ``headers`` with the host of an absolute target, which stands above theirs (RFC 9112, section 3.2.2)."""
    found = _ABSOLUTE.match(target)
    if found is None:
        return headers
    return [(name, found[1] if name.lower() == b"host" else value) for name, value in headers]
