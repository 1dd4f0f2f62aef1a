"""One file that cannot be read holds up no other: it is refused, reported and kept.

Belongs here: files, folders and names that an operating system allows and nobody can use. Does not: contents
(test_landing_readers.py).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import polars as pl
import pytest

from lakehouse.contracts import LANDING_REJECTS
from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS
from lakehouse.domains.pipelines.sources import SOURCES
from lakehouse.landing import LandedFile, Source
from lakehouse.pipeline import Lake, open_lake
from lakehouse.pipeline.ingest import ingest, report_undeclared
from lakehouse.settings import Settings

EVENTS = [source for source in SOURCES if source.table == RAW_PIPELINE_EVENTS]
FOLDER = EVENTS[0].folder
CHILD = """
import json, os, sys
from lakehouse.domains.pipelines.contracts import RAW_PIPELINE_EVENTS as TABLE
from lakehouse.domains.pipelines.sources import SOURCES
from lakehouse.pipeline import open_lake
from lakehouse.pipeline.ingest import ingest, report_undeclared
from lakehouse.settings import Settings

def run(place):
    lake = open_lake(Settings(lake_url=place + "/lake", landing_url=place + "/landing"))
    report = ingest(lake, TABLE, [source for source in SOURCES if source.table == TABLE])
    report.refused += report_undeclared(lake, SOURCES)
    return [report.rows, sorted([one.file, one.reason] for one in report.refused)]

run(sys.argv[2])  # loads what is loaded late: root's interpreter may be root's alone
os.setgroups([])
os.setgid(int(sys.argv[3]))
os.setuid(int(sys.argv[3]))
print(json.dumps(run(sys.argv[1])))
"""


def event(number: int) -> bytes:
    return orjson.dumps({"pipeline_id": f"p{number}", "event_type": "started", "raw_data": {}}) + b"\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """A place that every user may enter; pytest's own are of the one who runs it."""
    folder = Path(tempfile.mkdtemp(prefix="odp-hostile-"))
    folder.chmod(0o755)
    (folder / "landing" / FOLDER).mkdir(parents=True)
    (folder / "landing" / FOLDER / "good.ndjson").write_bytes(event(1) + event(2))
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def lake(place: Path) -> Lake:
    return open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))


def refused_by(lake: Lake, sources: list[Source] = EVENTS) -> tuple[int, dict[str, str]]:
    report = ingest(lake, RAW_PIPELINE_EVENTS, sources)
    return report.rows, {one.file: one.reason for one in report.refused}


def recorded(lake: Lake) -> list[str]:
    return sorted(lake.store.scan(LANDING_REJECTS).collect()["_source"])


