"""Gold as files: what an independent reader finds in them, and what is not in them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import lakes
import pyarrow.parquet as pq
import pytest
from conftest_outputs import ADA, EVERY, PEOPLE, ROWS, in_utc, people, put, small_lake

from lakehouse.contracts import Column, DecimalType, Type
from lakehouse.contracts.types import is_nested
from lakehouse.errors import DataViolation, StorageUnavailable
from lakehouse.outputs import exports
from lakehouse.outputs.exports import export
from lakehouse.outputs.settings import OutputSettings
from lakehouse.pipeline import Lake, open_lake
from lakehouse.storage.objects import FolderObjects, open_objects

Made = tuple[Lake, OutputSettings]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    lake, settings = small_lake(tmp_path)
    put(lake, EVERY, ROWS[::-1])
    put(lake, PEOPLE, people(3, 1))
    return lake, settings


def folder(settings: OutputSettings) -> Path:
    return Path(settings.exports_url)


_CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n)', re.DOTALL)


def cells(text: str) -> list[list[str | None]]:
    """A reader of RFC 4180 that tells null from the empty text."""
    rows: list[list[str | None]] = [[]]
    for quoted, bare, end in (m.groups() for m in _CELL.finditer(text)):
        rows[-1].append(quoted.replace('""', '"') if quoted is not None else bare or None)
        if end == "\n":
            rows.append([])
    return rows[:-1]


def value(column: Column, cell: str | None) -> Any:
    if cell is None:
        return None
    if is_nested(column.type):
        return json.loads(cell)
    if isinstance(column.type, DecimalType):
        return Decimal(cell)
    readers: dict[Any, Any] = {
        Type.BOOL: lambda text: {"true": True, "false": False}[text],
        Type.INT32: int,
        Type.INT64: int,
        Type.FLOAT64: float,
        Type.DATE: date.fromisoformat,
        Type.TIMESTAMP: lambda text: datetime.fromisoformat(text).astimezone(UTC),
        Type.BINARY: b64decode,
    }
    return readers.get(column.type, str)(cell)


def as_json(found: Any) -> Any:
    """What JSON says of a nested value."""
    match found:
        case list():
            return [as_json(one) for one in found]
        case dict():
            return {name: as_json(one) for name, one in found.items()}
        case bytes():
            return {b"\x00\xff": "AP8="}[found]
        case float():
            return {"nan": "NaN", "-inf": "-inf"}[str(found)]
        case Decimal():
            return str(found)
        case datetime():
            return found.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case date():
            return found.isoformat()
    return found


def test_a_csv_file_holds_exactly_the_rows_of_the_lake(made: Made) -> None:
    lake, settings = made
    export(lake, [EVERY, PEOPLE], settings, pii=True)
    text = (folder(settings) / "gold/every_type.csv").read_bytes().decode()
    names, *rows = cells(text)
    assert names == EVERY.column_names
    found = [tuple(value(c, cell) for c, cell in zip(EVERY.columns, row, strict=True)) for row in rows]
    wanted = [
        tuple(as_json(v) if is_nested(c.type) else v for c, v in zip(EVERY.columns, row, strict=True))
        for row in ROWS
    ]
    assert repr(found) == repr(wanted)  # nan is not equal to itself, and -0.0 is equal to 0.0
    # Another reader of CSV, which knows no null, agrees on everything else.
    again = list(csv.reader(io.StringIO(text, newline="")))
    assert again == [names, *([cell or "" for cell in row] for row in rows)]


def test_what_a_csv_file_looks_like(made: Made) -> None:
    lake, settings = made
    export(lake, [EVERY], settings)
    lines = (folder(settings) / "gold/every_type.csv").read_bytes().decode().split("\n")
    assert lines[0] == ",".join(f'"{name}"' for name in EVERY.column_names if name != "person")
    assert lines[1].startswith(
        '1,"=cmd()","true",-2147483648,0.1,"0001-01-01","0001-01-01T00:00:00.000000Z",9999999999999999.99,'
        '99999999999999999999999999999999999999,"AP8NCg==","[""""'
    )
    assert ",".join(lines[3].split(",")) == "3,,,,,,,,,,,,"


