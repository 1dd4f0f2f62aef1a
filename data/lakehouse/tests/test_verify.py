"""Verify tells the truth: real damage is named with what to do, and nothing else is."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType
from test_flow import EVENT_TABLES, event, lake_at, land, run
from test_flow_increment import day

from lakehouse.contracts import RESTORE_POINTS
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import Conflict, DamagedTable, LakeError, SchemaViolation, Unsupported
from lakehouse.maintenance import maintain_all, pin, points, record_point, restore_run
from lakehouse.pipeline import Lake, refresh
from lakehouse.storage.lease import lease
from lakehouse.store import MaintenanceOptions
from lakehouse.store.delta import DeltaStore
from lakehouse.store.delta.read import adds
from lakehouse.store.delta.transactions import all_state
from lakehouse.store.integrity.damage import readable
from lakehouse.verify import Patience, Verification, verify

AT_ONCE = Patience(quiet=timedelta(0))
RUNS = 12
EVENTS, RAW, METRICS = c.PIPELINE_EVENTS, c.RAW_PIPELINE_EVENTS, c.PIPELINE_METRICS
CHECKPOINT = f"{10:020d}.checkpoint.parquet"


def entry(version: int) -> str:
    return f"{version:020d}.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of twelve runs, each with a restore point."""
    root = tmp_path_factory.mktemp("whole")
    lake = lake_at(root)
    for n in range(RUNS):
        land(lake, f"{n}.ndjson", event(f"p{n}", at=day(n + 1)), event(f"q{n}", at=day(n + 1)))
        run(lake)
        record_point(lake, f"run-{n}", EVENT_TABLES)
    return root


@pytest.fixture
def lake(whole: Path, tmp_path: Path) -> Lake:
    shutil.copytree(whole / "lake", tmp_path / "lake")
    shutil.copytree(whole / "landing", tmp_path / "landing")
    return lake_at(tmp_path)


def folder(lake: Lake, table: object = EVENTS) -> Path:
    return Path(lake.store.uri(table))  # type: ignore[arg-type]


def log(lake: Lake) -> Path:
    return folder(lake) / "_delta_log"


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def spoil(path: Path) -> None:
    """Put noise into the middle of a file, its size as before."""
    body = bytearray(path.read_bytes())
    start, end = len(body) // 8, len(body) // 2
    body[start:end] = random.Random(1).randbytes(end - start)
    path.write_bytes(body)


def to_circle(path: Path) -> None:
    """Put a link to itself in the place of a file."""
    path.unlink()
    path.symlink_to(path)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def asks_for(lake: Lake, feature: str) -> None:
    """Make the log ask readers for a feature, as another program may."""
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
    features = {"readerFeatures": [feature], "writerFeatures": [feature]}
    strangely(
        lake, {"commitInfo": {"operation": "SET TBLPROPERTIES"}}, {"protocol": {**protocol, **features}}
    )


def strangely(lake: Lake, *actions: dict[str, object]) -> int:
    """Write these actions as the next log entry; return its version."""
    version = max(int(path.stem) for path in log(lake).glob("*.json") if path.stem.isdigit()) + 1
    (log(lake) / entry(version)).write_bytes(b"".join(orjson.dumps(action) + b"\n" for action in actions))
    return version


def verified(lake: Lake, **more: object) -> Verification:
    return verify(lake_at(folder(lake).parents[2]), EVENT_TABLES, patience=AT_ONCE, **more)  # type: ignore[arg-type]


