"""The Delta backend of the persistence authority.

Belongs here: turning the Protocol's writes into Delta commits. The loop around a commit is in commit.py.
Does not: contracts, or reading (delta/read.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import polars as pl
from arro3.core import DataType, Field, RecordBatchReader, Table
from deltalake import (
    CommitProperties,
    DeltaTable,
    write_deltalake,
)
from deltalake.exceptions import DeltaError

from lakehouse.contracts import Column, Contract, Type
from lakehouse.contracts.encoding import needs_encoding
from lakehouse.contracts.sql import quoted
from lakehouse.errors import Conflict, SchemaViolation, StorageUnavailable, Unsupported, plain
from lakehouse.store.commits import COMMIT_ID, sets_state, skipped
from lakehouse.store.delta.commit import Attempt, commit_with_retries
from lakehouse.store.delta.layout import file_bytes, hooks, writer
from lakehouse.store.delta.maintenance import DeltaMaintenance
from lakehouse.store.delta.read import adds, counted
from lakehouse.store.delta.schema import (
    additions,
    delta_schema,
    differences,
    field_of,
    properties,
)
from lakehouse.store.key_ranges import pruning_column, spans, within, within_sql
from lakehouse.store.predicate import Where, literal
from lakehouse.store.results import CommitOptions, CommitResult, Outcome, Rows
from lakehouse.store.schema import append_only, how_to_migrate
from lakehouse.store.validation import Incoming, conform, refuse_repeated_keys

_STREAMED_ROWS = 131_072
_PART_BYTES = 4 << 20  # the writer reads some parts ahead
_NO_COMMIT = CommitOptions()
_KIND = "odp.maintenance"


class DeltaStore(DeltaMaintenance):
    """Tables as Delta Lake, below one folder or in one bucket per layer."""

    def ensure(self, table: Contract) -> int:
        """Create the table if it is not there, add new nullable columns, and check the schema.

        Raises SchemaViolation, with the migration to write, when more than that lies between table and
        contract. Two callers at once are fine: one creates or adds, both check.
        """
        if not self.exists(table):
            try:
                DeltaTable.create(
                    self.uri(table),
                    schema=delta_schema(table),
                    mode="ignore",
                    partition_by=list(table.partition_by) or None,
                    name=table.path,
                    description=table.description,
                    configuration=properties(table),
                    storage_options=self._options,
                    # By itself the library puts a second creation, with an id of its own, onto the first.
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            except OSError as exc:
                raise self._unavailable(f"creating {table}", exc) from None
            except Exception as exc:  # noqa: BLE001  # another may have made it
                if not self.exists(table):  # the other of two creators may have won: then all is well
                    raise StorageUnavailable(f"creating {table}: {plain(exc)}") from None
        delta = self.look(table)
        if fresh := additions(table, delta.schema()):
            delta = self._add_columns(table, fresh)
            if any(needs_encoding(column.type) for column in fresh):
                self._set_properties(table)  # of a decimal, an older table would write statistics as floats
        problems = differences(table, delta.schema())
        if problems:
            raise SchemaViolation(
                f"table {table} exists with another schema ({'; '.join(problems)}). {how_to_migrate(table)}"
            )
        return int(delta.version())

    def _add_columns(self, table: Contract, fresh: list[Column]) -> DeltaTable:
        """Add the columns in a commit of our own; when another writer was first, his have to do."""
        said = CommitProperties(custom_metadata={COMMIT_ID: uuid.uuid4().hex, _KIND: "new columns"})
        try:
            self.latest(table, fresh=True).alter.add_columns(
                [field_of(column) for column in fresh],
                commit_properties=said,
                post_commithook_properties=hooks(),
            )
        except OSError as exc:
            raise self._unavailable(f"adding columns to {table}", exc) from None
        except DeltaError as exc:
            if additions(table, self.latest(table, fresh=True).schema()):
                raise Conflict(f"adding columns to {table}: {plain(exc)}. Run it again.") from None
        return self.latest(table, fresh=True)

    def append(self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Add rows."""
        incoming = conform(table, rows, self._options)

        def attempt(delta: DeltaTable) -> Attempt:
            outcome = Outcome(rows=incoming.height, inserted=incoming.height, updated=0)
            # Appends do not read, so the library may rebase them over other commits by itself.
            return Attempt(outcome, lambda properties: self._append(table, delta, incoming, properties), 50)

        # Where a row goes in a clustered table depends on the size of the files that are there.
        return self._commit(table, incoming, commit, attempt, files=bool(table.cluster_by))

    def merge(self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Insert rows with new keys and replace rows with known ones.

        Which keys are known is read from the table at the version the commit is made against; any other
        commit in between makes it start over.
        """
        incoming = conform(table, rows, self._options)
        keys = incoming.select(table.key)
        refuse_repeated_keys(table, keys)

        def attempt(delta: DeltaTable) -> Attempt:
            known = self._known_keys(table, delta, keys)
            updated = known.height
            outcome = Outcome(rows=incoming.height, inserted=incoming.height - updated, updated=updated)
            if updated == 0:
                return Attempt(outcome, lambda properties: self._append(table, delta, incoming, properties))
            _refuse_append_only(table, "replacing rows of")
            return Attempt(outcome, lambda properties: self._merge(table, delta, incoming, known, properties))

        return self._commit(table, incoming, commit, attempt)

    def overwrite(self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Replace every row."""
        _refuse_append_only(table, "overwriting")
        incoming = conform(table, rows, self._options)
        if table.key:
            refuse_repeated_keys(table, incoming.select(table.key))

        def attempt(delta: DeltaTable) -> Attempt:
            outcome = Outcome(rows=incoming.height, inserted=incoming.height, updated=0)
            return Attempt(
                outcome, lambda properties: self._write(table, delta, incoming, properties, mode="overwrite")
            )

        return self._commit(table, incoming, commit, attempt, empty_is_noop=False)

    def overwrite_from(
        self, table: Contract, other: Contract, commit: CommitOptions = _NO_COMMIT
    ) -> CommitResult:
        """Replace every row by those of table `other`, streamed.

        Raises SchemaViolation when the two contracts differ in their columns.
        """
        _refuse_append_only(table, "overwriting")
        if table.polars_schema() != other.polars_schema():
            raise SchemaViolation(f"overwriting {table} from {other}: their columns are not the same")
        source = self.open(other)

        def attempt(delta: DeltaTable) -> Attempt:
            rows = counted(source, adds(source))
            outcome = Outcome(rows=rows, inserted=rows, updated=0)
            return Attempt(outcome, lambda properties: self._stream(table, delta, source, properties))

        return self._commit(table, None, commit, attempt)

    def redeclare(self, table: Contract, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Empty the table and give it the contract's columns, in one commit."""
        _refuse_append_only(table, "redeclaring")
        nothing = no_rows(table)

        def attempt(delta: DeltaTable) -> Attempt:
            def write(properties: CommitProperties) -> None:
                declared = {"mode": "overwrite", "schema_mode": "overwrite"}
                _write(delta, nothing, commit_properties=properties, **declared)

            return Attempt(Outcome(rows=0, inserted=0, updated=0), write)

        result = commit_with_retries(
            table,
            self.files,
            partial(self.reopen, table),
            commit,
            attempt,
            state_at=partial(self._state_at, table),
        )
        self._recorded(table, result)
        self._set_properties(table)
        return result

    def _set_properties(self, table: Contract) -> None:
        """Bring the properties to the contract, as which columns the log has statistics of."""
        delta = self.latest(table, fresh=True)
        wanted = {key: str(value) for key, value in properties(table).items()}
        if wanted.items() <= delta.metadata().configuration.items():
            return
        said = CommitProperties(custom_metadata={COMMIT_ID: uuid.uuid4().hex, _KIND: "new properties"})
        try:
            delta.alter.set_table_properties(wanted, raise_if_not_exists=False, commit_properties=said)
        except (DeltaError, OSError) as exc:
            raise self._unavailable(f"setting the properties of {table}", exc) from None
        self.latest(table, fresh=True)

    def drop(self, table: Contract) -> None:
        """Remove a table with all its versions."""
        self._forget(table)
        self.files.drop(table.path)
        self.checksums.drop(table.path)

    def replace_partitions(
        self, table: Contract, rows: Rows, commit: CommitOptions = _NO_COMMIT
    ) -> CommitResult:
        """Replace the partitions that `rows` has rows of, and leave the others alone."""
        _refuse_append_only(table, "replacing partitions of")
        incoming = conform(table, rows, self._options)
        if not table.partition_by:
            raise SchemaViolation(f"replacing partitions of {table}: the contract has no partition_by")
        if table.key:
            refuse_repeated_keys(table, incoming.select(table.key))
        predicate = partition_predicate(table, incoming.select(table.partition_by))

        def attempt(delta: DeltaTable) -> Attempt:
            outcome = Outcome(rows=incoming.height, inserted=incoming.height, updated=0)
            return Attempt(
                outcome,
                lambda properties: self._write(
                    table, delta, incoming, properties, mode="overwrite", predicate=predicate
                ),
            )

        return self._commit(table, incoming, commit, attempt)

    def delete(self, table: Contract, where: Where, commit: CommitOptions = _NO_COMMIT) -> CommitResult:
        """Remove the rows that `where` holds for. Without any and without a token, nothing is committed.

        Raises Unsupported for an append-only table and for a condition that does not fit the contract.
        """
        where = where.check(table)
        _refuse_append_only(table, "deleting from")

        def attempt(delta: DeltaTable) -> Attempt:
            rows = self._scan(table, delta).filter(where.polars()).select(pl.len())
            count = int(rows.collect(engine="streaming").item()) if delta.file_uris() else 0
            outcome = Outcome(rows=0, inserted=0, updated=0, deleted=count)
            if count:
                return Attempt(outcome, lambda properties: _delete(delta, where, properties))
            if not sets_state(commit):
                return Attempt(outcome, None)
            empty = conform(table, pl.DataFrame(schema=table.polars_schema()))
            return Attempt(outcome, lambda properties: self._append(table, delta, empty, properties))

        return self._commit(table, None, commit, attempt)

    def _commit(
        self,
        table: Contract,
        incoming: Incoming | None,
        commit: CommitOptions,
        attempt: Callable[[DeltaTable], Attempt],
        *,
        empty_is_noop: bool = True,
        files: bool = True,
    ) -> CommitResult:
        version = self.ensure(table)
        if empty_is_noop and (result := skipped(table, incoming, commit, version)) is not None:
            return result
        reopen = partial(self.reopen, table, files=files)
        result = commit_with_retries(
            table, self.files, reopen, commit, attempt, state_at=partial(self._state_at, table)
        )
        self.write_checkpoint(table, result)
        self._recorded(table, result)  # of the checkpoint too
        return result

    def _append(
        self, table: Contract, delta: DeltaTable, incoming: Incoming, properties: CommitProperties
    ) -> None:
        self._write(table, delta, incoming, properties, mode="append")

    def _write(
        self,
        table: Contract,
        delta: DeltaTable,
        incoming: Incoming,
        properties: CommitProperties,
        *,
        mode: str,
        predicate: str | None = None,
    ) -> None:
        _write(
            delta,
            _reader_of(table, incoming),
            mode=mode,
            target_file_size=file_bytes(table, delta, incoming.size),
            commit_properties=properties,
            **({"predicate": predicate} if predicate else {}),
        )

    def _stream(
        self, table: Contract, delta: DeltaTable, source: DeltaTable, properties: CommitProperties
    ) -> None:
        rows = self._scan(table, source).collect_batches(chunk_size=_STREAMED_ROWS, maintain_order=True)
        _write(
            delta,
            arrow_reader(table, rows),
            mode="overwrite",
            target_file_size=file_bytes(table, source),
            commit_properties=properties,
        )

    def _known_keys(self, table: Contract, delta: DeltaTable, keys: pl.DataFrame) -> pl.DataFrame:
        """Return those of the keys that the table holds, looking into files of their spans only."""
        if not delta.file_uris():
            return keys.clear()
        stored = self._scan(table, delta).select(table.key)
        column = pruning_column(table)
        if column is not None:
            stored = stored.filter(within(column, spans(keys[column])))
        return stored.join(keys.lazy(), on=list(table.key), how="semi").collect(engine="streaming")

    def _merge(
        self,
        table: Contract,
        delta: DeltaTable,
        incoming: Incoming,
        known: pl.DataFrame,
        properties: CommitProperties,
    ) -> None:
        """Rewrite the files that hold known keys; all other rows that came are new."""
        matches = " AND ".join(_same(table, name) for name in table.key)
        column = pruning_column(table)
        if column is not None:
            matches += f" AND ({within_sql(column, spans(known[column]))})"
        (
            delta.merge(
                _reader_of(table, incoming).read_all(),
                predicate=matches,
                source_alias="source",
                target_alias="target",
                streamed_exec=False,  # only then are the target's files pruned by the source's statistics
                commit_properties=properties,
                post_commithook_properties=hooks(),
                writer_properties=writer(),
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )


def _write(delta: DeltaTable, rows: Table | RecordBatchReader, **arguments: Any) -> None:
    write: Any = write_deltalake  # its overloads do not know a mode held in a variable
    write(delta, rows, writer_properties=writer(), post_commithook_properties=hooks(), **arguments)


def _same(table: Contract, name: str) -> str:
    """Return the condition that a row of a merge's target has a key column's value of one of its source.

    Of floats their texts are compared, -0.0 as 0.0. The library takes the least and greatest value that the
    log tells of a compared column for all that it holds, and a NaN is not among them: it would be passed
    over, or become them.
    """
    ends = [f"{side}.{quoted(name)}" for side in ("target", "source")]
    if table.by_name[name].type is Type.FLOAT64:
        texts = [f"arrow_cast({end}, 'Utf8')" for end in ends]
        ends = [f"CASE {text} WHEN '-0.0' THEN '0.0' ELSE {text} END" for text in texts]
    return " = ".join(ends)


def _refuse_append_only(table: Contract, doing: str) -> None:
    if append_only(table):
        raise Unsupported(f"{doing} {table}: it is append-only, rows of it only ever come")


def _delete(delta: DeltaTable, where: Where, properties: CommitProperties) -> None:
    delta.delete(
        where.sql(),
        commit_properties=properties,
        post_commithook_properties=hooks(),
        writer_properties=writer(),
    )


def partition_predicate(table: Contract, frame: pl.DataFrame) -> str:
    """Return the predicate of the partitions in `frame`, from typed values only.

    Values are quoted by doubling quotes; a partition column is text, a whole number, a bool or a date.
    """
    parts = []
    for row in frame.select(table.partition_by).unique().sort(table.partition_by).iter_rows():
        terms = [f"{quoted(name)} = {literal(value)}" if value is not None else f"{quoted(name)} IS NULL"
                 for name, value in zip(table.partition_by, row, strict=True)]  # fmt: skip
        parts.append(f"({' AND '.join(terms)})")
    return " OR ".join(parts)


def no_rows(table: Contract) -> Table:
    """Return an Arrow table without rows, with the contract's columns, nullability and comments."""
    return Table.from_batches([], schema=delta_schema(table).to_arrow())


def arrow(frame: pl.DataFrame) -> Table:
    """Hand the frame over as Arrow with plain strings and bytes, nested ones too.

    Straight from Polars the files carry Utf8View in their Arrow schema, and readers that go through pyarrow
    then fail on string filters (apache/arrow#49368). arro3 is what deltalake itself speaks, and half as dear
    as pyarrow.
    """
    columns = Table.from_arrow(frame)
    wanted = [_without_views(column.type) for column in columns.columns]
    plain = [
        column if column.type == type_ else column.cast(type_)
        for column, type_ in zip(columns.columns, wanted, strict=True)
    ]
    return Table.from_arrays(plain, names=columns.column_names)


def arrow_reader(table: Contract, parts: Iterable[pl.DataFrame]) -> RecordBatchReader:
    """Hand parts of a table's rows over as `arrow` does, one at a time."""
    batches = (batch for part in parts for batch in arrow(part).to_batches())
    return RecordBatchReader.from_batches(arrow(pl.DataFrame(schema=table.polars_schema())).schema, batches)


def _reader_of(table: Contract, incoming: Incoming) -> RecordBatchReader:
    """Hand over what came, in the order that the table is clustered by.

    Neither the sorted rows of a frame nor the plain strings are ever in memory as a whole.
    """
    return arrow_reader(table, incoming.parts(_PART_BYTES, table.cluster_by))


def _without_views(type_: DataType) -> DataType:
    if DataType.is_string_view(type_):
        return DataType.large_utf8()
    if DataType.is_binary_view(type_):
        return DataType.large_binary()
    if DataType.is_large_list(type_):
        element = type_.value_field.type
        return DataType.large_list(Field("element", _without_views(element), nullable=True))
    if DataType.is_struct(type_):
        return DataType.struct([Field(f.name, _without_views(f.type), nullable=True) for f in type_.fields])
    return type_
