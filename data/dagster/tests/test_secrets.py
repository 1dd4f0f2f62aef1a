"""A value never reaches a log: an error in every step, with secrets in every kind of column.

Belongs here: what event log, compute logs, console and alert log hold after a failure. Does not: masking of
previews. Each run is a process of its own, since what it prints counts too; whatever it left is searched,
byte for byte.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SECRETS = ("s3cr3t-Ada", "8812345678901", "77.1234567", "1911-03-07", "1911, 3, 7")
PROGRAM = """
import os
import sys
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import narwhals.stable.v2 as nw
import pandas as pd
import polars as pl

from lakehouse.contracts import Column, Contract, RowRule, Type, Materialization, bronze_columns
from lakehouse.contracts.model import pointer_columns
from lakehouse.pipeline import open_lake
from lakehouse.landing import Source
from lakehouse.settings import Settings
from lakehouse.store.delta import DeltaStore
from lakehouse import catalog
from lakehouse.table import Table
from orchestration.assets import table_assets
from orchestration.automation import on_run_failure
from orchestration.resources import LakeResource

OWN = (
    Column(name="k", type=Type.STRING, nullable=False, description="Key", pii=True),
    Column(name="i", type=Type.INT64, description="Int", pii=True),
    Column(name="f", type=Type.FLOAT64, description="Float", pii=True),
    Column(name="d", type=Type.DATE, description="Date", pii=True),
    Column(name="t", type=Type.TIMESTAMP, description="Time", pii=True),
)
RAW = Contract(layer="bronze", name="raw", domain="test",
               materialization=Materialization.APPEND, description="One row.",
               columns=(*OWN, *bronze_columns()))
RULE = {"rule": (RowRule(name="odd", description="odd", passes=lambda: chained()),)}
NEGATIVE = RowRule(name="odd", description="odd", passes=lambda: nw.col("i") < 0, values=("k", "i"))
GOLD = {"gold_rule": (NEGATIVE,)}
SECRET = {"k": "s3cr3t-Ada", "i": 8812345678901, "f": 77.1234567, "d": date(1911, 3, 7),
          "t": datetime(1911, 3, 7, tzinfo=UTC)}


def read(file):
    if STEP == "read":
        raise KeyError(str(SECRET))
    yield pl.DataFrame([SECRET], schema={c.name: RAW.polars_schema()[c.name] for c in OWN})


def chained(*_, **__):
    try:
        {}["s3cr3t-Ada"]
    except KeyError as exc:
        error = ValueError(f"cannot write {SECRET}")
        error.add_note(f"note {SECRET}")
        raise error from exc


def silver(frame):
    native = nw.to_native(frame)
    match STEP:
        case "raise":
            chained()
        case "cast":
            native = native.with_columns(pl.col("k").str.to_integer())
        case "date":
            native = native.with_columns(pl.col("k").str.to_date("%Y"))
        case "column":
            native = native.with_columns(pl.col(native.collect()["k"][0]))
        case "python":
            native = native.with_columns(pl.col("k").map_elements(int, return_dtype=pl.Int64))
        case "group":
            raise ExceptionGroup("s3cr3t-Ada", [ValueError(str(SECRET))])
        case "panic":
            raise pl.exceptions.PanicException(str(SECRET))
        case "rename":
            native = native.rename({"i": "s3cr3t-Ada"})
        case "rows":
            native = pl.concat([native, native])
        case "frame":
            return SECRET
    return nw.from_native(native)


def gold(frame: pd.DataFrame) -> pd.DataFrame:
    if STEP == "pandas":
        return frame.set_index("k").loc[["nobody"]].astype({"i": "s3cr3t-Ada"})
    if STEP == "null":
        frame["k"] = None
    if STEP == "pivot":
        return frame.pivot(columns="k", values="i")
    if STEP == "unlike":
        frame["i"] = frame["k"]
    return frame[[c.name for c in OWN]]


def run():
    rows_table = Contract(
        layer="silver", name="rows", domain="test",
        materialization=Materialization.INCREMENTAL_BY_KEY, description="One row.", key=("k",),
        sources=(RAW,), columns=(*OWN, *pointer_columns("bronze/raw")),
        cluster_by=("k",), rules=RULE.get(STEP, ()),
    )
    total_table = Contract(
        layer="gold", name="total", domain="test", materialization=Materialization.FULL,
        description="One row.", key=("k",),
        columns=OWN, sources=(rows_table,), cluster_by=("k",), rules=GOLD.get(STEP, ()),
    )
    tables = (
        Table(contract=RAW, sources=(Source(folder="x", table=RAW, read=read, description="X"),)),
        Table(contract=rows_table, transform=silver),
        Table(contract=total_table, transform=gold),
    )
    open_lake(Settings.from_env()).landing.put("x/a.txt", b"a")
    job = dg.Definitions(
        assets=[table_assets([one]) for one in tables], resources={"lake": LakeResource()},
        jobs=[dg.define_asset_job("everything", executor_def=dg.in_process_executor)],
    ).resolve_job_def("everything")
    with dg.DagsterInstance.get() as instance:
        if STEP == "_merge":  # a known key is merged; a first run only appends
            job.execute_in_process(instance=instance, raise_on_error=False)
            open_lake(Settings.from_env()).landing.put("x/b.txt", b"b")
        with ExitStack() as broken:
            if STEP in ("_write", "_merge", "ensure"):
                broken.enter_context(patch.object(DeltaStore, STEP, chained))
            if STEP == "preview":
                broken.enter_context(patch.object(catalog, "preview", chained))
            done = job.execute_in_process(instance=instance, raise_on_error=False)
        for one in done.all_events:
            if one.is_step_failure:
                said = one.step_failure_data
                ours = said.user_failure_data
                told = ours.description if ours else said.error.to_string()
                print("TOLD", told.replace(chr(10), " "))
        for check in done.get_asset_check_evaluations():
            if not check.passed:
                print("CHECK", check.check_name, check.description)
        for event in done.all_events:
            if event.event_type_value == "PIPELINE_FAILURE":
                on_run_failure(dg.build_run_status_sensor_context(
                    "on_run_failure", event, instance, done.dagster_run).for_run_failure())


