"""The fake server as an ASGI application: from a request to a model's answer, with whatever is to go wrong on the way.

One request is one `_Visit`. The model is asked after the pauses of a fault, never for one that is answered with an
error, and it is cancelled when the client leaves. An answer that was spoilt on its way is not lost: it is owed to the
next request with the same body, so that what a client gets in the end does not depend on the faults.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal, TypeVar

import msgspec

from taut.errors import ConfigError, ContextTooLong, ModelError, ModelRefused, ModelUnavailable
from taut.llm.model import Model, ModelRequest, ModelResponse
from taut.testing.fake_openai.chat import Chat
from taut.testing.fake_openai.faults import Fault, FaultSource
from taut.testing.fake_openai.messages import Messages
from taut.testing.fake_openai.responses import Responses
from taut.testing.fake_openai.wire import CREATED, Asked, Wire, bad

__all__ = ["FakeApp", "Seen"]

T = TypeVar("T")
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Sleep = Callable[[float], Awaitable[object]]

WIRES: Mapping[str, Wire] = {
    "/v1/chat/completions": Chat(),
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
}
MODELS = "/v1/models"
#: Headers whose values are nobody's business.
SECRET = ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
#: Answers that were spoilt and are kept for the next attempt.
MAX_OWED = 1_000
#: Where the server leaves the way to close a connection without an answer, which ASGI does not know.
CLOSE = "taut.close"
JSON, EVENTS, PLAIN = "application/json", "text/event-stream; charset=utf-8", "text/plain"


class Seen(msgspec.Struct, kw_only=True):
    """A request as it came. Of secret headers only the scheme is kept.

    ``body`` is the JSON value, or the bytes that are none; ``request`` what the model was asked with; ``outcome`` how
    it ended: ``left`` means that the client did not wait for the end.
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any = None
    request: ModelRequest | None = None
    fault: Fault | None = None
    outcome: Literal["open", "answered", "failed", "spoilt", "left"] = "open"


class FakeApp:
    """An ASGI application that answers with what ``model`` says.

    ``models`` are the names that ``/v1/models`` lists; others are answered as well. With ``api_key`` requests that do
    not have it get 401. ``keep`` is how many of the last requests are kept in `seen`.
    """

    def __init__(
        self,
        model: Model,
        faults: FaultSource,
        *,
        models: Iterable[str],
        api_key: str | None,
        sleep: Sleep,
        keep: int | None,
    ) -> None:
        self.model = model
        self.faults = faults
        self.models = tuple(models)
        self.api_key = api_key
        self.sleep = sleep
        self.seen: deque[Seen] = deque(maxlen=keep)
        self.count = 0
        #: Answers that did not arrive, by path and body.
        self.owed: OrderedDict[tuple[str, bytes], ModelResponse] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ConfigError(f"Expected an HTTP request, got {scope['type']}: this server has nothing else")
        self.count += 1
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        seen = Seen(
            number=self.count,
            method=scope["method"],
            path=scope["path"],
            headers={name: _reduced(name, value) for name, value in headers.items()},
            fault=self.faults.take(self.count),
        )
        self.seen.append(seen)
        await _Visit(self, seen, headers, scope.get(CLOSE), receive, send).answer()


class _Gone(Exception):
    """The client has left, or the server is to stop: there is nobody to answer."""


