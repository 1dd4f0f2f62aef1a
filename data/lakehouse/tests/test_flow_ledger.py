"""What is known of landed files: with the rows or not at all, whatever is killed, restored or damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import fault_points
from lakehouse.contracts import LANDING_REJECTS
from lakehouse.domains.pipelines import contracts as c
from lakehouse.errors import DamagedTable, TableNotFound
from lakehouse.landing import LandedFile
from lakehouse.pipeline import IngestReport, Lake, ingest, open_lake
from lakehouse.pipeline.ingest import keep_refused, new_files, refused_before
from lakehouse.pipeline.ledger import Entries, Ledger, forget_segments, ledger_of, mend, stamp_of
from lakehouse.pipeline.pending import Piece, Rows
from lakehouse.pipeline.state import FILES
from lakehouse.registry import sources
from lakehouse.store import CommitOptions
from lakehouse.verify import Patience, fixes, verify

TABLE = c.RAW_PIPELINE_EVENTS
EVENTS = [s for s in sources() if s.table is TABLE]
AT_ONCE = Patience(quiet=timedelta(0))


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path)


def event(number: int) -> bytes:
    record = {"pipeline_id": f"p{number}", "event_type": "pipeline.completed", "workspace_id": "w",
              "timestamp": "2026-01-10T10:00:00Z", "raw_data": {"duration_ms": number}}  # fmt: skip
    return orjson.dumps(record) + b"\n"


def land(lake: Lake, *numbers: int, name: str = "{}.ndjson") -> None:
    for number in numbers:
        lake.landing.put(f"pipeline_events/{name.format(number)}", event(number))


def bring(lake: Lake) -> IngestReport:
    return ingest(lake, TABLE, EVENTS)


def ids(lake: Lake) -> list[str]:
    try:
        return sorted(lake.store.scan(TABLE).collect()["pipeline_id"])
    except TableNotFound:
        return []


def wanted(*numbers: int) -> list[str]:
    return sorted(f"p{number}" for number in numbers)


def ledger(lake: Lake) -> Ledger:
    return ledger_of(lake, TABLE, lake.store.base_version(TABLE, [FILES]))


def segments(lake: Lake) -> list[Path]:
    folder = Path(lake.store.files.own_uri(f"landed/{TABLE.path}"))
    return [folder / name for name in sorted(lake.store.files.own_files(f"landed/{TABLE.path}"))]


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files whose bytes are read."""
    names: list[str] = []
    real = LandedFile.open

    def noted(self: LandedFile) -> BinaryIO:
        names.append(self.name)
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(LandedFile, "open", noted)
        yield names


# -- many files -------------------------------------------------------------------------------------------


def test_one_file_after_the_other_leaves_few_segments_alive_and_small_commits(lake: Lake) -> None:
    for number in range(33):
        land(lake, number)
        assert (report := bring(lake)).rows == 1
        assert report.known == number
    assert bring(lake).known == 33
    assert len(ledger(lake).segments) <= 6
    assert sum(len(s.entries.files) for s in ledger(lake).segments) == 33
    log = Path(lake.store.uri(TABLE)) / "_delta_log"
    assert max(entry.stat().st_size for entry in log.glob("*[1-9].json")) < 1500


def test_no_mark_of_the_log_tells_of_a_file(lake: Lake) -> None:
    land(lake, *range(60))
    bring(lake)
    assert set(lake.store.all_state(TABLE)) == {"batch", "watermark", "rows", "files"}


def test_known_files_are_not_read_again_whatever_their_number(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake, *range(70))
    bring(lake)
    land(lake, 70)
    with opened(monkeypatch) as read:
        assert bring(lake).files == 1
    assert set(read) == {"pipeline_events/70.ndjson"}


def test_files_under_new_names_are_read_once_to_know_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake, *range(60))
    bring(lake)
    land(lake, *range(60), name="copy-{}.ndjson")
    report = bring(lake)
    assert (report.files, report.known, report.rows) == (0, 120, 0)
    with opened(monkeypatch) as read:
        assert bring(lake).known == 120
    assert read == []
    assert ids(lake) == wanted(*range(60))


def test_a_few_files_under_new_names_make_no_commit(lake: Lake) -> None:
    land(lake, 1, 2)
    before = bring(lake).version
    land(lake, 1, 2, name="copy-{}.ndjson")
    assert bring(lake).version == before


def test_the_same_bytes_twice_in_one_run_land_once(lake: Lake) -> None:
    land(lake, 1)
    land(lake, 1, name="again.ndjson")
    report = bring(lake)
    assert (report.files, report.known, ids(lake)) == (1, 1, ["p1"])


