"""What a handler may ask of the client, what it may not, and what becomes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Context, Server, models
from taut.errors import InvalidParams

ERAS = ("legacy", "2026-07-28")
FORM = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 150}}, "required": ["age"]}


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def text_of(result: models.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, models.TextContent)
    return block.text


class TestAnswers:
    @pytest.mark.parametrize("content", [{"age": "old"}, {"age": 151}, {}, None])
    def test_what_does_not_fit_the_form_does_not_reach_the_handler(
        self, run: Run, era: str, content: Any
    ) -> None:
        app = Server("s")
        reached: list[Any] = []

        @app.tool
        async def ask(ctx: Context) -> None:
            reached.append(await ctx.elicit("Your age?", FORM))

        async def main() -> None:
            given = models.ElicitResult("accept", **({} if content is None else {"content": content}))
            async with Client(app, mode=era, elicitation=lambda params: given) as client:
                with pytest.raises(InvalidParams, match="age: expected"):
                    await client.call_tool("ask")

        run(main())
        assert reached == []
