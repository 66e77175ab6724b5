"""``tools/call``: the hot path. One lookup, one typed decode of the arguments, the user's function, one encode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from taut.errors import InvalidParams, ProtocolError, RemoteError, RequestTimeout, ToolError
from taut.mcp.function import InvalidArguments
from taut.mcp.inbound import Request
from taut.mcp.inputs import InputNeeded, Rounds, all_needed
from taut.server.content import tool_error, tool_result
from taut.server.context import Context
from taut.server.registry import ToolEntry

if TYPE_CHECKING:
    from taut.server.server import Server
    from taut.transport.conversation import Conversation

__all__ = ["answer_to", "call_tool", "run_tool"]

#: From here on a message's memory is given back before its handler runs, not after.
LARGE_BYTES = 64 * 1024

logger = logging.getLogger("taut.server")


def call_tool(server: Server, request: Request, connection: Conversation) -> Coroutine[Any, Any, None] | None:
    """Call the tool that ``request`` names; a plain function is answered before this returns.

    :raises taut.errors.InvalidParams: there is no such tool (specification, "Tools", error handling).
    """
    envelope = request.envelope
    tool = server.tools.get(envelope.name)
    if tool is None:
        raise _unknown(request)
    function = tool.function
    try:
        arguments = function.decode(envelope.arguments)
    except InvalidArguments as error:
        if server.tasks is not None and tool.task is not None:
            server.tasks.refuse_arguments(request, error)
        request.respond(tool_error(f"Invalid arguments for {tool.key}: {error}"))
        return None
    context = rounds = None
    if function.context_parameter is None:
        if envelope.size > LARGE_BYTES and tool.task is None:
            envelope.release()
    else:
        rounds = server.rounds(request)
        context = Context(server, request, connection, rounds)
    if function.is_async or tool.thread:
        if tool.task is not None and server.tasks is not None and server.tasks.takes(tool, request):
            return server.tasks.call(server, tool, request, connection, arguments, rounds)
        return _call_later(server, tool, request, arguments, context, rounds)
    try:
        # In a context of its own, as a task would be: what one call sets, the next must not find.
        value = copy_context().run(function.call, arguments, context)
        if type(value) is CoroutineType:  # a plain function around an async one
            return _call_later(server, tool, request, value, None, rounds)
        result = tool_result(function, value, request.caller)
    except (RemoteError, ProtocolError):
        raise
    except (Exception, SystemExit) as error:  # the border to user code, which may parse a command line
        result = failure(tool.key, error)
    request.respond(result)
    return None


def _unknown(request: Request) -> InvalidParams:
    """Return the error for a call of no tool: params that do not fit, or a name that is not registered."""
    name = request.envelope.name
    if name is None:
        request.params()
    return InvalidParams(f"Unknown tool: {name}")


async def _call_later(
    server: Server,
    tool: ToolEntry,
    request: Request,
    arguments: object,
    context: Context | None,
    rounds: Rounds | None,
) -> None:
    try:
        result = tool_result(tool.function, await run_tool(server, tool, arguments, context), request.caller)
    except BaseException as error:  # the border to user code
        result = answer_to(server, tool.key, error, rounds)
    request.respond(result)


def run_tool(
    server: Server, tool: ToolEntry, arguments: object, context: Context | None
) -> Coroutine[Any, Any, Any]:
    """Call a tool that takes its time, within its timeout."""
    if tool.timeout_s is None:
        return _run(server, tool, arguments, context)
    return _run_within(server, tool, arguments, context, tool.timeout_s)


def answer_to(server: Server, name: str, error: BaseException, rounds: Rounds | None) -> Any:
    """Return the result for what a tool has raised; what ends the request, or more than that, is raised again."""
    if isinstance(error, InputNeeded):
        return server.input_required(rounds, error)
    if isinstance(error, BaseExceptionGroup):
        asked = all_needed(error)
        return failure(name, error) if asked is None else server.input_required(rounds, asked)
    if isinstance(error, (RemoteError, ProtocolError)) or not isinstance(error, (Exception, SystemExit)):
        raise error
    return failure(name, error)


async def _run_within(
    server: Server, tool: ToolEntry, arguments: object, context: Context | None, timeout_s: float
) -> Any:
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await _run(server, tool, arguments, context)
    except TimeoutError as error:
        if not limit.expired():  # the tool's own
            raise
        raise ToolError(f"{tool.key} did not finish within {timeout_s:g} s") from error


async def _run(server: Server, tool: ToolEntry, arguments: Any, context: Context | None) -> Any:
    function = tool.function
    if type(arguments) is CoroutineType:
        return await arguments
    if function.is_async and not tool.thread:
        return await function.call(arguments, context)
    return await server.in_thread(function.call, arguments, context)


def failure(name: str, error: BaseException) -> Any:
    """Return what the model is told of ``error``: the text of a `ToolError`, and of any other only that it happened."""
    if isinstance(error, ToolError):
        return tool_error(str(error))
    if isinstance(error, RequestTimeout):
        return tool_error(f"{name} waited too long for an answer")
    logger.error("tool %s failed", name, exc_info=error)
    return tool_error(f"Error in tool {name}: the server's log has the details")
