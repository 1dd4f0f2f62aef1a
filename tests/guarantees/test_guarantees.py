"""Every guarantee in small on a folder and DuckLake, and on the object store where there is an engine.

The full number of trials: `make test-guarantees`. The judges are shown something broken, and must see it.
"""

from __future__ import annotations

from pathlib import Path

import killed
import lakes
import polars as pl
import pytest
import report
from verdicts import LOG, Verdict, best, judged

from lakehouse import fault_points
from lakehouse.store import open_store

# What a folder and DuckLake take more than a few seconds for.
LONG = {
    "every pair of operations at once",
    "every order of two flows' commits",
    "flows at once, killed now and then",
    "kill -9 at every named step",
}


def marks(kind: str, name: str) -> list[pytest.MarkDecorator]:
    """Return the suites a trial runs in: of DuckLake, only the shortest runs with `make test`."""
    # It ends after so many commits, however long a busy machine takes for them.
    patient = [pytest.mark.timeout(900)] if name == "flows at once, killed now and then" else []
    if kind == "s3":
        return [pytest.mark.containers, *patient]
    slow = name in LONG or (kind == "ducklake" and name != "processes that write and end")
    return [pytest.mark.slow, *patient] if slow else []


QUICK = [
    pytest.param(kind, name, id=f"{kind}-{name}", marks=marks(kind, name))
    for kind in ("folder", "s3", "ducklake")
    for name in report.TRIALS
    if (name, kind) not in report.LEFT_OUT
]


@pytest.mark.parametrize(("kind", "name"), QUICK)
def test_nothing_is_lost_doubled_or_changed(kind: str, name: str, tmp_path: Path) -> None:
    with lakes.lake_of(kind, tmp_path) as settings:
        verdict = report.TRIALS[name](settings, True)
    assert verdict.kept, verdict


def test_every_step_of_the_table_of_faults_is_killed_at() -> None:
    by_dbt = {"dbt.built", "dbt.taking"}  # killed at in data/lakehouse/tests/test_dbt.py
    steps = {*killed.FLOW, *killed.DUCKLAKE, *killed.REBUILD, *killed.CARE, "restore.table", *by_dbt}
    assert steps == set(fault_points.POINTS)


def test_a_judge_sees_what_is_lost_doubled_and_changed() -> None:
    wanted = [(1, "a"), (2, "b")]
    assert judged([(1, "a")], wanted) == Verdict(trials=1, lost=1)
    assert judged([(1, "a"), (1, "a"), (2, "b")], wanted) == Verdict(trials=1, doubled=1)
    assert judged([(1, "a"), (2, "x")], wanted) == Verdict(trials=1, changed=1)
    assert best([(3, "c")], [wanted, [(3, "c")]]) == Verdict(trials=1)
    assert not Verdict().kept


def test_a_store_that_drops_or_doubles_a_commit_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakes.lake_of("folder", tmp_path) as settings:
        store = open_store(settings)
        real = type(store).append
        for n in range(4):
            times = {1: 0, 2: 2}.get(n, 1)
            for _ in range(times):
                real(store, LOG, pl.DataFrame({"writer": [1], "n": [n]}))
        found = [(n,) for n in store.scan(LOG).collect()["n"]]
    assert judged(found, [(n,) for n in range(4)]) == Verdict(trials=1, lost=1, doubled=1)
