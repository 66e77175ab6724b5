"""Tests of server.py with pytest: the client talks to the server object, with no process in between.

All of the protocol is in place, only the pipe is not, so a test takes about a millisecond.
"""

import asyncio

import pytest

from server import app
from taut import Client, models


@pytest.mark.parametrize("revision", models.REVISIONS)
def test_add_in_every_revision(revision):
    async def scenario():
        async with Client(app, mode=revision) as client:
            return await client.call_tool("add", {"a": 1, "b": 2})

    result = asyncio.run(scenario())
    assert result.content[0].text == "3"


def test_arguments_of_the_wrong_type_are_an_error_that_names_them():
    async def scenario():
        async with Client(app) as client:
            return await client.call_tool("add", {"a": 1, "b": "two"})

    result = asyncio.run(scenario())
    assert result.is_error
    assert "b" in result.content[0].text