# ruff: noqa: E501
DAMAGE: dict[str, tuple[Callable[[Lake], object], str, str]] = {
    "torn last entry": (lambda at: cut(log(at) / entry(12), 300), "log entry 12", "remove log entry 12"),
    "torn entry before it": (lambda at: cut(log(at) / entry(11), 300), "log entry 11", "entries 11 to 12"),
    "empty last entry": (lambda at: cut(log(at) / entry(12), 0), "log entry 12", "remove log entry 12"),
    "empty entry": (lambda at: cut(log(at) / entry(11), 0), "log entry 11", "remove log entries 11 to 12"),
    "noise for an entry": (lambda at: (log(at) / entry(12)).write_bytes(os.urandom(900)), "log entry 12", "back"),
    "no action": (lambda at: (log(at) / entry(12)).write_bytes(b'{"add": 7}\n'), "log entry 12", "back from a"),
    "entry gone": (lambda at: (log(at) / entry(11)).unlink(), "log entry 11", "remove log entry 12"),
    "old entry gone": (lambda at: (log(at) / entry(5)).unlink(), "log entry 5", "remove log entries 0 to 5"),
    "old entry empty": (lambda at: cut(log(at) / entry(5), 0), "log entry 5", "remove log entries 0 to 5"),
    "old entry torn": (lambda at: cut(log(at) / entry(5), 300), "log entry 5 (", "remove log entries 0 to 5"),
    "old entry is noise": (lambda at: (log(at) / entry(5)).write_bytes(os.urandom(900)), "log entry 5 (", "back"),
    "checkpoint is a data file": (lambda at: shutil.copy(newest(at), log(at) / CHECKPOINT), f"{CHECKPOINT} cannot",
                                  "the table opens without"),
    "checkpoint links to itself": (lambda at: to_circle(log(at) / CHECKPOINT), "checkpoint", "_delta_log"),
    "hint links to itself": (lambda at: to_circle(log(at) / "_last_checkpoint"), "cannot be read", "remove"),
    "hint is a folder": (lambda at: to_folder(log(at) / "_last_checkpoint"), "cannot be read", "remove"),
    "asks for column mapping": (lambda at: asks_for(at, "columnMapping"), "(columnMapping)", "back from a"),
    "asks for what nobody knows": (lambda at: asks_for(at, "unheardOf"), "_delta_log) cannot be read", "back from a"),
    "file links to itself": (lambda at: to_circle(newest(at)), "missing or cut short", "odp restore --run run-10"),
    "file is a folder": (lambda at: to_folder(newest(at)), "missing or cut short", "odp restore --run run-10"),
    "checkpoint empty": (lambda at: cut(log(at) / CHECKPOINT, 0), f"{CHECKPOINT} is empty", "_last_checkpoint"),
    "checkpoint torn": (lambda at: cut(log(at) / CHECKPOINT, 3000), f"{CHECKPOINT} cannot", "_last_checkpoint"),
    "checkpoint spoilt": (lambda at: spoil(log(at) / CHECKPOINT), f"{CHECKPOINT} cannot", "the table opens without"),
    "checkpoint gone": (lambda at: (log(at) / CHECKPOINT).unlink(), "names checkpoint 10", "remove"),
    "hint is noise": (lambda at: (log(at) / "_last_checkpoint").write_bytes(b"{no"), "cannot be read", "remove"),
    "hint is empty": (lambda at: cut(log(at) / "_last_checkpoint", 0), "cannot be read", "_last_checkpoint"),
    "hint is no number": (
        lambda at: (log(at) / "_last_checkpoint").write_text('{"version": "x"}'), "cannot be read", "remove"),
    "hint to nothing": (
        lambda at: (log(at) / "_last_checkpoint").write_text('{"version":99,"size":1}'), "checkpoint 99", "remove"),
    "log gone": (lambda at: shutil.rmtree(log(at)), "its log (_delta_log) is gone", "back from a backup"),
    "log is a file": (lambda at: (shutil.rmtree(log(at)), log(at).write_text("x")), "its log", "back from a"),
    "page spoilt": (lambda at: spoil(newest(at)), "cannot be read", "--full-refresh"),
    "file gone": (lambda at: newest(at).unlink(), "missing or cut short", "odp restore --run run-10"),
    "file cut short": (lambda at: cut(newest(at), 700), "missing or cut short", "odp restore --run run-10"),
    "file is noise": (lambda at: newest(at).write_bytes(os.urandom(newest(at).stat().st_size)), "cannot be read",
                      "odp restore --run run-10"),
}  # fmt: skip


