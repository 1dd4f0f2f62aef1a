"""Traps of the table format's library in its commits: each first shown in the library alone, then our answer.

When a bump of the pinned version makes the first half of a test fail, the trap is gone or has changed: see
whether our answer is still needed. `OPEN` names those that we cannot close.

Elsewhere: silent casts, ambiguous commits, concurrent writers (tests/guarantees); two compactions at once,
which double the rows from 1.6.4 on (test_store.py); transactions that a restore leaves ahead
(test_store_care.py); readers that abort the interpreter (tests/test_architecture.py); types, names,
partitions and files (test_traps_data.py).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Schema, write_deltalake
from deltalake import Transaction as AppTransaction
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse import (
    Column,
    CommitOptions,
    Contract,
    Materialization,
    Term,
    Transaction,
    Type,
    Where,
    fault_points,
    open_lake,
)
from lakehouse.errors import (
    DataViolation,
    SchemaViolation,
    StaleWriter,
    StorageUnavailable,
    Unsupported,
    plain,
)
from lakehouse.settings import Settings
from lakehouse.store.delta import DeltaStore

OPEN = {
    "string views": "merge and delete leave them in the files they rewrite; deltalake has no switch for it",
}
ITEMS = Contract(
    layer="silver",
    name="items",
    domain="test",
    description="One item.",
    columns=(
        Column(name="k", type=Type.STRING, nullable=False, description="Identity"),
        Column(name="n", type=Type.INT32, description="A number"),
    ),
    key=("k",),
    materialization=Materialization.INCREMENTAL_BY_KEY,
)
LINES = Contract(
    layer="bronze", name="lines", domain="test", description="One line.", columns=ITEMS.columns, key=("k",),
    materialization=Materialization.APPEND,
)  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A table that the library made alone, with rows a=1 and b=2."""
    path = str(tmp_path / "bare")
    write_deltalake(path, rows(("a", 1), ("b", 2)).to_arrow())
    return path


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    store = open_lake(tmp_path / "lake").store
    assert isinstance(store, DeltaStore)
    return store


