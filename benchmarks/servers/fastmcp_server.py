"""The benchmark's server on fastmcp."""

from fastmcp import FastMCP

app = FastMCP("bench", version="1.0")


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool
def echo(text: str) -> str:
    """Return the text."""
    return text


if __name__ == "__main__":
    app.run(show_banner=False, log_level="ERROR")
