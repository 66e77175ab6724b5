"""Forms at a terminal: each field is asked for until its answer fits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut import models
from taut.cli.form import fill_in, read_field

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your name", "minLength": 2},
        "age": {"type": "integer", "minimum": 0, "maximum": 150, "description": "In years."},
        "vip": {"type": "boolean", "default": False},
        "meal": {
            "type": "string",
            "oneOf": [{"const": "f", "title": "Fish"}, {"const": "s", "title": "Soup"}],
        },
        "days": {"type": "array", "items": {"type": "string", "enum": ["mo", "tu"]}, "minItems": 1},
    },
    "required": ["name", "age", "meal"],
}


def fill(lines: Sequence[str | None], schema: dict[str, Any] = FORM) -> tuple[models.ElicitResult, list[str]]:
    """Answer the form's questions with ``lines``; return the result and the questions."""
    answers = iter(lines)
    prompts: list[str] = []

    def ask(prompt: str) -> asyncio.Future[str | None]:
        prompts.append(prompt)
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        future.set_result(next(answers))
        return future

    return asyncio.run(fill_in(models.ElicitSchema.from_dict(schema), ask)), prompts


def test_fields_are_typed_by_the_form() -> None:
    result, prompts = fill(["Ada\n", "36\n", "y\n", "Fish\n", "mo, tu\n"])
    assert result.action == "accept"
    assert result.content == {"name": "Ada", "age": 36, "vip": True, "meal": "f", "days": ["mo", "tu"]}
    assert prompts == [
        "  Your name: ",
        "  In years.\n  age: ",
        "  vip (y/n; default false): ",
        "  meal (f: Fish, s: Soup): ",
        "  days (mo, tu; several with commas; optional): ",
    ]


def test_an_empty_line_takes_the_default_or_leaves_an_optional_field_out() -> None:
    result, _ = fill(["Ada", "36", "", "s", ""])
    assert result.content == {"name": "Ada", "age": 36, "vip": False, "meal": "s"}


def test_what_does_not_fit_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    result, prompts = fill(
        ["", "A", "Ada", "old", "-1", "151", "36", "perhaps", "n", "pie", "f", ",", "we", "mo"]
    )
    assert result.content == {"name": "Ada", "age": 36, "vip": False, "meal": "f", "days": ["mo"]}
    assert len(prompts) == 14
    assert capsys.readouterr().err.splitlines() == [
        "  Expected a value: the field is required",
        "  Expected at least 2 characters, got 1",
        "  Expected a whole number, got old",
        "  Expected at least 0, got -1",
        "  Expected at most 150, got 151",
        "  Expected y or n, got perhaps",
        "  Expected one of f, s, got pie",
        "  Expected at least 1 of them, got 0",
        "  Expected one of mo, tu, got we",
    ]


def test_the_end_of_input_declines() -> None:
    assert fill(["Ada", None])[0] == models.ElicitResult(action="decline")


@given(st.sampled_from(list(FORM["properties"])), st.text())
def test_any_line_is_a_value_or_a_refusal(name: str, line: str) -> None:
    field = models.ElicitSchema.from_dict(FORM).properties[name]
    try:
        value: object = read_field(field, line)
    except ValueError as error:
        value = str(error)
        assert value.startswith("Expected ")  # one line in many is refused, not every one
    assert isinstance(value, (str, int, bool, list))


class TestAtATerminal:
    @pytest.mark.parametrize("mode", ["auto", "legacy"])
    def test_the_server_gets_what_is_typed(self, terminal: Any, server: str, mode: str) -> None:
        command = terminal("call", server, "greet", "--mode", mode)
        command.wait_for("Who are you?  (^D declines)")
        for question, answer in (("name: ", "Ada"), ("age: ", "36"), ('default "soup"): ', "fish")):
            command.wait_for(question)
            command.type(answer + "\n")
        command.wait_for("fish")
        assert command.end() == (0, "\naccept: Guest(name='Ada', age=36, meal='fish')\n")

    def test_the_end_of_input_declines(self, terminal: Any, server: str) -> None:
        command = terminal("call", server, "greet")
        command.wait_for("name: ")
        command.type("\x04")
        command.wait_for("decline: None")
        assert command.end()[0] == 0

    def test_interrupt_ends_the_command(self, terminal: Any, server: str) -> None:
        command = terminal("call", server, "greet")
        command.wait_for("name: ")
        command.type("\x03")
        status, shown = command.end()
        assert status == 130
        assert "Traceback" not in shown
