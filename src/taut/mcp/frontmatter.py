"""What a SKILL.md begins with: YAML between two lines of ``---``, by the rules of the Agent Skills specification."""

from __future__ import annotations

import re
from typing import Any

from taut.errors import ConfigError

__all__ = ["frontmatter_of"]

#: The rules for a name, and the length of a description, of the Agent Skills specification.
NAME = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(-[a-z0-9]+)*")
MAX_DESCRIPTION = 1024
FRONTMATTER = re.compile(r"---[ \t]*\r?\n(.*?\n)---[ \t]*(\r?\n|\Z)", re.DOTALL)
#: The values of YAML 1.2's core schema, which is what hosts compare with: no dates, no ``yes`` for true, no octal 010.
#: Each with the characters that it may begin with.
SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
)


def frontmatter_of(content: str | bytes) -> dict[str, Any]:
    """Return the YAML that ``content`` begins with, as JSON values.

    :raises ValueError: there is none, it has what JSON has not, or its name or description breaks the rules.
    :raises taut.errors.ConfigError: the YAML parser is not installed (``taut[skills]``).
    """
    found = FRONTMATTER.match(content) if isinstance(content, str) else None
    described = None if found is None else _load_yaml(found[1])
    if not isinstance(described, dict):
        raise ValueError("Expected a file that begins with YAML between two lines of ---")
    name, description = described.get("name"), described.get("description")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"Expected a name of 1-64 small letters, digits and single hyphens between them, got {name!r}"
        )
    if not isinstance(description, str) or not 0 < len(description) <= MAX_DESCRIPTION:
        raise ValueError(f"Expected a description of 1-{MAX_DESCRIPTION} characters, got {description!r}")
    return described


def _load_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("Skills need a YAML parser: pip install 'taut[skills]'") from error

    class Loader(yaml.SafeLoader):
        """Knows `SCALARS` and nothing else."""

    Loader.yaml_implicit_resolvers = {}
    for kind, pattern, first in SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{pattern})\Z"), first)
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
    try:
        return _as_json(yaml.load(text, Loader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"Expected YAML: {error}") from error


def _as_json(value: Any) -> Any:
    """Return ``value``; what JSON cannot say the same of is refused."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"Expected strings for keys, got {list(value)}")
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ValueError(f"Expected values that JSON has, got {value!r}")
