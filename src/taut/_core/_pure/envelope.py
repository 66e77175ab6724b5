"""JSON-RPC messages, in Python: what the compiled module does, whose docstring is the contract."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, final

from taut._core._common import EXCERPT_BYTES, Fault, Kind, fault_error, identified, invalid_message
from taut._core._pure.buffer import ReceiveBuffer, Span, copy_of
from taut._core._pure.framing import LineFramer
from taut._core._pure.scan import UNLIMITED, Walker, unescape
from taut.errors import InvalidMessage, LimitExceeded, RemoteProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Envelope", "MessageReader", "parse"]

COPY_BYTES: Final = 1024  # bodies up to this are copied
MAX_ID_DIGITS: Final = 4300  # what int() takes by default
INTEGER = re.compile(rb"-?[0-9]+")

MESSAGE_FIELDS = frozenset((b"jsonrpc", b"id", b"method", b"params", b"result", b"error"))
PARAMS_FIELDS = frozenset((b"name", b"uri", b"arguments", b"_meta"))
#: Members whose strings are checked even when the rest is skipped: shown decoded, or echoed.
CHECKED_FIELDS = frozenset((b"jsonrpc", b"id", b"method", b"params", b"error", b"name", b"uri"))


def parse(
    frame: Buffer,
    *,
    strict: bool = True,
    max_depth: int = 128,
    max_digits: int = 400,
    max_keys: int = 10_000,
) -> Envelope:
    """Parse one JSON-RPC message; not `strict` skips the bodies without a look inside.

    Raises ParseError, InvalidMessage or LimitExceeded, with the `id` of the message when one can be read.
    """
    data = copy_of(frame)
    walk = MessageWalk(Walker(data, max_depth=max_depth, max_digits=max_digits, max_keys=max_keys), strict)
    try:
        walk.message()
    except RemoteProtocolError as error:
        error.id = find_id(data, max_digits)
        raise
    return Envelope._of(frame if isinstance(frame, Span) else data, walk)


class MessageWalk:
    """Where the members of a message and of its params lie in it."""

    def __init__(self, walker: Walker, strict: bool) -> None:
        self.walker = walker
        self.data = walker.data
        self.strict = strict
        self.members: dict[bytes, slice] = {}
        self.params: dict[bytes, slice] = {}
        self.extra = False
        self.start = self.stop = 0  # the message without the whitespace around it

    def message(self) -> None:
        walker = self.walker
        self.start = walker.skip_space(0)
        if walker.at(self.start) == b"{":
            self.stop = self._message_members()
        else:
            self.stop = self._value(self.start, b"")
        walker.expect_end(self.stop)

    def _message_members(self) -> int:
        walker = self.walker
        pos = walker.next_member(walker.open_object(self.start), first=True)
        while not walker.closed:
            name = walker.name
            end = (
                self._params(pos) if name == b"params" and walker.at(pos) == b"{" else self._value(pos, name)
            )
            if name in MESSAGE_FIELDS:
                self.members[name] = slice(pos, end)
            pos = walker.next_member(end, first=False)
        return pos

    def _params(self, pos: int) -> int:
        walker = self.walker
        pos = walker.next_member(walker.open_object(pos), first=True)
        while not walker.closed:
            name = walker.name
            end = self._value(pos, name if name in PARAMS_FIELDS else b"")
            if name in PARAMS_FIELDS:
                self.params[name] = slice(pos, end)
            else:
                self.extra = True
            pos = walker.next_member(end, first=False)
        return pos

    def _value(self, pos: int, name: bytes) -> int:
        if self.strict or (name in CHECKED_FIELDS and self.walker.at(pos) == b'"'):
            return self.walker.validate_value(pos)
        return self.walker.skip_value(pos)

    def text(self, place: slice | None) -> bytes | None:
        """Return the JSON text at `place`."""
        return None if place is None else self.data[place]

    def classify(self) -> Kind:
        """Return what the message is, or raise InvalidMessage for what JSON-RPC forbids."""
        members = self.members
        first = self.walker.at(self.start)
        if first == b"[":
            if self.walker.at(self.walker.skip_space(self.start + 1)) == b"]":
                raise invalid_message("a batch with at least one message", b"[]")
            return Kind.BATCH
        if first != b"{":
            raise refuse("a JSON object", self.data[self.start : self.stop])
        if b"error" in members and b"method" not in members and self.text(members.get(b"id")) == b"null":
            del members[b"id"]  # JSON-RPC 2.0, section 5: the id could not be read, which is the same as none
        raw_id = self.text(members.get(b"id"))
        if raw_id is not None and not is_id(raw_id):
            raise refuse("id to be a string or an integer", raw_id)
        if raw_id is not None and raw_id[:1] != b'"' and len(raw_id) > MAX_ID_DIGITS:
            raise LimitExceeded("max_digits", MAX_ID_DIGITS)
        version = self.text(members.get(b"jsonrpc"))
        if version is None or version[:1] != b'"' or unescape(version[1:-1]) != b"2.0":
            raise refuse('jsonrpc to be "2.0"', version, raw_id)
        kind = self._kind(raw_id)
        params = self.text(members.get(b"params"))
        if params is not None and params[:1] != b"{":
            raise refuse("params to be an object", params, raw_id)
        return kind

    def _kind(self, raw_id: bytes | None) -> Kind:
        method = self.text(self.members.get(b"method"))
        result = self.text(self.members.get(b"result"))
        error = self.text(self.members.get(b"error"))
        if method is not None:
            if method[:1] != b'"':
                raise refuse("method to be a string", method, raw_id)
            if result is not None or error is not None:
                raise refuse("no result or error in a request", error if result is None else result, raw_id)
            return Kind.NOTIFICATION if raw_id is None else Kind.REQUEST
        if error is not None:
            if result is not None:
                raise refuse("no error beside a result", error, raw_id)
            if error[:1] != b"{":
                raise refuse("error to be an object", error, raw_id)
            return Kind.ERROR
        if result is None:
            raise refuse("method, result or error", None, raw_id)
        if raw_id is None:
            raise refuse("a result to have an id", None)
        return Kind.RESULT


@final
class Envelope:
    """One parsed JSON-RPC message. It holds its frame until `release`."""

    __slots__ = ("_frame", "_walk", "kind", "method", "name", "size")

    kind: Kind
    method: str | None
    name: str | None
    size: int
    _frame: bytes
    _walk: MessageWalk

    def __init__(self) -> None:
        raise TypeError("An Envelope is made by parse() or a MessageReader, not directly")

    @classmethod
    def _of(cls, frame: bytes, walk: MessageWalk) -> Envelope:
        envelope = cls.__new__(cls)
        envelope._frame = frame
        envelope._walk = walk
        envelope.size = len(walk.data)
        try:
            envelope.kind = walk.classify()
        except RemoteProtocolError as error:
            members = walk.members
            error.is_answer = b"method" not in members and (b"result" in members or b"error" in members)
            raise
        envelope.method = decode_text(walk.text(walk.members.get(b"method")))
        if envelope.method is not None:
            envelope.method = sys.intern(envelope.method)
        envelope.name = None if envelope.method is None else decode_text(walk.text(walk.params.get(b"name")))
        return envelope

    @property
    def id(self) -> bytes | None:
        """The JSON text of the id, exactly as sent; None when there is none."""
        self._check()
        return self._walk.text(self._walk.members.get(b"id"))

    @property
    def id_key(self) -> int | str | None:
        """The id as int or str, the same for each spelling of the same id; 1 and "1" stay different."""
        raw_id = self.id
        if raw_id is None:
            return None
        return int(raw_id) if raw_id[:1] != b'"' else decode_text(raw_id)

    @property
    def params(self) -> bytes | Span | memoryview | None:
        return self._raw(self._walk.members.get(b"params"))

    @property
    def result(self) -> bytes | Span | memoryview | None:
        return self._raw(self._walk.members.get(b"result"))

    @property
    def error(self) -> bytes | Span | memoryview | None:
        return self._raw(self._walk.members.get(b"error"))

    @property
    def arguments(self) -> bytes | Span | memoryview | None:
        """`params.arguments`."""
        return self._raw(self._walk.params.get(b"arguments"))

    @property
    def meta(self) -> bytes | Span | memoryview | None:
        """`params._meta` or `result._meta`. ParseError when a result that was not validated is bad."""
        result = self._walk.members.get(b"result")
        return self._raw(self._walk.params.get(b"_meta") if result is None else self._find_meta(result))

    @property
    def uri(self) -> str | None:
        """`params.uri`, when it is a string."""
        self._check()
        return decode_text(self._walk.text(self._walk.params.get(b"uri")))

    @property
    def extra_params(self) -> bool:
        """Whether params has members other than name, uri, arguments and _meta."""
        return self._walk.extra

    def items(self) -> list[bytes | Span | memoryview]:
        """Return the JSON text of each message of a batch."""
        if self.kind is not Kind.BATCH:
            raise ValueError(f"Expected a batch, got a {self.kind.name.lower()}")
        self._check()
        if self._walk.walker.at(self._walk.start) != b"[":
            raise ValueError("Envelope was released")
        walker = Walker(self._walk.data)
        found: list[bytes | Span | memoryview] = []
        pos = self._walk.start
        while walker.at(pos) != b"]":  # at the `[`, and then at each comma
            start = walker.skip_space(pos + 1)
            stop = walker.skip_value(start)
            found.append(self._view(slice(start, stop)))
            pos = walker.skip_space(stop)
            if pos >= self._walk.stop or walker.at(pos) not in (b",", b"]"):
                got = walker.data[pos] if pos < len(walker.data) else None
                raise fault_error(Fault.EXPECTED_COMMA_OR_BRACKET, pos, got=got)
        return found

    def release(self) -> None:
        """Let go of the frame: its bodies read as absent from then on; kind, id, method, name and size stay."""
        id_member = b"" if self.id is None else b',"id":' + self.id
        self._frame = b'{"jsonrpc":"2.0","method":""%b}' % id_member
        self._walk = parse(self._frame)._walk

    def __repr__(self) -> str:
        kind = self.kind.name.lower()
        what = kind if self.method is None else f"{kind} {self.method}"
        with_id = "" if self.id is None else f" id={self.id.decode()}"
        return f"<Envelope {what}{with_id}, {self.size} bytes>"

    def _raw(self, place: slice | None) -> bytes | Span | memoryview | None:
        return None if place is None else self._view(place)

    def _view(self, place: slice) -> bytes | Span | memoryview:
        self._check()
        if place.stop - place.start <= COPY_BYTES:
            return self._walk.data[place]
        if isinstance(self._frame, Span):
            return Span(self._walk.data[place])
        return memoryview(self._frame)[place]

    def _find_meta(self, result: slice) -> slice | None:
        self._check()
        walker = Walker(self._walk.data[: result.stop])
        if walker.at(result.start) != b"{":
            return None
        found = None
        pos = walker.next_member(walker.open_object(result.start), first=True)
        while not walker.closed:
            stop = walker.skip_value(pos)
            if walker.name == b"_meta":
                found = slice(pos, stop)
            pos = walker.next_member(stop, first=False)
        return found

    def _check(self) -> None:
        if isinstance(self._frame, Span) and self._frame.released:
            raise ValueError("Span was released")


@final
class MessageReader:
    """Reads newline-delimited messages from a ReceiveBuffer: framing and strict parsing in one call."""

    def __init__(
        self,
        buffer: ReceiveBuffer,
        *,
        max_bytes: int,
        max_depth: int = 128,
        max_digits: int = 400,
        max_keys: int = 10_000,
    ) -> None:
        self._framer = LineFramer(buffer, max_bytes=max_bytes)
        self._max_depth = max_depth
        self._max_digits = max_digits
        self._max_keys = max_keys

    def read(self) -> list[Envelope | RemoteProtocolError]:
        """Return all complete messages in the buffer, in order; a bad one as the exception."""
        messages: list[Envelope | RemoteProtocolError] = []
        while True:
            try:
                line = self._framer.next()
                if line is None:
                    return messages
                messages.append(
                    parse(
                        line,
                        max_depth=self._max_depth,
                        max_digits=self._max_digits,
                        max_keys=self._max_keys,
                    )
                )
            except RemoteProtocolError as error:
                if isinstance(error, LimitExceeded) and error.limit == "max_message_bytes":
                    error = self._identified(error)
                messages.append(error)

    def _identified(self, error: LimitExceeded) -> LimitExceeded:
        head = self._framer.head
        try:
            problem: Envelope | RemoteProtocolError = parse(head, max_depth=self._max_depth)
        except RemoteProtocolError as unfinished:
            problem = unfinished
        return identified(error, problem, head)


def find_id(data: bytes, max_digits: int) -> bytes | None:
    """Return the id of a message that a walk refused; what stands around it may be bad.

    No id is better than a wrong one: of two, neither counts, and only a well-formed string or integer does.
    """
    walker = Walker(data, unique=False)
    found: bytes | None = None
    pos = walker.skip_space(0)
    if walker.at(pos) != b"{":
        return None
    try:
        pos = walker.next_member(walker.open_object(pos), first=True)
        while not walker.closed:
            if walker.name != b"id":
                stop = walker.skip_value(pos)
            elif found is not None or walker.at(pos) in (b"{", b"["):
                return None
            else:
                walker.max_digits = min(max_digits, MAX_ID_DIGITS)
                stop = walker.validate_value(pos)
                walker.max_digits = UNLIMITED
                if not is_id(data[pos:stop]):
                    return None
                found = data[pos:stop]
            pos = walker.next_member(stop, first=False)
    except RemoteProtocolError:
        pass  # what was found before still counts
    return found


def is_id(raw: bytes) -> bool:
    """Whether the valid JSON text is a string or an integer: a number without fraction and exponent."""
    return raw[:1] == b'"' or INTEGER.fullmatch(raw) is not None


def decode_text(raw: bytes | None) -> str | None:
    """Return the string whose valid JSON text is `raw`; None when it is something else."""
    return unescape(raw[1:-1]).decode() if raw is not None and raw[:1] == b'"' else None


def refuse(expected: str, got: bytes | None, raw_id: bytes | None = None) -> InvalidMessage:
    return invalid_message(expected, None if got is None else got[:EXCERPT_BYTES], id=raw_id)
