"""What a table is, in one frozen object: the contract.

Belongs here: the vocabulary (Column, RowRule, Contract) and what follows from it alone (schemas, names).
Does not: any table's actual contract (domains/<domain>/contracts.py), storage, or computing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from lakehouse.contracts.types import (
    COLUMN_NAME,
    ColumnType,
    DecimalType,
    arrow_type,
    is_nested,
    polars_type,
)
from lakehouse.contracts.types import POLARS_TYPES as POLARS_TYPES
from lakehouse.contracts.types import Type as Type
from lakehouse.errors import ContractError

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw
    import pyarrow as pa

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_PARTITIONS = (Type.STRING, Type.INT32, Type.INT64, Type.BOOL, Type.DATE)
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")

Layer = Literal["bronze", "silver", "gold", "quarantine", "system"]
LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold", "quarantine", "system")


RETENTION: dict[Layer, timedelta] = {
    "bronze": timedelta(days=30),
    "silver": timedelta(days=90),
    "gold": timedelta(days=365),
    "quarantine": timedelta(days=365),
    "system": timedelta(days=365),
}
"""How long versions of a table can be gone back to. The rows of today are kept whatever their age."""


class Materialization(StrEnum):
    """How a run changes the table."""

    APPEND = "append"  # rows are only ever added (Bronze, quarantine)
    INCREMENTAL_BY_KEY = "incremental by key"  # each new source row replaces the row of its key
    INCREMENTAL_BY_GROUP = "incremental by group"  # the groups that a change touches are computed whole
    FULL = "full"  # the table is computed whole, each time its source has changed


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    `sources` names the upstream columns it is computed from, for column lineage. A `volatile` column
    says when or in which batch a row came, not what it says: content hashes leave it out.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = True
    unit: str | None = None
    pii: bool = False
    volatile: bool = False
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RowRule:
    """One rule that each row must keep.

    `passes` builds a boolean expression over what the transform returns (the contract's columns and any
    helper columns beside them); a null result counts as failed. An `error` sends the row to quarantine,
    a `warn` is only counted. `values` names the columns shown with the reason.
    """

    name: str
    description: str
    passes: Callable[[], nw.Expr]
    values: tuple[str, ...] = ()
    severity: Literal["error", "warn"] = "error"


@dataclass(frozen=True, kw_only=True)
class Groups:
    """How Gold finds what a change touches: the key columns of a group, computed from source rows.

    A group must be a function of the source row's key, so that a row never moves between groups. `within`
    names a time column of the source and the aligned span (one UTC day, say) of it that no group reaches
    beyond: then only the files of those spans are read.
    """

    by: Callable[[], Sequence[nw.Expr]]
    within: tuple[str, timedelta] | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A small bar chart of one number over one label, drawn into the run's metadata."""

    label: str
    value: str
    title: str


