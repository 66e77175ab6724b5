"""Times every operation of `benchmarks._operations`, grouped so that taut stands beside its baselines.

python -m pytest benchmarks/micro [-k parse]
"""

from typing import Any

import pytest
from benchmarks._operations import OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(benchmark: Any, name: str) -> None:
    group, _, who = name.rpartition("/")
    if who == "orjson":
        pytest.importorskip("orjson")
    benchmark.group = group
    benchmark.name = who
    benchmark(OPERATIONS[name]())
