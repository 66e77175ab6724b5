"""Python functions as tools, prompts and resource templates: signature in, JSON Schema and decoder out.

`Function.compile` reads a signature once, at registration. From then on a call is ``decode`` (one typed
msgspec decode of the raw arguments into a struct made for this function) and ``call`` (a generated expression
that passes the struct's fields on). Nothing is inspected, imported or compiled per call, and nothing is
shared between calls.

What the arguments must look like is what the schema says:

- unknown arguments are refused (``additionalProperties`` is false): a misspelt optional argument is an error
  that the caller can correct, not a silently different call. Inside nested types the types' own rules hold
  (msgspec ignores what it does not know unless ``forbid_unknown_fields``);
- a number without a fractional part is an integer, also as ``5.0``, as JSON Schema has it (but not ``5e0``);
  ``"5"`` is not;
- with ``strings=True`` (prompts, URI variables) every argument arrives as text and is converted: numbers,
  booleans ("true", "1"), null and dates from their usual spelling, lists and objects from JSON;
- ``bytes`` travel as base64; ``msgspec.Raw`` and ``memoryview`` parameters receive the argument's JSON
  text as it came, without a copy: the view keeps the receive buffer alive while the function holds it;
- an argument with a default may be left out; ``x: int = None`` also accepts null;
- results are sent as they are: the output schema is derived from the annotation, not enforced on the value;
- a schema given by hand is shown as it is (`taut.mcp.handwritten`), and one parameter then gets all arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, final, get_args, get_origin

import msgspec
from msgspec import UNSET, Raw

from taut.errors import ConfigError
from taut.mcp.handwritten import Decoder, HandwrittenDecoder, check_schema
from taut.mcp.schema import (
    ResultShape,
    json_kinds,
    mentions_pydantic,
    result_schema,
    schema_of,
    translate,
    with_null,
)
from taut.mcp.signature import MISSING, Parameter, Signature, read_signature

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from taut.mcp._pydantic import Adapter

__all__ = ["Argument", "Function", "InvalidArguments"]

#: What msgspec raises for a type that it cannot decode or describe.
_REFUSALS = (TypeError, ValueError, NameError, re.error)
#: What msgspec raises for bytes that do not fit the type.
_MISFITS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_FLOAT_FOR_INT = "got `float`"
_INTEGRAL = re.compile(rb'"(?:[^"\\]|\\.)*+"|(-?\d++)\.0++(?![\deE])')


class InvalidArguments(ValueError):
    """The arguments do not fit the parameters; says what was expected, what was got, and where."""


class Argument(NamedTuple):
    """One argument as a caller sees it; ``name`` is its JSON name."""

    name: str
    description: str | None
    required: bool


@final
class Function(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A callable, its schemas, and the way from raw arguments to a call.

    Made by `compile`; immutable, and safe to use from any thread.

    ``call(decoded, context=None, /, **injected)`` calls the function with what `decode` returned; it returns
    a coroutine when ``is_async``. Exceptions of the function pass through.
    """

    name: str
    description: str | None
    is_async: bool
    arguments: tuple[Argument, ...]
    context_parameter: str | None  #: the parameter that receives the context; not in the schema
    raw_parameters: frozenset[str]  #: the parameters that receive JSON text
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    call: Callable[..., Any]
    _decoder: Decoder
    _adapters: tuple[tuple[str, str, Adapter], ...]  #: name and key of the parameters that pydantic decodes
    _embedded: frozenset[str]  #: with ``strings``: the arguments whose text may be a JSON list or object
    _strings: bool
    _shape: ResultShape
    _result_adapter: Adapter | None

    @classmethod
    def compile(
        cls,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        context_type: type | None = None,
        injected: frozenset[str] = frozenset(),
        structured: bool | None = None,
        strings: bool = False,
        input_schema: dict[str, Any] | None = None,
        output_schema: dict[str, Any] | None = None,
    ) -> Function:
        """Compile ``fn``.

        The parameter annotated ``context_type`` receives the context; those named in ``injected`` receive
        keyword arguments of `call`; neither is in the schema. ``structured`` forces (True) or forbids (False)
        structured content; by default results that are data have it, text and content blocks do not.
        ``strings``: see the module. ``input_schema`` and ``output_schema`` are kept as they are; with the first, ``fn``
        has one parameter besides the context, which gets all arguments; with the second, its result is the
        structured content.

        Raises `ConfigError`, naming function and parameter, when a parameter has no schema.
        """
        signature = read_signature(fn, name=name, context_type=context_type)
        decoder: Decoder
        if input_schema is None:
            fields = _fields(signature, injected=injected, strings=strings)
            struct, decoder = _decoder(signature.name, fields, strict=not strings)
            schema = _input_schema(struct, fields, signature)
        else:
            fields, schema = [], input_schema
            decoder = HandwrittenDecoder(signature, schema)
        shape, described, result_adapter = _result(signature, structured=structured)
        if output_schema is not None:
            check_schema(output_schema, f"{signature.name}(): output_schema")
            shape, described = ResultShape.OBJECT, output_schema
        return cls(
            name=signature.name,
            description=signature.docstring.description,
            is_async=signature.is_async,
            arguments=_arguments(schema),
            context_parameter=signature.context_parameter,
            raw_parameters=frozenset(field.name for field in fields if field.is_raw),
            input_schema=schema,
            output_schema=described,
            call=_caller(fn, signature, fields, injected, whole=input_schema is not None),
            _decoder=decoder,
            _adapters=tuple(
                (field.name, field.key, field.adapter) for field in fields if field.adapter is not None
            ),
            _embedded=_embedded(schema, fields) if strings else frozenset(),
            _strings=strings,
            _shape=shape,
            _result_adapter=result_adapter,
        )

    def __repr__(self) -> str:
        return f"<Function {self.name}({', '.join(argument.name for argument in self.arguments)})>"

    def decode(self, arguments: Buffer | None) -> object:
        """Decode JSON arguments (None, or null: none given) into what `call` takes; raises `InvalidArguments`."""
        if arguments is None:
            arguments = b"{}"
        if self._strings:
            return self.convert(_texts(arguments))
        try:
            decoded = self._decoder.decode(arguments)
        except _MISFITS as error:
            if arguments == b"null":  # as for every optional member: many peers write one for the other
                return self.decode(None)
            decoded = self._decode_integral(arguments, error)
        if self._adapters:
            self._adapt(decoded)
        return decoded

    def convert(self, values: Mapping[str, str]) -> object:
        """Convert arguments that are text, such as the variables of a URI; raises `InvalidArguments`."""
        plain: dict[str, object] = dict(values)
        for key in self._embedded & plain.keys():
            if _is_json(values[key]):
                try:
                    plain[key] = msgspec.json.decode(values[key])
                except _MISFITS as error:
                    raise InvalidArguments(f"{error} - in the JSON text at `$.{key}`") from None
        for _, key, _ in self._adapters:
            if (text := values.get(key)) is not None:
                plain[key] = Raw(text.encode() if _is_json(text) else msgspec.json.encode(text))
        try:
            decoded = msgspec.convert(plain, self._decoder.type, strict=False)
        except _MISFITS as error:
            raise InvalidArguments(str(error)) from None
        if self._adapters:
            self._adapt(decoded)
        return decoded

    def structured(self, value: Any) -> Any:
        """Return the ``structuredContent`` for a result: what msgspec encodes, or ``UNSET`` for none."""
        if self._shape is ResultShape.NONE:
            return UNSET
        if self._result_adapter is not None:
            value = self._result_adapter.encode(value)
        return value if self._shape is ResultShape.OBJECT else {"result": value}

    def _decode_integral(self, arguments: Buffer, error: Exception) -> object:
        """Try again with ``5.0`` spelled ``5``, if a float was the trouble; else raise `InvalidArguments`."""
        if _FLOAT_FOR_INT in str(error):
            respelled = _INTEGRAL.sub(lambda match: match[1] or match[0], bytes(arguments))
            try:
                return self._decoder.decode(respelled)
            except _MISFITS as second:
                error = second
        raise InvalidArguments(str(error)) from None

    def _adapt(self, decoded: object) -> None:
        """Replace the JSON text of pydantic's parameters by their values."""
        for name, key, adapter in self._adapters:
            value = getattr(decoded, name)
            if type(value) is Raw:  # and not a default
                try:
                    setattr(decoded, name, adapter.decode(value, f"$.{key}"))
                except ValueError as error:
                    raise InvalidArguments(str(error)) from None


