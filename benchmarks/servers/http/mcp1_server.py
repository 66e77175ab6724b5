"""The HTTP benchmark's server on the official Python SDK 1.x."""

from _serve import SCENARIO, serve
from mcp.server.fastmcp import Context, FastMCP

app = FastMCP(
    "bench", log_level="ERROR", json_response=SCENARIO != "sse", stateless_http=SCENARIO == "stateless"
)


@app.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool()
async def report(a: int, b: int, ctx: Context) -> int:
    """Report progress once, then add two numbers."""
    await ctx.report_progress(1, 2)
    return a + b


if __name__ == "__main__":
    serve(app.streamable_http_app())
