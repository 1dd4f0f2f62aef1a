"""The tables that come along with the declared ones: what was refused, and what the lake itself records.

Belongs here: their contracts, and which of them belong to which tables. Does not: what a contract is
(model.py), or the stages of a full refresh, which last no longer than it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lakehouse.contracts.model import Column, Contract, Materialization, bronze_columns
from lakehouse.contracts.types import Type


def quarantine_of(contract: Contract) -> Contract:
    """The table that keeps every row `contract` refused, with all its reasons."""
    return Contract(
        layer="quarantine",
        name=contract.name,
        domain=contract.domain,
        description=(
            f"One row refused by the rules of {contract.path}, as it was in Bronze, with every "
            "reason."
        ),
        columns=(
            *bronze_columns(),
            Column(name="record", type=Type.STRING, nullable=False, pii=True,
                   description="The Bronze row, as JSON"),
            Column(name="reasons", type=Type.STRING, nullable=False, pii=True,
                   description='Every failed rule and the values it saw: [{"rule": ..., "values": {...}}]'),
            Column(name="rules", type=Type.STRING, nullable=False,
                   description="The failed rules' names, separated by commas"),
            Column(name="contract_version", type=Type.STRING, nullable=False,
                   description="Version of the contract that refused it"),
            Column(name="replay", type=Type.INT64, volatile=True,
                   description="Number of the replay that took the row up again; null in a refusal"),
        ),
        materialization=Materialization.APPEND,
        sources=contract.sources,
    )  # fmt: skip


LANDING_REJECTS = Contract(
    layer="quarantine",
    name="landing_files",
    domain="landing",
    description=(
        "One landed file that could not be read, or whose shape nobody declared. It stays in "
        "landing."
    ),
    columns=(
        Column(name="_source", type=Type.STRING, nullable=False,
               description="The file, as <source>/<path> below landing"),
        Column(name="_fingerprint", type=Type.STRING, nullable=False, description="SHA-256 of its bytes"),
        Column(name="size_bytes", type=Type.INT64, nullable=False, unit="byte", description="Its size"),
        Column(name="reason", type=Type.STRING, nullable=False, description="Why it was refused"),
        Column(name="_ingested_at", type=Type.TIMESTAMP, nullable=False, volatile=True,
               description="When it was refused (UTC)"),
    ),
    materialization=Materialization.APPEND,
)  # fmt: skip

RESTORE_POINTS = Contract(
    layer="system",
    name="restore_points",
    domain="lake",
    description=(
        "One table's version at the end of a run, or a run's pin. The rows of a run come in one "
        "commit."
    ),
    columns=(
        Column(name="run_id", type=Type.STRING, nullable=False, description="The run that ended so"),
        Column(name="number", type=Type.INT64, nullable=False, description="Place among all records, from 1"),
        Column(name="at", type=Type.TIMESTAMP, nullable=False, description="When it was recorded (UTC)"),
        Column(name="table", type=Type.STRING, description="<layer>/<name>; null in a pin"),
        Column(name="version", type=Type.INT64, description="The table's version then; null in a pin"),
        Column(name="rows", type=Type.INT64, unit="count", description="Its rows then; null in a pin"),
        Column(name="is_pinned", type=Type.BOOL, description="A pin: maintenance keeps the run; else null"),
        Column(name="name", type=Type.STRING, description="What the pin is called"),
        Column(name="identity", type=Type.STRING,
               description="Which table of that name it was; null in a pin, and in points of older versions"),
    ),
    materialization=Materialization.APPEND,
)  # fmt: skip

ACCEPTED_REJECTS = Contract(
    layer="system",
    name="accepted_rejects",
    domain="lake",
    description="One decision that a table may go on although too many rows of a run were refused.",
    columns=(
        Column(name="table", type=Type.STRING, nullable=False, description="<layer>/<name>"),
        Column(name="at", type=Type.TIMESTAMP, nullable=False, description="When it was decided (UTC)"),
        Column(name="who", type=Type.STRING, nullable=False, pii=True, description="Who decided it"),
        Column(name="why", type=Type.STRING, nullable=False, description="The reason they gave"),
        Column(name="held_since", type=Type.TIMESTAMP, nullable=False, description="When it was held (UTC)"),
        Column(name="rows_read", type=Type.INT64, nullable=False, unit="count",
               description="Rows that were judged"),
        Column(name="rows_quarantined", type=Type.INT64, nullable=False, unit="count",
               description="Of these, refused and not replayed by then"),
        Column(name="rules", type=Type.STRING, nullable=False,
               description='Refused rows by rule: {"<rule>": <rows>}'),
    ),
    materialization=Materialization.APPEND,
)  # fmt: skip

SYSTEM: tuple[Contract, ...] = (RESTORE_POINTS, ACCEPTED_REJECTS)
"""What the lake itself records. It is never taken back to an older version."""


def side_tables(tables: Iterable[Contract]) -> list[Contract]:
    """Return the tables that keep what `tables` refused: rows, and files of landing."""
    return [*(quarantine_of(table) for table in tables if table.row_wise), LANDING_REJECTS]


def with_side_tables(tables: Iterable[Contract]) -> list[Contract]:
    """Return `tables` and those that keep what they refused: all that a restore takes back together."""
    declared = list(tables)
    return [*declared, *side_tables(declared)]