_OBJECT = msgspec.json.Decoder(dict[str, object])
_JSON_NAMES = {dict: "object", list: "array", type(None): "null"}


def _is_json(text: str) -> bool:
    """Tell whether text is meant as a JSON list or object."""
    return text.lstrip()[:1] in ("[", "{")


def _texts(arguments: Buffer) -> dict[str, str]:
    try:
        values = _OBJECT.decode(arguments)
    except _MISFITS as error:
        raise InvalidArguments(str(error)) from None
    texts: dict[str, str] = {}
    for key, value in values.items():
        if not isinstance(value, str):
            got = _JSON_NAMES.get(type(value), type(value).__name__)
            raise InvalidArguments(f"Expected `str`, got `{got}` - at `$.{key}`")
        texts[key] = value
    return texts


# --- compiling ----------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    """One parameter that is an argument. ``kind`` is what msgspec decodes."""

    name: str
    key: str  #: its name in JSON
    kind: Any
    default: Any
    adapter: Adapter | None

    @property
    def is_raw(self) -> bool:
        return self.adapter is None and _is_raw(self.kind)


def _is_raw(kind: Any) -> bool:
    return kind is Raw or (get_origin(kind) is Annotated and _is_raw(get_args(kind)[0]))


def _fields(signature: Signature, *, injected: frozenset[str], strings: bool) -> list[_Field]:
    fields = []
    for parameter in signature.parameters:
        if parameter.name == signature.context_parameter or parameter.name in injected:
            continue
        where = f"{signature.name}(): parameter {parameter.name!r}"
        try:
            field = _field(parameter)
        except _REFUSALS as error:
            raise ConfigError(f"{where}: {_explain(error)}") from error
        if strings and field.is_raw:
            raise ConfigError(f"{where}: expected a type that text converts to, got raw JSON")
        fields.append(field)
    return fields


