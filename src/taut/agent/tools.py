"""What an agent can call: functions, tools of MCP servers, other agents. To a model, and to policies, they are all
the same.

A tool has the name that the model sees, and a `Tool.call` that returns a `ToolResult` and may raise: what a failure
means is for the path of all calls to say (`taut.agent.path`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut.agent import events
from taut.agent.result import RunResult
from taut.errors import ConfigError, ToolError
from taut.llm.messages import Audio, Image, Text, ToolCall, ToolResult
from taut.llm.model import ToolSpec
from taut.mcp.function import Function, InvalidArguments

if TYPE_CHECKING:
    from taut.agent.base import BaseAgent
    from taut.agent.run import Run
    from taut.telemetry.hooks import Span

__all__ = ["AgentTool", "Call", "FunctionTool", "Hints", "Tool", "ToolContext"]


@final
class Call:
    """One call under way.

    ``place`` tells it from all other calls of ``run``; ``key``, which it gets when it is made, from all calls there
    are. ``replay``: it may be sent again if it may have arrived.
    """

    __slots__ = ("call", "has_ended", "key", "place", "replay", "run", "span", "timeout_s")

    def __init__(
        self, call: ToolCall, run: Run[Any], place: str, *, timeout_s: float | None, replay: bool
    ) -> None:
        self.call = call
        self.run = run
        self.place = place
        self.key = ""
        self.timeout_s = timeout_s
        self.replay = replay
        self.span: Span | None = run.span
        self.has_ended = False

    def progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the call is."""
        if self.has_ended:
            return
        run = self.run
        run.emit(events.ToolProgress(run.path, self.call.id, self.call.name, progress, total, message))


@final
class ToolContext:
    """What a function that is a tool may ask for: annotate a parameter with this class, and it is passed.

    ``deps`` is what the run was given, ``key`` tells this call from all others, even if it is made again after a crash.
    """

    __slots__ = ("_call", "_loop")

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._call = call
        #: Where to tell things, if the function runs in another thread.
        self._loop = loop

    @property
    def deps(self) -> Any:
        """What the run was given as ``deps``."""
        return self._call.run.root.deps

    @property
    def key(self) -> str:
        """The idempotency key of the call."""
        return self._call.key

    @property
    def run(self) -> Run[Any]:
        """The run that the call belongs to, for tools that run agents themselves: what is done in it is done once,
        however often the call is taken up.
        """
        return self._call.run

    def progress(self, progress: float, total: float | None = None, message: str = "") -> None:
        """Tell how far the call is. From any thread; after the call has ended nobody hears it."""
        if self._loop is None:
            self._call.progress(progress, total, message)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the thread has outlived it
            self._loop.call_soon_threadsafe(self._call.progress, progress, total, message)


class Hints(msgspec.Struct, frozen=True):
    """What is said of a tool: that it changes nothing, and that calling it twice is calling it once."""

    read_only: bool = False
    idempotent: bool = False


