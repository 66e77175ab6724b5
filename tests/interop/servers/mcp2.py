"""The interoperability server on the official Python SDK 2.x (both eras)."""

import sys
from typing import Annotated

import anyio
import mcp_types as types
from _events import Events
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from pydantic import BaseModel

app = MCPServer("interop", version="1.0", log_level="ERROR")
#: The waits that were cut short.
INTERRUPTED: list[float] = []


class Answer(BaseModel):
    answer: str


def ask_user(question: str) -> Elicit[Answer]:
    return Elicit(question, Answer)


def ask_model(prompt: str) -> Sample:
    content = types.TextContent(type="text", text=prompt)
    return Sample([types.SamplingMessage(role="user", content=content)], max_tokens=100)


def ask_roots() -> ListRoots:
    return ListRoots()


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
    raise ToolError("deliberate failure")


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
    await ctx.notify_tools_changed()
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
def ask(question: str, answer: Annotated[Answer, Resolve(ask_user)]) -> str:
    """Ask the user."""
    return answer.answer


@app.tool()
def sample(prompt: str, reply: Annotated[types.CreateMessageResult, Resolve(ask_model)]) -> str:
    """Ask the client's model."""
    assert isinstance(reply.content, types.TextContent)
    return reply.content.text


@app.tool()
def roots(found: Annotated[types.ListRootsResult, Resolve(ask_roots)]) -> str:
    """Ask for the client's roots."""
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


if __name__ == "__main__":
    if sys.argv[1:]:
        app.run("streamable-http", port=int(sys.argv[1]), event_store=Events(), retry_interval=100)
    else:
        app.run()