# -- atomic with the rows ---------------------------------------------------------------------------------


def test_killed_between_segment_and_commit_nothing_counts(lake: Lake) -> None:
    land(lake, 1)
    bring(lake)
    land(lake, 2, 3)

    def kill(point: str) -> None:
        if point == "flow.landed":
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            bring(lake)
    finally:
        fault_points.arm(None)
    assert (len(segments(lake)), ids(lake)) == (2, ["p1"])
    assert bring(lake).rows == 2
    assert ids(lake) == wanted(1, 2, 3)


def test_a_restore_takes_what_is_known_back_with_the_rows(lake: Lake) -> None:
    land(lake, 1)
    first = bring(lake).version
    land(lake, 2)
    bring(lake)
    lake.store.restore(TABLE, first)
    assert ids(lake) == ["p1"]
    assert bring(lake).rows == 1
    assert ids(lake) == ["p1", "p2"]
    assert bring(lake).rows == 0


def test_a_restore_to_before_the_first_file_makes_all_of_them_new(lake: Lake) -> None:
    lake.store.ensure(TABLE)
    land(lake, 1, 2)
    bring(lake)
    lake.store.restore(TABLE, 0)
    assert bring(lake).rows == 2
    assert ids(lake) == ["p1", "p2"]


def test_a_large_file_is_known_by_its_parts_and_its_ledger_stays_small(tmp_path: Path) -> None:
    from dataclasses import replace

    lake = replace(open_lake(tmp_path), batch_rows=1)
    lake.landing.put("pipeline_events/big.csv", b"pipeline_id,event_type\n" + b"p,x\n" * 3)
    lake.landing.put("pipeline_events/z.ndjson", event(9))
    done = []

    def kill(point: str) -> None:
        done.append(point)
        if done.count("commit.done") == 1:
            raise Killed

    fault_points.arm(kill)
    try:
        with pytest.raises(Killed):
            bring(lake)
    finally:
        fault_points.arm(None)
    bring(lake)
    assert sorted(lake.store.scan(TABLE).collect()["_row"]) == [0, 0, 1, 2]
    assert all(not segment.entries.parts for segment in ledger(lake).segments[:1])