class Tool(ABC):
    """Something that a model can call.

    - ``spec``: what the model sees; its name is unique within the agent;
    - ``origin``: where it is from, for policies and logs: ``function:NAME``, ``agent:NAME``, ``SERVER:NAME``;
    - ``hints``: what its author says of it; a server's word is to be believed where the server is trusted;
    - ``has_steps``: it may have steps of its own, and run agents: a call of it is a child, not a step. Its results may
      depend on the run, so they are never good for another one;
    - ``times_itself``: it ends a call by its timeout itself;
    - ``ends_run``: a call of it, alone, is the end of the run: its result is the output;
    - ``is_built_in``: it is a part of the agent, which no filter but ``deny`` takes away.
    """

    hints = Hints()
    has_steps = False
    is_built_in = False
    times_itself = False
    ends_run = False

    def __init__(self, spec: ToolSpec, origin: str) -> None:
        self.spec = spec
        self.origin = origin

    @property
    def name(self) -> str:
        """The name that the model sees."""
        return self.spec.name

    @abstractmethod
    async def call(self, key: str, call: Call) -> ToolResult:
        """Make one call; ``key`` is the same for each attempt at it.

        :raises taut.errors.ToolError: it failed, and the model may know why.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.origin}>"


@final
class FunctionTool(Tool):
    """A Python function. A plain one runs in the event loop's thread, or in another with ``thread``."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        thread: bool = False,
        read_only: bool = False,
        idempotent: bool = False,
        ends_run: bool = False,
    ) -> None:
        compiled = Function.compile(function, name=name, context_type=ToolContext, structured=False)
        if thread and compiled.is_async:
            raise ConfigError(f"Tool {compiled.name} is async: thread=True is for plain functions")
        super().__init__(
            ToolSpec(compiled.name, description or compiled.description or "", compiled.input_schema),
            f"function:{compiled.name}",
        )
        self._function = compiled
        self._thread = thread
        self.has_steps = compiled.context_parameter is not None
        self.ends_run = ends_run
        self.hints = Hints(read_only, idempotent or read_only)

    async def call(self, key: str, call: Call) -> ToolResult:
        """See `Tool`."""
        function = self._function
        try:
            decoded = function.decode(msgspec.json.encode(call.call.arguments))
        except InvalidArguments as error:
            raise ToolError(f"Invalid arguments for {self.name}: {error}") from None
        call.has_ended = False
        context = None
        if self.has_steps:
            context = ToolContext(call, asyncio.get_running_loop() if self._thread else None)
        try:
            if self._thread:
                value = await asyncio.to_thread(_in_thread, function.call, decoded, context)
            else:
                # In a context of its own: what one call sets, the next must not find.
                value = contextvars.copy_context().run(function.call, decoded, context)
            if function.is_async or hasattr(value, "__await__"):
                value = await value
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the function has waited for was cancelled, not the function.
            raise RuntimeError(f"{self.name} was cancelled from inside") from error
        finally:
            call.has_ended = True
        return ToolResult(call.call.id, self.name, content_of(value))


def _in_thread(call: Callable[..., Any], decoded: object, context: ToolContext | None) -> Any:
    try:
        return call(decoded, context)
    except StopIteration as error:  # it would never get through to the future that waits for it
        raise RuntimeError("the function raised StopIteration") from error


@final
class AgentTool(Tool):
    """An agent as a tool: it gets a task in words, and its output is the result."""

    has_steps = True

    def __init__(
        self, agent: BaseAgent[Any], *, name: str | None = None, description: str | None = None
    ) -> None:
        schema = {
            "type": "object",
            "properties": {
                "task": {"type": "string", "description": "What to do, with all that is needed to do it"}
            },
            "required": ["task"],
            "additionalProperties": False,
        }
        text = description or agent.description or f"Hand a task to the agent {agent.name}"
        super().__init__(ToolSpec(name or agent.name, text, schema), f"agent:{agent.name}")
        self.agent = agent

    async def call(self, key: str, call: Call) -> ToolResult:
        """See `Tool`."""
        task = call.call.arguments.get("task")
        if not isinstance(task, str) or not task:
            raise ToolError(f"Invalid arguments for {self.name}: expected `task`, a text - at `$.task`")
        result = await call.run.settle(self.agent, task)
        if not isinstance(result, RunResult):
            raise ToolError(f"{self.agent.name} failed: {result.error}")
        return ToolResult(call.call.id, self.name, result.text)


# -- contents


def content_of(value: Any) -> str | tuple[Text | Image | Audio, ...]:
    """Return what a model sees of a function's result: text as it is, parts as they are, all else as JSON.

    Text that is no Unicode, as names of files may be, loses what cannot be encoded: no store or model takes it.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if value is None:
        return "done"
    if isinstance(value, (Text, Image, Audio)):
        return (value,)
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(one, (Text, Image, Audio)) for one in value)
    ):
        return tuple(value)
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):  # no JSON, or text in it that is no Unicode
        return content_of(str(value))


def tool_of(source: Any, agents: type[Any]) -> Tool:
    """Return what is given as a tool as one: a tool, an agent (``agents`` is their class), or a function."""
    if isinstance(source, Tool):
        return source
    if isinstance(source, agents):
        return AgentTool(source)
    if callable(source):
        return FunctionTool(source)
    raise ConfigError(f"Expected a tool, a function or an agent, got {type(source).__name__}")
