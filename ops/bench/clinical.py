"""FHIR cohorts: how fast Bronze becomes Silver, against two floors, and what one more cohort costs.

Belongs here: making the input, measuring. Does not: what `make bench` prints besides.

The input is the SMART sample (../shared/data/fhir_smart_r4, or $ODP_SHARED_DATA), again with other ids until
it is large enough; where it is not there, the synthetic cohort. Floors, over the same files, in one thread:
`orjson` parses each and does nothing with it; `columns` parses each and builds the same columns in memory,
without Delta, rules, keys and positions. Each way is a process of its own, for its peak memory.

    python ops/bench/clinical.py [--megabytes 500] [--cohorts 20] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tree import own_peak_mb

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 500
COHORTS = 20
_VIEW_MEGABYTES = 50
_UUID = re.compile(rb"\b([0-9a-f]{8})(?=-[0-9a-f]{4}-[0-9a-f]{4}-)")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--cohorts", type=int, default=COHORTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.way:
        print(json.dumps(_one(options.way, options.root, options.cohorts)))
        return 0
    result = measure(options.megabytes, options.cohorts)
    print(json.dumps(result) if options.json else as_text(result))
    return 0


def measure(megabytes: int, cohorts: int) -> dict[str, Any]:
    """Land, then take each way once; return MB/s and peak memory of each, and seconds of cohorts."""
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        root = Path(folder)
        size = land(root / "landing" / "clinical", megabytes)
        ways = {way: _run(way, root) for way in ("orjson", "columns", "bronze", "silver")}
        for told in ways.values():
            told["mb_per_second"] = size / told["seconds"]
        views = _run("views", root)
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder:
        root = Path(folder)
        spread = _run("cohorts", root, str(cohorts))
    return {"megabytes": size, "source": _source()[0], "ways": ways, "cohorts": spread, "views": views}


def _run(way: str, root: Path, *more: str) -> dict[str, Any]:
    argv = [sys.executable, __file__, "--way", way, "--root", str(root)]
    if more:
        argv += ["--cohorts", *more]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _one(way: str, root: Path, cohorts: int) -> dict[str, Any]:
    told = _cohorts(root, cohorts) if way == "cohorts" else WAYS[way](root)
    return {**told, "peak_mb": own_peak_mb()}


def _source() -> tuple[str, dict[str, bytes]]:
    shared = Path(os.environ.get("ODP_SHARED_DATA") or ROOT.parent / "shared" / "data") / "fhir_smart_r4"
    files = {p.name: p.read_bytes() for p in sorted(shared.glob("cohort=*/*.json"))}
    if files:
        return "SMART sample", files
    from lakehouse.domains.clinical import sample

    return "synthetic cohort", sample.cohort(2_000)


def _copy(content: bytes, number: int) -> bytes:
    """The same file of other persons: every UUID is another one, and leads to the same place."""
    other = _UUID.sub(lambda m: b"%08x" % ((int(m[1], 16) + number) & 0xFFFFFFFF), content)
    return other.replace(b'"s11-', b'"s11x%d-' % number).replace(b":s11-", b":s11x%d-" % number)


def land(folder: Path, megabytes: int) -> float:
    """Write copies of the source until there are so many megabytes; return how many there are."""
    _, files = _source()
    size = number = 0
    while size < megabytes * 1_000_000:
        target = folder / f"copy{number:03d}"
        target.mkdir(parents=True)
        for name, content in files.items():
            (target / name).write_bytes(_copy(content, number))
            size += len(content)
        number += 1
    return size / 1e6


def _orjson(root: Path) -> dict[str, Any]:
    import orjson

    seconds = 0.0
    for path in sorted((root / "landing").rglob("*.*json")):
        content = path.read_bytes()
        begin = time.perf_counter()
        for line in content.splitlines() if path.suffix == ".ndjson" else [content]:
            orjson.loads(line)
        seconds += time.perf_counter() - begin
    return {"seconds": seconds}


def _columns(root: Path) -> dict[str, Any]:
    """Parse and build in memory what Silver holds, a cohort at a time, by the platform's own functions."""
    import polars as pl

    from lakehouse.domains.clinical import decoding, reading
    from lakehouse.domains.clinical.resources import SHAPES
    from lakehouse.landing import open_landing

    kinds = {resource: name for name, (resource, _, _) in SHAPES.items()}
    files = open_landing(str(root / "landing")).list("clinical")
    seconds, built = 0.0, 0
    for start in range(0, len(files), 200):
        begin = time.perf_counter()
        frames = pl.concat(frame for file in files[start : start + 200] for frame in reading.read(file))
        pointers = [pl.lit("").alias("_source"), pl.lit("").alias("_fingerprint"),
                    pl.lit(0).alias("_row"), pl.lit(0).alias("_batch_id")]  # fmt: skip
        for (kind,), part in (
            frames.with_columns(pointers).partition_by("resource_type", as_dict=True).items()
        ):
            if kind in kinds:
                built += decoding.table(kinds[kind], part).height
            decoding.index(part)
        seconds += time.perf_counter() - begin
    return {"seconds": seconds, "rows": built}