# -- damage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "altered", "empty"])
def test_a_damaged_segment_is_named_and_nothing_is_taken_for_new(lake: Lake, damage: str) -> None:
    land(lake, 1, 2)
    bring(lake)
    land(lake, 3)
    [segment] = segments(lake)
    body = segment.read_bytes()
    if damage == "missing":
        segment.unlink()
    else:
        segment.write_bytes(b"" if damage == "empty" else body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(DamagedTable, match=rf"{TABLE.path}.*{segment.name}.*`odp refresh {TABLE}`"):
        bring(lake)
    assert ids(lake) == ["p1", "p2"]
    [problem] = verify(lake, [TABLE], patience=AT_ONCE).all_problems
    assert (problem.table, problem.check) == (TABLE.path, "ledger")
    assert segment.name in problem.message
    assert f"`odp refresh {TABLE}`" in problem.fix
    segment.write_bytes(body)
    assert verify(lake, [TABLE], patience=AT_ONCE).ok
    assert bring(lake).rows == 1
    assert ids(lake) == ["p1", "p2", "p3"]


def test_a_lost_ledger_is_told_from_the_rows(lake: Lake) -> None:
    land(lake, 1, 2)
    lake.landing.put("pipeline_events/two.ndjson", event(7) + event(8))
    bring(lake)
    assert mend(lake, TABLE) is None
    for segment in segments(lake):
        segment.unlink()
    land(lake, 3)
    assert mend(lake, TABLE) == 3
    report = bring(lake)
    assert (report.rows, report.files) == (1, 4)
    assert ids(lake) == wanted(1, 2, 3, 7, 8)
    assert bring(lake).known == 4


def test_the_ledger_of_refused_files_is_mended_by_itself(lake: Lake) -> None:
    lake.landing.put("pipeline_events/bad.parquet", b"none")
    bring(lake)
    folder = Path(lake.store.files.own_uri(f"landed/{LANDING_REJECTS.path}"))
    for name in lake.store.files.own_files(f"landed/{LANDING_REJECTS.path}"):
        (folder / name).unlink()
    [problem] = verify(lake, [TABLE], patience=AT_ONCE).all_problems
    assert (problem.table, problem.check, problem.fix) == (LANDING_REJECTS.path, "ledger", fixes.INIT)
    bring(lake)
    assert verify(lake, [TABLE], patience=AT_ONCE).ok
    assert lake.store.scan(LANDING_REJECTS).collect().height == 1


# -- refused files ----------------------------------------------------------------------------------------


def test_a_refused_file_is_recorded_once_and_known_by_its_listing(lake: Lake) -> None:
    lake.landing.put("pipeline_events/bad.parquet", b"none")
    files = lake.landing.list()
    assert refused_before(lake, EVENTS, files) == set()
    bring(lake)
    version = lake.store.snapshot(LANDING_REJECTS).version
    bring(lake)
    lake.landing.put("pipeline_events/copy.parquet", b"none")
    bring(lake)
    bring(lake)
    found = lake.store.scan(LANDING_REJECTS).collect()
    assert found["_fingerprint"].to_list() == [sha256(b"none").hexdigest()]
    assert refused_before(lake, EVENTS, lake.landing.list()) == {
        "pipeline_events/bad.parquet",
        "pipeline_events/copy.parquet",
    }
    assert lake.store.snapshot(LANDING_REJECTS).version == version + 1  # the copy's name


def test_a_look_for_news_names_what_an_ingest_would_take_or_refuse(lake: Lake) -> None:
    def news() -> list[str]:
        refused = refused_before(lake, EVENTS, lake.landing.list())
        return [file.name for file in new_files(lake, TABLE, EVENTS, refused)]

    assert news() == []
    land(lake, 1)
    lake.landing.put("pipeline_events/bad.parquet", b"none")
    os.symlink(lake.store.files.uri("x"), Path(lake.landing._root, "pipeline_events", "ü"))  # type: ignore
    os.mkfifo(Path(lake.landing._root, "pipeline_events", "pipe"))  # type: ignore[attr-defined]
    unreadable = os.fsencode(lake.landing._root) + b"/pipeline_events/\xff.ndjson"  # type: ignore
    with open(unreadable, "wb") as file:
        file.write(event(5))
    assert news() == [
        "pipeline_events/1.ndjson",
        "pipeline_events/bad.parquet",
        "pipeline_events/\\xff.ndjson",
        "pipeline_events/ü",
    ]
    bring(lake)
    assert news() == []
    land(lake, 2)
    assert news() == ["pipeline_events/2.ndjson"]


def test_two_that_refuse_at_once_record_a_file_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.landing.put("pipeline_events/bad.parquet", b"none")
    [file] = lake.landing.list()
    other = open_lake(Path(lake.store.files.uri("x")).parent)
    raced: list[int] = []

    def race(point: str) -> None:
        if point == "flow.landed" and not raced:
            raced.append(1)
            assert keep_refused(other, [(file, "no")], {}) == 1

    fault_points.arm(race)
    try:
        assert keep_refused(lake, [(file, "no")], {}) == 0
    finally:
        fault_points.arm(None)
    assert lake.store.scan(LANDING_REJECTS).collect().height == 1


# -- lakes of before --------------------------------------------------------------------------------------


def write_as_before(lake: Lake, *numbers: int, part: bool = False) -> None:
    """What older versions committed: rows, and a mark in the log for each file and each name."""
    land(lake, *numbers)
    rows, state = [], {}
    for file in lake.landing.list("pipeline_events"):
        number = int(file.stem)
        if number not in numbers:
            continue
        rows.append((f"p{number}", "pipeline.completed", "w", "2026-01-10T10:00:00Z",
                     f'{{"duration_ms":{number}}}', file.name, file.fingerprint, 0, 1,
                     datetime(2026, 1, 1, tzinfo=UTC)))  # fmt: skip
        stamp = f"{file.name}\0{file.size}\0{file.modified.timestamp()!r}"
        state[f"{'part' if part else 'file'}:{file.fingerprint}"] = 1
        if not part:
            state[f"seen:{sha256(stamp.encode()).hexdigest()[:24]}"] = 1
    frame = pl.DataFrame(rows, schema=TABLE.polars_schema(), orient="row")
    batch = {"batch": 1, "watermark": 1, "rows": len(rows)}
    lake.store.append(TABLE, frame, CommitOptions(state=lambda *_: {**state, **batch}))


def test_files_of_an_older_lake_stay_known_and_move_into_the_ledger(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_as_before(lake, 1, 2)
    before = lake.store.snapshot(TABLE).version
    with opened(monkeypatch) as read:
        assert bring(lake).known == 2
    assert (read, lake.store.snapshot(TABLE).version) == ([], before)
    land(lake, 3)
    land(lake, 1, name="copy-{}.ndjson")
    assert (report := bring(lake)).rows == 1
    assert report.known == 3
    assert ledger(lake).number != 0
    assert sum(len(s.entries.files) for s in ledger(lake).segments) == 3
    assert bring(lake).known == 4
    assert ids(lake) == ["p1", "p2", "p3"]
    lake.store.restore(TABLE, before)  # to where no ledger was
    assert bring(lake).rows == 1
    assert ids(lake) == ["p1", "p2", "p3"]


def test_many_files_of_an_older_lake_move_without_a_new_one(lake: Lake) -> None:
    write_as_before(lake, *range(60))
    assert bring(lake).known == 60
    assert ledger(lake).number != 0
    assert bring(lake).known == 60
    assert ids(lake) == wanted(*range(60))


def test_a_part_of_an_older_lake_goes_on_where_it_stopped(lake: Lake) -> None:
    write_as_before(lake, 1, part=True)
    report = bring(lake)
    assert (report.rows, report.files, ids(lake)) == (0, 1, ["p1"])


# -- clean-up ---------------------------------------------------------------------------------------------


def test_clean_up_keeps_what_retained_and_pinned_versions_need(lake: Lake) -> None:
    versions = []
    for number in range(8):
        land(lake, number)
        versions.append(bring(lake).version)
    old = (datetime.now(UTC) - timedelta(days=100)).timestamp()
    for segment in segments(lake):
        os.utime(segment, (old, old))
    cut = datetime.now(UTC) - timedelta(days=50)
    assert forget_segments(lake, TABLE, [versions[2]], datetime.now(UTC) - timedelta(days=200)) == 0
    assert forget_segments(lake, TABLE, [versions[2]], cut) > 0
    assert bring(lake).known == 8
    lake.store.restore(TABLE, versions[2])
    assert bring(lake).rows == 5
    assert ids(lake) == wanted(*range(8))


# -- properties -------------------------------------------------------------------------------------------

names = st.integers(0, 12)
steps = st.lists(
    st.tuples(st.dictionaries(names, st.integers(0, 9), max_size=4), st.dictionaries(names, st.integers(1, 9),
              max_size=2), st.sets(names, max_size=3)), max_size=12,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_a_ledger_says_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[dict[int, int], dict[int, int], set[int]]]
) -> None:
    lake = open_lake(tmp_path_factory.mktemp("lake"))
    files: dict[bytes, int] = {}
    parts: dict[bytes, int] = {}
    stamps: set[bytes] = set()
    here = Ledger(table=TABLE)
    for added, new_parts, new_stamps in steps:
        news = Entries(
            files={sha256(bytes([n])).digest(): rows for n, rows in added.items()},
            parts={sha256(bytes([n])).digest(): rows for n, rows in new_parts.items() if n not in added},
            stamps={sha256(bytes([n, 1])).digest()[:12] for n in new_stamps},
        )
        files |= news.files
        parts |= news.parts
        stamps |= news.stamps
        here = here.written(lake, news)
        base = lake.store.base_version(TABLE) if lake.store.exists(TABLE) else None
        if base is None:
            lake.store.ensure(TABLE)
            base = lake.store.base_version(TABLE)
        read = ledger_of(lake, TABLE, type(base)(identity="", version=0, state={FILES: here.number}))
        for number in range(13):
            file = LandedFile(f"s/{number}", 1, datetime(2026, 1, 1, tzinfo=UTC), lambda: None)  # type: ignore
            file.__dict__["fingerprint"] = sha256(bytes([number])).hexdigest()
            name = bytes.fromhex(file.fingerprint)
            assert read.rows(file) == files.get(name)
            if name not in files:
                assert read.rows_so_far(file) == parts.get(name, 0)
        assert {s for n in range(13) if read.familiar(s := sha256(bytes([n, 1])).digest()[:12])} == stamps
        assert len(read.segments) <= 8


@given(pieces=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_joined_rows_point_to_their_files_as_if_made_one_by_one(pieces: list[tuple[int, bool]]) -> None:
    rows, expected = Rows(), []
    for number, (height, good) in enumerate(pieces):
        frame = pl.DataFrame({"a": [number] * height}, schema={"a": pl.Int64})
        rows.take(Piece(frame, f"f{number}", f"{number:064x}", 5))
        if good:
            rows.end_file()
            expected += [(number, f"f{number}", f"{number:064x}", 5 + i) for i in range(height)]
        else:
            rows.drop_file()
        assert rows.count == len(expected)
    made = rows.frame()
    assert (made.rows() if made is not None else []) == expected


def test_a_stamp_is_what_older_versions_wrote(lake: Lake) -> None:
    land(lake, 1)
    [file] = lake.landing.list()
    stamp = f"{file.name}\0{file.size}\0{file.modified.timestamp()!r}"
    assert stamp_of(file).hex() == sha256(stamp.encode()).hexdigest()[:24]
