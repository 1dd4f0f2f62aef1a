"""The mart: every Gold table as a plain table of a database that reporting tools read.

Belongs here: what a refresh does and returns, whatever the database. Does not: any database
(postgres_mart.py, duckdb_mart.py).

A reader sees all tables as they were before a refresh, or all as they are after it, and is never refused or
made to wait for one. A refresh takes each table at one version; where no table has a new one, it changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from lakehouse.contracts import Contract
from lakehouse.outputs.selection import Chosen, choose
from lakehouse.outputs.settings import OutputSettings, PostgresPlace
from lakehouse.pipeline import Lake

NOTE = "outputs/mart.json"  # among the lake's own files
TABLES = "_odp_tables"
"""The table of a mart that says what its tables are."""
TABLES_SAYS = "What each table of this mart is a copy of: table, version in the lake, run, time, rows"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One table of the mart. `changed` is False where it holds this version already.

    `shown_nul` counts, by column, the rows whose text has the symbol for NUL in place of it.
    """

    table: str
    version: int
    rows: int
    left_out: tuple[str, ...] = ()
    shown_nul: Mapping[str, int] = field(default_factory=dict)
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Mart:
    """What became of a refresh. `absent` have not been written in the lake; `removed` are declared no
    more.
    """

    place: str
    tables: tuple[Loaded, ...]
    absent: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the refresh changed anything."""
        return bool(self.removed) or any(one.changed for one in self.tables)


def refresh_mart(lake: Lake, tables: Sequence[Contract], settings: OutputSettings) -> Mart:
    """Bring the mart to the newest versions of the tables. A table that is not among them is removed.

    Raises StorageUnavailable, DataViolation, Unsupported, Conflict; the mart is as it was then.
    """
    chosen = choose(lake, tables, pii=settings.mart_pii)
    there = {one.table.path for one in chosen}
    absent = [table for table in tables if table.path not in there]
    if isinstance(settings.mart, PostgresPlace):
        from lakehouse.outputs.postgres_mart import refresh as in_postgres

        done = in_postgres(lake, chosen, absent, settings.mart)
    else:
        from lakehouse.outputs.duckdb_mart import refresh as in_duckdb

        done = in_duckdb(lake, chosen, absent, settings.mart)
    _note(lake, chosen, done.place)
    return done


def noted(lake: Lake, settings: OutputSettings) -> dict[str, tuple[str, int]]:
    """Return identity and version of each table as the mart was last left; nothing of another mart.

    The mart itself is not asked: a plan must not wait for a database. Raises StorageUnavailable.
    """
    found = lake.store.files.read_tagged(NOTE)
    try:
        said = orjson.loads(found[0]) if found else {}
        if said.get("place") != str(settings.mart):
            return {}
        return {path: (identity, version) for path, (identity, version) in said["tables"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _note(lake: Lake, chosen: Sequence[Chosen], place: str) -> None:
    """Keep what the mart is a copy of. Where somebody else just wrote it, theirs stands: it is a hint."""
    tables = {one.table.path: [one.identity, one.version] for one in chosen}
    body = orjson.dumps({"place": place, "tables": tables}, option=orjson.OPT_SORT_KEYS)
    before = lake.store.files.read_tagged(NOTE)
    if before is None or before[0] != body:
        lake.store.files.put_if(NOTE, body, before[1] if before else None)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a mart says of one of its tables."""

    name: str
    table: str
    identity: str
    version: int
    shape: str
    rows: int
    shown_nul: Mapping[str, int]

    def is_of(self, chosen: Chosen) -> bool:
        """Return whether the mart's table is the chosen one at the chosen version, laid out alike."""
        return (self.identity, self.version, self.shape) == (chosen.identity, chosen.version, chosen.shape)

    def loaded(self, chosen: Chosen) -> Loaded:
        """Return it as a table that a refresh has left as it is."""
        return Loaded(
            table=self.table,
            version=self.version,
            rows=self.rows,
            left_out=chosen.left_out,
            shown_nul=self.shown_nul,
            changed=False,
        )
