"""Whether landing would take a file, found out before it lands.

Belongs here: records of JSON by line, and asking the source's own reader. Does not: the values of records,
which rules judge in Silver: a row that they refuse is no reason to refuse its file.

A record is a JSON object that has something in it (contracts.schema.landing_schema). The reader gets small
files whole. Of a large one it gets a part, so that memory stays flat: of NDJSON the lines up to some that it
knows, the head of CSV, whose lines are all checked for their form, and the schema of Parquet. What is not
found that way, the run finds: the status says so.

A megabyte of gzip may hold a hundred million records, so that their number has a limit, and the lines of an
unknown shape are read no further than landing would read them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, BinaryIO

import orjson

from lakehouse.contracts import Contract
from lakehouse.contracts.schema import landing_schema
from lakehouse.errors import LakeError, SourceError, UnknownShape
from lakehouse.landing import CHUNK_ROWS, LandedFile, Source
from lakehouse.landing.csv_text import csv_frames
from lakehouse.landing.json_text import MAX_DEPTH, loads
from lakehouse.landing.readers import MAX_LINE, Format, format_of, skip_bom
from lakehouse.pipeline.ingest import read_rows
from serving.ingest.receiving import GZIP, Received
from serving.problems import Problem

WINDOW = 8 << 20  # bytes that a reader gets at once
MOST_DOCUMENT = 64 << 20  # bytes of one JSON document, which is parsed whole
MOST_RECORDS = 20_000_000  # of one body, each of which takes about a microsecond
_MOST_PARTS = 2 << 20  # objects and lists of one document or line, which take a hundred times their bytes
_MOST_HEADER = 64 << 10  # bytes of CSV's first line: each column costs kilobytes
_MOST_UNFOLDED = 64 << 20  # bytes that the rows of a small Parquet file may take
_MOST_UNKNOWN = 256 << 20  # bytes of lines that the reader does not know, as much as landing reads of them
_SHALLOW = 2 * MAX_DEPTH  # bytes of a text that is too short to be nested deeper
_FIRST_ERRORS = 20
_FEW_ROWS = 5000
_ROWS_UNFOLDED = 256  # at once: each may hold a large value

Errors = list[dict[str, Any]]


def check(source: Source, received: Received, name: str) -> None:
    """Raise Problem 422 (or 413) with the first errors where landing would refuse the file.

    `name` is the one that it would have in landing.
    """
    try:
        with received.open() as raw:
            if raw.read(2) == GZIP:
                raise Problem(422, "the bytes are gzip: say so by Content-Encoding: gzip, once")
            # Where the source declares another encoding its reader decodes the text, and only it can tell.
            if source.form.is_utf8:
                _check(source, raw, name, received.size)
            else:
                _read(source, _file(name, received.size, received.open))
    except SourceError as exc:
        raise Problem(422, _says(exc, name)) from None


def _check(source: Source, raw: BinaryIO, name: str, size: int) -> None:
    fmt = format_of(name, raw)
    whole = _file(name, size, partial(_again, raw))
    if fmt in (Format.JSON, Format.NDJSON):
        if not _is_document(source, raw, fmt, size):
            known = _KnownLines(source=source, name=name) if size > WINDOW else None
            _check_lines(source, raw, known)
            if known is not None:
                return
    elif fmt is Format.CSV:
        if len(raw.readline(_MOST_HEADER + 1)) > _MOST_HEADER:
            raise Problem(413, f"the first line of CSV has at most {_MOST_HEADER} bytes")
        raw.seek(0)
        if size > WINDOW:
            whole = _head_of_csv(source, raw, name)
    elif fmt is Format.PARQUET and (bare := _bare_parquet(raw)) is not None:
        whole = _held(name, bare)
    _read(source, whole)


def _is_document(source: Source, raw: BinaryIO, fmt: Format, size: int) -> bool:
    """Return whether the records are in one JSON document, and check them; else they lie in lines."""
    if fmt is Format.NDJSON and (size > MOST_DOCUMENT or _first_line_is_json(raw)):
        return False
    if size > MOST_DOCUMENT:
        raise Problem(413, f"one JSON document may have {MOST_DOCUMENT} bytes; send records as NDJSON")
    return _check_document(source, raw, is_lines=fmt is Format.NDJSON)


def _check_lines(source: Source, raw: BinaryIO, known: _KnownLines | None) -> None:
    """Check each line, which may hold an array of records; `known` gets them until it has seen enough."""
    errors: Errors = []
    fewest, several = _fewest(source.table), 0
    for number, line in _lines(raw):
        fault: str | None
        try:
            # Half of the time of an ingest is spent in this loop.
            value = orjson.loads(line) if len(line) <= _SHALLOW else _parsed(line)
        except ValueError:
            if line.isspace():
                continue
            value, fault = None, _says_where(line)
        else:
            is_record = type(value) is dict and len(value) >= fewest
            fault = None if is_record else _fault(fewest, value, what="line")
        if type(value) is list:
            several += len(value)
        if number + several > MOST_RECORDS:
            raise _too_many()
        if fault is not None:
            errors.append({"line": number, "says": fault})
            if len(errors) == _FIRST_ERRORS:
                break
        elif known is not None and not known.enough:
            _look_at(known, line, errors)
    _refuse(errors)
    if known is not None:
        known.end()


def _says_where(line: bytes) -> str:
    try:
        _parsed(line.rstrip(b"\r\n"))
    except orjson.JSONDecodeError as exc:
        return f"not JSON, from column {exc.colno} on"
    except ValueError:
        pass
    return "not JSON"


def _look_at(known: _KnownLines, line: bytes, errors: Errors) -> None:
    try:
        known.add(line)
    except SourceError:
        _refuse(errors)  # they are more exact
        raise


def _check_document(source: Source, raw: BinaryIO, *, is_lines: bool) -> bool:
    """Check the records of one JSON document; return False where it is none, and lines are to be tried."""
    skip_bom(raw)
    try:
        value = _parsed(raw.read())
    except ValueError as exc:
        if is_lines:
            return False
        at = {"line": exc.lineno} if isinstance(exc, orjson.JSONDecodeError) else {}
        _refuse([{**at, "says": "not JSON"}])
    records, fewest = value if isinstance(value, list) else [value], _fewest(source.table)
    faults = ((number, _fault(fewest, one, what="record")) for number, one in enumerate(records, start=1))
    errors = [{"record": number, "says": says} for number, says in faults if says]
    _refuse(errors[:_FIRST_ERRORS])
    return True


def _too_many() -> Problem:
    return Problem(413, f"a body may have {MOST_RECORDS} records; send it in parts")


def _fault(fewest: int, value: Any, *, what: str) -> str | None:
    """Return why a value is no record; None where it is one, or a line's array of records."""
    if what == "line" and type(value) is list:
        found = (_fault(fewest, one, what="record") for one in value)
        return next((fault for fault in found if fault), None)
    if type(value) is not dict:
        return "not a JSON object"
    return None if len(value) >= fewest else "an object without any field"


