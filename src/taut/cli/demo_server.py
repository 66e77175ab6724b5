"""The server of ``taut demo``: one of everything that a server can offer.

Run it by itself with ``taut serve taut.cli.demo_server:app``.
"""

from __future__ import annotations

import msgspec

from taut import Context, Server, ToolError, __version__, models

app = Server(
    "taut-demo",
    __version__,
    instructions="Adds, summarises, counts and greets. Nothing that it does has consequences.",
)
READ_ONLY = models.ToolAnnotations(read_only_hint=True)


class Summary(msgspec.Struct):
    """What a list of numbers has in common."""

    count: int
    mean: float
    largest: float


class Guest(msgspec.Struct):
    """Who is to be greeted."""

    name: str


@app.tool(annotations=READ_ONLY)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool(annotations=READ_ONLY)
def summarise(numbers: list[float]) -> Summary:
    """Summarise a list of numbers."""
    if not numbers:
        raise ToolError("Expected at least one number")
    return Summary(len(numbers), sum(numbers) / len(numbers), max(numbers))


@app.tool
async def count(ctx: Context, to: int = 5) -> str:
    """Count, and report progress at each number."""
    for number in range(1, to + 1):
        await ctx.progress(number, to)
    return f"counted to {to}"


@app.tool
async def greet(ctx: Context) -> str:
    """Ask the user for a name, and greet."""
    answer = await ctx.elicit("Who is there?", Guest)
    return f"Hello, {answer.content.name}!" if answer.accepted else "Hello, whoever you are."


@app.resource("revision://{date}", mime_type="text/plain")
def revision(date: str) -> str:
    """Say to which era a revision of the protocol belongs."""
    if date not in models.REVISIONS:
        raise ToolError(f"Expected one of {', '.join(models.REVISIONS)}, got {date}")
    return f"{date} is of the {'modern' if date in models.MODERN else 'legacy'} era"


@app.resource("revision://all")
def revisions() -> list[str]:
    """List the revisions of the protocol, oldest first."""
    return list(models.REVISIONS)


@app.prompt
def explain(topic: str) -> str:
    """Ask for an explanation."""
    return f"Explain {topic} to me in two sentences."


@app.completion("explain", "topic")
def topics(value: str, others: dict[str, str]) -> list[str]:
    """Suggest topics that start with what was typed."""
    return [topic for topic in ("capabilities", "elicitation", "sampling") if topic.startswith(value)]
