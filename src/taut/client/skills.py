"""Loading a skill from a server: each file is checked against the entry that names it before anyone sees it.

The entry is what a user has approved; it stays what it is while the skill is in use (SEP-2640, "Integrity and
Verification"). Nothing is read ahead of need. A match says that entry and content are consistent, not that either can
be trusted: what a skill says is input from the server that sent it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from taut import models
from taut.errors import RemoteProtocolError
from taut.mcp.frontmatter import frontmatter_of

if TYPE_CHECKING:
    from taut.client.client import Client

__all__ = ["LoadedSkill", "load_skill"]

MANIFEST = "/SKILL.md"


class LoadedSkill:
    """A skill in use: the entry that it was loaded by, and the text of its ``SKILL.md``."""

    def __init__(self, client: Client, entry: models.Skill) -> None:
        self._client = client
        self.entry = entry
        self.text = ""

    async def read(self, path: str) -> str | bytes:
        """Return another file of the skill, by its path, as it is or encoded: text, or bytes if it is none.

        :raises taut.errors.RemoteProtocolError: the entry does not list it, or the server sent something else than what
            is listed; a skill that was changed is loaded anew, by a new entry.
        """
        root, listed = self.entry.uri.removesuffix(MANIFEST), self.entry.resources
        as_given = f"{root}/{path}"
        if isinstance(listed, str) or any(file.uri == as_given for file in listed):
            return await self._read(as_given)
        return await self._read(f"{root}/{quote(path)}")

    async def _read(self, uri: str) -> str | bytes:
        listed = self.entry.resources
        file = None if isinstance(listed, str) else next((one for one in listed if one.uri == uri), None)
        if file is None and not isinstance(listed, str):
            raise RemoteProtocolError(
                f"Expected a file of the skill {self.entry.uri}, got {uri}, which it does not list"
            )
        result = await self._client.read_resource(uri)
        if len(result.contents) != 1:
            raise RemoteProtocolError(f"Expected the file {uri}, got {len(result.contents)} contents")
        content = _content(result.contents[0])
        raw = content.encode() if isinstance(content, str) else content
        if file is not None and (len(raw) != file.size or _digest(raw) != file.digest):
            raise RemoteProtocolError(
                f"Expected {uri} with {file.size} bytes and {file.digest}, got {len(raw)} bytes and {_digest(raw)}"
            )
        return content


async def load_skill(client: Client, entry: models.Skill) -> LoadedSkill:
    """Read the ``SKILL.md`` of ``entry``, and return the skill if it is what the entry says."""
    skill = LoadedSkill(client, entry)
    text = await skill._read(entry.uri)
    try:
        frontmatter = frontmatter_of(text)
    except ValueError as error:
        raise RemoteProtocolError(f"{entry.uri}: {error}") from error
    if frontmatter != entry.frontmatter:
        raise RemoteProtocolError(
            f"Expected {entry.uri} to begin with {entry.frontmatter}, as its entry says, got {frontmatter}"
        )
    skill.text = str(text)
    return skill


def _content(contents: models.ResourceContents) -> str | bytes:
    if isinstance(contents.text, str):
        return contents.text
    try:
        return base64.b64decode(contents.blob or b"", validate=True)
    except binascii.Error as error:
        raise RemoteProtocolError(f"Expected {contents.uri} in base64, got something else") from error


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
