"""CSV as frames, a bounded number of rows at a time, strictly by RFC 4180.

Belongs here: parsing CSV text. Does not: which columns a source expects, or Parquet.

The whole file is checked before its first row is yielded, so that a file is accepted or rejected as a whole.
Python's reader in strict mode parses it: Polars drops quotes within a quoted field, pads short lines, and
finds no row in a file whose lines end in CR.

A line has as many fields as the header. A blank field and `""` both are null, in every column. Blank lines
are skipped and counted, and so are lines above, between and below the rows that the source declares (Form).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

import polars as pl

from lakehouse.errors import SourceError
from lakehouse.landing import readers
from lakehouse.landing.form import Form, proposed
from lakehouse.landing.source import CHUNK_ROWS
from lakehouse.landing.unexpected import Unexpected

SEPARATORS = (",", ";", "\t", "|")
_OTHER_SEPARATORS = (":", "^", "~", "#", "!", "\x01", "\x1e", "\x1f", " ")
_PLACES = 3  # of a repeated heading that an error lists
_AT_ONCE = 2000  # rows as Python lists; larger pieces take longer per row
_BROKEN = "broken quoting; put quotes inside a field twice, or "


def csv_frames(
    raw: BinaryIO,
    *,
    name: str,
    rows: int = CHUNK_ROWS,
    form: Form | None = None,
    known: Collection[str] = (),
    unexpected: Unexpected | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a CSV file with a header line, all columns String, blank fields null.

    `form` is declared by the source. `known` are column names: only a header that has one of them may be
    quoted in errors. Blank lines are counted in `unexpected`. At least one frame is yielded, perhaps without
    rows. Raises SourceError before the first frame, with the first line that is not a row of the table.
    """
    form = form or Form()
    options = _options(raw, form)
    header, met = _checked(raw, options, form, name)
    headings = form.renamed(header)
    _refuse_unknown_separator(header, form, known, name)
    _refuse_twice(headings, form, known, name)
    if unexpected is not None:
        unexpected.join(met)
    done = 0
    for frame in _frames(raw, options, form, headings, rows):
        try:
            yield form.applied(frame, first=done + 1)
        except SourceError as exc:
            raise SourceError(f"{name}: {exc}") from None
        done += frame.height


def _frames(
    raw: BinaryIO, options: Any, form: Form, headings: list[str], rows: int
) -> Iterator[pl.DataFrame]:
    schema, beside = dict.fromkeys(headings, pl.String), _Beside(form, options)
    with _text(raw) as text:
        lines = csv.reader(text, **options)
        next(fields for fields in lines if not _blank(fields, ()) and not beside.above(fields))
        records = (
            fields
            for fields in lines
            if len(fields) == len(headings) and beside.among(fields, headings) is None
        )
        has_rows = False
        while frames := list(_pieces(records, schema, rows)):
            has_rows = True
            yield pl.concat(frames, rechunk=True).select(pl.when(pl.all() != "").then(pl.all()))
        if not has_rows:
            yield pl.DataFrame(schema=schema)


def _pieces(records: Iterator[list[str]], schema: dict[str, Any], rows: int) -> Iterator[pl.DataFrame]:
    """Yield frames of `rows` rows in total, or of the remaining ones."""
    while rows > 0 and (piece := list(islice(records, min(rows, _AT_ONCE)))):
        rows -= len(piece)
        columns = zip(schema, zip(*piece, strict=True), strict=True)
        yield pl.DataFrame({heading: pl.Series(values, dtype=pl.String) for heading, values in columns})


def _checked(raw: BinaryIO, options: Any, form: Form, name: str) -> tuple[list[str], Unexpected]:
    """Return the header, and which lines are no rows. Raises SourceError for one that should not be there."""
    header: list[str] = []
    below: dict[str, tuple[int, re.Pattern[str]]] = {}
    met, beside, ended = Unexpected(), _Beside(form, options), 0
    large = raw.seek(0, io.SEEK_END) > readers.MAX_LINE
    with _text(raw) as text:
        reader = csv.reader(_bounded(text, name) if large else text, **options)
        try:
            for fields in reader:
                if len(fields) == len(header) > 1 and not ended and not beside.among(fields, header):
                    if below and (column := _unsaid(fields, below)):
                        raise SourceError(f"{name}: {_contradicts(reader.line_num, column)}")
                    continue
                if _blank(fields, header):
                    met.blank_lines += 1
                elif not header and beside.above(fields):
                    met.other_lines += 1
                elif not header:
                    header = fields
                elif kind := beside.among(fields, header):
                    met.other_lines += 1
                    if kind == "divider" and ended:
                        raise SourceError(f"{name}: {_below(reader.line_num, ended)}")
                    if kind == "divider":
                        below = _below_divider(form, header)
                    if kind == "footer" and not ended:
                        ended = reader.line_num
                elif ended:
                    raise SourceError(f"{name}: {_below(reader.line_num, ended)}")
                elif len(fields) != len(header):
                    raise SourceError(f"{name}: {_other_width(reader.line_num, len(fields), len(header))}")
        except csv.Error as exc:
            raise SourceError(f"{name}: line {reader.line_num}: {_fault(exc)}") from None
    if not header:
        raise SourceError(f"{name}: there is no header below line {reader.line_num}, which is its last")
    return header, met


