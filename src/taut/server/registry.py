"""What a server offers: tools, resources, templates and prompts, each compiled when it is registered.

A registry keeps registration order, so lists are stable (specification 2026-07-28, "Tools"). Encoded lists are
cached per revision and cursor until the registry changes: listing ten thousand tools is one write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from taut import models
from taut.errors import ConfigError
from taut.mcp.function import Function
from taut.mcp.http.values import ParamHeaders
from taut.mcp.pagination import paginate
from taut.mcp.uri_template import UriTemplate

__all__ = ["PromptEntry", "Registry", "ResourceEntry", "TaskOptions", "TemplateEntry", "ToolEntry"]


class Entry(Protocol):
    """Something that a list names."""

    @property
    def key(self) -> str:
        """The name or URI that calls use."""

    @property
    def model(self) -> msgspec.Struct:
        """What the list says of it."""


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of a tool become tasks.

    - ``support``: ``"optional"`` calls run as tasks for clients that can follow one, and are answered as any other for
      those that cannot; ``"required"`` calls are refused to the latter.
    - ``begins``: ``"at once"``, before the function is called, or ``"later"``: when the function says so with
      ``await ctx.begin_task()``. What it asks before is asked in rounds of the call itself; a function that never says
      so has answered the call.
    - ``ttl_s``: how long the task is kept, counted from its beginning (None: as the server's `Tasks` says).
    - ``poll_s``: how often the client should look (None: the same).
    - ``meanwhile``: what a model may be told at once (2025-11-25, ``model-immediate-response``).
    """

    support: Literal["optional", "required"] = "optional"
    begins: Literal["at once", "later"] = "at once"
    ttl_s: float | None = None
    poll_s: float | None = None
    meanwhile: str | None = None


class ToolEntry:
    """A registered tool."""

    __slots__ = ("function", "key", "model", "param_headers", "task", "thread", "timeout_s")

    def __init__(
        self,
        model: models.Tool,
        function: Function,
        *,
        thread: bool = False,
        timeout_s: float | None = None,
        task: TaskOptions | None = None,
    ) -> None:
        self.key: str = model.name
        self.model = model
        self.function = function
        #: Arguments that HTTP clients mirror in headers; None: no such arguments.
        self.param_headers = ParamHeaders.compile(model.input_schema)
        self.thread = thread
        self.timeout_s = timeout_s
        #: None: its calls are never tasks.
        self.task = task


class ResourceEntry:
    """A registered resource with a fixed URI."""

    __slots__ = ("function", "key", "model")

    def __init__(self, model: models.Resource, function: Function) -> None:
        self.key: str = model.uri
        self.model = model
        self.function = function


class TemplateEntry:
    """A registered resource template; its variables are the function's parameters."""

    __slots__ = ("completions", "function", "key", "model", "template")

    def __init__(self, model: models.ResourceTemplate, function: Function, template: UriTemplate) -> None:
        self.key: str = model.uri_template
        self.model = model
        self.function = function
        self.template = template
        self.completions: dict[str, Callable[..., Any]] = {}


class PromptEntry:
    """A registered prompt."""

    __slots__ = ("completions", "function", "key", "model")

    def __init__(self, model: models.Prompt, function: Function) -> None:
        self.key: str = model.name
        self.model = model
        self.function = function
        self.completions: dict[str, Callable[..., Any]] = {}


class SkillEntry:
    """A registered skill; its files are resources."""

    __slots__ = ("key", "model")

    def __init__(self, model: models.Skill) -> None:
        self.key: str = model.uri
        self.model = model


E = TypeVar("E", bound=Entry)


class Registry(Generic[E]):
    """Entries of one kind, in the order of their registration.

    ``list_result`` makes the result of the kind's list method from a page of models; ``on_change`` is called after
    each change.
    """

    def __init__(
        self,
        kind: str,
        list_result: Callable[[list[Any], str | None], msgspec.Struct],
        *,
        page_size: int | None,
        on_change: Callable[[], None],
    ) -> None:
        self.kind = kind
        self._list_result = list_result
        self._page_size = page_size
        self._on_change = on_change
        self._entries: dict[str, E] = {}
        #: Return the entry of this name or URI; None if there is none. The method of the dict itself: each call asks.
        self.get: Callable[[str | None], E | None] = self._entries.get  # type: ignore[assignment]
        self._pages: dict[tuple[str, str | None], bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[E]:
        return iter(self._entries.values())

    def add(self, entry: E) -> None:
        """Register ``entry``.

        :raises taut.errors.ConfigError: the name or URI is taken.
        """
        if entry.key in self._entries:
            raise ConfigError(f"Expected a new {self.kind}, got {entry.key!r}, which is registered already")
        self._entries[entry.key] = entry
        self._changed()

    def remove(self, key: str) -> E:
        """Unregister and return an entry.

        :raises taut.errors.ConfigError: nothing has this name or URI.
        """
        entry = self._entries.pop(key, None)
        if entry is None:
            raise ConfigError(f"Expected a registered {self.kind}, got {key!r}")
        self._changed()
        return entry

    def _changed(self) -> None:
        self._pages.clear()
        self._on_change()

    def page(self, revision: str, cursor: str | None, members: bytes) -> bytes:
        """Return the encoded list result for ``cursor``, with ``members`` (encoded, or empty) in front.

        :raises taut.errors.InvalidParams: the cursor is not one of ours.
        """
        known = self._pages.get((revision, cursor))
        if known is None:
            entries = list(self._entries.values())
            size = self._page_size or max(len(entries), 1)
            items, following = paginate(entries, cursor, size, kind=self.kind, key=lambda entry: entry.key)
            result = self._list_result([models.project(entry.model, revision) for entry in items], following)
            body = msgspec.json.encode(models.project(result, revision))
            known = b"{" + members + b"," + body[1:] if members else body
            # The place in a cursor is a hint, so a client can make up any number of cursors for one page.
            if len(self._pages) >= len(models.REVISIONS) * (len(entries) // size + 1):
                self._pages.clear()
            self._pages[revision, cursor] = known
        return known
