"""The benchmark's server on the official Python SDK 2.x, with its high-level MCPServer."""

from mcp.server.mcpserver import MCPServer

app = MCPServer("bench", version="1.0", log_level="ERROR")


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
