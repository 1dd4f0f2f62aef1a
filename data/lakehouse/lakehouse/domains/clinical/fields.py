"""What a column of a clinical table is: what it is called, and what of a resource it takes.

Belongs here: the kinds of field, each with its columns and how values become them. Does not: which table has
which (tables.py), or the resources' shapes (records.py).

| kind | columns of `x` | helper column of the rules |
|---|---|---|
| `Plain` | `x` | |
| `When` | `x` (UTC, the begin of the stated span), `x_precision` | `x_text` |
| `Day` | `x` (a date, likewise), `x_precision` | `x_text` |
| `Coded` | `x`, `x_system`, `x_display`: the first coding; the display falls back to the text | |
| `Link` | `x_id`, `x_ref`: the id of the resource, and the reference as stated | |
| `Measure` | `x`, `x_text`: a float for computing, and the decimal as it is written; `x_unit` | |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lakehouse.contracts.model import POLARS_TYPES, Column, Type

Get = Callable[[Any], Any]
Columns = dict[str, pl.Series]

# https://hl7.org/fhir/R4/datatypes.html#dateTime: a time needs its zone.
_STATED = r"^\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?$"
_ADDRESS = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$")
_URN = re.compile(r"urn:(?:uuid|oid):(.+)")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field. `get` takes a resource and gives None for what is not there."""

    name: str
    get: Get
    says: str
    required: bool = False
    pii: bool = False

    def columns(self) -> tuple[Column, ...]:
        raise NotImplementedError

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        raise NotImplementedError

    def _column(self, name: str, type_: Type, says: str, *, required: bool = False, **more: Any) -> Column:
        return Column(name=name, type=type_, description=says, nullable=not required, pii=self.pii,
                      sources=("resource",), **more)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plain(Field):
    """A value as it is."""

    type: Type = Type.STRING
    unit: str | None = None

    def columns(self) -> tuple[Column, ...]:
        return (self._column(self.name, self.type, self.says, required=self.required, unit=self.unit),)

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        return {self.name: pl.Series(values, dtype=POLARS_TYPES[self.type])}


@dataclass(frozen=True, kw_only=True)
class When(Field):
    """A date or a time, with the precision it was stated in."""

    type: Type = Type.TIMESTAMP

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(self.name, self.type, f"{self.says} (UTC; of a year, month or day its begin)",
                         required=self.required),
            self._column(f"{self.name}_precision", Type.STRING,
                         f"How exactly {self.name} was stated: year, month, day or second"),
        )  # fmt: skip

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        text = pl.Series(f"{self.name}_text", values, dtype=pl.String)
        at, precision = moments(text)
        if self.type is Type.DATE:
            at = at.dt.date()
        return {self.name: at, f"{self.name}_precision": precision, f"{self.name}_text": text}


@dataclass(frozen=True, kw_only=True)
class Coded(Field):
    """The first coding of a concept (or a coding itself)."""

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(self.name, Type.STRING, f"{self.says}: code", required=self.required),
            self._column(f"{self.name}_system", Type.STRING, f"{self.says}: code system"),
            self._column(f"{self.name}_display", Type.STRING, f"{self.says}: in words"),
        )

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        parts = [_coding(value) for value in values]
        names = (self.name, f"{self.name}_system", f"{self.name}_display")
        return {
            name: pl.Series([part[place] for part in parts], dtype=pl.String)
            for place, name in enumerate(names)
        }


@dataclass(frozen=True, kw_only=True)
class Link(Field):
    """A reference: resolved within its bundle, else by its address. A conditional one has no id."""

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(f"{self.name}_id", Type.STRING, f"{self.says}: id"),
            Column(name=f"{self.name}_ref", type=Type.STRING, nullable=not self.required, pii=True,
                   description=f"{self.says}: reference as stated", sources=("resource",)),
        )  # fmt: skip

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        texts = [value.reference if value is not None else None for value in values]
        ids = [target(text, known) for text, known in zip(texts, links, strict=True)]
        return {
            f"{self.name}_id": pl.Series(ids, dtype=pl.String),
            f"{self.name}_ref": pl.Series(texts, dtype=pl.String),
        }


