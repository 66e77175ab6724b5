"""`FakeOpenAI`: the fake server as tests hold it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from taut.errors import ConfigError
from taut.llm.model import Model
from taut.testing.echo import EchoModel
from taut.testing.fake_openai.app import CLOSE, FakeApp, Receive, Scope, Seen, Send, Sleep
from taut.testing.fake_openai.faults import Fault, Faults, FaultSource
from taut.testing.fake_openai.serving import LoopServer, ThreadServer
from taut.testing.scripted import Item, ScriptedModel

__all__ = ["FakeOpenAI"]


class FakeOpenAI:
    """A server at a port of this machine that speaks as OpenAI (chat, responses) and Anthropic (messages) do.

    ``answers`` is the model that answers, or a script for one (`taut.testing.ScriptedModel`); by default it echoes
    (`taut.testing.EchoModel`). ``async with`` serves in the running event loop, ``with`` in a thread of its own, in
    whose loop the model then runs. It is an ASGI application as well.

    ``faults`` are what goes wrong, request by request (`taut.testing.fake_openai.faults`); pauses are made by
    ``sleep``. ``models`` are the names that it lists. With ``api_key``, whoever does not have it gets 401. ``keep`` is
    how many of the last requests are kept in `seen`.

    :raises taut.errors.ConfigError: no names, or an item of the script is none.
    """

    def __init__(
        self,
        answers: Model | Sequence[Item] | None = None,
        *,
        faults: Faults = (),
        models: Sequence[str] = ("fake",),
        api_key: str | None = None,
        sleep: Sleep = asyncio.sleep,
        keep: int | None = 1_000,
    ) -> None:
        if not models:
            raise ConfigError("Expected the name of a model at least, got none")
        if answers is None:
            model: Model = EchoModel()
        else:
            model = answers if isinstance(answers, Model) else ScriptedModel(*answers)
        self._faults = FaultSource(faults)
        self._app = FakeApp(model, self._faults, models=models, api_key=api_key, sleep=sleep, keep=keep)
        self._port: int | None = None
        self._in_loop: LoopServer | None = None
        self._in_thread: ThreadServer | None = None

    @property
    def model(self) -> Model:
        """The model that answers."""
        return self._app.model

    @property
    def seen(self) -> deque[Seen]:
        """The last requests, the oldest first."""
        return self._app.seen

    @property
    def origin(self) -> str:
        """Where it is, without a path: the base URL of Anthropic's clients.

        :raises taut.errors.ConfigError: it is not served now.
        """
        if self._port is None:
            raise ConfigError("Expected a server that is open: use it in `with` or `async with`")
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """The base URL of OpenAI's clients."""
        return f"{self.origin}/v1"

    def inject(self, *faults: Fault | None) -> None:
        """Add faults for the next requests; None leaves one alone. From any thread."""
        self._faults.add(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application."""
        await self._app(scope, receive, send)

    async def __aenter__(self) -> Self:
        self._expect_closed()
        self._in_loop = LoopServer(self._app, CLOSE)
        self._port = await self._in_loop.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._in_loop, self._port = self._in_loop, None, None
        if server is not None:
            await server.stop()

    def __enter__(self) -> Self:
        self._expect_closed()
        self._in_thread = ThreadServer(self._app, CLOSE)
        self._port = self._in_thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._in_thread, self._port = self._in_thread, None, None
        if server is not None:
            server.stop()

    def _expect_closed(self) -> None:
        if self._port is not None:
            raise ConfigError(f"Expected a server that is not open yet, got one at {self.origin}")
