"""From Python annotations to JSON Schema 2020-12, and to the types that msgspec decodes.

`translate` rewrites an annotation into one that msgspec understands in full: text and `pydantic.Field` inside
`Annotated` become `msgspec.Meta`, ``memoryview`` becomes `msgspec.Raw`, ``object`` becomes ``Any``.
`result_schema` decides what a function's result looks like on the wire. Nothing here imports pydantic;
annotations that mention it are recognised by name (`mentions_pydantic`) and left to `taut.mcp._pydantic`.

References in schemas point to ``#/$defs/Name``, and titles that repeat the name of a definition are left out.
"""

from __future__ import annotations

import datetime
import enum
import functools
import operator
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec

__all__ = [
    "Result",
    "ResultShape",
    "inlined",
    "json_kinds",
    "mentions_pydantic",
    "result_schema",
    "schema_of",
    "translate",
    "with_null",
]

REF_TEMPLATE = "#/$defs/{name}"

_CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")
_TEMPORAL = {datetime.datetime: "date-time", datetime.time: "time"}
_TEXT = (str, bytes, bytearray, memoryview, type(None))


class ResultShape(enum.Enum):
    """How a result becomes ``structuredContent``."""

    NONE = enum.auto()  #: it does not: text, bytes, None, content blocks, or a type without a schema
    OBJECT = enum.auto()  #: as it is
    WRAPPED = enum.auto()  #: as ``{"result": value}``, which every revision allows


class Result(NamedTuple):
    """What a return annotation says: the shape, and the schema of the structured content."""

    shape: ResultShape
    schema: dict[str, Any] | None


# --- annotations --------------------------------------------------------------------------------------------


def translate(annotation: Any) -> Any:
    """Return ``annotation`` in msgspec's words; what msgspec does not know at all is returned unchanged."""
    if annotation is object:
        return Any
    if annotation is memoryview:
        return msgspec.Raw
    if isinstance(annotation, type) and annotation in _TEMPORAL:
        # msgspec names a format only when the time zone is fixed; models write better dates when told.
        return Annotated[annotation, msgspec.Meta(extra_json_schema={"format": _TEMPORAL[annotation]})]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        metadata = [meta for item in args[1:] for meta in _metas(item)]
        return functools.reduce(lambda base, meta: Annotated[base, meta], metadata, translate(args[0]))
    if origin in (Union, types.UnionType):
        members = [translate(arg) for arg in args]
        if all(member in (msgspec.Raw, type(None)) for member in members):
            return msgspec.Raw  # whose text may be null
        return Union[tuple(members)]  # noqa: UP007 - the members are only known at run time
    if origin in (list, dict, set, frozenset, tuple) and args:
        return origin[tuple(arg if arg is ... else translate(arg) for arg in args)]
    return annotation


def with_null(annotation: Any) -> Any:
    """Return ``annotation | None``, whatever the annotation is."""
    if annotation is Any:
        return Any
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return functools.reduce(lambda base, item: Annotated[base, item], metadata, with_null(base))
    return Union[annotation, None]  # noqa: UP007 - strings and special forms have no |


def _metas(item: Any) -> Iterable[msgspec.Meta]:
    """Return what one piece of `Annotated` metadata says, as `msgspec.Meta`."""
    if isinstance(item, msgspec.Meta):
        return [item]
    if isinstance(item, str):
        return [msgspec.Meta(description=item)]
    if isinstance(documentation := getattr(item, "documentation", None), str):  # typing_extensions.Doc
        return [msgspec.Meta(description=documentation)]
    if not type(item).__module__.startswith(("annotated_types", "pydantic")):
        return []
    said: dict[str, Any] = {
        key: getattr(item, key, None) for key in ("title", "description", "examples", *_CONSTRAINTS)
    }
    if isinstance(extra := getattr(item, "json_schema_extra", None), dict):
        said["extra_json_schema"] = extra
    said = {key: value for key, value in said.items() if value is not None}
    nested = [meta for part in getattr(item, "metadata", ()) for meta in _metas(part)]
    return [msgspec.Meta(**said), *nested] if said else nested


