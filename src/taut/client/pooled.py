"""One server of a pool in one event loop: its connection, which all who hold a lease of it share.

What is done for it is done in tasks of its own, never in a caller's: a caller may be cancelled at any moment, in any
task, and takes nothing along. Connecting goes on as long as there is a lease; without one it is given up.

- There is at most one connection at a time: the next one begins when all of the last is released.
- A connection that is lost is replaced when it is next asked for, by one attempt for all who ask.
- After a failure the next attempt waits, longer after each. A connection that does not last is a failure as well.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, final

import msgspec

from taut import models
from taut.client.backoff import Timing
from taut.client.client import Client
from taut.client.subscription import Subscription
from taut.client.target import Target
from taut.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    RemoteError,
    TautError,
    TransportError,
)
from taut.mcp.peer import Notification

__all__ = ["Plan", "PooledClient", "PooledServer", "ServerStatus"]

logger = logging.getLogger("taut")

T = TypeVar("T")

#: Seconds after which a connection counts as one that works.
STEADY_S = 10.0
#: Seconds in which a server must acknowledge that it will tell when its tools change.
SUBSCRIBE_S = 10.0
#: Streams for that which are opened on one connection, should the server keep ending them.
SUBSCRIPTIONS = 3
#: How often a list is read that changes, or is lost, while it is read.
LISTINGS = 3
#: Seconds to connect, where nothing else is said.
CONNECT_S = 30.0


class Plan(NamedTuple):
    """How a server is connected to: a `Client` is made of this for each connection."""

    target: Target
    options: dict[str, Any]


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand with one server.

    ``failed`` is one whose last connection could not be made, or was lost; ``error`` says why. It is tried again when
    it is next asked for.
    """

    state: Literal["idle", "connecting", "connected", "failed"] = "idle"
    #: Leases that are held.
    users: int = 0
    server_info: models.Implementation | None = None
    error: str | None = None


@final
class PooledClient(Client):
    """A client that tells at once what the pool must know: no turn of the loop lies between."""

    def __init__(
        self,
        plan: Plan,
        on_gone: Callable[[PooledClient, TransportError], None],
        on_changed: Callable[[PooledClient], None],
    ) -> None:
        super().__init__(plan.target, **plan.options)
        self._on_gone = on_gone
        self._on_changed = on_changed
        #: Streams that may still be opened to hear of changes, and the task that reads the one which is open.
        self.subscriptions_left = SUBSCRIPTIONS
        self.following: asyncio.Task[None] | None = None

    def _on_lost(self, error: TransportError) -> None:
        super()._on_lost(error)
        self._on_gone(self, error)

    def _on_message(self, notification: Notification) -> None:
        super()._on_message(notification)
        if notification.method == "notifications/tools/list_changed":
            self._on_changed(self)

    def _catch_up(self) -> None:
        super()._catch_up()
        self._on_changed(self)


