"""The keys of a state file: making them from a password, and changing them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING

from taut.agent.state import blobs_sqlite, checkpoints_sqlite, conversations_sqlite
from taut.agent.state._file import MARK, get_setting, open_unchecked, put_setting
from taut.agent.state.sealed import Bodies
from taut.errors import ConfigError

if TYPE_CHECKING:
    from taut.crypto import Kdf, KeyRing

__all__ = ["password_keys", "reseal"]

#: The setting with the header of a password (`taut.crypto.KeyRing.header`).
HEADER = "password"


async def password_keys(
    path: str | os.PathLike[str], password: str, *, kdf: Kdf | None = None, busy_s: float = 5.0
) -> KeyRing:
    """Return the keys that ``password`` opens the file with; for a new file they are made, and noted in it.

    Takes as long as guessing one password is to take, in a thread. Give the result to all stores of the file.

    :param kdf: how a new file makes its key; None: scrypt with sound costs.
    :raises taut.crypto.WrongPassword: it is not the password of this file.
    :raises taut.errors.ConfigError: the file is there already, and has no password; or ``taut[crypto]`` is missing.
    """
    try:
        from taut.crypto import KeyRing, Scrypt
    except ImportError as error:
        raise ConfigError("Passwords need cryptography: pip install 'taut[crypto]'") from error

    store = open_unchecked(path, holds="state", busy_s=busy_s)
    try:
        header = await store.read(lambda file: _header(file, path))
        if header is None:
            made = await asyncio.to_thread(KeyRing.from_password, password, kdf=kdf or Scrypt())
            header = await store.write(lambda file: _note(file, path, made))
            if header == made.header:
                return made
        return await asyncio.to_thread(KeyRing.unlock, password, header)
    finally:
        await store.close()


def _header(file: sqlite3.Connection, path: str | os.PathLike[str]) -> bytes | None:
    header = get_setting(file, HEADER)
    if header is None and get_setting(file, MARK) is not None:
        raise ConfigError(
            f"{os.fspath(path)}: expected a file that was made with a password, got one without"
        )
    return header


def _note(file: sqlite3.Connection, path: str | os.PathLike[str], keys: KeyRing) -> bytes:
    """Note the header of new keys, unless another process has been faster; return what is noted."""
    header = _header(file, path)
    if header is None:
        assert keys.header is not None
        header = keys.header
        put_setting(file, HEADER, header)
        put_setting(file, MARK, Bodies(keys).wrap(b"", MARK))
    return header


async def reseal(
    path: str | os.PathLike[str], keys: KeyRing, *, from_plain: bool = False, busy_s: float = 5.0
) -> int:
    """Seal anew what is in the file and is not sealed with the current key of ``keys``; return how many bodies.

    After that the older keys open nothing in it. It is one transaction: all or nothing, and other processes cannot
    write meanwhile. Where the current key is of a password, the file can be opened by that password from then on. What
    was overwritten is wiped from the file as well, for which it is written anew; where that fails, there is an error
    though the rest is done, and another call does it.

    Whoever has the file open needs the new key as well (`taut.crypto.KeyRing.rotate`), best before it is changed.

    :param from_plain: the file is not sealed yet.
    :raises taut.crypto.Forged: something in it is not what was written; `taut.crypto.UnknownKey`: is sealed with a key
        that is not in ``keys``. Nothing was changed then.
    :raises taut.errors.ConfigError: the file cannot be written, or is sealed and ``from_plain`` says otherwise, or
        the other way round.
    """
    old, new = Bodies(None if from_plain else keys), Bodies(keys)

    def work(file: sqlite3.Connection) -> int:
        mark = get_setting(file, MARK)
        if mark is not None:
            if not from_plain and old.is_plain(mark):
                raise ConfigError(f"{os.fspath(path)} is not sealed: expected from_plain=True")
            old.unwrap(mark, MARK, where=os.fspath(path))
        put_setting(file, MARK, new.wrap(b"", MARK))
        put_setting(file, HEADER, keys.header)
        parts = (conversations_sqlite, checkpoints_sqlite, blobs_sqlite)
        return sum(part.reseal(file, old, new) for part in parts)

    store = open_unchecked(path, holds="state", busy_s=busy_s)
    try:
        resealed = await store.write(work)
        await store.scrub()
        return resealed
    finally:
        await store.close()