def mentions_pydantic(annotation: Any) -> bool:
    """Tell whether decoding ``annotation`` takes pydantic: a model, one of its types, a validator."""
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return mentions_pydantic(base) or any(
            type(item).__module__.startswith("pydantic") and type(item).__name__ != "FieldInfo"
            for item in metadata
        )
    if isinstance(annotation, type) and hasattr(annotation, "__pydantic_core_schema__"):
        return True
    if getattr(annotation, "__module__", "").startswith("pydantic"):
        return True
    return any(mentions_pydantic(arg) for arg in get_args(annotation))


# --- schemas ------------------------------------------------------------------------------------------------


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the schema of ``kind``, with the keywords of a definition at its root and ``$defs`` for all
    others.

    Raises TypeError for a type that has none.
    """
    (root,), definitions = msgspec.json.schema_components([kind], ref_template=REF_TEMPLATE)
    for name, definition in definitions.items():
        if definition.get("title") == name:
            del definition["title"]
    return inlined(root, definitions)


def inlined(root: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Replace a root ``$ref`` by its definition, which stays in ``$defs`` only if something else needs it."""
    reference = root.get("$ref")
    if reference is not None:
        name = reference.rpartition("/")[2]
        root = {**definitions[name], **{key: value for key, value in root.items() if key != "$ref"}}
        root.pop("title", None)
        if not _refers(reference, [root, definitions]):
            definitions = {key: value for key, value in definitions.items() if key != name}
    return {**root, "$defs": definitions} if definitions else root


def _refers(reference: str, node: Any) -> bool:
    if isinstance(node, dict):
        return node.get("$ref") == reference or any(_refers(reference, child) for child in node.values())
    return isinstance(node, list) and any(_refers(reference, child) for child in node)


def json_kinds(schema: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """Return the JSON types that ``schema`` names, through references and unions."""
    if (reference := schema.get("$ref")) is not None:
        name = reference.rpartition("/")[2]
        others = {key: value for key, value in definitions.items() if key != name}
        return json_kinds(definitions.get(name, {}), others)
    members = (json_kinds(member, definitions) for member in schema.get("anyOf", ()))
    return {str(schema.get("type"))}.union(*members)


def result_schema(
    annotation: Any, *, structured: bool | None, schema_of: Callable[[Any], dict[str, Any]]
) -> Result:
    """Decide how a result annotated ``annotation`` is structured; raises what ``schema_of`` raises.

    ``structured``: False for never, True for always, None for the types that are data: neither text, nor bytes, nor
    None, nor content blocks, nor unknown.
    """
    if structured is False or (structured is None and not _is_data(annotation)):
        return Result(ResultShape.NONE, None)
    schema = schema_of(annotation)
    if schema.get("type") == "object":
        return Result(ResultShape.OBJECT, schema)
    definitions = schema.pop("$defs", None)
    wrapped = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
    return Result(ResultShape.WRAPPED, wrapped if definitions is None else {**wrapped, "$defs": definitions})


def _is_data(annotation: Any) -> bool:
    members = _members(annotation)
    return not (
        any(member is Any or member is object or _is_content(member) for member in members)
        or all(member in _TEXT for member in members)
    )


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, seen through `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return functools.reduce(operator.iadd, map(_members, get_args(annotation)), [])
    return [type(None) if annotation is None else annotation]


def _is_content(annotation: Any) -> bool:
    """Tell whether this is one of taut's own types (a content block, a result), or a sequence that may hold them."""
    if annotation in (list, tuple):
        return True
    if get_origin(annotation) in (list, tuple, Sequence):
        members = _members_of_all(get_args(annotation))
        return any(member is Any or member is object or _is_content(member) for member in members)
    return str(getattr(annotation, "__module__", "")).partition(".")[0] == "taut"


def _members_of_all(annotations: Iterable[Any]) -> list[Any]:
    return [member for annotation in annotations for member in _members(annotation)]
