"""Revisions, capabilities, the registry, and what importing the package costs."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import msgspec
import pytest

from taut import models

#: Modules whose names are for the other models only.
INTERNAL = {"taut.models._downgrade"}


def test_revisions_are_enumerated_never_compared_as_text() -> None:
    assert models.at_least("2025-11-25", "2025-06-18")
    assert models.at_least("2025-06-18", "2025-06-18")
    assert not models.at_least("2025-03-26", "2025-06-18")
    assert not models.at_least("2099-01-01", "2024-11-05")
    assert not models.at_least("DRAFT-2026-v1", "2024-11-05")
    assert not models.at_least("2025-06-18", "2099-01-01")


def test_the_eras_part_the_revisions() -> None:
    assert set(models.REVISIONS) == models.LEGACY | models.MODERN
    assert not models.LEGACY & models.MODERN
    assert models.LATEST in models.MODERN
    assert models.LATEST_LEGACY in models.LEGACY


@pytest.mark.parametrize(
    ("path", "declared"),
    [
        ("tools", True),
        ("tools.listChanged", False),
        ("resources.subscribe", True),
        ("resources.listChanged", False),
        ("prompts", False),
        ("logging", True),
        ("tasks.requests.tools.call", True),
        ("tasks.requests.tools.list", False),
        ("extensions.io.modelcontextprotocol/tasks", True),
        ("extensions.io.modelcontextprotocol/ui", False),
        ("experimental.a.b", True),
        ("telepathy.range", True),
        ("telepathy.depth", False),
        ("extra", False),
        ("nothing.at.all", False),
    ],
)
def test_declares_follows_a_dotted_path(path: str, declared: bool) -> None:
    capabilities = models.ServerCapabilities(
        tools=models.ToolsCapability(list_changed=False),
        resources=models.ResourcesCapability(subscribe=True),
        logging={},
        tasks=models.ServerTasksCapability(requests={"tools": {"call": {}}}),
        extensions={models.TASKS_EXTENSION: {}},
        experimental={"a.b": {}},
        extra={"telepathy": {"range": 1}},
    )
    assert models.declares(capabilities, path) is declared


def test_every_capability_of_the_registry_can_be_declared() -> None:
    for spec in models.METHODS.values():
        if spec.capability is not None:
            empty = models.ClientCapabilities(), models.ServerCapabilities()
            assert not any(models.declares(capabilities, spec.capability) for capabilities in empty)


def test_lookup_gives_the_shape_at_a_revision() -> None:
    newest = models.lookup("tasks/get", "2026-07-28")
    assert newest is models.METHODS["tasks/get"]
    older = models.lookup("tasks/get", "2025-11-25")
    assert older is not None
    assert older.result is models.LegacyGetTaskResult
    assert models.lookup("tasks/get", "2025-06-18") is None
    assert models.lookup("tools/call", "2099-01-01") is None
    assert models.lookup("no/such", "2025-06-18") is None


def test_completions_need_a_capability_once_there_is_one() -> None:
    shapes = [models.lookup("completion/complete", revision) for revision in models.REVISIONS]
    assert [shape.capability for shape in shapes if shape] == [None, *["completions"] * 4]


def test_params_without_required_members_need_not_be_sent() -> None:
    for spec in models.METHODS.values():
        required = [f for f in msgspec.structs.fields(spec.params) if f.required]
        if not required:
            models.convert({}, spec.params)


def test_the_public_names_are_those_of_the_modules() -> None:
    modules = [
        importlib.import_module(f"taut.models.{info.name}") for info in pkgutil.iter_modules(models.__path__)
    ]
    named = {name for module in modules if module.__name__ not in INTERNAL for name in module.__all__}
    assert set(models.__all__) == named
    assert len(models.__all__) == len(set(models.__all__))


def test_import_loads_only_msgspec_and_the_models() -> None:
    program = (
        "import sys, msgspec; before = set(sys.modules); import taut.models\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert set(loaded.stdout.split()) <= {"taut", "binascii"}


def test_no_decoder_is_built_by_import() -> None:
    program = "import taut.models.codec as codec; print(codec.decoder.cache_info().currsize)"
    built = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert built.stdout.strip() == "0"
