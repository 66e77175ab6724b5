"""The fake server over a real socket: where it is, what it keeps, what it refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from typing import Any

import pytest
from browsing import (
    CHAT,
    MESSAGES,
    PATHS,
    Browser,
    body,
    browsing,
    refused,
    send,
    spoken,
)

from taut.errors import ConfigError, ConnectionClosed, ContextTooLong, ModelRefused, ModelUnavailable
from taut.llm.model import ModelRequest
from taut.testing import FakeOpenAI, FunctionModel, ScriptedModel, call
from taut.testing.fake_openai import faults


class TestServing:
    @pytest.mark.parametrize("path", PATHS)
    def test_it_echoes_by_default(self, path: str) -> None:
        (got,) = send(FakeOpenAI(), (path, body(path)))
        assert (got.status, got.headers["content-type"]) == (200, "application/json")
        assert got.headers["x-request-id"] == got.headers["request-id"] == "req_1"
        assert spoken(path, got.json) == "hello"

    def test_a_script_answers_all_formats(self) -> None:
        answers = send(FakeOpenAI(["one", "two", "three"]), *((path, body(path)) for path in PATHS))
        said = [spoken(path, got.json) for path, got in zip(PATHS, answers, strict=True)]
        assert said == ["one", "two", "three"]

    def test_it_serves_in_a_thread(self) -> None:
        threads = []

        def answer(one: ModelRequest) -> str:
            threads.append(threading.current_thread())
            return "from a thread"

        with FakeOpenAI(FunctionModel(answer)) as fake:
            host, port = fake.origin.removeprefix("http://").split(":")
            assert fake.base_url == f"http://{host}:{port}/v1"
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            connection.request("POST", CHAT, json.dumps(body(CHAT)), {"Content-Type": "application/json"})
            got = json.loads(connection.getresponse().read())
            connection.close()
        assert spoken(CHAT, got) == "from a thread"
        assert threads[0] is not threading.current_thread()
        assert not threads[0].is_alive()

    def test_it_can_be_opened_again(self) -> None:
        fake = FakeOpenAI(["a", "b"])
        assert spoken(CHAT, send(fake, (CHAT, body(CHAT)))[0].json) == "a"
        assert spoken(CHAT, send(fake, (CHAT, body(CHAT)))[0].json) == "b"

    def test_it_has_an_address_only_while_it_is_open(self) -> None:
        fake = FakeOpenAI()
        with pytest.raises(ConfigError, match="a server that is open"):
            _ = fake.base_url
        with fake, pytest.raises(ConfigError, match=r"not open yet, got one at http://127\.0\.0\.1:"):
            fake.__enter__()

    def test_ending_it_ends_what_is_under_way(self) -> None:
        async def run() -> None:
            begun, cancelled = asyncio.Event(), asyncio.Event()

            async def answer(one: ModelRequest) -> str:
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
                return "never"

            fake = FakeOpenAI(FunctionModel(answer))
            async with fake:
                browser = Browser(fake)
                _, got = browser.start(CHAT, body(CHAT))
                await begun.wait()
            assert cancelled.is_set()
            assert fake.seen[0].outcome == "left"
            assert isinstance(await got.ended, ConnectionClosed)
            await browser.pool.close()

        asyncio.run(run())

    def test_a_client_that_leaves_cancels_the_model(self) -> None:
        async def run() -> None:
            begun, cancelled = asyncio.Event(), asyncio.Event()

            async def answer(one: ModelRequest) -> str:
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
                return "never"

            async with browsing(FakeOpenAI(FunctionModel(answer))) as browser:
                sent, _ = browser.start(CHAT, body(CHAT))
                await begun.wait()
                sent.abort()
                await cancelled.wait()

        asyncio.run(run())

    def test_requests_are_answered_side_by_side(self) -> None:
        async def run() -> list[str]:
            gate = asyncio.Event()
            waiting = 0

            async def answer(one: ModelRequest) -> str:
                nonlocal waiting
                waiting += 1
                if waiting == 10:
                    gate.set()
                await gate.wait()
                return one.messages[0].text

            async with browsing(FakeOpenAI(FunctionModel(answer))) as browser:
                sent = [browser.send(CHAT, body(CHAT, str(number))) for number in range(10)]
                return [spoken(CHAT, got.json) for got in await asyncio.gather(*sent)]

        assert asyncio.run(run()) == [str(number) for number in range(10)]

    def test_any_asgi_server_can_serve_it(self) -> None:
        async def run(fake: FakeOpenAI) -> list[dict[str, Any]]:
            came = [{"type": "http.request", "body": json.dumps(body(CHAT)).encode()}]
            sent: list[dict[str, Any]] = []

            async def receive() -> dict[str, Any]:
                return came.pop() if came else await asyncio.Event().wait() and {}

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            headers = [(b"content-type", b"application/json")]
            await fake({"type": "http", "method": "POST", "path": CHAT, "headers": headers}, receive, send)
            return sent

        start, whole = asyncio.run(run(FakeOpenAI()))
        assert start["status"] == 200
        assert spoken(CHAT, json.loads(whole["body"])) == "hello"
        # Without the means to close the connection, that is left to the server.
        _, half = asyncio.run(run(FakeOpenAI(faults=[faults.cut()])))
        assert half["more_body"]
        assert asyncio.run(run(FakeOpenAI(faults=[faults.hang_up()]))) == []

    def test_it_has_nothing_but_http(self) -> None:
        async def nothing(*message: Any) -> Any:
            return {}

        with pytest.raises(ConfigError, match="an HTTP request, got websocket"):
            asyncio.run(FakeOpenAI()({"type": "websocket"}, nothing, nothing))

    def test_its_model_is_at_hand(self) -> None:
        model = ScriptedModel("x")
        assert FakeOpenAI(model).model is model

    def test_names_are_needed(self) -> None:
        with pytest.raises(ConfigError, match="the name of a model at least"):
            FakeOpenAI(models=())


class TestSeen:
    def test_requests_are_kept_without_their_secrets(self) -> None:
        fake = FakeOpenAI(keep=2)
        send(
            fake,
            *((CHAT, body(CHAT, text)) for text in "abc"),
            authorization="Bearer sk-secret",
            x_api_key="k",
        )
        assert [seen.body["messages"][0]["content"] for seen in fake.seen] == ["b", "c"]
        seen = fake.seen[-1]
        assert (seen.number, seen.method, seen.path, seen.outcome) == (3, "POST", CHAT, "answered")
        assert seen.headers["authorization"] == "Bearer ***"
        assert seen.headers["x-api-key"] == "***"
        assert seen.headers["content-type"] == "application/json"

    def test_a_key_can_be_asked_for(self) -> None:
        fake = FakeOpenAI(api_key="right")
        for headers in ({"authorization": "Bearer right"}, {"x_api_key": "right"}):
            assert send(fake, (CHAT, body(CHAT)), **headers)[0].status == 200
        for headers in ({"authorization": "Bearer wrong"}, {}):
            (got,) = send(fake, (CHAT, body(CHAT)), **headers)
            assert got.status == 401
            assert got.json["error"]["code"] == "invalid_api_key"
        (got,) = send(fake, (MESSAGES, body(MESSAGES)))
        assert got.json == {
            "type": "error",
            "error": {"type": "authentication_error", "message": "Incorrect API key provided"},
        }


class TestRouting:
    def test_models_are_listed(self) -> None:
        fake = FakeOpenAI(models=("small", "large"))
        listed, one, none = send(
            fake, ("/v1/models", None), ("/v1/models/large", None), ("/v1/models/x", None), method="GET"
        )
        assert [model["id"] for model in listed.json["data"]] == ["small", "large"]
        assert listed.json["object"] == "list"
        assert one.json == {"id": "large", "object": "model", "created": 1_767_225_600, "owned_by": "taut"}
        assert (none.status, none.json["error"]["message"]) == (404, "The model 'x' does not exist")

    def test_models_are_listed_the_other_way(self) -> None:
        (got,) = send(FakeOpenAI(), ("/v1/models", None), method="GET", anthropic_version="2023-06-01")
        assert got.json["data"] == [
            {"type": "model", "id": "fake", "display_name": "fake", "created_at": "2026-01-01T00:00:00Z"}
        ]
        assert (got.json["first_id"], got.json["last_id"], got.json["has_more"]) == ("fake", "fake", False)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("POST", "/v1/other", 404), ("GET", CHAT, 405), ("POST", "/v1/models", 405), ("GET", "/", 404)],
    )
    def test_what_is_not_there_is_an_error(self, method: str, path: str, status: int) -> None:
        (got,) = send(FakeOpenAI(), (path, {} if method == "POST" else None), method=method)
        assert got.status == status
        assert got.json["error"]["message"]

    @pytest.mark.parametrize("given", [b"{", b"[]", b""])
    @pytest.mark.parametrize("path", PATHS)
    def test_a_body_is_an_object(self, path: str, given: bytes) -> None:
        assert "We could not parse the JSON body" in refused(path, given)

    def test_headers_are_demanded(self) -> None:
        (got,) = send(FakeOpenAI(), (CHAT, body(CHAT)), content_type="text/plain")
        assert "content type application/json, got 'text/plain'" in got.json["error"]["message"]
        (got,) = send(FakeOpenAI(), (MESSAGES, body(MESSAGES)), anthropic_version="")
        assert got.json["error"]["message"] == "anthropic-version: header is required"


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "status", "kind", "kind_there"),
        [
            (ModelUnavailable("busy"), 503, "server_error", "api_error"),
            (ModelUnavailable("busy", status=529), 529, "server_error", "overloaded_error"),
            (
                ModelUnavailable("busy", status=429, retry_after_s=2),
                429,
                "rate_limit_error",
                "rate_limit_error",
            ),
            (ModelRefused("no"), 400, "invalid_request_error", "invalid_request_error"),
            (ModelRefused("no", status=403), 403, "permission_error", "permission_error"),
            (ValueError("a bug"), 500, "server_error", "api_error"),
        ],
    )
    def test_what_a_model_raises_is_a_status(
        self, error: Exception, status: int, kind: str, kind_there: str
    ) -> None:
        ours, theirs = send(FakeOpenAI([error, error]), (CHAT, body(CHAT)), (MESSAGES, body(MESSAGES)))
        assert (ours.status, theirs.status) == (status, status)
        assert ours.json["error"]["type"] == kind
        assert theirs.json["error"]["type"] == kind_there
        assert str(error) in ours.json["error"]["message"]
        assert ours.headers.get("retry-after") == ("2" if status == 429 else None)

    def test_a_context_that_is_too_long_has_its_code(self) -> None:
        error = ContextTooLong("5 tokens")
        ours, theirs = send(FakeOpenAI([error, error]), (CHAT, body(CHAT)), (MESSAGES, body(MESSAGES)))
        assert (ours.status, ours.json["error"]["code"]) == (400, "context_length_exceeded")
        assert (theirs.status, theirs.json["error"]["message"]) == (400, "prompt is too long: 5 tokens")


def test_calls_of_a_script_have_their_ids() -> None:
    first, second = send(
        FakeOpenAI(ScriptedModel(call("add"), call("add"))), (CHAT, body(CHAT)), (CHAT, body(CHAT))
    )
    ids = [got.json["choices"][0]["message"]["tool_calls"][0]["id"] for got in (first, second)]
    assert ids == ["call_1", "call_2"]
