"""Between a contract and a Delta schema.

Belongs here: types, comments, table properties. Does not: reading or writing tables.
"""

from __future__ import annotations

from deltalake import Field, Schema
from deltalake.schema import PrimitiveType

from lakehouse.contracts import RETENTION, Column, Contract, Type, Write

DELTA_TYPES: dict[Type, str] = {
    Type.STRING: "string",
    Type.BOOL: "boolean",
    Type.INT32: "integer",
    Type.INT64: "long",
    Type.FLOAT64: "double",
    Type.DATE: "date",
    Type.TIMESTAMP: "timestamp",
}


def delta_schema(table: Contract) -> Schema:
    """Return the Delta schema of a contract, with nullability and column comments."""
    return Schema([field_of(column) for column in table.columns])


def field_of(column: Column) -> Field:
    """Return one column as a Delta field."""
    kind = PrimitiveType(DELTA_TYPES[column.type])
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
    }
    if append_only(table):
        values["delta.appendOnly"] = "true"
    return values


def append_only(table: Contract) -> bool:
    """Say whether rows of the table may only ever come: Bronze keeps what came, other layers are computed."""
    return table.write is Write.APPEND and table.layer == "bronze"


def additions(table: Contract, found: Schema) -> list[Column]:
    """Return the contract's new columns when they are all that a stored schema lacks, and each may be null.

    Empty when nothing is missing, or when more than that lies between the two.
    """
    stored = {f.name for f in found.fields}
    fresh = [c for c in table.columns if c.name not in stored and c.nullable]
    return fresh if [f"{c.name} is missing" for c in fresh] == differences(table, found) else []


def differences(table: Contract, found: Schema) -> list[str]:
    """Say how a stored schema differs from the contract; empty when it does not."""
    stored = {f.name: f for f in found.fields}
    problems = []
    for column in table.columns:
        field = stored.pop(column.name, None)
        wanted = DELTA_TYPES[column.type]
        if field is None:
            problems.append(f"{column.name} is missing")
        elif getattr(field.type, "type", str(field.type)) != wanted:
            problems.append(f"{column.name} is {getattr(field.type, 'type', field.type)}, not {wanted}")
        elif field.nullable != column.nullable:
            problems.append(f"{column.name} is {'' if field.nullable else 'not '}nullable")
    return problems + [f"{name} is not in the contract" for name in stored]
