"""What a column of a clinical table is: what it is called, and what of a resource it takes.

Belongs here: the kinds of field, each with its columns and how values become them. Does not: which table has
which (resources.py), or the resources' shapes (records.py).

| kind | columns of `x` | helper column of the rules |
|---|---|---|
| `Plain` | `x` | |
| `Many` | `x`: a list; null where there is none | |
| `DateTime` | `x` (UTC, begin of the stated unit), `x_precision`, `x_date` as written | `x_text`, `x_last` |
| `Day` | `x` (a date as it is written), `x_precision` | `x_text` |
| `Until` | `x` (UTC, the last instant of the stated unit), `x_precision`, `x_date` | `x_text`, `x_last` |
| `CodeableConcept` | `x`, `x_system`, `x_display`: the coding that counts; `x_codings`: the list of all | |
| `Reference` | `x_id`, `x_type`: the resource meant; `x_ref`: the reference as stated | |
| `Quantity` | `x`, `x_text`: a float for computing, and the decimal as it is written; `x_unit` | |
| | `x_comparator` and `x_bound` where it is a bound: then there is no value | |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lakehouse.contracts.model import POLARS_TYPES, Column, Type
from lakehouse.contracts.types import ColumnType, ListType
from lakehouse.domains.clinical.datatypes import written
from lakehouse.domains.clinical.dates import ends, read
from lakehouse.domains.clinical.links import UNADDRESSED, address, text_of
from lakehouse.domains.clinical.lists import CODINGS, as_coding, series
from lakehouse.domains.clinical.taking import UNCODED, Get, coded

__all__ = ["CodeableConcept", "DateTime", "Day", "Field", "Many", "Plain", "Quantity", "Reference", "Until"]

Columns = dict[str, pl.Series]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field. `get` takes a resource and gives None for what is not there.

    What is `required` is given, by a rule; it is text.
    """

    name: str
    get: Get
    says: str
    required: bool = False
    pii: bool = False

    def columns(self) -> tuple[Column, ...]:
        raise NotImplementedError

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        raise NotImplementedError

    @property
    def asked(self) -> str:
        """The column that is given where the field is."""
        return self.name

    def _column(self, name: str, type_: ColumnType, says: str, **more: Any) -> Column:
        required = self.required and name == self.asked
        return Column(name=name, type=type_, description=says, nullable=not required, sources=("resource",),
                      **{"pii": self.pii, **more})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plain(Field):
    """A value as it is."""

    type: Type = Type.STRING
    unit: str | None = None

    def columns(self) -> tuple[Column, ...]:
        return (self._column(self.name, self.type, self.says, unit=self.unit),)

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        return {self.name: pl.Series(values, dtype=POLARS_TYPES[self.type])}


@dataclass(frozen=True, kw_only=True)
class Many(Field):
    """A list, its structs as tuples."""

    type: ListType

    def columns(self) -> tuple[Column, ...]:
        return (self._column(self.name, self.type, self.says),)

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        return {self.name: series(values, self.type)}


@dataclass(frozen=True, kw_only=True)
class DateTime(Field):
    """A date or a time, with the precision it was stated in."""

    meaning: str = "UTC; of a year, month or day its begin"
    ends: bool = False  # a rule compares it as an end: to the last instant of its unit

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(self.name, Type.TIMESTAMP, f"{self.says} ({self.meaning})"),
            self._precision(),
            self._column(f"{self.name}_date", Type.DATE, f"{self.says}: the date as it is written"),
        )

    def _precision(self) -> Column:
        says = f"How exactly {self.name} was stated: year, month, day or second"
        return self._column(f"{self.name}_precision", Type.STRING, says, pii=False)

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        text = pl.Series(f"{self.name}_text", values, dtype=pl.String)
        found = read(text)
        at, precision = found["at"], found["precision"]
        made = {self.name: at, f"{self.name}_precision": precision, f"{self.name}_date": found["date"]}
        last = {f"{self.name}_last": ends(at, precision, text)} if self.ends else {}
        return {**made, f"{self.name}_text": text, **last}


@dataclass(frozen=True, kw_only=True)
class Day(DateTime):
    """A date. One that was given a time, against the standard, is the date it says."""

    def columns(self) -> tuple[Column, ...]:
        says = f"{self.says} (as it is written; of a year or month its first day)"
        return self._column(self.name, Type.DATE, says), self._precision()

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        made = super().series(values, links)
        return {**made, self.name: made.pop(f"{self.name}_date")}


