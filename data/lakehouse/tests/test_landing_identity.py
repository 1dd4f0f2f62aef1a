"""Which files are new: other bytes under the same name always are, whatever size and time a listing tells.

Belongs here: what tells one landed file from another, and in which order files come. Does not: formats.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lakehouse.contracts import LANDING_REJECTS
from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS
from lakehouse.domains.pipelines.sources import SOURCES
from lakehouse.landing import LandedFile
from lakehouse.pipeline import Lake, ledger, open_lake
from lakehouse.pipeline.ingest import IngestReport, ingest, new_files, refused_before
from lakehouse.pipeline.ledger import Entries, Ledger, Segment, exact_stamp_of, stamp_of
from lakehouse.settings import Settings

EVENTS = [source for source in SOURCES if source.table == RAW_PIPELINE_EVENTS]


def event(name: str) -> bytes:
    return b'{"pipeline_id": "%s", "event_type": "started", "raw_data": {}}\n' % name.encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "landing" / "pipeline_events").mkdir(parents=True)
    return tmp_path / "landing" / "pipeline_events"


@pytest.fixture
def lake(tmp_path: Path, folder: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


def bring(lake: Lake) -> IngestReport:
    return ingest(lake, RAW_PIPELINE_EVENTS, EVENTS)


def ids(lake: Lake) -> list[str]:
    return lake.store.scan(RAW_PIPELINE_EVENTS).collect().sort("_batch_id", "_row")["pipeline_id"].to_list()


@pytest.mark.parametrize("how", ["in place", "by rename", "by copy"])
def test_other_bytes_of_the_same_size_and_time_are_read(lake: Lake, folder: Path, how: str) -> None:
    path, times = folder / "a.ndjson", (1_700_000_000, 1_700_000_000)
    path.write_bytes(event("a"))
    os.utime(path, times)
    assert (bring(lake).rows, bring(lake).known) == (1, 1)
    other = folder / ".b" if how != "in place" else path
    other.write_bytes(event("b"))
    os.utime(other, times)
    if how == "by rename":
        other.replace(path)
    elif how == "by copy":
        shutil.copy2(other, path)
    assert path.stat().st_mtime == 1_700_000_000
    assert [file.name for file in new_files(lake, RAW_PIPELINE_EVENTS, EVENTS, set())] == [
        "pipeline_events/a.ndjson"
    ]
    assert (bring(lake).rows, ids(lake)) == (1, ["a", "b"])


def test_bytes_that_change_right_after_they_were_read_are_read(lake: Lake, folder: Path) -> None:
    path = folder / "a.ndjson"
    for name in "abcdefgh":
        path.write_bytes(event(name))
        at = path.stat().st_mtime_ns
        os.utime(path, ns=(at, at - at % 1_000_000_000))
        bring(lake)
    assert ids(lake) == list("abcdefgh")


def test_a_refused_file_with_other_bytes_is_read(lake: Lake, folder: Path) -> None:
    path = folder / "a.ndjson"
    path.write_bytes(event("a").replace(b"{", b"["))
    os.utime(path, (1, 1))
    assert len(bring(lake).refused) == 1
    assert refused_before(lake, EVENTS, lake.landing.list()) == {"pipeline_events/a.ndjson"}
    path.write_bytes(event("a"))
    os.utime(path, (1, 1))
    assert refused_before(lake, EVENTS, lake.landing.list()) == set()
    assert (bring(lake).rows, ids(lake)) == (1, ["a"])


def test_a_file_that_changes_under_its_reader_is_refused_by_its_inodes_time(lake: Lake, folder: Path) -> None:
    path = folder / "a.ndjson"
    path.write_bytes(event("a"))
    os.utime(path, (1, 1))
    [file] = lake.landing.list()
    assert file.fingerprint
    path.write_bytes(event("b"))
    os.utime(path, (1, 1))
    with pytest.raises(Exception, match="has changed since it was listed"):
        file.check()


def listed(version: str, *, doubtful: bool = False) -> LandedFile:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return LandedFile("s/a", 1, at, lambda: io.BytesIO(b"x"), version=version, doubtful=doubtful)


def test_an_object_is_known_by_its_tag_too() -> None:
    entries = Entries(stamps={exact_stamp_of(listed("tag 1"))})
    known = Ledger(table=RAW_PIPELINE_EVENTS, segments=(Segment(number=1, entries=entries),))
    assert [known.knows(listed(tag)) for tag in ("tag 1", "tag 2", "")] == [True, False, False]


def test_a_stamp_of_an_older_version_counts_unless_the_time_was_set() -> None:
    entries = Entries(stamps={stamp_of(listed("any"))})
    known = Ledger(table=RAW_PIPELINE_EVENTS, segments=(Segment(number=1, entries=entries),))
    assert [known.knows(listed("1:2")), known.knows(listed("1:2", doubtful=True))] == [True, False]


def test_a_file_is_doubtful_where_its_time_was_set(lake: Lake, folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    (folder / "b").write_bytes(b"1")
    os.utime(folder / "b", (time.time() - 60, time.time() - 60))
    assert [file.doubtful for file in lake.landing.list()] == [False, True]


def test_files_come_in_the_natural_order_of_their_names(lake: Lake, folder: Path) -> None:
    for name in ("part-10", "part-2", "part-02", "part-2a", "a/9", "a/10", "part-", "10", "part-2.1"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(event(name))
    order = ["10", "a/9", "a/10", "part-", "part-02", "part-2", "part-2.1", "part-2a", "part-10"]
    assert [file.name.removeprefix("pipeline_events/") for file in lake.landing.list()] == order
    bring(lake)
    rows = lake.store.scan(RAW_PIPELINE_EVENTS).collect()
    assert rows["pipeline_id"].to_list() == order


def test_of_two_empty_files_both_are_listed_once(lake: Lake, folder: Path) -> None:
    for name in ("a.ndjson", "b.ndjson"):
        (folder / name).write_bytes(b"")
    names = ["pipeline_events/a.ndjson", "pipeline_events/b.ndjson"]
    for _ in range(2):
        report = bring(lake)
        assert [one.file for one in report.refused] == names
        assert all(one.reason.endswith("the file is empty") for one in report.refused)
        found = lake.store.scan(LANDING_REJECTS).collect().sort("_source")
        assert found["_source"].to_list() == names
        assert found["_fingerprint"].n_unique() == 1
    assert refused_before(lake, EVENTS, lake.landing.list()) == set(names)
    ledger.relearn(lake, LANDING_REJECTS)
    bring(lake)
    assert lake.store.scan(LANDING_REJECTS).collect().height == 2


def test_links_out_of_landing_are_reported_and_links_within_are_not(
    lake: Lake, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.ndjson").write_bytes(event("x"))
    (folder / "in.ndjson").write_bytes(event("in"))
    (folder / "same.ndjson").symlink_to("in.ndjson")
    (folder / "out.ndjson").symlink_to(outside / "x.ndjson")
    (folder / "gone.ndjson").symlink_to(outside / "gone")
    (folder / "folder").symlink_to(outside)
    (folder.parent / "github").symlink_to(outside)
    report = bring(lake)
    told = {one.file: one.reason for one in report.refused}
    assert sorted(told) == [
        "github/",
        *(f"pipeline_events/{n}" for n in ("folder/", "gone.ndjson", "out.ndjson")),
    ]
    assert all("a link that leads out of landing" in reason for reason in told.values())
    assert (report.rows, report.known, ids(lake)) == (1, 1, ["in"])
    assert lake.store.scan(LANDING_REJECTS).collect().height == 4
    assert "github" in lake.landing.sources()
    bring(lake)
    assert lake.store.scan(LANDING_REJECTS).collect().height == 4
