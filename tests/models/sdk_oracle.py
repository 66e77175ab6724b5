"""Run by the interpreter of the official SDK: read messages, and say what that SDK makes of them.

One JSON object a line on standard input: ``kind`` (params or result), ``method``, ``revision`` and ``body``. One a
line on standard output: ``error`` (null when the SDK accepts the body), and ``said``, what it says in its turn;
``unknown`` when the SDK has no such message.
"""

import json
import sys

import mcp_types.methods as sdk
import pydantic

PARSERS = {
    "params": (
        (sdk.CLIENT_REQUESTS, sdk.parse_client_request),
        (sdk.SERVER_REQUESTS, sdk.parse_server_request),
        (sdk.CLIENT_NOTIFICATIONS, sdk.parse_client_notification),
        (sdk.SERVER_NOTIFICATIONS, sdk.parse_server_notification),
    ),
    "result": (
        (sdk.SERVER_RESULTS, sdk.parse_server_result),
        (sdk.CLIENT_RESULTS, sdk.parse_client_result),
    ),
}


def judge(message: dict) -> dict:
    key = message["method"], message["revision"]
    parsers = [parse for table, parse in PARSERS[message["kind"]] if key in table]
    if not parsers:
        return {"unknown": True}
    try:
        for parse in parsers:
            parsed = parse(*key, message["body"])
    except pydantic.ValidationError as error:
        return {"error": str(error)}
    said = parsed.model_dump(by_alias=True, mode="json", exclude_unset=True)
    return {"error": None, "said": said.get("params", {}) if message["kind"] == "params" else said}


for line in sys.stdin:
    print(json.dumps(judge(json.loads(line))), flush=False)
