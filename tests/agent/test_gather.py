"""Work side by side: results in order, one failure ends all, a suspension ends none, nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.worlds import run, until
from taut.agent.concurrent import gather
from taut.agent.patterns.side_by_side import SideBySide
from taut.errors import RunSuspended


class Work:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.gate = asyncio.Event()

    async def give(self, value: Any) -> Any:
        await asyncio.sleep(0)
        self.log.append(f"{value} done")
        return value

    async def wait(self, name: str) -> str:
        self.log.append(f"{name} begun")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.append(f"{name} cancelled")
            raise
        self.log.append(f"{name} done")
        return name

    async def fail(self, error: Exception) -> Any:
        await asyncio.sleep(0)
        raise error


def test_results_are_in_the_order_of_the_work() -> None:
    work = Work()
    for limit in (None, 1, 2, 10):
        assert run(gather((work.give(n) for n in range(5)), limit=limit)) == list(range(5))
    assert run(gather([])) == []
    assert run(gather([work.give(1)])) == [1]


def test_one_failure_cancels_the_others_and_waits_for_them() -> None:
    work = Work()
    with pytest.raises(ValueError, match="no"):
        run(gather([work.wait("a"), work.fail(ValueError("no")), work.wait("b")]))
    assert work.log == ["a begun", "b begun", "a cancelled", "b cancelled"]


def test_what_was_not_begun_is_not_begun_after_a_failure() -> None:
    work = Work()
    with pytest.raises(ValueError, match="no"):
        run(gather([work.fail(ValueError("no")), work.give(1), work.give(2)], limit=1))
    assert work.log == []


def test_a_suspension_lets_the_others_end() -> None:
    work = Work()
    with pytest.raises(RunSuspended):
        run(gather([work.fail(RunSuspended("x")), work.give(1), work.give(2)], limit=1))
    assert work.log == ["1 done", "2 done"]


def test_other_failures_may_let_the_others_end_too() -> None:
    work = Work()
    with pytest.raises(ValueError, match="first"):
        run(
            gather(
                [
                    work.fail(RunSuspended("x")),
                    work.fail(ValueError("first")),
                    work.give(1),
                    work.fail(ValueError("second")),
                ],
                patient=(RunSuspended, ValueError),
            )
        )
    assert work.log == ["1 done"]


def test_a_failure_counts_for_more_than_a_suspension() -> None:
    work = Work()
    with pytest.raises(ValueError, match="no"):
        run(gather([work.fail(RunSuspended("x")), work.fail(ValueError("no"))], limit=1))


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_cancelled_it_cancels_all_and_waits(limit: int | None) -> None:
    work = Work()

    async def scenario() -> None:
        going = asyncio.ensure_future(gather([work.wait(name) for name in "abc"], limit=limit))
        await until(lambda: len(work.log) == (limit or 3))
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    run(scenario())
    assert [line for line in work.log if line.endswith("cancelled")] == [
        f"{name} cancelled" for name in "abc"[: limit or 3]
    ]


def test_cancelled_again_while_it_waits_for_them_it_still_waits_for_them() -> None:
    """Each cancellation reaches what goes on, as if there were no tasks in between."""
    log: list[str] = []
    slow = asyncio.Event()

    async def reluctant(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await slow.wait()
            finally:
                await asyncio.sleep(0)
                log.append(name)

    async def scenario() -> None:
        going = asyncio.ensure_future(gather([reluctant("a"), reluctant("b")]))
        for _ in range(3):
            await asyncio.sleep(0)
        going.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not going.done()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert sorted(log) == ["a", "b"]

    run(scenario())


def test_cancelled_while_a_failure_is_cleaned_up_it_waits_and_is_cancelled() -> None:
    log: list[str] = []

    async def reluctant() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaning")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                log.append("ended")

    async def scenario() -> None:
        work = Work()
        going = asyncio.ensure_future(gather([reluctant(), work.fail(ValueError("no"))]))
        await until(lambda: "cleaning" in log)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert log == ["cleaning", "ended"]

    run(scenario())


def test_cancelled_twice_side_by_side_still_waits_for_all() -> None:
    """The second cancellation comes while the first one's tasks clean up."""
    cleaned: list[str] = []
    slow = asyncio.Event()

    async def stubborn(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await slow.wait()
            cleaned.append(name)

    async def scenario() -> None:
        async def work() -> None:
            async with SideBySide[str, None]() as going:
                for name in "ab":
                    going.start(name, stubborn(name))
                await going.next()

        task = asyncio.ensure_future(work())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        slow.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())
    assert sorted(cleaned) == ["a", "b"]


def test_cancelled_while_it_ends_side_by_side_leaves_nothing() -> None:
    ended: list[str] = []
    slow = asyncio.Event()

    async def stubborn(name: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await slow.wait()
            finally:
                ended.append(name)
            raise

    async def scenario() -> None:
        async def work() -> None:
            async with SideBySide[str, None]() as going:
                for name in "ab":
                    going.start(name, stubborn(name))
                await going.next()

        task = asyncio.ensure_future(work())
        for _ in range(2):
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == ["a", "b"]

    run(scenario())