def as_nobody(
    place: Path, uid: int = 65534, env: dict[str, str] | None = None, umask: int = -1
) -> tuple[int, dict[str, str]]:
    """Ingest as a user without any right: root reads every file."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    (place / "lake").mkdir(exist_ok=True)
    os.chown(place / "lake", uid, uid)
    warm = place / "warm"
    (warm / "landing" / FOLDER).mkdir(parents=True, exist_ok=True)
    (warm / "landing" / FOLDER / "x.ndjson").write_bytes(event(0))
    (warm / "landing" / "stray.txt").write_bytes(b"")
    command = [sys.executable, "-c", CHILD, str(place), str(warm), str(uid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=env, umask=umask)
    assert done.returncode == 0, done.stderr
    rows, refused = orjson.loads(done.stdout.splitlines()[-1])
    return rows, dict(refused)


def test_a_file_that_nobody_may_open_is_refused_and_the_others_land(place: Path) -> None:
    locked = place / "landing" / FOLDER / "locked.ndjson"
    locked.write_bytes(event(3))
    locked.chmod(0)
    rows, refused = as_nobody(place)
    assert rows == 2
    assert list(refused) == [f"{FOLDER}/locked.ndjson"]
    assert "it cannot be opened (PermissionError (Permission denied)" in refused[f"{FOLDER}/locked.ndjson"]
    locked.chmod(0o644)
    assert as_nobody(place) == (1, {})


def test_a_user_without_home_and_name_under_umask_077_and_locale_c_can_ingest(place: Path) -> None:
    env = {name: text for name, text in os.environ.items() if name != "HOME" and not name.startswith("LC_")}
    (place / "landing" / FOLDER / "ümläut b.ndjson").write_bytes(event(3))
    assert as_nobody(place, uid=54321, env={**env, "LC_ALL": "C"}, umask=0o077) == (3, {})


def test_a_folder_that_nobody_may_enter_is_refused_and_the_others_land(place: Path) -> None:
    for name, mode in (("closed", 0), ("unsearchable", 0o444), ("unlisted", 0o111)):
        folder = place / "landing" / FOLDER / name
        folder.mkdir()
        (folder / "x.ndjson").write_bytes(event(4))
        folder.chmod(mode)
    top = place / "landing" / "elsewhere"
    top.mkdir(mode=0)
    rows, refused = as_nobody(place)
    assert rows == 2
    assert set(refused) == {
        f"{FOLDER}/closed/", f"{FOLDER}/unsearchable/x.ndjson", f"{FOLDER}/unlisted/", "elsewhere/"
    }  # fmt: skip


def test_a_name_that_is_not_utf8_is_refused_and_told_legibly(place: Path, lake: Lake) -> None:
    folder = os.fsencode(place / "landing" / FOLDER)
    for name in (b"\xff\xfe.ndjson", b"sub\xe9/x.ndjson"):
        os.makedirs(os.path.dirname(folder + b"/" + name), exist_ok=True)
        with open(folder + b"/" + name, "wb") as out:
            out.write(event(5))
    rows, refused = refused_by(lake)
    assert rows == 2
    names = [f"{FOLDER}/\\xff\\xfe.ndjson", f"{FOLDER}/sub\\xe9/x.ndjson"]
    assert sorted(refused) == names
    assert all("its name is not UTF-8; rename it" in reason for reason in refused.values())
    assert recorded(lake) == names
    assert refused_by(lake) == (0, refused)
    assert recorded(lake) == names, "a file is recorded once"
    os.rename(folder + b"/\xff\xfe.ndjson", folder + b"/renamed.ndjson")
    assert refused_by(lake)[0] == 1


@pytest.mark.parametrize("root", ["/dev/shm", "/tmp"])
def test_a_time_past_the_year_9999_is_refused(root: str) -> None:
    place = Path(tempfile.mkdtemp(prefix="odp-hostile-", dir=root))
    lake = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))
    (place / "landing" / FOLDER).mkdir(parents=True)
    (place / "landing" / FOLDER / "good.ndjson").write_bytes(event(1) + event(2))
    late = place / "landing" / FOLDER / "late.ndjson"
    late.write_bytes(event(6))
    os.utime(late, (400_000_000_000, 400_000_000_000))
    if late.stat().st_mtime < 300_000_000_000:
        shutil.rmtree(place)
        pytest.skip("this file system has no such time")
    rows, refused = refused_by(lake)
    assert (rows, list(refused)) == (2, [f"{FOLDER}/late.ndjson"])
    assert "year 9999" in refused[f"{FOLDER}/late.ndjson"]
    late.touch()
    assert refused_by(lake) == (1, {})
    shutil.rmtree(place)


def test_a_time_before_1970_is_a_time(place: Path, lake: Lake) -> None:
    old = place / "landing" / FOLDER / "old.ndjson"
    old.write_bytes(event(6))
    os.utime(old, (-86_400, -86_400))
    assert refused_by(lake) == (3, {})


def test_a_file_that_keeps_growing_is_refused_and_lands_once_it_is_whole(place: Path, lake: Lake) -> None:
    growing = place / "landing" / FOLDER / "growing.ndjson"
    growing.write_bytes(event(7))

    def read(file: LandedFile) -> Iterator[pl.DataFrame]:
        for frame in EVENTS[0].read(file):
            if file.name.endswith("growing.ndjson"):
                with growing.open("ab") as out:
                    out.write(event(8))
            yield frame

    source = replace(EVENTS[0], read=read)
    rows, refused = refused_by(lake, [source])
    assert (rows, list(refused)) == (2, [f"{FOLDER}/growing.ndjson"])
    assert "has changed since it was listed" in refused[f"{FOLDER}/growing.ndjson"]
    assert refused_by(lake) == (2, {})
    assert lake.store.scan(RAW_PIPELINE_EVENTS).collect().height == 4


def test_a_fingerprint_of_a_file_without_end_comes_to_an_end(place: Path, lake: Lake) -> None:
    growing = place / "landing" / FOLDER / "good.ndjson"
    listed = lake.landing.list(FOLDER)[0]
    with growing.open("ab") as out:
        out.write(event(9) * 100_000)
    assert listed.identity.startswith("unread-")


def test_a_source_that_breaks_on_one_file_loses_that_one_alone(place: Path, lake: Lake) -> None:
    (place / "landing" / FOLDER / "bad.ndjson").write_bytes(event(1) * 3)

    def read(file: LandedFile) -> Iterator[pl.DataFrame]:
        if file.name.endswith("bad.ndjson"):
            raise KeyError("a secret of the file")
        yield from EVENTS[0].read(file)

    rows, refused = refused_by(lake, [replace(EVENTS[0], read=read)])
    assert (rows, list(refused)) == (2, [f"{FOLDER}/bad.ndjson"])
    assert "KeyError at test_landing_hostile:" in refused[f"{FOLDER}/bad.ndjson"]
    assert "secret" not in str(refused)


def test_links_and_pipes_hold_nobody_up(place: Path, lake: Lake) -> None:
    folder = place / "landing" / FOLDER
    (folder / "loop.ndjson").symlink_to("loop.ndjson")
    (folder / "dangling.ndjson").symlink_to("nowhere")
    (folder / "outside.ndjson").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe.ndjson")
    rows, refused = refused_by(lake)
    assert (rows, list(refused)) == (2, [f"{FOLDER}/loop.ndjson", f"{FOLDER}/outside.ndjson"])


def test_strays_that_cannot_be_read_are_reported(place: Path, lake: Lake) -> None:
    with open(os.fsencode(place / "landing") + b"/\xff", "wb") as out:
        out.write(b"x")
    lake.store.ensure(LANDING_REJECTS)
    assert [one.file for one in report_undeclared(lake, SOURCES)] == ["\\xff"]
    assert recorded(lake) == ["\\xff"]
    assert stat.S_ISREG(os.stat(os.fsencode(place / "landing") + b"/\xff").st_mode), "it is kept"
