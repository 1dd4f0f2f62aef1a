"""What FHIR's types are in a frame and in a table.

Belongs here: names of types, and turning one value into what its column holds. Does not: rows (rows.py).

| FHIR type, or tag `ansi/type` | column |
|---|---|
| boolean; BOOLEAN | boolean |
| integer, positiveInt, unsignedInt, integer64; SMALLINT, INTEGER, BIGINT | whole number, 64 bits |
| decimal; DECIMAL, NUMERIC, REAL, FLOAT, DOUBLE PRECISION | float |
| DATE (a tag alone: a FHIR date may be a year) | date; the value must be a whole date |
| TIMESTAMP, with or without time zone | UTC time; the value must have a zone |
| every other primitive; CHARACTER, VARCHAR, TEXT, TIME … | text, as FHIR writes it |
| a type with parts (Coding, Observation.component …) | text: JSON |
| `collection` | list of these |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from lakehouse.contracts.model import Type
from lakehouse.domains.clinical.views.values import Quantity, Temporal, kind_of, number, shown, temporal
from lakehouse.errors import ViewError

_INTEGERS = {"integer", "integer64", "positiveInt", "unsignedInt"}
_TEXTS = {
    "base64Binary", "canonical", "code", "date", "dateTime", "id", "instant", "markdown", "oid", "string",
    "time",
    "uri", "url", "uuid", "xhtml",
}  # fmt: skip
PRIMITIVES = {"boolean", "decimal"} | _INTEGERS | _TEXTS
_PREFIXES = (
    "http://hl7.org/fhir/StructureDefinition/",
    "http://hl7.org/fhirpath/System.",
    "System.",
    "FHIR.",
)
_ANSI = {
    "BOOLEAN": Type.BOOL, "SMALLINT": Type.INT64, "INT": Type.INT64, "INTEGER": Type.INT64,
    "BIGINT": Type.INT64,
    "DECIMAL": Type.FLOAT64, "DEC": Type.FLOAT64, "NUMERIC": Type.FLOAT64, "REAL": Type.FLOAT64,
    "FLOAT": Type.FLOAT64, "DOUBLE PRECISION": Type.FLOAT64, "DOUBLE": Type.FLOAT64, "DATE": Type.DATE,
    "TIMESTAMP": Type.TIMESTAMP, "TIMESTAMP WITH TIME ZONE": Type.TIMESTAMP,
    "TIMESTAMP WITHOUT TIME ZONE": Type.TIMESTAMP, "TIME": Type.STRING, "CHARACTER": Type.STRING,
    "CHAR": Type.STRING, "CHARACTER VARYING": Type.STRING, "VARCHAR": Type.STRING, "TEXT": Type.STRING,
    "CLOB": Type.STRING, "CHARACTER LARGE OBJECT": Type.STRING, "NATIONAL CHARACTER VARYING": Type.STRING,
}  # fmt: skip
_SIZE = re.compile(r"\s*\([^)]*\)")
_COMPLEX = re.compile(r"[A-Z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*")
_BITS = {"SMALLINT": 16, "INT": 32, "INTEGER": 32}
_AS_JSON = msgspec.json.Encoder(decimal_format="number")
_MISSING = object()


def named(uri: object) -> str:
    """Return the plain name of a column's type. Raises ViewError for what is none."""
    if not isinstance(uri, str):
        raise ViewError("a column's type is a text: the name or the URI of a FHIR type")
    name = uri
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if name != uri and name[:1].isupper() and (name[0].lower() + name[1:]) in PRIMITIVES:
        name = name[0].lower() + name[1:]  # System.String
    if name in PRIMITIVES or _COMPLEX.fullmatch(name):
        return name
    raise ViewError(f"{uri!r} is no FHIR type; primitives are {', '.join(sorted(PRIMITIVES))}")


def ansi(tag: str) -> tuple[Type, int]:
    """Return a column's type and the bits of whole numbers by its tag `ansi/type`. Raises ViewError."""
    name = " ".join(_SIZE.sub("", tag).upper().split())
    if name not in _ANSI:
        raise ViewError(f"ansi/type {tag!r} is not known; there are {', '.join(_ANSI)}")
    return _ANSI[name], _BITS.get(name, 64)


def column_type(fhir: str | None) -> Type:
    """Return the type of a column that holds one value of a FHIR type; text where none is stated."""
    if fhir == "boolean":
        return Type.BOOL
    if fhir in _INTEGERS:
        return Type.INT64
    return Type.FLOAT64 if fhir == "decimal" else Type.STRING


