"""`make bench-full`: how cost grows with size, per engine and against other tools, kept in a file.

Belongs here: which measurements there are, what is left of them, and the file. Does not: what one does
(ways.py, eltbench.py), its cost (tree.py), or the page (report.py). Each measurement is a process of
its own. Its result is added to the file at once, so that a run can be ended and taken up: what the file
has is not measured again, what failed is. `--again` measures all anew and adds.

make bench-full                                            all sizes: hours
make bench-full ARGS="--sizes 100000 1000000 --repeat 1"   some sizes
make bench-full ARGS="--parts flow --sizes 10000000 --engines polars,duckdb --no-peers"
make bench-full ARGS="--render"                            the page from what is there
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import report
import tree
import ways

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SIZES = (100_000, 1_000_000, 10_000_000, 50_000_000)
PARTS = ("flow", "change", "batches", "commits", "contention", "eltbench")
PART_ROWS = 1_000_000  # of one landed file
CHANGE_FROM = 1_000_000  # a percent of less is a file or two
SHARES = {"duplicates": 0.05, "late": 0.02, "broken": 0.01}
LIMIT = 3_600.0
COMMITTERS = (1, 2, 4, 8)
EVERY = 100  # batches from one maintenance to the next
ELT_ENGINES = ("odp-polars", "lakebench-polars", "lakebench-duckdb")


def main(argv: Sequence[str] | None = None) -> int:
    given = _arguments(argv)
    results = Results(given.out)
    if not given.render:
        for wanted in plan(given):
            if given.again or results.missing(wanted):
                before = _conditions()
                results.add(_measured(wanted, given) | wanted | before)
    report.write(results.rows, given.page)
    print(f"{given.page} shows what {given.out} holds: {len(results.rows)} measurements")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-full", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--engines", default="polars,duckdb,spark", help="of ours; default %(default)s")
    parser.add_argument("--no-peers", action="store_true", help="nothing but ours")
    parser.add_argument("--peers", default="", help="only these, with commas; default all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeat", type=int, default=3, help="of each up to a million rows; above it one")
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--scale", type=float, default=1.0, help="ELTBench's, in GB")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one; default %(default)s")
    parser.add_argument("--again", action="store_true", help="measure what the file has once more")
    parser.add_argument("--render", action="store_true", help="only write the page")
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "bench", help="where input is kept")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    given = parser.parse_args(argv)
    given.engines = [f"odp-{name}" for name in given.engines.split(",") if name]
    known = (*ways.PLAIN, *ways.APART)
    given.peers = [] if given.no_peers else [p for p in given.peers.split(",") if p] or list(known)
    if strangers := [*set(given.engines) - set(ways.ENGINES), *set(given.peers) - set(known)]:
        parser.error(f"not known: {', '.join(strangers)}; there are {', '.join(ways.WAYS)}")
    return given


def plan(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what identifies each measurement wanted, small sizes first."""
    for rows in sorted(given.sizes):
        repeats = given.repeat if rows <= PART_ROWS else 1
        for number in range(repeats):
            for way in (*given.engines, *given.peers) if "flow" in given.parts else ():
                yield {"what": "flow", "way": way, "rows": rows, "number": number}
        for way in given.engines if "change" in given.parts and rows >= CHANGE_FROM else ():
            yield {"what": "change", "way": way, "rows": rows, "number": 0}
    for every in (0, EVERY) if "batches" in given.parts else ():
        for way in given.engines:
            yield {"what": "batches", "way": way, "batches": given.batches, "every": every, "number": 0}
    for processes in COMMITTERS if "commits" in given.parts else ():
        for number in range(given.repeat):
            yield {"what": "commits", "way": "odp-polars", "processes": processes, "number": number}
    if "contention" in given.parts:
        yield {"what": "contention", "way": "simulation", "number": 0}
    for way in ELT_ENGINES if "eltbench" in given.parts and not given.no_peers else ():
        yield {"what": "eltbench", "way": way, "scale": given.scale, "number": 0}


