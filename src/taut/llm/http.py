"""The way to a provider of models: a request posted over taut's own HTTP client, until an answer has come.

An `Endpoint` knows addresses, time and failures; what a body means is for the `Reader` of the provider's
format. Another attempt is made where one can help: the provider is busy or in trouble (408, 409, 425, 429,
5xx), the connection could not be made or broke, or was silent for too long. Asking a model twice does no harm
but costs tokens, so the number of attempts is small. Cancelling a request closes its connection, by which
providers notice that nobody listens any more.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut import __version__
from taut._core import SSEParser
from taut.errors import (
    AnswerHeadTooLarge,
    ConfigError,
    ConnectionClosed,
    InvalidAnswer,
    InvalidModelAnswer,
    LimitExceeded,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    RedirectRefused,
    TlsError,
    TransportError,
)
from taut.llm.failures import failure, read_problem, retry_after_s
from taut.llm.model import ModelResponse, OnEvent, Restarted
from taut.llm.pools import LoopPools
from taut.llm.reading import Reader
from taut.steps import Retry
from taut.transport.http.pool import Pool, encode_fields
from taut.transport.http.url import parse_url

if TYPE_CHECKING:
    import ssl

    from taut.transport.http.call import Call

__all__ = [
    "DEFAULT_HTTP",
    "DEFAULT_RETRY",
    "DEFAULT_TIMEOUT_S",
    "DEFAULT_TIMING",
    "Endpoint",
    "HttpOptions",
    "Timing",
]

DEFAULT_RETRY = Retry(attempts=3)
#: Seconds of silence: a model that thinks for long before its first word may need more.
DEFAULT_TIMEOUT_S = 120.0
#: Bytes of a body that is no answer: enough to say what it is.
MAX_REFUSAL_BYTES = 64 * 1024
#: Seconds that a server gets to end a stream whose last event it has sent, so that the connection can be kept.
LINGER_S = 1.0

JSON = b"application/json"
EVENTS = b"text/event-stream"


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider is reached.

    :raises taut.errors.ConfigError: a number is not positive.
    """

    #: An `ssl.SSLContext`, or a file with the certificates to trust; None trusts what the system trusts.
    tls: ssl.SSLContext | str | None = None
    #: Reach the server through this unix socket; the URL then only says what to ask it for.
    uds: str | None = None
    #: The URL of a proxy; None asks the environment (``HTTPS_PROXY`` and its kin) if ``trust_env`` is set.
    proxy: str | None = None
    trust_env: bool = True
    #: Connections at a time, in each event loop: requests beyond that wait.
    max_connections: int = 100
    connect_timeout_s: float = 10.0
    #: Seconds that a connection without a request is kept for the next one.
    idle_s: float = 30.0
    #: Bytes of one answer.
    max_answer_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("max_connections", "connect_timeout_s", "idle_s", "max_answer_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"Expected a positive {name}, got {getattr(self, name)}")

    def __repr__(self) -> str:
        """Without what may be secret: what stands before the host of the proxy."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["proxy"] = None if self.proxy is None else self.proxy.rpartition("@")[2]
        return f"HttpOptions({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint waits between attempts; others are for tests. ``clock`` is in seconds since the epoch."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    clock: Callable[[], float] = time.time


DEFAULT_HTTP = HttpOptions()
DEFAULT_TIMING = Timing()


class _Final(ModelUnavailable):
    """Not now, and not at the next attempt either."""


@final
class Endpoint:
    """The place at ``base_url`` where requests to ``model`` are posted.

    ``headers`` go with each request, the last one of a name, and may hold secrets; ``secret`` is taken out of
    what a provider says in its errors. ``timeout_s`` is how long the provider may be silent, before its answer
    and within it. Usable from any event loop, and again after `close`.

    :raises taut.errors.ConfigError: the URL, a header or an option is none that can work.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        headers: Mapping[str, str],
        secret: str | None = None,
        options: HttpOptions = DEFAULT_HTTP,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry = DEFAULT_RETRY,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        if timeout_s <= 0:
            raise ConfigError(f"Expected a positive timeout_s, got {timeout_s:g}")
        self.url = parse_url(base_url)
        #: Who is asked, for messages.
        self.who = f"{model} at {self.url.origin}"
        self._base, _, self._query = self.url.target.partition(b"?")
        self._headers = {accept: _fields(headers, accept) for accept in (JSON, EVENTS)}
        self._secret = secret
        self._timeout_s = timeout_s
        self._retry = retry
        self._timing = timing
        self._max_bytes = options.max_answer_bytes
        self._pools = LoopPools(lambda: _pool(base_url, options))
        self._times_closed = 0
        _pool(base_url, options)  # what is wrong with the options is said here

    async def post(
        self, path: str, body: Any, reader: Callable[[], Reader], on_event: OnEvent, *, stream: bool
    ) -> ModelResponse:
        """Post ``body``, as JSON, to ``path`` below the base URL and return the answer.

        ``reader`` makes a new reader for each attempt. ``stream`` tells that events are asked for; a body comes from
        some servers all the same, and is read. ``body`` is encoded before anything is waited for.

        :raises taut.errors.ModelError: see `taut.llm.model.Model.respond`.
        """
        data = msgspec.json.encode(body)
        target = self._base.rstrip(b"/") + path.encode("ascii") + (self._query and b"?" + self._query)
        headers = self._headers[EVENTS if stream else JSON]
        times_closed = self._times_closed
        attempt = 1
        while True:
            reading = reader()
            try:
                return await self._attempt(target, headers, data, reading)
            except ModelUnavailable as error:
                pause_s = self._retry.pause_s(attempt, error, self._timing.random())
                if isinstance(error, _Final) or pause_s is None:
                    if attempt > 1:
                        error.add_note(f"This was attempt {attempt} of {self._retry.attempts}")
                    raise
                reason = str(error)
            if reading.told:
                on_event(Restarted(reason))
            await self._timing.sleep(pause_s)
            if times_closed != self._times_closed:
                raise ModelUnavailable(f"{self.who}: closed between two attempts: {reason}")
            attempt += 1

    async def _attempt(self, target: bytes, headers: bytes, body: bytes, reader: Reader) -> ModelResponse:
        pool = await self._pools.here()
        answer = _Answer(reader, self.who, self._max_bytes)
        answer.call = pool.send(b"POST", target, headers, body, answer, timeout_s=self._timeout_s)
        try:
            await answer.ended
        finally:
            answer.stop_waiting()
        error = answer.error
        if isinstance(error, TransportError):
            raise self._failure(error) from error
        if error is not None:
            raise error  # the reader's, or that of whom it told
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        if answer.parser is None:
            answer.read_whole()
        return reader.finish()

    def _failure(self, error: TransportError) -> ModelError:
        """Return what to raise for an attempt that ended without an answer."""
        message = f"{self.who}: {error}"
        if isinstance(error, RedirectRefused):
            return ModelRefused(message)
        if isinstance(error, InvalidAnswer | AnswerHeadTooLarge):
            return InvalidModelAnswer(message)
        closed = isinstance(error, ConnectionClosed) and error.clean
        return _Final(message) if closed or isinstance(error, TlsError) else ModelUnavailable(message)

    def _refusal(self, answer: _Answer) -> ModelError:
        body = b"".join(answer.parts)
        try:
            problem = read_problem(msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            problem = None  # a page of something in between; its status says enough
        if problem is not None and self._secret:
            problem = msgspec.structs.replace(problem, message=problem.message.replace(self._secret, "***"))
        asked_s = retry_after_s(answer.headers, self._timing.clock())
        error = failure(self.who, answer.status, problem, retry_after_s=asked_s)
        if isinstance(error, ModelUnavailable) and answer.headers.get(b"x-should-retry") == b"false":
            return _Final(str(error), status=error.status, retry_after_s=error.retry_after_s)
        return error

    async def close(self) -> None:
        """Close the connections of all event loops; requests that are under way fail."""
        self._times_closed += 1
        await self._pools.close()


def _pool(base_url: str, options: HttpOptions) -> Pool:
    return Pool(
        base_url,
        tls=options.tls,
        uds=options.uds,
        proxy=options.proxy,
        trust_env=options.trust_env,
        max_connections=options.max_connections,
        connect_timeout_s=options.connect_timeout_s,
        idle_s=options.idle_s,
    )


def _fields(headers: Mapping[str, str], accept: bytes) -> bytes:
    """Return the header lines of a request; names are the same in any case."""
    # Without a name of their own, clients are turned away at the doors of many a provider.
    found = {
        b"content-type": (b"Content-Type", JSON),
        b"accept": (b"Accept", accept),
        b"user-agent": (b"User-Agent", f"taut/{__version__}".encode("ascii")),
    }
    for name, value in headers.items():
        raw = name.encode("ascii", "replace")
        try:
            found[raw.lower()] = (raw, value.encode("latin-1"))
        except UnicodeEncodeError:
            # The value may be a secret; its name is enough to find it.
            raise ConfigError(f"Expected a value in Latin-1 for the header {name}") from None
    return encode_fields(found.values())


@final
class _Answer:
    """Hears one answer from the pool. ``ended`` is set once nothing more is waited for; then ``error`` is known."""

    __slots__ = (
        "_context",
        "_left",
        "_max_bytes",
        "_reader",
        "_who",
        "call",
        "ended",
        "error",
        "headers",
        "parser",
        "parts",
        "status",
    )

    def __init__(self, reader: Reader, who: str, max_bytes: int) -> None:
        self._reader = reader
        self._who = who
        self._max_bytes = self._left = max_bytes
        # Who is told of the answer is told in the context of the request, not in that of the connection.
        self._context = contextvars.copy_context()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None
        self.call: Call | None = None
        self.parser: SSEParser | None = None
        self.parts: list[bytes] = []
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Decide what the body is."""
        self.status = status
        self.headers = headers
        if not 200 <= status < 300:
            self._left = MAX_REFUSAL_BYTES
        elif headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == EVENTS:
            self.parser = SSEParser(max_bytes=self._max_bytes)

    def data(self, chunk: bytes) -> None:
        """Take a part of the body."""
        if self.ended.done():
            self._hang_up()  # nothing should follow the last event
            return
        self._left -= len(chunk)
        if self._left < 0:
            if self.status >= 300:
                self._end(None)  # the status says it all
            else:
                self._end(self._too_large())
            self._hang_up()
        elif self.parser is None:
            self.parts.append(chunk)
        else:
            self._context.run(self._take_events, self.parser, chunk)

    def _take_events(self, parser: SSEParser, chunk: bytes) -> None:
        try:
            while events := parser.feed(chunk):
                chunk = b""  # what was refused comes behind what was not
                for event in events:
                    if self._reader.event(event):
                        self._end(None)
                        if self.call is not None:
                            self.call.extend(LINGER_S)
                        return
        except LimitExceeded:
            self._end(self._too_large())
            self._hang_up()
        except Exception as error:  # the border to whom the reader tells: it is the caller's to know
            self._end(error)
            self._hang_up()

    def read_whole(self) -> None:
        """Give the reader the body, which did not come as events.

        :raises taut.errors.InvalidModelAnswer: it is none.
        """
        body = b"".join(self.parts)
        if not body.lstrip()[:6].startswith((b"data:", b"event:")):
            self._reader.whole(body)
            return
        # Events that do not say that they are: servers behind careless proxies.
        parser = SSEParser(max_bytes=self._max_bytes)
        for event in parser.feed(body + b"\n\n"):
            if self._reader.event(event):
                return

    def end(self) -> None:
        """The answer is complete."""
        self._end(None)

    def failed(self, error: TransportError) -> None:
        """There will be no more of the answer."""
        self._end(error)

    def stop_waiting(self) -> None:
        """Let go of the request: abort it, unless its answer is there."""
        if not self.ended.done() or self.ended.cancelled():
            self._hang_up()

    def _end(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.error = error
            self.ended.set_result(None)

    def _hang_up(self) -> None:
        call, self.call = self.call, None
        if call is not None:
            call.abort()

    def _too_large(self) -> InvalidModelAnswer:
        return InvalidModelAnswer(
            f"{self._who}: expected an answer of at most {self._max_bytes} bytes, got more: "
            "raise max_answer_bytes if that is right"
        )
