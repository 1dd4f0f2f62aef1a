"""Which version of its code and contract made a table's rows, and under which key they are.

Belongs here: the fingerprint of a transform with its contract, the state that records it, and refusing a key
that has changed. Does not: what to do about old rows (verify, the orchestrator's checks tell it).

It is set when a table is first filled or computed whole, and stays as it is when rows are added
to it: so a state entry that differs from today's fingerprint means that some rows are of an older version. A
table without the state entry, as earlier releases wrote it, is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from lakehouse.contracts import Contract, Materialization
from lakehouse.errors import SchemaViolation, TableNotFound
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.rules import height
from lakehouse.pipeline.source import source_of
from lakehouse.pipeline.state import CODE, KEY, MAJOR

STATE = (CODE, KEY, MAJOR)
_BITS = 15  # hexadecimal digits: 60 bits, since a state entry is a whole number
# Counted up when the library itself makes other rows of equal input, row by row. 2: of equal keys the last
# file counts by the natural order of names, where part-2 stood for part-10 before.
_FLOW = 2


def state_of(
    table: Contract, transform: Callable[..., Any], before: Mapping[str, int], *, whole: bool
) -> dict[str, int]:
    """Return the state of a commit that fills the table or computes it `whole`, or that adds to it."""
    key = {KEY: key_number(table), MAJOR: _major(table)}
    if whole:
        return {CODE: fingerprint(table, transform), **key}
    return {} if KEY in before else key


def is_older(lake: Lake, table: Contract, transform: Callable[..., Any]) -> bool:
    """Return whether the table holds rows of another version than today's transform, rules and contract."""
    try:
        made_by = lake.store.read_state(table, [CODE]).get(CODE)
    except TableNotFound:
        return False
    return made_by is not None and made_by != fingerprint(table, transform)


@lru_cache(maxsize=512)
def fingerprint(table: Contract, transform: Callable[..., Any]) -> int:
    """Return 60 bits of what decides the rows of a table: contract, rules, transform, and of which of several
    rows stands for the others.

    Comments, docstrings, layout and descriptions are no part of it, nor are Python's and the libraries'
    versions.
    """
    columns = [(c.name, c.type.value, c.nullable) for c in table.columns]
    rules = [(rule.name, rule.severity, source_of(rule.passes)) for rule in table.rules]
    groups = (source_of(table.groups.by), table.groups.within) if table.groups else None
    said = (table.version, columns, table.key, table.source_filter, table.sequence_by, rules, groups)
    flow = f"\nflow {_FLOW}" if table.row_wise else ""
    return _number(f"{said!r}\n{source_of(transform)}{flow}")


def key_number(table: Contract) -> int:
    """Return 60 bits of the names of the key's columns."""
    return _number("\0".join(sorted(table.key)))


def refuse_changed_key(lake: Lake, table: Contract, *, full: bool = False) -> None:
    """Raise SchemaViolation when the table holds rows that were written under another key.

    Rows that a smaller key makes equal would be merged into one. A full refresh does that when the contract's
    major version has been raised since: then it is meant.
    """
    stored = lake.store.read_state(table, [KEY, MAJOR])
    if KEY not in stored:
        if not (full and table.row_wise and _repeats(lake, table)):
            return
    elif stored[KEY] == key_number(table) or not lake.store.snapshot(table).rows:
        return
    anew = full or table.materialization is Materialization.FULL
    if anew and _major(table) > stored.get(MAJOR, _major(table)):
        return
    raise SchemaViolation(
        f"{table}: its rows were written under another key than ({', '.join(table.key)}), and would be "
        "merged by this one. Nothing was written. Put the key back; or, if the change is meant, raise "
        "the contract's major version and compute the table anew: "
        f'make odp ARGS="refresh {table} --full-refresh"'
    )


def _repeats(lake: Lake, table: Contract) -> bool:
    """Return whether rows of the table repeat the contract's key."""
    engine = lake.engine_of(table)
    keys = lake.frame(engine, table).select(*table.key)
    return height(keys, engine=engine) > height(keys.unique(), engine=engine)


def _major(table: Contract) -> int:
    return int(table.version.split(".", 1)[0])


def _number(text: str) -> int:
    return int(sha256(text.encode()).hexdigest()[:_BITS], 16)