def _field(parameter: Parameter) -> _Field:
    annotation, default, key = parameter.annotation, parameter.default, parameter.name
    for info in (default, *(get_args(annotation)[1:] if get_origin(annotation) is Annotated else ())):
        if type(info).__name__ == "FieldInfo" and type(info).__module__.startswith("pydantic"):
            if info is default:
                annotation, default = Annotated[annotation, info], MISSING
            if default is MISSING and not info.is_required():
                default = info.get_default(call_default_factory=True)
            key = info.alias or key
    if default is None:
        annotation = with_null(annotation)
    adapter = _adapter(annotation)
    if adapter is None:
        return _Field(parameter.name, key, translate(annotation), default, None)
    schema = adapter.schema("validation")
    described = Annotated[Raw, msgspec.Meta(extra_json_schema=schema)]
    return _Field(parameter.name, key, described, default, adapter)


def _adapter(annotation: Any) -> Adapter | None:
    if not mentions_pydantic(annotation):
        return None
    from taut.mcp._pydantic import Adapter  # loaded late: by now the user has imported pydantic

    return Adapter(annotation)


def _decoder(name: str, fields: Sequence[_Field], *, strict: bool) -> tuple[type, msgspec.json.Decoder[Any]]:
    """Make the struct that the arguments are decoded into, and its decoder."""
    try:
        struct = msgspec.defstruct(
            "Arguments",
            [(field.name, field.kind, _default(field)) for field in fields],
            kw_only=True,
            forbid_unknown_fields=True,
        )
        return struct, msgspec.json.Decoder(struct, strict=strict)
    except _REFUSALS as error:
        raise _refusal(name, fields, error) from error


def _default(field: _Field) -> Any:
    if field.default is MISSING:
        return msgspec.field(name=field.key)
    if isinstance(field.default, (int, float, str, type(None))):
        return msgspec.field(default=field.default, name=field.key)
    # Of any other, msgspec would copy it, refuse it, or try to encode it for the schema.
    return msgspec.field(default_factory=lambda: field.default, name=field.key)


def _input_schema(struct: type, fields: Sequence[_Field], signature: Signature) -> dict[str, Any]:
    try:
        schema = schema_of(struct)
    except _REFUSALS as error:
        raise _refusal(signature.name, fields, error) from error
    properties = schema["properties"]
    definitions = schema.pop("$defs", {})
    for field in fields:
        property_ = properties[field.key]
        property_.pop("default", None)
        if (default := _json_default(field)) is not UNSET:
            property_["default"] = default
        if (text := _description(property_) or signature.docstring.parameters.get(field.name)) is not None:
            property_["description"] = text
        for name, definition in property_.pop("$defs", {}).items():
            if definitions.setdefault(name, definition) != definition:
                raise ConfigError(
                    f"{signature.name}(): parameter {field.name!r}: a second type is called {name}"
                )
    if not schema["required"]:
        del schema["required"]
    return {**schema, "$defs": definitions} if definitions else schema


