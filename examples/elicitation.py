"""A tool that asks the user, and a client that answers for them: the same code in both eras of the protocol.

In the legacy era the server's question is a request to the client, and the tool waits for its answer. In the modern
era a server sends no requests: the question ends the call, the client calls again with the answer, and the tool runs
again from its start. Do therefore nothing before a question that must not happen twice.
"""

import asyncio
from typing import Literal

import msgspec

from taut import Client, Context, Elicit, Server, models

app = Server("tables", "1.0")


class Booking(msgspec.Struct):
    """The form. A class gives a schema to the client, and its instance to the tool."""

    guests: int
    room: Literal["inside", "garden"] = "inside"


class Contact(msgspec.Struct):
    name: str


@app.tool
async def book(ctx: Context) -> str:
    """Book a table."""
    # Several questions at once need one round trip; ctx.elicit(...) asks a single one.
    answers = await ctx.ask(
        table=Elicit("For how many, and where?", Booking),
        contact=Elicit("In whose name?", Contact),
    )
    table, contact = answers["table"], answers["contact"]
    if not (table.accepted and contact.accepted):
        return "Nothing was booked."
    return f"A table for {table.content.guests} ({table.content.room}), for {contact.content.name}."


def answer(params: models.ElicitParams) -> models.ElicitResult:
    """Stand in for a user interface that shows the form."""
    if "name" in params.message:
        return models.ElicitResult(action="accept", content={"name": "Ada"})
    return models.ElicitResult(action="accept", content={"guests": 4, "room": "garden"})


def decline(params: models.ElicitParams) -> models.ElicitResult:
    return models.ElicitResult(action="decline")


async def main() -> None:
    for mode in ("legacy", "auto"):
        for user in (answer, decline):
            async with Client(app, mode=mode, elicitation=user) as client:
                result = await client.call_tool("book")
                print(f"{client.revision}: {result.content[0].text}")


if __name__ == "__main__":
    asyncio.run(main())
