"""A skill is loaded if it is what its entry says, and no file of it is shown that is not."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from faults.loops import Run
from taut import Client, Server, models
from taut.errors import RemoteProtocolError

URI = "skill://notes/SKILL.md"
TEXT = "---\nname: notes\ndescription: What for.\n---\n\nBody.\n"
EXTRA = "skill://notes/data/a%20b.bin"
RAW = b"\xff\x00"


def sealed(uri: str, raw: bytes) -> models.SkillResource:
    return models.SkillResource(uri, f"sha256:{hashlib.sha256(raw).hexdigest()}", len(raw))


ENTRY = models.Skill(
    URI,
    {"name": "notes", "description": "What for."},
    [sealed(URI, TEXT.encode()), sealed(EXTRA, RAW)],
)


def server(text: str = TEXT, raw: bytes = RAW) -> Server:
    app = Server("s")
    app.resource(URI, mime_type="text/markdown")(lambda: text)
    app.resource(EXTRA)(lambda: raw)
    return app


def test_files_are_given_as_they_are(run: Run) -> None:
    async def main() -> None:
        async with Client(server()) as client:
            skill = await client.load_skill(ENTRY)
            assert skill.text == TEXT
            assert skill.entry is ENTRY
            assert await skill.read("data/a b.bin") == RAW
            assert await skill.read("data/a%20b.bin") == RAW

    run(main())


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (TEXT.replace("Body", "Evil"), ENTRY),
        (TEXT + "more", ENTRY),
        (TEXT, replace(ENTRY, frontmatter={"name": "notes", "description": "Else."})),
        (TEXT, replace(ENTRY, frontmatter={**ENTRY.frontmatter, "license": "MIT"})),
        ("no frontmatter", replace(ENTRY, resources=[sealed(URI, b"no frontmatter")])),
        (TEXT, replace(ENTRY, resources=[])),
    ],
    ids=["digest", "size", "frontmatter", "missing-field", "no-frontmatter", "unlisted"],
)
def test_what_is_not_what_the_entry_says_is_not_loaded(run: Run, text: str, entry: models.Skill) -> None:
    async def main() -> None:
        async with Client(server(text)) as client:
            with pytest.raises(RemoteProtocolError):
                await client.load_skill(entry)

    run(main())


def test_a_file_that_changed_or_is_not_listed_is_not_shown(run: Run) -> None:
    async def main() -> None:
        async with Client(server(raw=b"\xff\x01")) as client:
            skill = await client.load_skill(ENTRY)
            with pytest.raises(RemoteProtocolError, match="got 2 bytes and sha256"):
                await skill.read("data/a b.bin")
            with pytest.raises(RemoteProtocolError, match="does not list"):
                await skill.read("other.md")

    run(main())


def test_a_skill_made_on_demand_is_held_to_its_frontmatter(run: Run) -> None:
    async def main(entry: Any) -> str:
        async with Client(server()) as client:
            return (await client.load_skill(entry)).text

    dynamic = replace(ENTRY, resources="dynamic")
    assert run(main(dynamic)) == TEXT
    with pytest.raises(RemoteProtocolError, match="to begin with"):
        run(main(replace(dynamic, frontmatter={"name": "notes", "description": "Else."})))


def test_entries_come_from_the_list_and_one_by_one(run: Run, tmp_path: Any) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "SKILL.md").write_text(TEXT)
    app = Server("s")
    app.skills(tmp_path)

    async def main() -> None:
        async with Client(app) as client:
            (entry,) = await client.list_skills()
            assert await client.get_skill(URI) == entry
            assert (await client.load_skill(entry)).text == TEXT

    run(main())