def _description(property_: dict[str, Any]) -> str | None:
    """Take the description of a property, which ``Annotated[int, "why"] | None`` puts on one member."""
    for holder in (property_, *property_.get("anyOf", ())):
        if "$ref" not in holder or holder is property_:
            text: str | None = holder.pop("description", None)
            if text is not None:
                return text
    return None


def _json_default(field: _Field) -> Any:
    """Return the default as JSON shows it; ``UNSET`` when there is none or JSON cannot show it."""
    if field.default is MISSING or (isinstance(field.default, float) and not math.isfinite(field.default)):
        return UNSET
    try:
        encoded = field.adapter.encode(field.default) if field.adapter else msgspec.json.encode(field.default)
        return msgspec.json.decode(encoded)
    except (TypeError, ValueError):
        return UNSET


def _arguments(schema: dict[str, Any]) -> tuple[Argument, ...]:
    required = schema.get("required", ())
    return tuple(
        Argument(
            name, property_.get("description") if isinstance(property_, dict) else None, name in required
        )
        for name, property_ in schema.get("properties", {}).items()
    )


def _embedded(schema: dict[str, Any], fields: Sequence[_Field]) -> frozenset[str]:
    definitions = schema.get("$defs", {})
    kinds = {
        field.key: json_kinds(schema["properties"][field.key], definitions)
        for field in fields
        if field.adapter is None
    }
    return frozenset(key for key, found in kinds.items() if found & {"array", "object"})


def _result(
    signature: Signature, *, structured: bool | None
) -> tuple[ResultShape, dict[str, Any] | None, Adapter | None]:
    try:
        adapter = None if structured is False else _adapter(signature.returns)
        describe = adapter.result_schema if adapter else _result_schema_of
        shape, schema = result_schema(signature.returns, structured=structured, schema_of=describe)
    except _REFUSALS as error:
        if structured:
            raise ConfigError(f"{signature.name}(): result: {_explain(error)}") from error
        return ResultShape.NONE, None, None
    return shape, schema, adapter


def _result_schema_of(annotation: Any) -> dict[str, Any]:
    return schema_of(translate(annotation))


def _caller(
    fn: Callable[..., Any],
    signature: Signature,
    fields: Sequence[_Field],
    injected: frozenset[str],
    *,
    whole: bool,
) -> Callable[..., Any]:
    """Generate ``lambda decoded, context: fn(decoded.a, context, b=decoded.b)``: 60 ns less than
    ``fn(*astuple(decoded))``. ``whole``: the one parameter gets all that was decoded.

    Only parameter names enter the generated text, and Python has checked that they are identifiers.
    """
    raw = {field.name for field in fields if field.is_raw}
    views = {p.name for p in signature.parameters if p.name in raw and _wants_view(p.annotation)}
    passed: list[str] = []
    by_position = True
    for parameter in signature.parameters:
        if parameter.name in injected:
            by_position = False  # it comes by keyword, so whatever follows must, too
            continue
        value = "decoded" if whole else f"decoded.{parameter.name}"
        if parameter.name == signature.context_parameter:
            value = "context"
        if parameter.name in views:
            value = f"view({value})"
        by_position = by_position and parameter.positional
        passed.append(value if by_position else f"{parameter.name}={value}")
    if injected:
        passed.append("**injected")
    source = f"lambda decoded, context=None, /{', **injected' if injected else ''}: fn({', '.join(passed)})"
    caller: Callable[..., Any] = eval(source, {"fn": fn, "view": _view})
    return caller


def _wants_view(annotation: Any) -> bool:
    return annotation is memoryview or any(map(_wants_view, get_args(annotation)))


def _view(value: object) -> object:
    return memoryview(value) if type(value) is Raw else value


def _refusal(name: str, fields: Sequence[_Field], error: Exception) -> ConfigError:
    """Return the error that names the parameter whose type was refused."""
    for field in fields:
        try:
            msgspec.json.Decoder(field.kind)
            schema_of(field.kind)
        except _REFUSALS as own:
            return ConfigError(f"{name}(): parameter {field.name!r}: {_explain(own)}")
    return ConfigError(f"{name}(): {_explain(error)}")


def _explain(error: Exception) -> str:
    text = str(error)
    if text.startswith("Type unions may not contain"):
        return (
            f"{text}. JSON cannot tell them apart: make the members msgspec.Struct classes with a tag "
            "(tag=True), or one type of them"
        )
    if text.startswith("Generating JSON schema for custom types"):
        got = re.search(r"type (.*) is not supported", text)
        return f"expected a type with a JSON form, got {got[1] if got else 'another'}"
    return text
