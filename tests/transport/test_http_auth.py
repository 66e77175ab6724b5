"""Who asks: bearer tokens, the principal, and what is bound to it."""

from __future__ import annotations

from typing import Any

import pytest

from faults.loops import Run
from taut import Context, Server
from taut.errors import ConfigError
from taut.mcp.http.auth import Auth, Identity
from taut.transport.http.options import HttpOptions
from transport.asgi import HEADERS, Exchange, body_of, scope_of
from transport.legacy import LegacyClient, text_of

TOKENS = {
    "a": Identity("ada"),
    "b": Identity("bob"),
    "old": Identity("ada", expires_at=1.0),
    "nobody": Identity(""),
}


class Verifier:
    def verify(self, token: str) -> Identity | None:
        return TOKENS.get(token)


class LaterVerifier:
    async def verify(self, token: str) -> Identity | None:
        return TOKENS.get(token)


@pytest.fixture(params=[Verifier, LaterVerifier])
def auth(request: pytest.FixtureRequest) -> Auth:
    return Auth(request.param(), challenge={"resource_metadata": "https://example.com/x"})


def who_app() -> Server:
    app = Server("s")

    @app.tool
    def who(ctx: Context) -> str:
        return ctx.principal

    @app.tool
    async def report(ctx: Context) -> str:
        ctx.progress(1)
        return ctx.principal

    return app


def modern(app: Any, token: str | None) -> Exchange:
    headers = {**HEADERS, "mcp-method": "tools/call", "mcp-name": "who"}
    if token is not None:
        headers["authorization"] = token
    return Exchange(app, scope_of(headers), [body_of("tools/call", {"name": "who", "arguments": {}})])


def test_the_principal_reaches_the_handler_in_both_eras(run: Run, auth: Auth) -> None:
    async def main() -> None:
        asgi = who_app().asgi(auth=auth)
        assert text_of(await modern(asgi, "Bearer b").json()) == "bob"
        client = LegacyClient(asgi, token="a")
        await client.open()
        assert text_of(await client.call("who").json()) == "ada"

    run(main())


@pytest.mark.parametrize(
    "token", [None, "Bearer ", "Basic a", "Bearer x", "Bearer old", "Bearer nobody", "Bearer a b"]
)
def test_who_is_not_known_is_challenged(run: Run, auth: Auth, token: str | None) -> None:
    async def main() -> None:
        asgi = who_app().asgi(auth=auth)
        exchange = modern(asgi, token)
        await exchange.whole()
        assert exchange.status == 401
        challenge = exchange.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        assert 'resource_metadata="https://example.com/x"' in challenge
        assert ('error="invalid_token"' in challenge) is (
            token in ("Bearer x", "Bearer old", "Bearer nobody")
        )
        assert asgi.endpoint.open == 0

    run(main())


def test_a_session_does_not_exist_for_anybody_else(run: Run, auth: Auth) -> None:
    async def main() -> None:
        asgi = who_app().asgi(auth=auth)
        client, thief = LegacyClient(asgi, token="a"), LegacyClient(asgi, token="b")
        await client.open()
        await client.call("report", id=1).whole()
        thief.session = client.session
        for exchange in (thief.call("who"), thief.get(), thief.get("1-0"), thief.delete()):
            assert await thief.status(exchange) == 404
        thief.headers = {}
        assert await thief.status(thief.call("who")) == 401
        assert text_of(await client.call("who").json()) == "ada"

    run(main())


def test_a_driver_that_does_not_ask_is_let_do_nothing(run: Run, auth: Auth) -> None:
    async def main() -> None:
        asgi = who_app().asgi(auth=auth)
        headers = {**HEADERS, "mcp-method": "tools/call", "mcp-name": "who", "authorization": "Bearer a"}
        head = asgi.endpoint.admit("POST", scope_of(headers)["headers"])
        answer = asgi.begin(head, body_of("tools/call", {"name": "who", "arguments": {}}))  # type: ignore[arg-type]
        assert answer.status == 401  # type: ignore[union-attr]

    run(main())


def test_a_challenge_has_to_fit_into_a_header() -> None:
    with pytest.raises(ConfigError, match="printable"):
        Auth(Verifier(), challenge={"scope": "a\r\nb"})
    with pytest.raises(ConfigError, match="expected an Auth"):
        HttpOptions.of({"auth": Verifier()})
