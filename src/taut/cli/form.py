"""Elicitation at a terminal: the server's form is filled in field by field.

The questions go to stderr: stdout is for the result. An empty line takes the default or leaves an optional field
out, the end of input (^D) declines. Where stdin is no terminal, nobody is there to answer, and every form is declined.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from taut import models

__all__ = ["answer_form", "fill_in"]

#: Asks one question; returns the line that was typed, or None at the end of input.
Ask: TypeAlias = "Callable[[str], asyncio.Future[str | None]]"

YES = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


async def answer_form(params: models.ElicitParams) -> models.ElicitResult:
    """Answer ``elicitation/create``: ask the person at the terminal, or decline if there is none."""
    if not sys.stdin.isatty():
        _say(f"taut: declined the server's question, since stdin is no terminal: {params.message}")
        return models.ElicitResult(action="decline")
    if params.mode == "url":
        _say(f"{params.message}\nThe server asks you to open: {params.url}")
        return await _confirm("Opened it? (y/n) ")
    _say(f"{params.message}  (^D declines)")
    if params.requested_schema is msgspec.UNSET:
        return models.ElicitResult(action="decline")
    try:
        form = models.ElicitSchema.from_dict(params.requested_schema)
    except msgspec.ValidationError as error:
        _say(f"taut: declined, since the server's form is none: {error}")
        return models.ElicitResult(action="decline")
    if not form.properties:
        return await _confirm("Accept? (y/n) ")
    return await fill_in(form, _ask)


async def fill_in(form: models.ElicitSchema, ask: Ask) -> models.ElicitResult:
    """Ask for each field until its answer fits."""
    required = form.required or []
    content: dict[str, models.ElicitValue] = {}
    for name, field in form.properties.items():
        prompt = _prompt(name, field, optional=name not in required)
        while True:
            line = await ask(prompt)
            if line is None:
                return models.ElicitResult(action="decline")
            if not line.strip():
                if field.default is not msgspec.UNSET:
                    content[name] = field.default
                    break
                if name not in required:
                    break
                _say("  Expected a value: the field is required")
                continue
            try:
                content[name] = read_field(field, line.strip())
                break
            except ValueError as error:
                _say(f"  {error}")
    return models.ElicitResult(action="accept", content=content)


def read_field(field: models.PrimitiveSchema, text: str) -> models.ElicitValue:
    """Return what ``text`` means for ``field``.

    :raises ValueError: it does not fit; the message says what would.
    """
    match field:
        case models.BooleanSchema():
            if text.lower() not in YES:
                raise ValueError(f"Expected y or n, got {text}")
            return YES[text.lower()]
        case models.IntegerSchema() | models.NumberSchema():
            return _number(field, text)
        case models.MultiSelectSchema():
            return _several(field, text)
        case _:
            return _text(field, text)


def _number(field: models.IntegerSchema | models.NumberSchema, text: str) -> int | float:
    kind: Any = int if isinstance(field, models.IntegerSchema) else float
    try:
        number: int | float = kind(text)
    except ValueError:
        raise ValueError(f"Expected {'a whole' if kind is int else 'a'} number, got {text}") from None
    if field.minimum is not msgspec.UNSET and number < field.minimum:
        raise ValueError(f"Expected at least {field.minimum}, got {text}")
    if field.maximum is not msgspec.UNSET and number > field.maximum:
        raise ValueError(f"Expected at most {field.maximum}, got {text}")
    return number


def _text(field: models.StringSchema, text: str) -> str:
    choices = _choices(field)
    if choices:
        return _choice(choices, text)
    if field.min_length is not msgspec.UNSET and len(text) < field.min_length:
        raise ValueError(f"Expected at least {field.min_length} characters, got {len(text)}")
    if field.max_length is not msgspec.UNSET and len(text) > field.max_length:
        raise ValueError(f"Expected at most {field.max_length} characters, got {len(text)}")
    return text


def _several(field: models.MultiSelectSchema, text: str) -> list[str]:
    chosen = [_choice(_choices(field), part.strip()) for part in text.split(",") if part.strip()]
    if field.min_items is not msgspec.UNSET and len(chosen) < field.min_items:
        raise ValueError(f"Expected at least {field.min_items} of them, got {len(chosen)}")
    if field.max_items is not msgspec.UNSET and len(chosen) > field.max_items:
        raise ValueError(f"Expected at most {field.max_items} of them, got {len(chosen)}")
    return chosen


def _choice(choices: dict[str, str], text: str) -> str:
    """Return the value for ``text``, which may be a value or its title."""
    for value, title in choices.items():
        if text in (value, title):
            return value
    raise ValueError(f"Expected one of {', '.join(choices)}, got {text}")


def _choices(field: models.StringSchema | models.MultiSelectSchema) -> dict[str, str]:
    """Return the values to choose from, each with its title."""
    source = field.items if isinstance(field, models.MultiSelectSchema) else field
    options = source.any_of if isinstance(source, models.MultiSelectItems) else source.one_of
    if options:
        return {option.const: option.title for option in options}
    values = source.enum or []
    titles = (source.enum_names or []) if isinstance(source, models.StringSchema) else []
    return {value: titles[at] if at < len(titles) else value for at, value in enumerate(values)}


def _prompt(name: str, field: models.PrimitiveSchema, *, optional: bool) -> str:
    hints = []
    if isinstance(field, (models.StringSchema, models.MultiSelectSchema)):
        choices = _choices(field)
        if choices:
            hints.append(
                ", ".join(
                    value if value == title else f"{value}: {title}" for value, title in choices.items()
                )
            )
        if isinstance(field, models.MultiSelectSchema):
            hints.append("several with commas")
        elif field.format:
            hints.append(field.format)
    elif isinstance(field, models.BooleanSchema):
        hints.append("y/n")
    if field.default is not msgspec.UNSET:
        hints.append(f"default {msgspec.json.encode(field.default).decode()}")
    elif optional:
        hints.append("optional")
    about = f"  {field.description}\n" if field.description else ""
    return f"{about}  {field.title or name}{' (' + '; '.join(hints) + ')' if hints else ''}: "


async def _confirm(prompt: str) -> models.ElicitResult:
    line = await _ask(prompt)
    accepted = line is not None and YES.get(line.strip().lower(), False)
    return models.ElicitResult(
        action="accept" if accepted else "decline", content={} if accepted else msgspec.UNSET
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ask(prompt: str) -> asyncio.Future[str | None]:
    """Ask at the terminal. The loop runs on meanwhile: ^C ends the command, and the server is heard."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | None] = loop.create_future()

    def on_line() -> None:
        loop.remove_reader(sys.stdin)
        if not answer.done():
            line = sys.stdin.readline()
            answer.set_result(line if line else None)

    if sys.platform == "win32":
        return asyncio.ensure_future(asyncio.to_thread(_read_line))
    loop.add_reader(sys.stdin, on_line)
    return answer


def _read_line() -> str | None:
    return sys.stdin.readline() or None
