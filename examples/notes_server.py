"""A server with one of everything: notes that live as long as the process.

taut inspect notes_server.py
taut call notes_server.py search query=milk
taut call notes_server.py cover title=Errands --save covers
"""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from taut import Context, Image, Server, ToolError, models


class Note(msgspec.Struct):
    """A note, as tools return it: they get an output schema, and clients structured content."""

    title: str
    text: str
    tags: list[str] = []


@dataclass
class Notebook:
    """What the handlers share."""

    notes: dict[str, Note] = field(default_factory=dict)

    def find(self, title: str) -> Note:
        note = self.notes.get(title)
        if note is None:
            # The model sees this text, and may try again. Any other exception would be reported without details.
            raise ToolError(f"There is no note {title!r}; there are {', '.join(self.notes) or 'none'}")
        return note


@asynccontextmanager
async def lifespan(server: Server) -> AsyncIterator[Notebook]:
    """Open what the server needs before the first client, and close it after the last."""
    errands = Note("Errands", "Buy milk.\nPost the letter.", ["home"])
    ideas = Note("Ideas", "A lamp that reads with you.", ["work"])
    yield Notebook({note.title: note for note in (errands, ideas)})


app = Server("notes", "1.0", lifespan=lifespan, instructions="Search before you add: titles are unique.")


# -- tools


@app.tool
def add(ctx: Context, title: str, text: str, tags: list[str] | None = None) -> Note:
    """Add a note.

    Args:
        title: What the note is called; no other may have the same title.
        text: What it says.
        tags: Words to find it by.
    """
    notebook: Notebook = ctx.lifespan
    if title in notebook.notes:
        raise ToolError(f"There is a note {title!r} already")
    note = notebook.notes[title] = Note(title, text, tags or [])
    ctx.info({"added": title})
    app.resource_updated("notes://index")
    return note


@app.tool(annotations=models.ToolAnnotations(read_only_hint=True))
def search(ctx: Context, query: str) -> list[Note]:
    """Return the notes that contain the query, in any case."""
    notebook: Notebook = ctx.lifespan
    wanted = query.casefold()
    return [note for note in notebook.notes.values() if wanted in f"{note.title}\n{note.text}".casefold()]


@app.tool
async def check_spelling(ctx: Context) -> str:
    """Look at every note, slowly, and say how it goes."""
    notebook: Notebook = ctx.lifespan
    for number, title in enumerate(notebook.notes, 1):
        await asyncio.sleep(0)  # the real work; meanwhile the server answers others
        await ctx.progress(number, len(notebook.notes), title)
    return f"{len(notebook.notes)} notes, no mistakes"


@app.tool
def cover(ctx: Context, title: str) -> list[str | Image]:
    """Draw the cover of a note: text and an image in one result."""
    notebook: Notebook = ctx.lifespan
    colour = zlib.crc32(notebook.find(title).text.encode()).to_bytes(4)[:3]
    return [f"The cover of {title}", Image(one_colour_png(32, colour))]


# -- resources


@app.resource("notes://index", title="All titles")
def index(ctx: Context) -> list[str]:
    """List the titles of all notes."""
    notebook: Notebook = ctx.lifespan
    return list(notebook.notes)


@app.resource("notes://note/{title}", mime_type="text/plain")
def read(ctx: Context, title: str) -> str:
    """Return the text of a note."""
    notebook: Notebook = ctx.lifespan
    return notebook.find(title).text


# -- prompts


@app.prompt
def tidy(ctx: Context, title: str, tone: str = "friendly") -> str:
    """Ask for a better text of a note."""
    notebook: Notebook = ctx.lifespan
    return f"Rewrite this note in a {tone} tone:\n\n{notebook.find(title).text}"


@app.completion("tidy", "tone")
def tones(value: str, others: dict[str, str]) -> list[str]:
    """Suggest tones that start with what was typed."""
    return [tone for tone in ("formal", "friendly", "terse") if tone.startswith(value)]


def one_colour_png(size: int, colour: bytes) -> bytes:
    """Return a square image of one colour (PNG specification: signature, IHDR, IDAT, IEND)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + colour * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


if __name__ == "__main__":
    app.run()
