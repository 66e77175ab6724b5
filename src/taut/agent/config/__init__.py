"""Agents from one TOML file: ``load`` reads and checks it, ``build`` makes the agents.

::

    async with build(load("clock.toml")) as built:
        result = await built.agent.run("How late is it in Tokyo?")

`docs/agents-toml.md` describes the file, `docs/agent.schema.json` is its JSON Schema.
"""

from __future__ import annotations

from taut.agent.config.building import Built, build
from taut.agent.config.reading import AgentFile, load

__all__ = ["AgentFile", "Built", "build", "load"]
