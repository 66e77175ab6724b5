"""Runs as resources: what is in them, and hearing of their changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.desks import ERAS, Desk, info, reached, read, run_of
from agent.worlds import run
from taut import Client
from taut.errors import RemoteError


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "http"])
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def changes(subscription: Any, *uris: str) -> None:
    """Wait until each of these has been said to have changed."""
    missing = set(uris)
    async for change in subscription:
        missing.discard(change.uri)
        if not missing:
            return


class TestContents:
    def test_a_run_its_messages_and_its_events(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                result = await client.call_tool("clerk", {"task": "Ada"})
                uri = f"run://{run_of(result)}"
                assert await read(client, uri) == await info(client, "run_status", run_id=run_of(result))
                messages = await read(client, f"{uri}/messages")
                assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant"]
                assert messages[0]["content"] == [{"kind": "text", "text": "Ada"}]
                events = await read(client, f"{uri}/events")
                assert events["before"] == 0
                kinds = [one["event"] for one in events["events"]]
                assert kinds[:4] == ["step", "usage", "tool_call", "tool_result"]
                assert kinds[-2:] == ["approval", "done"]

        run(main())

    def test_the_text_of_a_model_is_one_event(self) -> None:
        async def main() -> None:
            desk = Desk()
            desk.gate.set()
            async with Client(desk.app) as client:
                result = await client.call_tool("thinker", {"task": "one two three"})
                events = (await read(client, f"run://{run_of(result)}/events"))["events"]
                assert [one["text"] for one in events if one["event"] == "text"] == [
                    "thought about one two three"
                ]

        run(main())

    def test_what_was_said_is_nobodys_business_where_that_is_wanted(self) -> None:
        async def main() -> None:
            desk = Desk(details=False)
            desk.gate.set()
            said: list[str] = []
            async with Client(desk.app) as client:
                result = await client.call_tool(
                    "thinker",
                    {"task": "tea"},
                    on_progress=lambda progress: said.append(str(progress.message)),
                )
                assert said == ["thinker: step 1", "thinker: completed"]
                assert (await read(client, f"run://{run_of(result)}"))["output"] == "thought about tea"
                for what in ("messages", "events"):
                    with pytest.raises(RemoteError, match="Resource not found"):
                        await client.read_resource(f"run://{run_of(result)}/{what}")
                templates = await client.list_resource_templates()
                assert [one.uri_template for one in templates] == ["run://{run_id}"]

        run(main())

    def test_a_run_that_there_is_not(self, era: str) -> None:
        async def main() -> None:
            async with Client(Desk().app, mode=era) as client:
                for uri in ("run://nothing", "run://nothing/messages", "run://nothing/events"):
                    with pytest.raises(RemoteError, match=f"Resource not found: {uri}"):
                        await client.read_resource(uri)

        run(main())


class TestSubscriptions:
    def test_who_has_subscribed_hears_what_has_changed(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                run_id = (await info(client, "run_start", agent="thinker", task="tea"))["run_id"]
                uri = f"run://{run_id}"
                await desk.thinking("tea")
                every = (uri, f"{uri}/messages", f"{uri}/events")
                async with await client.subscribe(*every) as subscription:
                    desk.gate.set()
                    await changes(subscription, *every)
                    assert (await info(client, "run_status", run_id=run_id, wait_s=20))[
                        "status"
                    ] == "completed"
                    assert (await read(client, uri))["output"] == "thought about tea"
                    assert len(await read(client, f"{uri}/messages")) == 2

        run(main())

    def test_a_run_that_waits_for_approval_is_heard_of(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                run_id = (await info(client, "run_start", agent="clerk", task="Ada"))["run_id"]
                uri = f"run://{run_id}"
                async with await client.subscribe(uri) as subscription:
                    said: Any = {}
                    while said.get("status") != "suspended":
                        said = await read(client, uri)
                        if said["status"] != "suspended":
                            await changes(subscription, uri)
                    await info(client, "run_resume", run_id=run_id, approve="all")
                    while said["status"] != "completed":
                        await changes(subscription, uri)
                        said = await read(client, uri)
                assert said["output"] == "paid Ada"

        run(main())

    def test_many_changes_in_one_turn_are_told_once(self) -> None:
        async def main() -> None:
            desk = Desk()
            told: list[str] = []
            desk.app.resource_updated = told.append  # type: ignore[method-assign]
            desk.gate.set()
            async with Client(desk.app) as client:
                await client.call_tool("thinker", {"task": "tea"})
                await asyncio.sleep(0)
            (served,) = desk.runs._runs.values()
            uri = f"run://{served.id}"
            assert set(told) == {uri, f"{uri}/messages", f"{uri}/events"}
            assert len(told) < served.events_seen + 3

        run(main())
