"""From resources as text to columns: decoded once, built column by column.

Belongs here: the loop over resources. Does not: shapes (records.py), columns (fields.py, tables.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import orjson
import polars as pl

from lakehouse.domains.clinical.fields import Field, moments
from lakehouse.domains.clinical.records import AnyResource, Resource
from lakehouse.domains.clinical.tables import SHAPES

T = TypeVar("T", bound=Resource)
_LINKS = msgspec.json.Decoder(dict[str, str])
# What msgspec says of a wrong type names the path alone; of a malformed text it may quote a character.
_PLACE = re.compile(r"byte (\d+)")


def table(name: str, raw: pl.DataFrame) -> pl.DataFrame:
    """Return one row per Bronze row: the columns of Silver `name`, and the helpers of its rules.

    `fault` says why a resource could not be read; then all that is read of it is null.
    """
    _, shape, fields = SHAPES[name]
    records, faults = decoded(raw["resource"], shape)
    links = [_LINKS.decode(text) if text else None for text in raw["links"]]
    return _frame(raw, records, faults, columns(fields, records, links))


def index(raw: pl.DataFrame) -> pl.DataFrame:
    """Return one row per row of `raw`: the columns and helpers of the index of all resources."""
    records, faults = decoded(raw["resource"], AnyResource)
    found = pl.Series([_identifiers(one.identifier) for one in records], dtype=pl.String)
    return _frame(raw, records, faults, {"resource_type": raw["resource_type"], "identifiers": found})


def decoded(texts: pl.Series, shape: type[T]) -> tuple[list[T], list[str | None]]:
    """Return every text as `shape`, an empty one where it cannot be, and the faults."""
    decode = msgspec.json.Decoder(shape).decode
    records: list[T] = []
    faults: list[str | None] = []
    for text in texts:
        try:
            records.append(decode(text or ""))
            faults.append(None)
        except (msgspec.MsgspecError, RecursionError) as exc:
            records.append(shape())
            faults.append(fault(exc))
    return records, faults


def fault(exc: Exception) -> str:
    """Say what is wrong without a word of the content."""
    if isinstance(exc, msgspec.ValidationError):
        return str(exc)
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    place = _PLACE.search(str(exc))
    return f"no JSON (byte {place[1]})" if place else "no JSON"


def columns(
    fields: Sequence[Field], records: Sequence[Resource], links: Sequence[dict[str, str] | None]
) -> dict[str, pl.Series]:
    """Return the columns of all fields."""
    made: dict[str, pl.Series] = {}
    for field in fields:
        get = field.get
        made |= field.series([get(record) for record in records], links)
    return made


def _frame(
    raw: pl.DataFrame, records: Sequence[Resource], faults: list[str | None], made: dict[str, pl.Series]
) -> pl.DataFrame:
    versions = [one.meta.versionId if one.meta else None for one in records]
    stamped = pl.Series([one.meta.lastUpdated if one.meta else None for one in records], dtype=pl.String)
    pointers = ("cohort", "_source", "_fingerprint", "_row", "_batch_id")
    return pl.DataFrame(
        {
            "id": pl.Series([one.id for one in records], dtype=pl.String),
            **made,
            "last_updated": moments(stamped)[0],
            "last_updated_text": stamped,
            "version_id": pl.Series(versions, dtype=pl.String),
            "fault": pl.Series(faults, dtype=pl.String),
            **{name: raw[name] for name in pointers},
        }
    )


def _identifiers(value: Any) -> str | None:
    given = value if isinstance(value, list) else [value]
    found = [
        f"{one.get('system') or ''}|{one['value']}"
        for one in given
        if isinstance(one, dict) and isinstance(one.get("value"), str)
    ]
    return orjson.dumps(found).decode() if found else None
