"""Models by a short description, as configurations and command lines name them: ``openai:gpt-5``, ``local``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from taut.errors import ConfigError
from taut.llm.model import Model

__all__ = ["open_model"]


class _Service(NamedTuple):
    """A server of OpenAI's format: where it is, and the variable of the environment that has its key."""

    url: str
    key: str | None = None


_SERVICES = {
    "deepseek": _Service("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "gemini": _Service("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "groq": _Service("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "llamacpp": _Service("http://127.0.0.1:8080/v1"),
    "lmstudio": _Service("http://127.0.0.1:1234/v1"),
    "mistral": _Service("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "ollama": _Service("http://127.0.0.1:11434/v1"),
    "openrouter": _Service("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "vllm": _Service("http://127.0.0.1:8000/v1"),
    "xai": _Service("https://api.x.ai/v1", "XAI_API_KEY"),
}


def open_model(spec: str, **options: Any) -> Model:
    """Return the model that ``spec`` describes; ``options`` are those of its class.

    - ``openai:gpt-5`` (chat completions), ``openai-responses:gpt-5``, ``anthropic:claude-opus-4-5``;
    - ``ollama:llama3``, ``lmstudio:...``, ``vllm:...``, ``llamacpp:...`` on this machine, at their usual ports;
    - ``deepseek:...``, ``gemini:...``, ``groq:...``, ``mistral:...``, ``openrouter:...``, ``xai:...``, with the
    key from the
      environment (``GROQ_API_KEY`` and so on);
    - ``http://host:8000/v1#model``: any server of OpenAI's format, by its base URL;
    - ``local``, or ``local:/models/some.gguf``: in this process.

    :raises taut.errors.ConfigError: there is no such model, or it cannot be made of these options.
    """
    kind, colon, rest = spec.partition(":")
    if kind in ("http", "https"):
        return _at(spec, options)
    if kind == "local":
        from taut.llm.local import LocalModel

        return _made(spec, LocalModel, rest or None, {}, options)
    maker = _maker(kind)
    if maker is None:
        raise ConfigError(f"Expected a model like {_known()}, got {spec!r}")
    if not colon or not rest:
        raise ConfigError(f"Expected the name of a model behind {kind}:, got {spec!r}")
    make, more = maker
    return _made(spec, make, rest, more, options)


def _maker(kind: str) -> tuple[Callable[..., Model], dict[str, Any]] | None:
    if kind == "anthropic":
        from taut.llm.anthropic import AnthropicModel

        return AnthropicModel, {}
    if kind not in _SERVICES and kind not in ("openai", "openai-responses"):
        return None
    from taut.llm.openai import OpenAIModel

    if kind == "openai":
        return OpenAIModel, {}
    if kind == "openai-responses":
        return OpenAIModel, {"api": "responses"}
    service = _SERVICES[kind]
    key = os.environ.get(service.key) if service.key is not None else None
    return OpenAIModel, {"base_url": service.url, "api_key": key}


def _at(spec: str, options: dict[str, Any]) -> Model:
    from taut.llm.openai import OpenAIModel

    url, _, model = spec.partition("#")
    if not model:
        raise ConfigError(f"Expected the name of a model behind the URL, like {url}#model, got none")
    return _made(spec, OpenAIModel, model, {"base_url": url}, options)


def _made(
    spec: str, make: Callable[..., Model], name: str | None, known: dict[str, Any], options: dict[str, Any]
) -> Model:
    try:
        return make(name, **{**known, **options})
    except TypeError as error:
        raise ConfigError(f"Expected options that {spec} has, got {', '.join(options)}: {error}") from None


def _known() -> str:
    named = [
        "openai:NAME",
        "openai-responses:NAME",
        "anthropic:NAME",
        *(f"{name}:NAME" for name in _SERVICES),
    ]
    return ", ".join([*named, "http://HOST/v1#NAME", "local, or local:PATH"])