def _lake(root: Path) -> Any:
    from lakehouse.pipeline import open_lake

    return open_lake(_settings(root))


def _settings(root: Path) -> Any:
    from lakehouse.settings import Settings

    return Settings(lake_url=str(root / "lake"), landing_url=str(root / "landing"))


def _bronze(root: Path) -> dict[str, Any]:
    from lakehouse.domains.clinical import contracts as c
    from lakehouse.materialize import materialize
    from lakehouse.registry import find

    bronze = find(c.RAW_FHIR_RESOURCES)
    begin = time.perf_counter()
    report = materialize(_lake(root), bronze).report
    return {"seconds": time.perf_counter() - begin, "rows": report.rows}


def _silver(root: Path) -> dict[str, Any]:
    begin = time.perf_counter()
    rows = _refresh(_settings(root), "silver")
    return {"seconds": time.perf_counter() - begin, "rows": rows}


def _refresh(settings: Any, *layers: str) -> int:
    from lakehouse.domains.clinical import contracts as c
    from lakehouse.materialize import materialize
    from lakehouse.pipeline import open_lake
    from lakehouse.pipeline.together import together
    from lakehouse.registry import find

    def one(own: Any, table: Any) -> int:
        return materialize(own, find(table)).refreshed.written

    written = 0
    for layer in layers:
        tables = [table for table in c.CONTRACTS if table.layer == layer]
        for done in together(tables, one, open_=lambda: open_lake(settings)):
            if isinstance(done, Exception):
                raise done
            written += done
    return written


def _cohorts(root: Path, count: int) -> dict[str, Any]:
    """Bring in cohorts as they come, a run each: Bronze, Silver and Gold. Then one more."""
    from lakehouse.domains.clinical import contracts as c
    from lakehouse.materialize import materialize
    from lakehouse.registry import find

    name, files = _source()
    chosen = dict(list(files.items())[:12]) if name == "SMART sample" else files
    lake, seconds = _lake(root), []
    for cohort in range(count + 3):
        for file, content in chosen.items():
            lake.landing.put(f"clinical/cohort{cohort:03d}/{file}", _copy(content, cohort))
        begin = time.perf_counter()
        materialize(lake, find(c.RAW_FHIR_RESOURCES))
        _refresh(_settings(root), "silver", "gold")
        seconds.append(time.perf_counter() - begin)
    share, more = statistics.mean(seconds[:count]), statistics.median(seconds[count:])
    megabytes = sum(map(len, chosen.values())) / 1e6
    return {"cohorts": count, "megabytes": megabytes, "share": share, "one_more": more, "ratio": more / share}


def _view_columns(*columns: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"name": name, "path": path, "type": type_} for name, path, type_ in columns]


