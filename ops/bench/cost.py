"""What small work costs beside what is there already: by files known, and by commits made.

Belongs here: the figures of docs/operations that have a goal and a growth. Does not: throughput
(pipeline.py), or what a change costs (increment.py).

Each `Line` is one sort of work, measured at several sizes: add one to LINES. Growth is the exponent between
the first and the last size: 0 is flat, 1 linear, 2 quadratic.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import cost_init

FILES = (1_000, 5_000, 20_000)
COMMITS = (100, 1_000, 4_000)
_SAMPLE = 40  # commits that a figure is the median of


@dataclass(frozen=True, kw_only=True)
class Line:
    """One sort of work. `measure` gives a figure for each size."""

    name: str
    unit: str
    goal: str
    measure: Callable[[], Mapping[int, float]]


def measure() -> list[dict[str, Any]]:
    """Measure every line."""
    return [_measured(line) for line in LINES]


def _measured(line: Line) -> dict[str, Any]:
    figures = dict(line.measure())
    return {"name": line.name, "unit": line.unit, "goal": line.goal, "figures": figures,
            "growth": growth(figures)}  # fmt: skip


def growth(figures: Mapping[int, float]) -> float | None:
    """Return the exponent by which a figure grows with its size; None for a single size."""
    sizes = sorted(figures)
    if len(sizes) < 2 or not all(figures[size] > 0 for size in sizes):
        return None
    first, last = sizes[0], sizes[-1]
    return math.log(figures[last] / figures[first]) / math.log(last / first)


# -- files ------------------------------------------------------------------------------------------------


@cache
def _files() -> dict[int, dict[str, float]]:
    return {count: _landed(count) for count in FILES}


def _landed(count: int) -> dict[str, float]:
    """Seconds of the first ingest of many small files, of one more, and of none."""
    from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS
    from lakehouse.pipeline import ingest, open_lake
    from lakehouse.registry import sources

    chosen = [source for source in sources() if source.table is RAW_PIPELINE_EVENTS]
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as root:
        folder = Path(root, "landing", "pipeline_events")
        folder.mkdir(parents=True)
        for number in range(count):
            _land(folder, number)

        def seconds() -> float:
            started = time.monotonic()
            ingest(open_lake(root), RAW_PIPELINE_EVENTS, chosen)
            return time.monotonic() - started

        first = seconds()
        nothing = min(seconds() for _ in range(3))
        more = []
        for number in range(3):
            _land(folder, count + number)
            more.append(seconds())
        return {"first": first, "per_file": first / count * 1000, "nothing": nothing, "one": min(more)}


def _land(folder: Path, number: int) -> None:
    import orjson

    events = (
        {"pipeline_id": f"p{number}-{event}", "event_type": "pipeline.completed", "workspace_id": "w",
         "timestamp": "2026-01-01T00:00:00Z", "raw_data": {"duration_ms": number}}
        for event in range(3)
    )  # fmt: skip
    (folder / f"{number:06d}.ndjson").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))


def _of_files(figure: str) -> Callable[[], Mapping[int, float]]:
    return lambda: {count: found[figure] for count, found in _files().items()}


# -- commits ----------------------------------------------------------------------------------------------


@cache
def _commits() -> dict[int, dict[str, float]]:
    """Milliseconds of a one-row commit by one open handle, and the log's bytes, at each number of commits."""
    import polars as pl

    from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS as TABLE
    from lakehouse.settings import Settings
    from lakehouse.store import CommitOptions, open_store

    with tempfile.TemporaryDirectory(prefix="odp-bench-") as root:
        store = open_store(Settings.at(root))
        values = {pl.String: "x", pl.Int64: 1, pl.Datetime("us", "UTC"): datetime(2026, 1, 1, tzinfo=UTC)}
        schema = TABLE.polars_schema()
        row = pl.DataFrame({name: [values[kind]] for name, kind in schema.items()}, schema=schema)
        commit = CommitOptions(reads=("rows",), state=lambda o, b: {"rows": b.get("rows", 0) + o.inserted})
        found: dict[int, dict[str, float]] = {}
        times: list[float] = []
        for number in range(1, max(COMMITS) + 1):
            started = time.perf_counter()
            store.append(TABLE, row, commit)
            times.append(time.perf_counter() - started)
            if number in COMMITS:
                log = Path(store.uri(TABLE), "_delta_log")
                size = sum(file.stat().st_size for file in log.iterdir())
                found[number] = {
                    "milliseconds": statistics.median(times[-_SAMPLE:]) * 1000,
                    "log_kb": size / number / 1000,
                    "open": _open(root) * 1000,
                }
        return found


def _open(root: str) -> float:
    from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS
    from lakehouse.settings import Settings
    from lakehouse.store import open_store

    started = time.perf_counter()
    open_store(Settings.at(root)).snapshot(RAW_PIPELINE_EVENTS)
    return time.perf_counter() - started


def _of_commits(figure: str) -> Callable[[], Mapping[int, float]]:
    return lambda: {count: found[figure] for count, found in _commits().items()}


LINES: list[Line] = [
    Line(name="first ingest of small files", unit="s", goal="linear", measure=_of_files("first")),
    Line(name="  a file", unit="ms", goal="≤ 0.8", measure=_of_files("per_file")),
    Line(name="one new file beside known ones", unit="s", goal="≤ 0.3", measure=_of_files("one")),
    Line(name="nothing new", unit="s", goal="≤ 0.3", measure=_of_files("nothing")),
    Line(name="a commit after so many", unit="ms", goal="≤ 1.5 × the first",
         measure=_of_commits("milliseconds")),
    Line(name="  log a commit, checkpoints too", unit="kB", goal="≤ 8", measure=_of_commits("log_kb")),
    Line(name="  opening the table", unit="ms", goal="", measure=_of_commits("open")),
    Line(name="init, nothing new, after runs", unit="s", goal="≤ 1.5", measure=cost_init.nothing_new),
    Line(name="init, one new file, after runs", unit="s", goal="its branch alone",
         measure=cost_init.one_new_file),
    Line(name="init in full, nothing new, tables", unit="s", goal="≤ 2", measure=cost_init.stack),
    Line(name="an event in SQLite after so many", unit="ms", goal="≤ 2", measure=cost_init.an_event),
]  # fmt: skip


def as_text(lines: list[dict[str, Any]]) -> str:
    told = ["Cost by what is there already (growth: 0 flat, 1 linear, 2 quadratic)",
            f"{'':<32} {'at':>26} {'figures':>30} {'unit':>5} {'growth':>7}  goal"]  # fmt: skip
    for line in lines:
        sizes = " / ".join(f"{size:,}" for size in line["figures"])
        figures = " / ".join(f"{figure:.2f}" for figure in line["figures"].values())
        grown = "" if line["growth"] is None else f"{line['growth']:.2f}"
        told.append(
            f"{line['name']:<32} {sizes:>26} {figures:>30} {line['unit']:>5} {grown:>7}  {line['goal']}"
        )
    return "\n".join(told)