home = Path(sys.argv[1])
for STEP in sys.argv[2:]:
    place = home / STEP
    (place / "home").mkdir(parents=True)
    os.environ |= {"LAKE_URL": f"{place}/lake", "LANDING_URL": f"{place}/landing"}
    os.environ["DAGSTER_HOME"] = f"{place}/home"
    print("STEP", STEP)
    run()
"""

STEPS = {
    "read": "x/a.txt: it cannot be read: KeyError at __main__:",
    "raise": "ValueError at __main__:",
    "cast": "silver/rows",
    "date": "silver/rows",
    "column": "ColumnNotFoundError",
    "python": "silver/rows",
    "group": "ExceptionGroup at __main__:",
    "panic": "PanicException at __main__:",
    "rename": "missing: i",
    "rows": "the transform made 2 rows of 1",
    "frame": "SchemaViolation",
    "rule": "rule odd of silver/rows cannot be evaluated",
    "gold_rule": "gold/total: rows that its transform made break rules",
    "pandas": "computing gold/total",
    "null": "k_not_null (1 row)",
    "pivot": "gold/total: the frame is not what the contract says",
    "unlike": "i is String, not Int64",
    "_write": "bronze/raw",
    "_merge": "ValueError at __main__:",
    "ensure": "ingesting into bronze/raw",
    "preview": "ValueError at __main__:",
}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Every step in turn, each with a lake and a home of its own; where they are, and what was printed."""
    place = tmp_path_factory.mktemp("secrets")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER", "ALERT", "ODP"))}
    (place / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(place / "program.py"), str(place / "steps"), *STEPS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / "steps", f"{done.stdout}STEP end\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_failure_of_any_step_is_told_by_its_place(step: str, trial: tuple[Path, str]) -> None:
    said = trial[1].split(f"STEP {step}\n")[1].split("STEP ")[0]
    assert STEPS[step] in "".join(line for line in said.splitlines() if line.startswith(("TOLD", "CHECK")))


@pytest.mark.slow
def test_no_value_of_a_failed_step_reaches_a_log(trial: tuple[Path, str]) -> None:
    place, said = trial
    assert [line for line in said.splitlines() if any(secret in line for secret in SECRETS)] == []
    files = [path for step in STEPS for path in (place / step / "home").rglob("*") if path.is_file()]
    held = {str(path): path.read_bytes() for path in files}
    found = [(path, secret) for path, text in held.items() for secret in SECRETS if secret.encode() in text]
    assert found == []
    alerts = [path for path in files if path.name == "alerts.log"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in alerts} == {0o600}


def test_what_the_embedded_platform_keeps_is_for_its_user_alone(tmp_path: Path) -> None:
    """A folder of an earlier version, open to all, is closed; landing/ stays as others found it."""
    (tmp_path / "data" / "logs").mkdir(parents=True, mode=0o755)
    (tmp_path / "data" / "logs" / "ui.log").touch(mode=0o644)
    (tmp_path / "landing").mkdir(mode=0o755)
    program = (
        "import os, sys; from pathlib import Path; from orchestration.embedded import Place, prepare;"
        "root = Path(sys.argv[1]); prepare(Place(data=root / 'data', landing=root / 'landing', port=1));"
        "Path(os.environ['DAGSTER_HOME'], 'storage').mkdir();"
        "Path(os.environ['DAGSTER_HOME'], 'x.err').touch()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, umask=0o022)
    found = {
        path.relative_to(tmp_path).as_posix(): oct(stat.S_IMODE(path.stat().st_mode))
        for path in tmp_path.rglob("*")
    }
    assert found.pop("landing") == "0o755"
    assert found == {
        "data": "0o700", "data/lake": "0o700", "data/logs": "0o700", "data/logs/ui.log": "0o600",
        "data/dagster": "0o700", "data/dagster/dagster.yaml": "0o600", "data/dagster/storage": "0o700",
        "data/dagster/x.err": "0o600",
    }  # fmt: skip
