"""The interoperability server on taut (all revisions)."""

import asyncio
import sys

import msgspec

from taut import Context, Server, SessionOptions, ToolError

# More than one page of tools, so that clients have to turn it.
app = Server("interop", version="1.0", page_size=4)

#: The waits that were cut short.
INTERRUPTED: list[float] = []


class Answer(msgspec.Struct):
    answer: str


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool
def echo(text: str) -> str:
    """Return the text."""
    return text


@app.tool
async def slow(seconds: float) -> str:
    """Wait."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        INTERRUPTED.append(seconds)
        raise
    return "done"


@app.tool
def interrupted() -> str:
    """Tell how many waits were cut short since the last time that this was asked."""
    count = len(INTERRUPTED)
    INTERRUPTED.clear()
    return str(count)


@app.tool
def fail() -> str:
    """Raise."""
    raise ToolError("deliberate failure")


@app.tool
async def progress(steps: int, ctx: Context) -> str:
    """Report progress, with work in between: the TypeScript clients forget the callback of a request

    when its result comes in the same chunk as the notifications before it.
    """
    for step in range(1, steps + 1):
        await ctx.progress(step, steps, f"step {step}")
        await asyncio.sleep(0.02)
    return "done"


@app.tool
def touch() -> str:
    """Change the list of tools, and change it back."""
    app.tool(name="passing")(fail)
    app.tools.remove("passing")
    return "touched"


@app.tool
async def poll(ctx: Context) -> str:
    """Send the client away while working, and tell whether that could be done."""
    closed = ctx.close_stream()
    await asyncio.sleep(0.02)
    return "closed" if closed else "open"


@app.tool
async def log(message: str, ctx: Context) -> str:
    """Log a message to the client."""
    await ctx.info(message)
    return "logged"


@app.tool
async def ask(question: str, ctx: Context) -> str:
    """Ask the user."""
    outcome = await ctx.elicit(question, Answer)
    return outcome.content.answer if outcome.action == "accept" else outcome.action


@app.tool
async def sample(prompt: str, ctx: Context) -> str:
    """Ask the client's model."""
    reply = await ctx.sample(prompt, max_tokens=100)
    return reply.content.text


@app.tool
async def roots(ctx: Context) -> str:
    """Ask for the client's roots."""
    return " ".join(root.uri for root in await ctx.list_roots())


@app.resource("info://fixed", mime_type="text/plain")
def fixed() -> str:
    """A resource with a fixed address."""
    return "fixed text"


@app.resource("note://{name}", mime_type="text/plain")
def note(name: str) -> str:
    """A resource behind a template."""
    return f"note about {name}"


@app.prompt
def review(code: str) -> str:
    """Ask for a review."""
    return f"Please review: {code}"


if __name__ == "__main__":
    if sys.argv[1:]:
        app.run("http", port=int(sys.argv[1]), sessions=SessionOptions(retry_ms=100))
    else:
        app.run()
