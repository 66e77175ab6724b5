"""The file that a run is kept in while it waits: its owner's alone, since all that was said is in it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from taut.agent.result import RunState
from taut.errors import ConfigError

__all__ = ["check_free", "read_state", "write_state"]


def check_free(path: Path) -> None:
    """Make sure that no other run is kept in ``path``, and that one can be.

    :raises taut.errors.ConfigError: there is something, or no directory for it.
    """
    if path.exists():
        raise ConfigError(
            f"Expected --state to name a new file, got {path}: take up that run (--resume), or remove it"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"Expected --state to name a file in a directory, got {path}")


def read_state(path: Path) -> RunState:
    """Return the run that is kept in ``path``.

    :raises taut.errors.ConfigError: there is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read the run in {path}: {error.strerror or error}") from error
    try:
        return RunState.from_bytes(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def write_state(path: Path, state: RunState) -> None:
    """Keep a run, in place of what is in ``path``; all of it or nothing.

    :raises taut.errors.ConfigError: it cannot be written.
    """
    try:
        # Made for its owner alone, whatever the umask says.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "wb") as file:
                file.write(state.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise ConfigError(f"Cannot keep the run in {path}: {error.strerror or error}") from error
