"""What a contract asks of a stored schema, whatever the format.

Belongs here: which tables only grow, and what to do when a stored schema is not the contract's. Does not:
types and statements of a format (delta/schema.py, ducklake/schema.py).
"""

from __future__ import annotations

import re

import polars as pl

from lakehouse.contracts import Contract, Materialization
from lakehouse.contracts.types import as_instance

_A_NAME = re.compile(r"_{0,2}[a-z][a-z0-9_]{0,62}")


def append_only(table: Contract) -> bool:
    """Return whether rows are only ever added: Bronze keeps what came, other layers are computed."""
    return table.materialization is Materialization.APPEND and table.layer == "bronze"


def how_to_migrate(table: Contract) -> str:
    """Return what to do about a stored schema that is not the contract's."""
    only = "Only new nullable columns are added by themselves"
    if append_only(table):
        return (
            f"{only}, and its rows cannot be computed anew: put the contract back, or give it a new name and "
            "land the files again."
        )
    return f"{only}; `make odp ARGS=upgrade` gives it the contract's columns and computes its rows anew."


def difference(path: str, found: pl.DataType, wanted: pl.DataType) -> str:
    """Return how `found` at `path` is not `wanted`; names that no contract could have are not repeated."""
    if isinstance(found, pl.List) and isinstance(wanted, pl.List):
        return difference(f"{path}[]", as_instance(found.inner), as_instance(wanted.inner))
    if isinstance(found, pl.Struct) and isinstance(wanted, pl.Struct):
        return _of_structs(path, found, wanted)
    return f"{path} is {_named(found)}, not {wanted}"


def shown(column: str) -> str:
    """Return a column's name, if it could be one of a contract: a pivot names columns by values."""
    return column if _A_NAME.fullmatch(column) else "a column whose name no contract could have"


def _of_structs(path: str, found: pl.Struct, wanted: pl.Struct) -> str:
    given = {field.name: as_instance(field.dtype) for field in found.fields}
    asked = {field.name: as_instance(field.dtype) for field in wanted.fields}
    if missing := [name for name in asked if name not in given]:
        return f"{path} has no field {', '.join(missing)}"
    if extra := [shown(name) for name in given if name not in asked]:
        return f"{path} has a field more: {', '.join(extra)}"
    if list(given) != list(asked):
        return f"{path} has its fields in another order than {', '.join(asked)}"
    name = next(name for name in asked if given[name] != asked[name])
    return difference(f"{path}.{name}", given[name], asked[name])


def _named(dtype: pl.DataType) -> str:
    """Return a type's name; fields of a struct may be named by data."""
    return str(dtype.base_type()) if dtype.is_nested() else str(dtype)
