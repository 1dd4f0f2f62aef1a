"""The Delta backend of the persistence authority.

Belongs here: turning the Protocol's calls into Delta commits, and the care they need (see retry.py).
Does not: contracts, or reading files other than tables.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import TableNotFoundError

from lakehouse.contracts import Contract, Type
from lakehouse.errors import SchemaViolation, StorageUnavailable, TableNotFound, plain
from lakehouse.settings import Settings
from lakehouse.store import probe
from lakehouse.store.delta_schema import delta_schema, differences, properties
from lakehouse.store.files import BucketFiles, Files, FolderFiles, open_files
from lakehouse.store.frames import conform, refuse_repeated_keys
from lakehouse.store.protocol import Commit, CommitResult, HistoryEntry, Outcome, Snapshot
from lakehouse.store.retry import Attempt, commit_with_retries

_TARGET_FILE_BYTES = 128 * 1024 * 1024
_NO_COMMIT = Commit()


class DeltaStore:
    """Tables as Delta Lake, below one folder or in one bucket per layer."""

    def __init__(self, settings: Settings, files: Files | None = None) -> None:
        self.settings = settings
        self.files = files or open_files(settings)
        self._options = settings.storage_options()

    # -- reading ---------------------------------------------------------------------------------------

    def uri(self, table: Contract) -> str:
        return self.files.uri(table.path)

    def exists(self, table: Contract) -> bool:
        """Return whether the table has ever been written."""
        try:
            return bool(DeltaTable.is_deltatable(self.uri(table), storage_options=self._options))
        except OSError as exc:
            raise self._unavailable(f"looking for {table}", exc) from exc

    def open(self, table: Contract, *, version: int | None = None) -> DeltaTable:
        """Open a table's log. Raises TableNotFound, StorageUnavailable."""
        try:
            return DeltaTable(self.uri(table), version=version, storage_options=self._options)
        except TableNotFoundError as exc:
            raise TableNotFound(
                f"reading {table}: it has never been written. `make init-data-layers` writes it."
            ) from exc
        except OSError as exc:
            raise self._unavailable(f"opening {table}", exc) from exc

    def snapshot(self, table: Contract, *, version: int | None = None) -> Snapshot:
        delta = self.open(table, version=version)
        adds = _adds(delta)
        return Snapshot(
            table=table.path,
            uri=self.uri(table),
            version=delta.version(),
            rows=int(adds["num_records"].sum() or 0),
            size_bytes=int(adds["size_bytes"].sum() or 0),
            files=adds.height,
            columns={f.name: str(getattr(f.type, "type", f.type)) for f in delta.schema().fields},
        )

    def scan(self, table: Contract, *, version: int | None = None) -> pl.LazyFrame:
        """Return the rows lazily, as of `version` (None: now), with the contract's columns and types."""
        return self._scan(table, self.open(table, version=version))

    def _scan(self, table: Contract, delta: DeltaTable) -> pl.LazyFrame:
        problems = differences(table, delta.schema())
        if problems:
            raise SchemaViolation(
                f"reading {table} at version {delta.version()}: the stored schema is not the contract's "
                f"({'; '.join(problems)}). Read it with the contract that wrote it, or migrate the table."
            )
        return pl.scan_delta(delta, use_pyarrow=False).select(table.column_names)

    def marks(self, table: Contract, names: Sequence[str]) -> dict[str, int]:
        """Return those of `names` that the table holds; a table never written holds none."""
        if not self.exists(table):
            return {}
        return _marks(self.open(table), names)

    def history(self, table: Contract, *, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits, newest first."""
        return [
            HistoryEntry(
                version=int(entry["version"]),
                at=datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC),
                operation=str(entry.get("operation", "")),
                info={k: v for k, v in entry.items() if k not in ("version", "timestamp", "operation")},
            )
            for entry in self.open(table).history(limit)
        ]

    # -- writing ---------------------------------------------------------------------------------------

    def ensure(self, table: Contract) -> int:
        """Create the table if it is not there, and check that its schema is the contract's.

        Raises SchemaViolation. Two callers at once are fine: one creates, both check.
        """
        if not self.exists(table):
            try:
                DeltaTable.create(
                    self.uri(table),
                    schema=delta_schema(table),
                    mode="ignore",
                    partition_by=list(table.partition_by) or None,
                    name=table.path,
                    description=table.row,
                    configuration=properties(table),
                    storage_options=self._options,
                )
            except OSError as exc:
                raise self._unavailable(f"creating {table}", exc) from exc
            except Exception as exc:
                if not self.exists(table):  # the other of two creators may have won: then all is well
                    raise StorageUnavailable(f"creating {table}: {plain(exc)}") from exc
        delta = self.open(table)
        problems = differences(table, delta.schema())
        if problems:
            raise SchemaViolation(
                f"table {table} exists with another schema ({'; '.join(problems)}). "
                "Give the contract a new name, or migrate the table."
            )
        return int(delta.version())

    def append(self, table: Contract, frame: pl.DataFrame, commit: Commit = _NO_COMMIT) -> CommitResult:
        """Add rows."""
        frame = conform(table, frame)

        def attempt(delta: DeltaTable) -> Attempt:
            outcome = Outcome(rows=frame.height, inserted=frame.height, updated=0)
            # Appends do not read, so the library may rebase them over other commits by itself.
            return Attempt(outcome, lambda properties: self._append(delta, frame, properties), retries=50)

        return self._commit(table, frame, commit, attempt)

    def merge(self, table: Contract, frame: pl.DataFrame, commit: Commit = _NO_COMMIT) -> CommitResult:
        """Insert rows with new keys and replace rows with known ones.

        Which keys are known is read from the table at the version the commit is made against; any other
        commit in between makes it start over.
        """
        frame = conform(table, frame)
        refuse_repeated_keys(table, frame)

        def attempt(delta: DeltaTable) -> Attempt:
            known = self._known_keys(table, delta, frame)
            outcome = Outcome(rows=frame.height, inserted=frame.height - known, updated=known)
            if known == 0:
                return Attempt(outcome, lambda properties: self._append(delta, frame, properties))
            return Attempt(outcome, lambda properties: self._merge(table, delta, frame, properties))

        return self._commit(table, frame, commit, attempt)

    def overwrite(self, table: Contract, frame: pl.DataFrame, commit: Commit = _NO_COMMIT) -> CommitResult:
        """Replace every row."""
        frame = conform(table, frame)
        if table.key:
            refuse_repeated_keys(table, frame)

        def attempt(delta: DeltaTable) -> Attempt:
            outcome = Outcome(rows=frame.height, inserted=frame.height, updated=0)
            return Attempt(
                outcome, lambda properties: self._write(delta, frame, properties, mode="overwrite")
            )

        return self._commit(table, frame, commit, attempt, empty_is_noop=False)

    def replace_partitions(
        self, table: Contract, frame: pl.DataFrame, commit: Commit = _NO_COMMIT
    ) -> CommitResult:
        """Replace the partitions that `frame` has rows of, and leave the others alone."""
        frame = conform(table, frame)
        if not table.partition_by:
            raise SchemaViolation(f"replacing partitions of {table}: the contract has no partition_by")
        if table.key:
            refuse_repeated_keys(table, frame)
        predicate = partition_predicate(table, frame)

        def attempt(delta: DeltaTable) -> Attempt:
            outcome = Outcome(rows=frame.height, inserted=frame.height, updated=0)
            return Attempt(
                outcome,
                lambda properties: self._write(
                    delta, frame, properties, mode="overwrite", predicate=predicate
                ),
            )

        return self._commit(table, frame, commit, attempt)

    def _commit(
        self,
        table: Contract,
        frame: pl.DataFrame,
        commit: Commit,
        attempt: Callable[[DeltaTable], Attempt],
        *,
        empty_is_noop: bool = True,
    ) -> CommitResult:
        version = self.ensure(table)
        if frame.is_empty() and empty_is_noop and commit.token is None:
            return CommitResult(
                table=table.path,
                version=version,
                outcome=Outcome(rows=0, inserted=0, updated=0),
                landed="noop",
            )
        return commit_with_retries(table, lambda: self.open(table), commit, attempt)

    def _append(self, delta: DeltaTable, frame: pl.DataFrame, properties: CommitProperties) -> None:
        self._write(delta, frame, properties, mode="append")

    def _write(
        self,
        delta: DeltaTable,
        frame: pl.DataFrame,
        properties: CommitProperties,
        *,
        mode: str,
        predicate: str | None = None,
    ) -> None:
        write: Any = write_deltalake  # its overloads do not know a mode held in a variable
        write(
            delta,
            _arrow(frame),
            mode=mode,
            target_file_size=_TARGET_FILE_BYTES,
            writer_properties=_writer(),
            commit_properties=properties,
            post_commithook_properties=PostCommitHookProperties(
                create_checkpoint=True, cleanup_expired_logs=False
            ),
            **({"predicate": predicate} if predicate else {}),
        )

    def _known_keys(self, table: Contract, delta: DeltaTable, frame: pl.DataFrame) -> int:
        """Return how many of the frame's keys the table holds, reading key columns of its time span only."""
        if not delta.file_uris():
            return 0
        stored = self._scan(table, delta)
        for name in table.key:
            if table.by_name[name].type in (Type.DATE, Type.TIMESTAMP):
                stored = stored.filter(pl.col(name).is_between(frame[name].min(), frame[name].max()))
        keys = frame.lazy().select(table.key)
        return int(
            stored.select(table.key)
            .join(keys, on=list(table.key), how="semi")
            .select(pl.len())
            .collect(engine="streaming")
            .item()
        )

    def _merge(
        self, table: Contract, delta: DeltaTable, frame: pl.DataFrame, properties: CommitProperties
    ) -> None:
        matches = " AND ".join(f"target.{name} = source.{name}" for name in table.key)
        (
            delta.merge(
                _arrow(frame),
                predicate=matches,
                source_alias="source",
                target_alias="target",
                streamed_exec=False,  # only then are the target's files pruned by the source's statistics
                commit_properties=properties,
                writer_properties=_writer(),
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )

    # -- looking after ---------------------------------------------------------------------------------

    def schema_problems(self, table: Contract) -> list[str]:
        """Say how the stored schema differs from the contract; empty when it does not."""
        return differences(table, self.open(table).schema())

    def missing_files(self, table: Contract) -> list[str]:
        """Return the files that the log names and the store lacks, or holds in another size."""
        stored = self.files.sizes(table.path)
        adds = _adds(self.open(table)).select("path", "size_bytes")
        return [path for path, size in adds.iter_rows() if stored.get(path) != size]

    def found(self) -> list[str]:
        """Return every `<layer>/<name>` with anything in it, declared or not."""
        return self.files.names()

    def probe(self) -> None:
        """Let parallel conditional writers race. Raises UnsafeStore when more than one wins."""
        if isinstance(self.files, BucketFiles):
            client = self.files.client
            probe.race(probe.bucket_put(client, "bronze"))
            probe.clean_bucket(client, "bronze")
        elif isinstance(self.files, FolderFiles):
            root = Path(self.files.root) / ".probe"
            probe.race(probe.folder_put(root))
            shutil.rmtree(root)

    def _unavailable(self, doing: str, exc: BaseException) -> StorageUnavailable:
        return StorageUnavailable(f"{doing}: {plain(exc)}. Is the store up? `make status` tells.")


def partition_predicate(table: Contract, frame: pl.DataFrame) -> str:
    """Return the predicate of the partitions in `frame`, from typed values only.

    Values are quoted by doubling quotes; a partition column is text, a whole number, a bool or a date.
    """
    parts = []
    for row in frame.select(table.partition_by).unique().sort(table.partition_by).iter_rows():
        terms = [f"{name} = {_literal(value)}" if value is not None else f"{name} IS NULL"
                 for name, value in zip(table.partition_by, row, strict=True)]  # fmt: skip
        parts.append(f"({' AND '.join(terms)})")
    return " OR ".join(parts)


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _marks(delta: DeltaTable, names: Sequence[str]) -> dict[str, int]:
    found = {name: delta.transaction_version(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _adds(delta: DeltaTable) -> pl.DataFrame:
    """Return one row per data file: path, size_bytes, num_records."""
    adds = pl.DataFrame(delta.get_add_actions(flatten=True))
    if "num_records" not in adds.columns:
        adds = adds.with_columns(num_records=pl.lit(0, pl.Int64))
    return adds


def _arrow(frame: pl.DataFrame) -> Any:
    # Straight from Polars the files carry Utf8View in their Arrow schema, and readers that go through
    # pyarrow then fail on string filters (apache/arrow#49368).
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _writer() -> WriterProperties:
    # zstd halves the bytes for a tenth of a second per million rows.
    return WriterProperties(compression="ZSTD", compression_level=1)
