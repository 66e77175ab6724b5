"""Definitions of tools, pinned: a tool that changes after somebody has looked at it is refused until it is accepted
again.

What a server says of its tools goes into a model's context, and decides what the model does: a server that changes it
later ("rug pull", CVE-2025-54136) must not go unnoticed. What is pinned is a digest of all that a model or a policy
sees of a tool. Once a server is known, a tool that is new is refused as well: a change of name would be a way around.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, final

import msgspec

from taut import models
from taut.errors import ConfigError

__all__ = ["FilePins", "MemoryPins", "Pins", "check_pins", "digest"]


class Pins(Protocol):
    """Where the digests of accepted tools are kept. Called from any thread; must not take long."""

    def known(self, server: str) -> Mapping[str, str] | None:
        """Return the digests of a server's accepted tools by name; None for a server that was never seen."""

    def accept(self, server: str, digests: Mapping[str, str]) -> None:
        """Accept these tools of a server in place of all others."""


def digest(tool: models.Tool) -> str:
    """Return what changes when anything does that a model or a policy sees of ``tool``."""
    seen: dict[str, Any] = {
        name: getattr(tool, name)
        for name in ("name", "title", "description", "input_schema", "output_schema", "annotations")
        if getattr(tool, name) is not msgspec.UNSET
    }
    return hashlib.sha256(msgspec.json.encode(seen, order="sorted")).hexdigest()


def check_pins(pins: Pins, server: str, tools: Iterable[models.Tool]) -> dict[str, str]:
    """Return why tools are refused, by name; those of a server that is seen for the first time are accepted."""
    digests = {tool.name: digest(tool) for tool in tools}
    known = pins.known(server)
    if known is None:
        pins.accept(server, digests)
        return {}
    refused = {}
    for name, found in digests.items():
        if name not in known:
            refused[name] = "it is new since the server's tools were accepted"
        elif known[name] != found:
            refused[name] = "its definition has changed since it was accepted"
    return refused


@final
class MemoryPins:
    """Pins that live as long as this object."""

    def __init__(self) -> None:
        self._servers: dict[str, dict[str, str]] = {}

    def known(self, server: str) -> Mapping[str, str] | None:
        """See `Pins`."""
        return self._servers.get(server)

    def accept(self, server: str, digests: Mapping[str, str]) -> None:
        """See `Pins`."""
        self._servers[server] = dict(digests)


@final
class FilePins:
    """Pins in a JSON file that people can read and keep under version control; it is made with the first pin.

    :raises taut.errors.ConfigError: the file is there, but holds something else, or cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()

    def known(self, server: str) -> Mapping[str, str] | None:
        """See `Pins`."""
        return self._read().get(server)

    def accept(self, server: str, digests: Mapping[str, str]) -> None:
        """See `Pins`."""
        with self._lock:
            servers = {**self._read(), server: dict(digests)}
            try:
                self._write(json.dumps(servers, indent=2, sort_keys=True) + "\n")
            except OSError as error:
                raise ConfigError(f"Cannot keep pins in {self._path}: {error}") from error

    def _write(self, text: str) -> None:
        """Write the file, whole or not at all."""
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with open(handle, "w") as file:
                file.write(text)
            os.replace(name, self._path)
        except BaseException:
            os.unlink(name)
            raise

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"Cannot read the pins in {self._path}: {error}") from error
        try:
            return msgspec.json.decode(data, type=dict[str, dict[str, str]])
        except msgspec.DecodeError as error:
            raise ConfigError(f"Expected pins in {self._path}, got something else: {error}") from None
