"""A provider of models that does what a test says, byte for byte; and what tests feed to the readers of formats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from taut._core import SSEEvent, SSEParser
from taut.llm import ModelEvent, ModelResponse
from taut.llm.http import Timing
from taut.llm.reading import Reader

Script = Callable[["Asked"], Awaitable[None]]


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def sse(*events: Any, names: bool = False) -> bytes:
    """A stream of events with these values, as OpenAI sends them; with their types as names, as Anthropic does."""
    lines = []
    for event in events:
        data = event if isinstance(event, str) else encoded(event).decode()
        lines.append((f"event: {event['type']}\n" if names else "") + f"data: {data}\n\n")
    return "".join(lines).encode()


def read(reader: Reader, stream: bytes, *, piece: int | None = None) -> ModelResponse:
    """Give ``reader`` a stream, whole or in pieces of so many bytes."""
    for event in parsed(stream, piece=piece):
        if reader.event(event):
            break
    return reader.finish()


def parsed(stream: bytes, *, piece: int | None = None) -> Iterator[SSEEvent]:
    parser = SSEParser(max_bytes=1 << 20)
    step = piece or max(1, len(stream))
    for start in range(0, len(stream), step):
        yield from parser.feed(stream[start : start + step])


@dataclass
class Asked:
    """One request, and the ways to answer it."""

    path: str
    headers: dict[str, str]
    body: Any
    writer: asyncio.StreamWriter
    number: int

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def reply(self, value: Any = None, *, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else encoded(value)
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        headers.setdefault("content_type", "application/json")
        lines += [f"{name.replace('_', '-')}: {one}" for name, one in headers.items()]
        self.raw("\r\n".join((*lines, "", "")).encode() + body)

    def begin(self, *, content_type: str = "text/event-stream") -> None:
        """Begin a stream of events."""
        head = f"HTTP/1.1 200 X\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        self.raw(head.encode())

    def send(self, *events: Any) -> None:
        data = sse(*events)
        self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.raw(b"0\r\n\r\n")

    def stream(self, *events: Any) -> None:
        """Answer with these events."""
        self.begin()
        self.send(*events)
        self.end()

    def drop(self) -> None:
        """Close the connection."""
        self.writer.close()


class Provider:
    """Serves ``script``, which is called with each request. What it does not answer stays unanswered."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self.left = 0
        self.failures: list[BaseException] = []
        self.url = ""
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for requests to come, or for clients to leave."""
        async with self._news:
            await self._news.wait_for(met)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        scripts: list[asyncio.Task[None]] = []
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = [line.split(": ", 1) for line in head[1:] if line]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(
                    head[0].split()[1], headers, msgspec.json.decode(body), writer, len(self.asked) + 1
                )
                self.asked.append(asked)
                await self._tell()
                # Beside the reading, so that a client that leaves is noticed in the middle of a script.
                scripts.append(asyncio.get_running_loop().create_task(self._run(asked)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            for script in scripts:
                script.cancel()
            self.left += 1
            await self._tell()

    async def _run(self, asked: Asked) -> None:
        try:
            await self._script(asked)
        except Exception as error:
            self.failures.append(error)
            asked.drop()


@contextlib.asynccontextmanager
async def provider(script: Script) -> AsyncIterator[Provider]:
    """Serve ``script``; what it raises is raised here."""
    server = Provider(script)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        if server.failures:
            raise server.failures[0]


def answering(*answers: Callable[[Asked], None]) -> Script:
    """Answer the first request with the first, and so on; the last one answers all that follow."""

    async def script(asked: Asked) -> None:
        answers[min(asked.number, len(answers)) - 1](asked)

    return script


@dataclass
class Waits:
    """Time that passes at once, and is written down."""

    slept_s: list[float] = field(default_factory=list)
    now: float = 1_000_000.0

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    @property
    def timing(self) -> Timing:
        return Timing(sleep=self.sleep, random=lambda: 1.0, clock=lambda: self.now)


@dataclass
class Told:
    """What a model tells."""

    events: list[ModelEvent] = field(default_factory=list)

    def __call__(self, event: ModelEvent) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def text(self, kind: type) -> str:
        return "".join(event.text for event in self.of(kind))


def pieces(text: str, size: int) -> Iterable[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


# -- a chat completion, in both forms


def completion(text: str = "Hello", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        **more,
    }


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "small-1"}
    return {**base, "choices": choices, **more}


def chunks(text: str = "Hello", *, usage: bool = True) -> list[Any]:
    """A stream of a completion that says ``text``, a character at a time."""
    made: list[Any] = [chunk({"role": "assistant", "content": ""})]
    made += [chunk({"content": character}) for character in text]
    made.append(chunk({}, "stop"))
    if usage:
        made.append(chunk(usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}))
    return [*made, "[DONE]"]
