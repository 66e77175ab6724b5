"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import pytest
from hypothesis import settings

from faults.loops import FACTORIES, Run

# Enough to notice what breaks; `make test-thorough` looks for what hides. A busy machine is no failure.
settings.register_profile("unit", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile("unit")


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in an event loop of each kind; one that does not end is a failure."""
    return Run(request.param)
