"""What every store of tasks does, and what the life of a task is in each of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from faults.loops import Run
from taut import models
from taut.errors import ConfigError, InvalidParams, LimitExceeded
from taut.mcp import tasks as life
from taut.mcp.tasks import Asked, TaskRecord
from taut.server import MemoryTaskStore, SQLiteTaskStore, TaskStore, task_store_sqlite

MakeStore = Callable[[], TaskStore]
LIMITS: dict[str, Any] = {"max_tasks": 100, "max_per_owner": 100}


def record(task_id: str = "a", **members: Any) -> TaskRecord:
    given = {
        "owner": "",
        "revision": "2026-07-28",
        "created": 1.0,
        "updated": 1.0,
        "ttl_s": 60.0,
        "poll_s": 1.0,
    }
    return TaskRecord(id=task_id, **given | members)


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Return what makes stores; those on the disk share a file."""
    if request.param == "memory":
        return MemoryTaskStore
    return lambda: SQLiteTaskStore(tmp_path / "tasks.db")


class TestStores:
    def test_what_was_added_is_found_as_it_was(self, run: Run, make: MakeStore) -> None:
        full = record(
            owner="me",
            ttl_s=None,
            worker="w",
            status="failed",
            message="no",
            result=b'{"a":1}',
            is_error=True,
            error=models.ErrorObject(-1, "no", {"why": [1, None]}),
            questions={"q": Asked("roots/list", b"{}")},
            answers={"q": b"{}"},
            refusals={"r": models.ErrorObject(-2, "no")},
        )

        async def main() -> None:
            store = make()
            await store.add(full, now=1, **LIMITS)
            assert await store.get("a") == full
            assert await store.get("b") is None
            await store.remove("a")
            await store.remove("a")
            assert await store.get("a") is None
            await store.close()

        run(main())

    def test_a_change_is_all_or_nothing(self, run: Run, make: MakeStore) -> None:
        def broken(old: TaskRecord) -> TaskRecord:
            raise InvalidParams("no")

        async def main() -> None:
            store = make()
            await store.add(record(), now=1, **LIMITS)
            changed = await store.change("a", lambda old: life.said(old, "hello", 2))
            assert changed is not None
            assert (changed[0].message, changed[1].message, changed[1].version) == (None, "hello", 1)
            same = await store.change("a", lambda old: old)
            assert same is not None
            assert same[0] is same[1]
            with pytest.raises(InvalidParams):
                await store.change("a", broken)
            assert await store.get("a") == changed[1]
            assert await store.change("b", broken) is None
            await store.close()

        run(main())

    def test_changes_at_once_come_one_after_another(self, run: Run, make: MakeStore) -> None:
        async def main() -> None:
            store = make()
            others = [store] if isinstance(store, MemoryTaskStore) else [store, make(), make()]
            await store.add(record(message="0"), now=1, **LIMITS)

            def count(old: TaskRecord) -> TaskRecord:
                return life.said(old, str(int(old.message or "") + 1), 2)

            await asyncio.gather(*(others[n % len(others)].change("a", count) for n in range(30)))
            found = await store.get("a")
            assert found is not None
            assert (found.message, found.version) == ("30", 30)
            for one in others:
                await one.close()

        run(main())

    def test_what_is_new_is_found_by_its_version(self, run: Run, make: MakeStore) -> None:
        async def main() -> None:
            store = make()
            for name in "abc":
                await store.add(record(name), now=1, **LIMITS)
            await store.change("b", lambda old: life.said(old, "hello", 2))
            found = await store.newer({"a": 0, "b": 0, "x": 0})
            assert [one.id for one in found] == ["b"]
            assert await store.newer({"b": 1}) == []
            assert await store.newer({}) == []
            await store.close()

        run(main())

    def test_an_owner_has_what_is_his_in_the_order_of_time(self, run: Run, make: MakeStore) -> None:
        async def main() -> None:
            store = make()
            await store.add(record("late", owner="me", created=3), now=1, **LIMITS)
            await store.add(record("other", owner="you"), now=1, **LIMITS)
            await store.add(record("early", owner="me", created=2), now=1, **LIMITS)
            assert [one.id for one in await store.owned("me")] == ["early", "late"]
            assert await store.owned("nobody") == []
            await store.close()

        run(main())

    def test_limits_count_what_has_not_expired(self, run: Run, make: MakeStore) -> None:
        async def main() -> None:
            store = make()
            limits: dict[str, Any] = {"max_tasks": 3, "max_per_owner": 1}
            await store.add(record("a", owner="me"), now=1, **limits)
            with pytest.raises(LimitExceeded) as raised:
                await store.add(record("b", owner="me"), now=1, **limits)
            assert raised.value.limit == "max_per_owner"
            await store.add(record("b"), now=1, **limits)
            await store.add(record("c", ttl_s=None), now=1, **limits)
            with pytest.raises(LimitExceeded) as raised:
                await store.add(record("d"), now=60.9, **limits)
            assert raised.value.limit == "max_tasks"
            await store.add(record("d", owner="me", created=61), now=61, **limits)
            assert [await store.get(name) is None for name in "abcd"] == [True, True, False, False]
            await store.close()

        run(main())

    def test_a_store_may_be_used_after_it_was_closed_and_in_another_loop(
        self, run: Run, make: MakeStore
    ) -> None:
        store = make()

        async def first() -> None:
            await store.add(record(), now=1, **LIMITS)
            await store.close()
            await store.close()

        async def second() -> None:
            assert await store.get("a") is not None
            assert store.is_alive(store.worker)
            await store.close()

        run(first())
        run(second())


