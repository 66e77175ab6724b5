"""taut over HTTP with the clients of the other SDKs, step by step, in both eras.

One server serves all of them: none may leave anything behind that the next one notices.
"""

from collections.abc import Iterator

import pytest

from .expected import STEPS, check_end, check_step
from .matrix import MODERN, Outcome, Pair, Servers, need, outcome, pairs

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

PAIRS = [
    pair
    for pair in pairs()
    if pair.server.name == "taut" and pair.client.name != "taut" and pair.revision == MODERN
]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest.fixture(params=PAIRS, ids=str, scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    need(found)
    return found


@pytest.fixture
def result(pair: Pair, servers: Servers) -> Outcome:
    return outcome(pair, servers.url(pair.server))


@pytest.mark.parametrize("step", STEPS)
def test_step(pair: Pair, step: str, result: Outcome) -> None:
    check_step(pair, step, result)


def test_client_ends_cleanly(result: Outcome) -> None:
    check_end(result)
