#!/usr/bin/env bash
# A release, from a checkout to proven artifacts: optimised build, all checks, documents, benchmarks, wheels.
#
#   scripts/build.sh              everything (about half an hour)
#   scripts/build.sh --quick      no benchmarks beside other SDKs, no packaging trials
#
# What it leaves: dist/*.tar.gz and wheelhouse/*.whl, with their SHA-256 in wheelhouse/SHA256SUMS, and the numbers
# of the benchmarks in benchmarks/results/. It publishes nothing: a version tag does (.github/workflows/wheels.yml).
#
# The build takes -march and the like from TAUT_CFLAGS; wheels are always built for any machine of their platform.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=false
case ${1-} in
    --quick) quick=true ;;
    "") ;;
    *) echo "expected --quick or nothing, got $1" >&2; exit 2 ;;
esac

rm -rf build/lib.* build/temp.* build/cython
find src -name '*.so' -delete
make build
.ci/run
make docs bench
if ! $quick; then
    make bench-stdio check-dist
fi
env -u TAUT_CFLAGS make wheel
cp dist/taut-*.tar.gz wheelhouse/
(cd wheelhouse && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
