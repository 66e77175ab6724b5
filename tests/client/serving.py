"""Servers at a URL of this machine, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn

from taut import Server


@contextlib.asynccontextmanager
async def serving(app: Server, *, sse: bool = False) -> AsyncIterator[str]:
    """Serve ``app`` under uvicorn; gives its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app.asgi(sse=sse), log_level="error", lifespan="on", ws="none")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]  # the test keeps its own
    task = asyncio.create_task(server.serve([listening]))
    while not server.started:
        await asyncio.sleep(0)
        assert not task.done()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        listening.close()
