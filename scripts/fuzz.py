"""Whatever bytes arrive, in whatever pieces: they parse, or a RemoteProtocolError says why. No other exception,
no read outside the input (which only a run under the sanitizers can see), and the two twins come to the same,
whole or split, on every instruction set.

    scripts/fuzz.py [--seconds 60] [--seed N] [--only parse,sse]

Inputs are the vectors of the tests and a few messages, cut up and put together again at random. The first one
that breaks the rule is made smaller while it still does, shown, and ends the run with status 1. `make fuzz` runs
this on the build of `make asan`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "core"))

from outcomes import describe, outcome, shown  # noqa: E402  # found by the line above

from taut.errors import RemoteProtocolError  # noqa: E402

MODULES = ("scan", "buffer", "framing", "envelope")

MESSAGES = [
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":[1,2.5e-3]}}}',
    b'{"jsonrpc":"2.0","id":"\\u0061\\ud83d\\ude00","method":"x","params":{"uri":"a\\/b","_meta":{"t":1}}}',
    b'{ "jsonrpc" : "2.0" , "method" : "notifications/progress" , "params" : { "progress" : 0.5 } }\r',
    '{"id":12345678901234567890,"result":{"_meta":{},"text":"é€😀"},"jsonrpc":"2.0"}'.encode(),
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":""}}',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"} , {"jsonrpc":"2.0","method":"x","params":{}}]',
    b'{"jsonrpc":"2.0","id":2,"result":{"text":"' + b"x" * 1100 + b'\\n"}}',
]
STRUCTURE = [*rb'{ } [ ] , : " {"a": "a":1, "id":3,'.split(), b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r"]
PARTS = rb"\ \\ \" \u \ud800 \udc00 0 - . e9 true nul id: data: event retry:5".split()
ODD_BYTES = rb"00 1f 7f 80 c080 e282 eda080 f4908080 efbbbf".split()
#: Around the sizes of blocks, of small objects and of what is copied.
RUNS = (1, 1, 2, 2, 3, 3, 15, 16, 17, 23, 24, 25, 63, 64, 65, 130, 1024, 1025)
FRAGMENTS = STRUCTURE + PARTS + [bytes.fromhex(digits.decode()) for digits in ODD_BYTES]
LIMITS = [
    {},
    {},
    {"max_depth": 3, "max_digits": 6, "max_keys": 3},
    {"max_depth": 1, "max_digits": 1, "max_keys": 1},
]

#: What a check compares: named outcomes that must all be the same.
Outcomes = Iterator[tuple[str, Any]]
Check = Callable[[list[SimpleNamespace], bytes, random.Random], Outcomes]


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default=",".join(CHECKS), help=f"comma-separated, of {', '.join(CHECKS)}")
    options = parser.parse_args()
    cores = [load(package) for package in ("taut._core", "taut._core._pure")]
    print(f"{cores[0].envelope.__file__}, seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    pool = seeds()
    ends = time.monotonic() + options.seconds
    count = 0
    while time.monotonic() < ends:
        name = rng.choice(options.only.split(","))
        cores[0].scan.set_isa(rng.choice(cores[0].scan.ISAS))
        if report := probe(name, cores, mutated(rng, pool), rng.getrandbits(64)):
            print(f"{name} on {cores[0].scan.isa()}, after {count:,} inputs: {report}")
            return 1
        count += 1
    print(f"{count:,} inputs")
    return 0


def load(package: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: import_module(f"{package}.{name}") for name in MODULES})


# ---- inputs ------------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    found = list(MESSAGES)
    for path in sorted((ROOT / "tests" / "vectors").glob("*.jsonl")):
        for line in path.read_text(encoding="ascii").splitlines():
            vector = json.loads(line)
            found.append(vector.get("bytes", vector.get("data", "")).encode("latin-1", errors="replace"))
    return found


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    data = rng.choice(pool)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        start = rng.randint(0, len(data))
        stop = min(len(data), start + rng.choice((0, 0, 1, 1, 2, 8, 64)))
        piece = rng.choice(
            (
                b"",
                rng.choice(FRAGMENTS),
                rng.choice(FRAGMENTS) * rng.choice(RUNS),
                rng.randbytes(rng.randint(1, 3)),
                2 * data[start:stop],
                rng.choice(pool),
            )
        )
        data = data[:start] + piece + data[stop:]
    return data


def smaller(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Drop what can be dropped while the rest still fails."""
    size = len(data) // 2
    while size:
        for start in range(0, len(data), size):
            rest = data[:start] + data[start + size :]
            if fails(rest):
                data = rest
                break
        else:
            size //= 2
    return data


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """Cut `data` into bytes, or at some random places."""
    if rng.random() < 0.3:
        return [data[i : i + 1] for i in range(len(data))]
    places = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(1, 6)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