@dataclass(frozen=True, kw_only=True)
class Until(DateTime):
    """The end of a period. `get` gives end and begin: a day ends where the begin has its midnight."""

    meaning: str = "UTC; of a year, month or day its last instant"

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        begins = pl.Series([value[1] if value else None for value in values], dtype=pl.String)
        made = super().series([value[0] if value else None for value in values], links)
        last = ends(made[self.name], made[f"{self.name}_precision"], begins)
        return {**made, self.name: last, f"{self.name}_last": last}


@dataclass(frozen=True, kw_only=True)
class CodeableConcept(Field):
    """A coding, a concept, or a list of either."""

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(self.name, Type.STRING, f"{self.says}: code; the first with a code system"),
            self._column(f"{self.name}_system", Type.STRING, f"{self.says}: code system"),
            self._column(f"{self.name}_display", Type.STRING, f"{self.says}: in words"),
            self._column(f"{self.name}_codings", CODINGS, f"{self.says}: all codings"),
        )  # fmt: skip

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        parts = [coded(value) if value is not None else UNCODED for value in values]
        names = (self.name, f"{self.name}_system", f"{self.name}_display")
        found = {
            name: pl.Series([part[place] for part in parts], dtype=pl.String)
            for place, name in enumerate(names)
        }
        return {**found, f"{self.name}_codings": series([part[3] for part in parts], CODINGS, as_coding)}


@dataclass(frozen=True, kw_only=True)
class Reference(Field):
    """A reference: resolved within its bundle, else by its address. A conditional one has no id.

    `to` are the types it may lead to, by the standard. Of one of `named` type, `x_id` is given for that type
    alone: the id of a group is no patient's.
    """

    to: tuple[str, ...]
    named: str | None = None

    @property
    def asked(self) -> str:
        return f"{self.name}_ref"

    def columns(self) -> tuple[Column, ...]:
        only = f", where it is of the type {self.named}" if self.named else ""
        words = f", of words alone `{UNADDRESSED}`" if self.required else ""
        return (
            self._column(f"{self.name}_id", Type.STRING, f"{self.says}: id{only}"),
            self._column(f"{self.name}_type", Type.STRING, f"{self.says}: resource type, where it is stated"),
            self._column(
                f"{self.name}_ref",
                Type.STRING,
                f"{self.says}: reference as stated; of an identifier alone"
                f" `Type?identifier=system|value`{words}",
                pii=True,
            ),
        )

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        found = [
            address(value.reference, known, value.type) if value is not None else (None, None)
            for value, known in zip(values, links, strict=True)
        ]
        kinds, ids = [kind for kind, _ in found], [own for _, own in found]
        if self.named:
            ids = [own if kind in (None, self.named) else None for kind, own in found]
        only = self.named or (self.to[0] if len(self.to) == 1 else None)
        words = UNADDRESSED if self.required else None
        texts = [text_of(value, only, words=words) for value in values]
        return {
            f"{self.name}_id": pl.Series(ids, dtype=pl.String),
            f"{self.name}_type": pl.Series(kinds, dtype=pl.String),
            f"{self.name}_ref": pl.Series(texts, dtype=pl.String),
        }


@dataclass(frozen=True, kw_only=True)
class Quantity(Field):
    """A quantity: its value twice, since a float rounds what a decimal states. A bound is no value."""

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(self.name, Type.FLOAT64, f"{self.says}: as a float; null for a bound"),
            self._column(f"{self.name}_text", Type.STRING,
                         f"{self.says}: the decimal as it is written; null for a bound"),
            self._column(f"{self.name}_unit", Type.STRING, f"{self.says}: unit, by UCUM, else in words"),
            self._column(f"{self.name}_comparator", Type.STRING,
                         f"{self.says}: <, <=, >= or > where it is no value but a bound, ? where which is not"
                         " said"),
            self._column(f"{self.name}_bound", Type.STRING,
                         f"{self.says}: the bound that the comparator is of, as it is written"),
        )  # fmt: skip

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        numbers = [written(v.value) if v is not None else None for v in values]
        signs = [v.said_comparator() if v is not None else None for v in values]
        units = [v.said_unit() if v is not None else None for v in values]
        number, sign = pl.Series("number", numbers, pl.String), pl.Series("sign", signs, pl.String)
        parts = pl.DataFrame([number, sign]).select(
            exact=pl.when(pl.col("sign").is_null()).then(pl.col("number")),
            bound=pl.when(pl.col("sign").is_not_null()).then(pl.col("number")),
        )
        return {
            self.name: parts["exact"].cast(pl.Float64, strict=False),
            f"{self.name}_text": parts["exact"],
            f"{self.name}_unit": pl.Series(units, dtype=pl.String),
            f"{self.name}_comparator": sign,
            f"{self.name}_bound": parts["bound"],
        }
