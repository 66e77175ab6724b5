"""Models by a short description."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llm.provider import answering, completion, provider
from taut.errors import ConfigError
from taut.llm import LocalModel, ModelRequest, ModelSettings, open_model, user
from taut.llm.anthropic import AnthropicModel
from taut.llm.openai import OpenAIModel


@pytest.mark.parametrize(
    ("spec", "kind", "shown"),
    [
        (
            "openai:gpt-5",
            OpenAIModel,
            "OpenAIModel('gpt-5', base_url='https://api.openai.com/v1', api='chat')",
        ),
        ("openai-responses:gpt-5", OpenAIModel, "api='responses'"),
        (
            "anthropic:claude-opus-4-5",
            AnthropicModel,
            "AnthropicModel('claude-opus-4-5', base_url='https://api.anth",
        ),
        ("ollama:llama3:8b", OpenAIModel, "OpenAIModel('llama3:8b', base_url='http://127.0.0.1:11434/v1'"),
        ("lmstudio:x", OpenAIModel, "http://127.0.0.1:1234/v1"),
        ("vllm:org/x", OpenAIModel, "OpenAIModel('org/x', base_url='http://127.0.0.1:8000/v1'"),
        ("llamacpp:x", OpenAIModel, "http://127.0.0.1:8080/v1"),
        ("groq:x", OpenAIModel, "https://api.groq.com/openai/v1"),
        ("http://host:9/v1#org/x", OpenAIModel, "OpenAIModel('org/x', base_url='http://host:9/v1'"),
        ("https://host/v1#x", OpenAIModel, "https://host/v1"),
        ("local", LocalModel, "LocalModel('smollm2-135m', context_tokens=4096)"),
    ],
)
def test_models(spec: str, kind: type, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    model = open_model(spec)

    assert isinstance(model, kind)
    assert shown in repr(model)


def test_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF")

    assert open_model(f"local:{path}", context_tokens=99).name == "tiny"


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk")

    async def main() -> None:
        async with provider(answering(lambda asked: asked.reply(completion()))) as server:
            model = open_model("groq:x", base_url=server.url)
            await model.respond(ModelRequest(messages=[user("Hi")]))
            await model.close()
        assert server.asked[0].headers["authorization"] == "Bearer gsk"

    asyncio.run(main())


def test_options_are_those_of_the_class() -> None:
    model = open_model("ollama:x", tool_mode="json_schema", settings=ModelSettings(temperature=0))

    assert isinstance(model, OpenAIModel)
    with pytest.raises(ConfigError, match="Expected options that ollama:x has, got colour"):
        open_model("ollama:x", colour="red")


@pytest.mark.parametrize("spec", ["", "gpt-5", "cohere:x", ":x", "openai"])
def test_what_there_is_not(spec: str) -> None:
    if spec == "openai":
        with pytest.raises(ConfigError, match="name of a model behind openai:"):
            open_model(spec)
        return
    with pytest.raises(
        ConfigError, match=r"openai:NAME, .*anthropic:NAME, .*ollama:NAME.*local, or local:PATH"
    ) as raised:
        open_model(spec)
    assert repr(spec) in str(raised.value)


@pytest.mark.parametrize("spec", ["ollama:", "http://host/v1", "http://host/v1#", "local:/no/such/file.gguf"])
def test_what_is_missing(spec: str) -> None:
    with pytest.raises(ConfigError, match="Expected"):
        open_model(spec)


@pytest.mark.parametrize(
    ("spec", "variable"), [("openai:x", "OPENAI_API_KEY"), ("anthropic:x", "ANTHROPIC_API_KEY")]
)
def test_a_key_that_is_missing(spec: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)

    with pytest.raises(ConfigError, match=variable):
        open_model(spec)
