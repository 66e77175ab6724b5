"""The server's face: what it offers, registered with decorators, and where it runs.

The work is elsewhere: `registry` keeps what is offered, `methods` and `tools` answer requests, `connection` serves one
client, `running` owns the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from taut import models
from taut.errors import ConfigError, InternalError
from taut.mcp.function import Function
from taut.mcp.http.guard import LOOPBACK, Guard
from taut.mcp.inbound import Request
from taut.mcp.inputs import METHODS_WITH_INPUT, InputNeeded, Rounds
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.server_peer import ServerProfile
from taut.server import registration
from taut.server.connection import ServerConnection
from taut.server.context import Context
from taut.server.registry import PromptEntry, Registry, ResourceEntry, SkillEntry, TemplateEntry, ToolEntry
from taut.server.subscriptions import Subscriptions
from taut.transport.base import Transport
from taut.transport.conversation import Conversation

if TYPE_CHECKING:
    from taut.mcp.http.auth import Auth
    from taut.mcp.http.sessions import SessionOptions
    from taut.mcp.sealing import StateSealer
    from taut.server.tasks import Tasks
    from taut.transport.http.asgi import AsgiApp

__all__ = ["Server"]

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=models.CacheableResult)
Lifespan = Callable[["Server"], contextlib.AbstractAsyncContextManager[Any]]


class Server:
    """An MCP server: register tools, resources and prompts, then `run` it.

    One server serves any number of clients, of every revision in ``revisions``, at once. Register before or while it
    runs: clients that asked for it are told that a list changed.

    :param lifespan: an async context manager that is entered before the first client is served and left after the last;
        handlers find what it yields in ``Context.lifespan``.
    :param page_size: entries of one page of a list; None puts each list on one page.
    :param threads: how many tools with ``thread=True`` may run at once.
    :param state_sealer: seals the state of multi-round-trip requests; the default has a random key, so several
        processes that serve the same clients need one that is given.
    :param cache_ttl_ms: how long a modern client may keep lists and resources before it asks again.
    :param experimental: capabilities to declare that no specification names.
    :param extensions: extensions to declare, by their identifiers, with their settings.
    :param tasks: where calls are kept that run as tasks, and their limits; the default keeps them in memory, from the
        first tool on that is registered with ``task``.
    """

    def __init__(
        self,
        name: str,
        version: str = "0",
        *,
        title: str | None = None,
        description: str | None = None,
        website_url: str | None = None,
        icons: Iterable[models.Icon] = (),
        instructions: str | None = None,
        lifespan: Lifespan | None = None,
        limits: Limits = DEFAULT_LIMITS,
        revisions: Iterable[str] = models.REVISIONS,
        page_size: int | None = None,
        threads: int = 32,
        state_sealer: StateSealer | None = None,
        cache_ttl_ms: int = 0,
        cache_scope: str = "private",
        experimental: dict[str, Any] | None = None,
        extensions: dict[str, Any] | None = None,
        tasks: Tasks | None = None,
    ) -> None:
        self.implementation = models.Implementation(
            name,
            version,
            title=_absent(title),
            description=_absent(description),
            website_url=_absent(website_url),
            icons=list(icons) or msgspec.UNSET,
        )
        self.instructions = instructions
        self.experimental = experimental
        self.extensions = extensions
        #: The calls that run as tasks; None while no tool can be one.
        self.tasks = tasks
        self.limits = limits
        self.lifespan_state: Any = None
        self.subscriptions = Subscriptions()
        #: Called with the conversation when a legacy client says that its roots changed; may be async.
        self.on_roots_changed: Callable[[Conversation], object] | None = None
        self.revisions = tuple(revisions)
        self._lifespan = lifespan
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._sealer = state_sealer
        self._cache: dict[str, Any] = {"ttl_ms": cache_ttl_ms, "cache_scope": cache_scope}
        self._users = 0
        self._entering: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._exit: contextlib.AsyncExitStack | None = None
        self.page_size = page_size
        #: The children of every directory that is served, by its URI.
        self.directories: dict[str, list[models.Resource]] = {}
        self._make_registries(page_size)

    def _make_registries(self, page_size: int | None) -> None:
        def listing(result: type, member: str) -> Callable[[list[Any], str | None], msgspec.Struct]:
            return lambda items, cursor: result(**{member: items}, next_cursor=_absent(cursor), **self._cache)

        def changed(kind: str) -> Callable[[], None]:
            return lambda: self._list_changed(kind)

        self.tools: Registry[ToolEntry] = Registry(
            "tool", listing(models.ListToolsResult, "tools"), page_size=page_size, on_change=changed("tools")
        )
        self.resources: Registry[ResourceEntry] = Registry(
            "resource",
            listing(models.ListResourcesResult, "resources"),
            page_size=page_size,
            on_change=changed("resources"),
        )
        self.templates: Registry[TemplateEntry] = Registry(
            "resource template",
            listing(models.ListResourceTemplatesResult, "resource_templates"),
            page_size=page_size,
            on_change=changed("resources"),
        )
        self.prompts: Registry[PromptEntry] = Registry(
            "prompt",
            listing(models.ListPromptsResult, "prompts"),
            page_size=page_size,
            on_change=changed("prompts"),
        )
        self.skill_entries: Registry[SkillEntry] = Registry(
            "skill",
            listing(models.ListSkillsResult, "skills"),
            page_size=page_size,
            on_change=lambda: None,  # the extension has no notification for it
        )

    # -- registration

    @overload
    def tool(self, function: F, /) -> F: ...
    @overload
    def tool(self, /, **options: Any) -> Callable[[F], F]: ...
    def tool(self, function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Register a tool; the function stays as it is. ``@app.tool`` or ``@app.tool(...)`` with the options

        ``name``, ``title``, ``description``, ``annotations`` (`taut.models.ToolAnnotations`), ``icons``, ``meta``,
        ``thread`` (run it in a worker thread: it blocks), ``timeout`` (seconds), ``structured`` (force or forbid an
        output schema), ``input_schema`` and ``output_schema`` (JSON Schemas 2020-12 to show instead of those of the
        signature; with the first the function has one parameter for all arguments, see `taut.mcp.handwritten`),
        ``task`` (``"optional"``, ``"required"`` or `TaskOptions`: calls run as tasks, which clients come back to).

        A plain function runs inline, in the event loop's thread: that is what makes it fast, and why one that
        waits wants ``async def`` or ``thread=True``.

        :raises taut.errors.ConfigError: the name is taken, or the signature has no JSON Schema.
        """

        def register(function: F) -> F:
            entry = registration.tool(function, Context, **options)
            if entry.task is not None and self.tasks is None:
                # Imported here: few servers have such tools.
                from taut.server.tasks import Tasks

                self.tasks = Tasks()
                self._declare_anew()
            self.tools.add(entry)
            return function

        return register if function is None else register(function)

    def resource(self, uri: str, /, **options: Any) -> Callable[[F], F]:
        """Register a resource, or a resource template if ``uri`` has variables: ``@app.resource("note://{name}")``.

        Options: ``name``, ``title``, ``description``, ``mime_type``, ``annotations``, ``icons``, ``meta``, ``size``.
        The function gets the template's variables as parameters of the same names, and returns text, bytes,
        contents, or anything that is JSON.

        :raises taut.errors.ConfigError: the URI is taken, or variables and parameters do not match.
        """

        def register(function: F) -> F:
            entry = registration.resource(uri, function, Context, **options)
            if isinstance(entry, TemplateEntry):
                self.templates.add(entry)
            else:
                self.resources.add(entry)
            return function

        return register

    @overload
    def prompt(self, function: F, /) -> F: ...
    @overload
    def prompt(self, /, **options: Any) -> Callable[[F], F]: ...
    def prompt(self, function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Register a prompt. Options: ``name``, ``title``, ``description``, ``icons``, ``meta``.

        The function returns a string, content, messages, or a list of these.

        :raises taut.errors.ConfigError: the name is taken.
        """

        def register(function: F) -> F:
            self.prompts.add(registration.prompt(function, Context, **options))
            return function

        return register if function is None else register(function)

    def completion(self, ref: str, argument: str) -> Callable[[F], F]:
        """Register a source of completions for ``argument`` of a prompt (by name) or template (by its URI template).

        The function gets (value so far, other arguments) and returns strings, the best first, or a
        `taut.models.Completion`; it may be async.

        :raises taut.errors.ConfigError: there is no such prompt, template or argument.
        """
        entry = self.prompts.get(ref) or self.templates.get(ref)
        if entry is None:
            raise ConfigError(f"Expected a registered prompt or resource template, got {ref!r}")
        known = entry.function.input_schema.get("properties", {})
        if argument not in known:
            raise ConfigError(
                f"Expected an argument of {ref} ({', '.join(known) or 'it has none'}), got {argument!r}"
            )

        def register(function: F) -> F:
            entry.completions[argument] = function
            return function

        return register

    def skills(self, directory: str | os.PathLike[str], *, prefix: str = "") -> None:
        """Serve the skills in ``directory``, and ``directory`` itself if it has a ``SKILL.md`` (SEP-2640).

        Each of their files is a resource ``skill://[PREFIX/]NAME/...``. The files are read now, and served as they are
        now: see `taut.server.skills`, also for what is refused. Call it before the server runs: clients learn from its
        capabilities that it has skills.

        :raises taut.errors.ConfigError: there is no skill, one of them breaks the rules, a URI is taken, or
            ``taut[skills]`` is not installed.
        """
        # Imported here: few servers have skills.
        from taut.server.skills import read_skills

        found = read_skills(Path(directory), prefix)
        for file in found.files.values():
            self.resources.add(ResourceEntry(file.resource, Function.compile(file.read, structured=False)))
        for entry in found.entries:
            self.skill_entries.add(entry)
        for uri, children in found.directories.items():
            self.directories.setdefault(uri, []).extend(children)
        self.extensions = {**(self.extensions or {}), models.SKILLS_EXTENSION: {"directoryRead": True}}
        self._declare_anew()

    def resource_updated(self, uri: str) -> None:
        """Tell whoever subscribed to ``uri`` that its contents changed."""
        self.subscriptions.resource_updated(uri)

    def _list_changed(self, kind: str) -> None:
        self.subscriptions.list_changed(kind)

    def extend_lifespan(self, lifespan: Lifespan) -> None:
        """Have ``lifespan`` entered after the server's own, and left before it; what it yields is its own business.

        :raises taut.errors.ConfigError: the server runs already.
        """
        if self._users:
            raise ConfigError("Expected a server that does not run yet: its lifespan has begun")
        own = self._lifespan

        @contextlib.asynccontextmanager
        async def both(server: Server) -> AsyncIterator[Any]:
            async with contextlib.AsyncExitStack() as stack:
                state = None if own is None else await stack.enter_async_context(own(server))
                await stack.enter_async_context(lifespan(server))
                yield state

        self._lifespan = both

    # -- what the rest of the server needs

    @cached_property
    def profile(self) -> ServerProfile:
        """What the server says of itself."""
        return ServerProfile(
            self.implementation,
            registration.capabilities(self),
            instructions=self.instructions,
            revisions=self.revisions,
        )

    def _declare_anew(self) -> None:
        """Have the profile made again, with what is declared now."""
        self.__dict__.pop("profile", None)

    def rounds(self, request: Request) -> Rounds | None:
        """Return what is known of a multi-round-trip request; None where questions travel as requests."""
        if request.caller.revision in models.LEGACY or request.method not in METHODS_WITH_INPUT:
            return None
        responses = state = None
        if request.envelope.extra_params:
            params = request.params()
            responses = None if params.input_responses is msgspec.UNSET else params.input_responses
            state = None if params.request_state is msgspec.UNSET else params.request_state
        return Rounds(
            self.state_sealer,
            request.method,
            request.envelope.params or b"{}",
            responses,
            state,
            principal=request.principal,
            now=time.time(),
            max_rounds=self.limits.max_rounds,
        )

    def input_required(self, rounds: Rounds | None, needed: InputNeeded) -> models.InputRequiredResult:
        """Return the result that asks the client for input."""
        if rounds is None:
            raise InternalError("A question reached a request that cannot carry it")
        return rounds.result(needed, time.time())

    def state_sealer(self) -> StateSealer:
        """Return what seals the state of multi-round-trip requests."""
        if self._sealer is None:
            # Imported here: see taut.mcp.inputs.
            from taut.mcp.sealing import new_sealer

            self._sealer = new_sealer()
        return self._sealer

    def cache_hints(self, revision: str) -> Callable[[C], C]:
        """Return what adds the cache hints that a modern result must carry."""
        if revision not in models.MODERN:
            return lambda result: result
        return lambda result: (
            msgspec.structs.replace(result, **self._cache) if result.ttl_ms is msgspec.UNSET else result
        )

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run ``function`` in a worker thread, with the caller's context variables, and return its result."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="taut-tool")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._executor, context.run, function, *args)

    # -- running

    def _lock(self) -> asyncio.Lock:
        """Return what keeps entering and leaving the lifespan apart: a lock belongs to one event loop."""
        loop = asyncio.get_running_loop()
        if self._entering is None or self._entering[0] is not loop:
            self._entering = (loop, asyncio.Lock())
        return self._entering[1]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        """Enter the lifespan, once however many serve at the same time; the last to leave leaves it."""
        async with self._lock():
            if self._users == 0:
                stack = contextlib.AsyncExitStack()
                if self._lifespan is not None:
                    self.lifespan_state = await stack.enter_async_context(self._lifespan(self))
                self._exit = stack
            self._users += 1
        try:
            yield self
        finally:
            async with self._lock():
                self._users -= 1
                if self._users == 0 and self._exit is not None:
                    stack, self._exit = self._exit, None
                    if self.tasks is not None:
                        await self.tasks.stop()
                    executor, self._executor = self._executor, None
                    if executor is not None:
                        executor.shutdown(wait=False, cancel_futures=True)
                    try:
                        await stack.aclose()
                    finally:
                        self.lifespan_state = None

    async def serve(self, transport: Transport) -> None:
        """Serve one client on ``transport`` until either side ends it. Cancel to close the connection."""
        async with self.running():
            connection = ServerConnection(self, transport)
            connection.start()
            try:
                await connection.wait_closed()
            finally:
                connection.close()
                await connection.wait_closed()

    def asgi(
        self,
        path: str = "/mcp",
        *,
        allowed_hosts: Iterable[str] = LOOPBACK,
        allowed_origins: Iterable[str] = (),
        sessions: bool | SessionOptions = True,
        auth: Auth | None = None,
        websocket: bool = False,
        sse: bool = False,
    ) -> AsgiApp:
        """Return an ASGI application with the MCP endpoint at ``path``, to be served or mounted.

        ``allowed_hosts`` are the names that clients may reach it by, with a port or for any port; ``allowed_origins``
        the web pages that may, besides those on allowed hosts. ``"*"`` allows all: then a proxy has to check.

        ``sessions`` says how the sessions of legacy clients are kept (`taut.SessionOptions`). With False there are
        none, so that any process may answer any request; what needs a session is refused then: questions to the client,
        subscriptions, log levels. ``auth`` finds out who asks (`taut.mcp.http.auth.Auth`).

        ``websocket`` serves WebSockets at ``path`` too, where the ASGI server can; ``sse`` the HTTP+SSE transport of
        2024-11-05, at ``/sse`` and ``/messages``, for clients of that time.

        :raises taut.errors.ConfigError: a name that can never match.
        """
        from taut.server.http import asgi_app

        return asgi_app(
            self,
            path,
            Guard(allowed_hosts, allowed_origins),
            sessions=sessions,
            auth=auth,
            websocket=websocket,
            sse=sse,
        )

    def run(
        self,
        transport: str = "stdio",
        *,
        on_listening: Callable[[str], object] | None = None,
        **options: Any,
    ) -> None:
        """Serve on ``stdio``, or on ``http``: there with the options of `taut.transport.http.options.HttpOptions`,
        such as ``host``, ``port``, ``path``, ``allowed_hosts``, ``workers``, ``tls_cert`` and ``uds``.

        Serves until SIGTERM or SIGINT comes, or on stdio until the client closes stdin; ends within a second of either,
        on HTTP after open requests were given ``grace_s``. By default clients may reach it by the names of this machine
        for itself and by ``host``. ``on_listening`` is told the URL once clients can connect.

        :raises taut.errors.ConfigError: no such transport or option, or no listening there.
        """
        if transport == "stdio":
            from taut.server.running import run_stdio

            if options:
                raise ConfigError(f"Expected no options for stdio, got {', '.join(options)}")
            run_stdio(self)
        elif transport == "http":
            from taut.server.http import run_http
            from taut.transport.http.options import HttpOptions

            run_http(self, HttpOptions.of(options), on_listening)
        else:
            raise ConfigError(f"Expected transport 'stdio' or 'http', got {transport!r}")


def _absent(value: Any) -> Any:
    return msgspec.UNSET if value is None else value
