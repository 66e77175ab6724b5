"""taut's client with the reference server of the protocol's authors, which shows every kind of answer."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from taut import Client, models

from .matrix import LEGACY, PEERS

SERVER = PEERS / "node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not SERVER.exists(), reason="server-everything is not installed (make peers)"),
]


def sample(params: models.CreateMessageParams) -> models.CreateMessageResult:
    return models.CreateMessageResult(role="assistant", content=models.TextContent("hi there"), model="none")


def elicit(params: models.ElicitParams) -> models.ElicitResult:
    return models.ElicitResult(action="decline")


def talk(conversation: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    """Run a conversation with a fresh server and return what it returns."""

    async def run() -> Any:
        command = ["node", str(SERVER)]
        roots = ["file:///workspace"]
        async with Client(command, sampling=sample, elicitation=elicit, roots=roots, **options) as client:
            return await conversation(client)

    return asyncio.run(run())


def call(name: str, arguments: dict[str, Any], **options: Any) -> models.CallToolResult:
    result: models.CallToolResult = talk(lambda client: client.call_tool(name, arguments, **options))
    return result


@pytest.mark.parametrize("mode", ["auto", "legacy", LEGACY])
def test_agrees_on_the_legacy_era(mode: str) -> None:
    async def revision(client: Client) -> str:
        return client.revision

    assert talk(revision, mode=mode) == LEGACY


def test_lists_tools_with_their_schemas() -> None:
    tools = {tool.name: tool for tool in talk(lambda client: client.list_tools())}
    assert {"echo", "get-sum", "get-structured-content"} <= set(tools)
    assert set(tools["get-sum"].input_schema["properties"]) == {"a", "b"}


def test_calls_a_tool() -> None:
    assert call("get-sum", {"a": 2, "b": 3}).content[0].text == "The sum of 2 and 3 is 5."


def test_wrong_arguments_are_a_result_with_is_error() -> None:
    assert call("get-sum", {"a": "two", "b": 3}).is_error


def test_reads_structured_content() -> None:
    result = call("get-structured-content", {"location": "New York"})
    assert result.structured_content == {"temperature": 33, "conditions": "Cloudy", "humidity": 82}


def test_decodes_every_kind_of_content() -> None:
    assert [type(block) for block in call("get-tiny-image", {}).content] == [
        models.TextContent,
        models.ImageContent,
        models.TextContent,
    ]
    reference = call("get-resource-reference", {"resourceType": "Text", "resourceId": 1})
    assert models.EmbeddedResource in [type(block) for block in reference.content]
    links = call("get-resource-links", {"count": 2})
    assert [type(block) for block in links.content].count(models.ResourceLink) == 2


def test_reads_annotations() -> None:
    text = call("get-annotated-message", {"messageType": "error", "includeImage": False}).content[0]
    assert text.annotations.priority == 1.0
    assert text.annotations.audience == ["user", "assistant"]


def test_receives_progress_in_order() -> None:
    seen: list[tuple[float, float | None]] = []
    result = call(
        "trigger-long-running-operation",
        {"duration": 0.3, "steps": 3},
        on_progress=lambda params: seen.append((params.progress, params.total)),
    )
    assert "completed" in result.content[0].text
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_answers_sampling_elicitation_and_roots() -> None:
    assert "hi there" in call("trigger-sampling-request", {"prompt": "hi", "maxTokens": 10}).content[0].text
    assert "file:///workspace" in call("get-roots-list", {}).content[0].text
    assert "declined" in call("trigger-elicitation-request", {}).content[0].text


def test_reads_resources_of_both_kinds() -> None:
    async def read(client: Client) -> tuple[Any, Any]:
        text = await client.read_resource("demo://resource/dynamic/text/1")
        blob = await client.read_resource("demo://resource/dynamic/blob/1")
        return text.contents[0], blob.contents[0]

    text, blob = talk(read)
    assert text.text.startswith("Resource 1: This is a plaintext resource")
    assert base64.b64decode(blob.blob).startswith(b"Resource 1: This is a base64 blob")


def test_lists_templates_and_prompts() -> None:
    async def lists(client: Client) -> tuple[list[str], list[str]]:
        templates = await client.list_resource_templates()
        prompts = await client.list_prompts()
        return [item.uri_template for item in templates], [item.name for item in prompts]

    templates, prompts = talk(lists)
    assert "demo://resource/dynamic/text/{resourceId}" in templates
    assert {"simple-prompt", "args-prompt"} <= set(prompts)


def test_gets_a_prompt_and_a_completion() -> None:
    async def ask(client: Client) -> tuple[Any, Any]:
        prompt = await client.get_prompt("args-prompt", {"city": "Oslo", "state": "x"})
        reference = models.PromptReference("completable-prompt")
        return prompt.messages[0], await client.complete(reference, "department", "E")

    message, completion = talk(ask)
    assert message.content.text == "What's weather in Oslo, x?"
    assert completion.values == ["Engineering"]
