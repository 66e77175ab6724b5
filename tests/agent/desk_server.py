"""The desk of agents as a process of its own, over stdio; it tells what its agents were asked and have done."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.desks import Desk

desk = Desk()


@desk.app.tool
def asked() -> list[str]:
    """What models were asked, and which requests were cancelled."""
    return desk.asked


@desk.app.tool
def done() -> list[str]:
    """What tools have done."""
    return desk.done


@desk.app.tool
async def wait(text: str) -> str:
    """Wait until a model was asked this."""
    await desk.thinking(text)
    return "asked"


@desk.app.tool
def open_gate() -> None:
    """Let the thinker think."""
    desk.gate.set()


if __name__ == "__main__":
    desk.app.run()
