"""Steps: done once, recorded, replayed; retries, children, signals."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError, RunSuspended, ToolError, TransportError
from taut.steps import InProcess, Journal, Retry


def steps(journal: Journal | None = None, **options: Any) -> InProcess:
    return InProcess(journal or Journal(run_id="r"), **options)


def reloaded(journal: Journal) -> Journal:
    """The journal as another process has it."""
    return Journal.from_bytes(journal.to_bytes())


class Counter:
    """A step that counts how often it is really done."""

    def __init__(self, *outcomes: Any) -> None:
        self.keys: list[str] = []
        self._outcomes = list(outcomes)

    async def __call__(self, key: str, *args: Any) -> Any:
        self.keys.append(key)
        outcome = self._outcomes.pop(0) if self._outcomes else len(self.keys)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Point(msgspec.Struct):
    x: int
    y: int


class TestStep:
    def test_it_gets_its_key_and_arguments(self) -> None:
        seen = []

        async def work(key: str, a: int, b: str) -> int:
            seen.append((key, a, b))
            return 1

        assert asyncio.run(steps().step("one", work, 2, "x", returns=int)) == 1
        assert seen == [("r:one#1", 2, "x")]

    def test_what_is_recorded_is_not_done_again(self) -> None:
        work = Counter()
        journal = Journal(run_id="r")

        async def program(under: InProcess) -> list[int]:
            return [await under.step("one", work, returns=int) for _ in range(3)]

        assert asyncio.run(program(steps(journal))) == [1, 2, 3]
        assert asyncio.run(program(steps(reloaded(journal)))) == [1, 2, 3]
        assert work.keys == ["r:one#1", "r:one#2", "r:one#3"]

    def test_a_record_has_its_type_in_another_process(self) -> None:
        journal = Journal(run_id="r")
        asyncio.run(steps(journal).step("point", Counter(Point(1, 2)), returns=Point))
        again = asyncio.run(steps(reloaded(journal)).step("point", Counter(), returns=Point))
        assert again == Point(1, 2)

    @pytest.mark.parametrize("value", [2**63, -(2**200), {"n": [10**30]}, float("inf"), b"\x00", None])
    def test_any_value_survives(self, value: Any) -> None:
        journal = Journal(run_id="r")
        asyncio.run(steps(journal).step("one", Counter(value), returns=Any))
        journal.signals["go"] = {"n": 2**70}
        again = reloaded(reloaded(journal))
        kind = bytes if isinstance(value, bytes) else Any
        assert asyncio.run(steps(again).step("one", Counter(), returns=kind)) == value
        assert again.signals == {"go": {"n": 2**70}}

    def test_a_record_of_another_type_says_that_something_has_changed(self) -> None:
        journal = Journal(run_id="r")
        asyncio.run(steps(journal).step("one", Counter("text"), returns=str))
        with pytest.raises(
            ConfigError, match=r"run r: expected the record of the step one#1 .* got: Expected `int`"
        ):
            asyncio.run(steps(reloaded(journal)).step("one", Counter(), returns=int))

    def test_a_failure_is_raised_and_tried_when_the_run_is_taken_up(self) -> None:
        journal = Journal(run_id="r")
        work = Counter(ToolError("no"), 7)
        with pytest.raises(ToolError, match="no"):
            asyncio.run(steps(journal).step("one", work, returns=int))
        assert asyncio.run(steps(journal).step("one", work, returns=int)) == 7
        assert work.keys == ["r:one#1", "r:one#1"]

    def test_a_failure_that_is_recovered_is_recorded(self) -> None:
        journal = Journal(run_id="r")
        work = Counter(ToolError("no"))
        for _ in range(2):
            got = asyncio.run(
                steps(journal).step("one", work, returns=str, recover=lambda error: f"failed: {error}")
            )
            assert got == "failed: no"
        assert len(work.keys) == 1

    def test_suspension_is_no_failure(self) -> None:
        with pytest.raises(RunSuspended):
            asyncio.run(
                steps().step("one", Counter(RunSuspended("wait")), returns=str, recover=lambda _: "recovered")
            )

    def test_a_step_that_takes_too_long_is_cancelled(self) -> None:
        ended = []

        async def hang(key: str) -> int:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(key)
            return 1

        with pytest.raises(TimeoutError):
            asyncio.run(steps().step("one", hang, returns=int, timeout_s=0.001))
        assert ended == ["r:one#1"]


class TestRetry:
    def test_it_tries_as_often_as_it_says_with_the_same_key(self) -> None:
        work = Counter(TransportError("lost"), TransportError("lost"), 5)
        retry = Retry(attempts=3, initial_s=0)
        assert asyncio.run(steps().step("one", work, returns=int, retry=retry)) == 5
        assert work.keys == ["r:one#1"] * 3

    def test_the_last_failure_is_raised(self) -> None:
        work = Counter(TransportError("first"), TransportError("second"))
        with pytest.raises(TransportError, match="second"):
            asyncio.run(steps().step("one", work, returns=int, retry=Retry(attempts=2, initial_s=0)))

    def test_other_failures_are_not_tried_again(self) -> None:
        work = Counter(ToolError("wrong"))
        retry = Retry(attempts=5, initial_s=0, on=(TransportError,))
        with pytest.raises(ToolError):
            asyncio.run(steps().step("one", work, returns=int, retry=retry))
        assert len(work.keys) == 1

    def test_pauses_grow_up_to_a_maximum_and_never_begin_together(self) -> None:
        retry = Retry(attempts=10, initial_s=1, maximum_s=4)
        error = TransportError("lost")
        assert [retry.pause_s(n, error, 1.0) for n in range(1, 5)] == [1, 2, 4, 4]
        assert [retry.pause_s(n, error, 0.0) for n in range(1, 5)] == [0.5, 1, 2, 2]
        assert retry.pause_s(10, error, 0.0) is None

    def test_a_pause_that_is_asked_for_is_kept_unless_it_is_too_long(self) -> None:
        error = TransportError("busy")
        error.retry_after_s = 3.0  # type: ignore[attr-defined]
        assert Retry(attempts=2, maximum_s=4).pause_s(1, error, 0.5) == 3.0
        assert Retry(attempts=2, maximum_s=2).pause_s(1, error, 0.5) is None

    @pytest.mark.parametrize("bad", [{"attempts": 0}, {"initial_s": -1}, {"initial_s": 2, "maximum_s": 1}])
    def test_numbers_that_make_no_sense_are_refused(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="Expected at least one attempt"):
            Retry(**bad)


class TestChild:
    def test_it_has_steps_of_its_own_and_leaves_its_outcome(self) -> None:
        journal = Journal(run_id="r")
        work = Counter()

        async def child(under: InProcess) -> int:
            await under.step("inner", work, returns=int)
            return await under.step("inner", work, returns=int)

        assert asyncio.run(steps(journal).child("sub", child, returns=int)) == 2
        assert work.keys == ["r:sub#1/inner#1", "r:sub#1/inner#2"]
        assert journal.records == {"sub#1": 2}
        assert asyncio.run(steps(reloaded(journal)).child("sub", child, returns=int)) == 2
        assert len(work.keys) == 2

    def test_one_that_was_suspended_goes_on_where_it_was(self) -> None:
        journal = Journal(run_id="r")
        work = Counter()

        async def child(under: InProcess) -> int:
            first = await under.step("inner", work, returns=int)
            await under.wait_signal("go", returns=bool)
            return first + await under.step("inner", work, returns=int)

        with pytest.raises(RunSuspended):
            asyncio.run(steps(journal).child("sub", child, returns=int))
        journal = reloaded(journal)
        journal.signals["go"] = True
        assert asyncio.run(steps(journal).child("sub", child, returns=int)) == 3
        assert len(work.keys) == 2
        assert list(journal.records) == ["sub#1"]

    def test_children_side_by_side_do_not_share_keys(self) -> None:
        journal = Journal(run_id="r")
        seen: list[str] = []

        async def inner(key: str) -> int:
            seen.append(key)
            await asyncio.sleep(0)
            return 1

        async def child(under: InProcess) -> int:
            return await under.step("inner", inner, returns=int)

        async def program() -> None:
            under = steps(journal)
            await asyncio.gather(*(under.child("sub", child, returns=int) for _ in range(3)))

        asyncio.run(program())
        assert sorted(seen) == [f"r:sub#{n}/inner#1" for n in (1, 2, 3)]

    @pytest.mark.parametrize("recover", [None, lambda error: 7])
    def test_what_failed_inside_of_it_leaves_nothing_either(self, recover: Any) -> None:
        journal = Journal(run_id="r")
        work = Counter()

        async def fails(under: InProcess) -> int:
            await under.step("inner", work, returns=int)
            raise ToolError("no")

        async def child(under: InProcess) -> int:
            try:
                await under.child("fails", fails, returns=int)
            except ToolError:
                if recover is not None:
                    raise
            await under.step("inner", work, returns=int)
            return 7

        got = asyncio.run(steps(journal).child("sub", child, returns=int, recover=recover))
        assert (got, journal.records) == (7, {"sub#1": 7})

    def test_one_that_failed_is_taken_up_with_what_it_has_done(self) -> None:
        journal = Journal(run_id="r")
        work = Counter(1, ToolError("not yet"), 2)

        async def child(under: InProcess) -> int:
            return await under.step("a", work, returns=int) + await under.step("b", work, returns=int)

        with pytest.raises(ToolError):
            asyncio.run(steps(journal).child("sub", child, returns=int))
        journal = reloaded(journal)
        assert asyncio.run(steps(journal).child("sub", child, returns=int)) == 3
        assert work.keys == ["r:sub#1/a#1", "r:sub#1/b#1", "r:sub#1/b#1"]
        assert list(journal.records) == ["sub#1"]


class TestSignals:
    def test_one_that_is_there_is_returned_in_its_type(self) -> None:
        under = steps()
        under.signal("go", Point(1, 2))
        assert asyncio.run(under.wait_signal("go", returns=Point)) == Point(1, 2)

    def test_the_first_one_counts(self) -> None:
        under = steps()
        under.signal("go", 1)
        under.signal("go", 2)
        assert asyncio.run(under.wait_signal("go", returns=int)) == 1

    def test_one_that_is_missing_suspends_the_run_and_is_noted(self) -> None:
        journal = Journal(run_id="r")
        with pytest.raises(RunSuspended, match="waits for go"):
            asyncio.run(steps(journal).wait_signal("go", returns=int))
        assert list(reloaded(journal).waiting) == ["go"]

    def test_a_wait_ends_with_its_time(self) -> None:
        now = [100.0]
        journal = Journal(run_id="r")
        with pytest.raises(RunSuspended):
            asyncio.run(steps(journal, clock=lambda: now[0]).wait_signal("go", returns=int, timeout_s=5))
        now[0] = 106.0
        late = steps(reloaded(journal), clock=lambda: now[0])
        assert asyncio.run(late.wait_signal("go", returns=int, timeout_s=5)) is None

    def test_one_that_comes_too_late_changes_nothing(self) -> None:
        now = [100.0]
        journal = Journal(run_id="r")

        def wait(journal: Journal) -> Any:
            under = steps(journal, clock=lambda: now[0])
            return asyncio.run(under.wait_signal("go", returns=int, timeout_s=5))

        with pytest.raises(RunSuspended):
            wait(journal)
        now[0] = 105.0
        assert wait(journal) is None
        assert journal.waiting == {}
        journal.signals["go"] = 1
        assert wait(reloaded(journal)) is None


class TestValues:
    def test_time_and_chance_are_the_same_whenever_the_run_is_taken_up(self) -> None:
        journal = Journal(run_id="r")
        first = steps(journal, clock=lambda: 1.0, source=random.Random(1))
        values = (first.now(), first.uuid(), first.random(), first.random())
        second = steps(reloaded(journal), clock=lambda: 2.0, source=random.Random(2))
        assert (second.now(), second.uuid(), second.random(), second.random()) == values

    def test_a_sleep_waits_for_what_is_left_of_it(self) -> None:
        now = [100.0]
        journal = Journal(run_id="r")
        asyncio.run(steps(journal, clock=lambda: now[0]).sleep(0))
        now[0] = 500.0
        asyncio.run(asyncio.wait_for(steps(reloaded(journal), clock=lambda: now[0]).sleep(300), 10))

    def test_bytes_that_are_no_journal_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="journal of a run"):
            Journal.from_bytes(b"nothing")


# A program is a tree: a number is a step, a list a child that does what is in it.
Program = int | list["Program"]  # type: ignore[misc]
programs: st.SearchStrategy[Any] = st.lists(
    st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=4), max_leaves=12), max_size=6
)


@given(programs, st.lists(st.integers(0, 12), max_size=8))
def test_however_often_it_dies_each_step_is_completed_once(program: list[Any], crashes: list[int]) -> None:
    """Die before the n-th step that is really done, take it up from bytes, and so on: nothing completed is done
    again."""
    done: list[str] = []

    def attempt(journal: Journal, steps_left: int | None) -> Awaitable[list[Any]]:
        left = [steps_left]

        async def step(key: str, value: int) -> int:
            if left[0] is not None:
                if left[0] == 0:
                    raise KeyboardInterrupt  # nobody recovers from it
                left[0] -= 1
            done.append(key)
            return value * 2

        async def block(under: InProcess, items: list[Any]) -> list[Any]:
            results: list[Any] = []
            for item in items:
                if isinstance(item, list):
                    results.append(await under.child("block", block, item, returns=list))
                else:
                    results.append(await under.step("step", step, item, returns=int))
            return results

        return block(InProcess(journal), program)

    def expected(items: list[Any]) -> list[Any]:
        return [expected(item) if isinstance(item, list) else item * 2 for item in items]

    journal = Journal(run_id="r")
    for crash in crashes:
        try:
            result = _run(lambda journal=journal, crash=crash: attempt(journal, crash))
        except KeyboardInterrupt:
            journal = reloaded(journal)
            continue
        assert result == expected(program)
        journal = reloaded(journal)
    assert _run(lambda: attempt(journal, None)) == expected(program)
    assert len(done) == len(set(done))


def _run(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine that never waits, without a loop."""
    coroutine: Any = work()
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")
