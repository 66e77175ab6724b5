"""A server with one of everything, which the official conformance suite asks for by name.

An ordinary user of the public API: nothing here knows that it is tested. `python everything_server.py [PORT]`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from taut import Audio, Context, Elicit, Image, ListRoots, Sample, Server, TaskOptions, ToolError, models
from taut.errors import InternalError

#: One red pixel, and a sound of no length.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100"
    "c9fe92ef0000000049454e44ae426082"
)
WAV = bytes.fromhex(
    "524946462400000057415645666d7420100000000100010044ac000088580100020010006461746100000000"
)

app = Server("everything", "1.0", title="One of everything", cache_ttl_ms=60_000)


# -- tools


@app.tool(name="test_simple_text")
def simple_text() -> str:
    """Return text."""
    return "This is a simple text response for testing."


@app.tool(name="test_image_content")
def image_content() -> Image:
    """Return an image."""
    return Image(PNG, mime_type="image/png")


@app.tool(name="test_audio_content")
def audio_content() -> Audio:
    """Return sound."""
    return Audio(WAV, mime_type="audio/wav")


@app.tool(name="test_embedded_resource")
def embedded_resource() -> models.EmbeddedResource:
    """Return a resource."""
    contents = models.ResourceContents(
        "test://embedded-resource", text="An embedded resource.", mime_type="text/plain"
    )
    return models.EmbeddedResource(contents)


@app.tool(name="test_multiple_content_types")
def multiple_content_types() -> list[Any]:
    """Return content of several types."""
    contents = models.ResourceContents(
        "test://mixed-content-resource", text='{"test":"data","value":123}', mime_type="application/json"
    )
    return [
        "Multiple content types test:",
        Image(PNG, mime_type="image/png"),
        models.EmbeddedResource(contents),
    ]


@app.tool(name="test_tool_with_logging")
async def with_logging(ctx: Context) -> str:
    """Log while working."""
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(message)
        await asyncio.sleep(0.05)
    return "Logged."


@app.tool(name="test_tool_with_progress")
async def with_progress(ctx: Context) -> str:
    """Report progress."""
    for done in (0, 50, 100):
        await ctx.progress(done, 100)
        await asyncio.sleep(0.05)
    return "Progressed."


@app.tool(name="test_reconnection")
async def reconnection(ctx: Context) -> str:
    """Send the client away while working; it comes back for the result."""
    ctx.close_stream()
    await asyncio.sleep(0.1)
    return "Reconnected."


@app.tool(name="test_error_handling")
def error_handling() -> models.CallToolResult:
    """Fail."""
    text = models.TextContent("This tool intentionally returns an error for testing")
    return models.CallToolResult(content=[text], is_error=True)


@app.tool(name="test_logging_tool")
def logging_tool(ctx: Context) -> str:
    """Log once."""
    ctx.info("A log message")
    return "Logged."


@app.tool(name="test_missing_capability")
async def missing_capability(ctx: Context) -> str:
    """Need sampling."""
    answer = await ctx.sample("Hello")
    return _text(answer)


@app.tool(name="test_x_mcp_header")
def x_mcp_header(
    region: Annotated[str, msgspec.Meta(extra_json_schema={"x-mcp-header": "Region"})],
) -> str:
    """Take an argument that is mirrored in a header."""
    return f"region: {region}"


CONTACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@app.tool(name="json_schema_2020_12_tool", input_schema=CONTACT)
def contact(entry: dict[str, Any]) -> str:
    """Take a contact, whose schema is written by hand."""
    return f"{entry.get('name', 'somebody')}: {entry.get('phone') or entry.get('email')}"


@app.tool(name="test_trigger_tool_change")
def trigger_tool_change() -> str:
    """Change the list of tools, and change it back."""
    app.tool(name="test_added")(simple_text)
    app.tools.remove("test_added")
    return "Changed."


@app.tool(name="test_trigger_prompt_change")
def trigger_prompt_change() -> str:
    """Change the list of prompts, and change it back."""
    app.prompt(name="test_added")(simple_text)
    app.prompts.remove("test_added")
    return "Changed."


# -- asking the client


@app.tool(name="test_sampling")
async def sampling(prompt: str, ctx: Context) -> str:
    """Ask the client's model."""
    return f"LLM response: {_text(await ctx.sample(prompt, max_tokens=100))}"


