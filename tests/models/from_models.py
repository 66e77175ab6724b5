"""Make up messages from the models: a seeded generator that fills every combination of members.

`Maker.make` follows the type hints. What a hint does not say (a URI is a ``str`` too) is in the tables below.
Values are such that every member is legal at the maker's revision *after projection*.
"""

from __future__ import annotations

import base64
import random
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Struct, UnsetType

from taut import models
from taut.models.codec import flatten

#: Attributes whose text is not free.
URIS = {"uri", "url", "src", "website_url"}
BASE64 = {"data", "blob"}
TIMES = {"created_at", "last_updated_at", "last_modified"}
#: Attributes typed as whole numbers that count something.
COUNTS = {"ttl_ms", "poll_interval_ms", "size", "total", "max_tokens"}
CAPABILITIES = {
    models.ClientCapabilities,
    models.ClientTasksCapability,
    models.ElicitationCapability,
    models.SamplingCapability,
    models.ServerCapabilities,
    models.ServerTasksCapability,
}
FORM_FIELDS = (
    models.StringSchema(title="Name", min_length=1, max_length=9, format="email", default="a@b.c"),
    models.StringSchema(enum=["a", "b"], enum_names=["A", "B"], default="a"),
    models.StringSchema(enum=["a", "b"]),
    models.StringSchema(one_of=[models.EnumOption("a", "A"), models.EnumOption("b", "B")]),
    models.NumberSchema(minimum=0, maximum=10, description="How many"),
    models.IntegerSchema(default=3),
    models.BooleanSchema(default=True),
)
MULTIPLE = (
    models.MultiSelectSchema(items=models.MultiSelectItems(type="string", enum=["a", "b"]), min_items=1),
    models.MultiSelectSchema(
        items=models.MultiSelectItems(any_of=[models.EnumOption("a", "A")]), default=["a"]
    ),
)
WORDS = ("", "a", "name", "Zürich", "\u2028 line", "tab\t", '"quoted"', "😀", "x" * 70)


fields = cache(msgspec.structs.fields)


