"""What the pages show, as values.

Belongs here: choosing and naming it. Does not: HTML (templates), geometry (drawing.py), or reading the lake
in a way of its own (reader.py, rows/describe.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from lakehouse.catalog import cell_text, chart_points, preview_rows
from lakehouse.contracts import LAYERS, Chart, Contract, DecimalType, Type
from lakehouse.errors import LakeError, StorageUnavailable, only_ours, plain
from lakehouse.registry import contracts
from serving.page import drawing
from serving.problems import Problem
from serving.reader import Pinned, Reader
from serving.rows.describe import datasets, edges

_PREVIEW_ROWS = 8
_MOST_BARS = 24
_KEPT_CHARTS = 256
_MOST_ROWS_COUNTED = 5_000_000
_NUMBERS = (Type.INT32, Type.INT64, Type.FLOAT64)
_STATES = {
    "absent": ("never written", "`make init-data-layers` makes it"),
    "damaged": ("damaged", "`make verify-data-layers` says what is wrong, and what to do"),
    "unreadable": ("unreadable", "`make verify-data-layers` says what is wrong, and what to do"),
}


@dataclass(frozen=True, kw_only=True)
class Badge:
    """One thing to know of a table at a glance. `kind` is good, note, warn or bad."""

    kind: str
    says: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chart, its title in words, and the head of its figures."""

    title: str
    head: tuple[str, str]
    drawn: drawing.Bars


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The first rows, as texts. `numbers` are the places of columns that hold numbers."""

    columns: Sequence[str]
    personal: Sequence[str]
    numbers: frozenset[int]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a page shows of the rows themselves; `problem` says why it cannot."""

    preview: Preview | None = None
    picture: Picture | None = None
    problem: str | None = None


def badges(card: dict[str, Any]) -> list[Badge]:
    """Return what a card says of quality and freshness, the gravest first."""
    if card["state"] in _STATES:
        says, fix = _STATES[card["state"]]
        return [Badge(kind="note" if card["state"] == "absent" else "bad", says=says, fix=fix)]
    found = []
    if card.get("held"):
        fix = f"what is made of it waits: `odp quarantine show {card['table']}`, then replay or accept"
        found.append(Badge(kind="bad", says="held", fix=fix))
    if card["fresh"] is False:
        most = card["max_age_seconds"]
        found.append(Badge(kind="warn", says="too old", fix=f"its limit is {most // 3600} h"))
    if rejects := card.get("open_rejects"):
        found.append(Badge(kind="warn", says=f"{rejects:,} refused", fix="rows that wait in quarantine"))
    return found or [Badge(kind="good", says="fresh" if card["fresh"] else "sound")]


