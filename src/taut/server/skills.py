"""Skills: directories of files that tell an agent how to work, served as resources (SEP-2640).

`read_skills` takes what a directory holds: every directory in it with a ``SKILL.md`` is a skill, at any depth, or the
directory itself if it has one. The bytes are read once and kept, so that what is served always has the digest that was
published; a change on the disk is served after a restart. Names that begin with a dot are left out; links are refused,
as they may lead anywhere.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from taut import models
from taut.errors import ConfigError
from taut.server.registry import SkillEntry

__all__ = ["SkillFile", "Skills", "read_skills"]

MANIFEST = "SKILL.md"
DIRECTORY = "inode/directory"
#: What every host has to accept (specification of the extension, "Limits").
MAX_FILES = 512
MAX_BYTES = 16 * 1024 * 1024
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
#: Types that tables of MIME types lack, or that differ from system to system.
TYPES = {
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".py": "text/x-python",
}


@dataclass(frozen=True)
class SkillFile:
    """A file that is served: its resource, and its content; text where it is UTF-8."""

    resource: models.Resource
    content: str | bytes

    def read(self) -> str | bytes:
        """Return the content, as the function of a resource."""
        return self.content


@dataclass
class Skills:
    """What a directory holds: skills, their files by URI, and the children of each directory by its URI."""

    entries: list[SkillEntry] = field(default_factory=list)
    files: dict[str, SkillFile] = field(default_factory=dict)
    directories: dict[str, list[models.Resource]] = field(default_factory=dict)


def read_skills(directory: Path, prefix: str = "") -> Skills:
    """Read all skills in ``directory``; ``prefix`` is put before their paths ("acme/billing").

    :raises taut.errors.ConfigError: there is no skill, one breaks the rules of its format or is larger than what every
        host accepts, or the YAML parser is not installed (``taut[skills]``).
    """
    root = directory.resolve()
    if not root.is_dir():
        raise ConfigError(f"Expected a directory of skills, got {directory}")
    if (root / MANIFEST).is_file():
        folders, base = [root], root.parent
    else:
        folders, base = sorted(path.parent for path in _walk(root) if path.name == MANIFEST), root
    found = Skills()
    for folder in folders:
        _read_skill(folder, base, prefix.strip("/"), found)
    if not found.entries:
        raise ConfigError(f"Expected skills in {directory}: directories with a {MANIFEST}")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` in the order of their names."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_symlink():
            raise ConfigError(f"Expected files and directories in {folder}, got the link {path.name}")
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def _read_skill(folder: Path, base: Path, prefix: str, found: Skills) -> None:
    """Add one skill with its files and directories; a skill within another is part of both."""
    uri = _uri(folder, base, prefix)
    resources: list[models.SkillResource] = []
    frontmatter: dict[str, Any] = {}
    total = 0
    for path in _walk(folder):
        raw = path.read_bytes()
        total += len(raw)
        if len(resources) == MAX_FILES or total > MAX_BYTES:
            raise ConfigError(
                f"Expected at most {MAX_FILES} files and {MAX_BYTES} bytes in the skill {folder}"
            )
        content = _content(raw)
        described = frontmatter_of(content, path) if path.name == MANIFEST else None
        if path == folder / MANIFEST:
            frontmatter = described or {}
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        resources.append(models.SkillResource(_uri(path, base, prefix), digest, len(raw)))
        if resources[-1].uri not in found.files:
            _add_file(
                path, base, prefix, SkillFile(_resource(path, resources[-1], described), content), found
            )
    if frontmatter["name"] != folder.name:
        raise ConfigError(
            f"Expected the name of the skill {folder} to be that of its directory, got {frontmatter['name']!r}"
        )
    found.entries.append(SkillEntry(models.Skill(f"{uri}/{MANIFEST}", frontmatter, resources)))


def _add_file(path: Path, base: Path, prefix: str, file: SkillFile, found: Skills) -> None:
    """Add a file to what is served, and to its directory, and that to its own where it is new."""
    found.files[file.resource.uri] = file
    child, parent = file.resource, path.parent
    while parent != base:
        uri = _uri(parent, base, prefix)
        known = uri in found.directories
        found.directories.setdefault(uri, []).append(child)
        if known:
            return
        child, parent = models.Resource(uri, parent.name, mime_type=DIRECTORY), parent.parent


def _uri(path: Path, base: Path, prefix: str) -> str:
    segments = (*filter(None, prefix.split("/")), *path.relative_to(base).parts)
    return "skill://" + "/".join(quote(segment, safe="-._~!$&'()*+,;=:@") for segment in segments)


def _content(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _resource(path: Path, listed: models.SkillResource, described: dict[str, Any] | None) -> models.Resource:
    if described is not None:
        return models.Resource(
            listed.uri,
            described["name"],
            description=described["description"],
            mime_type=TYPES[".md"],
            size=listed.size,
        )
    mime_type = TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
    return models.Resource(
        listed.uri, path.name, mime_type=models.UNSET if mime_type is None else mime_type, size=listed.size
    )


# -- what a SKILL.md begins with


def frontmatter_of(content: str | bytes, path: Path) -> dict[str, Any]:
    """Return the YAML that ``content`` begins with, as JSON values.

    :raises taut.errors.ConfigError: there is none, or its name or description breaks the format's rules.
    """
    found = FRONTMATTER.match(content) if isinstance(content, str) else None
    described = None if found is None else _load_yaml(found[1], path)
    if not isinstance(described, dict):
        raise ConfigError(f"Expected {path} to begin with YAML between two lines of ---")
    name, description = described.get("name"), described.get("description")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"Expected a name of 1-64 small letters, digits and single hyphens between them in {path}, got {name!r}"
        )
    if not isinstance(description, str) or not 0 < len(description) <= MAX_DESCRIPTION:
        raise ConfigError(
            f"Expected a description of 1-{MAX_DESCRIPTION} characters in {path}, got {description!r}"
        )
    return described


def _load_yaml(text: str, path: Path) -> Any:
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
        return _as_json(yaml.load(text, Loader), path)
    except yaml.YAMLError as error:
        raise ConfigError(f"Expected YAML at the beginning of {path}: {error}") from error


def _as_json(value: Any, path: Path) -> Any:
    """Return ``value``; what JSON cannot say the same of is refused."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ConfigError(f"Expected strings for the keys in {path}, got {list(value)}")
        return {key: _as_json(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item, path) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ConfigError(f"Expected values that JSON has in {path}, got {value!r}")
