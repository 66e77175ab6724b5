"""Texts of a configuration that come from elsewhere: ``${NAME}`` from the environment, and what must not be shown of
them.

``${NAME:-default}`` is for variables that are not set, or empty; ``$${`` is a ``${`` that means itself. What was
filled in is remembered, so that no message shows it: `Hidden.hide` puts the name back in the place of the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, final

from taut.agent.config.checking import KeyProblem

__all__ = ["Hidden", "fill_in"]

_PLACE = re.compile(r"\$\$\{|\$\{([^}]*)(\})?")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-)(.*))?", re.DOTALL)
#: A shorter text is no secret, and would be found everywhere.
MIN_CHARS = 4


@final
class Hidden:
    """Values that no message may show, each with what is shown in its place."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def add(self, value: str, shown: str) -> None:
        """Show ``shown`` in place of ``value``, in each form that messages quote it in; of several the first."""
        if len(value) >= MIN_CHARS:
            for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
                self._shown.setdefault(form, shown)

    def add_all(self, value: Any, shown: str) -> None:
        """Hide every text in a table or an array."""
        if isinstance(value, str):
            self.add(value, shown)
        elif isinstance(value, dict):
            for one in value.values():
                self.add_all(one, shown)
        elif isinstance(value, list):
            for one in value:
                self.add_all(one, shown)

    def hide(self, text: str) -> str:
        """Return ``text`` without the values."""
        # The longest first: one value may be a part of another.
        for value in sorted(self._shown, key=len, reverse=True):
            text = text.replace(value, self._shown[value])
        return text


def fill_in(value: Any, environ: Mapping[str, str], hidden: Hidden, path: tuple[str, ...] = ()) -> Any:
    """Return ``value`` with the variables of ``environ`` filled in, in every text of its tables and arrays.

    :raises taut.errors.ConfigError: a variable is not set, or ``${`` begins something else; names the key.
    """
    if isinstance(value, str):
        return _filled(value, environ, hidden, path) if "${" in value else value
    if isinstance(value, dict):
        return {key: fill_in(one, environ, hidden, (*path, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [fill_in(one, environ, hidden, (*path, str(at))) for at, one in enumerate(value)]
    return value


def _filled(text: str, environ: Mapping[str, str], hidden: Hidden, path: tuple[str, ...]) -> str:
    def found(place: re.Match[str]) -> str:
        if place[0] == "$${":
            return "${"
        inside = _INSIDE.fullmatch(place[1])
        if inside is None or place[2] is None:
            # Only what is between the braces is shown: the rest may be a secret.
            raise KeyProblem(
                path,
                f"expected ${{NAME}} or ${{NAME:-default}}, got {place[0]}; a ${{ that means itself is written $${{",
            )
        name, has_default, default = inside.groups()
        value = environ.get(name)
        if has_default and not value:
            return str(default)
        if value is None:
            raise KeyProblem(path, f"expected the environment variable {name}, which is not set")
        hidden.add(value, f"${{{name}}}")
        return value

    return _PLACE.sub(found, text)
