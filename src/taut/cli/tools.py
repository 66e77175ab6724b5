"""``taut tools``: list the tools of a server."""

from __future__ import annotations

from taut import models
from taut.cli.connecting import run_with_client, target_of_options
from taut.cli.page import Entries, Entry, show, show_json
from taut.cli.parser import Options
from taut.cli.status import Status
from taut.cli.views import tool_entries
from taut.client import Client

__all__ = ["run"]


def run(options: Options) -> Status:
    """Print each tool with its arguments; as JSON, the list of tools as the server sent it."""

    async def tools(client: Client) -> tuple[list[models.Tool], str]:
        listed = await client.list_tools() if client.server_capabilities.tools else []
        return listed, client.revision

    listed, revision = run_with_client(options, target_of_options(options), tools)
    if options.json:
        show_json([models.to_dict(tool, revision) for tool in listed])
    else:
        show([Entries(tool_entries(listed) or [Entry([("The server has no tools.", "faint")])])])
    return Status.OK
