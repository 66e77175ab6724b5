"""The benchmark's server on taut: the same two tools as every other server here."""

from taut import Server

app = Server("bench", version="1.0")


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool
def echo(text: str) -> str:
    """Return the text."""
    return text


if __name__ == "__main__":
    app.run()
