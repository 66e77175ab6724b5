"""Models behind OpenAI's interface: OpenAI itself, and every server that speaks as it does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, final

from taut.errors import ConfigError
from taut.llm.actions import respond_with_actions
from taut.llm.http import (
    DEFAULT_HTTP,
    DEFAULT_RETRY,
    DEFAULT_TIMEOUT_S,
    DEFAULT_TIMING,
    Endpoint,
    HttpOptions,
    Timing,
)
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, OnEvent, ignore
from taut.llm.openai_chat import ChatReader, chat_body
from taut.llm.openai_responses import ResponsesReader, responses_body
from taut.llm.prices import Prices, priced
from taut.llm.reading import Reader, count_calls
from taut.llm.requesting import NO_SETTINGS, merge_settings
from taut.steps import Retry

__all__ = ["OPENAI_URL", "OpenAIModel"]

OPENAI_URL = "https://api.openai.com/v1"


@final
class OpenAIModel:
    """``model`` at ``base_url``.

    ``api_key`` is sent as a bearer token; for OpenAI itself it is taken from ``OPENAI_API_KEY`` if none is
    given. ``api`` is ``chat`` (chat completions, which every server has) or ``responses`` (OpenAI's newer one,
    with thinking that is kept between calls). With ``tool_mode="json_schema"`` tools are not given to the
    server: the model writes calls as JSON (`taut.llm.JsonActions`), for servers and models without tools.
    ``settings`` are used where a request has none. ``thinking_member`` names the member of messages in which
    the server wants a model's thinking back (chat only): ``reasoning_content`` for DeepSeek, ``reasoning`` for
    vLLM. Prices are known by the model's name, and nothing is paid to a server on this machine; ``prices`` says
    otherwise.

    Streams when somebody listens (``on_event``); without, the answer comes in one piece. It can be used from several
    event loops, in several threads, and again after `close`.

    :raises taut.errors.ConfigError: there is no key for OpenAI, or the URL, a header or an option cannot work.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = OPENAI_URL,
        api_key: str | None = None,
        api: Literal["chat", "responses"] = "chat",
        headers: Mapping[str, str] | None = None,
        settings: ModelSettings = NO_SETTINGS,
        tool_mode: Literal["native", "json_schema"] = "native",
        thinking_member: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry = DEFAULT_RETRY,
        prices: Prices | None = None,
        http: HttpOptions = DEFAULT_HTTP,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        if api not in ("chat", "responses"):
            raise ConfigError(f"Expected api 'chat' or 'responses', got {api!r}")
        if tool_mode not in ("native", "json_schema"):
            raise ConfigError(f"Expected tool_mode 'native' or 'json_schema', got {tool_mode!r}")
        official = base_url == OPENAI_URL
        if official and api_key is None:
            api_key = os.environ.get("OPENAI_API_KEY")
            if not api_key:
                raise ConfigError(
                    "Expected an API key for OpenAI: give api_key, or set OPENAI_API_KEY; got neither"
                )
        api_key = None if api_key is None else api_key.strip()
        sent = {} if not api_key else {"Authorization": f"Bearer {api_key}"}
        self._model = model
        self._api = api
        self._settings = settings
        self._tool_mode = tool_mode
        self._thinking_member = thinking_member
        self._max_tokens_name = "max_completion_tokens" if official else "max_tokens"
        self._endpoint = Endpoint(
            base_url,
            model,
            headers={**sent, **(headers or {})},
            secret=api_key,
            options=http,
            timeout_s=timeout_s,
            retry=retry,
            timing=timing,
        )
        local = http.uds is not None or self._endpoint.url.loopback
        self._prices = prices if prices is not None else Prices.free() if local else Prices.default()

    @property
    def name(self) -> str:
        """See `taut.llm.Model`."""
        return self._model

    def __repr__(self) -> str:
        return f"OpenAIModel({self._model!r}, base_url={self._endpoint.url.place!r}, api={self._api!r})"

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """See `taut.llm.Model`."""
        if self._tool_mode == "json_schema" and request.tools:
            return await respond_with_actions(self._respond, request, on_event)
        return await self._respond(request, on_event)

    async def _respond(self, request: ModelRequest, on_event: OnEvent) -> ModelResponse:
        settings = merge_settings(self._settings, request.settings)
        who = self._endpoint.who
        stream = on_event is not ignore
        calls_before = count_calls(request.messages)
        if self._api == "responses":
            path = "/responses"
            body = responses_body(request, settings, who=who, model=self._model, stream=stream)
        else:
            path = "/chat/completions"
            body = chat_body(
                request,
                settings,
                who=who,
                model=self._model,
                stream=stream,
                max_tokens_name=self._max_tokens_name,
                thinking_name=self._thinking_member,
            )
        kind = ResponsesReader if self._api == "responses" else ChatReader

        def reader() -> Reader:
            return kind(who, on_event, calls_before=calls_before)

        response = await self._endpoint.post(path, body, reader, on_event, stream=stream)
        return priced(response, self._prices, self._model)

    async def close(self) -> None:
        """See `taut.llm.Model`."""
        await self._endpoint.close()
