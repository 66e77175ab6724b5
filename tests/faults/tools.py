"""The server that the fault tests torment: one tool for each way in which a handler can misbehave."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec

from taut import Context, Server, ToolError
from taut.mcp.limits import Limits

#: Limits as JSON, for tests that pass them.
limits = msgspec.json.decode(os.environ.get("TORMENT_LIMITS", "{}"), type=Limits)
app = Server("torment", version="1.0", limits=limits)

SECRET = "a detail that no client may see"


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool
async def add_later(a: int, b: int) -> int:
    """Add two numbers, one turn of the loop later."""
    await asyncio.sleep(0)
    return a + b


@app.tool
def echo(text: str) -> str:
    """Return the text."""
    return text


@app.tool(structured=False)
def size(text: str) -> int:
    """Return the length of the text."""
    return len(text)


@app.tool
def big(count: int) -> str:
    """Return a text of so many bytes."""
    return "x" * count


@app.tool
async def wait(ctx: Context) -> str:
    """Wait for ever; say on stderr when it begins and when it is cancelled."""
    print(f"waiting {ctx.request_id}", file=sys.stderr, flush=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print(f"cancelled {ctx.request_id}", file=sys.stderr, flush=True)
        raise
    return "never"


@app.tool
async def stubborn() -> str:
    """Wait for ever, and take no notice of being cancelled."""
    print("waiting", file=sys.stderr, flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


@app.tool
def block(seconds: float) -> str:
    """Block the event loop."""
    print("blocking", file=sys.stderr, flush=True)
    time.sleep(seconds)
    return "done"


@app.tool(thread=True)
def block_thread(seconds: float) -> str:
    """Block a worker thread."""
    print("blocking", file=sys.stderr, flush=True)
    time.sleep(seconds)
    return "done"


@app.tool
def noisy() -> str:
    """Write to stdout in every way, and let a child do it too."""
    print("stray print", flush=True)
    os.write(1, b'{"jsonrpc":"2.0","id":1,"result":{}}\n')
    print("unfinished", end="")
    subprocess.run(["echo", "from a child"], check=True)
    return "quiet"


@app.tool
def read_stdin() -> str:
    """Read what a handler, and its child, find on stdin."""
    own = os.read(0, 100)
    child = subprocess.run(["cat"], check=True, stdout=subprocess.PIPE).stdout
    return f"{len(own)} {len(child)}"


@app.tool
def flood(count: int) -> str:
    """Write so many bytes to stderr."""
    line = b"e" * 1023 + b"\n"
    for _ in range(count // len(line)):
        os.write(2, line)
    return "flooded"


@app.tool
def fail() -> str:
    """Raise what a caller must not see."""
    raise RuntimeError(SECRET)


@app.tool
async def fail_later() -> str:
    """Raise what a caller must not see, later."""
    await asyncio.sleep(0)
    raise RuntimeError(SECRET)


@app.tool
def refuse() -> str:
    """Raise what a caller shall see."""
    raise ToolError("refused on purpose")


@app.tool(structured=False)
def unencodable(kind: str) -> Any:
    """Return what is no JSON."""
    ring: list[Any] = []
    ring.append(ring)
    values: dict[str, Any] = {
        "object": object(),
        "surrogate": "\ud800",
        "nested surrogate": {"text": ["\ud800"]},
        "recursive": ring,
        "key": {(1, 2): 3},
    }
    return values[kind]


@app.tool
async def cancel_itself() -> str:
    """Cancel its own task."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return "never"


@app.tool
def leave() -> str:
    """Exit, which a handler should not."""
    sys.exit(3)


@app.tool
def die() -> str:
    """End the process without a word."""
    print("last words", file=sys.stderr, flush=True)
    os._exit(7)


@app.tool
def memory() -> int:
    """Return the most resident memory that this process ever had, in bytes."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@app.tool
def threads() -> int:
    """Return how many threads run."""
    return threading.active_count()


@app.tool
def grandchild() -> int:
    """Start a process that outlives a careless server; return its id."""
    return subprocess.Popen(["sleep", "600"]).pid


@app.resource("note://{name}")
async def note(name: str) -> str:
    """Return a note."""
    return f"note {name}"


if __name__ == "__main__":
    app.run()
