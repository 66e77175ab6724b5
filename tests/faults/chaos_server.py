"""A server that remembers how often each call was run."""

from collections import Counter, defaultdict

from taut import Context, Server

app = Server("chaos", version="1.0")
runs_by_key: defaultdict[str, Counter[str]] = defaultdict(Counter)


@app.tool
def count(key: str, number: int) -> str:
    """Note a call, and return its number."""
    runs_by_key[key][str(number)] += 1
    return str(number)


@app.tool
async def count_and_stream(key: str, number: int, ctx: Context) -> str:
    """Do so with progress on the way."""
    runs_by_key[key][str(number)] += 1
    await ctx.progress(1)
    return str(number)


@app.tool
def runs(key: str) -> dict[str, int]:
    """Return how often each number was run."""
    return dict(runs_by_key[key])
