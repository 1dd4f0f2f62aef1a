"""Between a contract and a Delta schema.

Belongs here: types, comments, table properties. Does not: reading or writing tables.
"""

from __future__ import annotations

from typing import Any

from deltalake import Field, Schema
from deltalake.schema import ArrayType, PrimitiveType
from deltalake.schema import StructType as DeltaStruct

from lakehouse.contracts import (
    RETENTION,
    Column,
    ColumnType,
    Contract,
    DecimalType,
    ListType,
    StructType,
    Type,
)
from lakehouse.contracts.sql import DELTA_TYPES
from lakehouse.contracts.types import is_nested
from lakehouse.store.schema import append_only

DeltaType = PrimitiveType | ArrayType | DeltaStruct


def delta_type(type_: ColumnType) -> DeltaType:
    """Return a column's type as Delta's; what lies within another value may be null."""
    match type_:
        case DecimalType():
            return PrimitiveType(f"decimal({type_.precision},{type_.scale})")
        case ListType():
            return ArrayType(delta_type(type_.element), contains_null=True)
        case StructType():
            return DeltaStruct(
                [
                    Field(f.name, delta_type(f.type), nullable=True, metadata={"comment": f.description})
                    for f in type_.fields
                ]
            )
        case _:
            return PrimitiveType(DELTA_TYPES[type_])


def type_text(found: Any) -> str:
    """Return a Delta type in the words of Spark: two types are the same if their texts are."""
    if isinstance(found, ArrayType):
        return f"array<{type_text(found.element_type)}{'' if found.contains_null else ' not null'}>"
    if isinstance(found, DeltaStruct):
        fields = [f"{f.name}: {type_text(f.type)}{'' if f.nullable else ' not null'}" for f in found.fields]
        return f"struct<{', '.join(fields)}>"
    return str(getattr(found, "type", found))


def delta_schema(table: Contract) -> Schema:
    """Return the Delta schema of a contract, with nullability and column comments."""
    return Schema([field_of(column) for column in table.columns])


def field_of(column: Column) -> Field:
    """Return one column as a Delta field."""
    kind = delta_type(column.type)
    return Field(column.name, kind, nullable=column.nullable, metadata={"comment": column.description})


def properties(table: Contract) -> dict[str, str | None]:
    """Return the table properties. They are fixed at creation: changing them conflicts with every append."""
    values: dict[str, str | None] = {
        # The default of 100 makes opening a table read up to 100 JSON files, each of them twice.
        "delta.checkpointInterval": "10",
        "delta.logRetentionDuration": f"interval {RETENTION[table.layer].days} days",
        "delta.deletedFileRetentionDuration": f"interval {RETENTION[table.layer].days} days",
        # A vacuum would clean the log as well, whatever is pinned; maintenance does it, knowing the pins.
        "delta.enableExpiredLogCleanup": "false",
        # Each log entry and checkpoint repeats the statistics of every file, three values a column.
        "delta.dataSkippingStatsColumns": ",".join(statistics_columns(table)),
    }
    if append_only(table):
        values["delta.appendOnly"] = "true"
    return values


def statistics_columns(table: Contract) -> list[str]:
    """Return the columns whose least and greatest value per file the log tells: those that files are chosen
    by. Parquet files tell the others' themselves.

    Never those of decimals: the library writes them as floats, which are off by what 15 digits do not hold,
    and files are then passed over that have the value. Nor those of floats, which say nothing of a NaN. None
    at all is a list of no column.
    """
    chosen = {*table.key, *table.cluster_by, *table.sequence_by}
    kinds = (Type.DATE, Type.TIMESTAMP)
    stored = [column for column in table.columns if column.name not in table.partition_by]
    told = [c for c in stored if c.type not in (Type.BINARY, Type.FLOAT64)]
    told = [c for c in told if not isinstance(c.type, DecimalType)]
    told = [c for c in told if not is_nested(c.type)]
    wanted = [c.name for c in told if c.name in chosen or c.type in kinds or c.name == "_batch_id"]
    return wanted or [c.name for c in told[:1]]


def additions(table: Contract, found: Schema) -> list[Column]:
    """Return the contract's new columns when they are all that a stored schema lacks, and each may be null.

    Empty when nothing is missing, or when more than that lies between the two.
    """
    stored = {f.name for f in found.fields}
    fresh = [c for c in table.columns if c.name not in stored and c.nullable]
    return fresh if [f"{c.name} is missing" for c in fresh] == differences(table, found) else []


def differences(table: Contract, found: Schema) -> list[str]:
    """Return how a stored schema differs from the contract; empty when it does not."""
    stored = {f.name: f for f in found.fields}
    problems = []
    for column in table.columns:
        field = stored.pop(column.name, None)
        wanted = type_text(delta_type(column.type))
        if field is None:
            problems.append(f"{column.name} is missing")
        elif type_text(field.type) != wanted:
            problems.append(f"{column.name} is {type_text(field.type)}, not {wanted}")
        elif field.nullable != column.nullable:
            problems.append(f"{column.name} is {'' if field.nullable else 'not '}nullable")
    return problems + [f"{name} is not in the contract" for name in stored]
