"""The client's face: connect to a server of any revision, call what it offers."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.client.answers import Answerer, Answers, Roots
from taut.client.cache import ResponseCache
from taut.client.life import Life
from taut.client.rounds import no_task, play_rounds
from taut.client.settings import HttpSettings
from taut.client.side import Owner
from taut.client.subscription import Subscription
from taut.client.target import Serves, Target
from taut.errors import (
    LocalProtocolError,
    ToolError,
    TransportError,
)
from taut.mcp.client_peer import ClientProfile
from taut.mcp.levels import severity
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import ProgressCallback
from taut.mcp.peer import Notification
from taut.transport.process import StderrSink

if TYPE_CHECKING:
    from taut.client.skills import LoadedSkill
    from taut.client.tasks import ClientTask

__all__ = ["Client", "Serves"]

#: How many pages of a list are followed; a server that never ends its list is an error.
MAX_PAGES = 1_000


class Client(Life):
    """A connection to one MCP server. ``async with Client(target) as client: ...``

    ``target`` is a URL (``"https://example.com/mcp"``), a command line (``"uvx some-server"``, no shell), a list of
    arguments, a ``.py`` file with a server, a `taut.Server` (served in this process), or a transport.

    The connection belongs to this object: it may be opened in one task and closed in another, and closing twice is
    fine. All methods may be called from many tasks of the event loop that it was opened in.

    Every callback may be async. One for log messages, notifications or progress that fails is logged, and takes
    nothing along.

    :param mode: ``auto`` finds out the server's era; ``legacy`` or a revision pins it.
    :param discovered: the `models.DiscoverResult` of an earlier connection, to connect without asking.
    :param sampling: answers ``sampling/createMessage``: gets its params, returns `models.CreateMessageResult`.
    :param elicitation: answers ``elicitation/create``: gets its params, returns `models.ElicitResult`.
    :param roots: the roots that the server may ask for, as URIs or `models.Root`, or a callable, perhaps async,
        that returns them; see `roots_changed`.
    :param capabilities: what to declare beyond what the callbacks say: `models.ElicitationCapability` with ``url``,
        `models.SamplingCapability` with ``tools``, ``experimental``, ``extensions``.
    :param logging: gets the server's log messages, as `models.LoggingMessageParams`.
    :param log_level: the least severe level that the server should send; ``info`` where there is a ``logging``
        callback in the modern era, the server's choice in the legacy one. See `set_log_level`.
    :param on_notification: gets every other notification of the server.
    :param tasks: let `call_tool` be answered with a task, which it follows to its end; see also `start_tool`.
    :param timeout_s: seconds for one call, unless it says otherwise; None waits forever.
    :param stderr: gets the lines of a child's stderr; None passes them on to ours.
    :param http: headers, tokens, TLS, proxies and the like for a URL.
    """

    def __init__(
        self,
        target: Target,
        *,
        mode: str = "auto",
        discovered: models.DiscoverResult | None = None,
        name: str = "taut",
        version: str = "0",
        sampling: Answerer | None = None,
        elicitation: Answerer | None = None,
        roots: Roots | None = None,
        capabilities: models.ClientCapabilities | None = None,
        logging: Callable[[models.LoggingMessageParams], object] | None = None,
        log_level: str | None = None,
        on_notification: Callable[[Notification], object] | None = None,
        tasks: bool = False,
        timeout_s: float | None = 60.0,
        connect_timeout_s: float = 30.0,
        probe_timeout_s: float = 5.0,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stderr: StderrSink | None = None,
        http: HttpSettings | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if log_level is not None:
            severity(log_level)
        self._target = target
        self._mode = mode
        self._discovered = discovered
        if tasks:
            from taut.client.tasks import declaring  # here and below: few clients follow tasks

            capabilities = declaring(capabilities)
        self._answers = Answers(
            sampling=sampling, elicitation=elicitation, roots=roots, declared=capabilities
        )
        self._profile = ClientProfile(models.Implementation(name, version), self._answers.capabilities)
        self._follows_tasks = models.declares(
            self._answers.capabilities, f"extensions.{models.TASKS_EXTENSION}"
        )
        self._logging = logging
        self._log_level = log_level if log_level is not None or logging is None else "info"
        self._wanted_level = log_level
        self._on_notification = on_notification
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._probe_timeout_s = probe_timeout_s
        self._child_options: dict[str, Any] = {"env": env, "cwd": cwd, "stderr": stderr}
        self._http = HttpSettings() if http is None else http
        self._limits = limits
        self._owner = Owner(
            self._answers, self._on_message, self._on_lost, self._catch_up, self._tell_session_again
        )
        self._cache = ResponseCache(time.monotonic)
        self._subscriptions: set[Subscription] = set()

    # -- calls

    async def request(
        self,
        method: str,
        params: object,
        *,
        timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        on_progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send any request and return its decoded result.

        Cancelling the calling task cancels the request on the server.

        :raises taut.errors.RemoteError: the server answered with an error.
        :raises taut.errors.RequestTimeout: no answer within ``timeout_s``.
        :raises taut.errors.ConnectionClosed: the connection ended before the answer.
        :raises taut.errors.LocalProtocolError: the server did not declare what the method needs.
        """
        return await self._ask(
            method,
            params,
            timeout_s=timeout_s,
            total_timeout_s=total_timeout_s,
            on_progress=on_progress,
            meta=meta,
        )

    def _ask(
        self, method: str, params: object, *, timeout_s: float | None = None, **options: Any
    ) -> Coroutine[Any, Any, Any]:
        """Return what waits for the result: a coroutine less than `request` on the way of every call."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        return self.connection.ask(method, params, timeout_s=limit_s, **options)

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        raise_on_error: bool = False,
        **options: Any,
    ) -> models.CallToolResult:
        """Call a tool. A failure of the tool itself is a result with ``is_error``; ``options`` as for `request`.

        A server's questions (multi-round-trip requests) are answered with this client's callbacks. A client made with
        ``tasks`` follows a call that goes on as a task: cancelling it, or ``total_timeout_s``, cancels the task.

        :raises taut.errors.ToolError: the tool failed, and ``raise_on_error`` is set; with the text of its result.
        """
        params = models.CallToolParams(
            name=name, arguments=msgspec.UNSET if arguments is None else dict(arguments)
        )
        if self._follows_tasks:
            from taut.client.tasks import follow

            result = await follow(self, params, options)
        else:
            result = no_task(await self._call("tools/call", params, options))
        if raise_on_error and result.is_error is True:
            raise ToolError(result.text or f"{name} failed without a word")
        return result

    async def start_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        ttl_s: float | None = None,
        **options: Any,
    ) -> ClientTask:
        """Call a tool and return without its result: a task that goes on at the server, if the server makes it one.

        ``ttl_s`` is how long the task should be kept, which servers of 2025-11-25 may heed; ``options`` as for
        `request`.
        """
        from taut.client.tasks import start

        given = msgspec.UNSET if arguments is None else dict(arguments)
        return await start(self, models.CallToolParams(name=name, arguments=given), options, ttl_s=ttl_s)

    def task(self, task_id: str) -> ClientTask:
        """Return a task of an earlier call, perhaps of another connection. Nothing is asked before it is looked at."""
        from taut.client.tasks import ClientTask

        return ClientTask(self, task_id)

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, **options: Any
    ) -> models.GetPromptResult:
        """Return a prompt's messages."""
        given = msgspec.UNSET if arguments is None else dict(arguments)
        params = models.GetPromptParams(name=name, arguments=given)
        result: models.GetPromptResult = await self._with_input("prompts/get", params, options)
        return result

    async def read_resource(self, uri: str, **options: Any) -> models.ReadResourceResult:
        """Return the contents of a resource, from the cache where the server allows it."""
        known: Any = self._cache.get("resources/read", uri)
        if known is None:
            known = await self._with_input(
                "resources/read", models.ReadResourceParams(uri=uri), options, cache=uri
            )
        result: models.ReadResourceResult = known
        return result

    async def complete(
        self,
        ref: models.PromptReference | models.ResourceTemplateReference,
        argument: str,
        value: str,
        *,
        context: Mapping[str, str] | None = None,
        **options: Any,
    ) -> models.Completion:
        """Return completions of ``value`` for an argument of a prompt or a resource template."""
        params = models.CompleteParams(
            ref=ref,
            argument=models.CompletionArgument(argument, value),
            context=msgspec.UNSET if context is None else models.CompletionContext(arguments=dict(context)),
        )
        result: models.CompleteResult = await self.request("completion/complete", params, **options)
        return result.completion

    async def ping(self, **options: Any) -> None:
        """Ask for a sign of life: ``ping``, or ``server/discover`` in the modern era, which has no ping."""
        method = "server/discover" if self.agreement.modern else "ping"
        await self.request(method, models.RequestParams(), **options)

    async def set_log_level(self, level: str) -> None:
        """Choose the least severe log messages that the server sends from now on.

        :raises taut.errors.ConfigError: no such level.
        """
        severity(level)
        if self.agreement.modern:
            self.connection.peer.speak(self.revision, log_level=level)
        else:
            await self.request("logging/setLevel", msgspec.convert({"level": level}, models.SetLevelParams))

    def roots_changed(self, roots: Roots | None = None) -> None:
        """Say that the roots changed, to ``roots`` if given. A modern server is not told: it asks when it needs them.

        :raises taut.errors.LocalProtocolError: this client was made without roots.
        """
        self._answers.set_roots(roots)
        if not self.agreement.modern and self.connection.lost is None:
            self.connection.peer.notify("notifications/roots/list_changed")
            self.connection.flush_soon()

    # -- lists

    async def list_tools(self, **options: Any) -> list[models.Tool]:
        """Return all tools, of all pages."""
        return await self._all("tools/list", "tools", options)

    async def list_resources(self, **options: Any) -> list[models.Resource]:
        """Return all resources, of all pages."""
        return await self._all("resources/list", "resources", options)

    async def list_resource_templates(self, **options: Any) -> list[models.ResourceTemplate]:
        """Return all resource templates, of all pages."""
        return await self._all("resources/templates/list", "resource_templates", options)

    async def list_prompts(self, **options: Any) -> list[models.Prompt]:
        """Return all prompts, of all pages."""
        return await self._all("prompts/list", "prompts", options)

    async def list_skills(self, **options: Any) -> list[models.Skill]:
        """Return the entries of all skills, of all pages. A server may have more than it lists."""
        return await self._all("skills/list", "skills", options)

    async def get_skill(self, uri: str, **options: Any) -> models.Skill:
        """Return the entry of the skill whose ``SKILL.md`` is at ``uri``, as the server has it now."""
        result: models.GetSkillResult = await self.request(
            "skills/get", models.GetSkillParams(uri), **options
        )
        return result.skill

    async def load_skill(self, entry: models.Skill) -> LoadedSkill:
        """Read a skill's ``SKILL.md`` and check it against ``entry``, as each file that is read later is.

        :raises taut.errors.RemoteProtocolError: it is not what the entry says. If it has changed, `get_skill` returns
            the new entry.
        :raises taut.errors.ConfigError: ``taut[skills]`` is not installed.
        """
        # Imported here: few clients load skills.
        from taut.client.skills import load_skill

        return await load_skill(self, entry)

    async def page(self, method: str, cursor: str | None = None, **options: Any) -> Any:
        """Return one page of a list method, from the cache where the server allows it."""
        known = self._cache.get(method, cursor)
        if known is not None:
            return known
        seen = self._cache.changes
        params = models.PaginatedParams(cursor=msgspec.UNSET if cursor is None else cursor)
        result = await self.request(method, params, **options)
        self._cache.put(method, cursor, result, seen=seen)
        return result

    async def _all(self, method: str, member: str, options: dict[str, Any]) -> list[Any]:
        items: list[Any] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self.page(method, cursor, **options)
            items.extend(getattr(page, member))
            if page.next_cursor is msgspec.UNSET:
                return items
            cursor = page.next_cursor
        raise LocalProtocolError(
            f"Expected at most {MAX_PAGES} pages from {method}; the server keeps sending cursors"
        )

    # -- changes

    async def subscribe(
        self,
        *resources: str,
        tools: bool = False,
        prompts: bool = False,
        resource_list: bool = False,
    ) -> Subscription:
        """Hear of changes: of the given resources, and of the lists that are named.

        The subscription is an async iterator of `Change`, the same in both eras; close it, or leave its
        ``async with``.
        """
        subscription = Subscription(
            self, frozenset(resources), tools=tools, prompts=prompts, resource_list=resource_list
        )
        self._subscriptions.add(subscription)
        try:
            await subscription.open(self._timeout_s)
        except BaseException:
            self._subscriptions.discard(subscription)
            raise
        return subscription

    def _on_lost(self, error: TransportError) -> None:
        for subscription in list(self._subscriptions):
            subscription.end(error)

    def _forget(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def _subscribed(self, uri: str) -> bool:
        return any(subscription.wants(uri) for subscription in self._subscriptions)

    def _on_message(self, notification: Notification) -> None:
        params = notification.params()
        method = notification.method
        self._cache.on_notification(method, getattr(params, "uri", None))
        if method == "notifications/message" and self._logging is not None:
            self.connection.call_back(self._logging, params)
            return
        for subscription in list(self._subscriptions):
            subscription.offer(method, params)
        if self._on_notification is not None:
            self.connection.call_back(self._on_notification, notification)

    def _catch_up(self) -> None:
        """Notifications may have been missed: nothing kept is sure, and all that is watched may have changed."""
        self._cache.clear()
        for subscription in list(self._subscriptions):
            subscription.catch_up()

    async def _tell_session_again(self) -> None:
        """Have a new legacy session know what the one before it knew."""
        uris = {uri for subscription in self._subscriptions for uri in subscription.resources}
        for uri in sorted(uris):
            await self.request("resources/subscribe", models.SubscribeParams(uri=uri))
        await self._ask_for_logs(self.agreement)
        self._catch_up()

    # -- multi-round-trip requests

    async def _with_input(
        self, method: str, params: Any, options: dict[str, Any], *, cache: str | None = None
    ) -> Any:
        """Send a request whose result is no task; see `_call`."""
        return no_task(await self._call(method, params, options, cache=cache))

    async def _call(
        self, method: str, params: Any, options: dict[str, Any], *, cache: str | None = None
    ) -> Any:
        """Send a request; as long as the server asks for input, answer and send it again."""
        seen = self._cache.changes
        result = await self._ask(method, params, **options)
        if isinstance(result, models.InputRequiredResult):
            result = await play_rounds(
                lambda again: self._ask(method, again, **options),
                method,
                params,
                result,
                self._answers,
                maximum=self._limits.max_rounds,
            )
        elif cache is not None:
            self._cache.put(method, cache, result, seen=seen)
        return result
