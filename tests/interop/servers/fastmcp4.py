"""The interoperability server on fastmcp (both eras).

In the modern era this library has no call that waits for the client: the tool returns what it wants to know,
and is entered again with the answers.
"""

import sys

import anyio
import mcp_types as types
import uvicorn
from _events import Events
from fastmcp import Context, FastMCP

app = FastMCP("interop", version="1.0")
#: The waits that were cut short.
INTERRUPTED: list[float] = []

ANSWER = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


async def asked(ctx: Context, request: types.InputRequest) -> types.Result | types.InputRequiredResult:
    """Return the client's answer to one request, or what the tool has to return in order to get it."""
    if ctx.input_responses is None:
        return types.InputRequiredResult(input_requests={"only": request}, result_type="input_required")
    return ctx.input_responses["only"]


def is_modern(ctx: Context) -> bool:
    return ctx._is_modern_protocol()


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
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
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
    raise ValueError("deliberate failure")


@app.tool
async def progress(steps: int, ctx: Context) -> str:
    """Report progress."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await anyio.sleep(0.02)
    return "done"


@app.tool
async def touch(ctx: Context) -> str:
    """Announce that the list of tools has changed."""
    await ctx.send_notification(types.ToolListChangedNotification())
    return "touched"


@app.tool
async def poll(ctx: Context) -> str:
    """Send the client away while working, and tell whether that could be done."""
    closed = ctx.request_context.close_sse_stream is not None
    await ctx.close_sse_stream()
    await anyio.sleep(0.02)
    return "closed" if closed else "open"


@app.tool
async def log(message: str, ctx: Context) -> str:
    """Log a message to the client."""
    await ctx.info(message)
    return "logged"


@app.tool
async def ask(question: str, ctx: Context):
    """Ask the user."""
    if not is_modern(ctx):
        outcome = await ctx.elicit(question, str)
        return outcome.data if outcome.action == "accept" else outcome.action
    params = types.ElicitRequestFormParams(message=question, requested_schema=ANSWER)
    answer = await asked(ctx, types.ElicitRequest(params=params))
    return answer.content["answer"] if isinstance(answer, types.ElicitResult) else answer


@app.tool
async def sample(prompt: str, ctx: Context):
    """Ask the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    if is_modern(ctx):
        params = types.CreateMessageRequestParams(messages=[message], max_tokens=100)
        reply = await asked(ctx, types.CreateMessageRequest(params=params))
    else:
        reply = await ctx.session.create_message([message], max_tokens=100)
    return reply.content.text if isinstance(reply, types.CreateMessageResult) else reply


@app.tool
async def roots(ctx: Context):
    """Ask for the client's roots."""
    found = await asked(ctx, types.ListRootsRequest()) if is_modern(ctx) else await ctx.session.list_roots()
    return (
        " ".join(str(root.uri) for root in found.roots) if isinstance(found, types.ListRootsResult) else found
    )


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
        web = app.http_app(event_store=Events(), retry_interval=100)
        uvicorn.run(web, port=int(sys.argv[1]), log_level="error")
    else:
        app.run(show_banner=False, log_level="ERROR")