class TestOnDisk:
    def test_what_was_added_outlives_a_process_that_is_killed(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "tasks.db"
        child = f"""
import asyncio, os, signal
from server.test_task_stores import LIMITS, record
from taut.mcp import tasks as life
from taut.server import SQLiteTaskStore

async def main():
    store = SQLiteTaskStore({str(path)!r})
    await store.add(record("working", worker=store.worker), now=1, **LIMITS)
    await store.add(record("done", worker=store.worker), now=1, **LIMITS)
    await store.change("done", lambda old: life.completed(old, b"{{}}", 2, is_error=False))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run([sys.executable, "-c", child], check=False, timeout=30, env=env)
        assert ended.returncode == -signal.SIGKILL

        async def main() -> None:
            store = SQLiteTaskStore(path)
            done, working = await store.get("done"), await store.get("working")
            assert done is not None
            assert working is not None
            assert (done.status, done.result) == ("completed", b"{}")
            assert working.status == "working"
            assert not store.is_alive(working.worker)
            await store.close()

        run(main())

    def test_only_what_is_known_to_be_gone_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = SQLiteTaskStore("unused")
        host, pid, mark = store.worker.rsplit("/", 2)
        assert store.is_alive(f"{host}/{os.getppid()}/{mark}")
        assert store.is_alive(f"elsewhere/{pid}/{mark}")
        assert store.is_alive("named by another store")
        assert not store.is_alive(f"{host}/{pid}/00000000")
        monkeypatch.setattr(task_store_sqlite, "_runs", lambda number: False)
        assert not store.is_alive(f"{host}/{int(pid) + 1}/{mark}")

    def test_only_its_owner_may_read_the_file(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "tasks.db"
        modes: dict[str, int] = {}

        async def main() -> None:
            store = SQLiteTaskStore(path)
            await store.add(record(), now=1, **LIMITS)
            modes.update({one.name: one.stat().st_mode & 0o777 for one in os.scandir(tmp_path)})
            await store.close()

        run(main())
        assert set(modes.values()) == {0o600}, modes

    def test_a_file_that_is_none_is_a_mistake(self, run: Run, tmp_path: Path) -> None:
        text, later = tmp_path / "text", tmp_path / "later"
        text.write_text("no database" * 100)
        with sqlite3.connect(later) as file:
            file.execute("PRAGMA user_version = 7")
        file.close()

        async def main() -> None:
            for path, said in (
                (text, "not a database"),
                (later, "expected version 1, got 7"),
                (tmp_path, "Is a directory"),
            ):
                store = SQLiteTaskStore(path)
                with pytest.raises(ConfigError, match=said):
                    await store.get("a")
                await store.close()

        run(main())

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
    def test_a_child_opens_the_file_for_itself(self, run: Run, tmp_path: Path) -> None:
        store = SQLiteTaskStore(tmp_path / "tasks.db")

        async def first() -> None:
            await store.add(record(), now=1, **LIMITS)

        run(first())
        worker = store.worker
        pid = os.fork()
        if pid == 0:
            found = asyncio.run(store.get("a"))
            os._exit(0 if found is not None and store.worker != worker else 1)
        assert os.waitpid(pid, 0)[1] == 0
        run(store.close())


FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM_PARAMS = msgspec.json.encode({"message": "?", "requestedSchema": FORM})
QUESTION = Asked("elicitation/create", FORM_PARAMS)
FITS = {"action": "accept", "content": {"name": "x"}}
KEYS = st.sampled_from(["k1", "k2", "k3"])


class Life(RuleBasedStateMachine):
    """Anything may happen to tasks, in any order; what is kept is always in order, and an end is for good."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = self.make()
        self.now = 1_000.0
        self.known: dict[str, TaskRecord] = {}

    def make(self) -> TaskStore:
        raise NotImplementedError

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.loop.close()

    @rule(target=tasks, owner=st.sampled_from(["", "me"]), ttl=st.sampled_from([None, 5.0, 500.0]))
    def add(self, owner: str, ttl: float | None) -> str:
        task_id = f"t{len(self.known)}"
        new = record(task_id, owner=owner, ttl_s=ttl, created=self.now, updated=self.now)
        self.wait(self.store.add(new, now=self.now, **LIMITS))
        self.known[task_id] = new
        return task_id

    @rule(seconds=st.sampled_from([-2.0, 0.5, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def change(self, task_id: str, change: Callable[[TaskRecord], TaskRecord]) -> TaskRecord | None:
        """Change a task, and check what holds for every change. None: its time was over, it is kept no more."""
        changed = self.wait(self.store.change(task_id, change))
        if changed is None:
            assert life.expired(self.known[task_id], max(self.now, self.known[task_id].created + 5))
            return None
        old, new = changed
        assert old == self.known[task_id]
        if old.ended:
            assert new is old
        if new is not old:
            assert new.version == old.version + 1
            assert new.updated >= old.updated
        self.known[task_id] = new
        return new

    @rule(task=tasks, keys=st.sets(KEYS, min_size=1))
    def ask(self, task: str, keys: set[str]) -> None:
        new = self.change(task, lambda old: life.asked(old, dict.fromkeys(keys, QUESTION), self.now))
        assert new is None or new.ended or set(new.questions) >= keys

    @rule(task=tasks, keys=st.sets(st.one_of(KEYS, st.just("never asked")), min_size=1))
    def answer(self, task: str, keys: set[str]) -> None:
        before = self.known[task].questions
        new = self.change(task, lambda old: life.answered(old, dict.fromkeys(keys, FITS), self.now))
        assert new is None or set(new.questions) == set(before) - keys or new is self.known[task]

    @rule(task=tasks, key=KEYS)
    def answer_badly(self, task: str, key: str) -> None:
        before = self.known[task]
        try:
            self.change(task, lambda old: life.answered(old, {key: {"action": "accept"}}, self.now))
        except InvalidParams:
            assert key in before.questions

    @rule(task=tasks, key=KEYS)
    def refuse(self, task: str, key: str) -> None:
        self.change(task, lambda old: life.refused(old, key, models.ErrorObject(-1, "no"), self.now))

    @rule(task=tasks, keys=st.sets(KEYS))
    def withdraw(self, task: str, keys: set[str]) -> None:
        new = self.change(task, lambda old: life.withdrawn(old, keys, self.now))
        assert new is None or not set(new.questions) & keys

    @rule(task=tasks, message=st.sampled_from(["half", "nearly"]))
    def say(self, task: str, message: str) -> None:
        self.change(task, lambda old: life.said(old, message, self.now))

    @rule(task=tasks, is_error=st.booleans())
    def complete(self, task: str, is_error: bool) -> None:
        self.change(task, lambda old: life.completed(old, b'{"content":[]}', self.now, is_error=is_error))

    @rule(task=tasks)
    def fail(self, task: str) -> None:
        self.change(task, lambda old: life.failed(old, models.ErrorObject(-1, "no"), self.now))

    @rule(task=tasks)
    def cancel(self, task: str) -> None:
        self.change(task, lambda old: life.cancelled(old, "enough", self.now))

    @invariant()
    def what_is_kept_is_in_order(self) -> None:
        for task_id, known in self.known.items():
            kept = self.wait(self.store.get(task_id))
            assert kept == known or (kept is None and known.ttl_s is not None)
            assert (known.status == "input_required") == bool(known.questions)
            assert (known.result is not None) == (known.status == "completed")
            assert (known.error is not None) == (known.status == "failed")
            if known.ended:
                assert known.questions == known.answers == known.refusals == {}
            for revision in ("2025-11-25", "2026-07-28"):
                shown = life.detailed_result(known, revision)
                assert shown.task_id == task_id  # type: ignore[attr-defined]


class LifeInMemory(Life):
    def make(self) -> TaskStore:
        return MemoryTaskStore()


class LifeOnDisk(Life):
    def make(self) -> TaskStore:
        self.folder = tempfile.TemporaryDirectory()
        return SQLiteTaskStore(Path(self.folder.name) / "tasks.db")

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestLifeInMemory = LifeInMemory.TestCase
TestLifeOnDisk = LifeOnDisk.TestCase
TestLifeOnDisk.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
