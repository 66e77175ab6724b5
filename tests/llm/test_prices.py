"""What models cost."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from taut.errors import ConfigError
from taut.llm import ModelResponse, Price, Prices, Usage, assistant
from taut.llm.prices import priced

MILLION = 1_000_000


def test_the_parts_of_a_request() -> None:
    price = Price(input=10, output=100, cached_input=1, cache_write=20)
    usage = Usage(
        input_tokens=10 * MILLION,
        cached_tokens=2 * MILLION,
        cache_write_tokens=3 * MILLION,
        output_tokens=MILLION,
    )

    assert price.cost(usage) == 5 * 10 + 2 * 1 + 3 * 20 + 100


def test_caches_without_a_price_cost_as_any_input() -> None:
    usage = Usage(input_tokens=3 * MILLION, cached_tokens=MILLION, cache_write_tokens=MILLION)

    assert Price(input=10, output=0).cost(usage) == 30


def test_long_requests_cost_more() -> None:
    prices = Prices.from_table(
        {"m": {"input": 1, "output": 2, "long": {"above_tokens": 200_000, "input": 3, "output": 4}}}
    )

    assert prices.cost("m", Usage(input_tokens=200_000)) == 0.2
    assert prices.cost("m", Usage(input_tokens=200_001)) == pytest.approx(0.600003)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("gpt-5", "gpt-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("openai/gpt-5", "gpt-5"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("gpt-4.1-mini", "gpt-4.1-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
    ],
)
def test_names(name: str, listed: str) -> None:
    prices = Prices.default()

    assert prices.find(name) is not None
    assert prices.find(name) is prices.find(listed)


@pytest.mark.parametrize(
    "name", ["gpt-5-mega", "gpt-55", "o3-deep-research", "llama3", "", "gpt-5:free", "claude", "*"]
)
def test_what_is_not_known_has_no_cost(name: str) -> None:
    assert Prices.default().cost(name, Usage(input_tokens=1)) is None


def test_the_longest_beginning_wins() -> None:
    prices = Prices.from_table(
        {
            "gpt*": {"input": 1, "output": 1},
            "gpt-9*": {"input": 2, "output": 2},
            "gpt-9-mini": {"input": 3, "output": 3},
        }
    )

    assert [
        prices.cost(name, Usage(input_tokens=MILLION)) for name in ("gpt-8", "gpt-9-pro", "gpt-9-mini")
    ] == [1, 2, 3]
    assert prices.find("o3") is None


def test_prices_of_ones_own() -> None:
    default = Prices.default()

    changed = default.with_({"gpt-5": {"input": 1, "output": 1}, "mine": {"input": 2, "output": 2}})

    assert changed.cost("gpt-5", Usage(input_tokens=MILLION)) == 1
    assert changed.cost("mine", Usage(input_tokens=MILLION)) == 2
    assert changed.find("o3") is default.find("o3")
    assert default.cost("gpt-5", Usage(input_tokens=MILLION)) == 1.25
    assert default.with_(Prices.free()).cost("mine", Usage(input_tokens=MILLION)) == 0


@pytest.mark.parametrize(
    "table",
    [
        {"m": {"input": 1}},
        {"m": {"input": "x", "output": 1}},
        {"m": {"input": 1, "output": 1, "x": 1}},
        {"m": 1},
    ],
)
def test_a_table_that_is_none(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"Expected prices like .*\$\["):
        Prices.from_table(table)


def test_free() -> None:
    assert Prices.free().cost("whatever", Usage(input_tokens=MILLION)) == 0.0


def respond(model: str, **usage: int) -> ModelResponse:
    return ModelResponse(message=assistant("x"), usage=Usage(requests=1, cost=None, **usage), model=model)


def test_responses() -> None:
    prices = Prices.default()

    assert (
        priced(respond("gpt-5-2025-08-07", input_tokens=MILLION), prices, "my-deployment").usage.cost == 1.25
    )
    assert priced(respond("whatever", input_tokens=MILLION), prices, "gpt-5").usage.cost == 1.25
    assert priced(respond("whatever", input_tokens=MILLION), prices, "my-deployment").usage.cost is None


def test_a_price_for_the_name_that_was_asked_for_comes_first() -> None:
    prices = Prices.default().with_({"my-deployment": {"input": 7, "output": 7}})

    assert priced(respond("gpt-5", input_tokens=MILLION), prices, "my-deployment").usage.cost == 7


def test_a_usage_that_was_not_reported_costs_nobody_knows_what() -> None:
    assert priced(respond("gpt-5"), Prices.default(), "gpt-5").usage.cost is None
    assert priced(respond("gpt-5"), Prices.free(), "gpt-5").usage.cost == 0.0


def test_the_file_says_what_it_is() -> None:
    data = json.loads(files("taut.llm").joinpath("prices.json").read_text())

    assert data["as_of"]
    assert data["sources"]
    assert len(data["models"]) >= 40
    for name, price in data["models"].items():
        assert 0 < price["input"] <= price["output"], name
        assert price.get("cached_input", 0) < price["input"], name
        assert price.get("long", price)["input"] >= price["input"], name
