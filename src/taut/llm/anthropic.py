"""Models of Anthropic, and of servers that speak its Messages format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, final

from taut.errors import ConfigError
from taut.llm.actions import respond_with_actions
from taut.llm.anthropic_messages import CacheTtl, MessagesReader, messages_body
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
from taut.llm.prices import Prices, priced
from taut.llm.reading import Reader
from taut.llm.requesting import NO_SETTINGS, merge_settings
from taut.steps import Retry

__all__ = ["ANTHROPIC_URL", "AnthropicModel"]

ANTHROPIC_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"


@final
class AnthropicModel:
    """``model`` at ``base_url``.

    ``api_key`` is taken from ``ANTHROPIC_API_KEY`` if none is given and ``base_url`` is Anthropic's own.
    ``cache`` asks the provider to remember the conversation for ``5m`` or ``1h``, which makes the next step of
    a run cheaper; prices are those of ``5m``. ``thinking`` is how the model is to think, ``{"type":
    "adaptive"}`` for current ones; ``ModelSettings.effort`` is how much. ``max_tokens`` is for requests that
    have none, since the provider wants a limit. ``output_schema`` is enforced by models since Claude 4.5; what
    of it the provider does not enforce, lengths and ranges, it is told in words. ``tool_mode`` is as for
    `taut.llm.OpenAIModel`, and so are the other options.

    :raises taut.errors.ConfigError: there is no key for Anthropic, or the URL, a header or an option cannot work.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = ANTHROPIC_URL,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        settings: ModelSettings = NO_SETTINGS,
        tool_mode: Literal["native", "json_schema"] = "native",
        max_tokens: int = 8192,
        thinking: Mapping[str, Any] | None = None,
        cache: CacheTtl = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry = DEFAULT_RETRY,
        prices: Prices | None = None,
        http: HttpOptions = DEFAULT_HTTP,
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        if tool_mode not in ("native", "json_schema"):
            raise ConfigError(f"Expected tool_mode 'native' or 'json_schema', got {tool_mode!r}")
        if cache not in (None, "5m", "1h"):
            raise ConfigError(f"Expected cache '5m', '1h' or None, got {cache!r}")
        if max_tokens < 1:
            raise ConfigError(f"Expected a positive max_tokens, got {max_tokens}")
        if base_url == ANTHROPIC_URL and api_key is None:
            api_key = os.environ.get("ANTHROPIC_API_KEY")
            if not api_key:
                raise ConfigError(
                    "Expected an API key for Anthropic: give api_key, or set ANTHROPIC_API_KEY; got neither"
                )
        api_key = None if api_key is None else api_key.strip()
        sent = {"anthropic-version": VERSION}
        if api_key:
            sent["x-api-key"] = api_key
        self._model = model
        self._settings = settings
        self._tool_mode = tool_mode
        self._max_tokens = max_tokens
        self._thinking = thinking
        self._cache: CacheTtl = cache
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
        self._prices = Prices.default() if prices is None else prices

    @property
    def name(self) -> str:
        """See `taut.llm.Model`."""
        return self._model

    def __repr__(self) -> str:
        return f"AnthropicModel({self._model!r}, base_url={self._endpoint.url.place!r})"

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """See `taut.llm.Model`."""
        if self._tool_mode == "json_schema" and request.tools:
            return await respond_with_actions(self._respond, request, on_event)
        return await self._respond(request, on_event)

    async def _respond(self, request: ModelRequest, on_event: OnEvent) -> ModelResponse:
        who = self._endpoint.who
        stream = on_event is not ignore
        body = messages_body(
            request,
            merge_settings(self._settings, request.settings),
            who=who,
            model=self._model,
            stream=stream,
            max_tokens=self._max_tokens,
            cache=self._cache,
            thinking=self._thinking,
        )

        def reader() -> Reader:
            return MessagesReader(who, on_event)

        response = await self._endpoint.post("/v1/messages", body, reader, on_event, stream=stream)
        return priced(response, self._prices, self._model)

    async def close(self) -> None:
        """See `taut.llm.Model`."""
        await self._endpoint.close()
