"""A protocol class of uvicorn that takes in every request and has one answer: the floor of our own."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY = (
    b'{"jsonrpc":"2.0","id":1000,"result":{"content":[{"type":"text","text":"17"}],"isError":false,'
    b'"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench","version":"1.0"}}}}'
)
FIELDS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
HEAD = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%s: %s\r\n" % field for field in FIELDS) + b"\r\n"
ANSWER = HEAD + BODY


class UvicornFloor(HttpToolsProtocol):
    """Takes in headers and body as any server has to, and has one answer."""

    def on_message_begin(self) -> None:
        self.headers = []
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Nothing to decide."""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.transport.write(ANSWER)
