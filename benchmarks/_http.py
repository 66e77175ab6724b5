"""What the HTTP benchmarks share: a server process, one checked request at a time, and load from wrk.

Every byte that is sent is made before the clock starts. The load generator counts what it gets and what was refused.
That the answers are right is checked before, while and after the load runs, on a connection beside it, and by their
size: all answers of a run are as long as the ones that were checked. Linux only.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httptools
import msgspec

from benchmarks._driver import CLIENT, CPUCLOCK_SCHED, LEGACY, META, MODERN, BenchmarkError
from benchmarks._peers import ROOT

LUA = Path(__file__).with_name("wrk.lua")
READY_S = 30.0
#: Seconds that a slow server gets to become warm in.
WARM_UP_S = 20.0
#: Seconds between two requests that are checked beside a load.
PROBE_S = 0.1
#: Requests of a load that differ, so that an id comes again only long after it was answered.
DISTINCT = 4096
FIRST_ID = 1000


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One way to call a tool over HTTP."""

    name: str
    title: str
    revision: str
    session: bool = False
    progress: bool = False
    #: Whether each request has a header that no other has.
    traced: bool = False


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="json", title=f"JSON answer, {MODERN}", revision=MODERN),
        Scenario(
            name="traced",
            title=f"JSON answer, a traceparent in each head, {MODERN}",
            revision=MODERN,
            traced=True,
        ),
        Scenario(
            name="sse",
            title=f"SSE answer after one progress notification, {MODERN}",
            revision=MODERN,
            progress=True,
        ),
        Scenario(name="session", title=f"JSON answer in a session, {LEGACY}", revision=LEGACY, session=True),
        Scenario(name="stateless", title=f"JSON answer without a session, {LEGACY}", revision=LEGACY),
    )
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, with the number of bytes that it took on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wire_bytes: int

    def messages(self) -> list[dict[str, object]]:
        """Return the JSON-RPC messages, whether they came as JSON or as events."""
        if self.headers.get("content-type", "").startswith("application/json"):
            return [json.loads(self.body)]
        events = self.body.replace(b"\r\n", b"\n").split(b"\n\n")
        found = []
        for event in events:
            data = b"\n".join(line[5:].lstrip() for line in event.split(b"\n") if line.startswith(b"data:"))
            if data:
                found.append(json.loads(data))
        return found


def post(port: int, message: Mapping[str, object], headers: Mapping[str, str]) -> bytes:
    """Encode one message as an HTTP/1.1 request, with the headers that each of ours has."""
    body = msgspec.json.encode(message)
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        **headers,
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body


class Talker:
    """One keep-alive connection that sends a request, reads the whole answer, and remembers nothing."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=READY_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._complete = False

    def __enter__(self) -> "Talker":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._complete = True

    def exchange(self, request: bytes) -> Answer:
        self._headers, self._body, self._complete = {}, [], False
        parser = httptools.HttpResponseParser(self)
        size = 0
        try:
            self._socket.sendall(request)
            while not self._complete:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise BenchmarkError("The server closed the connection instead of an answer")
                size += len(data)
                parser.feed_data(data)
        except (OSError, httptools.HttpParserError) as error:
            raise BenchmarkError(f"Expected an answer, got {type(error).__name__}: {error}") from error
        return Answer(parser.get_status_code(), self._headers, b"".join(self._body), size)

    def open_session(self, port: int) -> str:
        """Do the legacy handshake and return the id of the session."""
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        answer = self.exchange(post(port, message, {}))
        session = answer.headers.get("mcp-session-id")
        if answer.status != 200 or session is None:
            raise BenchmarkError(f"Expected a session, got {answer.status}, {answer.body[:200]!r}")
        headers = {"Mcp-Session-Id": session, "MCP-Protocol-Version": LEGACY}
        accepted = self.exchange(
            post(port, {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers)
        )
        if not 200 <= accepted.status < 300:
            raise BenchmarkError(f"Expected 202, got {accepted.status}, {accepted.body[:200]!r}")
        return session


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What a server is asked to call, and what it has to say."""

    name: str
    arguments: Callable[[int], Mapping[str, object]]
    accepts: Callable[[int, str], bool]