def is_complex(fhir: str | None) -> bool:
    """Return whether a FHIR type has parts."""
    return fhir is not None and fhir not in PRIMITIVES


def inferred(values: list[Any]) -> str:
    """Return the FHIR type of values whose column states none. Raises ViewError for several, or parts."""
    kinds = {kind_of(value) for value in values if value is not None}
    kinds = {"string" if kind in ("date", "dateTime", "time") else kind for kind in kinds}
    if kinds & {"an element with parts", "Quantity"}:
        raise ViewError("its values have parts; such a column needs its `type`")
    if kinds == {"integer", "decimal"}:
        return "decimal"
    if len(kinds) > 1:
        raise ViewError(f"its values are of several types: {', '.join(sorted(kinds))}")
    return kinds.pop() if kinds else "string"


def converter(fhir: str | None, target: Type, bits: int) -> Callable[[Any], Any]:
    """Return what turns a value into what the column holds. It raises ViewError for one that does not fit."""

    def convert(value: Any) -> Any:
        made = _checked(fhir, value)
        if made is not _MISSING and (made := _INTO[target](made, bits)) is not _MISSING:
            return made
        wanted = fhir if made is _MISSING and fhir else target
        raise ViewError(f"{kind_of(value)} is no {wanted}, or none that the column can hold")

    return convert


def is_plain_text(fhir: str | None, kinds: set[type]) -> bool:
    """Return whether values of these kinds need no turning into a text column of a FHIR type."""
    return kinds <= {str, type(None)} and (fhir is None or fhir in _TEXTS)


def _checked(fhir: str | None, value: Any) -> Any:
    """Return the value where it is one of the stated type, else a mark."""
    if fhir is None:
        return _MISSING if isinstance(value, dict | list) else value
    if is_complex(fhir):
        return value if isinstance(value, dict | Quantity) else _MISSING
    if fhir == "boolean":
        return value if type(value) is bool else _MISSING
    if fhir in _INTEGERS:
        return _integer(value, fhir)
    if fhir == "decimal":
        return value if number(value) is not None else _MISSING
    return value if isinstance(value, str | Temporal) else _MISSING


def _integer(value: Any, fhir: str) -> Any:
    if fhir == "integer64" and isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value):
        value = int(value)  # JSON has it as text
    if (whole := _whole(value, 64)) is _MISSING:
        return _MISSING
    return _MISSING if whole < {"positiveInt": 1, "unsignedInt": 0}.get(fhir, whole) else whole


def _text(value: Any, _: int) -> Any:
    if isinstance(value, dict | list):
        return _AS_JSON.encode(value).decode()
    return shown(value)


def _bool(value: Any, _: int) -> Any:
    return value if type(value) is bool else _MISSING


def _whole(value: Any, bits: int) -> Any:
    stated = number(value)
    if stated is None or not -(2 ** (bits - 1)) <= stated < 2 ** (bits - 1) or stated % 1:
        return _MISSING
    return int(stated)


def _float(value: Any, _: int) -> Any:
    stated = number(value)
    try:
        made = float(stated) if stated is not None else None
    except OverflowError:
        return _MISSING
    return _MISSING if made is None or made in (float("inf"), float("-inf")) or made != made else made


def _moment(value: Any) -> Temporal | None:
    return temporal(value) if isinstance(value, str) else value if isinstance(value, Temporal) else None


def _date(value: Any, _: int) -> Any:
    moment = _moment(value)
    return date(*moment.parts) if moment and moment.kind != "time" and len(moment.parts) == 3 else _MISSING


def _timestamp(value: Any, _: int) -> Any:
    moment = _moment(value)
    if moment is None or moment.zone is None or len(moment.parts) < 5:
        return _MISSING
    try:
        return datetime.fromisoformat(moment.text).astimezone(UTC)
    except (ValueError, OverflowError):
        return _MISSING


_INTO: dict[Type, Callable[[Any, int], Any]] = {
    Type.STRING: _text, Type.BOOL: _bool, Type.INT64: _whole, Type.FLOAT64: _float, Type.DATE: _date,
    Type.TIMESTAMP: _timestamp,
}  # fmt: skip


def exact(text: str | bytes) -> Any:
    """Return JSON with its numbers as they are written. Raises msgspec's errors.

    A number beyond what a float holds stays text, so that it is none wherever one is asked for.
    """
    return _EXACT.decode(text)


def _decimal(text: str) -> Any:
    made = Decimal(text)
    return made if not made or abs(made.adjusted()) <= _LARGEST_EXPONENT else text


_LARGEST_EXPONENT = 307
_EXACT = msgspec.json.Decoder(float_hook=_decimal)