def newest(lake: Lake) -> Path:
    """The data file that the last run wrote."""
    before = set(lake.store.file_names(EVENTS, version=11))
    (name,) = set(lake.store.file_names(EVENTS)) - before
    return folder(lake) / name


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_damage_is_named_with_what_to_do_and_all_other_tables_are_judged(
    lake: Lake, damage: tuple[Callable[[Lake], object], str, str]
) -> None:
    whole = {t.table: t.content_hash for t in verified(lake).tables}
    spoiled, says, fix = damage
    spoiled(lake)
    found = verified(lake)
    assert {p.table for p in found.all_problems} == {EVENTS.path}
    assert any(says in p.message for p in found.all_problems), found.all_problems
    assert any(fix in p.fix for p in found.all_problems), found.all_problems
    others = {t.table: t.content_hash for t in found.tables if t.table != EVENTS.path}
    assert others == {name: one for name, one in whole.items() if name != EVENTS.path}
    for ask in (lake.store.snapshot, lake.store.history, lambda t: _head(lake, t)):
        try:
            ask(EVENTS)
        except LakeError as exc:
            assert "Kernel" not in str(exc)  # noqa: PT017
            assert "parquet:" not in str(exc)  # noqa: PT017


def _head(lake: Lake, table: object) -> None:
    again = lake_at(folder(lake).parents[2])
    with readable(again.store, [table]):  # type: ignore[list-item]
        again.store.scan(table).collect()  # type: ignore[arg-type]


HEALS = {
    "torn last entry": lambda at: (log(at) / entry(12)).unlink(),
    "entry gone": lambda at: (log(at) / entry(12)).unlink(),
    "old entry gone": lambda at: [(log(at) / entry(n)).unlink() for n in range(5)],
    "checkpoint empty": lambda at: [(log(at) / n).unlink() for n in (CHECKPOINT, "_last_checkpoint")],
    "checkpoint gone": lambda at: (log(at) / "_last_checkpoint").unlink(),
    "hint is noise": lambda at: (log(at) / "_last_checkpoint").unlink(),
    "log gone": lambda at: shutil.rmtree(folder(at)),
}


@pytest.mark.parametrize("name", HEALS)
def test_what_to_do_mends_a_log(lake: Lake, name: str) -> None:
    whole = {t.table: t.content_hash for t in verified(lake).tables}
    DAMAGE[name][0](lake)
    HEALS[name](lake)
    again = lake_at(folder(lake).parents[2])
    run(again)
    refresh(again, EVENTS, transforms.pipeline_events, full=True)
    refresh(again, METRICS, transforms.pipeline_metrics, full=True)
    found = verified(lake, deep=True)
    assert ({t.table: t.content_hash for t in found.tables if t.content_hash}, found.all_problems) == (
        {name: one for name, one in whole.items() if one}, [])  # fmt: skip


@pytest.mark.parametrize("name", ["page spoilt", "file gone", "file is noise"])
@pytest.mark.parametrize("how", ["refresh", "restore"])
def test_what_to_do_mends_a_data_file(lake: Lake, name: str, how: str) -> None:
    whole = {t.table: t.content_hash for t in verified(lake).tables}
    DAMAGE[name][0](lake)
    again = lake_at(folder(lake).parents[2])
    if how == "refresh":
        refresh(again, EVENTS, transforms.pipeline_events, full=True)
    else:
        restore_run(again, "run-10", EVENT_TABLES)
        run(again)
    run(again)
    found = verified(lake)
    assert ({t.table: t.content_hash for t in found.tables}, found.all_problems) == (whole, [])


def test_a_damaged_source_is_one_problem_and_its_consumer_a_note(lake: Lake) -> None:
    cut(log(lake) / entry(12), 100)
    found = verified(lake)
    assert [p.table for p in found.all_problems] == [EVENTS.path]
    assert [note for note in found.notes if METRICS.path in note]


def update_as_a_stranger(lake: Lake, table: object = EVENTS) -> int:
    delta = DeltaTable(lake.store.uri(table))  # type: ignore[arg-type]
    delta.update(updates={"workspace_id": "workspace_id"}, predicate="pipeline_id = 'p1'")
    return int(delta.version())


def foreign(lake: Lake) -> list[str]:
    return [p.message for p in verified(lake).all_problems if p.check == "version"]


