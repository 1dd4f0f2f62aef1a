"""What a table is. See model.py."""

from lakehouse.contracts.model import (
    LANDING_REJECTS,
    LAYERS,
    POINTER,
    POLARS_TYPES,
    Chart,
    Column,
    Contract,
    Groups,
    RowRule,
    Type,
    Write,
    bronze_columns,
    pointer_columns,
    quarantine_of,
)

__all__ = [
    "LANDING_REJECTS",
    "LAYERS",
    "POINTER",
    "POLARS_TYPES",
    "Chart",
    "Column",
    "Contract",
    "Groups",
    "RowRule",
    "Type",
    "Write",
    "bronze_columns",
    "pointer_columns",
    "quarantine_of",
]
