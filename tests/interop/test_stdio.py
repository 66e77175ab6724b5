"""taut over stdio with the clients and servers of the other SDKs, step by step, in both eras."""

import pytest

from .expected import STEPS, check_end, check_step
from .matrix import Pair, need, outcome, pairs

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


@pytest.fixture(params=pairs(), ids=str, scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    need(found)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_step(pair: Pair, step: str) -> None:
    check_step(pair, step, outcome(pair))


def test_client_and_server_end_cleanly(pair: Pair) -> None:
    check_end(outcome(pair))
