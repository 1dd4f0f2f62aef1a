"""From resources as text to columns: decoded once, built column by column.

Belongs here: the loop over resources. Does not: shapes (records.py), columns (fields.py, tables.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import polars as pl

from lakehouse.domains.clinical.datatypes import Concept
from lakehouse.domains.clinical.dates import moments
from lakehouse.domains.clinical.fields import Field
from lakehouse.domains.clinical.lists import TEXTS, series
from lakehouse.domains.clinical.modifiers import DELETED, GONE, extended, kept_out, may_be_extended
from lakehouse.domains.clinical.outcomes import ANSWERS, failure_of
from lakehouse.domains.clinical.records import AnyResource, Medication, Resource, concept_of
from lakehouse.domains.clinical.resources import DELETE, SHAPES, TYPE
from lakehouse.domains.clinical.taking import UNCODED, CodedParts, coded
from lakehouse.domains.clinical.values import doubled
from lakehouse.process import no_collection

T = TypeVar("T", bound=Resource)
_END = datetime(9999, 12, 31, tzinfo=UTC)
_MEDICATION = msgspec.json.Decoder(Medication)
_LINKS = msgspec.json.Decoder(dict[str, str])
_PART = "a part of the resource alone (tag SUBSETTED)"
# What msgspec says of a wrong type names the path alone; of a malformed text it may quote a character.
_PLACE = re.compile(r"byte (\d+)")
_FOREIGN = re.compile(r"Expected `null`, got `\w+`")  # records.py: it takes no value


@no_collection()
def table(name: str, raw: pl.DataFrame) -> pl.DataFrame:
    """Return one row per Bronze row: the columns of Silver `name`, and the helpers of its rules.

    `kept_out_by` names the elements that keep it out of Gold, `understood` whether these are the standard's.
    `doubled` names the elements that are stated in several types.
    `fault` says why a resource could not be read; then all that is read of it is null.
    """
    _, shape, fields = SHAPES[name]
    records, faults = decoded(raw, shape)
    links = [_LINKS.decode(text) if text else None for text in raw["links"]]
    judge = kept_out(name)
    texts = zip(records, _extended(raw), raw["entry_method"], strict=True)
    out = [([DELETED], True) if method == DELETE else judge(one, text or "") for one, text, method in texts]
    made = columns(fields, records, links)
    made["kept_out_by"] = series([names for names, _ in out], TEXTS)
    made["doubled"] = pl.Series(doubled(shape, records), dtype=pl.String)
    made["understood"] = pl.Series([understood for _, understood in out], dtype=pl.Boolean)
    gone = _deleted(raw)
    if gone.any():
        made |= {name: _said_gone(made[name], gone) for name in (one.asked for one in fields if one.required)}
    return _frame(raw, records, faults, made)


def _extended(raw: pl.DataFrame) -> pl.Series:
    """Return the resources that may have a modifierExtension, null for all others."""
    return raw.select(pl.when(may_be_extended(pl.col("resource"))).then("resource"))["resource"]


def _deleted(raw: pl.DataFrame) -> pl.Series:
    return (raw["entry_method"] == DELETE).fill_null(False)


def _said_gone(values: pl.Series, gone: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"value": values, "gone": gone})
    return frame.select(value=pl.when("gone").then(pl.lit(GONE)).otherwise("value"))["value"]


@no_collection()
def index(raw: pl.DataFrame) -> pl.DataFrame:
    """Return one row per row of `raw`: the columns and helpers of the index of all resources."""
    records, faults = decoded(raw, AnyResource)
    found = series([_identifiers(one.identifier) for one in records], TEXTS)
    made = {"resource_type": raw["resource_type"], "identifiers": found, **_medications(raw)}
    made["failed_with"] = _failures(raw)
    return _frame(raw, records, faults, made)


def _failures(raw: pl.DataFrame) -> pl.Series:
    """Return with which status an entry of an answer failed; null for all else (reading.py)."""
    of = pl.col(TYPE).is_null() & pl.col("bundle_type").is_in(ANSWERS)
    texts = raw.select(pl.when(of).then("resource"))["resource"]
    return pl.Series([failure_of(text) if text else None for text in texts], dtype=pl.String)


def _medications(raw: pl.DataFrame) -> dict[str, pl.Series]:
    """Return code, system and words of the medications; null for all else."""
    stated = (pl.col(TYPE) == "Medication") & pl.col("entry_method").ne_missing(DELETE)
    found: list[CodedParts] = []
    for text in raw.select(pl.when(stated).then("resource"))["resource"]:
        concept = None if text is None or extended(text) else _medication(text)
        found.append(coded(concept) if concept is not None else UNCODED)
    names = ("code", "code_system", "code_display")
    return {name: pl.Series([one[n] for one in found], dtype=pl.String) for n, name in enumerate(names)}


def _medication(text: str) -> Concept | None:
    try:
        return concept_of(_MEDICATION.decode(text))
    except (msgspec.MsgspecError, RecursionError):  # the index says by its rules why it is not readable
        return None


def decoded(raw: pl.DataFrame, shape: type[T]) -> tuple[list[T], list[str | None]]:
    """Return every resource as `shape`, an empty one where it cannot be, and the faults.

    Of a deletion there is no more than the id.
    """
    decode = msgspec.json.Decoder(shape).decode
    records: list[T] = []
    faults: list[str | None] = []
    for text, method, own in raw.select("resource", "entry_method", "resource_id").iter_rows():
        if method == DELETE:
            records.append(shape(id=own))
            faults.append(None)
            continue
        try:
            record = decode(text or "")
            part = _is_part(record)
            records.append(shape(id=record.id) if part else record)
            faults.append(_PART if part else None)
        except (msgspec.MsgspecError, RecursionError) as exc:
            records.append(shape())
            faults.append(fault(exc))
    return records, faults


def _is_part(record: Resource) -> bool:
    """Return whether a server has left out elements: by the tag it must not replace the whole resource.

    https://hl7.org/fhir/R4/search.html#summary
    """
    for one in (record.meta.tag if record.meta is not None else None) or ():
        if one is not None and one.code == "SUBSETTED":
            return True
    return False


def fault(exc: Exception) -> str:
    """Say what is wrong without a word of the content."""
    if isinstance(exc, msgspec.ValidationError):
        return _FOREIGN.sub("An element that FHIR R4 has not, of another version", str(exc))
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
    versions = pl.Series([one.meta.versionId if one.meta else None for one in records], dtype=pl.String)
    versions = _else(versions, raw["entry_version"])
    stamped = pl.Series([one.meta.lastUpdated if one.meta else None for one in records], dtype=pl.String)
    stamped = _else(stamped, raw["entry_modified"])
    deleted = _deleted(raw)
    pointers = ("cohort", "_source", "_fingerprint", "_row", "_batch_id")
    return pl.DataFrame(
        {
            "id": pl.Series([one.id for one in records], dtype=pl.String),
            **made,
            "is_deleted": deleted,
            "last_updated": _dated(moments(stamped)[0], stamped, deleted),
            "last_updated_text": stamped,
            "version_id": versions,
            "version_number": versions.str.extract(r"^(\d{1,18})$", 1).cast(pl.Int64),
            "fault": pl.Series(faults, dtype=pl.String),
            **{name: raw[name] for name in pointers},
        }
    )


def _else(first: pl.Series, second: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"first": first, "second": second})
    return frame.select(pl.coalesce("first", "second").alias("one"))["one"]


def _dated(at: pl.Series, text: pl.Series, deleted: pl.Series) -> pl.Series:
    """Return `at`; of a deletion that says no time the end of all time: it comes after every version."""
    frame = pl.DataFrame({"at": at, "text": text, "deleted": deleted})
    undated = pl.col("deleted") & pl.col("text").is_null()
    return frame.select(at=pl.when(undated).then(pl.lit(_END)).otherwise(pl.col("at")))["at"]


def _identifiers(value: Any) -> list[str]:
    given = value if isinstance(value, list) else [value]
    return [
        f"{one.get('system') or ''}|{one['value']}"
        for one in given
        if isinstance(one, dict) and isinstance(one.get("value"), str)
    ]
