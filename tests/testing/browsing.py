"""Sending requests to a fake server over a real socket, and what came back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from taut.errors import TransportError
from taut.llm.messages import Part, Usage, assistant
from taut.llm.model import ModelRequest, ModelResponse, StopReason
from taut.testing import FakeOpenAI
from taut.transport.http.pool import Call, Pool

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
PATHS = (CHAT, RESPONSES, MESSAGES)
PNG = "data:image/png;base64,aGk="
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


class Got(NamedTuple):
    """An HTTP answer, as far as it came. ``chunks`` is the body as it arrived."""

    status: int
    headers: dict[str, str]
    chunks: list[bytes]
    error: Exception | None

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[tuple[str | None, Any]]:
        """The server-sent events: name and JSON, or the text where it is none."""
        found: list[tuple[str | None, Any]] = []
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "data" in fields:
                try:
                    data = msgspec.json.decode(fields["data"])
                except msgspec.DecodeError:
                    data = fields["data"]
                found.append((fields.get("event"), data))
        return found


class Collected:
    """Collects an answer of `taut.transport.http.pool.Pool`."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        self.got = Got(0, {}, [], None)

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        named = {name.decode(): value.decode() for name, value in headers.items()}
        self.got = self.got._replace(status=status, headers=named)

    def data(self, chunk: bytes) -> None:
        self.got.chunks.append(bytes(chunk))
        self.begun.set()

    def end(self) -> None:
        self.ended.set_result(None)

    def failed(self, error: TransportError) -> None:
        self.ended.set_result(error)


class Browser:
    """Sends requests to a fake server."""

    def __init__(self, fake: FakeOpenAI) -> None:
        self.pool = Pool(fake.origin)

    def start(
        self, path: str, body: Any = None, *, method: str = "POST", timeout_s: float = 30.0, **headers: str
    ) -> tuple[Call, Collected]:
        """Send a request and do not wait; a body of bytes is sent as it is."""
        answer = Collected()
        named = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        if path != "/v1/messages":
            del named["anthropic-version"]
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        pairs = [(name.encode(), value.encode()) for name, value in named.items() if value]
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        call = self.pool.send(method.encode(), path.encode(), pairs, data, answer, timeout_s=timeout_s)
        return call, answer

    async def send(self, path: str, body: Any = None, **options: Any) -> Got:
        """Send a request; returns its answer, whole or broken off."""
        _, answer = self.start(path, body, **options)
        error = await answer.ended
        return answer.got._replace(error=error)


@contextlib.asynccontextmanager
async def browsing(fake: FakeOpenAI) -> AsyncIterator[Browser]:
    """Serve ``fake``, and give what sends requests to it."""
    async with fake:
        browser = Browser(fake)
        try:
            yield browser
        finally:
            await browser.pool.close()


def send(fake: FakeOpenAI, *requests: tuple[str, Any], **options: Any) -> list[Got]:
    """Return the answers to requests, each a path and a body, that are sent one after another."""

    async def run() -> list[Got]:
        async with browsing(fake) as browser:
            return [await browser.send(path, body, **options) for path, body in requests]

    return asyncio.run(run())


def body(path: str, text: str = "hello", **members: Any) -> dict[str, Any]:
    """Return the smallest body of each format."""
    said = {"role": "user", "content": text}
    if path == RESPONSES:
        return {"model": "m", "input": [said], **members}
    limit = {"max_tokens": 100} if path == MESSAGES else {}
    return {"model": "m", "messages": [said], **limit, **members}


def spoken(path: str, answer: Any) -> str:
    """Return the text of an answer."""
    match path:
        case "/v1/chat/completions":
            return str(answer["choices"][0]["message"]["content"])
        case "/v1/responses":
            return "".join(part["text"] for item in answer["output"] for part in item.get("content", ()))
    return "".join(block["text"] for block in answer["content"])


def answered(
    path: str, *parts: Part | str, reason: StopReason = "stop", stream: bool = False, **members: Any
) -> Got:
    """Return how a response goes over the wire."""
    usage = Usage(100, 20, cached_tokens=30, cache_write_tokens=10, thinking_tokens=5, requests=1)
    response = ModelResponse(message=assistant(*parts), usage=usage, stop_reason=reason)
    (got,) = send(FakeOpenAI([response]), (path, body(path, stream=stream, **members)))
    assert got.status == 200
    return got


def understood(path: str, given: dict[str, Any]) -> ModelRequest:
    """Return the request that a body becomes."""
    fake = FakeOpenAI()
    (got,) = send(fake, (path, given))
    assert got.status == 200, got.json
    found = fake.seen[0].request
    assert found is not None
    return found


def refused(path: str, given: Any) -> str:
    """Return why a body is refused."""
    fake = FakeOpenAI()
    (got,) = send(fake, (path, given))
    assert got.status == 400
    assert fake.seen[0].outcome == "failed"
    return str(got.json["error"]["message"])


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until ``condition`` holds."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("Expected a condition to hold by now")
