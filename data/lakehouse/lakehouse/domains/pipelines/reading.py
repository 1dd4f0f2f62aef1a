"""From a landed file to frames: the loop that all sources of this domain share.

Belongs here: choosing the path by format, chunking, and keeping what no adapter knows.
Does not: any shape of record (envelope.py, github.py, temporal.py).

Nothing is dropped: among records that are known, one that is not (or a line that is no JSON) becomes a row
with only its payload column filled, which Silver's rules send to quarantine. A file without any known
record is refused whole, and stays in landing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import polars as pl

from lakehouse.contracts.model import Contract
from lakehouse.errors import SourceError, UnknownShape
from lakehouse.landing import CHUNK_ROWS, LandedFile
from lakehouse.landing.columns import csv_frames, parquet_frames
from lakehouse.landing.json_text import Malformed, dumps, values
from lakehouse.landing.readers import Format, format_of, unpacked
from lakehouse.landing.source import payload_schema

CHUNK_BYTES = 256 << 20  # of payload text, so that large records make smaller frames

Row = tuple[str | None, ...]
Adapter = Callable[[Any, LandedFile], Sequence[Row] | None]
"""Turn one parsed record into rows in the contract's column order, or None where it is another shape."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How the files of some folders become rows of one Bronze table.

    `payload` is the column that keeps a record no adapter knows; `columns` maps a CSV or Parquet frame to
    the table's columns, or gives None for another shape; `shapes` completes "this source knows ...";
    `gather` may join records that only mean something together.
    """

    table: Contract
    adapters: tuple[Adapter, ...]
    columns: Callable[[pl.DataFrame, LandedFile], pl.DataFrame | None]
    payload: str
    shapes: str
    gather: Callable[[Iterator[Any]], Iterator[Any]] = iter

    def __call__(self, file: LandedFile) -> Iterator[pl.DataFrame]:
        """Yield the file's rows. Raises UnknownShape, SourceError, StorageUnavailable."""
        with unpacked(file) as raw:
            fmt = format_of(file.name, raw)
            if fmt is Format.PARQUET:
                yield from self._columnar(parquet_frames(raw, name=file.name, form=file.form), file, fmt)
            elif fmt is Format.CSV:
                yield from self._columnar(self._csv(raw, file), file, fmt)
            else:
                yield from self._records(self.gather(values(raw, fmt, name=file.name)), file)

    def _csv(self, raw: BinaryIO, file: LandedFile) -> Iterator[pl.DataFrame]:
        known, met = self._schema, file.unexpected
        return csv_frames(raw, name=file.name, form=file.form, known=known, unexpected=met)

    def _columnar(
        self, frames: Iterator[pl.DataFrame], file: LandedFile, fmt: Format
    ) -> Iterator[pl.DataFrame]:
        for frame in frames:
            rows = self.columns(frame, file)
            if rows is None:
                raise self._unknown(file, f"{fmt} with other columns")
            yield rows

    def _records(self, records: Iterator[Any], file: LandedFile) -> Iterator[pl.DataFrame]:
        chunk: list[Row] = []
        size, known, lost, given = 0, False, 0, False
        first, place = self.adapters[0], self._place
        for record in records:
            rows = first(record, file) or self._adapt(record, file)
            if rows is None:
                lost += type(record) is Malformed
                rows = (self._kept(record),)
            else:
                known = True
            chunk.extend(rows)
            for row in rows:
                size += len(row[place] or "")
            if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                self._check(known, lost, chunk, file)
                yield from self._frames(chunk)
                chunk, size, given = [], 0, True
        self._check(known, lost, chunk, file)
        if chunk or not given:
            yield from self._frames(chunk)

    def _adapt(self, record: Any, file: LandedFile) -> Sequence[Row] | None:
        for adapter in self.adapters:
            if (rows := adapter(record, file)) is not None:
                return rows
        return None

    @cached_property
    def _schema(self) -> pl.Schema:
        return payload_schema(self.table)

    @cached_property
    def _place(self) -> int:
        return list(self._schema).index(self.payload)

    def _kept(self, record: Any) -> Row:
        text = record.text if type(record) is Malformed else dumps(record)
        return tuple(text if name == self.payload else None for name in self._schema)

    def _frames(self, rows: list[Row]) -> Iterator[pl.DataFrame]:
        schema = self._schema
        columns = list(zip(*rows, strict=True)) or [()] * len(schema)
        frame = pl.DataFrame(
            [
                pl.Series(name, values, dtype)
                for (name, dtype), values in zip(schema.items(), columns, strict=True)
            ]
        )
        yield from frame.iter_slices(CHUNK_ROWS) if rows else [frame]

    def _check(self, known: bool, lost: int, chunk: list[Row], file: LandedFile) -> None:
        """Refuse a file that has given no known record by the end of its first frame."""
        if known or not chunk:
            return
        if lost == len(chunk):
            raise SourceError(f"{file.name}: none of its {lost} lines is readable as JSON")
        raise self._unknown(file, "JSON of another shape")

    def _unknown(self, file: LandedFile, what: str) -> UnknownShape:
        return UnknownShape(f"{file.name}: {what}; this source knows {self.shapes}")
