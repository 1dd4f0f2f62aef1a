"""What changed in a Delta table between two versions, by content.

Belongs here: the files that commits brought and took, read and compared. Does not: the log (delta/log.py).
The files of each commit are compared rather than the states: compaction, which rewrites a table without
changing a row, then costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date

import polars as pl

from lakehouse.contracts import ColumnType, Contract, Type, polars_type
from lakehouse.errors import DamagedTable
from lakehouse.store.delta.log import DataFile, LoggedCommit, read_commit
from lakehouse.store.delta.read import DeltaReader, adds
from lakehouse.store.results import Changes
from lakehouse.store.values import typed

_HASHES = ("__hash_a", "__hash_b")
_READ: dict[ColumnType, Callable[[str], object]] = {
    Type.STRING: str,
    Type.BOOL: lambda text: text == "true",
    Type.INT32: int,
    Type.INT64: int,
    Type.DATE: date.fromisoformat,
}


class DeltaChanges(DeltaReader):
    """Reading Delta tables by what changed."""

    def data_version(self, table: Contract) -> int:
        """Return the newest version that changed rows; where the log no longer tells, too new a one."""
        latest = self.look(table)
        newest, identity = int(latest.version()), str(latest.metadata().id)
        seen = self._data_versions.get(table.path)
        known = seen if seen is not None and seen[0] == identity and seen[1] <= newest else None
        version = newest
        while version > (known[1] if known else 0):
            commit = self._commit_at(table, version)
            if commit is None or not commit.rearranged:
                break
            version -= 1
        else:
            version = known[2] if known else 0
        self._data_versions[table.path] = (identity, newest, version)
        return version

    def changes(self, table: Contract, *, since: int, until: int | None = None) -> Changes:
        """Return the rows that came and went after version `since`, up to `until` (None: now).

        Costs as much as the files that were rewritten in between. Raises TableNotFound.
        """
        last = int(self.latest(table).version()) if until is None else until
        commits = [self._commit_at(table, version) for version in range(since + 1, last + 1)]
        told = [commit for commit in commits if commit is not None and not commit.rearranged]
        masked = any(commit.masked for commit in told)  # files are read below as they are, mask or not
        if None in commits or masked or not self._all_there(table, told):
            rows = self.scan(table, version=last)
            return Changes(
                table=table.path,
                since=since,
                until=last,
                added=rows,
                removed=rows.clear(),
                compared_rows=self.snapshot(table, version=last).rows,
                complete=False,
            )
        came, went = _net(told)
        compared = sum(file.rows for file in (*came, *went))
        added, removed = self._rows(table, came), self._rows(table, went)
        if came and went:
            # A compaction between two changes is passed over, so that one row may come and go more than once.
            counted = not table.key or len(told) < len(commits)
            added, removed = _without_common(table, added, removed, counted=counted)
        return Changes(
            table=table.path, since=since, until=last, added=added, removed=removed, compared_rows=compared
        )

    def _commit_at(self, table: Contract, version: int) -> LoggedCommit | None:
        """Return a commit; None for one that the log no longer tells of."""
        try:
            return read_commit(self.files, table.path, version)
        except (FileNotFoundError, DamagedTable):
            return None

    def _all_there(self, table: Contract, commits: Iterable[LoggedCommit]) -> bool:
        """Return whether every file of these commits can still be read: clean-up takes those of old
        versions."""
        named = {file.path for commit in commits for file in (*commit.added, *commit.removed)}
        named -= set(adds(self.latest(table))["path"])
        return not named or named <= self.files.sizes(table.path).keys()

    def _rows(self, table: Contract, files: list[DataFile]) -> pl.LazyFrame:
        if not files:
            return pl.LazyFrame(schema=table.polars_schema())
        stored = {c.name: polars_type(c.type) for c in table.columns if c.name not in table.partition_by}
        by_partition: dict[tuple[tuple[str, str | None], ...], list[str]] = {}
        for file in files:
            by_partition.setdefault(file.partition, []).append(f"{self.uri(table)}/{file.path}")
        parts = []
        for partition, paths in by_partition.items():
            rows = pl.scan_parquet(
                paths,
                schema=stored,
                missing_columns="insert",  # a file may be older than a column
                glob=False,
                hive_partitioning=False,
                storage_options=self._options,
            )
            values = [_partition_value(table, name, text) for name, text in partition]
            parts.append(rows.with_columns(values).select(table.column_names))
        return pl.concat(parts)


def _partition_value(table: Contract, name: str, text: str | None) -> pl.Expr:
    """Return a partition column's one value; the log has it as text, and a null or empty text as null."""
    kind = table.by_name[name].type
    if not text:
        return pl.lit(None, polars_type(kind)).alias(name)
    return typed(_READ[kind](text), polars_type(kind)).alias(name)


def _net(commits: Iterable[LoggedCommit]) -> tuple[list[DataFile], list[DataFile]]:
    """Return the files that came and those that went, without the ones that did both.

    A file that a restore brought back after a compaction had taken it came once more than it went.
    """
    balance: Counter[DataFile] = Counter()
    for commit in commits:
        balance.update(commit.added)
        balance.subtract(commit.removed)
    return list((+balance).elements()), list((-balance).elements())


def _without_common(
    table: Contract, added: pl.LazyFrame, removed: pl.LazyFrame, *, counted: bool
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Drop the rows that are on both sides: a rewritten file carries mostly rows that it had before.

    Rows are compared by 128 bits of their content, several times quicker than text by text. With `counted`
    equal rows may occur several times: the second is another row than the first.
    """
    came, went, names = _hashed(table, added), _hashed(table, removed), [*_HASHES]
    if counted:
        nth = pl.int_range(pl.len(), dtype=pl.Int64).over(_HASHES).alias("__nth")
        came, went, names = came.with_columns(nth), went.with_columns(nth), [*names, "__nth"]
    return (
        came.join(went.select(names), on=names, how="anti").select(table.column_names),
        went.join(came.select(names), on=names, how="anti").select(table.column_names),
    )


def _hashed(table: Contract, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.map_batches(
        lambda frame: frame.with_columns(frame.hash_rows(n).alias(name) for n, name in enumerate(_HASHES)),
        schema={**table.polars_schema(), **dict.fromkeys(_HASHES, pl.UInt64)},
        predicate_pushdown=False,
        projection_pushdown=False,
        streamable=True,
    ).cache()
