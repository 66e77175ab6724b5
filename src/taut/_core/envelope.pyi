from typing import final

from typing_extensions import Buffer

from taut._core._common import Kind
from taut._core.buffer import ReceiveBuffer, Span
from taut.errors import RemoteProtocolError

@final
class Envelope:
    @property
    def kind(self) -> Kind: ...
    @property
    def id(self) -> bytes | None: ...
    @property
    def id_key(self) -> int | str | None: ...
    @property
    def method(self) -> str | None: ...
    @property
    def params(self) -> bytes | Span | memoryview | None: ...
    @property
    def result(self) -> bytes | Span | memoryview | None: ...
    @property
    def error(self) -> bytes | Span | memoryview | None: ...
    @property
    def meta(self) -> bytes | Span | memoryview | None: ...
    @property
    def arguments(self) -> bytes | Span | memoryview | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def uri(self) -> str | None: ...
    @property
    def extra_params(self) -> bool: ...
    @property
    def size(self) -> int: ...
    def items(self) -> list[bytes | Span | memoryview]: ...
    def release(self) -> None: ...

def parse(
    frame: Buffer,
    *,
    strict: bool = True,
    max_depth: int = 128,
    max_digits: int = 400,
    max_keys: int = 10_000,
) -> Envelope: ...

@final
class MessageReader:
    def __init__(
        self,
        buffer: ReceiveBuffer,
        *,
        max_bytes: int,
        max_depth: int = 128,
        max_digits: int = 400,
        max_keys: int = 10_000,
    ) -> None: ...
    def read(self) -> list[Envelope | RemoteProtocolError]: ...
