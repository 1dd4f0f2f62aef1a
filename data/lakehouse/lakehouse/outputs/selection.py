"""Which tables go out, at which version, which of their columns, and their rows.

Belongs here: what is equal for every output. Does not: where it goes, or in which form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import polars as pl

from lakehouse.contracts import Column, Contract
from lakehouse.contracts.types import is_nested
from lakehouse.errors import DamagedTable, DataViolation
from lakehouse.pipeline import Lake
from lakehouse.store import HistoryEntry, commit_of
from lakehouse.store.integrity.damage import readable
from lakehouse.store.values import beyond

_FORM = 1  # counted up when an output writes equal rows in another form, so that all are written again
_LOOKED_BACK = 20


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One table at one version: the newest at the one look of a refresh.

    `identity` is of this very table, and of the commit that made the version: after a backup was put back,
    another commit may come to the same number. `version` is the newest that changed rows, so that maintenance
    changes no output; `read_version` is the one that is read. `run` wrote the version, where its commit says
    so. `left_out` names the columns that hold personal data and were not asked for.
    """

    table: Contract
    identity: str
    version: int
    read_version: int
    run: str | None
    columns: tuple[Column, ...]
    left_out: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """The key, where all of its columns go out; else ()."""
        names = {column.name for column in self.columns}
        return self.table.key if names.issuperset(self.table.key) else ()

    @property
    def shape(self) -> str:
        """A digest of the columns, their types, texts and the key: what decides how a copy is laid out."""
        said = [(c.name, c.type.value, c.nullable, c.description, c.unit) for c in self.columns]
        whole = [_FORM, self.table.description, said, self.key, self.left_out]
        return hashlib.sha256(orjson.dumps(whole)).hexdigest()


def gold(tables: Sequence[Contract]) -> list[Contract]:
    """Return the tables of layer Gold."""
    return [table for table in tables if table.layer == "gold"]


def choose(lake: Lake, tables: Sequence[Contract], *, pii: bool) -> list[Chosen]:
    """Return the tables that have been written, each at its newest version, all of one look."""
    found, faults = choose_readable(lake, tables, pii=pii)
    for fault in faults.values():
        raise fault
    return found


def choose_readable(
    lake: Lake, tables: Sequence[Contract], *, pii: bool
) -> tuple[list[Chosen], dict[str, DamagedTable]]:
    """Return those that can be read, as `choose` does, and by path what is wrong with the others."""
    found: list[Chosen] = []
    faults: dict[str, DamagedTable] = {}
    with lake.store.pinned_reads():
        for table in tables:
            try:
                found += [_chosen(lake, table, pii=pii)] if lake.store.exists(table) else []
            except DamagedTable as exc:
                faults[table.path] = exc
    return found, faults


def _chosen(lake: Lake, table: Contract, *, pii: bool) -> Chosen:
    snapshot, version = lake.store.snapshot(table), lake.store.data_version(table)
    made_by = _entry(lake, table, version)
    run = made_by.info.get("odp.run") if made_by else None
    return Chosen(
        table=table,
        identity=f"{snapshot.identity}/{commit_of(made_by)}" if made_by else snapshot.identity,
        version=version,
        read_version=snapshot.version,
        run=str(run) if run else None,
        columns=tuple(c for c in table.columns if pii or not c.pii),
        left_out=tuple(c.name for c in table.columns if c.pii and not pii),
    )


def rows_of(lake: Lake, chosen: Chosen) -> pl.DataFrame:
    """Return the rows of a table, in the order of its key, so that equal rows give equal files.

    Where the key does not go out, in the order of what does: an order can tell too. Raises DataViolation for
    a value that no output has a text for; it names the column, never the value. Raises DamagedTable.
    """
    names = [column.name for column in chosen.columns]
    order = list(chosen.key) or [c.name for c in chosen.columns if not is_nested(c.type)]
    scanned = lake.store.scan(chosen.table, version=chosen.read_version).select(names)
    with readable(lake.store, [chosen.table]):
        rows = scanned.collect(engine="streaming")
    rows = rows.sort(order, nulls_last=True, maintain_order=True) if order else rows
    if strange := beyond(chosen.table, rows):
        told = ", ".join(f"{name} ({count} rows)" for name, count in strange.items())
        raise DataViolation(
            f"{chosen.table}: {told} outside the calendar or of more digits than the column has, so that no "
            f"output can hold it; `odp refresh {chosen.table} --full-refresh` refuses such rows"
        )
    return rows


def _entry(lake: Lake, table: Contract, version: int) -> HistoryEntry | None:
    """Return the commit of a version that is among the latest; mostly it is the very last."""
    for most in (1, _LOOKED_BACK):
        for entry in lake.store.history(table, limit=most):
            if entry.version == version:
                return entry
    return None
