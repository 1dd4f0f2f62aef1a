"""JSON and NDJSON text to Python values and back, with exact numbers.

Belongs here: strict parsing (RFC 8259), line handling, exact numbers. Does not: the meaning of a record.
Numbers that Python or orjson would change (fractions, exponents, beyond 64 bit) are kept as
`orjson.Fragment`, their original text, which `dumps` writes back unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import orjson

from lakehouse.errors import SourceError
from lakehouse.landing import readers
from lakehouse.landing.readers import Format

MAX_DEPTH = 250
_NESTED = (dict, list)
_PLAIN = frozenset((str, int, bool, type(None)))


@dataclass(frozen=True, slots=True)
class Malformed:
    """One line of NDJSON that is not JSON: its text without the line end."""

    text: str


def loads(text: bytes) -> Any:
    """Parse one JSON text strictly. Of a repeated key, the last value is kept.

    Raises ValueError for text that is not JSON, a number beyond floats, or nesting too deep for `dumps`.
    """
    value = orjson.loads(text)
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if type(value) is dict and _PLAIN.issuperset(map(type, value.values())):
        return value
    try:
        if not _has_float(value):
            return value
        return json.loads(text, parse_float=orjson.Fragment, parse_int=orjson.Fragment)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check_depth(value: Any) -> None:
    """Raise ValueError where orjson, which writes 254 levels, would not write `value` inside a payload."""
    try:
        orjson.dumps([[[[value]]]])
    except TypeError:
        raise ValueError("nested too deeply") from None


def _has_float(value: Any) -> bool:
    """Return whether the value contains a float: the only kind of number that orjson may have changed."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return kind is float
    kinds = set(map(type, value))
    if float in kinds:
        return True
    return not kinds.isdisjoint(_NESTED) and any(map(_has_float, value))


def dumps(value: Any) -> str:
    """Write a parsed value as compact JSON."""
    return orjson.dumps(value).decode()


def text_of(value: Any) -> str | None:
    """Return a JSON value as text: a string as itself, null as None, anything else as compact JSON."""
    if value is None or type(value) is str:
        return value
    return dumps(value)


def values(raw: BinaryIO, fmt: Format, *, name: str) -> Iterator[Any]:
    """Yield the records of a JSON or NDJSON file, in file order; a line that is not JSON as Malformed.

    Of a document that is an array, the elements are yielded. A `.json` file with one record per line is read
    as NDJSON, and one document over many lines in an `.ndjson` file as a document.
    """
    lines = fmt is Format.NDJSON
    too_large = _size(raw) > readers.MAX_DOCUMENT
    if (lines or too_large) and _first_line_is_json(raw):
        yield from _lines(raw, name=name)
    elif not too_large and (document := _document(raw)) is not None:
        yield from document
    elif lines or (_first_line_is_json(raw) and _has_second_line(raw)):
        yield from _lines(raw, name=name)
    elif too_large:
        raise SourceError(f"{name}: a JSON document of over {readers.MAX_DOCUMENT} bytes; land it as NDJSON")
    else:
        readers.refuse_several(raw, name=name)
        raise SourceError(f"{name}: not readable as JSON; check it with a JSON parser")


def _document(raw: BinaryIO) -> list[Any] | None:
    """Return the records of one JSON document; None where the file is not one."""
    readers.skip_bom(raw)
    try:
        value = loads(raw.read())
    except ValueError:
        return None
    return value if isinstance(value, list) else [value]


def _lines(raw: BinaryIO, *, name: str) -> Iterator[Any]:
    """Yield one value per non-blank line; of a line that holds an array, its elements."""
    readers.skip_bom(raw)
    longest = readers.MAX_LINE
    for number, line in enumerate(_bounded(raw), start=1):
        if len(line) > longest:
            raise SourceError(f"{name}: line {number} is longer than {longest} bytes")
        try:
            value = loads(line)
        except ValueError:
            if not line.isspace():
                yield Malformed(line.rstrip(b"\r\n").decode())
            continue
        if type(value) is list:
            yield from value
        else:
            yield value


def _bounded(raw: BinaryIO) -> Iterator[bytes]:
    """Iterate over the lines, each read up to one byte past the limit."""
    return iter(partial(raw.readline, readers.MAX_LINE + 1), b"")


def _first_line_is_json(raw: BinaryIO) -> bool:
    readers.skip_bom(raw)
    for line in _bounded(raw):
        if not line.isspace():
            return readers.is_json(line)
    return False


def _has_second_line(raw: BinaryIO) -> bool:
    readers.skip_bom(raw)
    filled = (line for line in _bounded(raw) if not line.isspace())
    return next(filled, None) is not None and next(filled, None) is not None


def _size(raw: BinaryIO) -> int:
    raw.seek(0, 2)
    size = raw.tell()
    raw.seek(0)
    return size