def layers(cards: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the cards by layer, sources first."""
    found = [(layer, [card for card in cards if card["layer"] == layer]) for layer in LAYERS]
    return [(layer, of) for layer, of in found if of]


def declared(layer: str, name: str) -> Contract:
    """Return the contract of a table that has a page. Raises Problem 404."""
    for table in contracts():
        if (table.layer, table.name) == (layer, name):
            return table
    raise Problem(404, "no such table is declared")


def rule_counts(card: dict[str, Any], table: Contract) -> list[tuple[str, str, int]]:
    """Return name, description and open rejects of each rule that refused rows."""
    told = {rule.name: rule.description for rule in table.rules}
    told |= {f"{c.name}_not_null": f"{c.name} is never null" for c in table.columns if not c.nullable}
    counts = card.get("rejects_by_rule") or {}
    return [(name, told.get(name, "a rule of an earlier contract"), rows) for name, rows in counts.items()]


def lineage(table: Contract) -> drawing.Lineage:
    """Return the picture of what a table is made of, and what is made of it."""
    return drawing.lineage(table.path, {one.path: edges(one)["sources"] for one in contracts()})


def sources_of(table: Contract) -> list[dict[str, Any]]:
    """Return the datasets that bring a table's rows."""
    return [one for one in datasets() if one["table"] == table.path]


@dataclass(kw_only=True)
class Views:
    """Reads what a page shows of rows; charts are kept for the version they are of."""

    reader: Reader
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: OrderedDict[tuple[str, str, int, str], Picture | None] = field(default_factory=OrderedDict)

    def rows(self, table: Contract, history: Sequence[dict[str, Any]]) -> Rows:
        """Return preview and chart of the newest version, without personal data.

        Raises StorageUnavailable.
        """
        try:
            pinned = self.reader.pin(table)
            with only_ours(f"reading {table}"):
                scan = self.reader.rows(pinned)
                return Rows(preview=_preview(scan, table), picture=self._picture(scan, pinned, history))
        except StorageUnavailable:
            raise
        except LakeError as exc:
            return Rows(problem=plain(exc))
        except Problem as exc:
            return Rows(problem=exc.detail)

    def _picture(
        self, scan: pl.LazyFrame, pinned: Pinned, history: Sequence[dict[str, Any]]
    ) -> Picture | None:
        key = pinned.key
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        found = picture(scan, pinned.contract, pinned.rows, history)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT_CHARTS:
                self._kept.popitem(last=False)
        return found


def picture(
    scan: pl.LazyFrame, table: Contract, rows: int, history: Sequence[dict[str, Any]]
) -> Picture | None:
    """Return the contract's chart; without one, rows by the table's own time, or by version."""
    if rows and table.chart is not None and not table.by_name[table.chart.value].pii:
        return _of_contract(scan, table, table.chart)
    if 0 < rows <= _MOST_ROWS_COUNTED and (column := _time_column(table)):
        found = _by_time(scan, column)
        if found is not None:
            return found
    written = [(one, sum(one["rows"].get(k, 0) for k in ("added", "inserted", "updated"))) for one in history]
    points = [(f"v{one['version']}", float(count), f"{count:,}") for one, count in reversed(written) if count]
    if not points:
        return None
    return Picture(
        title="Rows written by version", head=("version", "rows"), drawn=drawing.bars(points[-_MOST_BARS:])
    )


def _of_contract(scan: pl.LazyFrame, table: Contract, spec: Chart) -> Picture | None:
    points = chart_points(scan, table, spec, most=_MOST_BARS)
    if not points:
        return None
    drawn = drawing.bars([(cell_text(label), float(value), cell_text(value)) for label, value in points])
    return Picture(title=spec.title, head=(spec.label, spec.value), drawn=drawn)


def _time_column(table: Contract) -> str | None:
    """Return the column that says when what a row tells of happened."""
    names = (*table.cluster_by, *table.partition_by, *table.key, *table.column_names)
    for name in names:
        column = table.by_name[name]
        if column.type in (Type.DATE, Type.TIMESTAMP) and not column.pii and not name.startswith("_"):
            return name
    return None


def _by_time(scan: pl.LazyFrame, column: str) -> Picture | None:
    """Return rows by day, month or year, whichever gives bars that can be told apart."""
    days = scan.select(pl.col(column).dt.to_string("%Y-%m-%d").alias("day")).drop_nulls()
    counts = days.group_by("day").len().sort("day").collect().rows()
    for length, unit in ((10, "day"), (7, "month"), (4, "year")):
        sums: dict[str, int] = {}
        for day, count in counts:
            # The sign and further digits of years that have them stay with the year.
            label = day[: len(day) - 10 + length]
            sums[label] = sums.get(label, 0) + count
        if len(sums) <= _MOST_BARS or unit == "year":
            break
    if len(sums) < 2:
        return None
    points = [(label, float(count), f"{count:,}") for label, count in sums.items()]
    beyond = f", the last {_MOST_BARS}" if len(points) > _MOST_BARS else ""
    return Picture(
        title=f"Rows by {unit} of {column}{beyond}", head=(unit, "rows"),
        drawn=drawing.bars(points[-_MOST_BARS:]),
    )  # fmt: skip


def _preview(scan: pl.LazyFrame, table: Contract) -> Preview:
    found = preview_rows(scan, table, limit=_PREVIEW_ROWS)
    kinds = [table.by_name[name] for name in found.columns]
    numbers = (
        place
        for place, column in enumerate(kinds)
        if not column.pii and (column.type in _NUMBERS or isinstance(column.type, DecimalType))
    )
    return Preview(
        columns=found.columns, personal=[c.name for c in kinds if c.pii], numbers=frozenset(numbers),
        rows=[[_text(value) for value in row] for row in found.iter_rows()],
    )  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" + (f".{value.microsecond:06}" if value.microsecond else "")
    return value.isoformat() if isinstance(value, date) else cell_text(value)
