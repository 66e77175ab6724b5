"""Processes that share a file, that are killed while they write, and that have no room to write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agent.state.stores import environment, numbered, ring, rows
from faults.loops import Run
from taut.agent.state import SQLiteBlobStore, SQLiteCheckpointStore, SQLiteConversationStore
from taut.crypto import KeyRing

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX"),
]

WRITER = """
import asyncio, sys
from agent.state.stores import numbered, ring
from agent.state.test_checkpoints import checkpoint
from taut.agent.state import SQLiteBlobStore, SQLiteCheckpointStore, SQLiteConversationStore

async def main(path, keys):
    conversations = SQLiteConversationStore(path, keys=keys)
    checkpoints = SQLiteCheckpointStore(path, keys=keys)
    blobs = SQLiteBlobStore(path, keys=keys)
    number = 0
    while True:
        await conversations.append("a", numbered(3, 3 * number), expected=3 * number)
        await checkpoints.save(checkpoint(), b"state" * number, expected=number)
        await blobs.put(b"blob %d " % number * 50_000, name=str(number))
        number += 1
        print(number, flush=True)

asyncio.run(main(sys.argv[1], ring() if sys.argv[2] == "sealed" else None))
"""

SHARER = """
import asyncio, sys
from taut.agent.state import Conflict, SQLiteConversationStore
from taut.llm.messages import user

async def main(path, name):
    store = SQLiteConversationStore(path, busy_s=30)
    sys.stdin.readline()
    for number in range(20):
        while True:
            seen = len(await store.load("a"))
            try:
                await store.append("a", [user(f"{name} {number}"), user("")], expected=seen)
                break
            except Conflict:
                pass
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""

# The limit is one on the size of files; Python ignores the signal that comes with it.
FULL = """
import asyncio, resource, sys
from taut.agent.state import SQLiteConversationStore
from taut.errors import ConfigError
from taut.llm.messages import user

async def main(path):
    store = SQLiteConversationStore(path)
    seen = await store.append("a", [user("x" * 1_000)], expected=0)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    try:
        while True:
            seen = await store.append("a", [user("x" * 50_000)], expected=seen)
    except ConfigError as error:
        print(error)
    assert len(await store.load("a")) == seen
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert await store.append("a", [user("room again")], expected=seen) == seen + 1
    await store.close()
    print(seen + 1)

asyncio.run(main(*sys.argv[1:]))
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kind", ["plain", "sealed"])
@pytest.mark.parametrize("rounds", [1, 7])
def test_what_was_written_outlives_a_process_that_is_killed(
    run: Run, tmp_path: Path, kind: str, rounds: int
) -> None:
    path = tmp_path / "state.db"
    with start(WRITER, str(path), kind) as child:
        assert child.stdout is not None
        for number in range(1, rounds + 1):
            assert child.stdout.readline() == f"{number}\n"
        # It is in the middle of the next one, or of one after it.
        child.kill()
        rest = child.stdout.read().splitlines()
    told = rounds + len(rest)

    async def main(keys: KeyRing | None) -> None:
        conversations = SQLiteConversationStore(path, keys=keys)
        said = await conversations.load("a")
        assert len(said) in (3 * told, 3 * told + 3)
        assert said == numbered(len(said))
        checkpoints = SQLiteCheckpointStore(path, keys=keys)
        found = await checkpoints.load("r")
        assert found is not None
        assert found[0].version in (told, told + 1)
        assert found[1] == b"state" * (found[0].version - 1)
        blobs = SQLiteBlobStore(path, keys=keys)
        for number in range(told):
            blob = await blobs.put(b"blob %d " % number * 50_000, name=str(number))
            assert await blobs.get(blob.id) == b"blob %d " % number * 50_000
        # Putting them again has found each of them; one more may have been written before the end was told.
        assert len(rows(path, "SELECT 1 FROM blobs")) in (told, told + 1)
        for store in (conversations, checkpoints, blobs):
            await store.close()

    run(main(ring() if kind == "sealed" else None))


def test_processes_write_to_one_conversation(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    children = [start(SHARER, str(path), name) for name in ("one", "two", "three")]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=50)
        assert child.returncode == 0

    async def main() -> None:
        store = SQLiteConversationStore(path)
        said = [message.text for message in await store.load("a")]
        await store.close()
        assert said[1::2] == [""] * 60
        for name in ("one", "two", "three"):
            assert [one for one in said if one.startswith(name)] == [f"{name} {n}" for n in range(20)]

    run(main())


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with start(FULL, str(path)) as child:
        out, _ = child.communicate(timeout=50)
    assert child.returncode == 0
    said, messages = out.splitlines()
    assert said.startswith(f"Cannot keep conversations in {path}: ")
    assert "disk" in said

    async def main() -> None:
        store = SQLiteConversationStore(path)
        assert len(await store.load("a")) == int(messages)
        await store.close()

    asyncio.run(main())
