#!/bin/sh
# Build a portable wheel for every CPython from 3.11 on that this machine has, and prove each one.
#
# One sdist is made, every wheel is built from it, repaired by auditwheel on Linux, and installed into a clean
# environment that has no compiler; the tests that need no other program run there, on the installed package.
#
#   scripts/wheel.sh [interpreter ...]      (default: python3.11 ... on PATH and under ~/.pyenv)
#
# Results: dist/*.tar.gz, wheelhouse/*.whl.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
tool=$root/${TOOL_PYTHON:-.venv/bin/python}
work=$root/build/wheels
export PIP_DISABLE_PIP_VERSION_CHECK=1

interpreters() {
    for minor in 11 12 13 14 15; do
        for path in "$HOME"/.pyenv/versions/3.$minor.*/bin/python3.$minor "$(command -v python3.$minor || true)"; do
            # A pyenv shim on PATH may refuse to run: the version is asked for, not assumed.
            if [ -x "$path" ] && [ "$("$path" -c 'import sys; print(sys.version_info[1])' 2>&1)" = $minor ]; then
                echo "$path"
                break
            fi
        done
    done
}

check() { # check VENV: the fast tests, on the wheel that is installed there
    rm -rf "$work/checkout" && mkdir -p "$work/checkout"
    cp -R tests examples pyproject.toml README.md "$work/checkout/"
    (
        cd "$work/checkout"
        export PATH="$1/bin:$work/bin" CC=false CXX=false
        unset PYTHONPATH
        python -c 'import taut._core as core; assert core.COMPILED, "expected the compiled core, got the pure twin"'
        python -m pytest -q -n auto --dist worksteal -p no:cacheprovider -m 'not interop and not faults and not soak' --ignore=tests/faults tests
    )
}

rm -rf "$work" wheelhouse
mkdir -p "$work" wheelhouse
rm -f dist/taut-*.tar.gz
"$tool" -m build --sdist --outdir dist . >"$work/sdist.log" || { cat "$work/sdist.log"; exit 1; }

# What the tests start, and no compiler.
mkdir "$work/bin"
for program in cat echo env false kill ps sh sleep true; do
    for place in /bin /usr/bin; do # not `command -v`: most of them are built into the shell as well
        [ ! -x $place/$program ] || ln -sf $place/$program "$work/bin/$program"
    done
done

[ $# -gt 0 ] || set -- $(interpreters)
for python in "$@"; do
    name=$("$python" -c 'import sys; print("cp3%d" % sys.version_info[1])')
    echo "== $name ($python)"
    "$python" -m venv "$work/$name"
    "$work/$name/bin/python" -m pip install -qq 'pip>=25.1'
    "$work/$name/bin/python" -m pip wheel -qq --no-deps --wheel-dir "$work/raw-$name" dist/taut-*.tar.gz
    if [ "$(uname)" = Linux ]; then
        PATH="$(dirname "$tool"):$PATH" "$tool" -m auditwheel repair --wheel-dir wheelhouse "$work/raw-$name"/*.whl
    else
        cp "$work/raw-$name"/*.whl wheelhouse/
    fi
    wheel=$(echo wheelhouse/taut-*-"$name"-*.whl)
    "$tool" -m check_wheel_contents "$wheel"
    CC=false "$work/$name/bin/python" -m pip install -qq --only-binary :all: --group test "$wheel[cli,crypto]"
    check "$work/$name"
done
ls -l wheelhouse
