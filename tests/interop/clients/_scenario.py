"""The script that every Python client runs against every server, and the shape of what it reports.

    <client>.py MODE URL|COMMAND...    MODE: auto, legacy, or a modern revision

One line of JSON goes to stdout: a key per step, with what was observed or ``{"error": {...}}``. The steps say
nothing about what is right: the tests compare. Standard library only, so that it runs in every environment.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

TEXT = 'quote " backslash \\ newline \n accents é 日本 \U0001f40d line separators \u2028 \u2029 \x7f'
BIG = 300_000
TIMEOUT_S = 0.5
CHANGE_S = 5
# How often, and how far apart, something is looked for that may come late.
TURNS, TURN_S = 50, 0.01

# What the callbacks of every client answer.
ANSWER = {"answer": "blue"}
SAMPLED = "hi there"
ROOT = "file:///workspace"


class Adapter(Protocol):
    """What a client offers to the script: plain values only."""

    progress: list[list[float | None]]
    logged: list[Any]

    @property
    def revision(self) -> str: ...
    @property
    def session(self) -> str | None:
        """The session's id, over HTTP in the legacy era; None where there is none, or the SDK does not tell."""

    async def tools(self) -> list[str]: ...
    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"text": ..., "is_error": ...}``."""

    async def call_with_timeout(self, name: str, arguments: dict[str, Any], seconds: float) -> str:
        """Return ``"timed out"`` when the client gave up waiting, else the text."""

    async def resources(self) -> list[str]: ...
    async def templates(self) -> list[str]: ...
    async def read(self, uri: str) -> str: ...
    async def prompts(self) -> list[str]: ...
    async def prompt(self, name: str, arguments: dict[str, str]) -> str: ...
    async def set_level(self, level: str) -> None:
        """Ask for log messages, in the way of the era."""

    async def hear_of_tools(self, action: Callable[[], Awaitable[Any]]) -> None:
        """Return once the server has announced that its tools changed, after the action that makes it do so."""


def describe(error: BaseException) -> dict[str, Any]:
    """Return the JSON-RPC code and the message of an error, wherever the SDK put them."""
    inner = getattr(error, "error", error)
    code = getattr(inner, "code", None)
    return {"type": type(error).__name__, "code": code, "message": str(error)}


async def run(adapter: Adapter) -> None:
    """Run all steps and print what was observed."""
    seen: dict[str, Any] = {"revision": adapter.revision, "session": adapter.session}

    async def step(name: str, action: Callable[[], Awaitable[Any]]) -> None:
        try:
            seen[name] = await asyncio.wait_for(action(), 20)
        except TimeoutError:
            seen[name] = {"error": {"type": "no answer", "code": None, "message": "within 20 s"}}
        except Exception as error:
            seen[name] = {"error": describe(error)}

    async def concurrent() -> list[str]:
        results = await asyncio.gather(*[adapter.call("add", {"a": n, "b": n}) for n in range(20)])
        return [result["text"] for result in results]

    async def big() -> int:
        return len((await adapter.call("echo", {"text": "x" * BIG}))["text"])

    async def progress() -> dict[str, Any]:
        result = await adapter.call("progress", {"steps": 3})
        await settled(adapter.progress, 3)
        return {"text": result["text"], "events": adapter.progress}

    async def log() -> dict[str, Any]:
        result = await adapter.call("log", {"message": "hello log"})
        await settled(adapter.logged, 1)
        return {"text": result["text"], "events": adapter.logged}

    async def set_level() -> None:
        await adapter.set_level("debug")

    async def timeout() -> str:
        await adapter.call("interrupted", {})  # the end of another client's session may have been one
        return await adapter.call_with_timeout("slow", {"seconds": 30}, TIMEOUT_S)

    async def interrupted() -> str:
        for _ in range(TURNS):  # the withdrawal travels beside the calls, and may come after them
            count = (await adapter.call("interrupted", {}))["text"]
            if count != "0":
                break
            await asyncio.sleep(TURN_S)
        return str(count)

    async def changed() -> str:
        await asyncio.wait_for(adapter.hear_of_tools(lambda: adapter.call("touch", {})), CHANGE_S)
        return "heard"

    await step("tools", adapter.tools)
    await step("add", lambda: adapter.call("add", {"a": 2, "b": 3}))
    await step("echo", lambda: adapter.call("echo", {"text": TEXT}))
    await step("big", big)
    await step("fail", lambda: adapter.call("fail", {}))
    await step("invalid", lambda: adapter.call("add", {"a": "two", "b": 3}))
    await step("unknown_tool", lambda: adapter.call("no_such_tool", {}))
    await step("concurrent", concurrent)
    await step("progress", progress)
    await step("poll", lambda: adapter.call("poll", {}))
    await step("set_level", set_level)
    await step("log", log)
    await step("ask", lambda: adapter.call("ask", {"question": "Which colour?"}))
    await step("sample", lambda: adapter.call("sample", {"prompt": "Say hi"}))
    await step("roots", lambda: adapter.call("roots", {}))
    await step("timeout", timeout)
    await step("after_timeout", lambda: adapter.call("add", {"a": 20, "b": 22}))
    await step("interrupted", interrupted)
    await step("changed", changed)
    await step("resources", adapter.resources)
    await step("templates", adapter.templates)
    await step("read_fixed", lambda: adapter.read("info://fixed"))
    await step("read_template", lambda: adapter.read("note://cats"))
    await step("read_missing", lambda: adapter.read("missing://nothing"))
    await step("prompts", adapter.prompts)
    await step("prompt", lambda: adapter.prompt("review", {"code": "x = 1"}))
    await step("prompt_missing", lambda: adapter.prompt("no_such_prompt", {}))
    print(json.dumps(seen), flush=True)


async def settled(events: list[Any], count: int) -> None:
    """Wait for notifications that an SDK may deliver after the result that they precede on the wire."""
    for _ in range(TURNS):
        if len(events) >= count:
            return
        await asyncio.sleep(TURN_S)


def arguments() -> tuple[str, str | list[str]]:
    """Return the mode, and the server's URL or the words of its command."""
    mode, *target = sys.argv[1:]
    return mode, target[0] if target[0].startswith("http") else target
