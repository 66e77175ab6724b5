"""What a server says of itself and of what it offers, as blocks and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from taut import models
from taut.cli.page import Entries, Entry, Facts, Heading, Spans, Style
from taut.cli.schemas import signature, type_text
from taut.client import Client

__all__ = [
    "Offer",
    "about_server",
    "era",
    "prompt_entries",
    "read_offer",
    "resource_entries",
    "section",
    "server_line",
    "tool_entries",
]

JsonObject = dict[str, Any]


class Offer(msgspec.Struct, frozen=True):
    """All that a server offers."""

    tools: Sequence[models.Tool] = ()
    resources: Sequence[models.Resource] = ()
    templates: Sequence[models.ResourceTemplate] = ()
    prompts: Sequence[models.Prompt] = ()

    def to_dict(self, revision: str) -> JsonObject:
        """Return the lists as the wire has them."""
        lists: dict[str, Sequence[msgspec.Struct]] = {
            "tools": self.tools,
            "resources": self.resources,
            "resourceTemplates": self.templates,
            "prompts": self.prompts,
        }
        return {name: [models.to_dict(one, revision) for one in items] for name, items in lists.items()}


async def read_offer(client: Client) -> Offer:
    """List all that the server declares."""
    declared = client.server_capabilities
    return Offer(
        await client.list_tools() if declared.tools else (),
        await client.list_resources() if declared.resources else (),
        await client.list_resource_templates() if declared.resources else (),
        await client.list_prompts() if declared.prompts else (),
    )


def era(revision: str) -> str:
    """Return the era of a revision."""
    return "modern" if revision in models.MODERN else "legacy"


def about_server(client: Client) -> JsonObject:
    """Return what was negotiated, for machines."""
    info = client.server_info
    return {
        "revision": client.revision,
        "era": era(client.revision),
        "serverInfo": None if info is None else models.to_dict(info, client.revision),
        "capabilities": models.to_dict(client.server_capabilities, client.revision),
        "instructions": client.instructions,
    }


def server_line(client: Client) -> Spans:
    """Return who answered, and in which revision."""
    info = client.server_info
    name, version = (
        ("a server without a name", "") if info is None else (info.title or info.name, info.version)
    )
    return [
        (name, "title"),
        (f" {version}", ""),
        (f"  {client.revision}, {era(client.revision)} era", "faint"),
    ]


def server_facts(client: Client) -> Facts:
    """Return the details of the server."""
    info = client.server_info
    rows: list[tuple[str, Spans]] = []
    if info is not None:
        for label, value in (
            ("name", info.title and info.name),
            ("about", info.description),
            ("site", info.website_url),
        ):
            if value:
                rows.append((label, [(value, "")]))
    declared = models.to_dict(client.server_capabilities, client.revision)
    rows.append(("capabilities", [(", ".join(_capabilities(declared)) or "none", "")]))
    if client.instructions:
        rows.append(("instructions", [(client.instructions.strip(), "")]))
    return Facts(rows)


def _capabilities(declared: JsonObject) -> Iterable[str]:
    for name, value in declared.items():
        details = [key for key, on in value.items() if on is not False] if isinstance(value, dict) else []
        yield f"{name} ({', '.join(details)})" if details else name


def section(title: str, entries: Sequence[Entry]) -> list[Heading | Entries]:
    """Return a titled list, or nothing where there is nothing to list."""
    if not entries:
        return []
    return [Heading([(title, "title"), (f"  {len(entries)}", "faint")]), Entries(entries)]


def tool_entries(tools: Iterable[models.Tool]) -> list[Entry]:
    """Return each tool as ``name(argument: type = default) -> type``, over its description."""
    return [Entry(_tool_spans(tool), _about(tool.title, tool.description)) for tool in tools]


def _tool_spans(tool: models.Tool) -> Spans:
    spans: list[tuple[str, Style]] = [(tool.name, "name"), ("(", "")]
    for at, (name, kind, default) in enumerate(signature(tool.input_schema)):
        spans += [
            (", " if at else "", ""),
            (name + ("?" if default == "?" else ""), ""),
            (": ", "faint"),
            (kind, "type"),
        ]
        if default != "?":
            spans.append((default, "faint"))
    spans.append((")", ""))
    if tool.output_schema:
        spans += [(" -> ", "faint"), (_output_type(tool.output_schema), "type")]
    hints = tool.annotations
    if hints and hints.read_only_hint is True:
        spans.append(("  read-only", "faint"))
    elif hints and hints.destructive_hint is True:
        spans.append(("  destructive", "bad"))
    return spans


def _output_type(schema: JsonObject) -> str:
    """Return the type of a result; a lone ``result`` is how values that are no objects travel."""
    properties = schema.get("properties")
    if isinstance(properties, dict) and list(properties) == ["result"]:
        return type_text(properties["result"], schema)
    return type_text(schema, schema)


def resource_entries(resources: Iterable[models.Resource | models.ResourceTemplate]) -> list[Entry]:
    """Return each resource by its URI, with its media type."""
    entries = []
    for one in resources:
        uri = one.uri if isinstance(one, models.Resource) else one.uri_template
        kind = f"  {one.mime_type}" if one.mime_type else ""
        entries.append(Entry([(uri, "name"), (kind, "type")], _about(one.title or one.name, one.description)))
    return entries


def prompt_entries(prompts: Iterable[models.Prompt]) -> list[Entry]:
    """Return each prompt as ``name(argument, optional?)``."""
    entries = []
    for one in prompts:
        arguments = ", ".join(
            argument.name + ("" if argument.required else "?") for argument in one.arguments or ()
        )
        entries.append(
            Entry([(one.name, "name"), (f"({arguments})", "")], _about(one.title, one.description))
        )
    return entries


def _about(title: str | msgspec.UnsetType, description: str | msgspec.UnsetType) -> str:
    parts = [part.strip() for part in (title, description) if part]
    return "\n".join(dict.fromkeys(part for part in parts if part))
