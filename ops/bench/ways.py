"""What one process of `make bench-full` does: one way through Bronze, Silver and Gold, a change, or batches.

Belongs here: running one, and what it says of itself. Does not: other tools' programs (peers.py), which runs
there are (full.py), or their cost (tree.py).

    python ops/bench/ways.py flow odp-polars --files 'landing/pipeline_events/*.parquet' --lake DIR
    python ops/bench/ways.py change odp-duckdb --rows 1000000
    python ops/bench/ways.py batches odp-polars --batches 1000 --every 100
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ENGINES = ("odp-polars", "odp-duckdb", "odp-spark")
PLAIN = ("polars-by-hand", "duckdb-by-hand", "pandas")
APART = ("dlt-duckdb", "dlt-ducklake", "pyspark")  # in the environment .tools/bench
WAYS = (*ENGINES, *PLAIN, *APART)
Program = Callable[[Callable[..., None]], Callable[[], Any]]
"""Goes a way, telling each layer done, and returns what counts its rows afterwards."""
_PACKAGES = ("polars", "duckdb", "deltalake", "pandas", "dlt", "pyspark", "pyspark-client", "pysail")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("flow", "change", "batches", "commits", "eltbench"))
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument(
        "--every", type=int, default=0, help="batches from one maintenance to the next; 0: none"
    )
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args(argv)
    with _engine(given.way):
        if given.what == "flow":
            found = flow(given.way, given.files, given.lake)
        elif given.what == "change":
            found = _change(given.rows)
        elif given.what == "batches":
            import batches

            found = batches.measure(given.batches, given.every)
        elif given.what == "eltbench":
            import elt_ours

            found = elt_ours.measure(given.files, given.lake)
        else:
            import commits

            found = commits.measure(given.processes)
    print(json.dumps(found | {"versions": _versions()}))
    return 0


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def _engine(way: str) -> Iterator[None]:
    """Set ODP_ENGINE for what follows; for Spark with a server that is a child of this process."""
    if way not in ENGINES:
        yield
        return
    os.environ["ODP_ENGINE"] = way.removeprefix("odp-")
    if way != "odp-spark":
        yield
        return
    with tempfile.TemporaryDirectory(prefix="odp-bench-") as folder, _sail(Path(folder)) as address:
        os.environ |= {"SPARK_REMOTE": address, "SPARK_READS_LAKE": "true"}
        yield


@contextmanager
def _sail(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lakehouse.engine.spark.server"]
    env = os.environ | {
        "LAKE_URL": str(folder), "LANDING_URL": str(folder), "ODP_SCRATCH": str(folder),
        "CONNECT_PORT": str(port),
    }  # fmt: skip
    with Path(folder, "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            _await(server, port)
            yield f"sc://127.0.0.1:{port}"
        finally:
            server.kill()  # with a session open, it does not end at a TERM
            server.wait()


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("Sail does not take connections") from None
            time.sleep(0.05)
        else:
            return


def flow(way: str, files: Path, lake: Path) -> dict[str, Any]:
    """Go one way through the layers and say what it took. Importing and starting a server is not counted."""
    do = _ready(way, files, lake)
    steps: dict[str, float] = {}
    started = last = time.monotonic()

    def mark(step: str, seconds: float | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        steps[step] = round(now - last if seconds is None else seconds, 3)
        last = now

    done = do(mark)
    return {"seconds": round(last - started, 3), "steps": steps, "tables": done()}


def _ready(way: str, files: Path, lake: Path) -> Program:
    """Import what a way needs; return what goes it."""
    if way in ENGINES:
        return _ours(files, lake)
    if way in PLAIN[:2]:
        return _by_hand(way, files, lake)
    import peers

    if way == "pandas":
        import deltalake  # noqa: F401
        import pandas  # noqa: F401
    elif way != "pyspark":  # whose JVM starts within its time, as a job's does
        import dlt  # noqa: F401
        import duckdb  # noqa: F401
    program = getattr(peers, way.replace("-", "_"))

    def go(mark: Callable[..., None]) -> Callable[[], Any]:
        tables = program(files, lake, mark)
        return lambda: tables

    return go


def _ours(files: Path, lake: Path) -> Program:
    from increment import engine

    from lakehouse.domains.pipelines import contracts as c
    from lakehouse.materialize import materialize
    from lakehouse.pipeline import open_lake
    from lakehouse.registry import find
    from lakehouse.settings import Settings

    raw, events, metrics = map(find, (c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, c.PIPELINE_METRICS))

    def go(mark: Callable[..., None]) -> Callable[[], Any]:
        places = {"LAKE_URL": str(lake), "LANDING_URL": str(files.parent.parent)}
        opened = open_lake(Settings.from_env(engine() | places))
        bronze = materialize(opened, raw).report
        mark("bronze")
        silver = materialize(opened, events).refreshed
        mark("silver")
        materialize(opened, metrics)
        mark("gold")

        def count() -> dict[str, float]:
            assert silver.balances
            gold = opened.store.scan(c.PIPELINE_METRICS)
            return {"bronze": bronze.rows, "silver": silver.written, **_gold(gold)}

        return count

    return go


def _by_hand(way: str, files: Path, lake: Path) -> Program:
    import by_hand
    import pipeline
    import polars as pl

    def go(mark: Callable[..., None]) -> Callable[[], Any]:
        if way == "duckdb-by-hand":
            tables = by_hand.flow(files, lake, mark)
        else:
            steps, tables = pipeline.floor(files, lake)()
            for step, seconds in steps.items():
                mark(step, seconds)

        def count() -> dict[str, float]:
            gold = pl.scan_delta(str(lake / "gold" / "pipeline_metrics"))
            return {"bronze": tables["bronze"], "silver": tables["silver"], **_gold(gold)}

        return count

    return go


def _gold(gold: Any) -> dict[str, float]:
    import peers
    import polars as pl

    figures = gold.select(
        pl.len(),
        pl.col("total_pipelines", "success_count", "failed_count").sum(),
        pl.col("p95_duration_sec").sum().round(3),
    )
    return peers.gold_figures(figures.collect().row(0))


def _change(rows: int) -> dict[str, Any]:
    import increment

    found = increment.measure(rows)
    found["first"] = found.pop("load")  # a load is that of the machine here
    return {**found, "seconds": sum(found["change"][layer]["seconds"] for layer in ("silver", "gold"))}


if __name__ == "__main__":
    sys.exit(main())
