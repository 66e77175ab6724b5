"""Skills: the extension ``io.modelcontextprotocol/skills`` (SEP-2640).

It is specified on top of 2026-07-28; nothing in it needs that revision, so it is served at every one.
A skill is a directory of files that tells an agent how to work; its ``SKILL.md`` begins with YAML. The files are
ordinary resources, and what these models add is the entry that names and seals them.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from taut.models._base import JsonObject, Model
from taut.models._messages import CacheableResult, ListResult, PaginatedParams, PaginatedResult, RequestParams
from taut.models.resources import Resource

__all__ = [
    "SKILLS_EXTENSION",
    "GetSkillParams",
    "GetSkillResult",
    "ListSkillsResult",
    "ReadDirectoryParams",
    "ReadDirectoryResult",
    "Skill",
    "SkillResource",
]

SKILLS_EXTENSION: Final = "io.modelcontextprotocol/skills"

#: The place of the files of a skill whose content is made on demand, so that it has no digests.
Dynamic: TypeAlias = Literal["dynamic"]


class SkillResource(Model, frozen=True):
    """A file of a skill, with what its raw bytes have: ``digest`` is ``sha256:`` and 64 hexadecimal digits."""

    uri: str
    digest: str
    size: int


class Skill(Model, frozen=True):
    """A skill, by the URI of its ``SKILL.md``: what that file says of it, and all its files."""

    uri: str
    frontmatter: JsonObject
    resources: list[SkillResource] | Dynamic


class ListSkillsResult(ListResult, frozen=True):
    """One page of skills."""

    skills: list[Skill]


class GetSkillParams(RequestParams, frozen=True):
    """``skills/get``."""

    uri: str


class GetSkillResult(CacheableResult, frozen=True):
    """The entry of one skill, as in a list."""

    skill: Skill


class ReadDirectoryParams(PaginatedParams, frozen=True):
    """``resources/directory/read``."""

    uri: str


class ReadDirectoryResult(PaginatedResult, frozen=True):
    """The direct children of a directory; directories among them have the MIME type ``inode/directory``."""

    resources: list[Resource]
