"""docs/benchmarks.md and its charts, from the file of results.

Belongs here: tables, charts, and what is said of figures that are not there. Does not: measuring.
A figure is the median of its runs. What has not been measured says so; what failed says why.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plots

Row = Mapping[str, Any]
SIZES = (100_000, 1_000_000, 10_000_000, 50_000_000)
OURS = {"odp-polars": "ODP, Polars", "odp-duckdb": "ODP, DuckDB", "odp-spark": "ODP, Spark Connect (Sail)"}
NAMES = {
    **OURS,
    "polars-by-hand": "Polars by hand → Delta",
    "duckdb-by-hand": "DuckDB SQL by hand → Delta",
    "pandas": "pandas → Delta",
    "dlt-duckdb": "dlt → DuckDB",
    "dlt-ducklake": "dlt → DuckLake",
    "pyspark": "PySpark local → Parquet",
    "lakebench-polars": "LakeBench, Polars",
    "lakebench-duckdb": "LakeBench, DuckDB",
}
ELT = ("lakebench-polars", "lakebench-duckdb")
FLOWS = [way for way in NAMES if way not in ELT]
MISSING = "not measured"
BUSY = 1.5  # load average from which a figure says little of the program

_HEAD = """# Benchmarks: how cost grows

Written by `make bench-full` from [benchmarks.json](benchmarks.json); do not edit. A figure is the
median of its runs, each a process of its own. “{missing}” is said where there is none: nothing here is
estimated.

{conditions}

To measure: `make bench-full` takes all of it (hours), `make bench-full ARGS="--help"` says how to take
a part. The file keeps every result, a run goes on where the last one ended.

- **seconds** begin when everything is imported; Sail has started by then, Spark's JVM starts within them.
- **CPU** and **peak** are of the whole process tree, start and imports included. Peak is the larger of
  the kernel's figure for the largest process and of the sum over all, looked at twenty times a second.
- **equal**: Bronze, Silver and Gold have the rows, and Gold the sums, of the first of our own runs.
"""

_FLOW = """## Bronze to Silver to Gold

Workflow events, a million a landed Parquet file; 5 % repeat others, 2 % are late, 1 % are broken. Each
way keeps what came, types it, refuses broken rows, keeps the last of each key and aggregates by
workspace and day. Ours also keeps positions, restarts, checks, quarantine and restore; the others have
none of it. “Polars by hand” applies no rules, so its rows are more. PySpark writes Parquet, since Delta
for it is a jar of Maven's. “dlt” loads, and SQL by hand does the rest inside DuckDB.
"""

_CHANGE = """## A change of one percent

A year of events, then half a percent new ones of the last day and half a percent corrections of two
days some months back: the median of three such changes, refreshed in Silver and Gold, against computing
everything anew.
"""

_BATCHES = """## Many small batches

A landed file of a hundred events each, taken to Silver and Gold one after the other, with the product's
maintenance after every hundred batches or never. Its time is told apart.
"""

_COMMITS = """## Commits to one table at once

Processes append one row each as fast as they can, to a Delta table in a folder of this machine.
Afterwards the table held exactly the rows that were acknowledged.
"""

_SIMULATION = """## The same past one machine: a simulation

No object store was measured. `ops/bench/contention.py` simulates optimistic commits with the latencies
and the sources its head names; [internet-scale.md](design/internet-scale.md) says what follows. Writers
commit as fast as they can; “limit” is what no number of them passes at median latency. A wait is from
wanting a commit to having it.
"""

_ELT = """## ELTBench of LakeBench

