"""`Agent`: instructions, a model, and tools, in a loop: ask the model, make the calls that it wants, until it answers.

Each request to a model and each call is a step (`taut.steps`). The conversation is one list that only grows, shared by
reference with every request: a step costs the same at the beginning of a long run and at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from taut.agent import events
from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.known import KnownResults
from taut.agent.long_results import LongResults
from taut.agent.memory import Memory
from taut.agent.offer import Offer
from taut.agent.output import OutputType
from taut.agent.path import CallPath
from taut.agent.policy import ToolPolicy
from taut.agent.run import Run
from taut.agent.supply import ToolSupply
from taut.agent.toolbox import Toolbox
from taut.agent.tools import AgentTool, tool_of
from taut.errors import ConfigError, OutputInvalid
from taut.llm.messages import tool_results, user
from taut.llm.model import (
    Model,
    ModelEvent,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    Restarted,
    TextDelta,
    ThinkingDelta,
    ignore,
)
from taut.telemetry.hooks import Tracer

if TYPE_CHECKING:
    from taut.agent.finding import ToolSearch
    from taut.agent.pins import Pins
    from taut.agent.state.blobs import BlobStore
    from taut.agent.state.checkpoints import CheckpointStore
    from taut.agent.state.compaction import Compaction
    from taut.agent.state.conversations import ConversationStore
    from taut.client.pool import ServerPool

__all__ = ["Agent"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # Without an annotation the output is not known: it may be of any type.
    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

#: What an agent is told, as text or as a function of what the run was given as ``deps``.
Instructions: TypeAlias = "str | Callable[[Any], str]"
#: Where tools are from that no server has.
RESERVED = ("agent", "function", "handoff")
#: Requests to the model in one run of an agent without a budget.
MODEL_CALLS = 50


class Agent(BaseAgent[T]):
    """A model with instructions and tools.

    ::

        agent = Agent("clock", model="openai:gpt-5-mini", servers={"time": "uvx mcp-server-time"})
        result = await agent.run("How late is it in Tokyo?")

    :param instructions: what the model is told before all else; a function of the run's ``deps`` is called once a run.
    :param model: a `taut.llm.Model`, or what `taut.llm.open_model` takes. One that is given is not closed here.
    :param servers: MCP servers: names in ``pool``, or targets by name. They are started when a run first needs them,
        side by side, shared with whoever else uses the pool, and connected again when they were lost.
    :param tools: functions, agents and `taut.agent.Tool` objects that the model can call.
    :param output: the type of the output: text, or whatever msgspec decodes from JSON. What does not fit is told to the
        model, ``repairs`` times.
    :param tool_choice: ``auto``, or, for the first request, ``required`` or the name of a tool; ``none`` for all.
    :param tool_rounds: after so many messages with calls the model must answer.
    :param policy: what it may do with its tools.
    :param pins: refuse tools of servers that change after they were accepted.
    :param search: keep the schemas of many tools out of the context, and let the model search.
    :param memory: where conversations are kept; runs name theirs as ``session``. ``compaction`` keeps them short.
    :param blobs: where the rest of long results is kept; the model reads it with the tool ``read_result``.
    :param tool_mode: ``json_schema`` has calls written as JSON, for models that know no tools.
    :param start_servers: ``lazily``, when a run first needs them, or ``eagerly``, when the agent is started.
    :raises taut.errors.ConfigError: something of it cannot work.
    """

    def __init__(
        self,
        name: str = "agent",
        *,
        model: Model | str,
        instructions: Instructions = "",
        servers: Mapping[str, Any] | Sequence[str] = (),
        pool: ServerPool | None = None,
        tools: Iterable[Any] = (),
        output: Any = str,
        repairs: int = 2,
        settings: ModelSettings | None = None,
        tool_choice: str = "auto",
        tool_rounds: int | None = None,
        tool_mode: str | None = None,
        policy: ToolPolicy | None = None,
        pins: Pins | None = None,
        search: ToolSearch | None = None,
        memory: ConversationStore | None = None,
        compaction: Compaction | None = None,
        blobs: BlobStore | None = None,
        budget: Budget | None = None,
        description: str = "",
        start_servers: str = "lazily",
        tracer: Tracer | None = None,
        checkpoints: CheckpointStore | None = None,
    ) -> None:
        if budget is None:
            budget = Budget(model_calls=MODEL_CALLS)
        super().__init__(name, description=description, budget=budget, tracer=tracer, checkpoints=checkpoints)
        if start_servers not in ("lazily", "eagerly"):
            raise ConfigError(f"Expected start_servers 'lazily' or 'eagerly', got {start_servers!r}")
        if repairs < 0:
            raise ConfigError(f"Expected repairs of at least 0, got {repairs}")
        self.model, self._owns_model = _model_of(model, tool_mode)
        self._instructions = instructions
        self._output = OutputType(output)
        self._repairs = repairs
        self._settings = ModelSettings() if settings is None else settings
        self._tool_choice = tool_choice
        self._tool_rounds = tool_rounds
        self._policy = ToolPolicy() if policy is None else policy
        self._pins = pins
        self._search = search
        self._memory = Memory(memory, compaction, self._settings)
        self._eager = start_servers == "eagerly"
        self._pool, self._servers = _pool_of(servers, pool)
        self._tools = [tool_of(one, BaseAgent) for one in tools]
        long_results = LongResults(blobs)
        reader = long_results.reader(self._policy.max_result_chars)
        if reader is not None:
            self._tools.append(reader)
        self._path = CallPath(
            max_parallel=self._policy.max_parallel,
            max_calls=self._policy.max_calls,
            known=KnownResults(),
            long_results=long_results,
        )
        #: The tools, in each event loop that the agent is ready in.
        self._supplies: dict[asyncio.AbstractEventLoop, ToolSupply] = {}
        # Names are checked now, not in the first run.
        Toolbox(self._tools, self._policy)

    @property
    def output_type(self) -> Any:
        """The type of the output."""
        return self._output.kind

    def restored(self, output: Any) -> T:
        """See `BaseAgent`. Where a tool has ended the run, the output is that tool's text, whatever the type is."""
        try:
            return super().restored(output)
        except msgspec.ValidationError:
            if not isinstance(output, str):
                raise
            return output  # type: ignore[return-value]

    # -- life

    def members(self) -> Iterable[BaseAgent[Any]]:
        """See `BaseAgent`."""
        return [tool.agent for tool in self._tools if isinstance(tool, AgentTool)]

    async def open(self) -> None:
        """Take the servers; connect to them now if that is wanted."""
        supply = ToolSupply(
            self._tools, self._policy, pool=self._pool, servers=self._servers, pins=self._pins
        )
        with self._lock:
            for gone in [loop for loop in self._supplies if loop.is_closed()]:
                del self._supplies[gone]
            self._supplies[asyncio.get_running_loop()] = supply
        if self._eager:
            await supply.toolbox(_unheard)

    async def close(self) -> None:
        """Give back what `open` has taken; close what is this agent's own, once no event loop needs it."""
        with self._lock:
            supply = self._supplies.pop(asyncio.get_running_loop(), None)
        try:
            if supply is not None:
                await supply.close()
        finally:
            if not self._supplies and self._owns_model:
                await self.model.close()

    # -- the loop

    async def work(self, run: Run[T]) -> T:
        """See `BaseAgent`."""
        conversation, recalled = await self._memory.begin(run, self.model)
        instructions = self._told(run)
        offer = Offer(run, self._policy, self._search)
        supply = self._supplies[asyncio.get_running_loop()]
        repairs = step = 0
        output: Any
        while True:
            step += 1
            run.meter.check()
            box = offer.update(await supply.toolbox(run.note))
            request = ModelRequest(
                messages=conversation,
                instructions=instructions + offer.overview,
                tools=offer.specs,
                tool_choice=self._choice(step),
                output_schema=self._output.schema,
                settings=self._settings,
            )
            response = await run.steps.step("model", self._ask, request, run, step, returns=ModelResponse)
            said = response.message
            run.meter.charge(response.usage)
            run.say(said, conversation)
            if run.root.listener is not None:
                run.emit(events.UsageReported(run.path, run.meter.usage, run.meter.tool_calls))
            calls = said.tool_calls
            if calls:
                results = await self._path.call_all(run, box, calls, step)
                run.say(tool_results(*results), conversation)
                if len(calls) == 1 and box.ends_run(calls[0].name) and not results[0].is_error:
                    output = results[0].text
                    break
                offer.found(results)
                await self._memory.shorten(run, self.model, conversation, response.usage.input_tokens)
                continue
            try:
                output = self._output.decode(said.text)
                break
            except ValueError as error:
                repairs += 1
                if repairs > self._repairs:
                    raise self._invalid(run, repairs - 1, error) from None
                run.note("repair", str(error))
                complaint = f"Expected an answer of another form: {error}. Answer again, with the JSON only."
                run.say(user(complaint), conversation)
        await self._memory.end(run, recalled)
        return output  # type: ignore[no-any-return]

    def _choice(self, step: int) -> str:
        """A tool may be forced once; forced again and again, the model could never answer."""
        if self._tool_rounds is not None and step > self._tool_rounds:
            return "none"
        return self._tool_choice if step == 1 or self._tool_choice == "none" else "auto"

    def _told(self, run: Run[T]) -> str:
        """What the model is told in this run."""
        if isinstance(self._instructions, str):
            return self._instructions
        told: str = run.steps.note("instructions", self._instructions(run.root.deps), returns=str)
        return told

    def _invalid(self, run: Run[T], repairs: int, error: ValueError) -> OutputInvalid:
        kind = getattr(self._output.kind, "__name__", None) or str(self._output.kind)
        return OutputInvalid(
            f"{run.path}: expected an output of type {kind}, got, after {repairs} repairs: {error}"
        )

    async def _ask(self, key: str, request: ModelRequest, run: Run[T], step: int) -> ModelResponse:
        tracer, listener = run.root.tracer, run.root.listener
        if listener is not None:
            listener(events.StepBegan(run.path, step))
        tell = ignore if listener is None else _telling(run.path, listener)
        if tracer is None:
            return await self.model.respond(request, tell)
        name = self.model.name
        span = tracer.begin(
            f"chat {name}", {"gen_ai.operation.name": "chat", "gen_ai.request.model": name}, run.span
        )
        try:
            response = await self.model.respond(request, tell)
        except BaseException as error:
            span.end(error)
            raise
        span.set(
            {
                "gen_ai.response.model": response.model,
                "gen_ai.usage.input_tokens": response.usage.input_tokens,
                "gen_ai.usage.output_tokens": response.usage.output_tokens,
            }
        )
        span.end()
        return response


