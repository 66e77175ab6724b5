"""The bytes of an HTTP/1.1 answer that is whole."""

from __future__ import annotations

from http import HTTPStatus

from taut.mcp.http.reply import Reply

__all__ = ["CONTINUE", "LARGE_BYTES", "Answers"]

#: Bytes of a body that is written apart from its head: to copy it would cost more than a second write.
LARGE_BYTES = 64 * 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

Defaults = list[tuple[bytes, bytes]]


class Answers:
    """Makes them; ``defaults`` are the fields of every answer, a new list whenever the date is another."""

    def __init__(self) -> None:
        self._defaults: Defaults | None = None
        self._fields = b""
        self._usual = b""

    def encode(self, reply: Reply, keep_alive: bool, defaults: Defaults) -> bytes:
        """Return head and body of ``reply``; the head alone if the body is longer than `LARGE_BYTES`."""
        if defaults is not self._defaults:
            self._renew(defaults)
        body = reply.body if len(reply.body) <= LARGE_BYTES else b""
        if reply.status == 200 and keep_alive and not reply.headers and body:
            return b"%b%d\r\n\r\n%b" % (self._usual, len(body), body)
        fields = [b"%b: %b\r\n" % field for field in reply.fields()]
        if not keep_alive:
            fields.append(b"connection: close\r\n")
        return b"".join((_STATUS[reply.status], self._fields, *fields, b"\r\n", body))

    def _renew(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._fields = b"".join([b"%b: %b\r\n" % field for field in defaults])
        self._usual = _STATUS[200] + self._fields + b"content-type: application/json\r\ncontent-length: "