# ---- checks ------------------------------------------------------------------------------------------------


def probe(name: str, cores: list[SimpleNamespace], data: bytes, state: int) -> str | None:
    """Return the smallest part of `data` that breaks the rule, and how; or None."""
    if difference(name, cores, data, state) is None:
        return None
    data = smaller(data, lambda part: difference(name, cores, part, state) is not None)
    return f"{data!r}\n{difference(name, cores, data, state)}"


def difference(name: str, cores: list[SimpleNamespace], data: bytes, state: int) -> str | None:
    """Return what goes wrong with `data`, or None."""
    found: list[tuple[str, Any]] = []
    try:
        found.extend(CHECKS[name](cores, data, random.Random(state)))
    except Exception as error:  # anything but a RemoteProtocolError, which is an outcome, is what we look for
        return f"{type(error).__name__}: {error}, after {[way for way, _ in found]}"
    first, expected = found[0]
    for way, got in found[1:]:
        if got != expected:
            return f"{first}: {expected}\n{way}: {got}"
    return None


def named(cores: list[SimpleNamespace]) -> Iterable[tuple[str, SimpleNamespace]]:
    return zip(("compiled", "pure"), cores, strict=True)


def exact(core: SimpleNamespace, data: bytes) -> Any:
    """A Span right at the end of its memory, where one byte too many is a fault."""
    buffer = core.buffer.ReceiveBuffer(initial=max(len(data), 1))
    buffer.feed(data)
    return buffer.take(len(data))


def check_validate(cores: list[SimpleNamespace], data: bytes, rng: random.Random) -> Outcomes:
    limits = rng.choice(LIMITS)
    for name, core in named(cores):
        yield name, outcome(core.scan.validate, exact(core, data), **limits)


def check_skip(cores: list[SimpleNamespace], data: bytes, rng: random.Random) -> Outcomes:
    start = rng.choice((0, 0, rng.randint(0, len(data))))
    for name, core in named(cores):
        yield name, outcome(core.scan.skip_value, exact(core, data), start)


def check_parse(cores: list[SimpleNamespace], data: bytes, rng: random.Random) -> Outcomes:
    options = {"strict": rng.random() < 0.6, **rng.choice(LIMITS)}
    for name, core in named(cores):
        for way, frame in (("bytes", data), ("span", exact(core, data))):
            yield f"{name} {way}", plain(outcome(core.envelope.parse, frame, **options))


def check_read(cores: list[SimpleNamespace], data: bytes, rng: random.Random) -> Outcomes:
    limits = {"max_bytes": rng.choice((1, 16, 64, 4096)), **rng.choice(LIMITS)}
    split = pieces(rng, data)
    for name, core in named(cores):
        for way, parts in (("whole", [data]), ("split", split)):
            buffer = core.buffer.ReceiveBuffer(initial=rng.choice((1, 16, 65536)))
            reader = core.envelope.MessageReader(buffer, **limits)
            messages: list[Any] = []
            for part in parts:
                buffer.feed(part)
                messages += [plain(("returned", message)) for message in reader.read()]
            yield f"{name} {way}", messages


def check_sse(cores: list[SimpleNamespace], data: bytes, rng: random.Random) -> Outcomes:
    max_bytes = rng.choice((1, 4, 8, 32, 4096))
    split = pieces(rng, data)
    for name, core in named(cores):
        for way, parts in (("whole", [data]), ("split", split)):
            parser = core.framing.SSEParser(max_bytes=max_bytes)
            events = [event for part in parts for event in received(parser, part)]
            # One call returns up to the next refusal: at most as many are left as the input has bytes.
            events += [event for _ in data for event in received(parser, b"")]
            yield f"{name} {way}", (events, parser.last_event_id, parser.retry)


def received(parser: Any, piece: bytes) -> list[Any]:
    try:
        return [(event.event, event.data, event.id, event.retry) for event in parser.feed(piece)]
    except RemoteProtocolError as error:
        return [describe(error)]


def plain(result: tuple[Any, ...]) -> Any:
    """Make an outcome comparable: bodies as bytes, envelopes as what they show."""
    match result:
        case ("returned", RemoteProtocolError() as error):
            return describe(error)
        case ("returned", envelope):
            return [as_bytes(value) for value in shown(envelope)]
    return result


def as_bytes(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [as_bytes(item) for item in value]
    return value if isinstance(value, int | str | None) else bytes(value)


CHECKS: dict[str, Check] = {
    "validate": check_validate,
    "skip": check_skip,
    "parse": check_parse,
    "read": check_read,
    "sse": check_sse,
}

if __name__ == "__main__":
    sys.exit(main())
