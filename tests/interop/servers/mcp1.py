"""The interoperability server on the official Python SDK 1.x (legacy era)."""

import sys

import anyio
from _events import Events
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel

app = FastMCP("interop", log_level="ERROR", event_store=Events(), retry_interval=100)
#: The waits that were cut short.
INTERRUPTED: list[float] = []


class Answer(BaseModel):
    answer: str


@app.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


@app.tool()
async def slow(seconds: float) -> str:
    """Wait."""
    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        INTERRUPTED.append(seconds)
        raise
    return "done"


@app.tool()
def interrupted() -> str:
    """Tell how many waits were cut short since the last time that this was asked."""
    count = len(INTERRUPTED)
    INTERRUPTED.clear()
    return str(count)


@app.tool()
def fail() -> str:
    """Raise."""
    raise ValueError("deliberate failure")


@app.tool()
async def progress(steps: int, ctx: Context) -> str:
    """Report progress."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await anyio.sleep(0.02)
    return "done"


@app.tool()
async def touch(ctx: Context) -> str:
    """Announce that the list of tools has changed."""
    await ctx.session.send_tool_list_changed()
    return "touched"


@app.tool()
async def poll(ctx: Context) -> str:
    """Send the client away while working, and tell whether that could be done."""
    closed = ctx.request_context.close_sse_stream is not None
    await ctx.close_sse_stream()
    await anyio.sleep(0.02)
    return "closed" if closed else "open"


@app.tool()
async def log(message: str, ctx: Context) -> str:
    """Log a message to the client."""
    await ctx.info(message)
    return "logged"


@app.tool()
async def ask(question: str, ctx: Context) -> str:
    """Ask the user."""
    outcome = await ctx.elicit(question, Answer)
    return outcome.data.answer if outcome.action == "accept" else outcome.action


@app.tool()
async def sample(prompt: str, ctx: Context) -> str:
    """Ask the client's model."""
    content = types.TextContent(type="text", text=prompt)
    message = types.SamplingMessage(role="user", content=content)
    reply = await ctx.session.create_message([message], max_tokens=100)
    assert isinstance(reply.content, types.TextContent)
    return reply.content.text


@app.tool()
async def roots(ctx: Context) -> str:
    """Ask for the client's roots."""
    found = await ctx.session.list_roots()
    return " ".join(str(root.uri) for root in found.roots)


@app.resource("info://fixed", mime_type="text/plain")
def fixed() -> str:
    """A resource with a fixed address."""
    return "fixed text"


@app.resource("note://{name}", mime_type="text/plain")
def note(name: str) -> str:
    """A resource behind a template."""
    return f"note about {name}"


@app.prompt()
def review(code: str) -> str:
    """Ask for a review."""
    return f"Please review: {code}"


@app._mcp_server.set_logging_level()
async def set_level(level: types.LoggingLevel) -> None:
    """Accept any level: without a handler this SDK has no logging capability."""


if __name__ == "__main__":
    if sys.argv[1:]:
        app.settings.port = int(sys.argv[1])
        app.run("streamable-http")
    else:
        app.run()
