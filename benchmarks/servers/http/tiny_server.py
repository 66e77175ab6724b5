"""The HTTP benchmark's server on aiohttp-tiny-mcp, on uvloop."""

import logging

import uvloop
from _serve import PORT
from aiohttp import web
from aiohttp_tiny_mcp import Endpoint, Exchange, Registry
from pydantic import BaseModel

registry = Registry("bench", "1.0")


class Numbers(BaseModel):
    a: int
    b: int


@registry.tool
async def add(args: Numbers) -> str:
    """Add two numbers."""
    return str(args.a + args.b)


@registry.tool(streaming=True)
async def report(args: Numbers, ex: Exchange) -> str:
    """Report progress once, then add two numbers."""
    await ex.progress(1, 2)
    return str(args.a + args.b)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    app = Endpoint(registry).app("/mcp")
    web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None, loop=uvloop.new_event_loop())
