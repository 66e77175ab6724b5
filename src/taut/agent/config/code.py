"""Functions, types and other objects that a configuration names: ``tools.py:search``, ``package.module:Report``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, final

from taut.agent.config.checking import near
from taut.errors import ConfigError, TautError

__all__ = ["Code"]


@final
class Code:
    """The code beside a configuration in ``directory``, where files are looked for. A file is loaded once.

    The directory becomes importable, at the end of the search: its files cannot stand in front of libraries.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, ModuleType] = {}

    def load(self, name: str) -> Any:
        """Return what ``name`` stands for.

        :raises taut.errors.ConfigError: there is no such file, module or object, or its code fails.
        """
        place, colon, inside = name.rpartition(":")
        if not colon or not place or not all(part.isidentifier() for part in inside.split(".")):
            raise ConfigError(f"expected file.py:name or package.module:name, got {name!r}")
        directory = str(self._directory)
        if directory not in sys.path:
            sys.path.append(directory)
        try:
            value: Any = self._file(place) if place.endswith(".py") else importlib.import_module(place)
        except ConfigError:
            raise
        except Exception as error:  # the border to the user's code
            raise ConfigError(f"cannot load {place}: {_blame(error)}") from error
        for part in inside.split("."):
            if not hasattr(value, part):
                known = (
                    [one for one in vars(value) if not one.startswith("_")]
                    if hasattr(value, "__dict__")
                    else []
                )
                raise ConfigError(f"expected {part} in {place}, which has none{near(part, known)}")
            value = getattr(value, part)
        return value

    def _file(self, place: str) -> ModuleType:
        path = (self._directory / place).resolve()
        known = self._files.get(path)
        if known is not None:
            return known
        if not path.is_file():
            raise ConfigError(f"expected a Python file, got {path}, which is not there")
        loaded = sys.modules.get(path.stem)
        if loaded is not None and _is_of(loaded, path):
            return loaded
        # Another module of the same name, json perhaps, must stay what it is.
        name = path.stem if loaded is None else f"{path.stem}@{path}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses, pickle and get_type_hints look the module up
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        self._files[path] = module
        return module


def _is_of(module: ModuleType, path: Path) -> bool:
    """Whether ``module`` was loaded from ``path``."""
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path


def _blame(error: Exception) -> str:
    """Return what went wrong and, where there is one, the last line of the user's code that led to it."""
    what = str(error) if isinstance(error, TautError) else f"{type(error).__name__}: {error}"
    ours = str(Path(__file__).parents[2])
    frames = [
        one
        for one in traceback.extract_tb(error.__traceback__)
        if not one.filename.startswith(("<frozen", ours, importlib.__file__))
    ]
    if isinstance(error, SyntaxError) or not frames:
        return what
    return f"{what} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