class Account(msgspec.Struct):
    """What a user says of itself."""

    username: str
    email: str


@app.tool(name="test_elicitation")
async def elicitation(message: str, ctx: Context) -> str:
    """Ask the user."""
    answer = await ctx.elicit(message, Account)
    return f"User response: action={answer.action}, content={answer.content}"


class Defaults(msgspec.Struct):
    """A form that is filled in."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


@app.tool(name="test_elicitation_sep1034_defaults")
async def elicitation_defaults(ctx: Context) -> str:
    """Ask with defaults."""
    answer = await ctx.elicit("Please review", Defaults)
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


def titled(kind: str, *names: str) -> list[dict[str, str]]:
    return [{"const": f"value{number}", "title": f"{name} {kind}"} for number, name in enumerate(names, 1)]


#: Every way in which a form can offer a choice.
CHOICES = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": titled("option", "First", "Second", "Third")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option one", "Option two", "Option three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {"type": "array", "items": {"anyOf": titled("choice", "First", "Second", "Third")}},
    },
}


@app.tool(name="test_elicitation_sep1330_enums")
async def elicitation_choices(ctx: Context) -> str:
    """Ask for choices."""
    answer = await ctx.elicit("Please choose", CHOICES)
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


NAME_FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CONFIRM_FORM = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


@app.tool(name="test_streaming_elicitation")
async def streaming_elicitation(ctx: Context) -> str:
    """Report, then ask."""
    ctx.progress(1, 2)
    answer = await ctx.elicit("Who are you?", NAME_FORM)
    return f"{answer.action}"


@app.tool(name="test_input_required_result_elicitation")
async def asks_user(ctx: Context) -> str:
    """Ask for a name."""
    answer = await ctx.elicit("What is your name?", NAME_FORM, key="user_name")
    return f"Hello, {(answer.content or {}).get('name', 'stranger')}!"


@app.tool(name="test_input_required_result_sampling")
async def asks_model(ctx: Context) -> str:
    """Ask the client's model."""
    return _text(await ctx.sample("What is the capital of France?", max_tokens=100, key="capital_question"))


@app.tool(name="test_input_required_result_list_roots")
async def asks_roots(ctx: Context) -> str:
    """Ask for roots."""
    return ", ".join(str(root.uri) for root in await ctx.list_roots(key="client_roots"))


@app.tool(name="test_input_required_result_request_state")
async def keeps_state(ctx: Context) -> str:
    """Ask for confirmation."""
    await ctx.elicit("Please confirm", CONFIRM_FORM, key="confirm")
    return "state-ok"


@app.tool(name="test_input_required_result_tampered_state")
async def guards_state(ctx: Context) -> str:
    """Ask for confirmation."""
    await ctx.elicit("Please confirm", CONFIRM_FORM, key="confirm")
    return "confirmed"


@app.tool(name="test_input_required_result_multiple_inputs")
async def asks_all(ctx: Context) -> str:
    """Ask for three things at once."""
    answers = await ctx.ask(
        user_name=Elicit("What is your name?", NAME_FORM),
        greeting=Sample(
            [models.SamplingMessage(role="user", content=models.TextContent("Greet"))], max_tokens=100
        ),
        client_roots=ListRoots(),
    )
    return ", ".join(answers)


@app.tool(name="test_input_required_result_multi_round")
async def asks_twice(ctx: Context) -> str:
    """Ask, then ask again."""
    first = await ctx.elicit("Step 1: your name?", NAME_FORM, key="step1")
    form = {"type": "object", "properties": {"color": {"type": "string"}}, "required": ["color"]}
    second = await ctx.elicit("Step 2: your colour?", form, key="step2")
    return f"{first.content} {second.content}"


@app.tool(name="test_input_required_result_capabilities")
async def asks_what_may_be_asked(ctx: Context) -> str:
    """Ask for what the client can answer."""
    able = ctx.client.capabilities
    questions: dict[str, Any] = {}
    if models.declares(able, "sampling"):
        questions["sample"] = Sample(
            [models.SamplingMessage(role="user", content=models.TextContent("Hello"))], max_tokens=100
        )
    if models.declares(able, "elicitation"):
        questions["ask"] = Elicit("What is your name?", NAME_FORM)
    return ", ".join(await ctx.ask(**questions)) if questions else "Nothing may be asked."


