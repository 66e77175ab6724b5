#!/bin/sh
# Compare the stub of every compiled module with the module itself.
set -eu

cd "$(dirname "$0")/.."
modules=$(for source in ext/taut/_core/*.pyx; do echo "taut._core.$(basename "$source" .pyx)"; done)
exec "${PYTHON:-.venv/bin/python}" -m mypy.stubtest --mypy-config-file pyproject.toml \
    --allowlist scripts/stubtest-allowlist.txt --ignore-unused-allowlist --concise $modules
