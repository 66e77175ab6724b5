"""Medians with their spread, tables in Markdown, and results as JSON with the machine they came from."""

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"

Samples = dict[str, list[float]]


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The order of one round: each round starts with another name, so that no place favours anybody."""
    start = turn % len(names) if names else 0
    return [*names[start:], *names[:start]]


def machine() -> dict[str, str]:
    """Describe where the numbers were taken, and how busy it was in the last minute."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{len(names)} x {names[0].partition(':')[2].strip()}" if names else model
    load = f"{os.getloadavg()[0]:.2f}"
    return {"cpu": model, "kernel": platform.release(), "python": platform.python_version(), "load": load}


def number(value: float) -> str:
    """Three significant digits for small numbers, whole ones for large."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def spread(values: Sequence[float]) -> str:
    """``median (min-max)`` of the rounds, or a dash where nothing was measured."""
    if not values:
        return "-"
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}-{number(max(values))})"


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """The median as a multiple of the median of `base`."""
    if not values or not base:
        return "-"
    return number(statistics.median(values) / statistics.median(base)) + "x"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table whose columns also line up in a terminal."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def save(name: str, results: Mapping[str, object]) -> Path:
    """Write the raw numbers of a run, and return where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    return path
