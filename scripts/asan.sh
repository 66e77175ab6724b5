#!/bin/sh
# Run the tests of the core under AddressSanitizer and UndefinedBehaviorSanitizer.
#
# The instrumented extensions are built in a copy of the sources, build/asan/, so the build in src/ stays as it is.
# The interpreter is not instrumented: the runtimes are preloaded and it uses plain malloc, so that every
# allocation of the core is watched. Leaks are left to the tests' own counters, since CPython keeps memory until
# it exits. Arguments go to pytest; after a first one that is `fuzz`, to scripts/fuzz.py in its place.
set -eu

cd "$(dirname "$0")/.."
python=$PWD/${PYTHON:-.venv/bin/python}
tree=$PWD/build/asan

mkdir -p "$tree"
tar --exclude='*.so' --exclude=__pycache__ -cf - setup.py pyproject.toml README.md LICENSE ext src | tar -C "$tree" -xf -
(cd "$tree" && TAUT_SANITIZE=address,undefined nice "$python" setup.py --quiet build_ext --inplace)

libraries="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc PYTHONPATH="$tree/src" TAUT_PURE=0

# Tests that silently took the build in src/ would prove nothing.
found=$(LD_PRELOAD="$libraries" "$python" -c 'import taut._core.buffer as module; print(module.__file__)')
case $found in
"$tree"/*) ;;
*) echo "expected the extensions in $tree, got $found" >&2; exit 1 ;;
esac

if [ "${1-}" = fuzz ]; then
    shift
    LD_PRELOAD="$libraries" exec "$python" scripts/fuzz.py "$@"
fi
LD_PRELOAD="$libraries" exec "$python" -m pytest -q -p no:cacheprovider tests/core "$@"
