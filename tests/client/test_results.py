"""What a caller gets of a tool's result without taking it apart."""

from __future__ import annotations

from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Server, ToolError, models
from taut.errors import InvalidParams

ERAS = ("legacy", "2026-07-28")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def server() -> Server:
    app = Server("s")

    @app.tool
    def several() -> list[Any]:
        return ["one", models.ImageContent("", "image/png"), "two"]

    @app.tool
    def fail() -> str:
        raise ToolError("no such row")

    @app.tool
    def default(a: int = 1) -> int:
        return a

    return app


def test_the_text_of_a_result_is_that_of_its_text_blocks(run: Run, era: str) -> None:
    async def main() -> None:
        async with Client(server(), mode=era) as client:
            assert (await client.call_tool("several")).text == "one\ntwo"

    run(main())
    assert models.CallToolResult([]).text == ""


def test_a_failure_of_a_tool_may_be_raised(run: Run, era: str) -> None:
    async def main() -> None:
        async with Client(server(), mode=era) as client:
            assert (await client.call_tool("fail")).is_error is True
            with pytest.raises(ToolError, match=r"^no such row$"):
                await client.call_tool("fail", raise_on_error=True)
            assert (await client.call_tool("default", raise_on_error=True)).text == "1"
            with pytest.raises(InvalidParams):
                await client.call_tool("nope", raise_on_error=True)

    run(main())


def test_null_for_arguments_is_none_of_them(run: Run, era: str) -> None:
    """As for every optional member: many peers write one for the other."""

    async def main() -> None:
        async with Client(server(), mode=era) as client:
            params: Any = models.CallToolParams("default", arguments=None)  # type: ignore[arg-type]
            assert (await client.request("tools/call", params)).text == "1"

    run(main())
