"""One writer: random programmes against a model, silent casts, tokens, and the end of processes.

Belongs here: trials without a second writer. Does not: races (races.py), faults (faulty.py, killed.py).
"""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import polars as pl
from verdicts import LOG, POINTS, Verdict, judged, named, summed

from lakehouse.contracts import Column, Contract, Materialization, Type
from lakehouse.errors import DataViolation, SchemaViolation, StaleWriter
from lakehouse.settings import Settings
from lakehouse.store import CommitOptions, MaintenanceOptions, Term, Transaction, Where, open_store

NASTY = ("a", "it's", '"q"', "100%", "a/b", "a=b", "x;--", "ü€", "new\nline", " ", "..", "%2F", "null",
         "a" * 60, "{}", "\\", "?", "#", "+", "&")  # fmt: skip
MOMENTS = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
)
MOST, LEAST = 2**63 - 1, -(2**63)
FUZZED = Contract(
    layer="gold", name="fuzzed", domain="guarantees", description="One row.",
    materialization=Materialization.INCREMENTAL_BY_KEY,
    key=("k", "p"), partition_by=("p",),
    columns=(
        Column(name="k", type=Type.STRING, nullable=False, description="Key"),
        Column(name="p", type=Type.STRING, nullable=False, description="Partition"),
        Column(name="n", type=Type.INT64, description="Number"),
        Column(name="f", type=Type.FLOAT64, description="Float"),
        Column(name="at", type=Type.TIMESTAMP, description="Time"),
        Column(name="d", type=Type.DATE, description="Day"),
        Column(name="b", type=Type.BOOL, description="Flag"),
        Column(name="s", type=Type.STRING, description="Text"),
    ),
)  # fmt: skip
FullRow = tuple[Any, ...]
Model = dict[tuple[str, str], FullRow]


def _value(draw: random.Random) -> FullRow:
    return (
        draw.choice([None, 0, 1, MOST, LEAST, draw.randrange(10**6)]),
        draw.choice([None, 0.0, 1.5, float("inf"), float("-inf"), 1e308, 5e-324, draw.random()]),
        draw.choice([None, *MOMENTS]),
        draw.choice([None, date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31)]),
        draw.choice([None, True, False]),
        draw.choice([None, "", *NASTY]),
    )  # fmt: skip


def _rows(draw: random.Random, most: int = 4) -> Model:
    keys = {(draw.choice(NASTY), draw.choice(NASTY[:8])) for _ in range(draw.randrange(1, most + 1))}
    return {key: (*key, *_value(draw)) for key in sorted(keys)}


def _frame(rows: Model) -> pl.DataFrame:
    return pl.DataFrame(list(rows.values()), schema=FUZZED.polars_schema(), orient="row")


def fuzz(settings: Settings, *, operations: int = 1000, seed: int = 1) -> Verdict:
    """Do random operations on a table and a dictionary; after each, and at old versions, they are equal."""
    draw, store = random.Random(seed), open_store(settings)
    table = named(FUZZED, f"fuzzed_{seed}")
    model: Model = {}
    past: dict[int, Model] = {store.ensure(table): {}}
    verdicts = []
    for number in range(operations):
        model, version = _step(draw, store, table, model, past)
        past[version] = dict(model)
        verdicts.append(judged(store.scan(table).collect().rows(), model.values()))
        if number % 10 == 0:
            old = draw.choice(sorted(past))
            verdicts.append(
                judged(store.scan(table, version=old).collect().rows(), past[old].values(), trials=0)
            )
            verdicts.append(_moved(store, table, old, past[old], version, model))
    return summed(verdicts)


def _step(
    draw: random.Random, store: Any, table: Contract, model: Model, past: dict[int, Model]
) -> tuple[Model, int]:
    kind = draw.choices(
        ["append", "merge", "replace", "overwrite", "delete", "restore", "maintain"], [4, 6, 4, 1, 3, 1, 1]
    )[0]
    rows = _rows(draw)
    match kind:
        case "append":
            new = {k: r for k, r in rows.items() if k not in model}
            return {**model, **new}, store.append(table, _frame(new)).version
        case "merge":
            return {**model, **rows}, store.merge(table, _frame(rows)).version
        case "replace":
            parts = {p for _, p in rows}
            kept = {k: r for k, r in model.items() if k[1] not in parts}
            return {**kept, **rows}, store.replace_partitions(table, _frame(rows)).version
        case "overwrite":
            return rows, store.overwrite(table, _frame(rows)).version
        case "delete":
            key = draw.choice(NASTY)
            where = draw.choice(
                [Where(Term("k", "=", key)), Where(Term("p", "in", NASTY[:2]), Term("n", ">", 5))]
            )
            gone = _frame(model).filter(where.polars()).select("k", "p").rows() if model else []
            return {k: r for k, r in model.items() if k not in set(gone)}, store.delete(table, where).version
        case "restore":
            back = draw.choice(sorted(past))
            return dict(past[back]), store.restore(table, back).version
        case _:
            return model, store.maintain(table, MaintenanceOptions(retain=timedelta(days=1))).version


