"""From ``server.py``, ``server.py:app`` or ``package.module:app`` to the `Server` object there."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from taut.errors import ConfigError, TautError
from taut.server.server import Server

__all__ = ["load_server"]


def load_server(spec: str) -> Server:
    """Import what ``spec`` names and return its server.

    A file's directory, or for a module the current one, becomes importable. What the code prints while it loads goes
    to stderr: stdout belongs to the protocol.

    :raises taut.errors.ConfigError: there is no such file, module or object; the code fails; there is not one server.
    """
    place, _, name = spec.rpartition(":") if _names_object(spec) else (spec, "", "")
    load = _file_loader(Path(place)) if place.endswith(".py") else _module_loader(place)
    with contextlib.redirect_stdout(sys.stderr), _without_runs():
        try:
            module = load()
        except Exception as error:  # the border to the user's code
            raise ConfigError(f"Cannot load {place}: {_blame(error)}") from error
    return _named(module, place, name) if name else _only(module, place)


def _names_object(spec: str) -> bool:
    _, colon, name = spec.rpartition(":")
    return bool(colon) and all(part.isidentifier() for part in name.split("."))


def _file_loader(path: Path) -> Callable[[], ModuleType]:
    if not path.is_file():
        what = "a directory" if path.is_dir() else "not there"
        raise ConfigError(f"Expected a Python file, got {path}, which is {what}")
    path = path.resolve()

    def load() -> ModuleType:
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses, pickle and get_type_hints look the module up
        spec.loader.exec_module(module)
        return module

    return load


def _module_loader(name: str) -> Callable[[], ModuleType]:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"Expected server.py, server.py:app or package.module:app, got {name!r}")

    def load() -> ModuleType:
        sys.path.insert(0, os.getcwd())
        return importlib.import_module(name)

    return load


@contextlib.contextmanager
def _without_runs() -> Iterator[None]:
    """Let ``app.run()`` at the end of a file do nothing while the file is loaded: who loads it runs the server."""
    run = Server.run
    setattr(Server, "run", lambda self, *args, **options: None)  # noqa: B010  # mypy knows methods as fixed
    try:
        yield
    finally:
        setattr(Server, "run", run)  # noqa: B010


def _blame(error: Exception) -> str:
    """Return what went wrong and, where there is one, the last line of the user's code that led to it."""
    what = str(error) if isinstance(error, TautError) else f"{type(error).__name__}: {error}"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not _is_machinery(one.filename)]
    if isinstance(error, SyntaxError) or not frames:
        return what
    return f"{what} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def _is_machinery(filename: str) -> bool:
    """Tell the code that loads, and taut's own, from the user's."""
    return filename.startswith(("<frozen", str(Path(__file__).parents[1])))


def _named(module: ModuleType, place: str, name: str) -> Server:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise ConfigError(f"Expected a Server named {name} in {place}; {_offer(module)}")
        value = getattr(value, part)
    if not isinstance(value, Server):
        raise ConfigError(
            f"Expected {place}:{name} to be a Server, got {type(value).__name__}; {_offer(module)}"
        )
    return value


def _only(module: ModuleType, place: str) -> Server:
    servers = _servers(module)
    if len({id(server) for server in servers.values()}) == 1:
        return next(iter(servers.values()))
    if not servers:
        raise ConfigError(
            f"Expected a Server in {place}, such as app = Server('demo'); there is none at the top level"
        )
    choices = ", ".join(f"{place}:{name}" for name in servers)
    raise ConfigError(f"Expected one Server in {place}, got {len(servers)}; say which: {choices}")


def _offer(module: ModuleType) -> str:
    return f"it has {', '.join(_servers(module)) or 'no Server'}"


def _servers(module: ModuleType) -> dict[str, Server]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Server)}
