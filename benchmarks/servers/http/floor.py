"""The least that can answer over HTTP: every request gets the same bytes, and nothing is looked at.

Variants: ``asgi``, a bare application under uvicorn; ``uvicorn``, a protocol class of uvicorn that takes in a request
and answers it with one write; ``loop``, a protocol of its own on uvloop and httptools that takes in nothing.
"""

import asyncio
from typing import Any, cast

import httptools
import uvicorn
import uvloop
from _serve import PORT, VARIANT, serve
from floor_protocol import ANSWER, BODY, FIELDS, UvicornFloor


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": FIELDS})
        await send({"type": "http.response.body", "body": BODY})


class LoopFloor(asyncio.Protocol):
    def __init__(self) -> None:
        self.data_received = httptools.HttpRequestParser(self).feed_data  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def on_message_complete(self) -> None:
        self.transport.write(ANSWER)


async def serve_loop() -> None:
    server = await asyncio.get_running_loop().create_server(LoopFloor, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    if VARIANT == "loop":
        uvloop.run(serve_loop())
    elif VARIANT == "uvicorn":
        uvicorn.run(
            application,
            host="127.0.0.1",
            port=PORT,
            loop="uvloop",
            http=UvicornFloor,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
        )
    else:
        serve(application)
