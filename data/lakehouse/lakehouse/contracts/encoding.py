"""Values of types that have no plain text, as text: one that tells all of them apart, and one for JSON.

Belongs here: both encodings, of columns and of Python's values; sizes for people. Does not: who asks (content
hashes, quarantine, answers).

Polars writes no list or struct as CSV, no bytes as JSON, and decimals as JSON numbers, which most readers
take for floats.
"""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal

import orjson
import polars as pl

from lakehouse.contracts.types import ColumnType, ListType, StructType, Type, as_instance

_NULL = "~"


def needs_encoding(type_: ColumnType) -> bool:
    """Return whether values of the type have no plain text of their own."""
    return not isinstance(type_, Type) or type_ is Type.BINARY


def canonical(value: pl.Expr, type_: ColumnType) -> pl.Expr:
    """Return the one text of each value, null for null. Different values have different texts.

    A decimal has all digits of its scale, bytes are hexadecimal, a date or time is the number it is stored
    as. Each element of a list and each field of a struct, in their order, is its text after its length
    in bytes, as a netstring, or `~` for null: no text within can be taken for the end of it.
    """
    match type_:
        case ListType():
            joined = value.list.eval(_item(pl.element(), type_.element)).list.join("")
            return pl.when(value.is_not_null()).then(pl.format("[{}]", joined))
        case StructType():
            items = [_item(value.struct.field(field.name), field.type) for field in type_.fields]
            return pl.when(value.is_not_null()).then(pl.format("({})", pl.concat_str(items)))
        case Type.BINARY:
            return value.bin.encode("hex")
        case Type.DATE | Type.TIMESTAMP:
            return value.to_physical().cast(pl.String)
        case _:
            return value.cast(pl.String)


def _item(value: pl.Expr, type_: ColumnType) -> pl.Expr:
    text = canonical(value, type_)
    return pl.format("{}:{}", text.str.len_bytes(), text).fill_null(_NULL)


def json_ready(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return a value as Polars can encode it as JSON: decimals as text, bytes as text in base 64.

    Values of other types are as they were.
    """
    if not _has_no_json(dtype):
        return value
    if isinstance(dtype, pl.Decimal):
        return value.cast(pl.String)
    if isinstance(dtype, pl.List):
        return value.list.eval(json_ready(pl.element(), as_instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        parts = {f.name: as_instance(f.dtype) for f in dtype.fields}
        fields = [json_ready(value.struct.field(name), part).alias(name) for name, part in parts.items()]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value.bin.encode("base64")


def json_text(value: object) -> str:
    """Return a Python value of any column as JSON text, encoded in the same way."""
    return orjson.dumps(value, default=plain).decode()


def plain(value: object) -> str:
    """Return a decimal or bytes as the text that JSON has for them; of anything else its own."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def size_text(size: float) -> str:
    """Return a number of bytes in the unit that fits, of a thousand each."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _has_no_json(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _has_no_json(as_instance(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return any(_has_no_json(as_instance(field.dtype)) for field in dtype.fields)
    return isinstance(dtype, pl.Decimal | pl.Binary)
