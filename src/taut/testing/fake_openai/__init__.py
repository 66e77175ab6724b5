"""A server that fakes those of OpenAI and Anthropic, with whatever goes wrong with them: `FakeOpenAI`.

``/v1/models``, ``/v1/chat/completions``, ``/v1/responses`` (OpenAI) and ``/v1/messages`` (Anthropic), each whole or as
events. The answers are those of a model of `taut.testing`; the faults are in `taut.testing.fake_openai.faults`.
"""

from __future__ import annotations

from taut.testing.fake_openai import faults
from taut.testing.fake_openai.app import Seen
from taut.testing.fake_openai.faults import Fault
from taut.testing.fake_openai.server import FakeOpenAI

__all__ = ["FakeOpenAI", "Fault", "Seen", "faults"]