@final
class PooledServer:
    """The server ``name``. All methods belong to ``loop``; tasks run in copies of ``context``, not in a caller's."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        timing: Timing,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
    ) -> None:
        self.name = name
        self.loop = loop
        #: The connection that calls may use; None where there is none, or none any more.
        self.client: PooledClient | None = None
        #: Leases that are held.
        self.users = 0
        #: Changes with what `tools` returns; 0 as long as it has returned nothing.
        self.version = 0
        self._plan = plan
        self._timing = timing
        self._context = context
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Those whose connection is not released yet.
        self._clients: set[PooledClient] = set()
        #: What must be over before there is another connection.
        self._ending: set[asyncio.Task[Any]] = set()
        self._connecting: asyncio.Task[PooledClient] | None = None
        self._listing: asyncio.Task[Sequence[models.Tool]] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._tools: Sequence[models.Tool] | None = None
        self._changes = 0
        self._since = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._error: str | None = None

    def status(self) -> ServerStatus:
        """Return how things stand."""
        client = self.client
        if client is not None:
            return ServerStatus(state="connected", users=self.users, server_info=client.server_info)
        if self._connecting is not None and not self._connecting.done():
            return ServerStatus(state="connecting", users=self.users, error=self._error)
        state: Literal["idle", "failed"] = "idle" if self._error is None else "failed"
        return ServerStatus(state=state, users=self.users, error=self._error)

    # -- who uses it

    def hold(self) -> None:
        """Count one user more."""
        self.users += 1
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    def drop(self) -> list[asyncio.Task[Any]]:
        """Count one user less. Returns what is to be waited for: the end of the connection, if it was the last."""
        self.users -= 1
        if self.users or self._closed:
            return []
        if self.client is None or not self._timing.keep_s:
            return self.disconnect()
        self._keeping = self._spawn(self._keep())
        return []

    async def _keep(self) -> None:
        await self._timing.sleep(self._timing.keep_s)
        self._keeping = None
        self.disconnect()

    # -- the connection

    async def connected(self) -> PooledClient:
        """Return the connection; make it if there is none. Cancelling this leaves the attempt to the others who wait.

        :raises taut.errors.TautError: it could not be made; names the server.
        :raises taut.errors.ConnectionClosed: it was given up.
        """
        if self.client is not None:
            return self.client
        if self._closed:
            raise ConnectionClosed(f"{self.name}: the pool is closed", clean=True, sent=False)
        task = self._connecting
        if task is None or task.done():
            task = self._connecting = self._spawn(self._connect(list(self._ending)))
        client = await self._outcome(task)
        if self.client is not client:  # it did not last until this caller's turn came
            raise ConnectionClosed(self._error or f"{self.name}: connection closed", sent=False)
        return client

    async def _outcome(self, task: asyncio.Task[T]) -> T:
        """Wait for ``task``, which goes on should the caller be cancelled."""
        await asyncio.wait((task,))
        if task.cancelled():
            why = "the pool was closed" if self._closed else "nobody held a lease any more"
            raise ConnectionClosed(f"{self.name}: given up, as {why}", clean=True, sent=False)
        if (error := task.exception()) is not None:
            raise error.with_traceback(None)  # or each who waits would leave his frames there
        return task.result()

    async def _connect(self, before: list[asyncio.Task[Any]]) -> PooledClient:
        if before:
            await asyncio.wait(before)
        pause_s = self._not_before - self._timing.clock()
        if pause_s > 0:
            await self._timing.sleep(pause_s)
        client = PooledClient(self._plan, self._on_lost, self._on_changed)
        self._clients.add(client)
        try:
            await self._reach(client)
        except BaseException as error:
            await asyncio.wait((self._end(client),))  # in a task of its own: this one may be cancelled again
            if not isinstance(error, Exception):
                raise
            named = self._failed(error)
            raise named from error.__cause__ if named is error else error
        self._since = self._timing.clock()
        self._error = None
        self.client = client
        return client

    async def _reach(self, client: PooledClient) -> None:
        limit_s = self._plan.options.get("connect_timeout_s", CONNECT_S)
        try:
            async with asyncio.timeout(limit_s) as limit:
                await client.connect()
        except TimeoutError:
            if not limit.expired():
                raise
            raise ConnectTimeout(f"no connection within {limit_s:g} s") from None
        if client.connection.lost is not None:  # while this task waited for its turn
            raise client.connection.lost

    def _failed(self, error: Exception) -> TautError:
        """Note a failure and return the error that tells of it."""
        self._failures += 1
        self._leave_alone(getattr(error, "retry_after_s", None))
        named = _named(error, self.name)
        self._error = str(named)
        return named

    def _leave_alone(self, asked_s: float | None = None) -> None:
        timing = self._timing
        pause_s = timing.backoff.pause_s(self._failures, timing.chance(), asked_s=asked_s)
        self._not_before = timing.clock() + pause_s

    def _on_lost(self, client: PooledClient, error: TransportError) -> None:
        """The connection is gone, though nobody here wanted that. What can be told of it is told to its calls."""
        if self.client is not client:
            return
        self._error = f"{self.name}: {error}"
        if self._timing.clock() - self._since >= STEADY_S:
            self._failures = 0
        else:
            self._leave_alone()  # at once after the first: it may have been one bad call
            self._failures += 1
        self._forget(client)

    def _forget(self, client: PooledClient) -> asyncio.Task[None]:
        self.client = None
        self.changed()
        return self._end(client)

    def _end(self, client: PooledClient) -> asyncio.Task[None]:
        task = self._spawn(self._close(client))
        self._must_end(task)
        return task

    def _must_end(self, task: asyncio.Task[Any]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _close(self, client: PooledClient) -> None:
        try:
            await client.close()
        except Exception:
            # The border to a server in this process, and who comes last is the wrong one to tell.
            logger.exception("the server %s failed at its end", self.name)
        self._clients.discard(client)

    def disconnect(self) -> list[asyncio.Task[Any]]:
        """End what there is, and what has been begun. Returns the tasks to wait for; the end comes without that too."""
        begun: list[asyncio.Task[Any] | None] = [self._keeping, self._connecting, self._listing]
        # Never to be cancelled again: that would interrupt what they do at their end.
        self._keeping = self._connecting = self._listing = None
        for task in begun:
            if task is not None and not task.done():
                task.cancel()
                self._must_end(task)
        if self.client is not None:
            if self._timing.clock() - self._since >= STEADY_S:
                self._failures = 0
            self._forget(self.client)
        return list(self._ending)

    def shut(self) -> None:
        """Disconnect for good."""
        self._closed = True
        self.disconnect()

    async def wait_ended(self) -> None:
        """Wait until no task is left, after `shut`."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Let go of what cannot be closed any more, as the loop is: only a child process can still be ended."""
        self._closed = True
        self.client = None
        for client in self._clients:
            kill = getattr(_transport_of(client), "kill", None)
            if kill is not None:
                kill()

    # -- tools

    async def tools(self) -> Sequence[models.Tool]:
        """Return the tools, as they were listed since they last changed."""
        if self._tools is not None:
            return self._tools
        task = self._listing
        if task is None or task.done():
            task = self._listing = self._spawn(self._list())
        return await self._outcome(task)

    async def _list(self) -> Sequence[models.Tool]:
        tools: Sequence[models.Tool] = ()
        for last in (*(LISTINGS - 1) * (False,), True):
            client = await self.connected()
            await self._subscribe(client)
            seen = self._changes
            try:
                offered = models.declares(client.server_capabilities, "tools")
                tools = tuple(await client.list_tools()) if offered else ()
            except TransportError:
                if last or self.client is client:
                    raise
            else:
                if seen == self._changes:
                    self._tools = tools
                    break
        self.version = self.version or 1
        return tools

    def changed(self) -> None:
        """Note that the tools may have changed."""
        self._tools = None
        self._changes += 1
        if self.version:
            self.version += 1

    def _on_changed(self, client: PooledClient) -> None:
        if self.client is client:
            self.changed()

    async def _subscribe(self, client: PooledClient) -> None:
        """Have a modern server tell when its tools change, if it says that it can. A legacy one does so by itself.

        One that then does not is no reason to be without it: its tools are what they were until it is connected again.
        """
        tells = models.declares(client.server_capabilities, "tools.listChanged")
        following = client.following is not None and not client.following.done()
        if not client.agreement.modern or not tells or following or not client.subscriptions_left:
            return
        client.subscriptions_left -= 1
        try:
            async with asyncio.timeout(SUBSCRIBE_S):
                subscription = await client.subscribe(tools=True)
        except (TautError, TimeoutError) as error:
            client.subscriptions_left = 0
            if self.client is client:
                logger.warning(
                    "%s does not tell when its tools change: %s", self.name, str(error) or "no answer"
                )
        else:
            client.following = self._spawn(self._follow(client, subscription))

    async def _follow(self, client: PooledClient, subscription: Subscription) -> None:
        """Read ``subscription`` to its end. What it brings the client has told already."""
        try:
            async for _ in subscription:
                pass
        except TautError as error:
            if self.client is client:
                logger.warning("%s tells no more when its tools change: %s", self.name, error)
        self._on_changed(client)

    # -- tasks

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # A copy of the context: one context cannot be entered twice, as eager tasks would do.
        name = f"taut pool: {self.name}"
        task = self.loop.create_task(work, name=name, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task is self._connecting:  # which would keep what it has come to
            self._connecting = None
        elif task is self._listing:
            self._listing = None
        if not task.cancelled():
            task.exception()  # told to those who wait, if there are any left


def _transport_of(client: Client) -> object:
    """Return what carries the connection, if there is one and it is not HTTP."""
    try:
        return getattr(client.connection, "transport", None)
    except ConnectionClosed:  # nothing was opened
        return None


def _named(error: Exception, name: str) -> TautError:
    """Return ``error`` with the server's name in front of what it says."""
    if not isinstance(error, TautError):
        return ConnectError(f"{name}: {error!r}")
    text = error.message if isinstance(error, RemoteError) else str(error)
    if not text.startswith(f"{name}: "):  # one object may be raised again and again
        text = f"{name}: {text}"
    if isinstance(error, RemoteError):
        error.message = text
    error.args = (text,)
    return error
