"""The JSON Schema of agents files: it is the one in the documents, and says the same as taut."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from taut.agent.config import load
from taut.agent.config.agents import AgentTable
from taut.agent.config.editors import json_schema
from taut.agent.config.reading import AnyAgentTable
from taut.agent.policy import ToolPolicy

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "agents").glob("*.toml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema_rs.Draft7Validator(json_schema())


def test_the_document_is_up_to_date() -> None:
    kept = (ROOT / "docs" / "agent.schema.json").read_bytes()
    assert kept == msgspec.json.format(msgspec.json.encode(json_schema()), indent=2) + b"\n", (
        "taut run --schema > docs/agent.schema.json"
    )


def test_it_is_a_schema_of_draft_7() -> None:
    jsonschema_rs.meta.validate(json_schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_fit_and_name_it(validator: Any, path: Path) -> None:
    validator.validate(tomllib.loads(path.read_text()))
    first = path.read_text().splitlines()[0]
    assert first == "#:schema ../../docs/agent.schema.json"
    load(path, environ={})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('[agent]\nmodel = "echo"', True),
        ("[agent]\nmodl = 1", False),
        ("[agent]\npattern = 'agent'", True),
        ("[agent]\npattern = 'chain'", False),
        ("[agent]\npattern = 'chain'\nagents = ['a']", True),
        ("[agent]\npattern = 'chain'\nroutes = ['a']", False),
        ("[agents.a]\nmemory = true", True),
        ("[agents.a]\nmemory.sqlite = 'x'", True),
        ("[agents.a]\nmemory.file = 'x'", False),
        ("[agents.a]\noutput.type = 'string'", True),
        ("[servers.a]\ncommand = ['x', 'y']\nrequired = false", True),
        ("[servers.a]\ncomand = 'x'", False),
        ("[models.a]\ntype = 'groq'\nmodel = 'x'", True),
        ("[models.a]\ntype = 'grok'", False),
        ("[agent]\nbudget.tokens = 'x'", False),
        ("[agent]\nbudget.token = 1", False),
        ("[agent]\npolicy.cache_s = { x = 1 }", True),
    ],
)
def test_it_accepts_what_taut_does(validator: Any, text: str, fits: bool) -> None:
    assert validator.is_valid(tomllib.loads(text)) is fits


def test_every_key_of_our_own_tables_is_described() -> None:
    described = json_schema()
    tables = {**described["definitions"], "FileTable": described}
    silent = [
        f"{name}.{key}"
        for name, table in tables.items()
        if name.endswith("Table") and name != "DefaultsTable"
        for key, value in table["properties"].items()
        if not value.get("description", "").strip()
    ]
    assert silent == []


def test_what_others_say_of_their_keys_is_there() -> None:
    definitions = json_schema()["definitions"]
    assert definitions["ServerConfig"]["properties"]["cwd"] == {"type": "string"}
    assert definitions["ServerConfig"]["properties"]["env"]["description"].startswith(
        "Variables for the child"
    )
    assert definitions["ToolPolicy"]["properties"]["approve"]["description"].startswith(
        "calls that somebody must"
    )
    assert set(definitions["ToolPolicy"]["properties"]) == set(ToolPolicy.__struct_fields__)


def test_every_pattern_is_in_it() -> None:
    names = {kind.__name__ for kind in AnyAgentTable.__args__}  # type: ignore[attr-defined]
    assert AgentTable.__name__ in names
    assert names <= set(json_schema()["definitions"])


def test_every_pattern_there_is_has_a_table() -> None:
    from taut.agent import patterns
    from taut.agent.config.patterns import PATTERNS

    made = {kind.made for kind in PATTERNS.__args__}
    kinds = [getattr(patterns, name) for name in patterns.__all__]
    assert made == {
        kind.__name__
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, patterns.Pattern) and kind is not patterns.Pattern
    }
