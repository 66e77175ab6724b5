"""A notebook over MCP: the second server of ``taut demo``, which serves it over HTTP.

Run it by itself with ``taut serve taut.cli.demo_notebook:app``.
"""

from __future__ import annotations

from taut import Server, ToolError, __version__

app = Server("taut-notebook", __version__)
#: As long as the process lives: nothing is written to a disk.
pages: dict[str, str] = {}


@app.tool
def write_note(title: str, text: str) -> str:
    """Write a note."""
    if not title.strip() or not text.strip():
        raise ToolError("Expected a title and a text, got nothing")
    pages[title] = text
    return f"Noted: {title}"


@app.resource("note://all", mime_type="text/plain")
def notes() -> str:
    """Everything that was noted."""
    return "\n".join(f"{title}: {text}" for title, text in pages.items()) or "Nothing was noted."
