"""Every other method of the protocol: lists, resources, prompts, completion, subscriptions, tasks.

Each function takes (server, request, connection) and either answers and returns None, or returns a coroutine that
answers. `METHODS` is the table from the method's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.errors import InvalidParams, MethodNotFound, ResourceNotFound
from taut.mcp.function import Function, InvalidArguments
from taut.mcp.inbound import Request
from taut.mcp.inputs import InputNeeded, all_needed, check_input
from taut.mcp.pagination import paginate
from taut.server.content import prompt_result, resource_result
from taut.server.context import Context
from taut.server.registry import Registry
from taut.server.tools import call_tool

if TYPE_CHECKING:
    from taut.server.server import Server
    from taut.transport.conversation import Conversation

__all__ = ["METHODS", "Handler"]

Work = Coroutine[Any, Any, None] | None
Handler = Callable[["Server", Request, "Conversation"], Work]

#: The most values that a completion may return (specification, "Completion").
MAX_COMPLETIONS = 100


# -- lists


def _list(registry_of: Callable[[Server], Registry[Any]]) -> Handler:
    def handler(server: Server, request: Request, connection: Conversation) -> Work:
        cursor = None
        if request.envelope.params is not None:
            asked = request.params().cursor
            cursor = None if asked is msgspec.UNSET else asked
        revision = request.caller.revision
        members = server.profile.result_members if revision in models.MODERN else b""
        request.respond_raw(registry_of(server).page(revision, cursor, members))
        return None

    return handler


# -- user functions that are not tools


async def _finish(
    server: Server,
    request: Request,
    connection: Conversation,
    function: Function,
    arguments: dict[str, Any],
    wrap: Callable[[Any], Any],
) -> None:
    """Call ``function`` and answer with ``wrap(value)``."""
    rounds = server.rounds(request)
    context = None
    if function.context_parameter is not None:
        context = Context(server, request, connection, rounds)
    try:
        value = function.call(function.decode(msgspec.json.encode(arguments)), context)
        if inspect.isawaitable(value):
            value = await value
        if isinstance(value, models.InputRequiredResult):
            check_input(value, request.caller)
            result: models.Result = value
        else:
            result = wrap(value)
    except InvalidArguments as error:
        raise InvalidParams(str(error)) from error
    except InputNeeded as needed:
        result = server.input_required(rounds, needed)
    except BaseExceptionGroup as group:
        needed_by_all = all_needed(group)
        if needed_by_all is None:
            raise
        result = server.input_required(rounds, needed_by_all)
    request.respond(result)


# -- resources


def _read_resource(server: Server, request: Request, connection: Conversation) -> Work:
    uri: str = request.params().uri
    cache = server.cache_hints(request.caller.revision)

    def wrapped(mime_type: object) -> Callable[[Any], Any]:
        given = mime_type if isinstance(mime_type, str) else None
        return lambda value: cache(resource_result(uri, given, value))

    entry = server.resources.get(uri)
    if entry is not None:
        return _finish(server, request, connection, entry.function, {}, wrapped(entry.model.mime_type))
    for template in server.templates:
        variables = template.template.match(uri)
        if variables is not None:
            arguments: dict[str, Any] = dict(variables)
            return _finish(
                server, request, connection, template.function, arguments, wrapped(template.model.mime_type)
            )
    raise ResourceNotFound.of(uri)


def _subscribe(server: Server, request: Request, connection: Conversation) -> Work:
    uri = request.params().uri
    if server.resources.get(uri) is None and not any(
        entry.template.match(uri) is not None for entry in server.templates
    ):
        raise ResourceNotFound.of(uri)
    server.subscriptions.subscribe(connection.subscriber, uri)
    request.respond({})
    return None


def _unsubscribe(server: Server, request: Request, connection: Conversation) -> Work:
    server.subscriptions.unsubscribe(connection.subscriber, request.params().uri)
    request.respond({})
    return None


def _listen(server: Server, request: Request, connection: Conversation) -> Work:
    if server.tasks is not None:
        task_ids = request.params().notifications.task_ids
        if task_ids is not msgspec.UNSET:
            return server.tasks.listen(server, request, connection, task_ids)
    server.subscriptions.listen(connection, request)
    return None


# -- tasks


def _task(server: Server, request: Request, connection: Conversation) -> Work:
    if server.tasks is None:  # declared as an extension by the user, who has no tool for it
        raise MethodNotFound(f"Method not found: {request.method}")
    return server.tasks.answer(request, connection)


# -- skills


def _get_skill(server: Server, request: Request, connection: Conversation) -> Work:
    uri = request.params().uri
    entry = server.skill_entries.get(uri)
    if entry is None:
        raise InvalidParams(f"No skill is served at {uri}")
    request.respond(server.cache_hints(request.caller.revision)(models.GetSkillResult(skill=entry.model)))
    return None


def _read_directory(server: Server, request: Request, connection: Conversation) -> Work:
    params = request.params()
    children = server.directories.get(params.uri)
    if children is None:
        raise InvalidParams(f"{params.uri} is not a directory")
    cursor = None if params.cursor is msgspec.UNSET else params.cursor
    size = server.page_size or len(children)
    page, following = paginate(children, cursor, size, kind=params.uri, key=lambda child: child.uri)
    next_cursor = msgspec.UNSET if following is None else following
    request.respond(models.ReadDirectoryResult(resources=list(page), next_cursor=next_cursor))
    return None


# -- prompts


def _get_prompt(server: Server, request: Request, connection: Conversation) -> Work:
    params = request.params()
    prompt = server.prompts.get(params.name)
    if prompt is None:
        raise InvalidParams(f"Unknown prompt: {params.name}")
    arguments = {} if params.arguments is msgspec.UNSET else params.arguments
    described = prompt.model.description
    description = None if described is msgspec.UNSET else described
    return _finish(
        server,
        request,
        connection,
        prompt.function,
        arguments,
        lambda value: prompt_result(description, value),
    )


# -- completion


async def _complete(server: Server, request: Request, connection: Conversation) -> None:
    params = request.params()
    completions = _completions_of(server, params.ref)
    source = completions.get(params.argument.name)
    found: Any = None
    if source is not None:
        context: dict[str, str] = {}
        if params.context is not msgspec.UNSET and params.context.arguments is not msgspec.UNSET:
            context = params.context.arguments
        found = source(params.argument.value, context)
        if inspect.isawaitable(found):
            found = await found
    request.respond(models.CompleteResult(completion=_completion(params.argument.name, found)))


def _completion(argument: str, found: Any) -> models.Completion:
    """Return what a source of completions has found, no more than may be sent of it."""
    given = found if isinstance(found, models.Completion) else models.Completion([])
    values = found.values if found is given else found or ()
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"Expected strings from the completion of {argument}, got {found!r}")
    values = list(values)
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"Expected strings from the completion of {argument}, got {values!r}")
    more = len(values) > MAX_COMPLETIONS
    return models.Completion(
        values[:MAX_COMPLETIONS],
        total=len(values) if given.total is msgspec.UNSET else given.total,
        has_more=more if given.has_more is msgspec.UNSET else given.has_more or more,
    )


def _completions_of(server: Server, ref: Any) -> dict[str, Callable[..., Any]]:
    if isinstance(ref, models.PromptReference):
        prompt = server.prompts.get(ref.name)
        if prompt is None:
            raise InvalidParams(f"Unknown prompt: {ref.name}")
        return prompt.completions
    template = server.templates.get(ref.uri)
    if template is not None:
        return template.completions
    if server.resources.get(ref.uri) is not None:
        return {}
    raise InvalidParams(f"Unknown resource template: {ref.uri}")


METHODS: dict[str, Handler] = {
    "tools/call": call_tool,
    "tools/list": _list(lambda server: server.tools),
    "resources/list": _list(lambda server: server.resources),
    "resources/templates/list": _list(lambda server: server.templates),
    "resources/read": _read_resource,
    "resources/subscribe": _subscribe,
    "resources/unsubscribe": _unsubscribe,
    "subscriptions/listen": _listen,
    "resources/directory/read": _read_directory,
    "skills/list": _list(lambda server: server.skill_entries),
    "skills/get": _get_skill,
    "prompts/list": _list(lambda server: server.prompts),
    "prompts/get": _get_prompt,
    "completion/complete": _complete,
    "tasks/get": _task,
    "tasks/result": _task,
    "tasks/list": _task,
    "tasks/update": _task,
    "tasks/cancel": _task,
}
