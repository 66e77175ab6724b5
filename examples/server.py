"""A server with one tool. Serve it with ``taut serve server.py``, or call the tool with

taut call server.py add a=1 b=2
"""

from taut import Server

app = Server("adder", "1.0")


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


if __name__ == "__main__":
    app.run()
