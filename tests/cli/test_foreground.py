"""A loop in a thread, and a main thread that answers: what is asked, what is cancelled, what is raised where."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading

import pytest

from taut.cli.foreground import Foreground

pytestmark = pytest.mark.processes


def test_it_returns_and_raises_what_the_coroutine_does() -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def where() -> str:
        return threading.current_thread().name

    with Foreground() as foreground:
        assert foreground.run(where()) == "taut event loop"
        with pytest.raises(ValueError, match="no"):
            foreground.run(fails())
        # One loop for all of them.
        loops = {foreground.run(_loop()) for _ in range(2)}
        assert len(loops) == 1


async def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_the_loop_goes_on_between_two_runs() -> None:
    async def later(done: threading.Event) -> None:
        asyncio.get_running_loop().call_later(0.001, done.set)

    done = threading.Event()
    with Foreground() as foreground:
        foreground.run(later(done))
        assert done.wait(20)


def test_questions_are_answered_in_the_main_thread() -> None:
    def question() -> threading.Thread:
        return threading.current_thread()

    def wrong() -> None:
        raise ValueError("no")

    async def asks(foreground: Foreground) -> tuple[list[threading.Thread], str]:
        threads = await asyncio.gather(*(foreground.ask(question) for _ in range(3)))
        try:
            await foreground.ask(wrong)
        except ValueError as error:
            return threads, str(error)
        return threads, ""

    with Foreground() as foreground:
        threads, error = foreground.run(asks(foreground))
    assert set(threads) == {threading.main_thread()}
    assert error == "no"


def test_an_answer_that_comes_too_late_is_dropped() -> None:
    async def asks(foreground: Foreground) -> str:
        going_on, asked = threading.Event(), asyncio.ensure_future(foreground.ask(lambda: going_on.wait(20)))
        await asyncio.sleep(0)
        asked.cancel()
        going_on.set()
        return await foreground.ask(lambda: "next")

    with Foreground() as foreground:
        assert foreground.run(asks(foreground)) == "next"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
class TestInterrupts:
    @staticmethod
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    def test_the_coroutine_is_cancelled_and_has_ended(self) -> None:
        ended: list[str] = []

        async def work(foreground: Foreground) -> None:
            try:
                await foreground.ask(self.interrupt)
            finally:
                await asyncio.sleep(0)
                ended.append("ended")

        with Foreground() as foreground:
            with pytest.raises(KeyboardInterrupt):
                foreground.run(work(foreground))
            assert ended == ["ended"]
            # And all is as before.
            assert foreground.run(_loop()) is not None

    def test_questions_that_wait_are_not_asked_any_more(self) -> None:
        asked: list[str] = []

        async def work(foreground: Foreground) -> None:
            await asyncio.gather(
                foreground.ask(self.interrupt),
                foreground.ask(lambda: asked.append("asked")),
                return_exceptions=True,
            )

        with Foreground() as foreground, pytest.raises(KeyboardInterrupt):
            foreground.run(work(foreground))
        assert asked == []

    def test_a_second_one_does_not_wait(self) -> None:
        released = threading.Event()

        async def stubborn(foreground: Foreground) -> None:
            try:
                await foreground.ask(self.interrupt)
            except asyncio.CancelledError:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                await asyncio.get_running_loop().run_in_executor(None, released.wait, 20)

        with Foreground() as foreground:
            with pytest.raises(KeyboardInterrupt):
                foreground.run(stubborn(foreground))
            assert not released.is_set()
            released.set()