def _model_of(model: Model | str, tool_mode: str | None) -> tuple[Model, bool]:
    """Return the model, and whether it is the agent's own."""
    if tool_mode not in (None, "native", "json_schema"):
        raise ConfigError(f"Expected tool_mode 'native' or 'json_schema', got {tool_mode!r}")
    if isinstance(model, str):
        from taut.llm.open import open_model  # it knows all clients

        return open_model(model, **({} if tool_mode is None else {"tool_mode": tool_mode})), True
    if not isinstance(model, Model):
        raise ConfigError(f"Expected a model or its name, got {type(model).__name__}")
    if tool_mode == "json_schema":
        from taut.llm.actions import JsonActions

        return JsonActions(model), False
    return model, False


def _pool_of(
    servers: Mapping[str, Any] | Sequence[str], pool: ServerPool | None
) -> tuple[ServerPool | None, tuple[str, ...]]:
    """Return the pool that has the servers, and their names."""
    if isinstance(servers, str):
        raise ConfigError(f"Expected a list of names of servers, or targets by name, got {servers!r}")
    names = tuple(servers)
    for name in names:
        if name in RESERVED or ":" in name:
            raise ConfigError(
                f"Expected a server's name without ':' that is not one of {', '.join(RESERVED)}, since policies name "
                f"tools by where they are from, got {name!r}"
            )
    if isinstance(servers, Mapping):
        if pool is not None:
            raise ConfigError(
                "Expected names of servers along with a pool, got targets: put them into the pool"
            )
        if not names:
            return None, ()
        from taut.client.pool import ServerPool  # here: an agent without servers does not load a client

        return ServerPool(servers), names
    if names and pool is None:
        raise ConfigError(f"Expected a pool that has the servers {', '.join(names)}, got none")
    if pool is not None:
        unknown = [name for name in names if name not in pool.names]
        if unknown:
            raise ConfigError(
                f"Expected servers of the pool ({', '.join(pool.names) or 'it has none'}), got {', '.join(unknown)}"
            )
    return pool, names


def _telling(path: str, emit: events.Listener) -> Callable[[ModelEvent], None]:
    def tell(event: ModelEvent) -> None:
        match event:
            case TextDelta():
                emit(events.Text(path, event.text))
            case ThinkingDelta():
                emit(events.Thinking(path, event.text))
            case Restarted():
                emit(events.Restarted(path, event.reason))

    return tell


def _unheard(topic: str, text: str) -> None:
    """Nobody listens before there is a run; the log has it."""
