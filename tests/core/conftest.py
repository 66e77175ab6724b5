"""The core under test: each test that takes `core` runs on the compiled modules and on their pure twin."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

MODULES = ("scan", "buffer", "framing", "envelope", "dispatch", "encode")


def load_twin(package: str) -> SimpleNamespace:
    """Return all public names of the modules of one twin."""
    names: dict[str, Any] = {}
    for module in (import_module(f"{package}.{name}") for name in MODULES):
        public = getattr(module, "__all__", None) or [
            name for name in vars(module) if not name.startswith("_")
        ]
        names |= {name: getattr(module, name) for name in public}
    return SimpleNamespace(**names)


def load_compiled() -> SimpleNamespace:
    try:
        return load_twin("taut._core")
    except ModuleNotFoundError as error:
        pytest.skip(f"the compiled core is not built: {error.name}")


@pytest.fixture(scope="session", params=["compiled", "pure"])
def core(request: pytest.FixtureRequest) -> SimpleNamespace:
    return load_compiled() if request.param == "compiled" else load_twin("taut._core._pure")


@pytest.fixture(scope="session")
def twins() -> tuple[SimpleNamespace, SimpleNamespace]:
    """Both, for tests that compare them."""
    return load_compiled(), load_twin("taut._core._pure")
