"""What a server declares, and that it serves just that, whenever it was registered."""

from __future__ import annotations

from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Server, models
from taut.errors import InternalError, InvalidParams, MethodNotFound, RemoteError, ResourceNotFound

ERAS = ("legacy", "2026-07-28")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestCapabilities:
    def test_what_is_registered_later_is_served_on_the_same_connection(self, run: Run, era: str) -> None:
        app = Server("s")

        async def main() -> None:
            async with Client(app, mode=era) as client:
                app.prompt(name="p")(lambda a: a)
                app.completion("p", "a")(lambda value, context: [value + "!"])
                found = await client.complete(models.PromptReference("p"), "a", "x")
                assert found.values == ["x!"]

        run(main())

    def test_a_server_may_declare_more(self, run: Run, era: str) -> None:
        app = Server("s", experimental={"x": {"y": 1}}, extensions={"com.example/z": {}})

        async def main() -> None:
            async with Client(app, mode=era) as client:
                assert client.server_capabilities.experimental == {"x": {"y": 1}}
                assert client.server_capabilities.extensions == {"com.example/z": {}}

        run(main())

    def test_what_it_declares_but_has_no_handler_for_is_not_found(self, run: Run) -> None:
        app = Server("s", extensions={"io.modelcontextprotocol/tasks": {}})

        async def main() -> None:
            async with Client(app) as client:
                with pytest.raises(MethodNotFound):
                    await client.request("tasks/get", models.GetTaskParams(task_id="1"))

        run(main())


class TestCompletion:
    def app(self, values: Any) -> Server:
        app = Server("s")
        app.prompt(name="p")(lambda a: a)
        app.resource("mem://{id}", name="row")(lambda id: id)
        app.completion("p", "a")(lambda value, context: values)
        return app

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["a", "b"], (["a", "b"], 2, False)),
            (("a",), (["a"], 1, False)),
            (None, ([], 0, False)),
            ({"a": 1}.keys(), (["a"], 1, False)),
            (models.Completion(["a"], total=500, has_more=True), (["a"], 500, True)),
            (models.Completion([str(n) for n in range(101)]), ([str(n) for n in range(100)], 101, True)),
        ],
    )
    def test_values(self, run: Run, values: Any, expected: Any) -> None:
        async def main() -> None:
            async with Client(self.app(values)) as client:
                found = await client.complete(models.PromptReference("p"), "a", "x")
                assert (found.values, found.total, found.has_more) == expected

        run(main())

    @pytest.mark.parametrize("values", ["text", [1], [None], 3])
    def test_what_is_no_list_of_text_is_an_error_that_says_so(
        self, run: Run, values: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with Client(self.app(values)) as client:
                with pytest.raises(InternalError):
                    await client.complete(models.PromptReference("p"), "a", "x")

        run(main())
        assert "Expected strings from the completion of a" in caplog.text

    def test_unknown_references_are_invalid_params(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(self.app([]), mode=era) as client:
                for reference in (
                    models.PromptReference("nope"),
                    models.ResourceTemplateReference("mem://nope/{id}"),
                ):
                    with pytest.raises(InvalidParams) as caught:
                        await client.complete(reference, "a", "")
                    assert caught.value.code == -32602

        run(main())


class TestPromptsAndResources:
    def test_a_prompt_is_described_as_it_was_registered(self, run: Run, era: str) -> None:
        app = Server("s")

        @app.prompt(description="For the client.")
        def review() -> str:
            """For who reads the code."""
            return "x"

        async def main() -> None:
            async with Client(app, mode=era) as client:
                assert (await client.get_prompt("review")).description == "For the client."

        run(main())

    def test_codes_of_one_era_do_not_leak_into_the_other(self, run: Run, era: str) -> None:
        """Such as when a handler passes on what another server, of the other era, has answered."""
        app = Server("s")

        @app.resource("mem://x")
        def x() -> str:
            raise ResourceNotFound("Resource not found", code=-32002, data={"uri": "mem://x"})

        @app.resource("mem://y")
        def y() -> str:
            raise RemoteError("sign in first", code=-32042, data={"elicitations": []})

        async def main() -> None:
            async with Client(app, mode=era) as client:
                with pytest.raises(RemoteError) as caught:
                    await client.read_resource("mem://x")
                assert caught.value.code == (-32002 if era == "legacy" else -32602)
                with pytest.raises(RemoteError) as caught:
                    await client.read_resource("mem://y")
                assert caught.value.code == (-32042 if era == "legacy" else -32603)

        run(main())


class TestPages:
    def test_made_up_cursors_are_not_kept(self, run: Run, era: str) -> None:
        """The place in a cursor is a hint: many cursors name the same page."""
        import base64

        app = Server("s", page_size=1)
        for number in range(3):
            app.tool(name=f"t{number}")(lambda: None)

        async def main() -> None:
            async with Client(app, mode=era) as client:
                real = (await client.page("tools/list")).next_cursor
                raw = base64.urlsafe_b64decode(real)
                for place in range(50):
                    cursor = base64.urlsafe_b64encode(place.to_bytes(4, "big") + raw[4:]).decode()
                    page = await client.page("tools/list", cursor)
                    assert [tool.name for tool in page.tools] == ["t1"]

        run(main())
        assert len(app.tools._pages) <= len(models.REVISIONS) * 4


class TestSchemasByHand:
    def test_they_are_listed_as_they_are_and_asked(self, run: Run, era: str) -> None:
        app = Server("s")
        taken = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"n": {"$ref": "#even"}},
            "$defs": {"even": {"$anchor": "even", "multipleOf": 2}},
            "allOf": [{"required": ["n"]}],
        }
        given = {"type": "object", "properties": {"half": {"type": "integer"}}}

        @app.tool(input_schema=taken, output_schema=given)
        def halve(arguments: dict[str, Any]) -> dict[str, int]:
            return {"half": arguments["n"] // 2}

        async def main() -> None:
            async with Client(app, mode=era) as client:
                (tool,) = await client.list_tools()
                assert (tool.input_schema, tool.output_schema) == (taken, given)
                result = await client.call_tool("halve", {"n": 4})
                assert result.structured_content == {"half": 2}
                refused = await client.call_tool("halve", {"n": 3})
                assert refused.is_error
                assert "multiple of 2 - at `$.n`" in refused.text

        run(main())