class Results:
    """The file: one JSON object, `rows` in the order they were measured."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []

    def missing(self, wanted: Mapping[str, Any]) -> bool:
        """Whether there is no sound result of it."""
        return not any("failed" not in row and wanted.items() <= row.items() for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep it on disk at once; it takes the place of a failed one."""
        name = {"what", "way", "rows", "batches", "every", "processes", "scale", "number"} & row.keys()
        same = {key: row[key] for key in name}
        self.rows = [old for old in self.rows if not ("failed" in old and same.items() <= old.items())]
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".part")
        lines = ",\n".join(json.dumps(one, sort_keys=True) for one in self.rows)
        fresh.write_text(f'{{"rows": [\n{lines}\n]}}\n')
        fresh.replace(self.path)
        seconds = row.get("seconds", row.get("process_seconds", 0.0))
        told = row.get("failed") or f"{seconds:.2f} s, {row['peak_mb']:,.0f} MB"
        print(
            *(f"{row[key]:,}" if key == "rows" else row[key] for key in sorted(name)), "|", told, flush=True
        )


def _conditions() -> dict[str, Any]:
    """When, on what and beside what else."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 2),
        "machine": f"{os.cpu_count()} cores of {_processor()}, "
        f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "commit": _commit(),
    }


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1] for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.machine()


@cache
def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _measured(wanted: Mapping[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    if wanted["what"] == "contention":
        argv: list[str | Path] = [sys.executable, HERE / "contention.py", "--json"]
        return tree.run(argv, os.environ, seconds=given.limit)
    if wanted["what"] == "eltbench":
        return _elt(wanted["way"], wanted["scale"], given)
    way = wanted["way"]
    python = sys.executable if way not in ways.APART else os.environ.get("ODP_BENCH_PYTHON", _apart())
    if not Path(python).exists():
        return {"failed": "not installed: the group `bench`, which `make bench-full` puts into .tools/bench"}
    argv = [python, HERE / "ways.py", wanted["what"], way]
    for name in ("batches", "every", "processes"):
        argv += [f"--{name}", str(wanted[name])] if name in wanted else []
    if wanted["what"] != "flow":
        argv += ["--rows", str(wanted["rows"])] if "rows" in wanted else []
        return tree.run(argv, os.environ, seconds=given.limit)
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as lake:
        argv += ["--files", landed(given.data, wanted["rows"]), "--lake", Path(lake, "lake")]
        return tree.run(argv, os.environ, seconds=given.limit)


def _elt(way: str, scale: float, given: argparse.Namespace) -> dict[str, Any]:
    """ELTBench, or its steps with our store, on data that is made at first asking and kept."""
    uv = os.environ.get("ODP_BENCH_UV") or shutil.which("uv")
    if uv is None:
        return {"failed": "uv is not there to run LakeBench in its own environment"}
    theirs: list[str | Path] = [uv, "run", "--no-project", "--quiet", "--script", HERE / "eltbench.py"]
    data = given.data / f"tpcds-{scale:g}"
    if not data.exists():
        made = data.with_name("making")
        shutil.rmtree(made, ignore_errors=True)
        data.parent.mkdir(parents=True, exist_ok=True)
        argv = [*theirs, "data", "--scale", str(scale), "--data", made]
        if "failed" in (done := tree.run(argv, os.environ, seconds=given.limit)):
            return done
        made.rename(data)
    if way not in ways.ENGINES:
        return tree.run([*theirs, way, "--data", data], os.environ, seconds=given.limit)
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as lake:
        argv = [sys.executable, HERE / "ways.py", "eltbench", way, "--files", data, "--lake", lake]
        return tree.run(argv, os.environ, seconds=given.limit)


def _apart() -> str:
    return str(ROOT / ".tools" / "bench" / "bin" / "python")


def landed(data: Path, rows: int) -> str:
    """Return the pattern of the landed files of so many events, made at first asking, a million in each.

    They are kept, for making fifty million takes as long as loading them; a part shares no time with another.
    """
    folder = data / str(rows) / "landing" / "pipeline_events"
    if not folder.exists():
        made = folder.with_name("making")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for number, start in enumerate(range(0, rows, PART_ROWS)):
            argv = [str(min(PART_ROWS, rows - start)), str(number), str(made / f"{number:03d}.parquet")]
            subprocess.run([sys.executable, "-c", _MAKE, *argv], check=True)
        made.rename(folder)
    return str(folder / "*.parquet")


# In a process of its own, so that what making takes stays with it.
_MAKE = f"""
import sys
from datetime import timedelta
from pathlib import Path
from lakehouse.domains.pipelines import sample
rows, number, file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
clock = sample.CLOCK - timedelta(days=31 * number)
sample.write(sample.events(rows, seed=number + 1, clock=clock, **{SHARES}), file)
"""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended with us
    sys.exit(main())
