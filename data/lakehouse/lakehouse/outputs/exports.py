"""Gold as files: CSV and Parquet of each table, and one manifest that says what they are.

Belongs here: which files are written, when, and what the manifest says. Does not: the form of values
(values.py), or how a place replaces a file (storage/objects.py).

    <place>/gold/<table>.csv   <place>/gold/<table>.parquet   <place>/manifest.json

Names never change. Each file is replaced whole; the manifest is written after the files that it names, so
that a reader whose file has another SHA-256 than the manifest says reads both again. Values are exactly those
of the lake: what a spreadsheet would take for a formula is not altered, but counted in the manifest.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from lakehouse.contracts import Contract
from lakehouse.errors import DamagedTable
from lakehouse.outputs.selection import Chosen, choose_readable, rows_of
from lakehouse.outputs.settings import OutputSettings
from lakehouse.outputs.values import csv_chunks, like_formulas
from lakehouse.pipeline import Lake
from lakehouse.storage.objects import Objects, open_objects

MANIFEST = "manifest.json"
_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS


@dataclass(frozen=True, kw_only=True)
class Export:
    """What became of one table. `written` is False where its files are those of this version already."""

    table: str
    version: int
    rows: int
    size_bytes: int
    left_out: tuple[str, ...]
    written: bool


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of all tables. `absent` have not been written in the lake yet; `place` is where files
    lie.
    """

    place: str
    tables: tuple[Export, ...]
    absent: tuple[str, ...]


def export(
    lake: Lake, tables: Sequence[Contract], settings: OutputSettings, *, pii: bool = False, whole: bool = True
) -> Exported:
    """Write CSV and Parquet of the tables that have changed since their files were written.

    `pii` also writes the columns that hold personal data. `whole` says that these are all tables there are:
    files of any other table are removed. Raises StorageUnavailable, DataViolation, Conflict; DamagedTable
    when all others are written: the files of the damaged one stay as they were. Those of a table that cannot
    be written without personal data, as it is damaged or gone, are removed where they hold some.
    """
    place = open_objects(settings.exports_url, settings.lake)
    chosen, faults = choose_readable(lake, tables, pii=pii)
    done: list[Export] = []
    with place.alone(lake.store.files):
        known = _known(place)
        for one in chosen:
            try:
                done.append(_export(lake, place, known, one))
            except DamagedTable as exc:
                faults[one.table.path] = exc
        gone = known.keys() - {table.path for table in tables} if whole else set()
        if not pii:
            gone |= _personal(known, tables) - {one.table for one in done}
        for path in sorted(gone):
            for file in known.pop(path)["files"].values():
                place.remove(file["name"])
        if gone or any(one.written for one in done):
            place.put(MANIFEST, [orjson.dumps({"tables": known}, option=_OPTIONS) + b"\n"])
    for fault in faults.values():
        raise fault
    there = {one.table.path for one in chosen}
    absent = tuple(table.path for table in tables if table.path not in there)
    return Exported(place=place.uri(""), tables=tuple(done), absent=absent)


def exported(settings: OutputSettings) -> dict[str, tuple[str, int]]:
    """Return identity and version of each table that its files are of. Raises StorageUnavailable."""
    known = _known(open_objects(settings.exports_url, settings.lake))
    return {path: (said.get("identity"), said.get("version")) for path, said in known.items()}


def _personal(known: Mapping[str, Any], tables: Sequence[Contract]) -> set[str]:
    """Return the tables whose files hold personal data."""
    return {
        table.path
        for table in tables
        if table.path in known
        and any(
            column.pii and column.name in known[table.path].get("columns", {}) for column in table.columns
        )
    }


def _known(place: Objects) -> dict[str, Any]:
    """Return what the manifest says of each table; one that cannot be read is written anew."""
    try:
        found = orjson.loads(place.read(MANIFEST) or b"{}")
        tables = found.get("tables", {}) if isinstance(found, dict) else {}
        return {path: said for path, said in tables.items() if isinstance(said.get("files"), dict)}
    except (ValueError, AttributeError):
        return {}


def _export(lake: Lake, place: Objects, known: dict[str, Any], chosen: Chosen) -> Export:
    path = chosen.table.path
    written = not _holds(place, known.get(path), chosen)
    if written:
        known[path] = _write(lake, place, chosen)
    said = known[path]
    return Export(
        table=path,
        version=said["version"],
        rows=said["rows"],
        size_bytes=sum(file["size_bytes"] for file in said["files"].values()),
        left_out=chosen.left_out,
        written=written,
    )


def _holds(place: Objects, said: Mapping[str, Any] | None, chosen: Chosen) -> bool:
    """Return whether the files of a table are there, and those of the chosen version."""
    if said is None:
        return False
    known = (said.get("identity"), said.get("version"), said.get("shape"))
    if known != (chosen.identity, chosen.version, chosen.shape):
        return False
    return all(place.size(file["name"]) == file["size_bytes"] for file in said["files"].values())


def _write(lake: Lake, place: Objects, chosen: Chosen) -> dict[str, Any]:
    rows = rows_of(lake, chosen)
    parquet = io.BytesIO()
    rows.write_parquet(parquet)
    path = chosen.table.path
    files = {
        "csv": place.put(f"{path}.csv", csv_chunks(rows, chosen.columns)),
        "parquet": place.put(f"{path}.parquet", [parquet.getvalue()]),
    }
    return {
        "identity": chosen.identity,
        "version": chosen.version,
        "contract_version": chosen.table.version,
        "shape": chosen.shape,
        "run": chosen.run,
        "exported_at": lake.clock().isoformat(timespec="seconds"),
        "rows": rows.height,
        "columns": {c.name: c.type.value for c in chosen.columns},
        "left_out": list(chosen.left_out),
        "like_formulas": like_formulas(rows, chosen.columns),
        "files": {form: asdict(file) for form, file in files.items()},
    }
