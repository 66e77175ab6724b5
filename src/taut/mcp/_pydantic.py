"""Parameters and results that only pydantic understands: schema, decoding and encoding by its `TypeAdapter`.

Imported by `taut.mcp.function` when an annotation mentions pydantic, which can only be once the user has
imported it; so a program without pydantic never pays for it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from taut.mcp.schema import inlined

__all__ = ["Adapter"]


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that only repeat a field's name: every model reads them, none needs them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Adapter:
    """One annotation, in pydantic's hands. Raises TypeError when pydantic cannot handle it either."""

    __slots__ = ("_adapter",)

    def __init__(self, annotation: Any) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise TypeError(str(error).splitlines()[0]) from error

    def schema(self, mode: JsonSchemaMode) -> dict[str, Any]:
        """Return the JSON Schema; its references point to ``#/$defs/Name``."""
        try:
            schema = self._adapter.json_schema(
                mode=mode, ref_template="#/$defs/{model}", schema_generator=_Untitled
            )
        except PydanticInvalidForJsonSchema as error:
            raise TypeError(str(error).splitlines()[0]) from error
        schema.pop("title", None)
        for definition in schema.get("$defs", {}).values():
            definition.pop("title", None)
        return schema

    def result_schema(self, annotation: object) -> dict[str, Any]:
        """Return the schema of what `encode` makes, its root not a reference."""
        schema = self.schema("serialization")
        return inlined(schema, schema.pop("$defs", {}))

    def decode(self, raw: Raw, at: str) -> object:
        """Validate JSON text; a ValueError is worded as msgspec words it, with the path below ``at``."""
        try:
            return self._adapter.validate_json(bytes(raw))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
            raise ValueError(f"{first['msg']} - at `{at}{path}`") from None

    def encode(self, value: object) -> Raw:
        """Encode a result the way its schema says, by alias."""
        return Raw(self._adapter.dump_json(value, by_alias=True))