_VIEWS: tuple[dict[str, Any], ...] = (
    {
        "resource": "Observation",
        "where": [{"path": "status = 'final'"}],
        "select": [
            {
                "column": _view_columns(
                    ("key", "getResourceKey()", "string"),
                    ("patient", "subject.getReferenceKey(Patient)", "string"),
                    ("code", "code.coding.where(system = 'http://loinc.org').code.first()", "code"),
                    ("display", "code.coding.display.first()", "string"),
                    ("at", "effective.ofType(dateTime)", "dateTime"),
                    ("value", "value.ofType(Quantity).value", "decimal"),
                    ("unit", "value.ofType(Quantity).unit", "string"),
                )
            },
            {
                "forEachOrNull": "component",
                "column": _view_columns(
                    ("part", "code.coding.code.first()", "code"),
                    ("part_value", "value.ofType(Quantity).value", "decimal"),
                ),
            },
        ],
    },
    {
        "resource": "Encounter",
        "select": [
            {
                "column": _view_columns(
                    ("id", "id", "id"),
                    ("begin", "period.start", "dateTime"),
                    ("end", "period.end", "dateTime"),
                    ("in_order", "period.start <= period.end", "boolean"),
                )
            },
            {"forEach": "type.coding", "column": _view_columns(("code", "code", "code"))},
        ],
    },
    {
        "resource": "Patient",
        "select": [
            {
                "column": _view_columns(
                    ("id", "id", "id"), ("gender", "gender", "code"), ("born", "birthDate", "date")
                )
            },
            {"forEach": "name", "column": _view_columns(("given", "given.join(' ')", "string"))},
        ],
    },
)


def _views(root: Path) -> dict[str, Any]:
    """Parse the lines that bulk exports of three types have, and run a view over each, in one thread."""
    import orjson

    from lakehouse.domains.clinical.views import run_view
    from lakehouse.landing import open_landing

    lines = _lines_of(
        {view["resource"] for view in _VIEWS}, open_landing(str(root / "landing")).list("clinical")
    )
    begin, rows = time.perf_counter(), 0
    for view in _VIEWS:
        rows += run_view(view, (orjson.loads(line) for line in lines[view["resource"]])).height
    size = sum(len(line) for found in lines.values() for line in found)
    return {"seconds": time.perf_counter() - begin, "rows": rows, "megabytes": size / 1e6}


def _lines_of(kinds: set[str], files: Any) -> dict[str, list[bytes]]:
    from lakehouse.domains.clinical import reading

    found: dict[str, list[bytes]] = {kind: [] for kind in kinds}
    size = 0
    for frame in (frame for file in files for frame in reading.read(file)):
        for kind, text in frame.select("resource_type", "resource").iter_rows():
            if kind in kinds:
                found[kind].append(text.encode())
                size += len(text)
        if size > _VIEW_MEGABYTES * 1_000_000:
            break
    return found


WAYS: dict[str, Any] = {
    "orjson": _orjson,
    "columns": _columns,
    "bronze": _bronze,
    "silver": _silver,
    "cohorts": _cohorts,
    "views": _views,
}


def as_text(result: dict[str, Any]) -> str:
    ways = result["ways"]
    lines = [
        f"FHIR, {result['source']}, {result['megabytes']:.0f} MB",
        f"{'':<46} {'seconds':>9} {'MB/s':>8} {'peak MB':>9}",
    ]
    names = {
        "orjson": "floor 1: parsed by orjson alone",
        "columns": "floor 2: parsed, same columns, no platform",
        "bronze": "landing to Bronze",
        "silver": "Bronze to ten Silver tables and the index",
    }
    lines += [
        f"{names[way]:<46} {told['seconds']:>9.2f} {told['mb_per_second']:>8.0f} {told['peak_mb']:>9.0f}"
        for way, told in ways.items()
    ]
    silver, floor = ways["silver"], ways["columns"]
    lines.append(
        f"  Bronze to Silver: {silver['mb_per_second']:.0f} MB/s (goal 60), "
        f"{floor['seconds'] / silver['seconds']:.2f} of floor 2 (goal 0.6)"
    )
    whole = ways["bronze"]["seconds"] + silver["seconds"]
    lines.append(
        f"  landing to Silver: {result['megabytes'] / whole:.0f} MB/s, "
        f"{floor['seconds'] / whole:.2f} of floor 2"
    )
    views = result["views"]
    lines.append(
        f"  SQL on FHIR views over {views['megabytes']:.0f} MB of NDJSON: "
        f"{views['megabytes'] / views['seconds']:.0f} MB/s (goal 5)"
    )
    one = result["cohorts"]
    lines.append(
        f"  one cohort ({one['megabytes']:.1f} MB) more than {one['cohorts']}, a run each: "
        f"{one['one_more']:.2f} s, {one['ratio']:.2f} of its share of {one['share']:.2f} s (goal 1.3)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
