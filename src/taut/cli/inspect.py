"""``taut inspect``: what was negotiated with a server, and all that it offers."""

from __future__ import annotations

from taut.cli.connecting import run_with_client, target_of_options
from taut.cli.page import Block, Heading, show, show_json
from taut.cli.parser import Options
from taut.cli.status import Status
from taut.cli.views import (
    about_server,
    prompt_entries,
    read_offer,
    resource_entries,
    section,
    server_facts,
    server_line,
    tool_entries,
)
from taut.client import Client

__all__ = ["run"]


def run(options: Options) -> Status:
    """Print what the server says of itself, its tools, resources, templates and prompts."""
    run_with_client(options, target_of_options(options), _as_json if options.json else _as_page)
    return Status.OK


async def _as_json(client: Client) -> None:
    offer = await read_offer(client)
    show_json(about_server(client) | offer.to_dict(client.revision))


async def _as_page(client: Client) -> None:
    offer = await read_offer(client)
    blocks: list[Block] = [
        Heading(server_line(client)),
        server_facts(client),
        *section("Tools", tool_entries(offer.tools)),
        *section("Resources", resource_entries(offer.resources)),
        *section("Resource templates", resource_entries(offer.templates)),
        *section("Prompts", prompt_entries(offer.prompts)),
    ]
    show(blocks)