# -- tasks


@app.tool
def greet(name: str) -> str:
    """Greet."""
    return f"Hello, {name}!"


@app.tool(task="optional")
async def slow_compute(seconds: float, label: str = "") -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return f"Computed {label or 'something'} in {seconds:g} s."


@app.tool(task="required")
async def failing_job() -> str:
    """Work for a second, then fail."""
    await asyncio.sleep(1)
    raise ToolError("The job failed.")


@app.tool(task="optional")
async def protocol_error_job() -> str:
    """End with a JSON-RPC error."""
    raise InternalError("The job could not be done.")


DELETE_FORM = {"type": "object", "properties": {"confirm": {"type": "boolean"}}, "required": ["confirm"]}


@app.tool(task="optional")
async def confirm_delete(filename: str, ctx: Context) -> str:
    """Delete a file once the user agrees."""
    answer = await ctx.elicit(f"Delete {filename}?", DELETE_FORM)
    agreed = answer.accepted and answer.content["confirm"]
    return f"Deleted {filename}." if agreed else f"Kept {filename}."


@app.tool(task="optional")
async def multi_input(ctx: Context) -> str:
    """Ask two things at once."""
    answers = await ctx.ask(name=Elicit("Your name?", NAME_FORM), confirm=Elicit("Go ahead?", DELETE_FORM))
    return ", ".join(answer.action for answer in answers.values())


@app.tool(name="test_tool_with_task", task=TaskOptions(support="required", begins="later"))
async def asks_then_works(ctx: Context) -> str:
    """Ask for a name in the call itself, then go on as a task."""
    answer = await ctx.elicit("What is your name?", NAME_FORM, key="user_name")
    await ctx.begin_task()
    await asyncio.sleep(0.1)
    return f"Done for {(answer.content or {}).get('name', 'somebody')}."


def _text(message: models.CreateMessageResult) -> str:
    content = message.content
    return content.text if isinstance(content, models.TextContent) else str(content)


# -- resources


@app.resource("test://static-text", mime_type="text/plain", description="Text that does not change.")
def static_text() -> str:
    return "This is the content of the static text resource."


@app.resource("test://static-binary", mime_type="image/png", description="An image that does not change.")
def static_binary() -> bytes:
    return PNG


@app.resource("test://template/{id}/data", mime_type="application/json", description="Data by id.")
def template(id: str) -> dict[str, Any]:
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


@app.resource("test://watched-resource", mime_type="text/plain", description="A resource to subscribe to.")
def watched() -> str:
    return "Watched."


# -- prompts


@app.prompt(name="test_simple_prompt")
def simple_prompt() -> str:
    """Return a message."""
    return "This is a simple prompt for testing."


@app.prompt(name="test_prompt_with_arguments")
def prompt_with_arguments(arg1: str, arg2: str) -> str:
    """Return a message of two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@app.prompt(name="test_prompt_with_embedded_resource")
def prompt_with_resource(resourceUri: str) -> list[Any]:
    """Return a message with a resource."""
    contents = models.ResourceContents(resourceUri, text="Embedded resource content.", mime_type="text/plain")
    return [models.EmbeddedResource(contents), "Please process the embedded resource above."]


@app.prompt(name="test_prompt_with_image")
def prompt_with_image() -> list[Any]:
    """Return a message with an image."""
    return [Image(PNG, mime_type="image/png"), "Please analyze the image above."]


@app.prompt(name="test_input_required_result_prompt")
async def prompt_that_asks(ctx: Context) -> str:
    """Return a message of what the user says."""
    form = {"type": "object", "properties": {"context": {"type": "string"}}, "required": ["context"]}
    answer = await ctx.elicit("What is it about?", form, key="user_context")
    return f"Context: {(answer.content or {}).get('context', '')}"


@app.completion("test_prompt_with_arguments", "arg1")
def complete(value: str, context: dict[str, str]) -> list[str]:
    return [word for word in ("paris", "park", "party") if word.startswith(value)]


# -- skills

app.skills(Path(__file__).parent / "skills")


if __name__ == "__main__":
    app.run("http", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