@cache
def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return what may be made up for a type hint."""
    return tuple(a for a in flatten(hint) if a is not UnsetType and a is not models.UnknownContent)


class Maker:
    """Makes up models that are legal at ``revision``."""

    def __init__(self, revision: str, seed: int) -> None:
        self.revision = revision
        self.random = random.Random(seed)

    def params(self, method: str) -> Struct:
        """Return params of a method that exists at the revision."""
        spec = models.lookup(method, self.revision)
        assert spec is not None
        params = self.struct(spec.params)
        if spec.result is not None and self.revision in models.MODERN:
            params = msgspec.structs.replace(params, meta=self.request_meta(complete=True))
        return params

    def result(self, method: str) -> Struct:
        """Return a result of a method that exists at the revision: its own, or an alternative."""
        spec = models.lookup(method, self.revision)
        assert spec is not None
        assert spec.result is not None
        return self.struct(self.random.choice([spec.result, *spec.alternatives.values()]))

    def struct(self, struct: type[Struct]) -> Struct:
        """Return an instance with a random choice of its optional members."""
        eagerness = self.random.choice((0.0, 0.3, 0.7, 1.0))
        values = {}
        for field in fields(struct):
            required = field.default is NODEFAULT
            if field.name != "extra" and (required or self.random.random() < eagerness):
                values[field.name] = self.member(struct, field.name, field.type)
        self._repair(struct, values)
        return struct(**values)

    def member(self, struct: type[Struct], name: str, hint: Any) -> Any:
        """Return a value for one attribute."""
        special = getattr(self, f"_{name}", None)
        if special is not None:
            return special(struct)
        if struct is models.Root and name == "uri":
            return "file:///home/user"
        if struct in CAPABILITIES and hint == models.JsonObject | UnsetType:
            return {}  # the official SDK drops settings that no revision defines
        if name in URIS and str in flatten(hint):
            return self.random.choice(("file:///a/b", "https://example.org/x?y=1", "note://%C3%A9"))
        if name == "uri_template":
            return "note://{name}"
        if name in BASE64 and hint is not models.JsonValue:
            return base64.b64encode(self.random.randbytes(self.random.randrange(9))).decode()
        if name in TIMES:
            return "2025-11-25T10:30:00Z"
        if name in COUNTS and self.random.random() < 0.8:
            return self.random.randrange(100_000)
        return self.make(hint)

    def make(self, hint: Any) -> Any:
        """Return a value of a type."""
        chosen = self.random.choice(alternatives(hint))
        origin = get_origin(chosen)
        if origin is Annotated:
            return self.random.choice((0, 0.5, 1, 1.0))
        if origin is Literal:
            return self.random.choice(get_args(chosen))
        if origin is list:
            return [self.make(get_args(chosen)[0]) for _ in range(self.random.randrange(3))]
        if origin is dict:
            _, value = get_args(chosen)
            return {key: self.make(value) for key in self.random.sample(WORDS, self.random.randrange(3))}
        if isinstance(chosen, type) and issubclass(chosen, Struct):
            return self.struct(chosen)
        return self.scalar(chosen)

    def scalar(self, kind: Any) -> Any:
        """Return a JSON value of a Python type; `Any` gives any JSON value."""
        if kind is str:
            return self.random.choice(WORDS)
        if kind is bool:
            return self.random.random() < 0.5
        if kind is int:
            return self.random.choice((0, 1, -1, 2**53, 2**63, 2**70, -(2**80)))
        if kind is float:
            return self.random.choice((0.0, 0.25, 0.5, 1.0))
        if kind is type(None) or kind is None:
            return None
        return self.random.choice(("text", 7, True, ["a", 1], {"k": "v"}, {"deep": [{"er": 1}]}))

    def request_meta(self, *, complete: bool) -> models.RequestMeta:
        """Return ``_meta`` of a request; ``complete`` with what 2026-07-28 requires."""
        meta = self.struct(models.RequestMeta)
        assert isinstance(meta, models.RequestMeta)
        if not complete:
            return meta
        capabilities = self.struct(models.ClientCapabilities)
        return msgspec.structs.replace(meta, protocol_version=self.revision, client_capabilities=capabilities)

    # Values that a type hint cannot describe, by attribute name.

    def _meta(self, struct: type[Struct]) -> Any:
        if issubclass(struct, models.RequestParams):
            return self.request_meta(complete=False)
        meta: dict[str, Any] = {"org.example/key": self.scalar(Any)}
        if issubclass(struct, models.SubscriptionsListenResult):
            meta[models.SUBSCRIPTION_ID_KEY] = self.random.choice(("1", 1))
        return meta

    def _priority(self, struct: type[Struct]) -> float:
        return self.random.choice((0, 0.5, 1))

    _cost_priority = _speed_priority = _intelligence_priority = _priority

    def _input_schema(self, struct: type[Struct]) -> Any:
        return {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    def _output_schema(self, struct: type[Struct]) -> Any:
        return self.random.choice(({"type": "object"}, {"type": "array", "items": {}}, {"anyOf": [{}]}))

    def _result_type(self, struct: type[Struct]) -> str:
        special = {models.InputRequiredResult: "input_required", models.CreateTaskResult: "task"}
        return special.get(struct, "complete")

    def _requested_schema(self, struct: type[Struct]) -> Any:
        fields = FORM_FIELDS if self.revision == "2025-06-18" else FORM_FIELDS + MULTIPLE
        chosen = {f"f{i}": field for i, field in enumerate(fields) if self.random.random() < 0.4}
        required = self.random.choice((UNSET, list(chosen)))
        return models.ElicitSchema(chosen, required).to_dict()

    def _content(self, struct: type[Struct]) -> Any:
        if issubclass(struct, models.ElicitResult):
            return {"a": "text", "b": 1, "c": True} | ({"d": ["x"]} if self.revision > "2025-06-18" else {})
        [hint] = [field.type for field in fields(struct) if field.name == "content"]
        content = self.make(hint)
        return content or [models.TextContent("never empty, which older revisions cannot say")]

    def _input_responses(self, struct: type[Struct]) -> Any:
        return {method: self.struct(result) for method, result in models.INPUT_METHODS.items()}

    def _requests(self, struct: type[Struct]) -> Any:
        return (
            {"tools": {"call": {}}}
            if struct is models.ServerTasksCapability
            else {"elicitation": {"create": {}}}
        )

    def _experimental(self, struct: type[Struct]) -> Any:
        return {"org.example/new": {"on": True}, "other": {}}

    _extensions = _experimental

    def _arguments(self, struct: type[Struct]) -> Any:
        if struct is models.Prompt:
            return [self.struct(models.PromptArgument) for _ in range(self.random.randrange(3))]
        return {"a": "text"} if struct is not models.CallToolParams else {"a": self.scalar(Any), "b": None}

    def _mode(self, struct: type[Struct]) -> Any:
        if struct is models.ToolChoice:
            return self.random.choice(("auto", "none", "required"))
        return UNSET  # settled in _repair, together with what the mode needs

    def _repair(self, struct: type[Struct], values: dict[str, Any]) -> None:
        """Make members agree where a model (or every revision) demands it."""
        if struct is models.ResourceContents:
            values.pop(self.random.choice(("text", "blob")), None)
            if "blob" not in values:
                values.setdefault("text", "text")
        elif struct is models.ElicitParams:
            if self.revision >= "2025-11-25" and self.random.random() < 0.4:
                values |= {"mode": "url", "url": "https://example.org/sign-in", "elicitation_id": "e-1"}
                values.pop("requested_schema", None)
            else:
                values |= {"requested_schema": self._requested_schema(struct)}
                values |= {"mode": self.random.choice((UNSET, "form"))}
                values = {name: values.pop(name, UNSET) for name in ("url", "elicitation_id")}
        elif struct is models.CancelledParams:
            values.setdefault("request_id", self.random.choice((1, "1", 2**70)))
        elif struct is models.InputRequiredResult and "input_requests" not in values:
            values.setdefault("request_state", "opaque")
        elif struct is models.SubscriptionsListenResult:
            values["meta"] = self._meta(struct)


def mangle(value: Any) -> list[Any]:
    """Return the value with one member at a time, at any depth, replaced by something of another type."""
    if isinstance(value, dict):
        return [7] + [
            value | {name: other} for name, member in value.items() for other in (None, *mangle(member))
        ]
    if isinstance(value, list):
        return ["list"] + [[*value[:i], other] for i, item in enumerate(value) for other in mangle(item)]
    return [{"unexpected": []}, [1]]
