"""The tools of a server in a pool: listed once, and again when they may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from scripted import DISCOVERED, Scripted
from web import until

from faults.leftovers import CleanRun
from faults.loops import FACTORIES
from taut import Server
from taut.client import Backoff, ServerLease, ServerPool, pooled
from taut.errors import ConnectionClosed, InternalError
from taut.transport.base import Transport

pytestmark = pytest.mark.processes

ERAS = ("legacy", "2026-07-28")


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> CleanRun:
    """Run a coroutine, which must leave nothing."""
    return CleanRun(request.param)


def names(tools: Any) -> list[str]:
    return [tool.name for tool in tools]


def growing() -> Server:
    """A server with a tool that makes more tools."""
    app = Server("growing")

    @app.tool
    def grow(name: str) -> str:
        app.tool(name=name)(lambda: name)
        return name

    return app


class Declaring(Scripted):
    """Declares ``capabilities``."""

    def __init__(
        self, capabilities: dict[str, Any], on_message: Callable[[Scripted, dict[str, Any]], None]
    ) -> None:
        super().__init__(on_message)
        self._capabilities = capabilities

    def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            if "supportedVersions" in message.get("result", {}):
                message = {**message, "result": {**DISCOVERED, "capabilities": self._capabilities}}
            super().say(message)


class Lister:
    """A modern server of which a test says what it answers; each connection is a `Scripted` of its own."""

    def __init__(self, *, capabilities: dict[str, Any] | None = None) -> None:
        self.servers: list[Scripted] = []
        self.tools = ["a"]
        #: Called before a list is answered.
        self.on_list: Callable[[Scripted], object] = lambda server: None
        #: What becomes of ``subscriptions/listen``.
        self.on_listen: Callable[[Scripted, dict[str, Any]], object] = lambda server, message: server.say(
            acknowledged(message)
        )
        self._capabilities = DISCOVERED["capabilities"] if capabilities is None else capabilities

    async def serve(self, transport: Transport) -> None:
        server = Declaring(self._capabilities, self._on_message)
        self.servers.append(server)
        await server.serve(transport)

    def _on_message(self, server: Scripted, message: dict[str, Any]) -> None:
        if message["method"] == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]
            self.on_list(server)
            server.say({"id": message["id"], "result": {"resultType": "complete", "tools": tools}})
        elif message["method"] == "subscriptions/listen":
            self.on_listen(server, message)

    def heard(self, method: str) -> int:
        """How often it was asked this."""
        return sum(message["method"] == method for server in self.servers for message in server.heard)

    def listening(self) -> int:
        """The id of the last ``subscriptions/listen``."""
        ids = [one["id"] for one in self.servers[-1].heard if one["method"] == "subscriptions/listen"]
        return int(ids[-1])


def acknowledged(message: dict[str, Any]) -> dict[str, Any]:
    params = {"_meta": subscription(message["id"]), "notifications": {"toolsListChanged": True}}
    return {"method": "notifications/subscriptions/acknowledged", "params": params}


def changed(listening: int) -> dict[str, Any]:
    return {"method": "notifications/tools/list_changed", "params": {"_meta": subscription(listening)}}


def subscription(listening: int) -> dict[str, Any]:
    return {"io.modelcontextprotocol/subscriptionId": listening}


async def until_version(lease: ServerLease, version: int) -> None:
    await until(lambda: lease.version == version)


@pytest.mark.parametrize("mode", ERAS)
class TestBothEras:
    def test_a_change_is_known_before_the_result_of_the_call_that_made_it(
        self, run: CleanRun, mode: str
    ) -> None:
        async def main() -> None:
            options = {"mode": mode}
            async with ServerPool({"s": growing()}, client_options=options) as pool, pool.lease("s") as lease:
                assert lease.version == 0
                assert names(await lease.tools()) == ["grow"]
                assert lease.version == 1
                assert await lease.tools() is await lease.tools()
                for number in range(2, 5):
                    await lease.call_tool("grow", {"name": f"tool-{number}"})
                    assert lease.version == number
                    assert len(await lease.tools()) == number
                    assert lease.version == number

        run(main())

    def test_all_leases_see_the_same(self, run: CleanRun, mode: str) -> None:
        async def main() -> None:
            async with ServerPool({"s": growing()}, client_options={"mode": mode}) as pool:
                one, two = pool.lease("s"), pool.lease("s")
                lists = await asyncio.gather(*(lease.tools() for lease in (one, two) for _ in range(5)))
                assert all(tools is lists[0] for tools in lists)
                await one.call_tool("grow", {"name": "more"})
                assert two.version == 2
                await one.release()
                assert names(await two.tools()) == ["grow", "more"]

        run(main())

    def test_a_lost_connection_is_a_change(self, run: CleanRun, mode: str) -> None:
        app = growing()
        transports: list[Transport] = []

        class Dying:
            async def serve(self, transport: Transport) -> None:
                transports.append(transport)
                await app.serve(transport)

        async def main() -> None:
            async with ServerPool({"s": Dying()}, client_options={"mode": mode}) as pool:
                lease = pool.lease("s")
                await lease.tools()
                transports[0].close()
                await until_version(lease, 2)
                app.tool(name="new")(lambda: None)
                assert names(await lease.tools()) == ["grow", "new"]
                assert lease.version == 2
                await lease.call_tool("grow", {"name": "newer"})  # the new connection tells as well
                assert lease.version == 3

        run(main())


class TestListing:
    def test_the_caller_may_be_cancelled(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()
            listening = asyncio.Event()
            server.on_listen = lambda server, message: listening.set()
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                one, two = asyncio.create_task(lease.tools()), asyncio.create_task(lease.tools())
                await listening.wait()
                one.cancel()
                await asyncio.wait([one])
                scripted = server.servers[0]
                scripted.say(acknowledged(scripted.heard[0]))
                assert names(await two) == ["a"]
                assert one.cancelled()
                assert server.heard("tools/list") == 1

        run(main())

    def test_it_is_given_up_with_the_last_lease(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()
            listening = asyncio.Event()
            server.on_listen = lambda server, message: listening.set()
            async with ServerPool({"s": server}) as pool:
                lease = pool.lease("s")
                listing = asyncio.create_task(lease.tools())
                await listening.wait()
                await lease.release()
                with pytest.raises(ConnectionClosed, match="s: "):
                    await listing
                assert lease.version == 0

        run(main())

    def test_what_changes_while_it_is_read_is_read_again(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()

            def change_once(scripted: Scripted) -> None:
                if server.tools == ["a"]:
                    server.tools = ["a", "b"]
                    scripted.say(changed(server.listening()))

            server.on_list = change_once
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert names(await lease.tools()) == ["a", "b"]
                assert lease.version == 1
                assert await lease.tools() is await lease.tools()

        run(main())

    def test_what_changes_all_the_time_is_not_kept(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()
            server.on_list = lambda scripted: scripted.say(changed(server.listening()))
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert names(await lease.tools()) == ["a"]
                seen = lease.version
                assert names(await lease.tools()) == ["a"]
                assert lease.version > seen
                assert server.heard("tools/list") == 2 * pooled.LISTINGS

        run(main())

    def test_a_connection_that_is_lost_under_it_is_replaced(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()

            def die_once(scripted: Scripted) -> None:
                if len(server.servers) == 1:
                    scripted.close()

            server.on_list = die_once
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert names(await lease.tools()) == ["a"]
                assert len(server.servers) == 2

        run(main())

    def test_a_server_that_always_dies_of_it_is_not_asked_forever(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()
            server.on_list = lambda scripted: scripted.close()
            pool = ServerPool({"s": server}, reconnect=Backoff(initial_s=0))
            async with pool, pool.lease("s") as lease:
                with pytest.raises(ConnectionClosed):
                    await lease.tools()
                assert len(server.servers) == pooled.LISTINGS
                assert lease.version == 0

        run(main())

    def test_an_error_of_the_server_is_the_callers(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()
            error = {"code": -32603, "message": "no list today"}
            server.on_list = lambda scripted: scripted.say({"id": scripted.heard[-1]["id"], "error": error})
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                for _ in range(2):
                    with pytest.raises(InternalError, match="no list today"):
                        await lease.tools()
                assert len(server.servers) == 1

        run(main())

    def test_a_server_without_tools_has_none(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister(capabilities={"prompts": {}})
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert list(await lease.tools()) == []
                assert lease.version == 1
                assert server.heard("tools/list") == 0

        run(main())


class TestBeingTold:
    def test_a_server_that_declares_nothing_is_not_asked_to(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister(capabilities={"tools": {}})
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert names(await lease.tools()) == ["a"]
                assert server.heard("subscriptions/listen") == 0

        run(main())

    def test_one_that_refuses_is_used_without(self, run: CleanRun, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            server = Lister()
            error = {"code": -32603, "message": "no streams here"}
            server.on_listen = lambda scripted, message: scripted.say({"id": message["id"], "error": error})
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert names(await lease.tools()) == ["a"]
                assert lease.version == 1
                assert await lease.tools() is await lease.tools()
                assert server.heard("subscriptions/listen") == 1

        run(main())
        assert "s does not tell when its tools change: no streams here" in caplog.text

    def test_one_that_is_silent_is_used_without(
        self, run: CleanRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(pooled, "SUBSCRIBE_S", 0.01)

        async def main() -> None:
            server = Lister()
            server.on_listen = lambda scripted, message: None
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                assert names(await lease.tools()) == ["a"]
                assert server.heard("subscriptions/listen") == 1
                assert server.heard("notifications/cancelled") == 1

        run(main())
        assert "s does not tell when its tools change: no answer" in caplog.text

    def test_a_stream_that_ends_is_a_change_and_opened_again_a_few_times(self, run: CleanRun) -> None:
        async def main() -> None:
            server = Lister()
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                for number in range(pooled.SUBSCRIPTIONS):
                    await lease.tools()
                    assert lease.version == number + 1
                    assert server.heard("subscriptions/listen") == number + 1
                    result = {"resultType": "complete", "_meta": subscription(server.listening())}
                    server.servers[0].say({"id": server.listening(), "result": result})
                    await until_version(lease, number + 2)
                await lease.tools()
                assert await lease.tools() is await lease.tools()
                assert server.heard("subscriptions/listen") == pooled.SUBSCRIPTIONS

        run(main())

    def test_a_stream_that_fails_is_a_change(self, run: CleanRun, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            server = Lister()
            async with ServerPool({"s": server}) as pool, pool.lease("s") as lease:
                await lease.tools()
                error = {"code": -32603, "message": "enough"}
                server.servers[0].say({"id": server.listening(), "error": error})
                await until_version(lease, 2)

        run(main())
        assert "s tells no more when its tools change: enough" in caplog.text

    def test_what_the_user_wants_to_hear_is_heard_too(self, run: CleanRun) -> None:
        heard: list[str] = []

        async def main() -> None:
            options = {"on_notification": lambda one: heard.append(one.method), "mode": "legacy"}
            async with ServerPool({"s": growing()}, client_options=options) as pool, pool.lease("s") as lease:
                await lease.tools()
                await lease.call_tool("grow", {"name": "more"})

        run(main())
        assert heard == ["notifications/tools/list_changed"]
