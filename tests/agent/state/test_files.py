"""The files of state: whose they are, what they are sealed with, and what becomes of those that were changed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.state.stores import DIALOGUE, KEY, OTHER_KEY, numbered, ring, rows
from agent.state.test_checkpoints import checkpoint
from faults.loops import Run
from taut.agent.state import (
    SQLiteBlobStore,
    SQLiteCheckpointStore,
    SQLiteConversationStore,
    password_keys,
    reseal,
)
from taut.crypto import Forged, KeyRing, Scrypt, UnknownKey, WrongPassword
from taut.errors import ConfigError
from taut.llm.messages import user
from taut.server import SQLiteTaskStore

STORES = (SQLiteConversationStore, SQLiteCheckpointStore, SQLiteBlobStore)
SECRETS = (
    b"Bern",
    b"weather",
    b"approval of the budget",
    b"state of the run",
    b"blob of data",
    b"text/secret",
)
CHEAP = Scrypt(2**14)

Keys = KeyRing | None


class State:
    """All three stores, in one file."""

    def __init__(self, path: Path, keys: Keys = None) -> None:
        self.conversations = SQLiteConversationStore(path, keys=keys)
        self.checkpoints = SQLiteCheckpointStore(path, keys=keys)
        self.blobs = SQLiteBlobStore(path, keys=keys)

    async def fill(self) -> str:
        """Put something into each store; return the id of the blob."""
        await self.conversations.append("a", DIALOGUE, expected=0)
        given = checkpoint(waiting=("approval of the budget",))
        await self.checkpoints.save(given, b"state of the run")
        blob = await self.blobs.put(b"blob of data" * 30_000, mime_type="text/secret", name="Bern")
        return blob.id

    async def check(self, blob_id: str) -> None:
        """Find it again."""
        assert await self.conversations.load("a") == DIALOGUE
        found = await self.checkpoints.load("r")
        assert found is not None
        assert (found[0].waiting, found[1]) == (("approval of the budget",), b"state of the run")
        assert await self.blobs.get(blob_id) == b"blob of data" * 30_000
        assert (
            await self.blobs.put(b"blob of data" * 30_000, mime_type="text/secret", name="Bern")
        ).id == blob_id

    def reads(self, blob_id: str) -> list[Awaitable[Any]]:
        """Return what reads each store."""
        return [
            self.conversations.load("a"),
            self.checkpoints.load("r"),
            self.checkpoints.list(),
            self.blobs.get(blob_id),
            self.blobs.find(blob_id),
        ]

    async def close(self) -> None:
        for one in (self.conversations, self.checkpoints, self.blobs):
            await one.close()


async def filled(path: Path, keys: Keys = None) -> str:
    state = State(path, keys)
    blob_id = await state.fill()
    await state.close()
    return blob_id


def all_of(folder: Path) -> bytes:
    """Return what is on the disk, the journal as well."""
    return b"".join(one.read_bytes() for one in folder.iterdir())


async def refused(path: Path, keys: Keys, error: type[Exception], said: str) -> None:
    """Check that neither reading nor writing gets anywhere."""
    state = State(path, keys)
    writes: list[Callable[[], Awaitable[Any]]] = [
        lambda: state.conversations.append("a", numbered(1), expected=None),
        lambda: state.checkpoints.save(checkpoint(), b"x"),
        lambda: state.blobs.put(b"x"),
        lambda: state.conversations.sessions(),
        lambda: state.conversations.clear("a"),
    ]
    for read in state.reads("x"):
        with pytest.raises(error, match=said):
            await read
    for write in writes:
        with pytest.raises(error, match=said):
            await write()
    await state.close()


@pytest.mark.parametrize("keys", [None, ring()], ids=["plain", "sealed"])
def test_one_file_holds_everything(run: Run, tmp_path: Path, keys: Keys) -> None:
    async def main() -> None:
        path = tmp_path / "state.db"
        state = State(path, keys)
        blob_id = await state.fill()
        await state.check(blob_id)
        modes = {one.name: one.stat().st_mode & 0o777 for one in os.scandir(tmp_path)}
        assert set(modes.values()) == {0o600}, modes
        await state.close()
        again = State(path, keys)
        await again.check(blob_id)
        await again.close()
        kept = all_of(tmp_path)
        assert [secret in kept for secret in SECRETS] == [keys is None] * len(SECRETS)

    run(main())


class TestRefusals:
    @pytest.mark.parametrize("store", STORES)
    def test_a_file_that_cannot_be(self, run: Run, tmp_path: Path, store: type[Any]) -> None:
        text, later, foreign = tmp_path / "text", tmp_path / "later", tmp_path / "foreign"
        text.write_text("no database" * 100)
        older = tmp_path / "older"
        rows(later, "PRAGMA user_version = 7")
        rows(later, "PRAGMA application_id = 0x74617574")
        rows(older, "PRAGMA user_version = 0")
        rows(older, "PRAGMA application_id = 0x74617574")
        rows(foreign, "CREATE TABLE addresses (name TEXT)")

        async def main() -> None:
            tasks = SQLiteTaskStore(tmp_path / "tasks")
            await tasks.get("x")
            await tasks.close()
            for path, said in (
                (text, "not a database"),
                (later, "expected version 1, got 7"),
                (older, "expected version 1, got 0"),
                (foreign, "got one with other tables"),
                (tmp_path / "tasks", "expected application 1952544116, got 0"),
                (tmp_path, "Is a directory"),
                (text / "below", "Not a directory"),
                (tmp_path / "nowhere" / "state.db", "No such file"),
            ):
                one = store(path)
                read = one.find if store is SQLiteBlobStore else one.load
                for _ in range(2):
                    with pytest.raises(ConfigError, match=rf"Cannot keep \w+ in {path}: .*{said}"):
                        await read("a")
                await one.close()

        run(main())
        assert rows(foreign, "SELECT name FROM sqlite_schema") == [("addresses",)]
        assert not (tmp_path / "nowhere").exists()

    def test_a_file_of_the_tasks_is_not_confused_either(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            await filled(tmp_path / "state.db")
            tasks = SQLiteTaskStore(tmp_path / "state.db")
            with pytest.raises(ConfigError, match="expected application 0"):
                await tasks.get("x")
            await tasks.close()

        run(main())

    def test_other_keys(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            blob_id = await filled(path, ring())
            said = (
                f"{path}: Expected .* one of the keys {KeyRing(OTHER_KEY).key_id}, got one of {ring().key_id}"
            )
            await refused(path, KeyRing(OTHER_KEY), UnknownKey, said)
            await refused(path, None, ConfigError, f"{path} is sealed: expected keys, got none")
            state = State(path, KeyRing(OTHER_KEY, KEY))
            await state.check(blob_id)
            await state.close()

        run(main())

    def test_keys_for_a_file_that_is_not_sealed(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            blob_id = await filled(path)
            await refused(path, ring(), ConfigError, f"{path}: it is not sealed; expected no keys")
            state = State(path)
            await state.check(blob_id)
            await state.close()

        run(main())

    def test_a_file_that_another_process_locks(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            store = SQLiteConversationStore(path, busy_s=0.01)
            await store.append("a", numbered(1), expected=0)
            file = sqlite3.connect(path, isolation_level=None)
            file.execute("BEGIN IMMEDIATE")
            with pytest.raises(ConfigError, match=f"Cannot keep conversations in {path}: database is locked"):
                await store.append("a", numbered(1), expected=1)
            assert await store.load("a") == numbered(1)
            file.close()
            assert await store.append("a", numbered(1, 1), expected=1) == 2
            await store.close()

        run(main())


class TestDamage:
    @pytest.mark.parametrize(
        "changes",
        [
            "UPDATE messages SET body = (SELECT body FROM messages WHERE position = 1) WHERE position = 0",
            "UPDATE messages SET position = 9 - position; UPDATE messages SET position = position - 6",
            "UPDATE messages SET session = session + 2; UPDATE messages SET session = 5 - session",
            "UPDATE sessions SET session = session || 'b'",
            "UPDATE messages SET body = substr(body, 1, length(body) - 1)",
            "UPDATE messages SET body = CAST(x'00' || body AS BLOB)",
            "UPDATE messages SET body = x'0082a4726f6c65a475736572a7636f6e74656e7490'",
            "UPDATE messages SET body = 'text'",
            "UPDATE messages SET body = (SELECT checkpoint FROM runs)",
            "DELETE FROM messages WHERE position = 0",
            "DELETE FROM messages WHERE position = 3",
            "UPDATE sessions SET messages = 0",
        ],
    )
    def test_messages_cannot_be_exchanged(self, run: Run, tmp_path: Path, changes: str) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            state = State(path, ring())
            await state.fill()
            await state.conversations.append("b", numbered(4), expected=0)
            for change in changes.split(";"):
                rows(path, change)
            for (name,) in rows(path, "SELECT session FROM sessions"):
                with pytest.raises((Forged, ConfigError), match=f"(message|conversation) '{name}'"):
                    await state.conversations.load(name)
            await state.close()

        run(main())

    @pytest.mark.parametrize(
        ("change", "error", "said"),
        [
            ("UPDATE runs SET state = (SELECT state FROM runs WHERE run_id = 's')", Forged, "state 'r', 1"),
            ("UPDATE runs SET state = x'00'", Forged, "state 'r', 1"),
            (
                "UPDATE runs SET checkpoint = (SELECT checkpoint FROM runs WHERE run_id = 's')",
                Forged,
                "checkpoint 'r'",
            ),
        ],
    )
    def test_runs_cannot_be_exchanged(
        self, run: Run, tmp_path: Path, change: str, error: type[Exception], said: str
    ) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            state = State(path, ring())
            await state.fill()
            await state.checkpoints.save(checkpoint("s"), b"other")
            rows(path, change + " WHERE run_id = 'r'")
            with pytest.raises(error, match=said):
                await state.checkpoints.load("r")
            await state.close()

        run(main())

    def test_an_older_state_does_not_fit_a_newer_checkpoint(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            store = SQLiteCheckpointStore(path, keys=ring())
            await store.save(checkpoint(), b"before it was paid")
            ((old,),) = rows(path, "SELECT state FROM runs")
            await store.save(checkpoint(), b"after it was paid")
            rows(path, "UPDATE runs SET state = ?", old)
            with pytest.raises(Forged, match="state 'r', 2"):
                await store.load("r")
            await store.close()

        run(main())

    def test_chunks_cannot_be_exchanged(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            store = SQLiteBlobStore(path, keys=ring())
            blob = await store.put(b"x" * 600_000)
            ((first,), *_) = rows(path, "SELECT body FROM chunks ORDER BY number")
            rows(path, "UPDATE chunks SET body = ? WHERE number = 1", first)
            with pytest.raises(Forged, match=f"chunk '{blob.id}', 1"):
                await store.get(blob.id)
            assert await store.get(blob.id, 0, 10) == b"x" * 10
            rows(path, "DELETE FROM chunks WHERE number = 1")
            with pytest.raises(ConfigError, match="damaged: expected 600000 bytes at 0, got"):
                await store.get(blob.id)
            await store.close()

        run(main())

    @pytest.mark.parametrize("body", [b"", b"\0", b"\0{", b"\0\x82", b"\0nothing", b"\0\x93\x01\x02\x03"])
    def test_what_is_no_message_is_named(self, run: Run, tmp_path: Path, body: bytes) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            state = State(path)
            blob_id = await state.fill()
            rows(path, "UPDATE messages SET body = ? WHERE position = 2", body)
            rows(path, "UPDATE runs SET checkpoint = ?", body)
            rows(path, "UPDATE blobs SET description = ?", body)
            for read, said in zip(
                state.reads(blob_id),
                ("message 'a', 2|at 2", "'r'", "'r'", blob_id, blob_id),
                strict=True,
            ):
                with pytest.raises(ConfigError, match=said):
                    await read
            await state.close()

        run(main())


class TestRotation:
    def test_keys_change_while_everything_is_open(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            keys = ring()
            state = State(path, keys)
            blob_id = await state.fill()
            keys.rotate(OTHER_KEY)
            await state.check(blob_id)
            await state.conversations.append("b", numbered(2), expected=0)

            # The mark, 4 messages, a checkpoint and its state, the secret, a description and its two chunks.
            assert await reseal(path, keys) == 10
            assert await reseal(path, keys) == 0
            await state.check(blob_id)
            await state.close()
            await refused(path, ring(), UnknownKey, str(path))
            alone = State(path, KeyRing(OTHER_KEY))
            await alone.check(blob_id)
            assert await alone.conversations.load("b") == numbered(2)
            await alone.close()

        run(main())

    def test_who_has_not_the_new_key_notices_when_it_changes(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            late = State(path, ring())
            await late.fill()
            await reseal(path, KeyRing(OTHER_KEY, KEY))
            with pytest.raises(UnknownKey, match=str(path)):
                await late.conversations.append("a", [user("lost")], expected=None)
            with pytest.raises(UnknownKey, match=str(path)):
                await late.blobs.put(b"lost")
            await late.close()

        run(main())

    def test_without_the_old_key_nothing_changes(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            blob_id = await filled(path, ring())
            with pytest.raises(UnknownKey, match=str(path)):
                await reseal(path, KeyRing(OTHER_KEY))
            ((old,),) = rows(path, "SELECT body FROM messages WHERE position = 2")
            rows(path, "UPDATE messages SET body = ? WHERE position = 2", old[:-1] + b"?")
            with pytest.raises(Forged, match="message 'a', 2"):
                await reseal(path, KeyRing(OTHER_KEY, KEY))
            rows(path, "UPDATE messages SET body = ? WHERE position = 2", old)
            state = State(path, ring())
            await state.check(blob_id)
            await state.close()

        run(main())

    def test_a_plain_file_is_sealed_and_nothing_plain_is_left(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            blob_id = await filled(path)
            with pytest.raises(ConfigError, match="expected from_plain=True"):
                await reseal(path, ring())
            late = State(path)
            await late.check(blob_id)
            assert await reseal(path, ring(), from_plain=True) == 10
            kept = all_of(tmp_path)
            assert [secret for secret in SECRETS if secret in kept] == []
            with pytest.raises(ConfigError, match="is sealed: expected keys, got none"):
                await late.conversations.append("a", [user("plain")], expected=None)
            await late.close()
            state = State(path, ring())
            await state.check(blob_id)
            await state.close()
            with pytest.raises(ConfigError, match="is sealed"):
                await reseal(path, ring(), from_plain=True)

        run(main())

    def test_what_cannot_be_wiped_is_said(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "state.db"

        async def main() -> None:
            blob_id = await filled(path, ring())
            reader = sqlite3.connect(path, isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM messages").fetchone()
            keys = KeyRing(OTHER_KEY, KEY)
            with pytest.raises(ConfigError, match=r"locked|cannot be wiped"):
                await reseal(path, keys, busy_s=0.01)
            reader.close()
            assert await reseal(path, keys) == 0
            state = State(path, KeyRing(OTHER_KEY))
            await state.check(blob_id)
            await state.close()

        run(main())


class TestPasswords:
    def test_the_password_alone_opens_the_file(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            blob_id = await filled(path, await password_keys(path, "correct horse", kdf=CHEAP))
            state = State(path, await password_keys(path, "correct horse"))
            await state.check(blob_id)
            await state.close()
            with pytest.raises(WrongPassword):
                await password_keys(path, "battery staple")
            await refused(path, ring(), UnknownKey, str(path))

        run(main())

    def test_who_comes_first_makes_the_key(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            made = await asyncio.gather(*(password_keys(path, "p", kdf=CHEAP) for _ in range(4)))
            assert len({keys.key_id for keys in made}) == 1

        run(main())

    def test_a_file_without_a_password_gets_none_by_opening_it(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            for name, keys in (("plain", None), ("sealed", ring())):
                path = tmp_path / name
                await filled(path, keys)
                with pytest.raises(
                    ConfigError, match=f"{path}: expected a file that was made with a password"
                ):
                    await password_keys(path, "p")

        run(main())

    def test_without_cryptography_it_is_said_what_to_install(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "taut.crypto", None)

        async def main() -> None:
            with pytest.raises(ConfigError, match=r"pip install 'taut\[crypto\]'"):
                await password_keys(tmp_path / "state.db", "p")

        run(main())
        assert not (tmp_path / "state.db").exists()

    def test_a_password_is_changed(self, run: Run, tmp_path: Path) -> None:
        async def main() -> None:
            path = tmp_path / "state.db"
            keys = await password_keys(path, "old", kdf=CHEAP)
            blob_id = await filled(path, keys)
            keys.rotate(KeyRing.from_password("new", kdf=CHEAP))
            assert await reseal(path, keys) == 10
            with pytest.raises(WrongPassword):
                await password_keys(path, "old")
            state = State(path, await password_keys(path, "new"))
            await state.check(blob_id)
            await state.close()
            # From a password to a key.
            keys.rotate(OTHER_KEY)
            await reseal(path, keys)
            with pytest.raises(ConfigError, match="made with a password"):
                await password_keys(path, "new")
            state = State(path, KeyRing(OTHER_KEY))
            await state.check(blob_id)
            await state.close()

        run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_opens_the_file_for_itself(run: Run, tmp_path: Path) -> None:
    store = SQLiteConversationStore(tmp_path / "state.db")
    run(store.append("a", numbered(1), expected=0))
    pid = os.fork()
    if pid == 0:
        found = asyncio.run(store.append("a", numbered(1, 1), expected=1))
        os._exit(0 if found == 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    pid = os.fork()
    if pid == 0:
        asyncio.run(store.close())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert run(store.load("a")) == numbered(2)
    run(store.close())