class _Beside:
    """The lines above, between and below rows that a source declares."""

    def __init__(self, form: Form, options: Any) -> None:
        self._patterns = {what: re.compile(pattern) for what, pattern in form.beside.items()}
        self._mark: str = options["delimiter"]

    def above(self, fields: Sequence[str]) -> bool:
        """Return whether the line may stand above the header."""
        return self._is("preamble", fields)

    def among(self, fields: Sequence[str], header: Sequence[str]) -> str | None:
        """Return whether a line below the header is a divider or a footer; None for a row.

        A line as wide as a header of several fields is a row, whatever it says, but for a divider: what
        stands below it has to be compared with it.
        """
        if not self._patterns:
            return None
        if len(fields) == len(header) > 1:
            return None if any(fields[1:]) or not self._is("divider", fields) else "divider"
        return next((what for what in ("divider", "footer") if self._is(what, fields)), None)

    def _is(self, what: str, fields: Sequence[str]) -> bool:
        """Return whether the line says so, as it stands or without the blank fields that end it.

        A spreadsheet pads such a line to the width of the table.
        """
        pattern = self._patterns.get(what)
        if pattern is None:
            return False
        width = max((place for place, field in enumerate(fields, start=1) if field.strip()), default=0)
        lines = (self._mark.join(fields).strip(), self._mark.join(fields[:width]).strip())
        return any(pattern.fullmatch(line) for line in lines)


def _below(line: int, footer: int) -> str:
    return f"line {line} follows the footer of line {footer}; remove what stands below the table"


def _below_divider(form: Form, header: Sequence[str]) -> dict[str, tuple[int, re.Pattern[str]]]:
    """Return where each declared column stands, and what it says in each row below the divider."""
    columns = [form.column_of(heading) for heading in header]
    return {
        column: (columns.index(column), re.compile(pattern))
        for column, pattern in form.divided.items()
        if column in columns
    }


def _unsaid(fields: Sequence[str], below: Mapping[str, tuple[int, re.Pattern[str]]]) -> str | None:
    """Return the first column that says otherwise than the divider above the row; None where none does."""
    return next(
        (
            column
            for column, (place, says) in below.items()
            if (told := fields[place]).strip() and not says.match(told)
        ),
        None,
    )


def _contradicts(line: int, column: str) -> str:
    return f"line {line} is below a divider, and its {column} does not say the same; write it there"


def _blank(fields: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether a line is blank; in a table of one column, spaces are a value."""
    return not fields or (len(header) != 1 and len(fields) == 1 and fields[0].isspace())


def _other_width(line: int, fields: int, width: int) -> str:
    message = f"line {line} has {fields} field{'s' * (fields != 1)}, the header {width}; "
    if width == 1:
        return message + f"remove what stands above the header, or {proposed(delimiter=';')}"
    if fields < width:
        return message + "remove what stands above or below the table, and give each line all of its fields"
    return message + f"put a field that holds the separator in quotes, or {proposed(escape=chr(92))}"


def _fault(exc: csv.Error) -> str:
    if "limit" in str(exc):
        return f"a field of over {readers.MAX_LINE} characters"
    return _BROKEN + proposed(escape="\\")


def _options(raw: BinaryIO, form: Form) -> dict[str, Any]:
    """Return how Python's reader is to read the file."""
    if csv.field_size_limit() < readers.MAX_LINE:
        csv.field_size_limit(readers.MAX_LINE)
    options: dict[str, Any] = {"strict": True, "escapechar": form.escape}
    if form.delimiter is not None:
        return {**options, "delimiter": form.delimiter}
    return {**options, "delimiter": max(SEPARATORS, key=partial(_width, raw, form, options))}


def _width(raw: BinaryIO, form: Form, options: Any, delimiter: str) -> int:
    """Return the number of fields of the header by this delimiter; 0 where it cannot be read."""
    return len(_first(raw, form, {**options, "delimiter": delimiter}))


def _first(raw: BinaryIO, form: Form, options: Any) -> list[str]:
    beside = _Beside(form, options)
    with _text(raw) as text:
        try:
            lines = iter(partial(text.readline, readers.MAX_LINE), "")
            found = csv.reader(lines, **options)
            return next((f for f in found if not _blank(f, ()) and not beside.above(f)), [])
        except csv.Error:
            return []


def _refuse_unknown_separator(header: list[str], form: Form, known: Collection[str], name: str) -> None:
    if len(header) != 1 or form.delimiter is not None:
        return
    for mark in _OTHER_SEPARATORS:
        parts = {form.column_of(part) for part in header[0].split(mark)}
        if len(parts) > 1 and len(parts & set(known)) > 1:
            raise SourceError(f"{name}: its fields are separated by {mark!r}; {proposed(delimiter=mark)}")


def _refuse_twice(headings: list[str], form: Form, known: Collection[str], name: str) -> None:
    """Reject a repeated heading. It is quoted only if the line certainly is a header."""
    if len(set(headings)) == len(headings):
        return
    twice = next(heading for heading in headings if headings.count(heading) > 1)
    places = [str(i) for i, heading in enumerate(headings, start=1) if heading == twice]
    more = [f"{len(places) - _PLACES} more"] if len(places) > _PLACES else []
    at = " and ".join([*places[:_PLACES], *more])
    is_header = {form.column_of(heading) for heading in headings} & set(known)
    quoted = f" {twice!r}" if is_header else ""
    what = "give each its own heading" + ("" if is_header else ", in the first line of the file")
    raise SourceError(f"{name}: fields {at} of the header are the same{quoted}; {what}")


@contextmanager
def _text(raw: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """Read the file as text from its start, line ends unchanged; the file stays open."""
    raw.seek(0)
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        if not raw.closed:  # a reader that stops before the end leaves this to the collector
            text.detach()
            raw.seek(0)


def _bounded(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    longest = readers.MAX_LINE
    for number, line in enumerate(iter(partial(text.readline, longest + 1), ""), start=1):
        if len(line) > longest:
            raise SourceError(f"{name}: line {number} is longer than {longest} characters")
        yield line