def call(port: int, scenario: Scenario, tool: Tool, number: int, session: str | None) -> bytes:
    """Encode the request number ``number`` of a scenario, with all headers that its revision wants."""
    params: dict[str, object] = {"name": tool.name, "arguments": tool.arguments(number)}
    meta: dict[str, object] = {"progressToken": f"p{number}"} if scenario.progress else {}
    headers = {"MCP-Protocol-Version": scenario.revision}
    if scenario.revision == MODERN:
        meta |= META
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool.name}
    if scenario.traced:
        headers["traceparent"] = f"00-{number + 1:032x}-{number + 1:016x}-01"
    if session is not None:
        headers["Mcp-Session-Id"] = session
    if meta:
        params["_meta"] = meta
    message = {"jsonrpc": "2.0", "id": FIRST_ID + number, "method": "tools/call", "params": params}
    return post(port, message, headers)


def check(answer: Answer, scenario: Scenario, tool: Tool, number: int) -> None:
    """Raise unless ``answer`` is the right one to `call` number ``number``."""
    shown = f"{answer.status}, {answer.body[:300]!r}"
    if answer.status != 200:
        raise BenchmarkError(f"Expected 200, got {shown}")
    *before, last = answer.messages()
    progress = [message for message in before if message.get("method") == "notifications/progress"]
    if len(progress) != int(scenario.progress):
        raise BenchmarkError(f"Expected {int(scenario.progress)} progress notifications, got {shown}")
    result = last.get("result")
    if last.get("id") != FIRST_ID + number or not isinstance(result, dict) or result.get("isError"):
        raise BenchmarkError(f"Expected the result of {FIRST_ID + number}, got {shown}")
    texts = [item["text"] for item in result["content"]]
    if len(texts) != 1 or not tool.accepts(number, texts[0]):
        raise BenchmarkError(f"Wrong result of call {number}: {shown}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class HttpServer:
    """A server and the processes that it starts. Use it as a context manager: it never outlives the block."""

    def __init__(self, command: Sequence[str], *, cores: set[int], environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        usable = os.sched_getaffinity(0)
        # The child inherits the affinity: no code runs between fork and exec.
        os.sched_setaffinity(0, cores)
        try:
            self._process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=ROOT,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, usable)

    def __enter__(self) -> "HttpServer":
        return self

    def __exit__(self, *_: object) -> None:
        # Its session is a process group of its own: workers that outlive their parent go as well.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def wait_ready(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchmarkError(f"The server ended at once. {self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise BenchmarkError(f"Not listening after {READY_S:g} s. {self.last_words()}")

    def last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()[-3:]
        return "Its last words: " + " / ".join(lines) if lines else "It said nothing."

    def _pids(self) -> list[int]:
        """Return the ids of the process and of all that came from it."""
        found = [self._process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, task.read_text().split())
        return found

    def cpu_ns(self) -> int:
        """CPU time so far, user and system, of all threads of all its processes."""
        return sum(self.cpu_by_process_ns())

    def cpu_by_process_ns(self) -> list[int]:
        """The same for each process, the one that was started first."""
        # The clock of one process in nanoseconds (what clock_getcpuclockid computes).
        return [time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED) for pid in self._pids()]

    def rss_bytes(self) -> int:
        """Resident memory of all its processes."""
        total = 0
        for pid in self._pids():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
        return total * 1024


class Load(msgspec.Struct):
    """What a load generator saw of one run."""

    requests: int
    seconds: float
    bytes: int
    p50_us: float
    p99_us: float
    refused: int
    broken: int


def generator() -> str:
    """The name of the load generator of this machine."""
    return "wrk" if shutil.which("wrk") else "_http_load.py (wrk is not installed)"


