"""The messages that the micro benchmarks work on: small (200 B), medium (4 KB, dense), large (1 MB)."""

import json

SMALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 4711,
        "method": "tools/call",
        "params": {
            "name": "add",
            "arguments": {"a": 17, "b": 25},
            "_meta": {
                "progressToken": "f3b1",
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            },
        },
    },
    separators=(",", ":"),
).encode()

#: Short strings, numbers and nesting: the hard case for a scanner.
MEDIUM = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 4712,
        "method": "tools/call",
        "params": {
            "name": "index",
            "arguments": {
                "rows": [
                    {
                        "key": f"row-{n}",
                        "score": n / 7,
                        "tags": ["a", "b\n", "é"],
                        "on": n % 2 == 0,
                        "at": [n, -n],
                    }
                    for n in range(46)
                ]
            },
        },
    },
    separators=(",", ":"),
    ensure_ascii=False,
).encode()

TEXT = 'The quick brown fox jumps over the lazy dog; "quoted" \\ and é. \n' * 15_000

LARGE = json.dumps(
    {"jsonrpc": "2.0", "id": 4713, "result": {"content": [{"type": "text", "text": TEXT}], "isError": False}},
    separators=(",", ":"),
    ensure_ascii=False,
).encode()

MESSAGES = {"200B": SMALL, "4KB": MEDIUM, "1MB": LARGE}
