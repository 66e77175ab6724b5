"""The server of the soak tests: quick tools, one that streams until its client goes away, and short-lived sessions."""

import asyncio
import sys

from taut import Context, Server, SessionOptions

app = Server("soak", version="1.0")


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool
async def stream(ctx: Context) -> str:
    """Report progress, then wait to be cancelled."""
    ctx.progress(1)
    await asyncio.Event().wait()
    return "never"


@app.tool
def running() -> int:
    """Return how many tasks run besides the server's own: handlers that were not cancelled are among them."""
    return sum("stream" in repr(task.get_coro()) or "_guard" in repr(task) for task in asyncio.all_tasks())


if __name__ == "__main__":
    # Nobody comes back to a session here: each ends soon after its client has left.
    app.run("http", port=int(sys.argv[1]), sessions=SessionOptions(idle_s=1.0, max_sessions=20_000))