class _Visit:
    """One request on its way to an answer."""

    def __init__(
        self,
        app: FakeApp,
        seen: Seen,
        headers: Mapping[str, str],
        close: Callable[[], None] | None,
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._seen = seen
        self._headers = headers
        self._close = close
        self._receive = receive
        self._send = send
        self._fault = seen.fault or Fault()
        self._wire = WIRES.get(
            seen.path, WIRES["/v1/messages" if "anthropic-version" in headers else "/v1/responses"]
        )
        self._body = b""
        self._started = False
        self._whole = asyncio.Event()
        # From now on, and for all that it takes: the body first, then the client's leave.
        self._gone = asyncio.create_task(self._listen())

    async def answer(self) -> None:
        """Answer, or do what the fault says."""
        try:
            await self._while_there(self._whole.wait())
            await self._pause(self._fault.first_byte_s)
            if not await self._fail_early():
                await self._answer()
        except _Gone:
            self._seen.outcome = "left"
        except ModelError as error:
            await self._send_error(error)
        except Exception as error:
            # The border to a user's model: whatever it raises is an error of this server.
            await self._send_error(ModelUnavailable(f"{type(error).__name__}: {error}", status=500))
        finally:
            await _end(self._gone)

    async def _fail_early(self) -> bool:
        """Do what needs no answer of the model; tell whether that was all."""
        fault = self._fault
        if fault.kind == "hang_up":
            self._seen.outcome = "spoilt"
            await self._hang_up()
        elif fault.kind == "stall" and fault.after == 0:
            await self._stall()
        elif fault.kind == "status":
            await self._send_error(ModelUnavailable(fault.message, status=fault.status))
        else:
            return False
        return True

    async def _answer(self) -> None:
        seen = self._seen
        self._check_key()
        if seen.path == MODELS or seen.path.startswith(f"{MODELS}/"):
            self._expect_method("GET")
            await self._send_json(HTTPStatus.OK, self._models())
            return
        if seen.path not in WIRES:
            raise ModelRefused(f"Invalid URL ({seen.method} {seen.path})", status=HTTPStatus.NOT_FOUND)
        self._expect_method("POST")
        body = self._decoded()
        request = seen.request = self._parse(body)
        response = await self._respond(request)
        asked = Asked(number=seen.number, body=body)
        if asked.streams:
            await self._send_events(response, asked)
        else:
            await self._send_whole(response, asked)

    async def _respond(self, request: ModelRequest) -> ModelResponse:
        """Return what is owed for this body, or what the model says."""
        owed = self._app.owed.pop((self._seen.path, self._body), None)
        return owed if owed is not None else await self._while_there(self._app.model.respond(request))

    # -- what came

    async def _listen(self) -> None:
        """Read the body, then wait until the client leaves."""
        chunks: list[bytes] = []
        while (message := await self._receive())["type"] != "http.disconnect":
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False) and not self._whole.is_set():
                self._body = b"".join(chunks)
                self._seen.body = _loosely_decoded(self._body)
                self._whole.set()

    def _check_key(self) -> None:
        expected = self._app.api_key
        if expected is None:
            return
        given = self._headers.get("x-api-key") or self._headers.get("authorization", "").removeprefix(
            "Bearer "
        )
        if given != expected:
            raise ModelRefused("Incorrect API key provided", status=HTTPStatus.UNAUTHORIZED)

    def _expect_method(self, method: str) -> None:
        if self._seen.method != method:
            message = f"Not allowed method {self._seen.method} for {self._seen.path}, expected {method}"
            raise ModelRefused(message, status=HTTPStatus.METHOD_NOT_ALLOWED)

    def _decoded(self) -> dict[str, Any]:
        if not self._headers.get("content-type", "").startswith(JSON):
            raise bad(f"Expected the content type {JSON}, got {self._headers.get('content-type', 'none')!r}")
        if not isinstance(self._seen.body, dict):
            raise bad("We could not parse the JSON body of your request: expected an object")
        if self._seen.path == "/v1/messages" and "anthropic-version" not in self._headers:
            raise bad("anthropic-version: header is required")
        return self._seen.body

    def _parse(self, body: dict[str, Any]) -> ModelRequest:
        try:
            return self._wire.parse(body)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Members that are only handed on have whatever type the client gave them.
            raise bad(f"Invalid body: {error!r}") from error

    def _models(self) -> dict[str, Any]:
        name = self._seen.path[len(MODELS) + 1 :]
        known = [self._model(one) for one in self._app.models]
        if not name:
            ends = {"has_more": False, "first_id": self._app.models[0], "last_id": self._app.models[-1]}
            return {"object": "list", "data": known} | (ends if self._is_anthropic else {})
        for one in known:
            if one["id"] == name:
                return one
        raise ModelRefused(f"The model {name!r} does not exist", status=HTTPStatus.NOT_FOUND)

    def _model(self, name: str) -> dict[str, Any]:
        if self._is_anthropic:
            return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        return {"id": name, "object": "model", "created": CREATED, "owned_by": "taut"}

    @property
    def _is_anthropic(self) -> bool:
        return isinstance(self._wire, Messages)

    # -- what goes

    async def _send_whole(self, response: ModelResponse, asked: Asked) -> None:
        fault = self._fault
        if fault.kind == "error":
            self._owe(response)
            await self._send_error(ModelUnavailable(fault.message, status=fault.status))
            return
        body = msgspec.json.encode(self._wire.answer(response, asked))
        if fault.kind == "garbage":
            self._owe(response)
            body = fault.body
        await self._start(HTTPStatus.OK, JSON, {"content-length": str(len(body))})
        if fault.kind in ("cut", "stall"):
            self._owe(response)
            await self._write(body[: len(body) // 2], more=True)
            await (self._stall() if fault.kind == "stall" else self._hang_up())
            return
        await self._write(body, more=False)
        self._finish("answered")

    async def _send_events(self, response: ModelResponse, asked: Asked) -> None:
        fault = self._fault
        events = self._wire.events(response, asked)
        if fault.content_type is not None and fault.kind == "garbage":
            events = [fault.body]
        elif fault.kind == "garbage":
            events[fault.after : fault.after + 1] = [b"data: %b\n\n" % fault.body]
        elif fault.kind == "error":
            events[fault.after :] = [self._wire.error_event(fault.status, fault.message)]
        elif fault.kind in ("cut", "stall"):
            del events[fault.after :]
        if fault.kind != "none":
            self._owe(response)
        await self._start(HTTPStatus.OK, EVENTS, {"cache-control": "no-store"})
        for index, event in enumerate(events):
            if index:
                await self._pause(fault.between_s)
            await self._write(event, more=True)
        if fault.kind == "stall":
            await self._stall()
        elif fault.kind == "cut":
            await self._hang_up()
        else:
            await self._write(b"", more=False)
            self._finish("answered")

    async def _send_error(self, error: ModelError) -> None:
        self._finish("failed")
        if self._started:  # too late for a status
            await self._hang_up()
            return
        status = error.status or (400 if isinstance(error, ModelRefused) else 503)
        code = "context_length_exceeded" if isinstance(error, ContextTooLong) else None
        headers = {} if error.retry_after_s is None else {"retry-after": f"{error.retry_after_s:g}"}
        with contextlib.suppress(_Gone):
            await self._send_json(status, self._wire.error(status, str(error), code), headers)

    async def _send_json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        body = msgspec.json.encode(value)
        await self._start(status, JSON, {"content-length": str(len(body)), **(headers or {})})
        await self._write(body, more=False)
        if self._seen.outcome == "open":
            self._finish("answered")

    async def _start(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        named = {
            "content-type": self._fault.content_type or content_type,
            "x-request-id": f"req_{self._seen.number}",
        }
        named |= {"request-id": named["x-request-id"], **headers, **self._fault.headers}
        self._started = True
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
        await self._send({"type": "http.response.start", "status": int(status), "headers": pairs})

    async def _write(self, body: bytes, *, more: bool) -> None:
        if self._gone.done():
            raise _Gone
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _hang_up(self) -> None:
        """Close the connection. A server that does not let us ends an answer that was begun, when we return."""
        if self._close is not None:
            self._close()
            await asyncio.wait((self._gone,))  # or the server would complain that there is no answer

    async def _stall(self) -> None:
        """Say nothing until the client leaves."""
        await asyncio.wait((self._gone,))
        raise _Gone

    def _owe(self, response: ModelResponse) -> None:
        self._finish("spoilt")
        owed = self._app.owed
        owed[self._seen.path, self._body] = response
        if len(owed) > MAX_OWED:
            owed.popitem(last=False)

    def _finish(self, outcome: Literal["answered", "failed", "spoilt"]) -> None:
        if self._seen.outcome == "open":
            self._seen.outcome = outcome

    # -- time, and whoever waits

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._while_there(self._sleep(seconds))

    async def _sleep(self, seconds: float) -> None:
        await self._app.sleep(seconds)

    async def _while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` does, which is cancelled when the client leaves.

        :raises _Gone: it has left.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _Gone
            return task.result()
        finally:
            await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _reduced(name: str, value: str) -> str:
    if name not in SECRET:
        return value
    scheme, space, _ = value.partition(" ")
    return f"{scheme} ***" if space else "***"


def _loosely_decoded(body: bytes) -> Any:
    """Return the JSON value that a body is, or its bytes."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
