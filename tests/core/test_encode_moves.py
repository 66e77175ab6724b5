"""The memory of outgoing messages moves under a message that is being written: at any of its bytes."""

from __future__ import annotations

import json
import os

import pytest


def empty(reader: int) -> None:
    try:
        while os.read(reader, 1 << 20):
            pass
    except BlockingIOError:
        return


@pytest.mark.parametrize("write", ["result", "request"])
def test_members_are_put_right_wherever_the_memory_is_moved(core, write):
    """Unwritten bytes move to the front when there is no room behind them."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    try:
        for filler in range(1_500):
            out = core.Outgoing()
            out.append(b"x" * 65_536)
            out.append(b"y" * (65_536 - 1_024 + filler))  # near the end of the memory
            while out.write_fd(writer):  # what the pipe holds is written, the rest stays
                pass
            if write == "result":
                out.result(b"7", {"a": "z" * 40}, members=b'"m":1')
            else:
                out.request(7, "tools/call", {"a": "z" * 40}, members=b'"m":1')
            message = json.loads(out.take().splitlines()[-1])
            assert message["result" if write == "result" else "params"] == {"m": 1, "a": "z" * 40}
            empty(reader)
    finally:
        os.close(reader)
        os.close(writer)
