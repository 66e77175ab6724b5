"""What goes wrong on purpose, one by one, as a client sees it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from browsing import CHAT, MESSAGES, PATHS, RESPONSES, Got, body, browsing, send, spoken, until

from taut.errors import AnswerTruncated, ConfigError, ConnectionClosed
from taut.llm.model import ModelRequest
from taut.testing import FakeOpenAI, Fault, FunctionModel, ScriptedModel
from taut.testing.fake_openai import faults

TEXT = "one two three four"


def try_twice(fault: Fault, path: str = CHAT, *, stream: bool = False) -> tuple[Got, Got, FakeOpenAI]:
    """Send a request that has the fault, and the same once more; the model has one answer."""
    fake = FakeOpenAI([TEXT], faults=[fault])
    one = (path, body(path, stream=stream))
    first, second = send(fake, one, one)
    return first, second, fake


def texts(got: Got) -> str:
    """Return the text of a stream of chat completions."""
    deltas = [
        data["choices"][0]["delta"]
        for _, data in got.events
        if isinstance(data, dict) and data.get("choices")
    ]
    return "".join(delta.get("content") or "" for delta in deltas)


class TestStatuses:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("status", [500, 502, 503, 529])
    def test_a_server_in_trouble(self, path: str, status: int) -> None:
        first, second, fake = try_twice(faults.server_error(status, "in trouble"), path)
        assert first.status == status
        assert first.json["error"]["message"] == "in trouble"
        assert spoken(path, second.json) == TEXT
        assert [seen.outcome for seen in fake.seen] == ["failed", "answered"]
        assert fake.seen[0].request is None

    @pytest.mark.parametrize(
        ("fault", "headers"),
        [
            (faults.rate_limited(), {}),
            (faults.rate_limited(retry_after=1.5), {"retry-after": "1.5"}),
            (faults.rate_limited(retry_after="soon"), {"retry-after": "soon"}),
            (faults.rate_limited(retry_after_ms=250), {"retry-after-ms": "250"}),
            (
                faults.rate_limited(retry_after=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
                {"retry-after": "Fri, 02 Jan 2026 03:04:05 GMT"},
            ),
            (
                faults.rate_limited(
                    retry_after=datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
                ),
                {"retry-after": "Fri, 02 Jan 2026 03:04:05 GMT"},
            ),
        ],
    )
    def test_too_many_requests(self, fault: Fault, headers: dict[str, str]) -> None:
        first, _, _ = try_twice(fault)
        assert (first.status, first.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert {name: value for name, value in first.headers.items() if "retry" in name} == headers


class TestBrokenConnections:
    @pytest.mark.parametrize("stream", [False, True])
    def test_nothing_comes_and_it_is_closed(self, stream: bool) -> None:
        first, second, fake = try_twice(faults.hang_up(), stream=stream)
        assert (first.status, first.body, type(first.error)) == (0, b"", ConnectionClosed)
        assert TEXT in (texts(second) if stream else second.body.decode())
        assert fake.seen[0].outcome == "spoilt"

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_a_stream_is_cut(self, path: str, after: int) -> None:
        first, second, fake = try_twice(faults.cut(after), path, stream=True)
        assert first.status == 200
        assert isinstance(first.error, AnswerTruncated)
        assert len(first.events) == after
        assert [name for name, _ in second.events[:after]] == [name for name, _ in first.events]
        assert len(second.events) > 4
        assert second.error is None
        assert [seen.outcome for seen in fake.seen] == ["spoilt", "answered"]

    @pytest.mark.parametrize("path", PATHS)
    def test_a_body_is_cut(self, path: str) -> None:
        first, second, _ = try_twice(faults.cut(), path)
        assert isinstance(first.error, AnswerTruncated)
        assert 0 < len(first.body) < int(first.headers["content-length"])
        assert spoken(path, second.json) == TEXT

    def test_what_was_sent_before_a_cut_arrives(self, caplog: pytest.LogCaptureFixture) -> None:
        async def run() -> Got:
            fake = FakeOpenAI(["x" * 20_000_000], faults=[faults.cut()])
            async with browsing(fake) as browser:
                sent, answer = browser.start(CHAT, body(CHAT))
                sent.pause()
                await until(lambda: bool(fake.seen) and fake.seen[0].outcome == "spoilt")
                for _ in range(100):  # the server would have given up by now
                    await asyncio.sleep(0)
                sent.resume()
                error = await answer.ended
                return answer.got._replace(error=error)

        got = asyncio.run(run())
        assert isinstance(got.error, AnswerTruncated)
        assert len(got.body) == int(got.headers["content-length"]) // 2
        assert not caplog.records  # nobody complains about what is meant


class TestSilence:
    @pytest.mark.parametrize("stream", [False, True])
    def test_nothing_comes_at_all(self, stream: bool) -> None:
        got = self.silence(faults.stall(), stream=stream)
        assert (got.status, got.body) == (0, b"")

    def test_nothing_more_comes(self) -> None:
        got = self.silence(faults.stall(after=3), stream=True)
        assert got.status == 200
        assert texts(got) == "one two "

    def silence(self, fault: Fault, *, stream: bool) -> Got:
        """Send a request until nothing more comes, leave, and send it again."""

        async def run() -> Got:
            fake = FakeOpenAI([TEXT], faults=[fault])
            async with browsing(fake) as browser:
                one = body(CHAT, stream=stream)
                sent, answer = browser.start(CHAT, one)
                await until(lambda: len(answer.got.events) >= fault.after and bool(fake.seen))
                for _ in range(100):  # whatever was to come would have come
                    await asyncio.sleep(0)
                assert not answer.ended.done()
                assert fake.seen[0].outcome in ("open", "spoilt")
                sent.abort()
                await until(lambda: fake.seen[0].outcome == "left")
                again = await browser.send(CHAT, one)
                assert TEXT in (texts(again) if stream else again.body.decode())
            return answer.got

        return asyncio.run(run())


class TestGarbage:
    @pytest.mark.parametrize("path", PATHS)
    def test_a_body_is_no_json(self, path: str) -> None:
        first, second, _ = try_twice(faults.garbage(), path)
        assert (first.status, first.headers["content-type"], first.error) == (200, "application/json", None)
        with pytest.raises(msgspec.DecodeError):
            _ = first.json
        assert spoken(path, second.json) == TEXT

    def test_an_event_is_no_json(self) -> None:
        first, second, _ = try_twice(faults.garbage(after=2, body=b"{oops"), stream=True)
        assert first.events[2] == (None, "{oops")
        assert len(first.events) == len(second.events)
        assert texts(first) == "one three four"
        assert texts(second) == TEXT

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_page_comes_in_place_of_an_answer(self, stream: bool) -> None:
        first, second, _ = try_twice(faults.wrong_type(), stream=stream)
        assert (first.status, first.headers["content-type"]) == (200, "text/html")
        assert first.body == b"<html>Welcome</html>"
        assert TEXT in (texts(second) if stream else second.body.decode())

    def test_an_answer_has_the_wrong_type(self) -> None:
        first, _, fake = try_twice(Fault(content_type="text/plain", headers={"X-Proxy": "yes"}))
        assert (first.headers["content-type"], first.headers["x-proxy"]) == ("text/plain", "yes")
        assert spoken(CHAT, first.json) == TEXT
        assert fake.seen[0].outcome == "answered"


class TestErrorEvents:
    @pytest.mark.parametrize(
        ("path", "name", "error"),
        [
            (
                CHAT,
                None,
                {"error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}},
            ),
            (
                RESPONSES,
                "error",
                {
                    "type": "error",
                    "sequence_number": 0,
                    "code": "server_error",
                    "message": "Overloaded",
                    "param": None,
                },
            ),
            (
                MESSAGES,
                "error",
                {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            ),
        ],
    )
    def test_a_stream_ends_with_an_error(self, path: str, name: str | None, error: Any) -> None:
        first, second, _ = try_twice(faults.error_event(after=2), path, stream=True)
        assert first.error is None
        assert first.events[2:] == [(name, error)]
        assert len(second.events) > 3

    def test_what_is_no_stream_fails(self) -> None:
        first, second, fake = try_twice(faults.error_event())
        assert (first.status, spoken(CHAT, second.json)) == (529, TEXT)
        assert [seen.outcome for seen in fake.seen] == ["spoilt", "answered"]


class TestSlowness:
    def test_pauses_are_made_by_the_sleep_that_is_given(self) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        fault = faults.slow(first_byte_s=3.0, between_s=0.5)
        fake = FakeOpenAI([TEXT, TEXT], faults=[fault, fault], sleep=sleep)
        whole, streamed = send(fake, (CHAT, body(CHAT)), (CHAT, body(CHAT, stream=True)))
        assert spoken(CHAT, whole.json) == texts(streamed) == TEXT
        assert waited == [3.0, 3.0, *[0.5] * (len(streamed.events) - 1)]

    def test_the_first_events_come_before_the_last_are_due(self) -> None:
        async def run() -> str:
            gate = asyncio.Event()
            fake = FakeOpenAI([TEXT], faults=[faults.slow(between_s=1.0)], sleep=lambda seconds: gate.wait())
            async with browsing(fake) as browser:
                _, answer = browser.start(CHAT, body(CHAT, stream=True))
                await answer.begun.wait()
                assert len(answer.got.events) == 1
                gate.set()
                assert await answer.ended is None
                return texts(answer.got)

        assert asyncio.run(run()) == TEXT

    def test_a_pause_that_fails_breaks_the_answer_off(self) -> None:
        async def sleep(seconds: float) -> None:
            raise OSError("no time")

        fake = FakeOpenAI([TEXT, TEXT], faults=[faults.slow(between_s=1.0), faults.slow(1.0)], sleep=sleep)
        broken, failed = send(fake, (CHAT, body(CHAT, stream=True)), (CHAT, body(CHAT)))
        assert isinstance(broken.error, AnswerTruncated)
        assert (failed.status, failed.json["error"]["message"]) == (500, "OSError: no time")

    def test_who_leaves_in_a_pause_does_not_reach_the_model(self) -> None:
        async def run() -> None:
            pausing = asyncio.Event()

            async def sleep(seconds: float) -> None:
                pausing.set()
                await asyncio.Event().wait()

            model = ScriptedModel(TEXT)
            fake = FakeOpenAI(model, faults=[faults.slow(first_byte_s=1.0)], sleep=sleep)
            async with browsing(fake) as browser:
                sent, _ = browser.start(CHAT, body(CHAT))
                await pausing.wait()
                sent.abort()
                await until(lambda: fake.seen[0].outcome == "left")
            assert model.asked == 0

        asyncio.run(run())


class TestWhichRequests:
    def test_they_are_taken_one_by_one(self) -> None:
        fake = FakeOpenAI(faults=[None, faults.server_error(503)])
        assert [got.status for got in send(fake, *[(CHAT, body(CHAT))] * 3)] == [200, 503, 200]

    def test_a_function_may_decide(self) -> None:
        fake = FakeOpenAI(faults=lambda number: faults.server_error(502) if number % 2 else None)
        assert [got.status for got in send(fake, *[(CHAT, body(CHAT))] * 4)] == [502, 200, 502, 200]
        fake.inject(faults.server_error(500))
        assert [got.status for got in send(fake, *[(CHAT, body(CHAT))] * 2)] == [500, 200]

    def test_more_can_be_added(self) -> None:
        fake = FakeOpenAI()
        fake.inject(None, faults.rate_limited())
        assert [got.status for got in send(fake, *[(CHAT, body(CHAT))] * 3)] == [200, 429, 200]
        assert [seen.fault is not None for seen in fake.seen] == [False, True, False]

    def test_a_list_of_models_may_fail_too(self) -> None:
        fake = FakeOpenAI(faults=[faults.server_error(500)])
        assert send(fake, ("/v1/models", None), method="GET")[0].status == 500

    @pytest.mark.parametrize("members", [{"after": -1}, {"first_byte_s": -1.0}, {"between_s": -0.1}])
    def test_one_that_cannot_be_is_refused(self, members: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="after 0 events at least, and pauses of 0 s at least"):
            Fault(**members)


class TestOwed:
    def test_another_request_does_not_get_it(self) -> None:
        fake = FakeOpenAI(FunctionModel(lambda one: one.messages[0].text), faults=[faults.cut(), None])
        _, other, same = send(fake, (CHAT, body(CHAT, "a")), (CHAT, body(CHAT, "b")), (CHAT, body(CHAT, "a")))
        assert [spoken(CHAT, got.json) for got in (other, same)] == ["b", "a"]

    def test_it_is_given_once(self) -> None:
        asked: list[ModelRequest] = []

        def answer(one: ModelRequest) -> str:
            asked.append(one)
            return f"answer {len(asked)}"

        fake = FakeOpenAI(FunctionModel(answer), faults=[faults.cut(), faults.garbage(), None, None])
        _, _, third, fourth = send(fake, *[(CHAT, body(CHAT))] * 4)
        assert [spoken(CHAT, got.json) for got in (third, fourth)] == ["answer 1", "answer 2"]
