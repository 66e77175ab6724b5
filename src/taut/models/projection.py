"""Say the same thing at another revision: what a revision lacks is not sent to a peer that speaks it.

The tables below are the whole difference between the five revisions, as far as models go. From them one
function per type and revision is compiled, on first use. It returns its argument when nothing has to change,
which is nearly always; otherwise a copy. Models are never altered.

Besides leaving members out, projection
- fills in what 2026-07-28 requires of results: ``resultType``, and of cacheable ones ``ttlMs`` (0 when absent
  or negative) and ``cacheScope`` (``private``, the careful one);
- puts members from `Open.extra` back where they came from: such an object becomes a dict;
- replaces content that a revision has no word for by text (see `taut.models._downgrade`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from taut.errors import LocalProtocolError
from taut.models import _downgrade
from taut.models._base import EXTRA_MEMBER, JsonObject, Model, Open
from taut.models._messages import CacheableResult, InputResponseParams, Result
from taut.models.capabilities import (
    ClientCapabilities,
    ElicitationCapability,
    RootsCapability,
    SamplingCapability,
    ServerCapabilities,
)
from taut.models.codec import flatten
from taut.models.common import Annotations, Implementation
from taut.models.completion import CompleteParams, PromptReference
from taut.models.content import (
    AudioContent,
    EmbeddedResource,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
    ToolResultContent,
    ToolUseContent,
    UnknownContent,
)
from taut.models.elicitation import ElicitParams, ElicitResult
from taut.models.inputs import InputRequiredResult
from taut.models.lifecycle import ProgressParams
from taut.models.meta import RequestMeta
from taut.models.prompts import Prompt, PromptArgument
from taut.models.resources import Resource, ResourceTemplate
from taut.models.revisions import LEGACY, MODERN, REVISIONS, since
from taut.models.roots import ListRootsResult, Root
from taut.models.sampling import CreateMessageParams, CreateMessageResult, SamplingMessage
from taut.models.tasks import CreateTaskResult, GetTaskResult, UpdateTaskParams
from taut.models.tools import CallToolParams, CallToolResult, Tool

__all__ = ["encode", "project", "to_dict"]

_Step: TypeAlias = Callable[[Any], Any]

_2025_03 = since("2025-03-26")
_2025_06 = since("2025-06-18")
_2025_11 = since("2025-11-25")
_2025_11_ONLY = frozenset({"2025-11-25"})
_NEVER: frozenset[str] = frozenset()

#: Type -> attribute -> the revisions that have it; every other attribute exists wherever its type does.
#: Subclasses inherit rows. Capability ``extensions`` came with 2026-07-28, but is in use on 2025-11-25.
FIELDS: dict[type[Struct], dict[str, frozenset[str]]] = {
    Annotations: {"last_modified": _2025_06},
    Implementation: {"title": _2025_06, "description": _2025_11, "icons": _2025_11, "website_url": _2025_11},
    RootsCapability: {"list_changed": LEGACY},
    SamplingCapability: {"context": _2025_11, "tools": _2025_11},
    ElicitationCapability: {"form": _2025_11, "url": _2025_11},
    ClientCapabilities: {"elicitation": _2025_06, "tasks": _2025_11_ONLY, "extensions": _2025_11},
    ServerCapabilities: {"completions": _2025_03, "tasks": _2025_11_ONLY, "extensions": _2025_11},
    RequestMeta: {
        "protocol_version": MODERN,
        "client_info": MODERN,
        "client_capabilities": MODERN,
        "log_level": MODERN,
    },
    InputResponseParams: {"input_responses": MODERN, "request_state": MODERN},
    CallToolParams: {"task": _2025_11_ONLY},
    CompleteParams: {"context": _2025_06},
    PromptReference: {"title": _2025_06},
    CreateMessageParams: {
        "tools": _2025_11,
        "tool_choice": _2025_11,
        "task": _2025_11_ONLY,
        "meta": LEGACY,
    },
    ElicitParams: {
        "mode": _2025_11,
        "url": _2025_11,
        "elicitation_id": _2025_11_ONLY,
        "task": _2025_11_ONLY,
        "meta": LEGACY,
    },
    Result: {"result_type": MODERN},
    CacheableResult: {"ttl_ms": MODERN, "cache_scope": MODERN},
    CreateMessageResult: {"result_type": _NEVER},
    ElicitResult: {"result_type": _NEVER, "meta": LEGACY},
    ListRootsResult: {"result_type": _NEVER, "meta": LEGACY},
    CallToolResult: {"structured_content": _2025_06},
    Tool: {
        "annotations": _2025_03,
        "title": _2025_06,
        "output_schema": _2025_06,
        "meta": _2025_06,
        "icons": _2025_11,
        "execution": _2025_11_ONLY,
    },
    Resource: {"title": _2025_06, "meta": _2025_06, "icons": _2025_11},
    ResourceTemplate: {"title": _2025_06, "meta": _2025_06, "icons": _2025_11},
    Prompt: {"title": _2025_06, "meta": _2025_06, "icons": _2025_11},
    PromptArgument: {"title": _2025_06},
    Root: {"meta": _2025_06},
    ResourceContents: {"meta": _2025_06},
    TextContent: {"meta": _2025_06},
    ImageContent: {"meta": _2025_06},
    AudioContent: {"meta": _2025_06},
    EmbeddedResource: {"meta": _2025_06},
    ResourceLink: {"icons": _2025_11},
    SamplingMessage: {"meta": _2025_11},
    ProgressParams: {"message": _2025_03},
}

#: Content types that are younger than MCP -> the revisions that have them.
TYPES: dict[type[Struct], frozenset[str]] = {
    AudioContent: _2025_03,
    ResourceLink: _2025_06,
    ToolUseContent: _2025_11,
    ToolResultContent: _2025_11,
}

#: Results of 2026-07-28 that are not ``complete``; the answers to input requests have no ``resultType``.
RESULT_TYPES: dict[type[Struct], str] = {
    InputRequiredResult: "input_required",
    CreateTaskResult: "task",
    GetTaskResult: "complete",
}

#: Attributes declared as raw JSON in which models may nevertheless stand.
_RAW_WITH_MODELS = {
    InputResponseParams: "input_responses",
    UpdateTaskParams: "input_responses",
    GetTaskResult: "result",
}

#: Type -> attribute -> the revisions at which its value is rewritten, and how.
REWRITES: dict[type[Struct], dict[str, tuple[frozenset[str], Callable[[Any], Any]]]] = {
    ClientCapabilities: {"elicitation": (LEGACY - _2025_11, _downgrade.elicitation)},
    CallToolResult: {"structured_content": (LEGACY, _downgrade.object_value)},
    ToolResultContent: {"structured_content": (LEGACY, _downgrade.object_value)},
    Tool: {"output_schema": (LEGACY, _downgrade.object_schema)},
    CreateMessageParams: {"messages": (LEGACY - _2025_11, _downgrade.single_messages)},
    CreateMessageResult: {"content": (LEGACY - _2025_11, _downgrade.single_content)},
    ElicitParams: {
        "mode": (LEGACY - _2025_11, _downgrade.mode),
        "requested_schema": (LEGACY - _2025_11, _downgrade.form),
    },
    CacheableResult: {"ttl_ms": (MODERN, _downgrade.lifetime)},
}


def project(obj: object, revision: str) -> Any:
    """Return ``obj`` as ``revision`` has it: ``obj`` itself when nothing has to change, as for what is no model.

    Raises `LocalProtocolError` for a revision that taut does not speak, and for the few objects that a
    revision cannot express at all (a URL elicitation before 2025-11-25).
    """
    step = _STEPS[revision][obj.__class__]
    return obj if step is None else step(obj)


def encode(obj: Struct, revision: str) -> bytes:
    """Encode ``obj`` as JSON for a peer that speaks ``revision``."""
    return msgspec.json.encode(project(obj, revision))


def to_dict(obj: Struct, revision: str) -> JsonObject:
    """Return ``obj`` as plain Python values for a peer that speaks ``revision``."""
    plain: JsonObject = msgspec.json.decode(encode(obj, revision))
    return plain


class _Steps(dict[type, "_Step | None"]):
    """Type -> its projection at one revision, compiled when it is first asked for; None: nothing changes."""

    def __init__(self, revision: str) -> None:
        super().__init__()
        self.revision = revision

    def __missing__(self, cls: type) -> _Step | None:
        step = _compile(cls, self) if issubclass(cls, Model) else None
        self[cls] = step
        return step

    def value(self, value: Any) -> Any:
        """Project whatever stands in a member: a model, a list or dict of models, or plain JSON."""
        if isinstance(value, (list, tuple)):
            items = [self.value(item) for item in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if isinstance(value, dict):
            members = {name: self.value(member) for name, member in value.items()}
            return members if any(members[name] is not value[name] for name in value) else value
        step = self[value.__class__]
        return value if step is None else step(value)


class _StepsByRevision(dict[str, _Steps]):
    def __missing__(self, revision: str) -> _Steps:
        raise LocalProtocolError(f"Expected one of {', '.join(REVISIONS)}, got {revision}")


_STEPS = _StepsByRevision({revision: _Steps(revision) for revision in REVISIONS})


def _compile(cls: type[Model], steps: _Steps) -> _Step | None:
    """Return the projection of a type, or None when nothing in it ever changes at this revision."""
    revision = steps.revision
    if cls is UnknownContent:
        return lambda content: content.raw
    if revision not in TYPES.get(cls, REVISIONS):
        return lambda content: steps.value(_downgrade.stand_in(content))
    absent = _absent_attributes(cls, revision)
    fills = _fills(cls) if revision in MODERN else {}
    rewrites = _rewrites(cls, revision)
    lists, others = _children(cls, steps, absent)
    unset = [*absent, "extra"] if issubclass(cls, Open) else absent
    if not (unset or fills or rewrites or lists or others):
        return None

    def rebuild(obj: Any) -> Any:
        # A refusal comes first: what it refuses may be about to be left out.
        changes: dict[str, Any] = {}
        for name, rewrite in rewrites.items():
            old = getattr(obj, name)
            if old is not UNSET:
                changes[name] = rewrite(old)
        changes.update((name, UNSET) for name in absent if getattr(obj, name) is not UNSET)
        changes.update((name, fill) for name, fill in fills.items() if getattr(obj, name) is UNSET)
        for name in (*lists, *others):
            changes[name] = steps.value(changes.get(name, getattr(obj, name)))
        if any(new is not getattr(obj, name) for name, new in changes.items()):
            obj = replace(obj, **changes)
        return _with_extra(obj) if isinstance(obj, Open) and obj.extra is not UNSET else obj

    return _guarded(rebuild, steps, unset, fills, rewrites, lists, others)


def _absent_attributes(cls: type[Struct], revision: str) -> list[str]:
    exists: dict[str, frozenset[str]] = {}
    for base in reversed(cls.__mro__):
        exists.update(FIELDS.get(base, {}))
    return [name for name, revisions in exists.items() if revision not in revisions]


def _rewrites(cls: type[Struct], revision: str) -> dict[str, _Step]:
    return {
        name: rewrite
        for base, attributes in REWRITES.items()
        if issubclass(cls, base)
        for name, (revisions, rewrite) in attributes.items()
        if revision in revisions
    }


def _fills(cls: type[Struct]) -> dict[str, Any]:
    if not issubclass(cls, Result) or cls in (CreateMessageResult, ElicitResult, ListRootsResult):
        return {}
    fills: dict[str, Any] = {"result_type": RESULT_TYPES.get(cls, "complete")}
    if issubclass(cls, CacheableResult):
        fills |= {"ttl_ms": 0, "cache_scope": "private"}
    return fills


def _children(cls: type[Struct], steps: _Steps, absent: list[str]) -> tuple[list[str], list[str]]:
    """Return the attributes that may hold something to project: those that are only lists, and the others."""
    lists: list[str] = []
    others = [name for base, name in _RAW_WITH_MODELS.items() if issubclass(cls, base) and name not in absent]
    for field in msgspec.structs.fields(cls):
        if field.name in absent or field.name == "extra" or not _may_change(field.type, steps):
            continue
        plain_list = get_origin(field.type) is list
        (lists if plain_list else others).append(field.name)
    return lists, others


def _may_change(hint: Any, steps: _Steps) -> bool:
    for alternative in flatten(hint):
        if get_origin(alternative) in (list, dict):
            if _may_change(get_args(alternative)[-1], steps):
                return True
        elif isinstance(alternative, type) and steps[alternative] is not None:
            return True
    return False


def _with_extra(obj: Open) -> JsonObject:
    """Return an open model as a dict with the members of ``extra`` beside its own, which win."""
    members: JsonObject = {}
    for name, member in zip(obj.__struct_fields__, obj.__struct_encode_fields__, strict=True):
        value = getattr(obj, name)
        if value is not UNSET and member != EXTRA_MEMBER:
            members[member] = value
    extra = obj.extra if isinstance(obj.extra, dict) else {}
    return members | {name: value for name, value in extra.items() if name not in members}


def _guarded(
    rebuild: _Step,
    steps: _Steps,
    unset: list[str],
    fills: dict[str, Any],
    rewrites: dict[str, _Step],
    lists: list[str],
    others: list[str],
) -> _Step:
    """Return ``rebuild`` behind a test that nothing has to change, as straight-line code.

    The test is written out attribute by attribute, since a loop over names costs three times as much on the
    path of every tool call. Members that are only to be filled in do not need the long way either.
    """
    tests = [f"o.{name} is UNSET" for name in unset]
    tests += [f"(o.{name} is UNSET or rewrite_{name}(o.{name}) is o.{name})" for name in rewrites]
    tests += [f"value(o.{name}) is o.{name}" for name in others]
    lines = ["def step(o):", f"    if {' and '.join(tests) or 'True'}:"]
    for name in lists:
        lines += [f"        for v in o.{name}:", "            s = steps[v.__class__]"]
        lines += ["            if s is not None and s(v) is not v: return rebuild(o)"]
    if len(fills) == 1:
        [(name, fill)] = fills.items()
        lines += [f"        return o if o.{name} is not UNSET else replace(o, {name}={fill!r})"]
    elif fills:
        tests = [f"o.{name} is not UNSET" for name in fills]
        lines += [f"        return o if {' and '.join(tests)} else rebuild(o)"]
    else:
        lines += ["        return o"]
    lines += ["    return rebuild(o)"]
    namespace = {"UNSET": UNSET, "rebuild": rebuild, "replace": replace, "steps": steps, "value": steps.value}
    namespace |= {f"rewrite_{name}": rewrite for name, rewrite in rewrites.items()}
    exec("\n".join(lines), namespace)
    step: _Step = namespace["step"]  # type: ignore[assignment]
    return step
