"""What tool search spares a model's context, and whether it finds the right tool.

    python -m benchmarks.tool_search [--rounds 15] [--limit 5] [--without-embeddings] [--misses]

The labelled set is `tests/agent/data`: 1,000 tools of 46 invented servers; queries of two kinds (what people say, and
what a model writes into a search box), each with the tools that are right. Half of the queries were used to tune the
ranking, the other half was not looked at. Compared are plain substring match (how many of the query's words occur
in a tool), BM25, and BM25 with embeddings, if a package with a small real model is installed (see `_minilm.py`).
"""

import argparse
import json
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import _minilm, _report
from benchmarks._report import Samples, number, spread
from taut.agent.search import Catalogue, ToolIndex, estimate_tokens
from taut.llm.model import ToolSpec

DATA = Path(__file__).resolve().parent.parent / "tests" / "agent" / "data"
DEPTH = 10

Search = Callable[[str, int], list[str]]


def tools() -> list[ToolSpec]:
    return [msgspec.json.decode(line, type=ToolSpec) for line in (DATA / "tools_1000.jsonl").open("rb")]


def queries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "queries.jsonl").open()]


def about() -> dict[str, str]:
    """What each server is, as its own instructions would say."""
    return {path.stem: path.open().readline().strip() for path in sorted((DATA / "servers").glob("*.txt"))}


def substring(specs: list[ToolSpec]) -> Search:
    """The search that one would write first."""
    texts = [(spec.name, f"{spec.name} {spec.description}".lower()) for spec in specs]

    def search(query: str, limit: int) -> list[str]:
        words = {word for word in re.findall(r"\w+", query.lower()) if len(word) > 2}
        scored = [(-sum(word in text for word in words), name) for name, text in texts]
        return [name for score, name in sorted(scored)[:limit] if score]

    return search


def names(index: ToolIndex) -> Search:
    return lambda query, limit: [found.name for found in index.search(query, limit)]


def quality(search: Search, asked: list[dict[str, Any]], limit: int) -> dict[str, float]:
    """Return how often a right tool is first, how often among ``limit``, and the mean reciprocal rank."""
    ranks = []
    for query in asked:
        found = search(query["query"], max(DEPTH, limit))
        ranks.append(next((rank for rank, name in enumerate(found, 1) if name in query["tools"]), None))
    return {
        "at_1": statistics.mean(rank == 1 for rank in ranks),
        "at_limit": statistics.mean(rank is not None and rank <= limit for rank in ranks),
        "mrr": statistics.mean(0 if rank is None else 1 / rank for rank in ranks),
    }


def report_context(specs: list[ToolSpec], asked: list[dict[str, Any]], limit: int) -> dict[str, float]:
    """Print what a context holds, in tokens."""
    catalogue = Catalogue(specs, about=about())
    found = [estimate_tokens(catalogue.find(query["query"], limit)) for query in asked]
    costs = {
        "schemas of all tools": estimate_tokens(*specs),
        "names and one line each": estimate_tokens(catalogue.overview(10**9)),
        "names": estimate_tokens(catalogue.overview(20_000)),
        "overview of 8,000 characters": estimate_tokens(catalogue.overview()),
        f"one search, {limit} tools found": statistics.median(found),
    }
    whole = costs["schemas of all tools"]
    rows = [[name, f"{cost:,.0f}", f"{100 * cost / whole:.1f} %"] for name, cost in costs.items()]
    print(_report.table([f"in the context, of {len(specs):,} tools", "tokens", "of all schemas"], rows))
    return costs


def report_quality(
    searches: dict[str, Search], asked: list[dict[str, Any]], limit: int
) -> dict[str, dict[str, float]]:
    """Print how good each search is, by kind of query and by half."""
    results, rows = {}, []
    for kind in ("request", "situation"):
        for half in ("tuning", "held_out"):
            some = [query for query in asked if query["kind"] == kind and query["half"] == half]
            for name, search in searches.items():
                got = results[f"{kind}/{half}/{name}"] = quality(search, some, limit)
                shares = [f"{100 * got[key]:.0f} %" for key in ("at_1", "at_limit")]
                rows.append(
                    [kind, half.replace("_", " "), str(len(some)), name, *shares, f"{got['mrr']:.2f}"]
                )
    print(_report.table(["query", "half", "n", "search", "first", f"among {limit}", "MRR"], rows))
    return results


def report_time(specs: list[ToolSpec], asked: list[dict[str, Any]], rounds: int) -> Samples:
    """Print the CPU time of building and searching, with the embedder left out."""
    samples: Samples = defaultdict(list)
    for _ in range(rounds):
        start = time.process_time_ns()
        index = ToolIndex(specs, about=about())
        samples["build_ms"].append((time.process_time_ns() - start) / 1e6)
        start = time.process_time_ns()
        for query in asked:
            index.search(query["query"])
        samples["query_us"].append((time.process_time_ns() - start) / 1e3 / len(asked))
    rows = [[name, spread(values)] for name, values in samples.items()]
    print(_report.table(["BM25, CPU time", f"median (min-max) of {rounds} rounds"], rows))
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.tool_search", description="Tool search: cost and quality."
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=int, default=5, help="tools that a search returns")
    parser.add_argument(
        "--misses", action="store_true", help="list the queries of the tuning half that BM25 misses"
    )
    parser.add_argument("--without-embeddings", action="store_true", help="even if there is a model")
    options = parser.parse_args()
    specs, asked = tools(), queries()
    index = ToolIndex(specs, about=about())
    if options.misses:
        for query in asked:
            found = names(index)(query["query"], options.limit)
            if query["half"] == "tuning" and not set(found) & set(query["tools"]):
                print(
                    f"{query['query']}\n    wanted {', '.join(query['tools'])}\n    found  {', '.join(found)}"
                )
        return 0
    costs = report_context(specs, asked, options.limit)
    searches = {
        "substring": substring(specs),
        "BM25, tools alone": names(ToolIndex(specs)),
        "BM25": names(index),
    }
    if not options.without_embeddings and _minilm.available():
        start = time.perf_counter()
        embedder = _minilm.MiniLm()
        searches["BM25 + MiniLM"] = names(ToolIndex(specs, about=about(), embed=embedder))
        seconds = number(time.perf_counter() - start)
        print(f"\nall-MiniLM-L6-v2 on numpy: {seconds} s for all tools, once.")
    else:
        print(f"\nWithout embeddings: they need the package {_minilm.PACKAGE}.")
    print()
    results = report_quality(searches, asked, options.limit)
    print()
    samples = report_time(specs, asked, options.rounds)
    print(f"\n{_report.machine()['cpu']}; tokens are a quarter of the characters.")
    _report.save("tool_search", {"tokens": costs, "quality": results, "samples": samples})
    return 0


if __name__ == "__main__":
    sys.exit(main())
