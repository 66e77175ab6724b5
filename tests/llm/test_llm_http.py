"""The way to a provider: attempts, failures, silence, limits, cancelling, closing, one event loop and several."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from faults.loops import Run
from llm.provider import Asked, Told, Waits, answering, chunk, chunks, completion, provider
from taut.errors import (
    ConfigError,
    ContextTooLong,
    InvalidModelAnswer,
    ModelError,
    ModelRefused,
    ModelUnavailable,
)
from taut.llm import (
    HttpOptions,
    ModelEvent,
    ModelRequest,
    OpenAIModel,
    Restarted,
    TextDelta,
    assistant,
    ignore,
    user,
)
from taut.steps import Retry

HI = ModelRequest(messages=[user("Hi")])
ONCE = Retry(attempts=1)


def model_at(url: str, waits: Waits | None = None, **options: Any) -> OpenAIModel:
    return OpenAIModel("small", base_url=url, timing=(waits or Waits()).timing, **options)


def error(message: str = "said", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", **more}}


def replying(value: Any = None, **options: Any) -> Callable[[Asked], None]:
    return lambda asked: asked.reply(completion() if value is None else value, **options)


def test_an_answer(run: Run) -> None:
    async def main() -> None:
        async with provider(answering(replying())) as server:
            model = model_at(server.url, api_key="secret", headers={"X-Title": "tests"})
            response = await model.respond(HI)
            await model.close()
        (asked,) = server.asked
        assert response.message == assistant("Hello")
        assert response.usage.cost == 0.0  # this machine is free
        assert asked.path == "/v1/chat/completions"
        assert asked.headers["authorization"] == "Bearer secret"
        assert asked.headers["x-title"] == "tests"
        assert asked.headers["accept"] == "application/json"
        assert asked.headers["user-agent"].startswith("taut/")
        assert asked.body == {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}

    run(main())


def test_a_stream(run: Run) -> None:
    async def main() -> None:
        told = Told()
        async with provider(answering(lambda asked: asked.stream(*chunks("Hello")))) as server:
            model = model_at(server.url)
            for _ in range(3):
                response = await model.respond(HI, told)
            await model.close()
        assert response.message == assistant("Hello")
        assert told.text(TextDelta) == "Hello" * 3
        assert server.asked[0].body["stream"] is True
        assert server.asked[0].headers["accept"] == "text/event-stream"
        assert server.connections == 1  # used again

    run(main())


def test_a_server_that_answers_in_the_other_way(run: Run) -> None:
    async def main() -> None:
        async with provider(answering(replying(), lambda asked: asked.stream(*chunks("Hello")))) as server:
            model = model_at(server.url)
            whole = await model.respond(HI, told := Told())
            streamed = await model.respond(HI)
            await model.close()
        assert whole.message == streamed.message == assistant("Hello")
        assert told.text(TextDelta) == "Hello"

    run(main())


def test_events_that_do_not_say_that_they_are(run: Run) -> None:
    def plain(asked: Asked) -> None:
        asked.begin(content_type="text/plain")
        asked.send(*chunks("Hello"))
        asked.end()

    async def main() -> None:
        async with provider(answering(plain)) as server:
            model = model_at(server.url)
            response = await model.respond(HI, Told())
            await model.close()
        assert response.message == assistant("Hello")

    run(main())


def test_headers_of_ones_own_win_whatever_their_case() -> None:
    async def main() -> None:
        async with provider(answering(replying())) as server:
            mine = {"authorization": "Basic x", "USER-AGENT": "mine"}
            model = model_at(server.url, api_key="k", headers=mine)
            await model.respond(HI)
            await model.close()
        assert server.asked[0].headers["authorization"] == "Basic x"
        assert server.asked[0].headers["user-agent"] == "mine"

    asyncio.run(main())


def test_the_base_url_keeps_its_query() -> None:
    async def main() -> None:
        async with provider(answering(replying())) as server:
            model = model_at(f"{server.url}/?api-version=2")
            await model.respond(HI)
            await model.close()
        assert server.asked[0].path == "/v1/chat/completions?api-version=2"

    asyncio.run(main())


# -- attempts


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_tried_again(status: int) -> None:
    async def main() -> None:
        waits = Waits()
        refuse = replying(error(), status=status)
        async with provider(answering(refuse, refuse, replying())) as server:
            model = model_at(server.url, waits)
            response = await model.respond(HI)
            await model.close()
        assert response.message == assistant("Hello")
        assert len(server.asked) == 3
        assert server.asked[0].body == server.asked[2].body
        assert waits.slept_s == [0.5, 1.0]

    asyncio.run(main())


def test_after_all_attempts_the_last_failure_is_raised() -> None:
    async def main() -> None:
        waits = Waits()
        async with provider(answering(replying(error("busy"), status=503))) as server:
            model = model_at(server.url, waits)
            with pytest.raises(ModelUnavailable, match="HTTP status 503: busy") as raised:
                await model.respond(HI)
            await model.close()
        assert raised.value.status == 503
        assert raised.value.__notes__ == ["This was attempt 3 of 3"]
        assert len(server.asked) == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "slept_s"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after_ms": "250", "retry_after": "1"}, 0.25),
        ({"retry_after": formatdate(1_000_012, usegmt=True)}, 12.0),
        ({"retry_after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry_after": "soon"}, 0.5),
        ({"retry_after": "-3"}, 0.5),
    ],
)
def test_a_server_says_when_to_come_back(headers: dict[str, str], slept_s: float) -> None:
    async def main() -> None:
        waits = Waits()
        async with provider(answering(replying(error(), status=429, **headers), replying())) as server:
            model = model_at(server.url, waits)
            await model.respond(HI)
            await model.close()
        assert waits.slept_s == [slept_s]

    asyncio.run(main())


def test_a_server_that_asks_for_too_long_is_not_waited_for() -> None:
    async def main() -> None:
        waits = Waits()
        async with provider(answering(replying(error(), status=429, retry_after="3600"))) as server:
            model = model_at(server.url, waits)
            with pytest.raises(ModelUnavailable) as raised:
                await model.respond(HI)
            await model.close()
        assert raised.value.retry_after_s == 3600.0
        assert waits.slept_s == []

    asyncio.run(main())


def test_a_server_that_wants_no_other_attempt_gets_none() -> None:
    async def main() -> None:
        async with provider(answering(replying(error(), status=500, x_should_retry="false"))) as server:
            model = model_at(server.url)
            with pytest.raises(ModelUnavailable):
                await model.respond(HI)
            await model.close()
        assert len(server.asked) == 1

    asyncio.run(main())


def test_a_connection_that_breaks_is_tried_again(run: Run) -> None:
    async def main() -> None:
        async with provider(answering(Asked.drop, replying())) as server:
            model = model_at(server.url)
            response = await model.respond(HI)
            await model.close()
        assert response.message == assistant("Hello")

    run(main())


def test_nobody_there() -> None:
    async def main() -> None:
        async with provider(answering(replying())) as server:
            url = server.url
        waits = Waits()
        model = model_at(url, waits)
        with pytest.raises(ModelUnavailable, match=r"small at http://127\.0\.0\.1"):
            await model.respond(HI)
        await model.close()
        assert len(waits.slept_s) == 2

    asyncio.run(main())


def test_a_stream_that_is_cut_begins_anew(run: Run) -> None:
    def cut(asked: Asked) -> None:
        asked.begin()
        asked.send(*chunks("Hello")[:3])
        asked.drop()

    async def main() -> None:
        told = Told()
        async with provider(answering(cut, lambda asked: asked.stream(*chunks("Hi")))) as server:
            model = model_at(server.url)
            response = await model.respond(HI, told)
            await model.close()
        assert response.message == assistant("Hi")
        (restarted,) = told.of(Restarted)
        assert "expected the whole answer" in restarted.reason
        before = told.events[: told.events.index(restarted)]
        assert before == [TextDelta("H"), TextDelta("e")]
        assert told.events[len(before) + 1 :] == [TextDelta("H"), TextDelta("i")]

    run(main())


def test_a_stream_that_ends_too_early_begins_anew() -> None:
    def short(asked: Asked) -> None:
        asked.stream(*chunks("Hello")[:3])

    async def main() -> None:
        told = Told()
        async with provider(answering(short, lambda asked: asked.stream(*chunks("Hi")))) as server:
            model = model_at(server.url)
            await model.respond(HI, told)
            await model.close()
        assert len(told.of(Restarted)) == 1

    asyncio.run(main())


def test_nothing_is_said_of_an_attempt_of_which_nothing_was_told() -> None:
    async def main() -> None:
        told = Told()
        ok: Callable[[Asked], None] = lambda asked: asked.stream(*chunks("Hi"))  # noqa: E731
        async with provider(answering(replying(error(), status=500), ok)) as server:
            model = model_at(server.url)
            await model.respond(HI, told)
            await model.close()
        assert told.of(Restarted) == []

    asyncio.run(main())


def test_silence_is_a_failure(run: Run) -> None:
    def silent(asked: Asked) -> None:
        asked.begin()
        asked.send(*chunks("Hello")[:3])

    async def main() -> None:
        told = Told()
        async with provider(answering(silent, lambda asked: asked.stream(*chunks("Hi")))) as server:
            model = model_at(server.url, timeout_s=0.3)
            response = await model.respond(HI, told)
            await model.close()
        assert response.message == assistant("Hi")
        (restarted,) = told.of(Restarted)
        assert "within 0.3 s" in restarted.reason

    run(main())


def test_an_overload_within_a_stream_is_tried_again() -> None:
    def overloaded(asked: Asked) -> None:
        asked.stream(chunk({"content": "He"}), {"error": {"message": "Overloaded", "type": "server_error"}})

    async def main() -> None:
        async with provider(answering(overloaded, lambda asked: asked.stream(*chunks("Hi")))) as server:
            model = model_at(server.url)
            response = await model.respond(HI, Told())
            await model.close()
        assert response.message == assistant("Hi")

    asyncio.run(main())


# -- failures


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, error("no such parameter"), ModelRefused, "400: no such parameter"),
        (401, error("no key"), ModelRefused, "no key: is the API key right"),
        (403, error("not you"), ModelRefused, "not you: is the API key right"),
        (404, error("no such model"), ModelRefused, "no such model: are the model's name"),
        (404, b"<html>not here</html>", ModelRefused, "HTTP status 404: are the model's name"),
        (422, {"detail": [{"loc": ["body"], "msg": "bad"}]}, ModelRefused, '"msg":"bad"'),
        (429, error("pay", code="insufficient_quota"), ModelRefused, "429: pay"),
        (400, error("x", code="context_length_exceeded"), ContextTooLong, "400: x"),
        (
            400,
            error("prompt is too long: 208310 tokens > 200000 maximum"),
            ContextTooLong,
            "prompt is too long",
        ),
        (
            400,
            error("This model's maximum context length is 4096 tokens."),
            ContextTooLong,
            "maximum context",
        ),
        (413, error("big", type="request_too_large"), ContextTooLong, "big"),
        (
            500,
            error("the request exceeds the available context size"),
            ContextTooLong,
            "available context size",
        ),
        (400, {"error": "input is too long"}, ContextTooLong, "too long"),
        (
            400,
            {"object": "error", "message": "maximum context length is 10"},
            ContextTooLong,
            "maximum context",
        ),
    ],
)
def test_refusals(status: int, body: Any, kind: type[ModelError], said: str) -> None:
    async def main() -> None:
        async with provider(answering(replying(body, status=status))) as server:
            model = model_at(server.url)
            with pytest.raises(kind, match=said) as raised:
                await model.respond(HI)
            await model.close()
        assert type(raised.value) is kind
        assert raised.value.status == status
        assert len(server.asked) == 1

    asyncio.run(main())


def test_the_key_is_nowhere_to_be_seen() -> None:
    async def main() -> None:
        async with provider(answering(replying(error("bad key sk-123"), status=401))) as server:
            model = model_at(server.url, api_key="sk-123")
            with pytest.raises(ModelRefused, match=r"bad key \*\*\*") as raised:
                await model.respond(HI)
            await model.close()
        assert "sk-123" not in str(raised.value)
        assert "sk-123" not in repr(model)

    asyncio.run(main())


def test_a_key_with_a_line_break_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        OpenAIModel("m", base_url="http://127.0.0.1:1/v1", api_key="sk-\n123")
    assert "123" not in str(raised.value)

    with pytest.raises(ConfigError) as raised:
        OpenAIModel("m", base_url="http://127.0.0.1:1/v1", api_key="sk-☔")
    assert "☔" not in str(raised.value)


@pytest.mark.parametrize("body", [b"<html>", b"", b"{", b"{}"])
def test_what_is_no_answer(body: bytes) -> None:
    async def main() -> None:
        async with provider(answering(replying(body))) as server:
            model = model_at(server.url)
            with pytest.raises(InvalidModelAnswer):
                await model.respond(HI)
            await model.close()
        assert len(server.asked) == 1

    asyncio.run(main())


def test_a_redirect_elsewhere_is_refused() -> None:
    async def main() -> None:
        moved = replying(b"", status=302, location="http://example.com/")
        async with provider(answering(moved)) as server:
            model = model_at(server.url)
            with pytest.raises(ModelRefused, match="redirect"):
                await model.respond(HI)
            await model.close()

    asyncio.run(main())


def test_what_is_not_http() -> None:
    async def main() -> None:
        async with provider(answering(lambda asked: asked.raw(b"SSH-2.0-x\r\n\r\n"))) as server:
            model = model_at(server.url)
            with pytest.raises(InvalidModelAnswer, match="is that an HTTP server"):
                await model.respond(HI)
            await model.close()

    asyncio.run(main())


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_without_end_is_ended(streams: bool) -> None:
    def endless(asked: Asked) -> None:
        if streams:
            asked.stream(*chunks("x" * 3000))
        else:
            asked.reply(completion("x" * 3000))

    async def main() -> None:
        async with provider(answering(endless)) as server:
            model = model_at(server.url, http=HttpOptions(max_answer_bytes=2000))
            with pytest.raises(InvalidModelAnswer, match="at most 2000 bytes"):
                await model.respond(HI, Told() if streams else ignore)
            await model.close()

    asyncio.run(main())


def test_a_refusal_without_end_is_ended() -> None:
    async def main() -> None:
        async with provider(answering(replying(b"x" * 200_000, status=400))) as server:
            model = model_at(server.url)
            with pytest.raises(ModelRefused, match="HTTP status 400"):
                await model.respond(HI)
            await model.close()

    asyncio.run(main())


def test_a_server_that_keeps_its_stream_open_is_not_waited_for(run: Run) -> None:
    def open_end(asked: Asked) -> None:
        asked.begin()
        asked.send(*chunks("Hello"))

    async def main() -> None:
        async with provider(answering(open_end)) as server:
            model = model_at(server.url)
            response = await model.respond(HI, Told())
            assert response.message == assistant("Hello")
            await model.close()

    run(main())


def test_what_follows_the_last_event_ends_the_connection(run: Run) -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def script(asked: Asked) -> None:
            asked.begin()
            asked.send(*chunks("Hello"))
            await more.wait()
            asked.send(*chunks("Hello"))

        async with provider(script) as server:
            model = model_at(server.url)
            await model.respond(HI, told := Told())
            more.set()
            await server.until(lambda: server.left == 1)
            assert told.text(TextDelta) == "Hello"
            await model.close()

    run(main())


# -- who is told


def test_an_error_of_who_is_told_is_the_callers() -> None:
    def fail(event: ModelEvent) -> None:
        raise ZeroDivisionError("mine")

    async def main() -> None:
        async with provider(answering(lambda asked: asked.stream(*chunks("Hello")))) as server:
            model = model_at(server.url)
            with pytest.raises(ZeroDivisionError, match="mine"):
                await model.respond(HI, fail)
            await model.close()
        assert len(server.asked) == 1

    asyncio.run(main())


def test_events_are_told_in_the_context_of_the_request(run: Run) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[tuple[str, str]] = []

    async def main() -> None:
        async def ask(name: str) -> None:
            who.set(name)
            await model.respond(HI, lambda event: seen.append((name, who.get())))

        async with provider(answering(lambda asked: asked.stream(*chunks("Hi")))) as server:
            model = model_at(server.url)
            await asyncio.gather(*(ask(name) for name in "abc"))
            await asyncio.create_task(ask("d"))
            await model.close()

    run(main())
    assert set(seen) == {(name, name) for name in "abcd"}


# -- cancelling and closing


@pytest.mark.parametrize("told", [0, 1, 3])
def test_cancelling_closes_the_connection(run: Run, told: int) -> None:
    async def main() -> None:
        count = 0
        reached = asyncio.Event()

        async def script(asked: Asked) -> None:
            if told:
                asked.begin()
                asked.send(*chunks("Hello")[: told + 1])

        def hear(event: ModelEvent) -> None:
            nonlocal count
            count += 1
            if count == told:
                reached.set()

        async with provider(script) as server:
            model = model_at(server.url)
            task = asyncio.create_task(model.respond(HI, hear))
            await server.until(lambda: len(server.asked) == 1)
            if told:
                await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(lambda: server.left == 1)
            await model.close()
        assert count == told

    run(main())


def test_cancelling_between_attempts() -> None:
    async def main() -> None:
        sleeping = asyncio.Event()

        async def sleep(seconds: float) -> None:
            sleeping.set()
            await asyncio.Event().wait()

        waits = Waits()
        waits.sleep = sleep  # type: ignore[method-assign]
        async with provider(answering(replying(error(), status=500))) as server:
            model = model_at(server.url, waits)
            task = asyncio.create_task(model.respond(HI))
            await sleeping.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await model.close()
        assert len(server.asked) == 1

    asyncio.run(main())


def test_closing_ends_what_is_under_way_for_good(run: Run) -> None:
    async def never(asked: Asked) -> None:
        """Leave it unanswered."""

    async def main() -> None:
        async with provider(never) as server:
            model = model_at(server.url)
            tasks = [asyncio.create_task(model.respond(HI)) for _ in range(3)]
            await server.until(lambda: len(server.asked) == 3)
            await model.close()
            for task in tasks:
                with pytest.raises(ModelUnavailable, match="closed"):
                    await task
            assert len(server.asked) == 3
            await model.close()

    run(main())


def test_closing_between_attempts_ends_them() -> None:
    async def main() -> None:
        async def sleep(seconds: float) -> None:
            await model.close()

        waits = Waits()
        waits.sleep = sleep  # type: ignore[method-assign]
        async with provider(answering(replying(error(), status=500))) as server:
            model = model_at(server.url, waits)
            with pytest.raises(ModelUnavailable, match=r"closed between two attempts.*said"):
                await model.respond(HI)
            await model.close()
        assert len(server.asked) == 1

    asyncio.run(main())


def test_a_model_works_again_after_it_was_closed(run: Run) -> None:
    async def main() -> None:
        async with provider(answering(replying())) as server:
            model = model_at(server.url)
            await model.close()
            await model.respond(HI)
            await model.close()
            await model.respond(HI)
            await model.close()
        assert server.connections == 2

    run(main())


def test_one_loop_after_another(run: Run) -> None:
    model = OpenAIModel("small", base_url="http://127.0.0.1:1/v1", retry=ONCE)

    async def main() -> None:
        with pytest.raises(ModelUnavailable):
            await model.respond(HI)

    run(main())
    run(main())


def test_connections_are_closed_with_their_loop(run: Run) -> None:
    """Nobody closes the model; a connection that is left open would be a warning, and so an error."""
    with serving() as url:
        model = model_at(url)

        async def main() -> None:
            await asyncio.gather(*(model.respond(HI) for _ in range(3)))

        run(main())
        run(main())
    gc.collect()


def test_several_threads_at_once() -> None:
    with serving() as url:
        model = model_at(url, retry=ONCE)
        said: list[str] = []

        async def ask() -> None:
            answers = await asyncio.gather(*(model.respond(HI) for _ in range(5)))
            said.extend(answer.message.text for answer in answers)

        threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said == ["Hello"] * 20


def test_closing_reaches_the_loops_of_other_threads() -> None:
    with serving(silent=True) as url:
        model = model_at(url, retry=ONCE)
        asked = threading.Semaphore(0)
        failures: list[str] = []

        async def ask() -> None:
            task = asyncio.ensure_future(model.respond(HI))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            asked.release()
            try:
                await task
            except ModelUnavailable as error:
                failures.append(str(error))

        threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            asked.acquire()
        asyncio.run(model.close())
        for thread in threads:
            thread.join()
        assert len(failures) == 3


class serving:
    """A provider in a thread and a loop of its own."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        async def script(asked: Asked) -> None:
            if not self._silent:
                asked.reply(completion())

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with provider(script) as server:
            self._url = server.url
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> str:
        self._thread.start()
        self._ready.wait()
        return self._url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


# -- settings


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "ftp://x"},
        {"base_url": "http://user:pass@x/v1"},
        {"timeout_s": 0},
        {"api": "completions"},
        {"tool_mode": "xml"},
        {"headers": {"Host": "x"}},
        {"headers": {"X-☔": "x"}},
        {"http": HttpOptions(proxy="ftp://nonsense")},
    ],
)
def test_what_cannot_work_is_said_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        OpenAIModel("m", **{"base_url": "http://127.0.0.1:1/v1", **options})


@pytest.mark.parametrize("name", ["max_connections", "connect_timeout_s", "idle_s", "max_answer_bytes"])
def test_options_are_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        HttpOptions(**{name: 0})


def test_the_password_of_a_proxy_is_not_shown() -> None:
    assert "hush" not in repr(HttpOptions(proxy="http://me:hush@proxy:3128"))


def test_a_key_is_needed_for_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAIModel("gpt-5")

    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert OpenAIModel("gpt-5").name == "gpt-5"
