"""What the endpoint wants to know of a request's headers, from one pass over them; and what it has found before.

Most headers say nothing here, such as those that trace a request and are others each time. `Heads` remembers a head by
the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from taut.mcp.http.reply import Reply, refusal

__all__ = ["Head", "Headers", "Heads", "read_head"]

#: Names and values; repeated names are listed as often as they came.
Headers = Iterable[tuple[bytes, bytes]]
Fields = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
EVENTS = b"text/event-stream"
#: What nearly every client sends, letter for letter.
USUAL_ACCEPT = b"application/json, text/event-stream"
_KNOWN = frozenset(
    {
        b"host",
        b"origin",
        b"content-type",
        b"content-length",
        b"accept",
        b"authorization",
        b"expect",
        b"last-event-id",
    }
)
#: Heads that are remembered, and the longest of them in bytes: at most 2 MiB.
MAX_HEADS = 1024
MAX_HEAD_BYTES = 2048
#: Names of headers that say nothing which are remembered, and the longest of them in bytes.
MAX_SILENT = 256
MAX_SILENT_BYTES = 64


class Head:
    """The headers of a request that matter here, by lower-case name."""

    __slots__ = ("agreed", "known", "legacy", "method", "principal", "repeated")

    def __init__(self) -> None:
        self.known: dict[bytes, bytes] = {}
        self.method = "POST"
        #: Whether the revision that it names is a legacy one, or none is named.
        self.legacy = False
        #: Whom the request comes from; empty where nobody asks, None while it is not known.
        self.principal: str | None = ""
        #: A header that came twice and has no business to: intermediaries may have read the other one.
        self.repeated: bytes | None = None
        #: What a body has said in agreement with this head: one that says it again is not compared again.
        self.agreed: tuple[str | None, ...] = ()

    @property
    def content_length(self) -> int | None:
        """The declared size of the body; the HTTP server has checked it."""
        length = self.known.get(b"content-length")
        return int(length) if length is not None and length.isdigit() else None

    @property
    def expects(self) -> bool:
        """Whether the client waits to be told to send the body (RFC 9110, section 10.1.1)."""
        return self.known.get(b"expect", b"").lower() == b"100-continue"

    def refuse_types(self) -> Reply | None:
        """Return the refusal of a body that is not JSON, or of a client that cannot read the answer."""
        known = self.known
        content_type = known.get(b"content-type")
        if content_type != JSON and not _is_json(content_type):
            shown = "none" if content_type is None else content_type[:100].decode("latin-1")
            return refusal(415, f"Expected Content-Type application/json, got {shown}")
        accept = known.get(b"accept")
        if accept != USUAL_ACCEPT and not _accepts(accept) and not (accept is None and self.legacy):
            shown = "none" if accept is None else accept[:100].decode("latin-1")
            return refusal(406, f"Expected Accept with application/json and text/event-stream, got {shown}")
        return None

    def refuse_listener(self) -> Reply | None:
        """Return the refusal of a client that asks for a stream and cannot read it."""
        accept = self.known.get(b"accept")
        if accept is None or not _ranges(accept).isdisjoint((EVENTS, b"text/*", b"*/*")):
            return None
        return refusal(406, f"Expected Accept with text/event-stream, got {accept[:100].decode('latin-1')}")


class Heads:
    """Good heads that came before, by the headers that say something."""

    def __init__(self) -> None:
        self._heads: dict[Fields, Head] = {}
        #: Names that say nothing, as they were spelled.
        self._silent: set[bytes] = set()

    def find(self, headers: Headers) -> tuple[Head | None, Fields]:
        """Return what is remembered of ``headers``, and those that it would be remembered by."""
        silent = self._silent
        said = tuple([field for field in headers if field[0] not in silent])
        try:
            return self._heads.get(said), said
        except TypeError:  # of a server whose fields are lists
            said = tuple([(name, value) for name, value in said])
            return self._heads.get(said), said

    def keep(self, said: Fields, head: Head) -> None:
        """Remember a head by what `find` has returned beside it."""
        silent = self._silent
        for name, _ in said:
            if not _says(name.lower()) and len(name) <= MAX_SILENT_BYTES:
                if len(silent) >= MAX_SILENT:
                    silent.clear()
                silent.add(name)
        said = tuple([field for field in said if field[0] not in silent])
        if sum([len(name) + len(value) for name, value in said]) <= MAX_HEAD_BYTES:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[said] = head


def read_head(headers: Headers) -> Head:
    """Read ``headers``; none of them is judged."""
    head = Head()
    known = head.known
    for spelled, value in headers:
        name = spelled.lower()
        if not _says(name):
            continue
        if name not in known:
            known[name] = value
        elif name == b"accept":
            known[name] += b"," + value
        else:
            head.repeated = name
    return head


def _says(name: bytes) -> bool:
    """Whether a header says something to an endpoint."""
    return name in _KNOWN or name.startswith(b"mcp-")


def _is_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return False
    media, _, parameters = content_type.lower().partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"")
    return media.strip() == JSON and (b"charset=" not in charset or b"charset=utf-8" in charset)


def _accepts(accept: bytes | None) -> bool:
    """Whether both types are acceptable; a wildcard stands for what it covers."""
    if accept is None:
        return False
    ranges = _ranges(accept)
    return b"*/*" in ranges or (
        not ranges.isdisjoint((JSON, b"application/*")) and not ranges.isdisjoint((EVENTS, b"text/*"))
    )


def _ranges(accept: bytes) -> set[bytes]:
    ranges = set()
    for item in accept.lower().split(b","):
        media, *parameters = (part.strip() for part in item.split(b";"))
        if not any(part.startswith(b"q=0") and not part.strip(b"q=0.") for part in parameters):
            ranges.add(media)
    return ranges
