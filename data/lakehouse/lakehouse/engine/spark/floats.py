"""Floats of rows that a server has in files, so that a condition on them finds what it would in memory.

Belongs here: keeping such conditions from the reader of Parquet. Does not: reading.

A server goes by the least and greatest value of a file, among which no NaN counts, and on Sail no -0.0 is
0.0: it drops rows of a condition on a bare column, or takes rows for what is between. What it keeps
of computed rows is such a file too. A NaN with a sign, as 0/0 is on x86, is less than any number on Sail.
"""

from __future__ import annotations

from typing import Any

Column = Any  # the client's own types differ between its two kinds


def guarded(frame: Any) -> Any:
    """Return the same rows, with no float that is a bare column, and one NaN."""
    kinds = frame.schema
    if not any(_has_floats(field.dataType) for field in kinds.fields):
        return frame
    return frame.select(
        *(_guarded(frame[_quoted(field.name)], field.dataType).alias(field.name) for field in kinds.fields)
    )


def _guarded(value: Column, kind: Any) -> Column:
    from pyspark.sql.connect import functions as F  # noqa: N812  # Spark's own name for it

    if kind.typeName() in ("double", "float"):
        return F.when(F.isnan(value), F.lit(float("nan")).cast(kind)).otherwise(value)
    if kind.typeName() == "struct" and _has_floats(kind):
        fields = [_guarded(value.getField(f.name), f.dataType).alias(f.name) for f in kind.fields]
        return F.when(value.isNotNull(), F.struct(*fields))
    return value


def _has_floats(kind: Any) -> bool:
    """Return whether a condition may reach a float in it: within lists, none goes to a file."""
    if kind.typeName() == "struct":
        return any(_has_floats(field.dataType) for field in kind.fields)
    return kind.typeName() in ("double", "float")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
