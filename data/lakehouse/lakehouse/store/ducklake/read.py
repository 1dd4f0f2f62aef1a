"""Reading DuckLake tables: snapshots, rows as of a version, changes, state, history.

Belongs here: everything that changes nothing. Does not: commits (ducklake.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import SchemaViolation, TableNotFound, Unsupported
from lakehouse.settings import Settings
from lakehouse.storage.files import Files, open_files
from lakehouse.storage.paths import is_below
from lakehouse.store.ducklake import catalog, options
from lakehouse.store.ducklake.commit import DATA, HEAD, last_change, read_state
from lakehouse.store.ducklake.connection import Cursor, DuckLake
from lakehouse.store.ducklake.files import IDENTITY, in_files
from lakehouse.store.ducklake.pushdown import duckdb_condition
from lakehouse.store.ducklake.scan import Query, lazy
from lakehouse.store.ducklake.schema import (
    Stored,
    absent,
    addition,
    address,
    differences,
    place,
    selection,
)
from lakehouse.store.integrity import foreign_commits as foreign
from lakehouse.store.integrity.checksums import Checked, Checksums
from lakehouse.store.predicate import Where
from lakehouse.store.results import BaseVersion, Changes, DataFile, DataFiles, Fault, HistoryEntry, Snapshot


class DuckLakeReader:
    """DuckLake tables, their files below one folder or in one bucket per layer, for reading."""

    reads_what_it_replaces = True

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        self.settings = settings
        self.files = files or open_files(settings)
        self.lake = DuckLake(settings)
        self.checksums = Checksums(self.files)

    def pinned_reads(self) -> AbstractContextManager[None]:
        """Nothing to save here: a look into the catalog is one query."""
        return nullcontext()

    def uri(self, table: Contract) -> str:
        return self.files.uri(table.path)

    def exists(self, table: Contract) -> bool:
        """Return whether the table has ever been written."""
        with self.lake.asking(f"looking for {table}") as cursor:
            return catalog.entry(cursor, table.path) is not None

    def snapshot(self, table: Contract, *, version: int | None = None) -> Snapshot:
        with self.lake.asking(f"reading {table}") as cursor:
            entry = self.entry(cursor, table)
            named, at = self._at(cursor, table, entry, version)
            files = catalog.files(cursor, table, at)
            counted = cursor.execute(f"SELECT count(*) FROM {as_of(table, at)}").fetchone()
            stored = catalog.stored_columns(cursor, table, at)
        return Snapshot(
            table=table.path,
            uri=self.uri(table),
            identity=entry.identity,
            version=named,
            rows=int(counted[0]) if counted else 0,
            size_bytes=sum(file.size for file in files),
            files=len(files),
            columns={name: kind for name, (kind, _) in stored.items()},
        )

    def data_files(self, table: Contract, *, version: int | None = None) -> DataFiles:
        """Return the files of a version (None: the newest), for who reads them without this library."""
        doing, base = f"handing out the files of {table}", f"{self.uri(table)}/"
        with self.lake.asking(doing) as cursor:
            entry = self.entry(cursor, table)
            named, at = self._at(cursor, table, entry, version)
            stored = self._fitting(cursor, table, named, at)
            if catalog.has_former_columns(cursor, entry):
                raise Unsupported(f"{doing}: a column of it was renamed, removed or retyped by other means")
            found = catalog.files(cursor, table, at)
            rows = catalog.record_counts(cursor, entry, at)
            counted = cursor.execute(f"SELECT count(*) FROM {as_of(table, at)}").fetchone()
        below = [file.path.removeprefix(base) for file in found]
        if any(file.deletions for file in found) or sum(rows.values()) != (counted or (0,))[0]:
            raise Unsupported(f"{doing}: rows of it were removed or kept outside of its files by other means")
        if not all(file.path.startswith(base) for file in found) or not all(map(is_below, below)):
            raise Unsupported(f"{doing}: one of them lies outside of the table")
        return DataFiles(
            table=table.path,
            identity=entry.identity,
            version=named,
            columns=tuple(name for name in table.column_names if name in stored),
            partition_by=(),
            files=tuple(
                DataFile(name=name, size_bytes=file.size, rows=rows.get(file.path, rows.get(name)))
                for name, file in sorted(zip(below, found, strict=True), key=lambda pair: pair[0])
            ),
        )

    def scan(
        self, table: Contract, *, version: int | None = None, where: Where | None = None
    ) -> pl.LazyFrame:
        """Return the rows lazily, as of `version` (None: now), with the contract's columns and types.

        Columns, conditions and limits that Polars pushes down are DuckDB's work.
        """
        with self.lake.asking(f"reading {table}") as cursor:
            named, at = self._at(cursor, table, self.entry(cursor, table), version)
            stored = self._fitting(cursor, table, named, at)
        query = Query(as_of(table, at), selection(table, stored))
        if where is not None:
            query = query.where(*duckdb_condition(where.check(table)))
        return lazy(self.lake, table, query)

    def changes(self, table: Contract, *, since: int, until: int | None = None) -> Changes:
        """Return the rows that came and went after version `since`, up to `until` (None: now).

        Costs as much as the files that are in one of the two versions only. Raises TableNotFound.
        """
        with self.lake.asking(f"reading the changes of {table}") as cursor:
            entry = self.entry(cursor, table)
            last, at = self._at(cursor, table, entry, until)
            start = self._readable(cursor, table, entry, since)
            if start is None:
                rows = self.scan(table, version=until)
                counted = self.snapshot(table, version=until).rows
                return Changes(table=table.path, since=since, until=last, added=rows, removed=rows.clear(),
                               compared_rows=counted, complete=False)  # fmt: skip
            before, after = set(catalog.files(cursor, table, start)), set(catalog.files(cursor, table, at))
            if not self._by_files(cursor, entry, since):
                compared = sum(self.snapshot(table, version=one).rows for one in (since, last))
            else:
                before, after = before - after, after - before
                compared = catalog.moved_rows(cursor, entry, start, at)
            then, now = self._fitting(cursor, table, since, start), self._fitting(cursor, table, last, at)
        came, went = rows_of(table, at, after, now), rows_of(table, start, before, then)
        return Changes(
            table=table.path,
            since=since,
            until=last,
            added=lazy(self.lake, table, came.without(went)),
            removed=lazy(self.lake, table, went.without(came)),
            compared_rows=compared,
        )

    def data_version(self, table: Contract) -> int:
        """Return the newest version that changed rows; maintenance does not move it."""
        with self.lake.asking(f"reading {table}") as cursor:
            entry = self.entry(cursor, table)
            ours = last_change(cursor, table, DATA, version=catalog.newest(cursor))
            logged = catalog.log(cursor, entry, limit=1)
            if logged and logged[0].version > ours:
                logged = [one for one in catalog.log(cursor, entry) if one.version > ours]
            return max([ours, *(one.version for one in logged if one.changed_rows(entry))])

    def read_state(self, table: Contract, names: Sequence[str]) -> dict[str, int]:
        """Return those of `names` that the table holds; a table never written holds none."""
        with self.lake.asking(f"reading the state of {table}") as cursor:
            if not names or catalog.entry(cursor, table.path) is None:
                return {}
            return read_state(cursor, table, names)

    def base_version(self, table: Contract, names: Sequence[str] = ()) -> BaseVersion:
        """Return the table's identity, version and the state `names`, all of one moment."""
        with self.lake.asking(f"reading {table}") as cursor:
            cursor.execute("BEGIN")
            now = catalog.current(cursor)
            entry = self.entry(cursor, table)
            version = catalog.version_of(cursor, entry, upto=now)
            state = read_state(cursor, table, names) if names else {}
            cursor.execute("ROLLBACK")
        return BaseVersion(identity=entry.identity, version=version, state=state)

    def unchanged(self, table: Contract, since: BaseVersion) -> bool:
        """Return whether nothing but maintenance has happened to the table since that state."""
        with self.lake.asking(f"reading {table}") as cursor:
            return catalog.stands(cursor, self.entry(cursor, table), since, upto=catalog.newest(cursor))

    def all_state(self, table: Contract, *, version: int | None = None) -> dict[str, int]:
        """Return every state entry, as of `version` (None: now)."""
        with self.lake.asking(f"reading the state of {table}") as cursor:
            _, at = self._at(cursor, table, self.entry(cursor, table), version, state=True)
            return read_state(cursor, table, version=at)

    def mark(self, table: Contract, version: int) -> str:  # noqa: ARG002
        """Return nothing: versions are numbered by the catalog, whose backup Postgres puts back."""
        return ""

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits, newest first."""
        with self.lake.asking(f"reading the history of {table}") as cursor:
            return [_entry(one) for one in catalog.log(cursor, self.entry(cursor, table), limit=limit)]

    def foreign_commits(self, table: Contract) -> list[HistoryEntry]:
        """Return the commits of other programs that still stand, newest first, however long ago they were."""
        with self.lake.asking(f"reading the history of {table}") as cursor:
            entry = self.entry(cursor, table)
            logged = [_entry(one) for one in catalog.log(cursor, entry, unusual=True)]
        found = foreign.standing(reversed(logged), {})
        return foreign.not_accepted(self.files, table.path, entry.identity, found)

    def accept_foreign(self, table: Contract, version: int, why: str) -> None:
        """Let a commit of another program stand, and keep why. Raises Unsupported when there is none such."""
        foreign.refuse_others(table, version, self.foreign_commits(table))
        foreign.accept(self.files, table.path, self.snapshot(table).identity, version, why)

    def schema_problems(self, table: Contract) -> list[str]:
        """Return how the stored schema differs from the contract, but for what the next write adds."""
        with self.lake.asking(f"reading {table}") as cursor:
            _, at = self._at(cursor, table, self.entry(cursor, table), None)
            stored = catalog.stored_columns(cursor, table, at)
        return [] if addition(table, stored) else differences(table, stored)

    def missing_files(self, table: Contract, *, version: int | None = None) -> list[str]:
        """Return the files that the catalog names and the store lacks, or holds in another size."""
        with self.lake.asking(f"reading {table}") as cursor:
            _, at = self._at(cursor, table, self.entry(cursor, table), version)
            named = catalog.sizes(catalog.files(cursor, table, at))
            base = f"{self.uri(table)}/"
            stored = {f"{base}{name}": size for name, size in self.files.sizes(table.path).items()}
            # What another writer put elsewhere is looked for by its name alone.
            elsewhere = [path for path in named if not path.startswith(base)]
            stored |= {path: named[path] for path in elsewhere if _is_there(cursor, path)}
        return [path.removeprefix(base) for path, size in named.items() if stored.get(path) != size]

    def log_faults(self, table: Contract) -> list[Fault]:  # noqa: ARG002
        """Return nothing: the log is in Postgres, which answers with all of it or not at all."""
        return []

    def settings_faults(self) -> list[Fault]:
        """Return which options of the catalog make it silently wrong."""
        with self.lake.asking("reading the options of the catalog") as cursor:
            return options.faults(cursor)

    def check_bytes(self, table: Contract) -> Checked:
        """Compare every data file of the newest version with its checksum."""
        return self.checksums.check(table.path, IDENTITY, self.file_names(table))

    def file_names(self, table: Contract, *, version: int | None = None) -> list[str]:
        """Return the data files of a version (None: the newest), as named below the table."""
        with self.lake.asking(f"reading {table}") as cursor:
            _, at = self._at(cursor, table, self.entry(cursor, table), version)
            named = [file.path for file in catalog.files(cursor, table, at)]
        return [path.removeprefix(f"{self.uri(table)}/") for path in named]

    def found(self) -> list[str]:
        """Return every `<layer>/<name>` of the catalog, declared or not."""
        with self.lake.asking("listing the tables of the lake") as cursor:
            return catalog.paths(cursor)

    def entry(self, cursor: Cursor, table: Contract) -> catalog.Entry:
        """Return the table's place in the catalog. Raises TableNotFound; Unsupported when it is not ours."""
        found = catalog.entry(cursor, table.path)
        if found is None:
            raise TableNotFound(
                f"reading {table}: it has never been written. `make init-data-layers` writes it."
            )
        if found.marks_id < 0:
            raise Unsupported(
                f"reading {table}: something else made it, it has no state. Give it another name."
            )
        return found

    def _at(
        self,
        cursor: Cursor,
        table: Contract,
        entry: catalog.Entry,
        version: int | None,
        *,
        state: bool = False,
    ) -> tuple[int, int]:
        """Return the version, and the snapshot to read it at.

        The newest version is read at the lake's newest snapshot, which maintenance never takes.
        """
        now = catalog.newest(cursor)
        newest = catalog.version_of(cursor, entry, upto=now)
        if version is None or newest <= version <= now:
            return (newest if version is None else version), now
        at = self._readable(cursor, table, entry, version, state=state)
        if at is None:
            raise Unsupported(
                f"reading {table} at version {version}: there is no such version any more, or yet. "
                f"It was made at {entry.created} and is at {newest}; `history` lists those in between."
            )
        return version, at

    def _readable(
        self, cursor: Cursor, table: Contract, entry: catalog.Entry, version: int, *, state: bool = False
    ) -> int | None:
        """Return a snapshot at which the table is what it was at `version`, rows or rows and state."""
        at = catalog.surviving(cursor, version)
        if at is None or version < entry.created:
            return None
        if at > version and last_change(cursor, table, HEAD if state else DATA, version=at) > version:
            return None
        return at

    def _by_files(self, cursor: Cursor, entry: catalog.Entry, since: int) -> bool:
        """Return whether files tell what changed since: only where all of it was our doing.

        We take files out whole. Another writer may delete rows in a file that stays.
        """
        logged = catalog.log(cursor, entry)
        return all(one.author == catalog.AUTHOR for one in logged if one.version > since)

    def _fitting(self, cursor: Cursor, table: Contract, named: int, at: int) -> Stored:
        """Return the stored columns, if the contract can read them."""
        stored = catalog.stored_columns(cursor, table, at)
        problems = differences(table, stored)
        if len(problems) != len(absent(table, stored)):
            raise SchemaViolation(
                f"reading {table} at version {named}: the stored schema is not the contract's "
                f"({'; '.join(problems)}). Read it with the contract that wrote it, or make it anew: "
                "`make odp ARGS=upgrade`."
            )
        return stored


def _entry(one: catalog.Logged) -> HistoryEntry:
    info = {**one.info, "changes": one.changes}
    return HistoryEntry(version=one.version, at=one.at, operation=one.operation or one.changes, info=info)


def as_of(table: Contract, version: int) -> str:
    return f"{address(place(table.path))} AT (VERSION => {int(version)})"


def rows_of(table: Contract, version: int, files: Iterable[catalog.DataFile], stored: Stored) -> Query:
    """Return the rows of these files of a version, which has the columns `stored`."""
    chosen = selection(table, stored)
    return Query(as_of(table, version), chosen).where(*in_files(file.path for file in files))


def _is_there(cursor: Cursor, path: str) -> bool:
    return cursor.execute("SELECT 1 FROM glob(?)", [path]).fetchone() is not None
