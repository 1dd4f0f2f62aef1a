"""Checks on a frame before it is written. What a library would silently cast is refused here, by name.

Belongs here: comparing frames with contracts. Does not: writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import polars as pl

from lakehouse.contracts import Contract, Type
from lakehouse.errors import DataViolation, SchemaViolation
from lakehouse.store.process import refuse_fork

# A log keeps partition values as text, where empty means null; and Polars reads Hive's name of null as null.
_READ_AS_NULL = ("", "__HIVE_DEFAULT_PARTITION__")
_LONGEST_NAME = 255  # bytes of a folder's name, which is `column=value`, escaped


def conform(table: Contract, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with the contract's columns in order. Types must match exactly: nothing is cast.

    Raises SchemaViolation (missing, unexpected or differently typed columns) and DataViolation (nulls
    where the contract has none).
    """
    refuse_fork()
    if not isinstance(frame, pl.DataFrame):
        raise SchemaViolation(
            f"writing {table}: rows come as a polars.DataFrame, not as {type(frame).__module__}."
            f"{type(frame).__name__}. Nothing was written; `collect()` a lazy frame, and take any other by "
            "`polars.DataFrame(rows)`, which drops the index of a pandas frame: make a column of it before."
        )
    wanted = table.polars_schema()
    missing = [n for n in wanted if n not in frame.columns]
    extra = [n for n in frame.columns if n not in wanted]
    typed = [
        f"{n} is {frame.schema[n]}, not {t}"
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
    frame = frame.select(list(wanted))
    _refuse_nulls(table, frame)
    _refuse_lost_partitions(table, frame)
    return frame


def _refuse_nulls(table: Contract, frame: pl.DataFrame) -> None:
    required = [c.name for c in table.columns if not c.nullable]
    if not required:
        return
    counts = frame.select(pl.col(required).null_count()).row(0, named=True)
    bad = [f"{name} ({count} rows)" for name, count in counts.items() if count]
    if bad:
        raise DataViolation(
            f"writing {table}: null where the contract allows none: {', '.join(bad)}. "
            "Nothing was written; add a row rule so that such rows go to quarantine."
        )


def _refuse_lost_partitions(table: Contract, frame: pl.DataFrame) -> None:
    """Refuse text that would not come back as the partition it was: the format loses it silently."""
    for name in table.partition_by:
        if table.by_name[name].type is not Type.STRING:
            continue
        texts = frame[name].drop_nulls().unique().to_list()
        longest = _LONGEST_NAME - len(name) - len("=")
        if any(text in _READ_AS_NULL or len(quote(text, safe="")) > longest for text in texts):
            raise DataViolation(
                f"writing {table}: it is partitioned by {name}, where some text is empty, or Hive's name of "
                f"null, or longer than {longest} bytes once escaped: it would not come back so. Nothing "
                "was written; write null or another text there, or partition by something else."
            )


def refuse_repeated_keys(table: Contract, frame: pl.DataFrame) -> None:
    """Raise DataViolation when two rows of `frame` share the contract's key."""
    keys = frame.select(table.key).filter(repeats(frame, table.key))
    repeated = keys.height - keys.n_unique() if keys.height else 0
    if repeated:
        raise DataViolation(
            f"writing {table}: {repeated} rows repeat the key ({', '.join(table.key)}) within one commit. "
            "Nothing was written; keep one row per key before handing them over."
        )


def repeats(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Say of each row whether another one has the same values in `columns`.

    Rows are told apart by a hash first, which is several times quicker than comparing texts; only rows whose
    hash occurs twice are compared.
    """
    keys = frame.select(columns)
    if keys.is_empty():
        return pl.Series([], dtype=pl.Boolean)
    suspects = keys.hash_rows().is_duplicated()
    if not suspects.any():
        return suspects
    exact = keys.filter(suspects).is_duplicated()
    return suspects.scatter(suspects.arg_true(), exact)
