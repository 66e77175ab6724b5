"""What models cost: prices as data, looked up by a model's name, and overridden where others are known.

Prices are in US dollars for a million tokens. ``prices.json`` beside this module has those of the larger
providers, with their sources and their date. A model that is not known has no cost, which is None and not 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, final

import msgspec

from taut.errors import ConfigError
from taut.llm.messages import Usage
from taut.llm.model import ModelResponse

__all__ = ["Price", "Prices", "priced"]

MILLION = 1_000_000

#: What stands before a name: the provider, as gateways and clouds write it.
_BEFORE = re.compile(
    r"^(?:.*/)?(?:(?:us|eu|apac|jp|au|global)\.)?(?:(?:anthropic|openai|mistral|deepseek)\.)?"
)
#: What stands behind it: a date, a version of the deployment.
_BEHIND = re.compile(r"(?:-latest|[-@](?:\d{4}-\d{2}-\d{2}|\d{4,8}))?(?:-v\d+)?(?::\d+)?$")


class LongPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tokens of a request cost whose input is longer than ``above_tokens``."""

    above_tokens: int
    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a million tokens of a model cost.

    Input that is read from a cache, or written to it, costs as any other unless it has a price of its own.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    long: LongPrice | None = None

    def cost(self, usage: Usage) -> float:
        """Return what ``usage``, of one request, costs in US dollars."""
        rates: Price | LongPrice = self
        if self.long is not None and usage.input_tokens > self.long.above_tokens:
            rates = self.long
        fresh = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        cached = rates.input if rates.cached_input is None else rates.cached_input
        written = rates.input if rates.cache_write is None else rates.cache_write
        return (
            fresh * rates.input
            + usage.cached_tokens * cached
            + usage.cache_write_tokens * written
            + usage.output_tokens * rates.output
        ) / MILLION


FREE = Price(input=0.0, output=0.0)


class _File(msgspec.Struct):
    models: dict[str, Price]


@final
class Prices:
    """Prices by the names of models.

    A name is looked for as it is, and then without the provider before it (``openai/gpt-5``) and the date or version
    behind it (``gpt-5-2025-08-07``). ``gpt-5-mini`` is no ``gpt-5``: to give several models a price, let the
    name end with ``*``; the longest such name wins. Never changes.
    """

    __slots__ = ("_beginnings", "_models", "_names")

    def __init__(self, models: Mapping[str, Price]) -> None:
        self._models = dict(models)
        self._names = {_plain(name): price for name, price in self._models.items() if not name.endswith("*")}
        beginnings = [(_plain(name[:-1]), price) for name, price in models.items() if name.endswith("*")]
        self._beginnings = sorted(beginnings, key=lambda pair: -len(pair[0]))

    @classmethod
    def default(cls) -> Prices:
        """Return the prices that come with taut."""
        return _default()

    @classmethod
    def free(cls) -> Prices:
        """Return prices by which nothing costs anything: for models on one's own machines."""
        return cls({"*": FREE})

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Prices:
        """Return the prices in a table of a configuration: ``{"my-model": {"input": 0.5, "output": 1.5}}``.

        :raises taut.errors.ConfigError: it is no such table; says where.
        """
        try:
            return cls(msgspec.convert(dict(table), dict[str, Price]))
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"Expected prices like {{'my-model': {{'input': 0.5, 'output': 1.5}}}}: {error}"
            ) from None

    def with_(self, other: Prices | Mapping[str, Any]) -> Prices:
        """Return these prices with those of ``other``, a table or prices, in place of and besides them.

        :raises taut.errors.ConfigError: as `from_table`.
        """
        given = other if isinstance(other, Prices) else Prices.from_table(other)
        return Prices({**self._models, **given._models})

    def find(self, model: str) -> Price | None:
        """Return the price of a model, or None."""
        names = [model, _BEFORE.sub("", model, count=1)]
        names += [_BEHIND.sub("", name, count=1) for name in names]
        for name in names:
            found = self._names.get(_plain(name))
            if found is not None:
                return found
        plain = [_plain(name) for name in names]
        for beginning, price in self._beginnings:
            if any(name.startswith(beginning) for name in plain):
                return price
        return None

    def cost(self, model: str, usage: Usage) -> float | None:
        """Return what one request to ``model`` costs in US dollars; None if that is not known."""
        price = self.find(model)
        return None if price is None else price.cost(usage)


@cache
def _default() -> Prices:
    # Imported here: it is needed once, and not with prices of one's own.
    from importlib.resources import files

    data = files("taut.llm").joinpath("prices.json").read_bytes()
    return Prices(msgspec.json.decode(data, type=_File).models)


def _plain(name: str) -> str:
    """A name as it is compared: some write ``claude-sonnet-4.5``, others ``claude-sonnet-4-5``."""
    return name.lower().replace(".", "-")


def priced(response: ModelResponse, prices: Prices, model: str) -> ModelResponse:
    """Return ``response`` of ``model`` with its cost. If the server reports no usage, only what is free is known."""
    usage = response.usage
    price = prices.find(model) or prices.find(response.model)
    if price is None:
        return response
    if usage.tokens == 0 and price != FREE:
        return response
    cost = price.cost(usage)
    return msgspec.structs.replace(response, usage=msgspec.structs.replace(usage, cost=cost))
