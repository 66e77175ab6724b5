"""The benchmark's server on the official Python SDK 1.x."""

from mcp.server.fastmcp import FastMCP

app = FastMCP("bench", log_level="ERROR")


@app.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


if __name__ == "__main__":
    app.run()
