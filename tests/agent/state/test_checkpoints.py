"""What every store of checkpoints does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.state.stores import KINDS, ring, text
from faults.loops import Run
from taut.agent.state import (
    Checkpoint,
    CheckpointStore,
    Conflict,
    MemoryCheckpointStore,
    SQLiteCheckpointStore,
    StoreFull,
)
from taut.errors import ConfigError

Make = Callable[..., CheckpointStore]


def maker(kind: str, path: Path) -> Make:
    def make(**settings: Any) -> CheckpointStore:
        if kind == "memory":
            return MemoryCheckpointStore(**settings)
        return SQLiteCheckpointStore(path, keys=ring() if kind == "sealed" else None, **settings)

    return make


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes stores; those on the disk share a file."""
    return maker(request.param, tmp_path / "state.db")


def checkpoint(run_id: str = "r", **members: Any) -> Checkpoint:
    given: dict[str, Any] = {"agent": "clerk", "status": "suspended", "created": 1.0, "updated": 2.0}
    return Checkpoint(run_id=run_id, **given | members)


def test_a_run_is_found_as_it_was_saved(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.load("r") is None
        given = checkpoint(waiting=("approval 1", "approval 2"))
        saved = await store.save(given, b"state\0", expected=0)
        assert (saved.version, given.version) == (1, 0)
        assert await store.load("r") == (saved, b"state\0")
        again = await store.save(checkpoint(status="running", updated=3.0), b"", expected=1)
        assert again.version == 2
        assert await store.load("r") == (again, b"")
        await store.remove("r")
        await store.remove("r")
        assert await store.load("r") is None
        assert await store.list() == []
        await store.close()

    run(main())


def test_one_of_many_takes_up_a_run(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        others = [store] if isinstance(store, MemoryCheckpointStore) else [store, make(), make()]
        await store.save(checkpoint(), b"waits")
        won: list[int] = []
        late: list[Conflict] = []

        async def take(number: int) -> None:
            mine = others[number % len(others)]
            found = await mine.load("r")
            assert found is not None
            try:
                await mine.save(checkpoint(status="running"), found[1], expected=1)
                won.append(number)
            except Conflict as error:
                late.append(error)

        await asyncio.gather(*(take(number) for number in range(9)))
        assert len(won) == 1
        assert {(error.expected, error.actual) for error in late} == {(1, 2)}
        found = await store.load("r")
        assert found is not None
        assert (found[0].status, found[0].version) == ("running", 2)
        for one in others:
            await one.close()

    run(main())


def test_a_version_that_is_not_there_is_a_conflict(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        with pytest.raises(Conflict, match="Run 'r' was changed meanwhile: expected 3, got 0"):
            await store.save(checkpoint(), b"", expected=3)
        await store.save(checkpoint(), b"first", expected=0)
        with pytest.raises(Conflict, match="expected 0, got 1"):
            await store.save(checkpoint(), b"second", expected=0)
        # Who does not care is not refused.
        assert (await store.save(checkpoint(version=77), b"third")).version == 2
        await store.close()

    run(main())


def test_runs_are_listed_by_agent_and_status_and_time(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        for name, agent, status, updated in (
            ("a", "clerk", "suspended", 5.0),
            ("b", "clerk", "running", 9.0),
            ("c", "judge", "suspended", 7.0),
            ("d", "clerk", "suspended", 5.0),
        ):
            await store.save(
                checkpoint(name, agent=agent, status=status, updated=updated, waiting=(name,)), b"x"
            )

        async def listed(**wanted: Any) -> str:
            return "".join(one.run_id for one in await store.list(**wanted))

        assert await listed() == "bcad"
        assert await listed(agent="clerk") == "bad"
        assert await listed(status="suspended") == "cad"
        assert await listed(agent="clerk", status="suspended") == "ad"
        assert await listed(agent="nobody") == await listed(status="") == ""
        assert await listed(limit=2) == "bc"
        assert [one.waiting for one in await store.list(agent="judge")] == [("c",)]
        await store.save(checkpoint("a", status="done", updated=10.0), b"x")
        assert await listed(status="suspended") == "cd"
        assert await listed() == "abcd"
        await store.close()

    run(main())


def test_a_state_has_a_limit(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make(max_bytes=10)
        await store.save(checkpoint(), b"x" * 10)
        with pytest.raises(StoreFull, match="state of run 'r' cannot be kept: max_bytes is 10, got 11"):
            await store.save(checkpoint(), b"y" * 11)
        found = await store.load("r")
        assert found is not None
        assert found[1] == b"x" * 10
        await store.close()

    run(main())
    with pytest.raises(ConfigError, match="max_bytes: expected at least 1, got 0"):
        make(max_bytes=0)


@given(
    kind=st.sampled_from(KINDS),
    state=st.binary(max_size=200),
    members=st.fixed_dictionaries(
        {
            "agent": text(),
            "status": text(),
            "updated": st.floats(allow_nan=False),
            "waiting": st.lists(text()).map(tuple),
        }
    ),
    run_id=text(),
)
def test_any_bytes_come_back(kind: str, state: bytes, members: dict[str, Any], run_id: str) -> None:
    async def main(path: Path) -> None:
        store = maker(kind, path)()
        given = checkpoint(run_id, **members)
        saved = await store.save(given, state)
        assert await store.load(run_id) == (saved, state)
        assert await store.list(agent=given.agent, status=given.status) == [saved]
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "state.db"))


def test_a_store_may_be_used_after_it_was_closed_and_in_another_loop(run: Run, make: Make) -> None:
    store = make()

    async def first() -> None:
        await store.save(checkpoint(), b"x")
        await store.close()
        await store.close()

    async def second() -> None:
        assert await store.load("r") is not None
        await store.close()

    run(first())
    run(second())
