"""Every JSON vector as a message, however its bytes arrive: whole, byte by byte, and at 1,000 random splits."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from outcomes import describe, shown
from test_scan import VECTORS, text_of

from taut.errors import RemoteProtocolError

SPLITS = 1_000
LARGE = 50_000
#: What stands around a vector: it is the value of a member of params, with the id behind it.
HEAD, TAIL = b'{"jsonrpc":"2.0","method":"tools/call","params":{"arguments":', b'},"id":7}\n'
#: A message that must be read right behind each vector.
NEXT = b'{"jsonrpc":"2.0","id":8,"method":"ping"}\n'


def read(core: SimpleNamespace, pieces: list[bytes]) -> list[Any]:
    buffer = core.ReceiveBuffer()
    reader = core.MessageReader(buffer, max_bytes=1 << 24)
    found: list[Any] = []
    for piece in pieces:
        buffer.feed(piece)
        found += [
            describe(message) if isinstance(message, RemoteProtocolError) else shown(message)
            for message in reader.read()
        ]
    return found


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["why"])
def test_a_message_comes_to_the_same_however_it_arrives(
    core: SimpleNamespace, vector: dict[str, Any]
) -> None:
    text = text_of(vector)
    stream = HEAD + text.replace(b"\n", b" ") + TAIL + NEXT
    whole = read(core, [stream])
    assert len(whole) == 2
    assert read(core, [stream[i : i + 1] for i in range(len(stream))]) == whole
    rng = random.Random(vector["why"])
    # The twin takes 50 ms for the two vectors that are 100,000 deep: a minute each, so on demand.
    quick = len(stream) < LARGE or "python" not in core.ISAS or settings().max_examples > 100
    for _ in range(SPLITS if quick else 20):
        places = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(1, 8)))
        pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
        assert read(core, pieces) == whole, places