@pytest.mark.slow
def test_a_foreign_update_is_named_after_many_runs_of_our_own(lake: Lake) -> None:
    version = update_as_a_stranger(lake)
    for n in range(60):
        lake.store.append(EVENTS, pl.DataFrame(schema=EVENTS.polars_schema()), _empty(n))
        if n in (0, 30):
            assert foreign(lake)[0].startswith(f"version {version} (UPDATE, ")
    assert foreign(lake)[0].startswith(f"version {version} (UPDATE, ")
    maintain_all(lake, EVENT_TABLES)
    assert foreign(lake)[0].startswith(f"version {version} (UPDATE, ")


def _empty(n: int) -> object:
    from lakehouse.store import CommitOptions, Transaction

    return CommitOptions(transaction=Transaction("test", n + 1))


def test_looking_for_foreign_commits_costs_what_is_new(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(60):
        lake.store.append(EVENTS, pl.DataFrame(schema=EVENTS.polars_schema()), _empty(n))  # type: ignore[arg-type]
    lake.store.foreign_commits(EVENTS)
    asked: list[int | None] = []
    history = DeltaStore.history

    def counted(self: DeltaStore, table: object, *, limit: int | None = None) -> object:
        asked.append(limit)
        return history(self, table, limit=limit)  # type: ignore[arg-type]

    monkeypatch.setattr(DeltaStore, "history", counted)
    assert lake.store.foreign_commits(EVENTS) == []
    assert asked == [1]


def exchanged(lake: Lake) -> tuple[dict[str, object], dict[str, object]]:
    """The actions that put as many rows of other content in the place of the newest file."""
    name = newest(lake).name
    rows = pl.read_parquet(newest(lake)).with_columns(workspace_id=pl.lit("another"))
    rows.write_parquet(folder(lake) / "another.parquet")
    size = (folder(lake) / "another.parquet").stat().st_size
    stats = orjson.dumps({"numRecords": rows.height}).decode()
    add = {
        "path": "another.parquet",
        "partitionValues": {},
        "size": size,
        "modificationTime": 1,
        "stats": stats,
    }
    return {"remove": {"path": name, "dataChange": True}}, {"add": {**add, "dataChange": True}}


def test_a_foreign_commit_that_says_nothing_of_itself_is_named_by_its_own_number(lake: Lake) -> None:
    ours = lake.store.history(EVENTS)
    silent = strangely(lake, *exchanged(lake))
    (found,) = foreign(lake)
    assert found.startswith(f"version {silent} (UNKNOWN, ")
    again = lake_at(folder(lake).parents[2])
    told = again.store.history(EVENTS)
    assert [one.version for one in told] == [silent, *(one.version for one in ours)]
    assert told[1:] == ours
    assert again.store.history(EVENTS, limit=3) == told[:3]
    done = again.store.append(EVENTS, pl.DataFrame(schema=EVENTS.polars_schema()), _empty(1))  # type: ignore[arg-type]
    assert done.version == silent + 1
    assert foreign(lake) == [found]
    refresh(again, EVENTS, transforms.pipeline_events, full=True)
    assert foreign(lake) == []


def test_a_foreign_table_put_over_ours_is_named(lake: Lake) -> None:
    said = {"commitInfo": {"timestamp": 10**18, "operation": "CREATE OR REPLACE TABLE AS SELECT"}}
    version = strangely(lake, said, *exchanged(lake))
    (found,) = foreign(lake)
    assert found.startswith(f"version {version} (CREATE OR REPLACE TABLE AS SELECT, ")


@pytest.mark.slow
def test_a_foreign_update_is_no_longer_named_once_its_effect_is_gone(lake: Lake) -> None:
    update_as_a_stranger(lake)
    assert foreign(lake)
    refresh(lake, EVENTS, transforms.pipeline_events)
    assert foreign(lake)
    refresh(lake, EVENTS, transforms.pipeline_events, full=True)
    assert foreign(lake) == []
    update_as_a_stranger(lake)
    assert foreign(lake)
    restore_run(lake, "run-11", EVENT_TABLES)
    assert foreign(lake) == []


def test_a_foreign_commit_that_somebody_accepted_is_no_longer_named(lake: Lake) -> None:
    version = update_as_a_stranger(lake)
    with pytest.raises(Unsupported, match=f"there are {version}"):
        lake.store.accept_foreign(EVENTS, 3, "a typo")
    lake.store.accept_foreign(EVENTS, version, "corrected by hand, ticket 12")
    assert foreign(lake) == []
    assert update_as_a_stranger(lake) == version + 1
    assert foreign(lake)[0].startswith(f"version {version + 1} ")


def test_a_log_put_back_from_a_backup_is_judged_anew(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree(folder(lake), tmp_path / "backup")
    update_as_a_stranger(lake)
    assert foreign(lake)
    shutil.rmtree(folder(lake))
    shutil.copytree(tmp_path / "backup", folder(lake))
    assert foreign(lake) == []
    again = lake_at(folder(lake).parents[2])
    again.store.append(EVENTS, pl.DataFrame(schema=EVENTS.polars_schema()), _empty(1))  # type: ignore[arg-type]
    update_as_a_stranger(lake)
    assert len(foreign(lake)) == 1


@pytest.mark.parametrize("table", EVENT_TABLES, ids=lambda t: t.layer)
def test_bit_rot_is_found_by_a_deep_verification_alone(lake: Lake, table: object) -> None:
    before = verified(lake, deep=True)
    assert (before.all_problems, [t.files_without_checksum for t in before.tables]) == (
        [],
        [0] * len(before.tables),
    )
    path = folder(lake, table) / adds(lake.store.latest(table))["path"][0]  # type: ignore[attr-defined]
    whole = path.read_bytes()
    for place in range(len(whole) // 3, len(whole)):  # the first flip that no reader trips over
        body = bytearray(whole)
        body[place] ^= 16
        path.write_bytes(body)
        if not verified(lake).all_problems:
            break
    found = verified(lake, deep=True)
    (problem,) = [p for p in found.all_problems if p.check == "checksum"]
    assert (problem.table, path.name in problem.message) == (table.path, True)  # type: ignore[attr-defined]
    assert f"put {path} back from a backup" in problem.fix
    assert {p.table for p in found.all_problems} == {problem.table}


def test_files_without_a_checksum_are_a_note_and_no_problem(lake: Lake) -> None:
    lake.store.files.forget_folder("checksums")
    found = verified(lake, deep=True)
    assert (found.ok, found.all_problems) == (True, [])
    assert sum(t.files_without_checksum for t in found.tables) > 20
    maintain_all(lake, EVENT_TABLES)
    assert [
        t.files_without_checksum for t in verified(lake, deep=True).tables if t.files_without_checksum
    ] == []


def test_maintenance_leaves_a_damaged_table_alone_and_does_the_others(lake: Lake) -> None:
    spoil(newest(lake))
    before = lake.store.snapshot(EVENTS).version
    with pytest.raises(DamagedTable, match=newest(lake).name):
        maintain_all(lake, EVENT_TABLES)
    assert lake.store.snapshot(EVENTS).version == before
    assert lake.store.snapshot(RAW).files == 1


def test_maintenance_leaves_a_table_of_other_columns_alone_and_does_the_others(lake: Lake) -> None:
    DeltaTable(lake.store.uri(EVENTS)).alter.add_columns([Field("strange", PrimitiveType("string"))])
    again = lake_at(folder(lake).parents[2])
    with pytest.raises(
        SchemaViolation, match=r"strange is not in the contract.* other \d+ tables were maintained"
    ):
        maintain_all(again, EVENT_TABLES)
    assert again.store.snapshot(RAW).files == 1


@pytest.mark.parametrize("spoiling", [spoil, to_folder, lambda path: path.write_bytes(b"[1,2]")])
def test_damaged_restore_points_keep_no_table_from_being_judged(
    lake: Lake, spoiling: Callable[[Path], object]
) -> None:
    cut(newest(lake), 700)
    for path in folder(lake, RESTORE_POINTS).glob("*.parquet"):
        spoiling(path)
    assert {p.table for p in verified(lake).all_problems} == {EVENTS.path, RESTORE_POINTS.path}
    with pytest.raises(DamagedTable, match=r"reading system/restore_points: \d+ data files cannot be read"):
        points(lake_at(folder(lake).parents[2]))


@pytest.mark.parametrize("spoiling", [spoil, to_circle, to_folder])
def test_records_beside_the_tables_that_nobody_can_read_stop_nothing(
    lake: Lake, spoiling: Callable[[Path], object]
) -> None:
    beside = folder(lake).parents[1] / "_odp"
    for path in [*beside.glob("checksums/*/*/*/*.json"), *beside.glob("foreign/*/*.json")]:
        spoiling(path)
    found = verified(lake, deep=True)
    assert found.all_problems == []
    assert sum(t.files_without_checksum for t in found.tables) > 20
    run(lake_at(folder(lake).parents[2]))
    assert verified(lake, deep=True).all_problems == []


def test_a_run_whose_files_are_gone_cannot_be_pinned(lake: Lake) -> None:
    pin(lake, "run-2")
    refresh(lake, EVENTS, transforms.pipeline_events, full=True)
    lake.store.maintain(EVENTS, MaintenanceOptions(retain=timedelta(0)))
    before = points(lake)
    with pytest.raises(Unsupported, match="pinning run run-3: it can no longer be restored"):
        pin(lake, "run-3")
    assert points(lake) == before
    run(lake)
    record_point(lake, "now", EVENT_TABLES)
    assert pin(lake, "now").pinned


def test_a_page_of_a_column_that_says_when_a_row_came_is_read_too(lake: Lake) -> None:
    delta = DeltaTable(lake.store.uri(RAW))
    path = folder(lake, RAW) / delta.get_add_actions(flatten=True)["path"][0].as_py()
    column = next(
        part for group in [pq.ParquetFile(path).metadata.row_group(0)] for n in range(group.num_columns)
        if (part := group.column(n)).path_in_schema == "_ingested_at"
    )  # fmt: skip
    body = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    body[start : start + column.total_compressed_size] = os.urandom(column.total_compressed_size)
    path.write_bytes(body)
    assert [(p.table, p.check) for p in verified(lake).all_problems] == [(RAW.path, "files")]


def test_a_damaged_checkpoint_takes_no_state_of_a_version_away(lake: Lake) -> None:
    wanted = {version: lake.store.all_state(EVENTS, version=version) for version in (9, 10, 11)}
    cut(log(lake) / CHECKPOINT, 0)
    assert {version: all_state(lake.store.files, EVENTS.path, version) for version in wanted} == wanted
    to_folder(log(lake) / CHECKPOINT)
    assert {version: all_state(lake.store.files, EVENTS.path, version) for version in wanted} == wanted


@pytest.mark.parametrize("version", [-1, -(2**70), 13, 10**6, 2**63 - 1, 2**63, 2**200])
def test_a_version_that_is_not_there_is_an_error_of_ours(lake: Lake, version: int) -> None:
    with pytest.raises(Unsupported, match=f"at version {version}: it is not there"):
        lake.store.scan(EVENTS, version=version)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"id": 1}', b'{"id":"a","until":"x","holder":"h","since":"s"}']
)
def test_a_lease_that_cannot_be_read_is_an_error_of_ours(lake: Lake, body: bytes) -> None:
    lake.store.files.put_if("maintenance", body, None)
    with (
        pytest.raises(Conflict, match="_odp/maintenance cannot be read"),
        lease(lake.store.files, "maintenance"),
    ):
        pass
    Path(lake.store.files.own_uri("maintenance")).unlink()
    with lease(lake.store.files, "maintenance"):
        Path(lake.store.files.own_uri("maintenance")).write_bytes(body)


@pytest.mark.parametrize(("table", "reader"), [(RAW, EVENTS), (EVENTS, METRICS)], ids=["bronze", "silver"])
def test_a_refresh_that_stumbles_over_a_damaged_file_names_it(
    lake: Lake, table: object, reader: object
) -> None:
    for path in folder(lake, table).glob("*.parquet"):
        spoil(path)
    again = lake_at(folder(lake).parents[2])
    transform = transforms.pipeline_events if reader is EVENTS else transforms.pipeline_metrics
    with pytest.raises(DamagedTable, match=f"reading {table}: .* data files cannot be read, as ") as caught:
        refresh(again, reader, transform, full=True)  # type: ignore[arg-type]
    assert "specification" not in str(caught.value)
