"""Make the labelled set for tool search: 1,000 tools of invented servers, and queries with the tools that are right.

    python tests/agent/data/make_tools.py [--check]

Every tool, every parameter's description and every query is written by hand, in ``servers/*.txt``, ``params.txt`` and
``queries.txt``; here they become ``tools_1000.jsonl`` (each line a `taut.llm.model.ToolSpec`) and ``queries.jsonl``.

A file of ``servers/`` is named after its server: a line on what that is, its style, notes, then one tool a line:
``name | description | parameters``. A parameter is a name, a type (``#`` integer, ``~`` number, ``?`` boolean, ``[]``
texts, ``{}`` object, none: text), ``!`` if required, and ``=a,b`` for its values or its description in quotes.

Styles are those of real servers: ``long`` puts boilerplate after the description, ``plain`` describes each parameter,
``terse`` the required ones, ``bare`` none.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "tools_1000.jsonl"
QUERIES = HERE / "queries.jsonl"

PARAM = re.compile(r'(\w+)(\[\]|\{\}|[#~?])?(!)?(?:=(\S+)|"([^"]*)")?(?:\s+|$)')
TYPES: dict[str | None, dict[str, Any]] = {
    None: {"type": "string"},
    "#": {"type": "integer"},
    "~": {"type": "number"},
    "?": {"type": "boolean"},
    "[]": {"type": "array", "items": {"type": "string"}},
    "{}": {"type": "object"},
}


def glossary() -> dict[str, str]:
    """Return the descriptions of parameters by name."""
    lines = (line for line in (HERE / "params.txt").read_text().splitlines() if not line.startswith("#"))
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def describe(server: str, name: str, known: dict[str, str]) -> str:
    """Return the description of a parameter, or nothing."""
    text = known.get(f"{server}.{name}") or known.get(name)
    if text is None and name.endswith("_id"):
        text = f"Id of the {name.removesuffix('_id').replace('_', ' ')}."
    return text or ""


def schema(server: str, style: str, params: str, known: dict[str, str]) -> dict[str, Any]:
    """Return the input schema of a tool."""
    properties: dict[str, Any] = {}
    required = []
    rest = params.strip()
    while rest:
        found = PARAM.match(rest)
        if found is None:
            raise SystemExit(f"{server}: expected a parameter, got {rest!r}")
        name, kind, must, values, own = found.groups()
        entry = dict(TYPES[kind])
        if values:
            entry["enum"] = values.split(",")
        text = own or describe(server, name, known)
        if text and (style in ("long", "plain") or (style == "terse" and must)):
            entry["description"] = text
        properties[name] = entry
        if must:
            required.append(name)
        rest = rest[found.end() :]
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        made["required"] = required
    return made


def boilerplate(name: str, notes: dict[str, str]) -> list[str]:
    """Return the notes that a server of style ``long`` puts into a tool's description."""
    starts = {"list": ("list", "search"), "delete": ("delete", "remove", "drop")}
    added = [text for kind, text in notes.items() if name.startswith(starts.get(kind, "-"))]
    return [*added, notes["any"]] if "any" in notes else added


def tools_of(path: Path, known: dict[str, str]) -> list[dict[str, Any]]:
    """Return the tools of one server."""
    style, notes, tools = "plain", {}, []
    for line in path.read_text().splitlines()[1:]:
        if line.startswith("style: "):
            style = line.removeprefix("style: ")
        elif found := re.match(r"note (\w+): (.*)", line):
            notes[found[1]] = found[2]
        else:
            name, text, params = (part.strip() for part in line.split("|"))
            if style == "long":
                text = " ".join([text, *boilerplate(name, notes)])
            tools.append(
                {
                    "name": f"{path.stem}__{name}",
                    "description": text,
                    "input_schema": schema(path.stem, style, params, known),
                }
            )
    return tools


def queries(names: set[str]) -> list[dict[str, Any]]:
    """Return the queries, each with the tools that are right, its kind and its half."""
    kind, made = "", []
    for line in (HERE / "queries.txt").read_text().splitlines():
        if line.startswith("## "):
            kind = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            text, _, right = (part.strip() for part in line.partition("|"))
            if unknown := set(right.split()) - names:
                raise SystemExit(f"{text}: expected known tools, got {sorted(unknown)}")
            # By its hash, so that nobody chooses.
            half = "tuning" if hashlib.sha256(text.encode()).digest()[0] % 2 else "held_out"
            made.append({"query": text, "tools": right.split(), "kind": kind, "half": half})
    return made


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)


def make() -> dict[Path, str]:
    """Return what the files are to contain."""
    known = glossary()
    tools = [tool for path in sorted((HERE / "servers").glob("*.txt")) for tool in tools_of(path, known)]
    return {TOOLS: lines(tools), QUERIES: lines(queries({tool["name"] for tool in tools}))}


def main() -> int:
    made = make()
    if "--check" in sys.argv[1:]:
        return int(any(path.read_text() != text for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
