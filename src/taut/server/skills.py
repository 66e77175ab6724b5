"""Skills: directories of files that tell an agent how to work, served as resources (SEP-2640).

`read_skills` takes what a directory holds: every directory in it with a ``SKILL.md`` is a skill, at any depth, or the
directory itself if it has one. The bytes are read once and kept, so that what is served always has the digest that was
published; a change on the disk is served after a restart. Names that begin with a dot are left out; links are refused,
as they may lead anywhere.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from taut import models
from taut.errors import ConfigError
from taut.mcp.frontmatter import frontmatter_of
from taut.server.registry import SkillEntry

__all__ = ["SkillFile", "Skills", "read_skills"]

MANIFEST = "SKILL.md"
DIRECTORY = "inode/directory"
#: What every host has to accept (specification of the extension, "Limits").
MAX_FILES = 512
MAX_BYTES = 16 * 1024 * 1024
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
        described = _described(content, path) if path.name == MANIFEST else None
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


def _described(content: str | bytes, path: Path) -> dict[str, Any]:
    try:
        return frontmatter_of(content)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