The [LakeBench](https://pypi.org/project/lakebench/) project's ELTBench, light mode, as its authors
wrote it, on TPC-DS of the scale given, single machine. It says what a well-known pattern (load, join,
merge, compact) costs here with these engines alone. “ODP, Polars” takes the same steps with our store,
which checks every row's schema and key; `ops/bench/elt_ours.py` says where its steps are not quite the same.
"""


def write(rows: Sequence[Row], page: Path) -> None:
    """Write the page, and its charts into the folder of its name."""
    charts = page.with_suffix("")
    charts.mkdir(parents=True, exist_ok=True)
    drawn = {name: text for name, text in _charts(rows).items() if text}
    for old in charts.glob("*.svg"):
        if old.stem not in drawn:
            old.unlink()
    for name, text in drawn.items():
        (charts / f"{name}.svg").write_text(text, encoding="utf-8")
    shown = {
        name: f"![{name.replace('-', ' ')}]({charts.name}/{name}.svg)\n" if name in drawn else ""
        for name in _charts([])
    }
    parts = [
        _HEAD.format(missing=MISSING, conditions=_conditions(rows)),
        _FLOW, _flow(rows), shown["rows-per-second"], shown["peak-memory"],
        _CHANGE, _change(rows), shown["change"],
        _BATCHES, _batches(rows), shown["batches"],
        _COMMITS, _commits(rows),
        _SIMULATION, _simulated(rows), shown["contention"],
        _ELT, _elt(rows),
    ]  # fmt: skip
    page.write_text("\n".join(part for part in parts if part).rstrip() + "\n", encoding="utf-8")


def _of(rows: Iterable[Row], /, **wanted: Any) -> list[Row]:
    return [row for row in rows if wanted.items() <= row.items()]


def _sound(rows: Iterable[Row], /, **wanted: Any) -> list[Row]:
    return [row for row in _of(rows, **wanted) if "failed" not in row]


def _median(rows: Sequence[Row], figure: str) -> float:
    return statistics.median(row[figure] for row in rows)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    body = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in body) + "\n"


def _conditions(rows: Sequence[Row]) -> str:
    if not rows:
        return f"Nothing has been measured: every figure is “{MISSING}”."
    machines = sorted({row["machine"] for row in rows})
    days = sorted({row["at"][:10] for row in rows})
    loads = [row["load"] for row in rows]
    versions: dict[str, set[str]] = {}
    for row in rows:
        for name, version in row.get("versions", {}).items():
            versions.setdefault(name, set()).add(version)
    told = ", ".join(f"{name} {' / '.join(sorted(found))}" for name, found in sorted(versions.items()))
    lines = [
        f"- machine: {'; '.join(machines)}; Python {', '.join(sorted({row['python'] for row in rows}))}",
        f"- measured {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else ""),
        f"- commits: {', '.join(sorted({row['commit'] for row in rows}))}",
        f"- versions: {told}",
        f"- load average before each: {min(loads):.1f} to {max(loads):.1f}",
    ]
    if busy := sum(load > BUSY for load in loads):
        lines.append(
            f"- **{busy} of {len(rows)} measurements began at a load above {BUSY}**, of other work or of the "
            "measurement before, which the average still holds: their seconds may be too many; CPU seconds, "
            "memory, rows and bytes are not."
        )
    return "\n".join(lines)


def _flow(rows: Sequence[Row]) -> str:
    head = ["way", "rows/s", "seconds", "CPU s", "peak MB", "equal", "runs", "load"]
    parts = []
    for size in SIZES:
        of_size = _of(rows, what="flow", rows=size)
        first = next((r["tables"] for r in of_size if r["way"] in OURS and "failed" not in r), None)
        lines = [_flow_line(NAMES[way], _of(of_size, way=way), size, first) for way in FLOWS]
        table = _table(head, lines) if of_size else f"{MISSING.capitalize()}.\n"
        parts.append(f"### {size:,} rows\n\n{table}")
    return "\n".join(parts)


def _flow_line(name: str, rows: Sequence[Row], size: int, first: Any) -> list[str]:
    sound = _sound(rows)
    if not sound:
        return [name, rows[-1]["failed"] if rows else MISSING, *[""] * 6]
    seconds = _median(sound, "seconds")
    equal = all(row["tables"] == first for row in sound)
    return [
        name, f"{size / seconds:,.0f}", f"{seconds:.2f}", f"{_median(sound, 'cpu_seconds'):.1f}",
        f"{_median(sound, 'peak_mb'):,.0f}", "yes" if equal else "no", str(len(sound)), _load(sound),
    ]  # fmt: skip


def _load(rows: Sequence[Row]) -> str:
    loads = sorted(row["load"] for row in rows)
    return f"{loads[0]:.1f}" if len(loads) == 1 else f"{loads[0]:.1f}–{loads[-1]:.1f}"


def _change(rows: Sequence[Row]) -> str:
    head = ["rows", "way", "Silver: change s", "all anew s", "rows written", "Gold: change s", "all anew s",
            "content equal", "peak MB", "load"]  # fmt: skip
    lines = []
    for size in SIZES[1:]:
        for way, name in OURS.items():
            found = _of(rows, what="change", rows=size, way=way)
            if not _sound(found):
                lines.append([f"{size:,}", name, found[-1]["failed"] if found else MISSING, *[""] * 7])
                continue
            row = _sound(found)[-1]
            silver, gold = (
                [f"{row['change'][layer]['seconds']:.2f}", f"{row['full'][layer]['seconds']:.2f}"]
                for layer in ("silver", "gold")
            )
            written = f"{row['change']['silver']['rows'] / size:.1%}"
            equal = "yes" if row["equal"] else "**no**"
            lines.append(
                [f"{size:,}", name, *silver, written, *gold, equal, f"{row['peak_mb']:,.0f}", _load([row])]
            )
    return _table(head, lines)


def _batches(rows: Sequence[Row]) -> str:
    head = ["batches", "way", "maintenance", "first ms", "last ms", "all s", "maintenance s", "data files",
            "reading Silver ms", "of one write", "load"]  # fmt: skip
    wanted = sorted({row["batches"] for row in _of(rows, what="batches")} | {1_000})
    lines = []
    for count in wanted:
        for way, name in OURS.items():
            for every in sorted(
                {row["every"] for row in _of(rows, what="batches", batches=count)} | {0, 100}
            ):
                kept = f"every {every}" if every else "none"
                found = _of(rows, what="batches", batches=count, way=way, every=every)
                if not _sound(found):
                    why = found[-1]["failed"] if found else MISSING
                    lines.append([f"{count:,}", name, kept, why, *[""] * 7])
                    continue
                row = _sound(found)[-1]
                course = row["course"]
                files = " / ".join(f"{row['files'][layer]:,}" for layer in ("bronze", "silver", "gold"))
                lines.append([
                    f"{count:,}", name, kept, f"{course[0][1]:.0f}", f"{course[-1][1]:.0f}",
                    f"{row['seconds']:.1f}", f"{row['maintenance_seconds']:.1f}" if every else "",
                    files, f"{row['read_ms']:.0f}", _times(row), _load([row]),
                ])  # fmt: skip
    return _table(head, lines)


def _times(row: Row) -> str:
    """Return how many times what reading the rows of one write takes; nothing of an older measurement."""
    alone = row.get("read_compacted_ms")
    return f"{row['read_ms'] / alone:.1f} ×" if alone else ""


def _commits(rows: Sequence[Row]) -> str:
    head = ["processes", "commits/s", "failed", "median ms", "p99 ms", "runs", "load"]
    lines = []
    for count in (1, 2, 4, 8):
        found = _of(rows, what="commits", processes=count)
        sound = _sound(found)
        if not sound:
            lines.append([str(count), found[-1]["failed"] if found else MISSING, *[""] * 5])
            continue
        lines.append([
            str(count), f"{_median(sound, 'per_second'):.0f}", f"{_median(sound, 'failed_share'):.1%}",
            f"{_median(sound, 'median_ms'):.0f}", f"{_median(sound, 'p99_ms'):,.0f}", str(len(sound)),
            _load(sound),
        ])  # fmt: skip
    return _table(head, lines)


def _simulated(rows: Sequence[Row]) -> str:
    found = _sound(rows, what="contention")
    if not found:
        return f"{MISSING.capitalize()}.\n"
    head = ["place", "what", "writers", "limit /s", "commits/s", "conflicts", "given up", "wait p99 s"]
    chosen = [line for line in found[-1]["commits"] if line["writers"] in (1, 4, 16, 64)]
    lines = [
        [line["place"], line["way"], str(line["writers"]), f"{line['limit']:.1f}",
         f"{line['commits_per_second']:.1f}", f"{line['conflicts']:.0%}", f"{line['given_up']:.1%}",
         f"{line['wait_p99']:.1f}"]
        for line in chosen
    ]  # fmt: skip
    debts = _table(
        ["files/s arriving", "compaction every", "it merges files/s", "most small files", "without it"],
        [
            [f"{line['arriving']:g}", f"{line['every'] / 60:.0f} min", f"{line['merging']:g}",
             f"{line['highest']:,}" + ("" if line["keeps_up"] else ", growing"), f"{line['without']:,}"]
            for line in found[-1]["debt"]
        ],
    )  # fmt: skip
    return f"{_table(head, lines)}\nFiles that wait to be compacted, over a day:\n\n{debts}"


def _elt(rows: Sequence[Row]) -> str:
    found = _of(rows, what="eltbench")
    phases = list(dict.fromkeys(phase for row in _sound(found) for phase in row["steps"]))
    head = ["engine", "scale", "all s", *(f"{phase} s" for phase in phases), "peak MB", "load"]
    lines = []
    for way in ("odp-polars", *ELT):
        own = _of(found, way=way)
        if not _sound(own):
            lines.append([NAMES[way], own[-1]["failed"] if own else MISSING, *[""] * (len(head) - 2)])
            continue
        row = _sound(own)[-1]
        lines.append([
            NAMES[way], f"{row['scale']:g}", f"{row['seconds']:.1f}",
            *(_step(row, p) for p in phases), f"{row['peak_mb']:,.0f}", _load([row]),
        ])  # fmt: skip
    return _table(head, lines)


def _step(row: Row, phase: str) -> str:
    return f"{row['steps'][phase]:.2f}" if phase in row["steps"] else ""


def _charts(rows: Sequence[Row]) -> dict[str, str]:
    """Return each chart by name; empty where there is nothing to draw."""
    flows = _sound(rows, what="flow")
    changes = [
        {**row, "anew": row["full"]["silver"]["seconds"] + row["full"]["gold"]["seconds"]}
        for row in _sound(rows, what="change")
    ]
    courses = {
        f"{OURS[row['way']]}, {'maintained' if row['every'] else 'not'}": [
            (at, ms) for at, ms in row["course"]
        ]
        for row in _sound(rows, what="batches")
    }
    simulated = [row for one in _sound(rows, what="contention")[-1:] for row in one["commits"]]
    waited: dict[str, list[tuple[float, float]]] = {}
    for row in simulated:
        kind = row["way"].split(",")[0] + (", at once" if "at once" in row["way"] else "")
        waited.setdefault(f"{row['place']}, {kind}", []).append((row["writers"], row["commits_per_second"]))
    changed = {
        f"{OURS[way]}, {label}": line
        for figure, label in (("seconds", "1 %"), ("anew", "anew"))
        for way in OURS
        if (line := _line(_of(changes, way=way), "rows", lambda row, figure=figure: row[figure]))
    }
    speed, memory = _lines(flows, lambda r: r["rows"] / r["seconds"]), _lines(flows, lambda r: r["peak_mb"])
    return {
        "rows-per-second": _draw("Rows per second", "rows", "rows/s", speed),
        "peak-memory": _draw("Peak memory", "rows", "MB", memory),
        "change": _draw("One percent changed, against all anew", "rows", "seconds", changed),
        "batches": _draw("A batch after so many", "batch", "ms", courses, logarithmic=False),
        "contention": _draw("Simulated commits to a log", "writers", "commits/s", waited, logarithmic=False),
    }


def _draw(title: str, x: str, y: str, lines: Mapping[str, plots.Line], *, logarithmic: bool = True) -> str:
    return plots.chart(title, x, y, lines, logarithmic=logarithmic) if lines else ""


def _lines(rows: Sequence[Row], figure: Callable[[Row], float]) -> dict[str, list[tuple[float, float]]]:
    found = {NAMES[way]: _line(_of(rows, way=way), "rows", figure) for way in NAMES}
    return {name: line for name, line in found.items() if line}


def _line(rows: Sequence[Row], at: str, figure: Callable[[Row], float]) -> list[tuple[float, float]]:
    places = sorted({row[at] for row in rows})
    return [(place, statistics.median(figure(row) for row in rows if row[at] == place)) for place in places]
