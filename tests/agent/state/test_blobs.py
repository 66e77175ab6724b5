"""What every store of blobs does."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.state.stores import KINDS, ring
from faults.loops import Run
from taut.agent.state import (
    Blob,
    BlobNotFound,
    BlobStore,
    MemoryBlobStore,
    SQLiteBlobStore,
    StoreFull,
    blobs_sqlite,
)
from taut.errors import ConfigError

Make = Callable[..., BlobStore]


def maker(kind: str, path: Path) -> Make:
    def make(**settings: Any) -> BlobStore:
        if kind == "memory":
            return MemoryBlobStore(**settings)
        return SQLiteBlobStore(path, keys=ring() if kind == "sealed" else None, **settings)

    return make


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes stores; those on the disk share a file."""
    return maker(request.param, tmp_path / "state.db")


def test_data_is_found_by_its_reference(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        blob = await store.put(b"a,b\n1,2\n", mime_type="text/csv", name="table.csv")
        sha256 = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
        assert blob == Blob(blob.id, 8, "text/csv", sha256, "table.csv")
        assert await store.find(blob.id) == blob
        assert await store.get(blob.id) == b"a,b\n1,2\n"
        empty = await store.put(b"")
        assert (empty.bytes, empty.mime_type, empty.name) == (0, "application/octet-stream", "")
        assert await store.get(empty.id) == b""
        await store.remove(blob.id)
        await store.remove(blob.id)
        assert await store.find(blob.id) is None
        with pytest.raises(BlobNotFound, match=blob.id):
            await store.get(blob.id)
        assert await store.get(empty.id) == b""
        await store.close()

    run(main())


def test_the_same_is_kept_once(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make(max_bytes=10)
        blobs = [await store.put(b"x" * 10, mime_type="text/plain") for _ in range(3)]
        assert blobs[0] == blobs[1] == blobs[2]
        await store.remove(blobs[0].id)
        assert await store.find(blobs[0].id) is None
        others = {(await store.put(b"x", mime_type=mime, name=name)).id for mime in "ab" for name in "ab"}
        assert len(others) == 4
        await store.close()

    run(main())


def test_who_has_not_the_data_cannot_know_the_id(run: Run, make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        store = make()
        elsewhere = (
            MemoryBlobStore()
            if isinstance(store, MemoryBlobStore)
            else SQLiteBlobStore(tmp_path / "other.db")
        )
        mine, theirs = await store.put(b"yes"), await elsewhere.put(b"yes")
        assert mine.sha256 == theirs.sha256
        assert mine.id != theirs.id
        with pytest.raises(BlobNotFound):
            await store.get(theirs.id)
        for one in (store, elsewhere):
            await one.close()

    run(main())


@given(
    kind=st.sampled_from(KINDS),
    size=st.integers(0, 50),
    offset=st.integers(0, 60),
    length=st.none() | st.integers(0, 60),
)
def test_any_part_can_be_read(kind: str, size: int, offset: int, length: int | None) -> None:
    data = bytes(range(size))

    async def main(path: Path) -> None:
        store = maker(kind, path)()
        blob = await store.put(data)
        assert (
            await store.get(blob.id, offset, length)
            == data[offset : None if length is None else offset + length]
        )
        await store.close()

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(blobs_sqlite, "CHUNK_BYTES", 8)
        asyncio.run(main(Path(folder) / "state.db"))


def test_large_data_comes_in_parts(run: Run, make: Make) -> None:
    data = bytes(range(256)) * 4 * 1024 * 3 + b"end"

    async def main() -> None:
        store = make()
        blob = await store.put(data)
        assert await store.get(blob.id) == data
        assert await store.get(blob.id, len(data) - 3) == b"end"
        at = blobs_sqlite.CHUNK_BYTES - 2
        assert await store.get(blob.id, at, 4) == data[at : at + 4]
        await store.close()

    run(main())


def test_a_part_that_cannot_be_is_a_mistake(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make()
        blob = await store.put(b"abc")
        for offset, length in ((-1, None), (0, -1)):
            with pytest.raises(ConfigError, match="at least 0"):
                await store.get(blob.id, offset, length)
        assert await store.get(blob.id, 3) == await store.get(blob.id, 99, 1) == b""
        await store.close()

    run(main())


def test_the_oldest_go_first(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make(max_bytes=30)
        a, b, c = [await store.put(letter * 10) for letter in (b"a", b"b", b"c")]
        await store.put(b"a" * 10)  # no longer the oldest
        d = await store.put(b"d" * 5)
        assert [await store.find(one.id) is not None for one in (a, b, c, d)] == [True, False, True, True]
        e = await store.put(b"e" * 30)
        assert [await store.find(one.id) for one in (a, c, d)] == [None] * 3
        assert await store.get(e.id) == b"e" * 30
        await store.close()

    run(main())


def test_a_full_store_may_refuse(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make(max_bytes=20, when_full="refuse")
        a = await store.put(b"a" * 15)
        with pytest.raises(StoreFull, match="max_bytes is 20, got 21"):
            await store.put(b"b" * 6)
        assert await store.put(b"a" * 15) == a
        await store.put(b"b" * 5)
        await store.remove(a.id)
        await store.put(b"c" * 15)
        await store.close()

    run(main())


def test_one_blob_has_a_limit(run: Run, make: Make) -> None:
    async def main() -> None:
        store = make(max_bytes=100, max_blob_bytes=10)
        kept = await store.put(b"a" * 10)
        with pytest.raises(StoreFull, match="max_blob_bytes is 10, got 11"):
            await store.put(b"b" * 11)
        assert await store.get(kept.id) == b"a" * 10
        await store.close()

    run(main())
    for settings in ({"max_bytes": 0}, {"max_blob_bytes": 0}, {"when_full": "panic"}):
        with pytest.raises(ConfigError, match="expected"):
            make(**settings)


def test_a_store_may_be_used_after_it_was_closed_and_in_another_loop(run: Run, make: Make) -> None:
    store = make()

    async def first() -> str:
        blob = await store.put(b"x")
        await store.close()
        await store.close()
        return blob.id

    async def second(blob_id: str) -> None:
        assert await store.get(blob_id) == b"x"
        assert (await store.put(b"x")).id == blob_id
        await store.close()

    run(second(run(first())))
