"""Content blocks: friendly to write, lazy about base64, and whole even when their type is unknown."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut import models


def test_the_type_is_the_tag() -> None:
    assert msgspec.json.encode(models.TextContent("hi")) == b'{"type":"text","text":"hi"}'
    assert msgspec.json.encode(models.ImageContent("aGk=", "image/png")) == (
        b'{"type":"image","data":"aGk=","mimeType":"image/png"}'
    )


@given(st.binary())
def test_bytes_survive_base64(data: bytes) -> None:
    assert models.ImageContent.from_bytes(data, "image/png").to_bytes() == data
    assert models.AudioContent.from_bytes(data, "audio/wav").to_bytes() == data
    assert models.ResourceContents.from_bytes("file:///x", data).to_bytes() == data


def test_bad_base64_is_noticed_when_the_bytes_are_wanted() -> None:
    content = models.decode(
        models.ContentBlock, b'{"type":"image","data":"not base64!","mimeType":"image/png"}'
    )
    assert isinstance(content, models.ImageContent)
    with pytest.raises(ValueError, match="base64"):
        content.to_bytes()


def test_text_resource_has_bytes() -> None:
    assert models.ResourceContents("file:///x", text="é").to_bytes() == "é".encode()


@pytest.mark.parametrize("members", ['"uri":"a:b"', '"uri":"a:b","text":"","blob":""'])
def test_a_resource_is_text_or_blob(members: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="exactly one of `text` and `blob`"):
        models.decode(models.ResourceContents, f"{{{members}}}".encode())


def test_content_of_an_unknown_type_is_kept_and_sent_on() -> None:
    raw = b'{"content":[{"type":"text","text":"a"},{"type":"hologram","voxels":[1,2]}]}'
    result = models.decode_result("tools/call", raw, "2025-11-25")
    assert isinstance(result, models.CallToolResult)
    known, unknown = result.content
    assert known == models.TextContent("a")
    assert isinstance(unknown, models.UnknownContent)
    assert unknown.type == "hologram"
    assert models.encode(result, "2025-11-25") == raw


def test_content_of_an_unknown_type_is_kept_within_messages() -> None:
    raw = b'{"messages":[{"role":"user","content":{"type":"hologram"}}]}'
    result = models.decode_result("prompts/get", raw, "2025-06-18")
    assert isinstance(result, models.GetPromptResult)
    assert result.messages[0].content == models.UnknownContent({"type": "hologram"})
    assert models.encode(result, "2025-06-18") == raw


@pytest.mark.parametrize(
    "block", ["{}", '{"type":7}', '{"type":null}', '{"text":"a"}', '"text"', "[]", "null"]
)
def test_content_without_a_type_is_refused(block: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        models.decode(models.ContentBlock, block.encode())


def test_a_known_type_that_is_malformed_is_not_unknown() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected `str`, got `int` - at `\$\.text`"):
        models.decode(models.ContentBlock, b'{"type":"text","text":1}')


def test_models_are_frozen() -> None:
    with pytest.raises(AttributeError):
        models.TextContent("a").text = "b"  # type: ignore[misc]
