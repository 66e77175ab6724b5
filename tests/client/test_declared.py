"""What a client declares, and that it keeps to it: callbacks, roots, log levels, capabilities of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from scripted import Scripted

from faults.loops import Run
from taut import Client, Context, Server, models
from taut.errors import ConfigError, InputRequired, InvalidParams, LocalProtocolError

ERAS = ("legacy", "2026-07-28")
URL: dict[str, Any] = {"mode": "url", "message": "Go", "url": "https://example.com"}
TOOLS: dict[str, Any] = {"messages": [], "maxTokens": 1, "tools": [], "toolChoice": {"mode": "auto"}}


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def never(params: Any) -> Any:
    pytest.fail("asked")


class TestCapabilities:
    def declared(self, run: Run, era: str, **options: Any) -> Any:
        app = Server("s")
        seen: list[Any] = []

        @app.tool
        def look(ctx: Context) -> None:
            seen.append(msgspec.json.decode(models.encode(ctx.client.capabilities, ctx.revision)))

        async def main() -> None:
            async with Client(app, mode=era, **options) as client:
                await client.call_tool("look")

        run(main())
        return seen[0]

    def test_callbacks_declare_themselves(self, run: Run, era: str) -> None:
        roots = {"listChanged": True} if era == "legacy" else {}
        assert self.declared(run, era, sampling=never, elicitation=never, roots=[]) == {
            "sampling": {},
            "elicitation": {},
            "roots": roots,
        }
        assert self.declared(run, era) == {}

    def test_more_may_be_declared(self, run: Run, era: str) -> None:
        given = {
            "elicitation": {"form": {}, "url": {}},
            "sampling": {"tools": {}},
            "experimental": {"x": {"y": 1}},
            "extensions": {"com.example/z": {}},
        }
        more = msgspec.convert(given, models.ClientCapabilities)
        assert self.declared(run, era, sampling=never, elicitation=never, capabilities=more) == given

    @pytest.mark.parametrize("name", ["sampling", "elicitation", "roots"])
    def test_what_nothing_answers_is_not_declared(self, name: str) -> None:
        with pytest.raises(ConfigError, match=f"callback for {name}"):
            Client("x", capabilities=msgspec.convert({name: {}}, models.ClientCapabilities))


class TestUndeclaredQuestions:
    @pytest.mark.parametrize(
        ("method", "params", "said"),
        [
            ("elicitation/create", URL, "elicitation.url"),
            ("sampling/createMessage", TOOLS, "sampling.tools"),
        ],
    )
    def test_a_legacy_server_gets_invalid_params(self, run: Run, method: str, params: Any, said: str) -> None:
        app = Server("s")

        @app.tool
        async def ask(ctx: Context) -> None:
            spec = models.lookup(method, ctx.revision)
            assert spec is not None
            given = {**params, **({"elicitationId": "1"} if "url" in params else {})}
            asked = msgspec.convert(given, spec.params)
            with pytest.raises(InvalidParams, match=said):
                await ctx._connection.ask(method, asked)

        async def main() -> None:
            async with Client(app, mode="legacy", sampling=never, elicitation=never) as client:
                assert not (await client.call_tool("ask")).is_error

        run(main())

    @pytest.mark.parametrize(
        ("method", "params", "said"),
        [
            ("elicitation/create", URL, "elicitation.url"),
            ("sampling/createMessage", TOOLS, "sampling.tools"),
        ],
    )
    def test_a_modern_call_ends(self, run: Run, method: str, params: Any, said: str) -> None:
        result = {
            "resultType": "input_required",
            "inputRequests": {"it": {"method": method, "params": params}},
        }
        server = Scripted(lambda server, message: server.say({"id": message["id"], "result": result}))

        async def main() -> None:
            async with Client(server, sampling=never, elicitation=never) as client:
                with pytest.raises(InputRequired, match=said):
                    await client.call_tool("ask")

        run(main())


class TestRoots:
    def app(self) -> Server:
        app = Server("s")

        @app.tool
        async def roots(ctx: Context) -> list[str]:
            return [root.uri for root in await ctx.list_roots()]

        return app

    @pytest.mark.parametrize("kind", ["list", "generator", "function", "async function"])
    def test_they_may_be_asked_for_many_times(self, run: Run, era: str, kind: str) -> None:
        def generator() -> Iterator[str]:
            yield "file:///r"

        async def later() -> list[str]:
            return ["file:///r"]

        given: Any = {
            "list": [models.Root("file:///r", "R")],
            "generator": generator(),
            "function": generator,
            "async function": later,
        }[kind]

        async def main() -> None:
            async with Client(self.app(), mode=era, roots=given) as client:
                for _ in range(2):
                    result = await client.call_tool("roots")
                    assert result.structured_content == {"result": ["file:///r"]}

        run(main())

    def test_a_change_is_told_where_the_revision_has_a_word_for_it(self, run: Run, era: str) -> None:
        app = self.app()
        told: list[object] = []
        app.on_roots_changed = told.append

        async def main() -> None:
            async with Client(app, mode=era, roots=["file:///a"]) as client:
                client.roots_changed(["file:///b"])
                assert (await client.call_tool("roots")).structured_content == {"result": ["file:///b"]}

        run(main())
        assert len(told) == (era == "legacy")

    def test_without_roots_there_is_nothing_to_tell(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(self.app(), mode=era) as client:
                with pytest.raises(LocalProtocolError, match="made with roots"):
                    client.roots_changed(["file:///b"])

        run(main())


class TestLogLevel:
    def test_it_is_asked_for_in_both_eras(self, run: Run, era: str) -> None:
        app = Server("s")

        @app.tool
        def talk(ctx: Context) -> None:
            ctx.debug("quiet")
            ctx.info("louder")

        async def main(level: str | None) -> list[Any]:
            seen: list[Any] = []
            keep = lambda params: seen.append(params.data)  # noqa: E731
            async with Client(app, mode=era, logging=keep, log_level=level) as client:
                await client.call_tool("talk")
            return seen

        assert run(main("debug")) == ["quiet", "louder"]
        assert run(main("error")) == []
        assert run(main(None)) == ["louder"]

    def test_there_is_no_other(self, run: Run, era: str) -> None:
        with pytest.raises(ConfigError, match="log level"):
            Client(Server("s"), log_level="loud")

        async def main() -> None:
            async with Client(Server("s"), mode=era) as client:
                with pytest.raises(ConfigError, match="log level"):
                    await client.set_log_level("loud")
                await client.list_tools()

        run(main())
