"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import pytest

from faults.loops import FACTORIES, Run


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in an event loop of each kind; one that does not end is a failure."""
    return Run(request.param)