@dataclass(frozen=True, kw_only=True)
class Measure(Field):
    """A quantity: its value twice, since a float rounds what a decimal states."""

    def columns(self) -> tuple[Column, ...]:
        return (
            self._column(self.name, Type.FLOAT64, f"{self.says}: as a float"),
            self._column(f"{self.name}_text", Type.STRING, f"{self.says}: the decimal as it is written"),
            self._column(f"{self.name}_unit", Type.STRING, f"{self.says}: unit, coded or in words"),
        )

    def series(self, values: list[Any], links: Sequence[dict[str, str] | None]) -> Columns:
        texts = [bytes(v.value).decode() or None if v is not None else None for v in values]
        units = [v.code or v.unit if v is not None else None for v in values]
        written = pl.Series([None if text == "null" else text for text in texts], dtype=pl.String)
        return {
            self.name: written.cast(pl.Float64, strict=False),
            f"{self.name}_text": written,
            f"{self.name}_unit": pl.Series(units, dtype=pl.String),
        }


def moments(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the point in time and the precision of FHIR dates and times; null for what is none.

    A year, month or day stands for its begin in UTC.
    """
    frame = pl.DataFrame({"text": text})
    stated = pl.col("text").str.contains(_STATED)
    size = pl.col("text").str.len_bytes()
    whole = (
        pl.when(~stated).then(pl.lit(None, pl.String))
        .when(size == 4).then(pl.col("text") + "-01-01T00:00:00+00:00")
        .when(size == 7).then(pl.col("text") + "-01T00:00:00+00:00")
        .when(size == 10).then(pl.col("text") + "T00:00:00+00:00")
        .otherwise(pl.col("text").str.replace(r"Z$", "+00:00"))
    )  # fmt: skip
    at = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    done = frame.select(at=at, size=size).with_columns(
        precision=pl.when(pl.col("at").is_null()).then(pl.lit(None, pl.String))
        .when(pl.col("size") == 4).then(pl.lit("year"))
        .when(pl.col("size") == 7).then(pl.lit("month"))
        .when(pl.col("size") == 10).then(pl.lit("day"))
        .otherwise(pl.lit("second"))
    )  # fmt: skip
    return done["at"], done["precision"]


def target(reference: str | None, known: dict[str, str] | None) -> str | None:
    """Return the id that a reference means. `known` has what its bundle says of it.

    None for a conditional reference (`Practitioner?identifier=…`), one to a contained resource (`#a`), and
    one that is no reference.
    """
    if reference is None:
        return None
    if known and reference in known:
        return known[reference]
    if urn := _URN.fullmatch(reference):
        return urn[1]
    found = _ADDRESS.search(reference)
    return found[2] if found and "?" not in reference else None


def of(*path: str) -> Get:
    """Return what takes the value at a path; None where a step is not there, the first element of a list."""

    def get(value: Any) -> Any:
        for name in path:
            if value is None:
                return None
            value = getattr(value, name)
            if type(value) is list:
                value = next((one for one in value if one is not None), None)
        return value

    return get


def first(*gets: Get) -> Get:
    """Return what takes the first value that is there."""

    def get(value: Any) -> Any:
        return next((found for one in gets if (found := one(value)) is not None), None)

    return get


def _coding(value: Any) -> tuple[str | None, str | None, str | None]:
    if value is None:
        return None, None, None
    text, codings = getattr(value, "text", None), getattr(value, "coding", None)
    coding = value if hasattr(value, "code") else next(iter(codings or ()), None)
    if coding is None:
        return None, None, text
    return coding.code, coding.system, coding.display or text


def names(fields: Iterable[Field]) -> list[str]:
    """Return the columns of the fields, in order."""
    return [column.name for field in fields for column in field.columns()]
