"""Checks on rows before they are written. What a library would silently cast is refused here, by name.

Belongs here: comparing frames and staged files with contracts. Does not: writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import polars as pl

from lakehouse.contracts import Contract, Type
from lakehouse.contracts.bounds import in_bounds
from lakehouse.contracts.calendar import CALENDAR
from lakehouse.errors import DataViolation, SchemaViolation
from lakehouse.process import panicked, refuse_fork
from lakehouse.sizes import rows_within, size_of
from lakehouse.store.results import ArrowStream, Rows, StagedFiles
from lakehouse.store.schema import difference, shown
from lakehouse.store.values import beyond

# A log keeps partition values as text, where empty means null; and Polars reads Hive's name of null as null.
_READ_AS_NULL = ("", "__HIVE_DEFAULT_PARTITION__")
_NAMES_OF_UTC = ("Etc/UTC", "+00:00", "Etc/UCT", "UCT", "Etc/Universal", "Universal", "Etc/Zulu", "Zulu")
_HASHED_ROWS = 131_072
_MEASURED_ROWS = 1_024
_LONGEST_NAME = 255  # bytes of a folder's name, which is `column=value`, escaped


@dataclass(frozen=True)
class Incoming:
    """Rows that a write was handed, with the contract's columns, checked: at hand, or in staged files.

    `size` is about how many bytes they take in memory. What reads staged files raises SchemaViolation where
    it no longer can.
    """

    table: Contract
    rows: pl.DataFrame | pl.LazyFrame
    height: int
    size: int

    def is_empty(self) -> bool:
        return self.height == 0

    def select(self, columns: Sequence[str]) -> pl.DataFrame:
        """Return some of the columns."""
        return self._collected(self.rows.select(columns))

    def frame(self) -> pl.DataFrame:
        """Return all rows at once."""
        return self._collected(self.rows)

    def _collected(self, rows: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
        if isinstance(rows, pl.DataFrame):
            return rows
        with _reading(self.table):
            return rows.collect(engine="streaming")

    def parts(self, most: int, order: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """Yield the rows, sorted by `order`, in parts of about `most` bytes.

        Of a frame the sorted rows are never in memory as a whole; of staged files the rows are not, unless
        they are to be sorted.
        """
        sorted_here = bool(order) and not self.is_empty()
        if isinstance(self.rows, pl.LazyFrame):
            rows = self.rows.sort(order) if sorted_here else self.rows
            each = max(self.height * most // max(self.size, 1), 1)
            with _reading(self.table):
                yield from rows.collect_batches(chunk_size=each, maintain_order=True)
            return
        each = rows_within(most, self.rows)
        if not sorted_here:
            yield from self.rows.iter_slices(each)
            return
        places = self.rows.select(pl.arg_sort_by(order)).to_series()
        yield from (self.rows[places.slice(at, each)] for at in range(0, len(places), each))


def conform(table: Contract, rows: Rows, options: Mapping[str, str] | None = None) -> Incoming:
    """Return `rows` with the contract's columns in order. Types must match exactly: nothing is cast.

    A float of the key that equals another is written as that one (-0.0 as 0.0, NaN as one NaN): engines
    differ on whether they are two. `options` are those of the object store that staged files may lie in.

    Raises SchemaViolation (no Arrow stream, or one that breaks off; no file, or one that cannot be read;
    missing, unexpected or differently typed columns) and DataViolation (nulls where the contract has none,
    dates and times outside the calendar, decimals with more digits than their column, text that no partition
    keeps).
    """
    refuse_fork()
    if isinstance(rows, StagedFiles):
        return _staged(table, rows, options)
    frame = _frame(table, rows)
    refuse_other_columns(table, frame)
    frame = frame.select(table.column_names)
    _refuse_unkept(table, [frame])
    frame = frame.with_columns(_one_of_equals(name) for name in _float_keys(table))
    return Incoming(table, frame, frame.height, int(frame.estimated_size()))


def _float_keys(table: Contract) -> list[str]:
    return [name for name in table.key if table.by_name[name].type is Type.FLOAT64]


def _staged(table: Contract, staged: StagedFiles, options: Mapping[str, str] | None) -> Incoming:
    """Return the rows of staged files, which are read through once, in what has to be checked of them."""
    wrong = [file for file in staged.files if not file.startswith(("/", "s3://" if options else "/"))]
    if wrong:
        raise SchemaViolation(
            f"writing {table}: {len(wrong)} of {len(staged.files)} staged files have neither an absolute "
            "path nor an s3:// address of the lake's own object store. Nothing was written."
        )
    with _reading(table):
        scans = [_scanned(table, file, options) for file in staged.files]
        rows = pl.concat(scans) if scans else pl.LazyFrame(schema=table.polars_schema())
        _refuse_unkept(table, rows.select(_checked_columns(table)).collect_batches())
        height = int(rows.select(pl.len()).collect(engine="streaming").item())
        first = rows.head(_MEASURED_ROWS).collect(engine="streaming")
    return Incoming(table, rows, height, size_of(first) * height // max(first.height, 1))


@contextmanager
def _reading(table: Contract) -> Iterator[None]:
    """Tell what a reader of Parquet says as an error of ours: it may quote what it read."""
    try:
        yield
    except BaseException as exc:
        if not (isinstance(exc, OSError | pl.exceptions.PolarsError) or panicked(exc)):
            raise
        raise SchemaViolation(
            f"writing {table}: a staged file cannot be read ({type(exc).__name__}). Nothing was written; "
            "stage the rows anew, as Parquet files that stay until the write has ended."
        ) from None


def _scanned(table: Contract, file: str, options: Mapping[str, str] | None) -> pl.LazyFrame:
    """Return the rows of one file, whose own schema is compared: of several the first would count for all."""
    remote = dict(options or {}) if file.startswith("s3://") else None
    found = pl.scan_parquet(file, glob=False, hive_partitioning=False, storage_options=remote)
    rows = found.with_columns(_utc(found.collect_schema()))
    refuse_other_columns(table, pl.DataFrame(schema=rows.collect_schema()))
    return rows.select(table.column_names).with_columns(_one_of_equals(name) for name in _float_keys(table))


def _checked_columns(table: Contract) -> list[str]:
    """Return the columns of which some value may be refused."""
    checked = [
        c.name
        for c in table.columns
        if not c.nullable or c.name in table.partition_by or in_bounds(pl.col(c.name), c.type) is not None
    ]
    return checked or list(table.column_names[:1])


def _utc(schema: pl.Schema) -> pl.Expr:
    names = [n for n, t in schema.items() if isinstance(t, pl.Datetime) and t.time_zone in _NAMES_OF_UTC]
    return pl.col(names).dt.convert_time_zone("UTC")


def _frame(table: Contract, rows: ArrowStream) -> pl.DataFrame:
    if isinstance(rows, pl.DataFrame):
        return rows
    of = f"{type(rows).__module__}.{type(rows).__name__}"
    # The stream of a pandas frame says null of what is NaN there, and drops the index.
    if not hasattr(rows, "__arrow_c_stream__") or of.startswith("pandas."):
        raise SchemaViolation(
            f"writing {table}: rows come as an Arrow stream, such as a polars.DataFrame or a pyarrow.Table, "
            f"or as StagedFiles, not as {of}. Nothing was written; `collect()` a lazy frame, and take a "
            "pandas frame by `polars.DataFrame(rows)`, which drops the index: make a column of it before."
        )
    try:
        frame = pl.DataFrame(rows)
    except BaseException as exc:
        if not (isinstance(exc, Exception) or panicked(exc)):
            raise
        raise SchemaViolation(
            f"writing {table}: the Arrow stream of {of} broke off ({type(exc).__name__}). "
            "Nothing was written."
        ) from None
    return frame.with_columns(_utc(frame.schema))


def _refuse_unkept(table: Contract, parts: Iterable[pl.DataFrame]) -> None:
    """Refuse rows of which the table could not keep some value, all named with their number."""
    nulls, beyonds, lost = Counter[str](), Counter[str](), set[str]()
    for part in parts:
        nulls.update(_nulls(table, part))
        beyonds.update(beyond(table, part))
        lost.update(lost_partitions(table, part))
    _refuse_nulls(table, nulls)
    _refuse_beyond(table, beyonds)
    _refuse_lost_partitions(table, lost)


def refuse_other_columns(table: Contract, frame: pl.DataFrame, *, helpers: bool = False) -> None:
    """Raise SchemaViolation unless the frame has the contract's columns in its types; `helpers` may be
    more.
    """
    wanted = table.polars_schema()
    missing = [n for n in wanted if n not in frame.columns]
    extra = [shown(n) for n in frame.columns if n not in wanted] if not helpers else []
    typed = [
        difference(n, frame.schema[n], t)
        for n, t in wanted.items()
        if n in frame.columns and frame.schema[n] != t
    ]
    problems = [
        *([f"missing: {', '.join(missing)}"] if missing else []),
        *([f"unexpected: {', '.join(extra)}"] if extra else []),
        *typed,
    ]
    if problems:
        raise SchemaViolation(
            f"writing {table}: the frame is not what the contract says ({'; '.join(problems)}). "
            "Nothing was written; change the transform or the contract."
        )


def unkept(name: str) -> pl.Expr:
    """Return the condition that a text would not come back from partition column `name` as it was."""
    longest = _LONGEST_NAME - len(name) - len("=")
    text = pl.col(name)
    escaped = text.map_elements(lambda one: len(quote(one, safe="")), return_dtype=pl.Int64)
    # A byte is three at most once it is escaped: only long texts are escaped to see.
    long = pl.when(text.str.len_bytes() * 3 > longest).then(escaped) > longest
    return text.is_in(_READ_AS_NULL) | long.fill_null(False)


def lost_partitions(table: Contract, frame: pl.DataFrame) -> list[str]:
    """Return the partition columns of which some text would not come back as it was."""
    texts = [
        name
        for name in table.partition_by
        if table.by_name[name].type is Type.STRING and frame.schema.get(name) == pl.String
    ]
    # Of the texts, which are few: each one is escaped.
    return [name for name in texts if frame.select(pl.col(name).unique()).select(unkept(name).any()).item()]


def _one_of_equals(name: str) -> pl.Expr:
    value = pl.col(name)
    one_nan = pl.when(value.is_nan()).then(float("nan"))
    return one_nan.when(value == 0).then(0.0).otherwise(value).alias(name)  # `+ 0.0` is optimised away


def _refuse_beyond(table: Contract, found: Mapping[str, int]) -> None:
    if found:
        bad = ", ".join(f"{name} ({count} rows)" for name, count in found.items())
        raise DataViolation(
            f"writing {table}: {beyond_what(table, found)}: {bad}. Nothing was written; readers of the "
            "table could not read it. Write null there, or add a row rule so that such rows go to quarantine."
        )


def beyond_what(table: Contract, names: Iterable[str]) -> str:
    """Return what these columns hold that they cannot keep."""
    if all(isinstance(table.by_name[name].type, Type) for name in names):
        return f"a date or time outside {CALENDAR}"
    return f"a decimal of more digits than its type, or a date or time outside {CALENDAR}"


def unkept_values(table: Contract, frame: pl.DataFrame) -> list[str]:
    """Return what of these columns a table cannot keep: never a value."""
    nulls = [f"a null in {name} ({count} rows)" for name, count in _nulls(table, frame).items()]
    beyonds = [f"{beyond_what(table, [n])} in {n} ({c} rows)" for n, c in beyond(table, frame).items()]
    lost = [f"text in {name} that can name no partition" for name in lost_partitions(table, frame)]
    return [*nulls, *beyonds, *lost]


def _nulls(table: Contract, frame: pl.DataFrame) -> dict[str, int]:
    required = [c.name for c in table.columns if not c.nullable and c.name in frame.columns]
    if not required:
        return {}
    return {name: count for name in required if (count := frame[name].null_count())}


def _refuse_nulls(table: Contract, found: Mapping[str, int]) -> None:
    if found:
        bad = ", ".join(f"{name} ({count} rows)" for name, count in found.items())
        raise DataViolation(
            f"writing {table}: null where the contract allows none: {bad}. "
            "Nothing was written; add a row rule so that such rows go to quarantine."
        )


def _refuse_lost_partitions(table: Contract, found: Iterable[str]) -> None:
    """Refuse text that would not come back as the partition it was: the format loses it silently."""
    for name in sorted(found):
        longest = _LONGEST_NAME - len(name) - len("=")
        raise DataViolation(
            f"writing {table}: it is partitioned by {name}, where some text is empty, or Hive's name of "
            f"null, or longer than {longest} bytes once escaped: it would not come back so. Nothing "
            "was written; write null or another text there, or partition by something else."
        )


def refuse_repeated_keys(table: Contract, frame: pl.DataFrame) -> None:
    """Raise DataViolation when two rows of `frame` share the contract's key."""
    keys = frame.select(table.key).filter(duplicated(frame, table.key))
    repeated = keys.height - keys.n_unique() if keys.height else 0
    if repeated:
        raise DataViolation(
            f"writing {table}: {repeated} rows repeat the key ({', '.join(table.key)}) within one commit. "
            "Nothing was written; keep one row per key before handing them over."
        )


def duplicated(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Return of each row whether another one has the same values in `columns`.

    Rows are told apart by a hash first, which is several times quicker than comparing texts; only rows whose
    hash occurs twice are compared. Sorting finds those in an eighth of the time of a hash table, and without
    its memory.
    """
    keys = frame.select(columns)
    if keys.is_empty():
        return pl.Series([], dtype=pl.Boolean)
    # A part at a time: of several chunks, hash_rows would first copy all into one.
    hashes = pl.concat([part.hash_rows() for part in keys.iter_slices(_HASHED_ROWS)], rechunk=True)
    ordered = hashes.sort()
    again = ordered.filter(ordered == ordered.shift(1)).unique()
    if again.is_empty():
        return pl.repeat(False, keys.height, dtype=pl.Boolean, eager=True)
    suspects = hashes.is_in(again.implode())
    exact = keys.filter(suspects).is_duplicated()
    return suspects.scatter(suspects.arg_true(), exact)
