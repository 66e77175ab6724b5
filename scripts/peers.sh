#!/bin/sh
# Install the other MCP implementations, pinned in benchmarks/peers/, into .peers/.
#
# Each peer gets its own environment, and a stamp that holds the pins it was made from: a second run does
# nothing, a changed pin rebuilds that one. The compiled peers (Rust, Go) are optional dependencies of the
# node one: they serve the benchmark only, exist for one platform, and may be missing.
#
# What makes uvicorn and aiohttp fast (speedups.txt) goes into every Python one, so that the HTTP benchmark compares
# servers at their best.
#
#   scripts/peers.sh [mcp2] [mcp1] [fastmcp] [tiny] [agents] [node]      (default: all but agents)
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
pins=$root/benchmarks/peers
peers=$root/.peers
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1

fresh() { # fresh NAME PINS: is NAME already made from these pins?
    cmp -s "$2" "$peers/$1/.stamp"
}

venv() { # venv NAME: one virtual environment from requirements-NAME.txt
    requirements=$pins/requirements-$1.txt
    if ! fresh "$1" "$requirements"; then
        echo "peers: $1"
        rm -rf "${peers:?}/$1"
        "$python" -m venv "$peers/$1"
        "$peers/$1/bin/python" -m pip install -qq --only-binary :all: --requirement "$requirements"
        cp "$requirements" "$peers/$1/.stamp"
    fi
    if ! cmp -s "$pins/speedups.txt" "$peers/$1/.speedups"; then
        "$peers/$1/bin/python" -m pip install -qq --only-binary :all: --requirement "$pins/speedups.txt"
        cp "$pins/speedups.txt" "$peers/$1/.speedups"
    fi
}

node() {
    if fresh node "$pins/package.json"; then return; fi
    echo "peers: node"
    rm -rf "${peers:?}/node"
    mkdir -p "$peers/node"
    cp "$pins/package.json" "$peers/node/"
    (cd "$peers/node" && npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts)
    cp "$pins/package.json" "$peers/node/.stamp"
}

[ $# -gt 0 ] || set -- mcp2 mcp1 fastmcp tiny node
for peer in "$@"; do
    case $peer in
        mcp1 | mcp2 | fastmcp | tiny | agents) venv "$peer" ;;
        node) node ;;
        *) echo "peers: expected mcp2, mcp1, fastmcp, tiny, agents or node, got $peer" >&2; exit 2 ;;
    esac
done