def test_a_parquet_file_holds_exactly_the_rows_of_the_lake(made: Made) -> None:
    lake, settings = made
    export(lake, [EVERY, PEOPLE], settings, pii=True)
    table = pq.read_table(folder(settings) / "gold/every_type.parquet")
    assert table.column_names == EVERY.column_names
    assert repr([tuple(row.values()) for row in in_utc(table.to_pylist())]) == repr(ROWS)


def test_the_manifest_names_version_rows_and_bytes(made: Made) -> None:
    lake, settings = made
    done = export(lake, [EVERY, PEOPLE], settings)
    said = json.loads((folder(settings) / "manifest.json").read_bytes())["tables"]
    assert list(said) == ["gold/every_type", "gold/people"]
    one = said["gold/every_type"]
    assert (one["version"], one["rows"], one["run"]) == (lake.store.data_version(EVERY), 6, "run-1")
    assert (one["left_out"], one["like_formulas"]) == (["person"], {"text": 1})
    assert "person" not in one["columns"]
    for file in one["files"].values():
        body = (folder(settings) / file["name"]).read_bytes()
        assert (file["size_bytes"], file["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert [(t.table, t.rows, t.written) for t in done.tables] == [
        ("gold/every_type", 6, True),
        ("gold/people", 3, True),
    ]


def test_personal_data_goes_out_only_where_it_is_asked_for(made: Made) -> None:
    lake, settings = made
    export(lake, [EVERY, PEOPLE], settings)
    everything = {p.name: p.read_bytes() for p in folder(settings).rglob("*") if p.is_file()}
    assert [name for name, body in everything.items() if ADA.encode() in body] == []
    assert (folder(settings) / "gold/people.csv").read_text() == '"visits"\n1\n1\n1\n'
    export(lake, [EVERY, PEOPLE], settings, pii=True)
    assert ADA in (folder(settings) / "gold/people.csv").read_text()
    export(lake, [EVERY, PEOPLE], settings)
    assert ADA not in (folder(settings) / "gold/people.csv").read_text()


def snapshot(settings: OutputSettings) -> dict[str, tuple[int, bytes]]:
    files = sorted(p for p in folder(settings).rglob("*") if p.is_file())
    return {p.relative_to(folder(settings)).as_posix(): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def test_nothing_new_writes_nothing_and_a_changed_table_is_the_only_one_written(made: Made) -> None:
    lake, settings = made
    export(lake, [EVERY, PEOPLE], settings)
    before = snapshot(settings)
    again = export(lake, [EVERY, PEOPLE], settings)
    assert [one.written for one in again.tables] == [False, False]
    assert snapshot(settings) == {**before, ".lock": snapshot(settings)[".lock"]}
    put(lake, PEOPLE, people(4, 2))
    done = export(lake, [EVERY, PEOPLE], settings)
    assert [one.written for one in done.tables] == [False, True]
    after = snapshot(settings)
    assert after["gold/every_type.csv"] == before["gold/every_type.csv"]
    (folder(settings) / "gold/every_type.csv").unlink()
    assert [one.written for one in export(lake, [EVERY, PEOPLE], settings).tables] == [True, False]
    assert snapshot(settings)["gold/every_type.csv"][1] == before["gold/every_type.csv"][1]


def test_equal_rows_give_equal_bytes(made: Made, tmp_path: Path) -> None:
    lake, settings = made
    export(lake, [EVERY], settings)
    other, elsewhere = small_lake(tmp_path / "other")
    put(other, EVERY, ROWS)
    export(other, [EVERY], elsewhere)
    for form in ("csv", "parquet"):
        files = [folder(one) / f"gold/every_type.{form}" for one in (settings, elsewhere)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_table_that_is_declared_no_more_goes_and_one_never_written_is_told(made: Made) -> None:
    lake, settings = made
    export(lake, [EVERY, PEOPLE], settings)
    missing = replace(PEOPLE, name="missing")
    done = export(lake, [EVERY, missing], settings)
    assert done.absent == ("gold/missing",)
    assert [p.name for p in sorted((folder(settings) / "gold").iterdir())] == [
        "every_type.csv",
        "every_type.parquet",
    ]
    export(lake, [PEOPLE], settings, whole=False)
    assert list(json.loads((folder(settings) / "manifest.json").read_bytes())["tables"]) == [
        "gold/every_type",
        "gold/people",
    ]


def test_a_write_that_fails_leaves_the_old_file_and_the_old_manifest(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = made
    export(lake, [PEOPLE], settings)
    before = snapshot(settings)

    def broken(rows: Any, columns: Any) -> Any:
        yield b"half of a f"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "csv_chunks", broken)
    put(lake, PEOPLE, people(4, 2))
    with pytest.raises(StorageUnavailable, match=r"No space left on device.*the file before it stays"):
        export(lake, [PEOPLE], settings)
    assert {name: body for name, (_, body) in snapshot(settings).items()} == {
        name: body for name, (_, body) in before.items()
    }


def test_what_a_killed_writer_left_is_removed(made: Made) -> None:
    lake, settings = made
    left = folder(settings) / f"gold/.people.csv.{'0123456789abcdef' * 2}.unfinished"
    left.parent.mkdir(parents=True)
    left.write_text("half of a f")
    others = [folder(settings) / name for name in (".profile.old", "gold/.mine.csv.1", "notes.txt")]
    for other in others:
        other.write_text("somebody's")
    export(lake, [PEOPLE], settings)
    assert not left.exists()
    assert all(other.exists() for other in others)


def test_a_value_that_no_output_can_hold_is_named_by_its_column(made: Made, monkeypatch: Any) -> None:
    lake, settings = made
    monkeypatch.setattr("lakehouse.outputs.selection.beyond", lambda table, rows: {"day": 2})
    with pytest.raises(DataViolation, match=r"gold/every_type: day \(2 rows\) outside the calendar"):
        export(lake, [EVERY], settings)


def test_a_place_that_is_none_is_refused(made: Made) -> None:
    lake, settings = made
    with pytest.raises(Exception, match="'ftp://x' is no place for files"):
        export(lake, [EVERY], replace(settings, exports_url="ftp://x"))


def test_a_folder_replaces_a_file_whole(tmp_path: Path) -> None:
    place = FolderObjects(tmp_path)
    place.put("a/b.csv", [b"one", b"two"])
    with (tmp_path / "a/b.csv").open("rb") as reader:
        place.put("a/b.csv", [b"three"])
        assert reader.read() == b"onetwo"
    assert (place.read("a/b.csv"), place.size("a/b.csv"), place.read("c")) == (b"three", 5, None)


@pytest.mark.containers
def test_a_bucket_holds_the_same_files_as_a_folder(made: Made, tmp_path: Path) -> None:
    lake, settings = made
    export(lake, [EVERY, PEOPLE], settings)
    with lakes.lake_of("s3", tmp_path / "s3") as there:
        check_bucket(open_lake(there), OutputSettings.from_env(there, {"MART_FILE": "unused"}), settings)


def check_bucket(remote: Lake, in_bucket: OutputSettings, settings: OutputSettings) -> None:
    """Export to the bucket `exports` of a lake, and compare with the files of a folder."""
    assert in_bucket.exports_url == "s3://exports"
    put(remote, EVERY, ROWS)
    put(remote, PEOPLE, people(3, 1))
    place = open_objects(in_bucket.exports_url, in_bucket.lake)
    assert (place.read("manifest.json"), place.size("manifest.json")) == (None, None)
    done = export(remote, [EVERY, PEOPLE], in_bucket)
    assert [one.written for one in done.tables] == [True, True]
    assert [one.written for one in export(remote, [EVERY, PEOPLE], in_bucket).tables] == [False, False]
    for name in ("every_type.csv", "every_type.parquet", "people.csv"):
        assert place.read(f"gold/{name}") == (folder(settings) / "gold" / name).read_bytes()
    # Larger than one part of an upload, and one that fails on the way.
    large = [bytes([number]) * 1_000_000 for number in range(20)]
    assert place.put("large", iter(large)).sha256 == hashlib.sha256(b"".join(large)).hexdigest()
    assert place.read("large") == b"".join(large)

    def broken() -> Iterator[bytes]:
        yield from large[:12]
        raise DataViolation("no more of it")

    with pytest.raises(DataViolation):
        place.put("large", broken())
    assert place.size("large") == 20_000_000
    export(remote, [PEOPLE], in_bucket)
    assert (place.size("gold/every_type.csv"), place.size("gold/people.csv")) == (None, 15)