@dataclass(frozen=True, kw_only=True)
class CheckSpec:
    """One check of a table; what is made of the table waits for a blocking one."""

    name: str
    description: str
    blocking: bool = False


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything there is to say about one table. Names double as asset key, path and API segment."""

    layer: Layer
    name: str
    domain: str
    description: str  # one sentence: what one row is
    columns: tuple[Column, ...]
    materialization: Materialization
    key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()  # rows of a file lie in this order, so that a change touches few files
    rules: tuple[RowRule, ...] = ()
    sources: tuple[Contract, ...] = ()
    groups: Groups | None = None
    source_filter: tuple[str, str] | None = None  # of its source, the rows with this column at this value
    sequence_by: tuple[str, ...] = ()  # of rows with one key the last by these stays, then the last landed
    rows_per_batch: int | None = None  # where rows are large: fewer than the lake's own number at once
    engine: str | None = None  # where its rows are computed (engine/choice.py); None: as the settings say
    files_within: str | None = None  # equal bytes under two values of this column are two files (Bronze)
    version: str = "1.0.0"
    max_reject_ratio: float = 0.05  # share of a batch that may be quarantined before the check blocks
    max_age: timedelta | None = None
    owner: str = "team:data-platform"
    chart: Chart | None = None
    tests: tuple[CheckSpec, ...] = ()  # that whatever makes its rows runs itself, as dbt does
    by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {c.name: c for c in self.columns})
        self._check()

    def _check(self) -> None:
        def refuse(what: str) -> None:
            raise ContractError(f"contract {self.layer}/{self.name}: {what}")

        if not _NAME.fullmatch(self.name):
            refuse(f"the name must match {_NAME.pattern}")
        if not _VERSION.fullmatch(self.version):
            refuse(f"version {self.version!r} is no semantic version, as 1.2.0")
        if len(set(self.key)) != len(self.key):
            refuse("a column stands twice in the key")
        if len(self.by_name) != len(self.columns):
            refuse("two columns share one name")
        for column in self.columns:
            if not COLUMN_NAME.fullmatch(column.name):
                refuse(f"column {column.name!r} must match {COLUMN_NAME.pattern}")
        for name in (*self.key, *self.partition_by, *self.cluster_by, *self.sequence_by):
            if name not in self.by_name:
                refuse(f"{name!r} is in the key, partitioning, order or clustering, but is no column")
        for name in self.key:
            if self.by_name[name].nullable:
                refuse(f"key column {name!r} must not be nullable")
        self._check_places(refuse)
        incremental = (Materialization.INCREMENTAL_BY_KEY, Materialization.INCREMENTAL_BY_GROUP)
        if self.materialization in incremental and not self.key:
            refuse(f"{self.materialization} needs a key")
        if (self.groups is not None) != (self.materialization is Materialization.INCREMENTAL_BY_GROUP):
            refuse("groups and the materialization incremental by group go together")
        if self.groups is not None and len(self.sources) != 1:
            refuse("groups need exactly one source")
        if self.source_filter is not None and (
            not self.row_wise or self.source_filter[0] not in self.sources[0].by_name
        ):
            refuse(f"it takes rows by {self.source_filter[0]!r}: that must be a column of its one source")
        if self.files_within is not None and self.files_within not in self.by_name:
            refuse(f"files are known within {self.files_within!r}, which is no column")
        if not 0 <= self.max_reject_ratio <= 1:
            refuse("max_reject_ratio is a share, between 0 and 1")

    def _check_places(self, refuse: Callable[[str], None]) -> None:
        """Refuse columns where no format can use their type."""
        for name in (*self.key, *self.partition_by, *self.cluster_by, *self.sequence_by):
            if is_nested(self.by_name[name].type):
                refuse(f"{name!r} is nested, so that it has no order and no statistics: it cannot stand in "
                       "the key, partitioning, order or clustering")  # fmt: skip
        for name in self.partition_by:
            if self.by_name[name].type not in _PARTITIONS:
                refuse(f"partition column {name!r} must be text, a whole number, a bool or a date")
        for name in self.cluster_by:  # by the statistics that Delta's log keeps, which are floats there
            if self.by_name[name].type is Type.BINARY or isinstance(self.by_name[name].type, DecimalType):
                refuse(f"clustering column {name!r} must be no decimal and no binary")
        for name in self.sequence_by:
            if self.by_name[name].type is Type.BINARY:
                refuse(f"order column {name!r} must be no binary")

    @property
    def path(self) -> str:
        """`<layer>/<name>`: the asset key, the storage path and the API segment."""
        return f"{self.layer}/{self.name}"

    def __str__(self) -> str:
        return self.path

    @property
    def row_wise(self) -> bool:
        """Whether each source row becomes one row here, one duplicate or one reject (Silver)."""
        return self.materialization is Materialization.INCREMENTAL_BY_KEY and len(self.sources) == 1

    @property
    def column_names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def content_columns(self) -> list[str]:
        """The columns that say what a row is: all but the volatile ones."""
        return [c.name for c in self.columns if not c.volatile]

    def polars_schema(self) -> pl.Schema:
        """The exact schema a frame must have before it is written."""
        return pl.Schema({c.name: polars_type(c.type) for c in self.columns})

    def arrow_schema(self) -> pa.Schema:
        """The same as an Arrow schema, with nullability and comments."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field(c.name, arrow_type(c.type), nullable=c.nullable, metadata={"comment": c.description})
                for c in self.columns
            ]
        )


def column(
    name: str, type_: ColumnType, description: str, *, of: str | tuple[str, ...] = (), **more: Any
) -> Column:
    """One column, on one line; `of` names what it is computed from."""
    sources = (of,) if isinstance(of, str) else of
    return Column(name=name, type=type_, description=description, sources=sources, **more)


def bronze_columns() -> tuple[Column, ...]:
    """Where a Bronze row came from: the columns every Bronze table ends with."""
    return (
        Column(name="_source", type=Type.STRING, nullable=False,
               description="File the row came from, as <source>/<path> below landing"),
        Column(name="_fingerprint", type=Type.STRING, nullable=False,
               description="SHA-256 of that file's bytes"),
        Column(name="_row", type=Type.INT64, nullable=False,
               description="Position of the row in that file, from 0"),
        Column(name="_batch_id", type=Type.INT64, nullable=False, volatile=True,
               description="Sequence number of the commit that brought the row, from 1"),
        Column(name="_ingested_at", type=Type.TIMESTAMP, nullable=False, volatile=True,
               description="When the row was written (UTC)"),
    )  # fmt: skip


BUILT_FROM = "built_from"
"""A table of policy overwrite that has this column gets its sources' versions there, as a JSON object."""

POINTER: tuple[str, ...] = ("_source", "_fingerprint", "_row", "_batch_id")


def pointer_columns(upstream: str) -> tuple[Column, ...]:
    """How a Silver row points back to its Bronze row."""
    return tuple(
        Column(name=c.name, type=c.type, nullable=False, volatile=c.volatile,
               description=f"{c.description} ({upstream})", sources=(c.name,))
        for c in bronze_columns()
        if c.name in POINTER
    )  # fmt: skip
