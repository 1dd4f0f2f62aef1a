"""Whether landing would take a file, found out before it lands.

Belongs here: records of JSON by line, and asking the source's own reader. Does not: the values of records,
which rules judge in Silver: a row that they refuse is no reason to refuse its file.

A record is a JSON object that has something in it (contracts.schema.landing_schema). The reader gets small
files whole. Of a large one it gets a part, so that memory stays flat: of NDJSON the lines up to some that it
knows, the head of CSV, whose lines are all checked for their form, and the schema of Parquet. What is not
found that way, the run finds: the status says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, BinaryIO

import orjson

from lakehouse.contracts import Contract
from lakehouse.contracts.schema import landing_schema
from lakehouse.errors import LakeError, SourceError, UnknownShape
from lakehouse.landing import LandedFile, Source
from lakehouse.landing.csv_text import csv_frames
from lakehouse.landing.json_text import MAX_DEPTH, loads
from lakehouse.landing.readers import MAX_LINE, Format, format_of, skip_bom
from lakehouse.pipeline.ingest import read_rows
from serving.ingest.receiving import GZIP, Received
from serving.problems import Problem

WINDOW = 8 << 20  # bytes that a reader gets at once
MOST_DOCUMENT = 64 << 20  # bytes of one JSON document, which is parsed whole
_MOST_PARTS = 2 << 20  # objects and lists of one document or line, which take a hundred times their bytes
_MOST_HEADER = 64 << 10  # bytes of CSV's first line: each column costs kilobytes
_MOST_UNFOLDED = 64 << 20  # bytes that the rows of a small Parquet file may take
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
        as_lines = _check_records(source, raw, fmt, size)
        if as_lines and size > WINDOW:
            _read_windows(source, raw, name)
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


def _check_records(source: Source, raw: BinaryIO, fmt: Format, size: int) -> bool:
    """Check each record; return whether they lie in lines. A line may hold an array of records."""
    if fmt is Format.JSON or (not _first_line_is_json(raw) and size <= MOST_DOCUMENT):
        if size > MOST_DOCUMENT:
            raise Problem(413, f"one JSON document may have {MOST_DOCUMENT} bytes; send records as NDJSON")
        if _check_document(source, raw, is_lines=fmt is Format.NDJSON):
            return False
    errors: Errors = []
    fewest = _fewest(source.table)
    for number, line in _lines(raw):
        try:
            says = _fault(fewest, _parsed(line.rstrip(b"\r\n")), what="line")
        except ValueError as exc:
            says = "not JSON" + (
                f", from column {exc.colno} on" if isinstance(exc, orjson.JSONDecodeError) else ""
            )
        if says:
            errors.append({"line": number, "says": says})
            if len(errors) == _FIRST_ERRORS:
                break
    _refuse(errors)
    return True


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
    skip_bom(raw)
    for number, line in enumerate(iter(partial(raw.readline, MAX_LINE + 1), b""), start=1):
        if len(line) > MAX_LINE:
            _refuse([{"line": number, "says": f"longer than {MAX_LINE} bytes"}])
        if not line.isspace():
            yield number, line


def _first_line_is_json(raw: BinaryIO) -> bool:
    line = next((line for _, line in _lines(raw)), b"")
    try:
        _parsed(line)
    except ValueError:
        return False
    return True


def _refuse(errors: Errors) -> None:
    if errors:
        raise Problem(422, "the body is not what this dataset takes", errors=errors)


def _read_windows(source: Source, raw: BinaryIO, name: str) -> None:
    """Let the reader read lines, some at a time, until it knows any: others are then for rules to judge."""
    unknown: UnknownShape | None = None
    for window in _windows(raw):
        try:
            _read(source, _held(f"{name}.ndjson", window))
        except UnknownShape as exc:
            unknown = unknown or exc
        else:
            return
    if unknown:
        raise unknown


def _windows(raw: BinaryIO) -> Iterator[bytes]:
    skip_bom(raw)
    lines: list[bytes] = []
    size = 0
    for _, line in _lines(raw):
        lines.append(line)
        size += len(line)
        if size >= WINDOW:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


def _head_of_csv(source: Source, raw: BinaryIO, name: str) -> LandedFile:
    """Check the form of every line; return a file of the first ones for the reader."""
    columns = source.payload_schema
    for _ in csv_frames(raw, name=name, rows=_FEW_ROWS, form=source.form, known=columns):
        pass
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
