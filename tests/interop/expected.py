"""What a client has to observe, step by step: one table for all pairs, over every transport.

Where a peer deviates from the specification, the entry says so.
"""

from collections.abc import Callable
from typing import Any

from .matrix import LEGACY, ROOT, Outcome, Pair

TOOLS = [
    *(
        "add",
        "ask",
        "echo",
        "fail",
        "interrupted",
        "log",
        "poll",
        "progress",
        "roots",
        "sample",
        "slow",
        "touch",
    ),
]
TEXT = 'quote " backslash \\ newline \n accents é 日本 \U0001f40d line separators \u2028 \u2029 \x7f'
INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND = -32602, -32601, -32002


def text(expected: str) -> Any:
    return {"text": expected, "is_error": False}


EXACT = {
    "tools": TOOLS,
    "add": text("5"),
    "echo": text(TEXT),
    "big": 300_000,
    "concurrent": [str(2 * number) for number in range(20)],
    "ask": text("blue"),
    "sample": text("hi there"),
    "roots": text("file:///workspace"),
    "timeout": "timed out",
    "after_timeout": text("42"),
    "resources": ["info://fixed"],
    "templates": ["note://{name}"],
    "read_fixed": "fixed text",
    "read_template": "note about cats",
    "prompts": ["review"],
    "prompt": "Please review: x = 1",
}


def check_revision(pair: Pair, seen: Any) -> None:
    assert seen == pair.revision


def check_fail(pair: Pair, seen: Any) -> None:
    assert seen["is_error"]
    assert "deliberate failure" in seen["text"]


def check_invalid(pair: Pair, seen: Any) -> None:
    # Since 2025-11-25 a wrong argument is an error that the model can see, not a protocol error.
    assert seen["is_error"]
    assert "a" in seen["text"]


def check_unknown_tool(pair: Pair, seen: Any) -> None:
    if pair.server.name in ("taut", "ts2"):
        assert seen["error"]["code"] == INVALID_PARAMS
    else:  # mcp 1 and 2, fastmcp and the TypeScript SDK v1 answer as if the tool had failed.
        assert seen["is_error"]


def check_progress(pair: Pair, seen: Any) -> None:
    assert seen == {"text": "done", "events": [[1, 3], [2, 3], [3, 3]]}


def check_poll(pair: Pair, seen: Any) -> None:
    assert seen == text("closed" if pair.http and pair.revision == LEGACY else "open")


def check_set_level(pair: Pair, seen: Any) -> None:
    if pair.server.name == "mcp2" and pair.revision == LEGACY:  # It logs without the capability to.
        assert seen is None or "error" in seen
    else:
        assert seen is None


def check_log(pair: Pair, seen: Any) -> None:
    assert seen["text"] == "logged"
    # fastmcp wraps what it logs.
    expected = {"msg": "hello log", "extra": None} if pair.server.name == "fastmcp4" else "hello log"
    assert seen["events"] == [expected]


def check_interrupted(pair: Pair, seen: Any) -> None:
    # mcp 1 waits no longer, but does not say so.
    assert seen == ("0" if pair.client.name == "mcp1" else "1")


def check_changed(pair: Pair, seen: Any) -> None:
    if pair.server.name == "fastmcp4" and pair.revision != LEGACY:  # It does not serve subscriptions.
        assert seen["error"]["code"] == METHOD_NOT_FOUND
    else:
        assert seen == "heard"


def check_read_missing(pair: Pair, seen: Any) -> None:
    codes = {INVALID_PARAMS} if pair.revision != LEGACY else {INVALID_PARAMS, RESOURCE_NOT_FOUND}
    if pair.server.name == "mcp1":
        codes = {0}
    assert seen["error"]["code"] in codes


def check_prompt_missing(pair: Pair, seen: Any) -> None:
    # mcp answers 0 or "internal error".
    codes = {0, -32603} if pair.server.name in ("mcp1", "mcp2") else {INVALID_PARAMS}
    assert seen["error"]["code"] in codes


CHECKS: dict[str, Callable[[Pair, Any], None]] = {
    "revision": check_revision,
    "fail": check_fail,
    "invalid": check_invalid,
    "unknown_tool": check_unknown_tool,
    "progress": check_progress,
    "poll": check_poll,
    "set_level": check_set_level,
    "log": check_log,
    "interrupted": check_interrupted,
    "changed": check_changed,
    "read_missing": check_read_missing,
    "prompt_missing": check_prompt_missing,
}


STEPS = [*EXACT, *CHECKS]


def check_step(pair: Pair, step: str, result: Outcome) -> None:
    """Fail unless the client saw in this step what it should."""
    assert step in result.seen, result.stderr
    if step in EXACT:
        assert result.seen[step] == EXACT[step]
    else:
        CHECKS[step](pair, result.seen[step])


def check_end(result: Outcome) -> None:
    """Fail unless the client ended well, and nothing of ours was left over."""
    assert result.exit_code == 0, result.stderr
    # The peers log tracebacks of their own for errors that are part of the script.
    assert str(ROOT / "src") not in result.stderr
    assert "was never awaited" not in result.stderr