def _moved(store: Any, table: Contract, old: int, before: Model, new: int, after: Model) -> Verdict:
    """Check what changed since an old version against the two models."""
    if old > new:
        return Verdict()
    told = store.changes(table, since=old, until=new)
    if not told.complete:
        return Verdict()
    came = [r for k, r in after.items() if before.get(k) != r]
    went = [r for k, r in before.items() if after.get(k) != r]
    found = judged(told.added.collect().rows(), came, trials=0)
    return found + judged(told.removed.collect().rows(), went, trials=0)


def casts() -> dict[str, pl.DataFrame]:
    """What libraries cast without a word, for a table of one int32 `n` and one text `s`."""
    n, s = pl.Series("n", [1], dtype=pl.Int32), pl.Series("s", ["x"])
    return {
        "fraction into integer": pl.DataFrame({"n": [1.9], "s": s}),
        "text into integer": pl.DataFrame({"n": ["12"], "s": s}),
        "bool into integer": pl.DataFrame({"n": [True], "s": s}),
        "wide into narrow integer": pl.DataFrame({"n": [2**40], "s": s}),
        "unsigned into signed": pl.DataFrame({"n": pl.Series([2**31], dtype=pl.UInt32), "s": s}),
        "integer into text": pl.DataFrame({"n": n, "s": [7]}),
        "date into text": pl.DataFrame({"n": n, "s": [date(2026, 1, 1)]}),
        "category into text": pl.DataFrame({"n": n, "s": s.cast(pl.Categorical)}),
        "only nulls": pl.DataFrame({"n": n, "s": pl.Series([None], dtype=pl.Null)}),
        "one column more": pl.DataFrame({"n": n, "s": s, "extra": [1]}),
        "one column less": pl.DataFrame({"n": n}),
        "another case": pl.DataFrame({"N": n, "s": s}),
        "a null where none may be": pl.DataFrame({"n": pl.Series([None], dtype=pl.Int32), "s": s}),
        "binary into text": pl.DataFrame({"n": n, "s": [b"x"]}),
    }


CAST = Contract(
    layer="silver", name="cast", domain="guarantees", description="One row.",
    materialization=Materialization.INCREMENTAL_BY_KEY, key=("n",),
    columns=(
        Column(name="n", type=Type.INT32, nullable=False, description="Number"),
        Column(name="s", type=Type.STRING, description="Text"),
    ),
)  # fmt: skip


def silent_casts(settings: Settings) -> Verdict:
    """Hand over each of `casts` in every way of writing: refused by name, and nothing is there."""
    store = open_store(settings)
    store.ensure(CAST)
    verdicts = []
    for given in casts().values():
        for write in (store.append, store.merge, store.overwrite):
            try:
                write(CAST, given)
                verdicts.append(Verdict(trials=1, changed=1))
            except (SchemaViolation, DataViolation):
                verdicts.append(Verdict(trials=1, told=1))
    there = store.scan(CAST).select(pl.len()).collect().item()
    return summed(verdicts) + Verdict(doubled=int(there))


def tokens(settings: Settings) -> Verdict:
    """A token lands once: the same again is a no-op, a lower one is refused by name, also after a restart."""
    verdicts = []
    for number in range(1, 11):
        for _ in range(2):
            store = open_store(settings)
            store.append(
                LOG,
                pl.DataFrame({"writer": [1], "n": [number]}),
                CommitOptions(transaction=Transaction("t", number)),
            )
        verdicts.append(Verdict(trials=2))
        try:
            stale = CommitOptions(transaction=Transaction("t", number - 1))
            open_store(settings).append(LOG, pl.DataFrame({"writer": [2], "n": [-number]}), stale)
            verdicts.append(Verdict(trials=1, changed=int(number > 1)))
        except StaleWriter:
            verdicts.append(Verdict(trials=1, told=1))
    found = [(n,) for n in open_store(settings).scan(LOG).filter(pl.col("writer") == 1).collect()["n"]]
    return summed(verdicts) + judged(found, [(n,) for n in range(1, 11)], trials=0)


_ONE_LIFE = """
import sys, orjson, polars as pl
sys.path[:0] = orjson.loads(sys.argv[3])
from verdicts import POINTS, frame
from lakehouse.settings import Settings
from lakehouse.store import open_store
store = open_store(Settings(**orjson.loads(sys.argv[1])))
n = int(sys.argv[2])
store.merge(POINTS, frame([(n, "p", n)]))
assert store.scan(POINTS).filter(pl.col("k") == n).collect().height == 1
store.history(POINTS, limit=1)
"""


def exits(settings: Settings, *, processes: int = 60) -> Verdict:
    """A process that writes, reads and ends says so by exit code 0, every time."""
    told = orjson.dumps(asdict(settings)).decode()
    path = orjson.dumps([p for p in sys.path if p]).decode()
    codes = []
    for n in range(processes):
        argv = [sys.executable, "-c", _ONE_LIFE, told, str(n), path]
        codes.append(subprocess.run(argv, check=False, capture_output=True).returncode)
    found = [(k,) for k in open_store(settings).scan(POINTS).collect()["k"]]
    wrong = sum(code != 0 for code in codes)
    return judged(found, [(n,) for n in range(processes)], trials=processes) + Verdict(changed=wrong)
