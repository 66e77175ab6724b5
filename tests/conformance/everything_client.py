"""A client that does what the scenarios of the official conformance suite want to see done.

An ordinary user of the public API: what is chosen by the scenario's name is only which tools are called.
`MCP_CONFORMANCE_SCENARIO=tools_call python everything_client.py URL`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from taut import Client, models

#: Says which lifecycle the server speaks.
REVISION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", models.LATEST)
CONTEXT: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")


def fill_in(params: models.ElicitParams) -> models.ElicitResult:
    """Accept a form as it stands: what has a default keeps it, and what is asked for is confirmed."""
    content: dict[str, Any] = {}
    for name, field in params.requested_schema["properties"].items():
        if "default" in field:
            content[name] = field["default"]
        elif field.get("type") == "boolean":
            content[name] = True
    return models.ElicitResult(action="accept", content=content)


async def look_around(client: Client) -> None:
    """List what there is."""
    if client.server_capabilities.tools:
        await client.list_tools()


async def add(client: Client) -> None:
    """Call one tool."""
    await client.list_tools()
    await client.call_tool("add_numbers", {"a": 5, "b": 3}, raise_on_error=True)


async def fill_in_defaults(client: Client) -> None:
    """Have a tool ask for a form."""
    await client.list_tools()
    await client.call_tool("test_client_elicitation_defaults")


async def reconnect(client: Client) -> None:
    """Wait for a tool whose server closes the stream in the middle."""
    await client.list_tools()
    await client.call_tool("test_reconnection")


async def echo_schema(client: Client) -> None:
    """Give a tool's schema back as it came."""
    tools = {tool.name: tool for tool in await client.list_tools()}
    schema = tools["json_schema_2020_12_tool"].input_schema
    await client.call_tool("json_schema_echo", {"schema": schema})


async def answer_questions(client: Client) -> None:
    """Call tools that ask before they answer, and some that do not, at the same time."""
    await client.list_tools()
    await asyncio.gather(client.call_tool("test_mrtr_echo_state"), client.call_tool("test_mrtr_unrelated"))
    await client.call_tool("test_mrtr_no_state")
    await client.call_tool("test_mrtr_no_result_type")


async def use_everything(client: Client) -> None:
    """Call, read and get what there is."""
    capabilities = client.server_capabilities
    for tool in await client.list_tools():
        await client.call_tool(tool.name, {"a": 5, "b": 3} if tool.name == "add_numbers" else {})
    if capabilities.resources:
        for resource in await client.list_resources():
            await client.read_resource(resource.uri)
    if capabilities.prompts:
        for prompt in await client.list_prompts():
            await client.get_prompt(prompt.name)


async def make_calls(client: Client) -> None:
    """Make the calls that the context lists."""
    await client.list_tools()
    for call in CONTEXT["toolCalls"]:
        await client.call_tool(call["name"], call["arguments"])


async def call_every_tool(client: Client) -> None:
    """Call every tool that the client shows."""
    for tool in await client.list_tools():
        await client.call_tool(tool.name, dict.fromkeys(tool.input_schema.get("properties", {}), "x"))


async def list_skills(client: Client) -> None:
    """Look at what skills there are."""
    await client.list_skills()


async def use_skills(client: Client) -> None:
    """Load every skill, and read all its files."""
    for entry in await client.list_skills():
        skill = await client.load_skill(entry)
        for file in entry.resources:
            await skill.read(file.uri.removeprefix(entry.uri.removesuffix("SKILL.md")))


SCENARIOS: dict[str, Callable[[Client], Awaitable[None]]] = {
    "initialize": look_around,
    "tools_call": add,
    "elicitation-sep1034-client-defaults": fill_in_defaults,
    "sse-retry": reconnect,
    "json-schema-2020-12-preservation": echo_schema,
    "json-schema-ref-no-deref": look_around,
    "request-metadata": look_around,
    "sep-2322-client-request-state": answer_questions,
    "http-standard-headers": use_everything,
    "http-custom-headers": make_calls,
    "http-invalid-tool-headers": call_every_tool,
    "sep-2640-client-no-prefetch": list_skills,
    "sep-2640-client-verify-digest": use_skills,
    "sep-2640-client-verify-size": use_skills,
    "sep-2640-client-verify-frontmatter": use_skills,
}


async def main(url: str, scenario: str) -> None:
    """Connect to ``url`` as the scenario's revision has it, and play the scenario."""
    act = SCENARIOS[scenario]
    mode = "auto" if REVISION in models.MODERN else REVISION
    async with Client(url, mode=mode, name="everything", version="1.0", elicitation=fill_in) as client:
        await act(client)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], os.environ["MCP_CONFORMANCE_SCENARIO"]))
