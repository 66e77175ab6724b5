# Every target works from a bare clone: it makes the environment that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help dev build test asan lint types peers interop bench bench-stdio clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[cli,crypto]'
	touch $@

dev: $(STAMP) build  ## environment with the core built in place

build: $(STAMP)  ## rebuild the compiled core in place
	flock .build.lock $(BIN)/python setup.py --quiet build_ext --inplace

test: dev  ## unit tests, compiled core and pure twin
	$(BIN)/python -m pytest tests

asan: $(STAMP)  ## tests of the core under the address and undefined-behaviour sanitizers
	scripts/asan.sh

lint: $(STAMP)  ## ruff, cython-lint, codespell, import-linter
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint ext
	$(BIN)/lint-imports

types: $(STAMP)  ## mypy --strict over src
	$(BIN)/mypy

peers:  ## install the other MCP implementations into .peers/
	PYTHON='$(PYTHON)' scripts/peers.sh

interop: dev peers  ## taut against the clients and servers of the other SDKs
	$(BIN)/python -m pytest tests/interop

bench: dev  ## micro benchmarks of the core, in process, import time
	$(BIN)/python -m pytest benchmarks/micro
	$(BIN)/python -m benchmarks.importtime
	$(BIN)/python -m benchmarks.inprocess

bench-stdio: dev peers  ## servers and clients over stdio, beside their peers
	$(BIN)/python -m benchmarks.stdio
	$(BIN)/python -m benchmarks.client

clean:  ## remove everything that is not in the repository, but the environment
	rm -rf build dist src/*.egg-info; find src -name '*.so' -delete