@cache
def _fewest(table: Contract) -> int:
    """Return how many fields a record has at least."""
    return int(landing_schema(table)["minProperties"])


def _parsed(text: bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError as landing does, which refuses deep nesting too, and Problem 413 for what takes too much
    memory.
    """
    if len(text) <= _SHALLOW:
        return orjson.loads(text)
    parts = text.count(b"[") + text.count(b"{")
    if parts > _MOST_PARTS:
        raise Problem(
            413, f"one JSON document or line may have {_MOST_PARTS} objects and lists; send a record a line"
        )
    value = orjson.loads(text)
    if parts > MAX_DEPTH:
        loads(text)
    return value


def _lines(raw: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines by number, also blank ones."""
    skip_bom(raw)
    for number, line in enumerate(iter(partial(raw.readline, MAX_LINE + 1), b""), start=1):
        if len(line) > MAX_LINE:
            _refuse([{"line": number, "says": f"longer than {MAX_LINE} bytes"}])
        yield number, line


def _first_line_is_json(raw: BinaryIO) -> bool:
    line = next((line for _, line in _lines(raw) if not line.isspace()), b"")
    try:
        _parsed(line)
    except ValueError:
        return False
    return True


def _refuse(errors: Errors) -> None:
    if errors:
        raise Problem(422, "the body is not what this dataset takes", errors=errors)


@dataclass(kw_only=True)
class _KnownLines:
    """Whether the reader knows any of the lines: it gets some at a time until it has read `enough`.

    Once it knows one, others are for rules to judge.
    """

    source: Source
    name: str
    enough: bool = False
    _lines: list[bytes] = field(default_factory=list)
    _size: int = 0
    _records: int = 0  # at least so many, and bytes of them, are unknown
    _bytes: int = 0
    _unknown: UnknownShape | None = None

    def add(self, line: bytes) -> None:
        """Take one more line. Raises UnknownShape once landing would know none of the file, SourceError."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= WINDOW:
            self._look()
            if self._unknown and (self._records >= CHUNK_ROWS or self._bytes >= _MOST_UNKNOWN):
                raise self._unknown

    def end(self) -> None:
        """Take no more. Raises UnknownShape where none was known, SourceError."""
        if self._lines:
            self._look()
        if self._unknown:
            raise self._unknown

    def _look(self) -> None:
        try:
            _read(self.source, _held(f"{self.name}.ndjson", b"".join(self._lines)))
        except UnknownShape as exc:
            self._unknown = self._unknown or exc
            self._records += sum(b"{" in line for line in self._lines)
            self._bytes += self._size
        else:
            self.enough, self._unknown = True, None
        self._lines, self._size = [], 0


def _head_of_csv(source: Source, raw: BinaryIO, name: str) -> LandedFile:
    """Check the form of every line; return a file of the first ones for the reader."""
    columns, records = source.payload_schema, 0
    for frame in csv_frames(raw, name=name, rows=_FEW_ROWS, form=source.form, known=columns):
        records += frame.height
        if records > MOST_RECORDS:
            raise _too_many()
    raw.seek(0)
    head = bytearray()
    while len(head) < WINDOW and (line := raw.readline(WINDOW)):
        head += line
    # Within a quoted field a line does not end.
    while head.count(b'"') % 2 and (line := raw.readline(WINDOW)):
        head += line
    return _held(name, bytes(head))


def _bare_parquet(raw: BinaryIO) -> bytes | None:
    """Return a Parquet file of the same schema without rows; None for a file that is small once unfolded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw.seek(0)
    try:
        whole = pq.ParquetFile(raw)
        groups = [whole.metadata.row_group(i) for i in range(whole.metadata.num_row_groups)]
        if sum(group.total_byte_size for group in groups) <= WINDOW and _stays_small(whole):
            return None
        held = io.BytesIO()
        pq.write_table(whole.schema_arrow.empty_table(), held)
    except (pa.ArrowException, OSError, ValueError):
        return None  # the reader says what is wrong with it
    return held.getvalue()


def _stays_small(file: Any) -> bool:
    """Return whether the rows of a Parquet file fit in memory: a value of many rows is in the file once."""
    size = 0
    for batch in file.iter_batches(batch_size=_ROWS_UNFOLDED):
        size += sum(_bytes_of(column) for column in batch.columns)
        if size > _MOST_UNFOLDED:
            return False
    return True


def _bytes_of(values: Any) -> int:
    """Return the bytes of Arrow's values once each stands for itself, also within lists and structs."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_dictionary(kind):
        return int(values.dictionary_decode().nbytes)
    if pa.types.is_struct(kind):
        return sum(_bytes_of(inner) for inner in values.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _bytes_of(values.flatten())
    return int(values.nbytes)


def _read(source: Source, file: LandedFile) -> None:
    for _ in read_rows(source, file):
        pass


def _file(name: str, size: int, opener: Any) -> LandedFile:
    return LandedFile(name, size, datetime.now(UTC), opener)


def _held(name: str, body: bytes) -> LandedFile:
    return _file(name, len(body), partial(io.BytesIO, body))


def _again(raw: BinaryIO) -> BinaryIO:
    return open(raw.name, "rb")


def _says(exc: LakeError, name: str) -> str:
    """Return the reason without the name in landing, which the sender has not given."""
    text = str(exc).strip().splitlines()[0]
    for known in (f"{name}.ndjson: ", f"{name}: "):
        text = text.removeprefix(known)
    return text
