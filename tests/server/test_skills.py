"""A directory of skills is served as it was when it was registered, whole and sealed, or refused."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Server, models
from taut.errors import ConfigError, InvalidParams, LocalProtocolError
from taut.server.skills import read_skills

MANIFEST = "---\nname: {name}\ndescription: What it is for.\n---\n\n# Body\n"


def skill(folder: Path, manifest: str = MANIFEST, **files: str | bytes) -> Path:
    """Write a skill; ``files`` by their path, with two underscores for a slash."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(manifest.replace("{name}", folder.name), newline="")
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


class TestServing:
    @pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
    def test_each_file_has_the_digest_that_was_published(self, run: Run, tmp_path: Path, mode: str) -> None:
        skill(tmp_path / "notes", templates__one="T\u00fcr\r\n", picture=b"\xff\x00")
        app = Server("s")
        app.skills(tmp_path)

        async def main() -> None:
            async with Client(app, mode=mode) as client:
                listed = await client.request("skills/list", models.PaginatedParams())
                (entry,) = listed.skills
                assert entry.uri == "skill://notes/SKILL.md"
                assert entry.frontmatter == {"name": "notes", "description": "What it is for."}
                assert [file.uri.removeprefix("skill://notes/") for file in entry.resources] == [
                    *("SKILL.md", "picture", "templates/one")
                ]
                for file in entry.resources:
                    (contents,) = (await client.read_resource(file.uri)).contents
                    blob = contents.blob
                    raw = contents.text.encode() if blob is models.UNSET else base64.b64decode(blob)
                    assert len(raw) == file.size
                    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == file.digest
                got = await client.request("skills/get", models.GetSkillParams(entry.uri))
                assert got.skill == entry

        run(main())

    def test_a_manifest_is_a_resource_with_its_name_and_description(self, run: Run, tmp_path: Path) -> None:
        app = Server("s")
        app.skills(skill(tmp_path / "notes"))

        async def main() -> None:
            async with Client(app) as client:
                (resource,) = await client.list_resources()
                assert resource.name == "notes"
                assert resource.description == "What it is for."
                assert resource.mime_type == "text/markdown"
                assert client.server_capabilities.extensions == {
                    models.SKILLS_EXTENSION: {"directoryRead": True}
                }

        run(main())

    def test_directories_are_read_level_by_level(self, run: Run, tmp_path: Path) -> None:
        skill(tmp_path / "notes", templates__one="1", templates__two="2")
        app = Server("s", page_size=2)
        app.skills(tmp_path, prefix="acme/docs")

        async def children(client: Client, uri: str, **cursor: Any) -> Any:
            return await client.request(
                "resources/directory/read", models.ReadDirectoryParams(uri=uri, **cursor)
            )

        async def main() -> None:
            async with Client(app) as client:
                root = await children(client, "skill://acme/docs/notes")
                assert [(child.name, child.mime_type) for child in root.resources] == [
                    ("notes", "text/markdown"),
                    ("templates", "inode/directory"),
                ]
                inner = await children(client, root.resources[1].uri)
                assert [child.name for child in inner.resources] == ["one", "two"]
                with pytest.raises(InvalidParams, match="not a directory"):
                    await children(client, "skill://acme/docs/notes/SKILL.md")
                with pytest.raises(InvalidParams, match="cursor"):
                    await children(client, "skill://acme/docs/notes", cursor="made-up")

        run(main())

    def test_what_is_no_skill_is_invalid(self, run: Run, tmp_path: Path) -> None:
        app = Server("s")
        app.skills(skill(tmp_path / "notes"))

        async def main() -> None:
            async with Client(app) as client:
                for uri in ("skill://notes", "skill://other/SKILL.md"):
                    with pytest.raises(InvalidParams, match="No skill is served at"):
                        await client.request("skills/get", models.GetSkillParams(uri))

        run(main())

    def test_a_server_without_skills_does_not_declare_them(self, run: Run) -> None:
        async def main() -> None:
            async with Client(Server("s")) as client:
                with pytest.raises(LocalProtocolError, match="did not declare"):
                    await client.request("skills/list", models.PaginatedParams())

        run(main())

    def test_what_changes_on_the_disk_is_served_as_it_was(self, run: Run, tmp_path: Path) -> None:
        folder = skill(tmp_path / "notes")
        app = Server("s")
        app.skills(folder)
        (folder / "SKILL.md").write_text("else")

        async def main() -> None:
            async with Client(app) as client:
                (contents,) = (await client.read_resource("skill://notes/SKILL.md")).contents
                assert contents.text.endswith("# Body\n")

        run(main())


class TestReading:
    def test_a_skill_in_a_skill_is_one_of_its_own_and_part_of_the_outer(self, tmp_path: Path) -> None:
        skill(skill(tmp_path / "outer") / "inner")
        found = read_skills(tmp_path)
        files = {entry.key: [file.uri for file in entry.model.resources] for entry in found.entries}
        inner = "skill://outer/inner/SKILL.md"
        assert files == {"skill://outer/SKILL.md": ["skill://outer/SKILL.md", inner], inner: [inner]}
        assert [child.name for child in found.directories["skill://outer"]] == ["outer", "inner"]
        assert [child.name for child in found.directories["skill://outer/inner"]] == ["inner"]

    def test_hidden_files_are_left_out_and_odd_names_are_encoded(self, tmp_path: Path) -> None:
        folder = skill(tmp_path / "notes")
        (folder / ".git").mkdir()
        (folder / ".git" / "config").touch()
        (folder / "a {b} \u00e9.txt").touch()
        assert list(read_skills(folder).files) == [
            "skill://notes/SKILL.md",
            "skill://notes/a%20%7Bb%7D%20%C3%A9.txt",
        ]

    def test_links_are_refused(self, tmp_path: Path) -> None:
        folder = skill(tmp_path / "notes")
        (folder / "secret").symlink_to("/etc/passwd")
        with pytest.raises(ConfigError, match="got the link secret"):
            read_skills(folder)

    def test_a_directory_without_skills_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="directories with a SKILL"):
            read_skills(tmp_path)
        with pytest.raises(ConfigError, match="Expected a directory"):
            read_skills(tmp_path / "none")

    def test_more_than_a_host_has_to_accept_is_refused(self, tmp_path: Path) -> None:
        folder = skill(tmp_path / "many", **{f"f{number}": "" for number in range(511)})
        assert len(read_skills(folder).files) == 512
        (folder / "one-more").touch()
        with pytest.raises(ConfigError, match="at most 512 files"):
            read_skills(folder)

    def test_the_name_is_that_of_the_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="to be that of its directory, got 'other'"):
            read_skills(skill(tmp_path / "notes", MANIFEST.replace("{name}", "other")))
