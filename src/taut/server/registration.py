"""From a user's function and options to a registry entry, and from a server to the declared capabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.errors import ConfigError
from taut.mcp.function import Function
from taut.mcp.uri_template import UriTemplate
from taut.server.registry import PromptEntry, ResourceEntry, TaskOptions, TemplateEntry, ToolEntry

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["capabilities", "prompt", "resource", "tool"]

UNSET = msgspec.UNSET
Handler = Callable[..., Any]
#: Names of tools that every client accepts (specification 2025-11-25, "Tools", tool names).
MAX_NAME = 128
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def tool(
    function: Handler,
    context_type: type,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    annotations: models.ToolAnnotations | None = None,
    icons: Iterable[models.Icon] = (),
    meta: dict[str, Any] | None = None,
    thread: bool = False,
    timeout: float | None = None,
    structured: bool | None = None,
    input_schema: dict[str, Any] | None = None,
    output_schema: dict[str, Any] | None = None,
    task: str | TaskOptions | None = None,
) -> ToolEntry:
    """Compile a tool.

    :raises taut.errors.ConfigError: a name, timeout or signature that cannot work.
    """
    compiled = Function.compile(
        function,
        name=name,
        context_type=context_type,
        structured=structured,
        input_schema=input_schema,
        output_schema=output_schema,
    )
    if not 0 < len(compiled.name) <= MAX_NAME or not NAME_CHARACTERS.issuperset(compiled.name):
        raise ConfigError(
            f"Expected a tool name of 1-{MAX_NAME} letters, digits, '_', '-' or '.', got {compiled.name!r}"
        )
    if timeout is not None and timeout <= 0:
        raise ConfigError(f"Expected a positive timeout for tool {compiled.name}, got {timeout}")
    if timeout is not None and not (compiled.is_async or thread):
        raise ConfigError(
            f"Tool {compiled.name} runs inline, where no timeout can end it: make it async or thread=True"
        )
    if thread and compiled.is_async:
        raise ConfigError(f"Tool {compiled.name} is async: thread=True is for plain functions")
    options = None if task is None else _task_options(task, compiled, thread)
    model = models.Tool(
        compiled.name,
        compiled.input_schema,
        description=_given(description, compiled.description),
        title=_given(title),
        output_schema=_given(compiled.output_schema),
        annotations=_given(annotations),
        execution=UNSET if options is None else models.ToolExecution(task_support=options.support),
        icons=list(icons) or UNSET,
        meta=_given(meta),
    )
    return ToolEntry(model, compiled, thread=thread, timeout_s=timeout, task=options)


def _task_options(task: str | TaskOptions, function: Function, thread: bool) -> TaskOptions:
    options = task if isinstance(task, TaskOptions) else TaskOptions(support=task)  # type: ignore[arg-type]
    where = f"Tool {function.name}, task"
    if options.support not in ("optional", "required"):
        raise ConfigError(f"{where}: expected 'optional' or 'required', got {options.support!r}")
    if options.begins not in ("at once", "later"):
        raise ConfigError(f"{where}: expected to begin 'at once' or 'later', got {options.begins!r}")
    if not (function.is_async or thread):
        raise ConfigError(
            f"{where}: it runs inline, where nothing goes on beside it: make it async or thread=True"
        )
    if options.begins == "later" and (thread or function.context_parameter is None):
        raise ConfigError(f"{where}: to begin later takes an async function with a Context, to say when")
    for name in ("ttl_s", "poll_s"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise ConfigError(f"{where}: expected a positive {name}, got {value}")
    return options


def resource(
    uri: str,
    function: Handler,
    context_type: type,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    mime_type: str | None = None,
    annotations: models.Annotations | None = None,
    icons: Iterable[models.Icon] = (),
    meta: dict[str, Any] | None = None,
    size: int | None = None,
) -> ResourceEntry | TemplateEntry:
    """Compile a resource or a resource template.

    :raises taut.errors.ConfigError: the template's variables are not the function's parameters.
    """
    compiled = Function.compile(
        function, name=name, context_type=context_type, structured=False, strings=True
    )
    members: dict[str, Any] = {
        "title": _given(title),
        "description": _given(description, compiled.description),
        "mime_type": _given(mime_type),
        "annotations": _given(annotations),
        "icons": list(icons) or UNSET,
        "meta": _given(meta),
    }
    template = UriTemplate(uri)
    parameters = compiled.input_schema.get("properties", {})
    required = compiled.input_schema.get("required", [])
    if not set(required) <= set(template.variables) <= set(parameters):
        raise ConfigError(
            f"Expected the variables of {uri} ({', '.join(template.variables) or 'none'}) to be the parameters of "
            f"{compiled.name} ({', '.join(parameters) or 'none'})"
        )
    if template.variables:
        return TemplateEntry(models.ResourceTemplate(uri, compiled.name, **members), compiled, template)
    return ResourceEntry(models.Resource(uri, compiled.name, size=_given(size), **members), compiled)


def prompt(
    function: Handler,
    context_type: type,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    icons: Iterable[models.Icon] = (),
    meta: dict[str, Any] | None = None,
) -> PromptEntry:
    """Compile a prompt; its arguments are strings on the wire, converted to the parameters' types."""
    compiled = Function.compile(
        function, name=name, context_type=context_type, structured=False, strings=True
    )
    required = compiled.input_schema.get("required", [])
    arguments = [
        models.PromptArgument(
            argument, description=_given(schema.get("description")), required=argument in required
        )
        for argument, schema in compiled.input_schema.get("properties", {}).items()
    ]
    model = models.Prompt(
        compiled.name,
        description=_given(description, compiled.description),
        arguments=arguments or UNSET,
        title=_given(title),
        icons=list(icons) or UNSET,
        meta=_given(meta),
    )
    return PromptEntry(model, compiled)


def capabilities(server: Server) -> models.ServerCapabilities:
    """Return what ``server`` can do. It does not depend on what is registered: that may come later, and a legacy client
    learns of capabilities once. Every bit that is declared is served. Tasks are the exception: they are declared from
    the first tool on that can be one."""
    extensions = server.extensions
    tasks: Any = UNSET
    if server.tasks is not None:
        extensions = {**(extensions or {}), models.TASKS_EXTENSION: {}}
        tasks = models.ServerTasksCapability(list={}, cancel={}, requests={"tools": {"call": {}}})
    return models.ServerCapabilities(
        tools=models.ToolsCapability(list_changed=True),
        resources=models.ResourcesCapability(list_changed=True, subscribe=True),
        prompts=models.PromptsCapability(list_changed=True),
        completions={},
        logging={},
        experimental=_given(server.experimental),
        extensions=_given(extensions),
        tasks=tasks,
    )


def _given(*values: Any) -> Any:
    """Return the first value that is not None, or UNSET."""
    return next((value for value in values if value is not None), UNSET)