def run_load(port: int, requests: Path, *, connections: int, seconds: float) -> Load:
    """Send the requests in the file ``requests`` over and over, for ``seconds``, on ``connections`` connections."""
    if shutil.which("wrk"):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
        command += ["-s", str(LUA), f"http://127.0.0.1:{port}/mcp", "--", str(requests)]
    else:
        module = "benchmarks._http_load"
        command = [sys.executable, "-m", module, str(port), str(connections), str(seconds), str(requests)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=seconds + 60)
    if done.returncode or not done.stdout.strip():
        raise BenchmarkError(f"The load generator failed: {done.stderr.strip()[-300:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Load)


class Caller:
    """One server under load in one scenario."""

    def __init__(self, server: HttpServer, scenario: Scenario, tool: Tool, *, constant: bool) -> None:
        self.server = server
        self.scenario = scenario
        self.tool = tool
        #: Its answers are always the same, right for the first request only.
        self.constant = constant
        self.sizes: set[int] = set()
        self.talker = Talker(server.port)
        self.session = self.talker.open_session(server.port) if scenario.session else None

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.talker.__exit__()

    def probe(self, number: int) -> None:
        """Make one call and check its answer."""
        request = call(self.server.port, self.scenario, self.tool, number, self.session)
        answer = self.talker.exchange(request)
        self.sizes.add(answer.wire_bytes)
        check(answer, self.scenario, self.tool, 0 if self.constant else number)

    def write_requests(self, path: Path, *, connections: int) -> None:
        """Write the requests of a load; in sessions, each connection's worth of them has a session of its own."""
        port = self.server.port
        sessions: list[str | None] = [None]
        if self.scenario.session:
            with Talker(port) as talker:
                sessions = [talker.open_session(port) for _ in range(connections)]
        with path.open("wb") as file:
            for number in range(DISTINCT):
                request = call(port, self.scenario, self.tool, number, sessions[number % len(sessions)])
                file.write(b"%d\n" % len(request) + request)

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """Go on checking answers while the block runs."""
        stop, failures = threading.Event(), list[BenchmarkError]()

        def run() -> None:
            number = 0
            while not stop.wait(PROBE_S):
                number += 1
                try:
                    self.probe(number % DISTINCT)
                except BenchmarkError as error:
                    failures.append(error)
                    return

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]

    def warm_up(self, *, connections: int, requests: int) -> None:
        """Load the server until it has answered so many requests, or has had enough time to."""
        done, deadline = 0, time.monotonic() + WARM_UP_S
        while done < requests and time.monotonic() < deadline:
            done += self.load(connections=connections, seconds=1)[0].requests

    def load(self, *, connections: int, seconds: float) -> tuple[Load, float]:
        """Run one load; return what was seen of it, and the server's CPU microseconds for each request."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "requests"
            self.write_requests(path, connections=connections)
            self.probe(0)
            with self.probing():
                cpu = self.server.cpu_ns()
                seen = run_load(self.server.port, path, connections=connections, seconds=seconds)
                cpu = self.server.cpu_ns() - cpu
            self.probe(1)
        self._judge(seen, connections)
        return seen, cpu / seen.requests / 1e3

    def _judge(self, seen: Load, connections: int) -> None:
        if seen.refused or seen.broken or not seen.requests:
            raise BenchmarkError(
                f"{seen.requests} answers, {seen.refused} of them not 200, {seen.broken} connections broken. "
                + self.server.last_words()
            )
        # One answer for each connection may have been under way at the end; events can be cut in several ways.
        least, most = min(self.sizes), max(self.sizes)
        if not self.scenario.progress and not (
            seen.requests * least <= seen.bytes <= (seen.requests + connections) * most
        ):
            raise BenchmarkError(
                f"Expected answers of {least} to {most} bytes, got {seen.bytes / seen.requests:.1f} on average"
            )
