"""Tests without a model: models that say what a test wants, and a server that fakes OpenAI's and Anthropic's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily

if TYPE_CHECKING:
    from taut.testing.answering import AnsweringModel
    from taut.testing.answers import Answer, call
    from taut.testing.chaos import ChaosModel
    from taut.testing.echo import EchoModel
    from taut.testing.examples import example
    from taut.testing.fake_openai import FakeOpenAI, Fault
    from taut.testing.function_model import FunctionModel
    from taut.testing.replay import RecordingModel, ReplayModel
    from taut.testing.scripted import KeyedModel, ScriptedModel

__all__ = [
    "Answer",
    "AnsweringModel",
    "ChaosModel",
    "EchoModel",
    "FakeOpenAI",
    "Fault",
    "FunctionModel",
    "KeyedModel",
    "RecordingModel",
    "ReplayModel",
    "ScriptedModel",
    "call",
    "example",
]

#: Loaded when it is first asked for.
_HOMES = {
    "Answer": "taut.testing.answers",
    "AnsweringModel": "taut.testing.answering",
    "ChaosModel": "taut.testing.chaos",
    "EchoModel": "taut.testing.echo",
    "FakeOpenAI": "taut.testing.fake_openai",
    "Fault": "taut.testing.fake_openai",
    "FunctionModel": "taut.testing.function_model",
    "KeyedModel": "taut.testing.scripted",
    "RecordingModel": "taut.testing.replay",
    "ReplayModel": "taut.testing.replay",
    "ScriptedModel": "taut.testing.scripted",
    "call": "taut.testing.answers",
    "example": "taut.testing.examples",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
