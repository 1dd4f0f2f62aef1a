"""The simulations of ops/bench keep the limits of their premises; the page tells its results."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from checkouts import ROOT


@pytest.fixture(autouse=True)
def _bench_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "ops" / "bench"))
    for file in (ROOT / "ops" / "bench").glob("*.py"):  # other tests have modules of such names
        monkeypatch.delitem(sys.modules, file.stem, raising=False)


def module(name: str) -> Any:
    return importlib.import_module(name)


def place(spread: float = 0.0) -> Any:
    c = module("contention")
    return c.Place(
        name="x", get=c.Latency(median=0.03, spread=spread), put=c.Latency(median=0.06, spread=spread)
    )


def test_one_writer_commits_once_a_put() -> None:
    c = module("contention")
    outcome = c.compete(place(), c.Load(writers=1), c.PATIENT, seconds=600, seed=1)
    assert outcome.per_second == pytest.approx(1 / 0.06, rel=1e-3)
    assert (outcome.conflicts, outcome.given_up, outcome.fairness) == (0.0, 0, 1.0)


def test_one_writer_that_reads_first_takes_every_request() -> None:
    c = module("contention")
    outcome = c.compete(place(), c.Load(writers=1, reads=6), c.PATIENT, seconds=600, seed=1)
    assert outcome.per_second == pytest.approx(1 / (6 * 0.03 + 0.06), rel=1e-3)


@pytest.mark.parametrize("writers", [2, 8, 32])
@pytest.mark.parametrize("reads", [1, 6])
@pytest.mark.parametrize("retries", ["IMPATIENT", "PATIENT"])
def test_no_number_of_writers_passes_the_limit(writers: int, reads: int, retries: str) -> None:
    c = module("contention")
    load = c.Load(writers=writers, reads=reads, think=0.01, random=True)
    outcome = c.compete(place(), load, getattr(c, retries), seconds=300, seed=3)
    assert 0 < outcome.per_second <= place().limit(reads)


def test_attempts_lose_as_often_as_random_commits_fall_into_their_window() -> None:
    c = module("contention")
    writers, think = 400, 400.0  # one commit a second in all, at random
    load = c.Load(writers=writers, think=think, random=True)
    outcome = c.compete(place(), load, c.PATIENT, seconds=40_000, seed=5)
    assert outcome.per_second == pytest.approx(writers / think, rel=0.02)
    first = c.collision(place(), outcome.per_second)
    assert outcome.conflicts == pytest.approx(first, rel=0.15)


def test_a_writer_gives_up_after_its_tries_and_is_counted() -> None:
    c = module("contention")
    eager = c.compete(place(0.5), c.Load(writers=64), c.Retries(most=0), seconds=60, seed=1)
    assert eager.given_up == eager.attempts - eager.commits > 0
    patient = c.compete(place(0.5), c.Load(writers=64), c.PATIENT, seconds=60, seed=1)
    assert patient.given_up == 0


def test_every_commit_is_some_writers() -> None:
    c = module("contention")
    outcome = c.compete(place(0.5), c.Load(writers=8), c.IMPATIENT, seconds=60, seed=1)
    assert sum(outcome.by_writer) == outcome.commits == len(outcome.waits)
    again = c.compete(place(0.5), c.Load(writers=8), c.IMPATIENT, seconds=60, seed=1)
    assert again == outcome


@pytest.mark.parametrize(("arriving", "every"), [(0.1, 600), (5, 60), (9, 600)])
def test_small_files_that_are_merged_in_time_stay_at_one_period_of_them(
    arriving: float, every: float
) -> None:
    c = module("contention")
    upkeep = c.Upkeep(arriving=arriving, every=every, merging=10)
    points = c.debt(upkeep, seconds=100 * every)
    assert max(small for _, small, _ in points) == pytest.approx(upkeep.highest, rel=1e-9)
    merged = sum(large for _, _, large in points[-1:]) * upkeep.small_per_large
    assert merged + points[-1][1] == pytest.approx(arriving * points[-1][0])


def test_small_files_that_come_faster_grow_by_their_ratio() -> None:
    c = module("contention")
    upkeep = c.Upkeep(arriving=12, every=60, merging=10)
    peaks = [small for _, small, _ in c.debt(upkeep, seconds=3_600)[1::2]]
    assert upkeep.highest == math.inf
    assert [b / a for a, b in pairwise(peaks[1:])] == pytest.approx([1.2] * (len(peaks) - 2))


def test_commits_that_lose_to_writers_use_up_what_compaction_can_do() -> None:
    c = module("contention")
    assert c.Upkeep(arriving=6, every=60, merging=10).keeps_up
    assert not c.Upkeep(arriving=6, every=60, merging=10, lost=0.5).keeps_up
    lost = c.debt(c.Upkeep(arriving=6, every=60, merging=10, lost=0.5), seconds=36_000)
    kept = c.debt(c.Upkeep(arriving=6, every=60, merging=10), seconds=36_000)
    assert lost[-1][1] > 10 * kept[-1][1]


def test_a_program_that_grows_is_ended_with_what_it_started(tmp_path: Path) -> None:
    tree = module("tree")
    child = tmp_path / "child"
    program = (
        "import subprocess, sys, time\n"
        "started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(child)!r}, 'w').write(str(started.pid))\n"
        "grown = bytearray(600_000_000)\n"
        "time.sleep(600)\n"
    )
    share = 300e6 / (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    found = tree.run([sys.executable, "-c", program], os.environ, seconds=120, memory=share)
    assert found == {"failed": "took more than 0.3 GB of memory"}
    state = Path(f"/proc/{child.read_text()}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_program_that_hangs_is_ended() -> None:
    tree = module("tree")
    found = tree.run([sys.executable, "-c", "import time; time.sleep(600)"], os.environ, seconds=1)
    assert found == {"failed": "took longer than 1 s"}


def test_peak_and_cpu_are_those_of_the_whole_tree() -> None:
    """In a small process, as the bench is one: the kernel counts what a child was before it became itself."""
    grow = "import time; data = bytearray(200_000_000); time.sleep(1)"
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {grow!r}])\nprint('{{}}')"
    measure = f"import json, os, sys, tree\nargv = [sys.executable, '-c', {program!r}]\n"
    measure += "print(json.dumps(tree.run(argv, os.environ, seconds=60)))"
    done = subprocess.run(
        [sys.executable, "-c", measure],
        cwd=ROOT / "ops" / "bench",
        capture_output=True,
        check=True,
        timeout=90,
    )
    found = json.loads(done.stdout)
    assert 200 < found["peak_mb"] < 300
    assert 0 < found["cpu_seconds"] < found["process_seconds"]


def test_a_program_that_fails_says_so() -> None:
    tree = module("tree")
    found = tree.run([sys.executable, "-c", "raise SystemExit('no such thing')"], os.environ, seconds=60)
    assert found == {"failed": "exit 1: no such thing"}


def row(**more: Any) -> dict[str, Any]:
    return {
        "at": "2026-11-30T00:00:00+00:00", "load": 0.1, "machine": "m", "python": "3", "commit": "c",
        "what": "flow", "way": "odp-polars", "rows": 100_000, "number": 0, "seconds": 2.0, "cpu_seconds": 3.0,
        "peak_mb": 100.0, "tables": {"bronze": 100_000}, **more,
    }  # fmt: skip


def test_the_page_says_what_is_not_measured_and_why_something_failed(tmp_path: Path) -> None:
    report = module("report")
    page = tmp_path / "benchmarks.md"
    report.write([row(), row(seconds=4.0, number=1), row(way="pandas", failed="took more than 1 GB")], page)
    text = page.read_text()
    assert "| ODP, Polars | 33,333 | 3.00 | 3.0 | 100 | yes | 2 | 0.1–0.1 |" in text
    assert "| pandas → Delta | took more than 1 GB |" in text
    assert "| ODP, DuckDB | not measured |" in text
    assert "### 50,000,000 rows\n\nNot measured." in text
    assert [chart.name for chart in sorted((tmp_path / "benchmarks").iterdir())] == [
        "peak-memory.svg", "rows-per-second.svg",
    ]  # fmt: skip


def test_other_tables_are_not_called_equal(tmp_path: Path) -> None:
    report = module("report")
    page = tmp_path / "benchmarks.md"
    report.write([row(), row(way="pandas", tables={"bronze": 99_999})], page)
    assert "| pandas → Delta | 50,000 | 2.00 | 3.0 | 100 | no | 1 | 0.1 |" in page.read_text()


def test_the_page_of_the_repository_is_that_of_its_results(tmp_path: Path) -> None:
    report = module("report")
    kept = ROOT / "docs" / "benchmarks.md"
    page = tmp_path / "benchmarks.md"
    report.write(json.loads(kept.with_suffix(".json").read_text())["rows"], page)
    assert page.read_text() == kept.read_text()
    made = {chart.name: chart.read_text() for chart in (tmp_path / "benchmarks").iterdir()}
    assert made == {chart.name: chart.read_text() for chart in kept.with_suffix("").iterdir()}


def test_a_result_is_kept_once_and_a_failure_gives_way(tmp_path: Path) -> None:
    full = module("full")
    wanted = {"what": "flow", "way": "odp-polars", "rows": 100_000, "number": 0}
    results = full.Results(tmp_path / "results.json")
    results.add(wanted | {"failed": "took longer"})
    assert results.missing(wanted)
    results.add(wanted | {"seconds": 1.0, "peak_mb": 1.0})
    again = full.Results(tmp_path / "results.json")
    assert not again.missing(wanted)
    assert again.rows == [wanted | {"seconds": 1.0, "peak_mb": 1.0}]


def test_the_plan_begins_with_small_sizes_and_repeats_them_alone() -> None:
    full = module("full")
    given = full._arguments(
        ["--sizes", "10000000", "100000", "--engines", "polars", "--no-peers", "--repeat", "2"]
    )
    told = [(m["what"], m.get("rows")) for m in full.plan(given)]
    assert told[:4] == [
        ("flow", 100_000), ("flow", 100_000), ("flow", 10_000_000), ("change", 10_000_000),
    ]  # fmt: skip


@pytest.mark.slow
def test_small_sizes_are_measured_kept_and_shown(tmp_path: Path) -> None:
    full = module("full")
    out, page = tmp_path / "results.json", tmp_path / "benchmarks.md"
    argv = ["--sizes", "3000", "--engines", "polars", "--peers", "duckdb-by-hand,pandas", "--parts", "flow",
            "--repeat", "1", "--out", str(out), "--page", str(page), "--data", str(tmp_path)]  # fmt: skip
    assert full.main(argv) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["way"] for row in rows] == ["odp-polars", "duckdb-by-hand", "pandas"]
    good = {"bronze": 3_000, "silver": 3_000 - 150 - 30}  # 5 % repeat, 1 % is broken
    assert all(good.items() <= row["tables"].items() for row in rows)
    assert rows[0]["tables"] == rows[1]["tables"] == rows[2]["tables"]
    assert full.main(argv) == 0
    assert json.loads(out.read_text())["rows"] == rows
