#!/bin/sh
# Install the other MCP implementations, pinned in benchmarks/peers/, into .peers/.
#
# Each peer gets its own environment, and a stamp that holds the pins it was made from: a second run does
# nothing, a changed pin rebuilds that one. Compiled peers (Rust, Go) serve the benchmark only and may be missing.
#
#   scripts/peers.sh [mcp2] [mcp1] [fastmcp] [node] [rmcp]      (default: all of them)
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
    fresh "$1" "$requirements" && return 0
    echo "peers: $1 ($(tr '\n' ' ' <"$requirements"))"
    rm -rf "${peers:?}/$1"
    "$python" -m venv "$peers/$1" &&
        "$peers/$1/bin/python" -m pip install -qq --only-binary :all: --requirement "$requirements" &&
        cp "$requirements" "$peers/$1/.stamp"
}

node() {
    fresh node "$pins/package.json" && return 0
    command -v npm >/dev/null || { echo "peers: npm is missing, the TypeScript peers are left out" >&2; return 1; }
    echo "peers: node"
    rm -rf "$peers/node" && mkdir -p "$peers/node" && cp "$pins/package.json" "$peers/node/"
    (cd "$peers/node" && npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts --omit=dev) &&
        cp "$pins/package.json" "$peers/node/.stamp"
}

mkdir -p "$peers"
for peer in "${@:-mcp2 mcp1 fastmcp node rmcp}"; do
    # Unquoted on purpose: the default is one word list.
    for name in $peer; do
        case $name in
            node) node ;;
            rmcp) venv rmcp || echo "peers: rmcp is not available here; the benchmark leaves it out" >&2 ;;
            mcp1 | mcp2 | fastmcp) venv "$name" ;;
            *) echo "peers: expected mcp2, mcp1, fastmcp, node or rmcp, got $name" >&2; exit 2 ;;
        esac
    done
done
