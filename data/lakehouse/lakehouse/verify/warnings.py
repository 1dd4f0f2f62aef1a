"""The warnings of a verification: tables that wait for a decision, and rows of an older version.

Belongs here: finding them, and what to do. Does not: what makes a lake unsound (checks.py), or how holds and
versions are recorded (pipeline).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from lakehouse.contracts import Contract
from lakehouse.errors import ContractError, LakeError, StorageUnavailable
from lakehouse.pipeline import Lake
from lakehouse.pipeline.code import is_older
from lakehouse.pipeline.holds import on_sources
from lakehouse.quarantine.holding import held_tables, waiting, what_to_do, why_held
from lakehouse.registry import transform_of


def warnings(lake: Lake, tables: Sequence[Contract]) -> list[dict[str, str]]:
    """Return table, check, message and fix of each warning."""
    kinds = (_held, _waits, _old)
    return [warning for of in kinds for table in tables for warning in _of(lake, table, of)]


_Warnings = Callable[[Lake, Contract], list[dict[str, str]]]


def _of(lake: Lake, table: Contract, of: _Warnings) -> list[dict[str, str]]:
    """Return the warnings of one kind; a table that cannot be read is a problem and gets no warning."""
    try:
        return of(lake, table)
    except StorageUnavailable:
        raise
    except (LakeError, OSError, pl.exceptions.PolarsError):
        return []


def _held(lake: Lake, table: Contract) -> list[dict[str, str]]:
    return [
        _warning(one, "held", why_held(lake, one, hold), what_to_do(one))
        for one, hold in held_tables(lake, [table])
    ]


def _waits(lake: Lake, table: Contract) -> list[dict[str, str]]:
    holds = () if table.row_wise else on_sources(lake, table)
    fix = "end the hold, then make init-data-layers"
    return [_warning(table, "waits", waiting(table, holds), fix)] if holds else []


def _old(lake: Lake, table: Contract) -> list[dict[str, str]]:
    return [_warning(table, "code", OLDER, full_refresh(table))] if _is_older(lake, table) else []


OLDER = "it holds rows made by an older version of its transform, rules or contract"


def full_refresh(table: Contract) -> str:
    """Return the commands that bring every row of a table to today's version."""
    return (
        f'make odp ARGS="refresh {table} --full-refresh", or for all tables of an older version '
        "make odp ARGS=upgrade"
    )


def _is_older(lake: Lake, table: Contract) -> bool:
    """Return whether a computed table holds rows of an older version; False where it has no transform."""
    if not table.sources or not lake.store.exists(table):
        return False
    try:
        transform = transform_of(table)
    except ContractError:
        return False
    return is_older(lake, table, transform)


def _warning(table: Contract, check: str, message: str, fix: str) -> dict[str, str]:
    return {"table": table.path, "check": check, "message": message, "fix": fix}
