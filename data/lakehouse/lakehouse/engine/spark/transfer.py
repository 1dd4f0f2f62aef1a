"""Rows between this process and a Spark Connect server, as Arrow.

Belongs here: types and limits of the way. Does not: computing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl
import pyarrow as pa

from lakehouse.engine.protocol import Frame
from lakehouse.engine.spark.floats import guarded
from lakehouse.engine.spark.session import active
from lakehouse.sizes import parts_within

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

_SLICE_BYTES = 32 << 20  # rows of one message; a server takes messages of up to 128 MiB, plan included


def sent(session: SparkSession, rows: pl.DataFrame) -> Frame:
    """Return rows of this process as a frame of the server, which keeps them where they are many."""
    types = spark_types(rows.schema)
    parts = parts_within(_SLICE_BYTES, rows)
    slices = [session.createDataFrame(arrow_of(part), schema=types) for part in parts]
    if len(slices) > 1:
        # Each is kept by the server before the next is sent, so that no plan holds the rows of two.
        slices = [kept(part) for part in slices]
    return together(slices)


def together(parts: Iterable[Any]) -> Frame:
    """Return the rows of frames of one server as one; there is at least one.

    In pairs, and pairs of these: a message that nests a hundred deep is read by no server.
    """
    left = list(parts)
    while len(left) > 1:
        pairs = itertools.zip_longest(left[::2], left[1::2])
        left = [one if other is None else one.unionAll(other) for one, other in pairs]
    made: Frame = nw.from_native(guarded(left[0]))
    return made


def kept(frame: Any) -> Any:
    """Return the rows as the server keeps them, computed."""
    with active(frame.sparkSession):
        return frame.localCheckpoint(eager=True)


def polars_of(frame: DataFrame) -> pl.DataFrame:
    """Return the rows of a server's frame."""
    wanted = polars_types(frame.schema)
    found = pl.DataFrame(frame.toArrow())
    return found.cast(wanted) if found.schema != wanted else found


def address(file: str) -> str:
    """Return where a server finds a file of a plain path."""
    return f"file://{file}" if file.startswith("/") else file


def arrow_of(rows: pl.DataFrame) -> pa.Table:
    """Return rows as Arrow of the types that Spark knows."""
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())


def arrow_types(schema: pl.Schema) -> pa.Schema:
    """Return the Arrow types of a Polars schema, as Spark takes them."""
    return arrow_of(pl.DataFrame(schema=schema)).schema


def spark_types(schema: pl.Schema) -> StructType:
    """Return the Spark types of a Polars schema."""
    from pyspark.sql.pandas.types import from_arrow_schema

    types: StructType = from_arrow_schema(arrow_types(schema))
    return types


def polars_types(types: StructType | Any) -> pl.Schema:
    """Return the Polars schema of Spark types: times are microseconds of UTC."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return pl.DataFrame(to_arrow_schema(types, timezone="UTC").empty_table()).schema
