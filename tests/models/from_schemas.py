"""Make up messages from an official schema: a seeded generator for the keywords that those schemas use."""

from __future__ import annotations

import random
from typing import Any

from spec import definitions

WORDS = ("", "a", "key", "Zürich", "\u2028", "😀")
ANY: tuple[Any, ...] = (None, True, 0, -7, 2**70, 1.5, "text", [], [1, ["a", None]], {}, {"k": {"k": None}})


class Maker:
    """Makes up instances of the definitions of one revision."""

    def __init__(self, revision: str, seed: int) -> None:
        self.definitions = definitions(revision)
        self.random = random.Random(seed)

    def make(self, definition: str) -> Any:
        """Return an instance of a definition."""
        value = self._make(self.definitions[definition])
        if definition == "InputRequiredResult":
            value["resultType"] = "input_required"
            if "inputRequests" not in value:
                value["requestState"] = "opaque"
        elif isinstance(value, dict) and "resultType" in value:
            value["resultType"] = "complete"
        return value

    def _make(self, schema: Any) -> Any:
        if "$ref" in schema:
            return self.make(schema["$ref"].rpartition("/")[2])
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._make(self.random.choice(schema[choice]))
        if "allOf" in schema:
            merged: dict[str, Any] = {}
            for part in schema["allOf"]:
                merged |= self._make(part)
            return merged
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = self.random.choice(kind)
        if kind == "object" or "properties" in schema:
            return self._object(schema)
        if kind == "array":
            return [self._make(schema["items"]) for _ in range(self.random.randrange(3))]
        return self._scalar(kind, schema)

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        eagerness = self.random.choice((0.0, 0.3, 0.7, 1.0))
        required = schema.get("required", ())
        value = {
            name: self._make(member)
            for name, member in schema.get("properties", {}).items()
            if name in required or self.random.random() < eagerness
        }
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict) and self.random.random() < 0.4:
            for _ in range(self.random.randrange(3)):
                value.setdefault(f"x-{self.random.choice(WORDS)}", self._make(additional))
        return value

    def _scalar(self, kind: str | None, schema: dict[str, Any]) -> Any:
        if kind == "string":
            written = {"uri": "https://example.org/a", "byte": "aGk=", "uri-template": "note://{name}"}
            return written.get(schema.get("format", ""), self.random.choice(WORDS))
        if kind == "integer":
            return self.random.choice((0, 1, 5, 2**53, 2**70))
        if kind == "number":
            return self.random.choice((0, 0.5, 1))
        if kind == "boolean":
            return self.random.random() < 0.5
        if kind == "null":
            return None
        return self.random.choice(ANY)
