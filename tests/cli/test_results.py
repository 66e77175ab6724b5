"""Results as text, and media as files whose names a server cannot choose freely."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from taut import models
from taut.cli.result import ResultPrinter, brief, size_text
from taut.errors import ConfigError


def text_of(*content: Any, structured: Any = UNSET, directory: Path | None = None) -> str:
    out = io.StringIO()
    result = models.CallToolResult(list(content), structured_content=structured)
    ResultPrinter(out, directory).print(result)
    return out.getvalue()


def embedded(uri: str, data: bytes = b"data") -> models.EmbeddedResource:
    return models.EmbeddedResource(models.ResourceContents.from_bytes(uri, data, "text/csv"))


@pytest.mark.parametrize(
    ("text", "structured", "shown"),
    [
        ("3", {"result": 3}, "3\n"),
        ("word", {"result": "word"}, "word\n"),
        ('{"a":1}', {"a": 1}, '{\n  "a": 1\n}\n'),
        ("[1]", {"result": [1]}, "[\n  1\n]\n"),
        ("It is one.", {"a": 1}, 'It is one.\n{\n  "a": 1\n}\n'),
        ("It is one.", UNSET, "It is one.\n"),
        ("null", None, "null\n"),
    ],
)
def test_structured_content_is_shown_unless_the_text_says_the_same(
    text: str, structured: Any, shown: str
) -> None:
    assert text_of(models.TextContent(text), structured=structured) == shown


def test_structured_content_alone_is_shown() -> None:
    assert text_of(structured={"result": None}) == "null\n"


def test_what_is_no_text_gets_a_line() -> None:
    assert text_of(
        models.AudioContent.from_bytes(b"x" * 1500, "audio/wav"),
        models.ImageContent("not base64!", "image/png"),
        models.ResourceLink("file:///a.txt", "a"),
        models.EmbeddedResource(models.ResourceContents("mem://x", text="inside")),
        embedded("mem://b"),
        models.UnknownContent({"type": "smell", "of": "rain"}),
    ).splitlines() == [
        "[audio audio/wav, 1.5 kB; --save DIR writes it to a file]",
        "[image image/png: not base64 (Only base64 data is allowed)]",
        "[file:///a.txt: a]",
        "inside",
        "[mem://b text/csv, 4 B; --save DIR writes it to a file]",
        '[content of type smell] {"type":"smell","of":"rain"}',
    ]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:///data/table.csv", "table.csv"),
        ("mem://host/a%20b.csv", "a b.csv"),
        ("file:///x/..%2f..%2fetc%2fpasswd", "passwd"),
        ("file:///x/..", "text-1.csv"),
        ("file:///x/.bashrc", "bashrc"),
        ("file:///x/a%5C..%5Cb", "b"),
        ("mem://note", "text-1.csv"),
    ],
)
def test_a_file_is_named_after_its_uri_and_stays_in_its_directory(
    tmp_path: Path, uri: str, name: str
) -> None:
    directory = tmp_path / "saved"
    text_of(embedded(uri), directory=directory)
    assert [path.name for path in directory.iterdir()] == [name]
    assert (directory / name).read_bytes() == b"data"
    assert list(tmp_path.iterdir()) == [directory]


def test_a_name_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^Cannot write "):
        text_of(embedded("file:///a%00b"), directory=tmp_path)


def test_a_result_in_one_line() -> None:
    assert brief(models.CallToolResult([models.TextContent("a\n b"), models.TextContent("c")])) == "a b c"
    assert brief(models.CallToolResult([], structured_content={"result": [1]})) == "[1]"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2 * 10**6, "2.0 MB"), (10**13, "10000.0 GB")],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