def rows(*given: tuple[str | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame(list(given), schema=ITEMS.polars_schema(), orient="row")


def read(path: str) -> list[tuple[Any, ...]]:
    return sorted(pl.read_delta(path).rows(), key=str)


def held(store: DeltaStore, table: Contract = ITEMS) -> list[tuple[Any, ...]]:
    return store.scan(table).sort("k").collect().rows()


def merge(path: str, source: pa.Table) -> None:
    merger = DeltaTable(path).merge(source, "t.k = s.k", source_alias="s", target_alias="t")
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def test_a_transaction_used_again_is_written_again(bare: str, store: DeltaStore) -> None:
    for version in (5, 5, 3):
        transaction = CommitProperties(app_transactions=[AppTransaction("app", version)])
        write_deltalake(bare, rows(("c", 1)).to_arrow(), mode="append", commit_properties=transaction)
    assert len(read(bare)) == 5
    assert DeltaTable(bare).transaction_version("app") == 3

    five, three = (
        CommitOptions(transaction=Transaction("app", 5)),
        CommitOptions(transaction=Transaction("app", 3)),
    )
    assert [store.append(ITEMS, rows(("c", 1)), five).landed for _ in range(2)] == ["committed", "duplicate"]
    with pytest.raises(StaleWriter, match="stands at 5, past this writer's 3"):
        store.append(ITEMS, rows(("c", 1)), three)
    assert held(store) == [("c", 1)]


def test_a_merge_inserts_both_rows_of_one_new_key(bare: str, store: DeltaStore) -> None:
    merge(bare, rows(("x", 1), ("x", 2)).to_arrow())
    assert read(bare) == [("a", 1), ("b", 2), ("x", 1), ("x", 2)]
    with pytest.raises(DataViolation, match="1 rows repeat the key"):
        store.merge(ITEMS, rows(("x", 1), ("x", 2)))


def test_a_merge_inserts_a_null_key_each_time(bare: str, store: DeltaStore) -> None:
    for _ in range(2):
        merge(bare, rows((None, 1)).to_arrow())
    assert read(bare) == [("a", 1), ("b", 2), (None, 1), (None, 1)]
    with pytest.raises(DataViolation, match=r"k \(1 rows\)"):
        store.merge(ITEMS, rows((None, 1)))


def test_a_merge_drops_unknown_columns_and_keeps_old_values_of_missing_ones(
    bare: str, store: DeltaStore
) -> None:
    merge(bare, pa.table({"k": ["a"], "n": pa.array([7], pa.int32()), "more": [9]}))
    merge(bare, pa.table({"k": ["b"]}))
    assert (read(bare), pl.read_delta(bare).columns) == ([("a", 7), ("b", 2)], ["k", "n"])
    with pytest.raises(SchemaViolation, match="unexpected: more"):
        store.merge(ITEMS, rows(("a", 7)).with_columns(more=9))
    with pytest.raises(SchemaViolation, match="missing: n"):
        store.merge(ITEMS, rows(("b", 2)).drop("n"))


def test_text_in_a_predicate_is_code(bare: str, store: DeltaStore) -> None:
    text = "a' OR 1=1 OR k = 'a"
    write_deltalake(bare, rows(("a", 9)).to_arrow(), mode="overwrite", predicate=f"k = '{text}'")
    assert read(bare) == [("a", 9)], "b was nobody's to replace"
    with pytest.raises(DeltaError, match="Unterminated string"):
        write_deltalake(bare, rows(("it's", 1)).to_arrow(), mode="overwrite", predicate="k = 'it's'")

    store.append(ITEMS, rows(("a", 1), ("it's", 2), (text, 3)))
    for value in (text, "it's"):
        assert store.delete(ITEMS, Where(Term("k", "=", value))).outcome.deleted == 1
    assert held(store) == [("a", 1)]


def test_no_rows_make_a_commit_or_none_depending_on_the_verb(bare: str, store: DeltaStore) -> None:
    nothing = rows().to_arrow()
    write_deltalake(bare, nothing, mode="append")
    write_deltalake(bare, nothing, mode="overwrite", predicate="k = 'nobody'")
    assert DeltaTable(bare).version() == 2
    merge(bare, nothing)
    DeltaTable(bare).delete("k = 'nobody'")
    DeltaTable(bare).optimize.compact()
    assert DeltaTable(bare).version() == 2, "and so a position given to them would be lost"

    version = store.ensure(ITEMS)
    nobody = Where(Term("k", "=", "nobody"))
    writes: list[Callable[[CommitOptions], Any]] = [
        lambda commit: store.append(ITEMS, rows(), commit),
        lambda commit: store.merge(ITEMS, rows(), commit),
        lambda commit: store.delete(ITEMS, nobody, commit),
    ]
    assert [write(CommitOptions()).landed for write in writes] == ["skipped"] * 3
    assert store.snapshot(ITEMS).version == version
    assert [
        write(CommitOptions(transaction=Transaction(f"app{n}", 1))).landed for n, write in enumerate(writes)
    ] == ["committed"] * 3
    assert store.read_state(ITEMS, ["app0", "app1", "app2"]) == {"app0": 1, "app1": 1, "app2": 1}


def test_two_overwrites_of_an_empty_table_both_stay(tmp_path: Path, store: DeltaStore) -> None:
    path = str(tmp_path / "empty")
    DeltaTable.create(path, schema=Schema([Field("k", "string"), Field("n", "integer")]))
    one, other = DeltaTable(path), DeltaTable(path)
    write_deltalake(one, rows(("one", 1)).to_arrow(), mode="overwrite")
    write_deltalake(other, rows(("other", 2)).to_arrow(), mode="overwrite")
    assert read(path) == [("one", 1), ("other", 2)]

    store.ensure(ITEMS)
    second = DeltaStore(store.settings)

    def other_writer(point: str) -> None:
        fault_points.arm(None)
        assert point == "commit.begin"
        second.overwrite(ITEMS, rows(("other", 2)))

    fault_points.arm(other_writer)
    assert store.overwrite(ITEMS, rows(("one", 1))).attempts == 2
    assert held(store) == [("one", 1)]


def test_an_append_only_table_fails_a_replacing_write_like_a_conflict(
    tmp_path: Path, store: DeltaStore
) -> None:
    path = str(tmp_path / "only")
    DeltaTable.create(path, schema=Schema([Field("k", "string")]), configuration={"delta.appendOnly": "true"})
    write_deltalake(path, pa.table({"k": ["a"]}), mode="append")
    with pytest.raises(
        CommitFailedError, match="append-only"
    ):  # the class of a lost race: tried again and again
        write_deltalake(path, pa.table({"k": ["b"]}), mode="overwrite")

    store.append(LINES, rows(("a", 1)))
    replacing: list[Callable[[], object]] = [
        lambda: store.overwrite(LINES, rows()),
        lambda: store.overwrite_from(LINES, ITEMS),
        lambda: store.merge(LINES, rows(("a", 2))),
        lambda: store.delete(LINES, Where()),
    ]
    for write in replacing:
        with pytest.raises(Unsupported, match="append-only, rows of it only ever come"):
            write()
    assert store.merge(LINES, rows(("b", 2))).outcome.inserted == 1
    assert held(store, LINES) == [("a", 1), ("b", 2)]


_FORKS = """
import os, sys
from deltalake import DeltaTable
from lakehouse import open_lake
from test_traps import ITEMS, rows

store = open_lake(sys.argv[1]).store
store.append(ITEMS, rows(("a", 1)))
uri = store.uri(ITEMS)

def kind(act):
    try:
        act()
    except Exception as exc:
        return type(exc).__name__
    except BaseException as exc:
        return "no Exception: " + type(exc).__name__

if os.fork() == 0:
    print(kind(lambda: DeltaTable(uri)))
    print(kind(lambda: store.append(ITEMS, rows(("b", 1)))))
    print(kind(lambda: open_lake(sys.argv[1]).store.scan(ITEMS)), flush=True)
    os._exit(0)
os.wait()
print(store.append(ITEMS, rows(("c", 1))).version)
"""


def test_a_forked_process_panics_past_except_exception(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, tmp_path / "lake"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ["no Exception: PanicException", "Unsupported", "Unsupported", "2"]
    assert done.stdout.splitlines() == said, done.stderr


class PanicException(BaseException):
    """As Rust extensions raise it: no Exception, and of a class that nobody can import."""


@pytest.mark.parametrize("lands", [True, False])
def test_after_a_panic_the_log_says_what_became_of_the_commit(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch, lands: bool
) -> None:
    store.ensure(ITEMS)
    real = DeltaStore._write

    def panics(self: DeltaStore, *args: Any, **kwargs: Any) -> None:
        if lands:
            real(self, *args, **kwargs)
        raise PanicException("index out of bounds")

    monkeypatch.setattr(DeltaStore, "_write", panics)
    if lands:
        assert store.append(ITEMS, rows(("a", 1))).landed == "committed"
    else:
        with pytest.raises(StorageUnavailable, match=r"PanicException at test_traps:\d+\. Nothing of it"):
            store.append(ITEMS, rows(("a", 1)))
    assert held(store) == ([("a", 1)] if lands else [])


@pytest.mark.parametrize("leaves", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_is_let_through(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch, leaves: type[BaseException]
) -> None:
    def ends(*_: Any, **__: Any) -> None:
        raise leaves

    monkeypatch.setattr(DeltaStore, "_write", ends)
    with pytest.raises(leaves):
        store.append(ITEMS, rows(("a", 1)))


def test_errors_of_the_library_quote_rows(bare: str) -> None:
    with pytest.raises(DeltaError) as caught:
        write_deltalake(bare, rows(("secret", 1)).to_arrow(), mode="overwrite", predicate="k = 'a'")
    assert "secret" in str(caught.value)
    assert "secret" not in plain(caught.value)
    assert plain(ValueError("red words")) == "ValueError"
    assert plain(OSError("Generic S3 error: a secret: Connection refused")) == "OSError (connection refused)"


def test_options_nobody_knows_are_ignored_and_others_than_text_refused(bare: str) -> None:
    assert DeltaTable(bare, storage_options={"AWS_ALOW_HTTP": "true"}).version() == 0
    with pytest.raises(TypeError, match="bool"):
        DeltaTable(bare, storage_options={"AWS_ALLOW_HTTP": True})  # type: ignore[dict-item]

    options = Settings(
        lake_url="s3://",
        landing_url="s3://landing",
        s3_endpoint="http://x",
        s3_access_key="k",
        s3_secret_key="s",
    ).storage_options()
    assert options is not None
    known = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP",
             "timeout", "connect_timeout"}  # fmt: skip
    assert set(options) == known
    assert {type(value) for value in options.values()} == {str}


def test_checkpoints_come_late_by_default(bare: str, store: DeltaStore) -> None:
    def checkpoints(uri: str) -> list[str]:
        return [file.name for file in sorted(Path(uri, "_delta_log").glob("*.checkpoint.parquet"))]

    for _ in range(12):
        write_deltalake(bare, rows(("c", 1)).to_arrow(), mode="append")
        store.append(ITEMS, rows(("c", 1)))
    assert (checkpoints(bare), len(checkpoints(store.uri(ITEMS)))) == ([], 1)
