"""A server with one tool that takes its time without using any: what many calls at once are measured with."""

import asyncio

from taut import Server

app = Server("slow", version="1.0")


@app.tool
async def wait(ms: int) -> int:
    """Wait."""
    await asyncio.sleep(ms / 1e3)
    return ms


if __name__ == "__main__":
    app.run()
