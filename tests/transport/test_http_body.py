"""The body of a request as an ASGI server hands it over: at once, later, in parts, or never."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import pytest

from faults.loops import Run
from taut import Server
from taut.mcp.http.reply import Reply
from taut.mcp.limits import Limits
from taut.transport.http.body import Disconnected, Message, read_body

ENDPOINT = Server("s", limits=Limits(max_message_bytes=4)).asgi().endpoint
GONE: Message = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Sender:
    """Hands over messages, each as soon as it is there."""

    def __init__(self, *messages: Message) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.ended = False
        for message in messages:
            self.messages.put_nowait(message)

    async def receive(self) -> Message:
        try:
            return await self.messages.get()
        finally:
            self.ended = True

    async def later(self) -> Message:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await self.receive()

    def future(self) -> Awaitable[Message]:
        """Return what is no coroutine."""
        return asyncio.ensure_future(self.receive())


async def read(receive: Any) -> Any:
    return await read_body(receive, ENDPOINT, 30)


class TestBodies:
    @pytest.mark.parametrize("how", ["receive", "later", "future"])
    @pytest.mark.parametrize(
        ("messages", "expected"),
        [
            ([part(b"abcd")], b"abcd"),
            ([{"type": "http.request"}], b""),
            ([part(b"", more=True), part(b"ab", more=True), part(b"cd")], b"abcd"),
            ([part(b"ab", more=True), part(b"", more=True), part(b"")], b"ab"),
        ],
    )
    def test_it_is_whole(self, run: Run, how: str, messages: list[Message], expected: bytes) -> None:
        async def main() -> None:
            assert await read(getattr(Sender(*messages), how)) == expected

        run(main())

    @pytest.mark.parametrize("how", ["receive", "later", "future"])
    @pytest.mark.parametrize(
        "messages", [[part(b"abcde")], [part(b"abc", more=True), part(b"de", more=True)]]
    )
    def test_it_is_no_longer_than_it_may_be(self, run: Run, how: str, messages: list[Message]) -> None:
        async def main() -> None:
            answer = await read(getattr(Sender(*messages), how))
            assert isinstance(answer, Reply)
            assert answer.status == 413

        run(main())

    @pytest.mark.parametrize("how", ["receive", "later", "future"])
    @pytest.mark.parametrize("messages", [[GONE], [part(b"a", more=True), GONE]])
    def test_a_client_may_go_away(self, run: Run, how: str, messages: list[Message]) -> None:
        async def main() -> None:
            with pytest.raises(Disconnected):
                await read(getattr(Sender(*messages), how))

        run(main())


class TestTime:
    @pytest.mark.parametrize("messages", [[], [part(b"a", more=True)]])
    def test_what_does_not_come_is_not_waited_for(self, run: Run, messages: list[Message]) -> None:
        async def main() -> None:
            sender = Sender(*messages)
            answer = await read_body(sender.receive, ENDPOINT, 0.001)
            assert isinstance(answer, Reply)
            assert answer.status == 408
            assert sender.ended

        run(main())

    def test_whoever_reads_can_be_cancelled(self, run: Run) -> None:
        async def main() -> None:
            sender = Sender()
            task = asyncio.create_task(read(sender.receive))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sender.ended

        run(main())

    def test_a_server_may_wait_once_more_when_it_is_cancelled(self, run: Run) -> None:
        async def main() -> None:
            waits = asyncio.Event()

            async def receive() -> Message:
                with contextlib.suppress(asyncio.CancelledError):
                    await waits.wait()
                await asyncio.sleep(0)
                return part(b"late")

            task = asyncio.create_task(read(receive))
            await asyncio.sleep(0)
            task.cancel()
            assert await task == b"late"

        run(main())
