"""The core: bytes to messages and back, without I/O. Compiled where it is built, else a twin in plain Python.

Everything above imports from here and from nowhere below. `TAUT_PURE=1` in the environment selects the twin;
`COMPILED` says which one it is.
"""

import os
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from taut._core._common import Buffer, Kind

__all__ = [
    "COMPILED",
    "ISAS",
    "SSE_KEEPALIVE",
    "Buffer",
    "Envelope",
    "InFlight",
    "Kind",
    "LineFramer",
    "MessageReader",
    "Outgoing",
    "Progress",
    "ReceiveBuffer",
    "SSEEvent",
    "SSEParser",
    "Span",
    "encode_sse",
    "isa",
    "live_objects",
    "parse",
    "set_isa",
    "skip_value",
    "validate",
]

COMPILED: bool = (
    os.environ.get("TAUT_PURE") != "1" and PathFinder.find_spec("taut._core.scan", __path__) is not None
)

if TYPE_CHECKING or COMPILED:
    from taut._core.buffer import ReceiveBuffer, Span, live_objects
    from taut._core.dispatch import InFlight, Progress
    from taut._core.encode import Outgoing
    from taut._core.envelope import Envelope, MessageReader, parse
    from taut._core.framing import SSE_KEEPALIVE, LineFramer, SSEEvent, SSEParser, encode_sse
    from taut._core.scan import ISAS, isa, set_isa, skip_value, validate
else:
    from taut._core._pure.buffer import ReceiveBuffer, Span, live_objects
    from taut._core._pure.dispatch import InFlight, Progress
    from taut._core._pure.encode import Outgoing
    from taut._core._pure.envelope import Envelope, MessageReader, parse
    from taut._core._pure.framing import SSE_KEEPALIVE, LineFramer, SSEEvent, SSEParser, encode_sse
    from taut._core._pure.scan import ISAS, isa, set_isa, skip_value, validate
