"""From a landed FHIR file to Bronze rows: one per resource, its text untouched.

Belongs here: bundles of every type, single resources, bulk NDJSON, and what keeps a broken entry's place.
Does not: what a resource means (records.py, fields.py).

Nothing is dropped: an entry without a resource, a line that is no JSON, or what states no type become rows
without `resource_type`, which the index's rules send to quarantine. A file that is no FHIR at all is refused
whole, and stays in landing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import orjson
import polars as pl

from lakehouse.domains.clinical.contracts import RAW_FHIR_RESOURCES
from lakehouse.domains.clinical.decoding import fault
from lakehouse.errors import SourceError, UnknownShape
from lakehouse.landing import LandedFile
from lakehouse.landing.readers import MAX_DOCUMENT, MAX_LINE, Format, format_of, skip_bom, unpacked
from lakehouse.landing.source import payload_schema

CHUNK_ROWS = 20_000
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_URN = re.compile(rb'"reference"\s*:\s*"(urn:[^"\\]+)"')
_COHORT = re.compile(r"(?:cohort=)?([^/]+)")
_NO = msgspec.Raw(b"")
_MALFORMED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class _Head(msgspec.Struct):
    resourceType: Any = None
    id: Any = None
    type: Any = None


class _Bundle(msgspec.Struct):
    type: str | None = None
    entry: list[msgspec.Raw] | None = None


class _Entry(msgspec.Struct):
    fullUrl: str | None = None
    resource: msgspec.Raw = _NO


_HEAD = msgspec.json.Decoder(_Head)
_BUNDLE = msgspec.json.Decoder(_Bundle)
_ENTRY = msgspec.json.Decoder(_Entry)
Row = tuple[str | None, str | None, str | None, str | None, str | None]  # type, id, bundle type, links, text


def read(file: LandedFile) -> Iterator[pl.DataFrame]:
    """Yield the file's resources. Raises UnknownShape, SourceError, StorageUnavailable."""
    cohort = cohort_of(file.name)
    given = False
    rows: list[Row] = []
    with unpacked(file) as raw:
        for row in _rows(raw, file.name):
            rows.append(row)
            if len(rows) == CHUNK_ROWS:
                yield _frame(rows, cohort)
                rows, given = [], True
    if rows or not given:
        yield _frame(rows, cohort)


def cohort_of(name: str) -> str:
    """Return the cohort of a landed name, `clinical/<cohort>/…`; `cohort=A` is A."""
    parts = name.split("/")
    found = _COHORT.fullmatch(parts[1]) if len(parts) > 2 else None
    if found is None:
        raise SourceError("a clinical file lies in no cohort's folder; move it to clinical/<cohort>/")
    return found[1]


def _rows(raw: BinaryIO, name: str) -> Iterator[Row]:
    fmt = format_of(name, raw)
    if fmt not in (Format.JSON, Format.NDJSON):
        raise UnknownShape(f"{fmt}: this source knows FHIR R4 as JSON bundles and bulk NDJSON")
    skip_bom(raw)
    if fmt is Format.NDJSON:
        yield from _lines(raw)
        return
    text = raw.read(MAX_DOCUMENT + 1)
    if len(text) > MAX_DOCUMENT:
        raise SourceError(f"one JSON document of more than {MAX_DOCUMENT} bytes; export NDJSON instead")
    try:
        head = _HEAD.decode(text)
    except _MALFORMED as exc:
        raise SourceError(f"not readable as FHIR: {fault(exc)}") from None
    if not isinstance(head.resourceType, str):
        raise UnknownShape(
            "a JSON object without a resourceType; this source knows FHIR R4 bundles, single resources and "
            "bulk NDJSON"
        )
    yield from _document(text, head)


def _lines(raw: BinaryIO) -> Iterator[Row]:
    while line := raw.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise SourceError(f"a line of more than {MAX_LINE} bytes")
        text = line.strip()
        if text:
            yield from _document(text, _head(text))


def _head(text: bytes | msgspec.Raw) -> _Head | None:
    try:
        return _HEAD.decode(text)
    except _MALFORMED:
        return None


def _document(text: bytes, head: _Head | None) -> Iterator[Row]:
    if head is not None and head.resourceType == "Bundle":
        yield from _entries(text)
    else:
        yield _row(text, head, None, None)


def _entries(text: bytes) -> Iterator[Row]:
    try:
        bundle = _BUNDLE.decode(text)
    except _MALFORMED:
        yield _row(text, None, None, None)  # its `entry` is no list
        return
    entries = [_entry(one) for one in bundle.entry or ()]
    meant = _meant(entries)
    for place, (_, resource, head) in enumerate(entries):
        if head is None:
            yield _row(bytes(bundle.entry[place] if bundle.entry else b""), None, bundle.type, None)
            continue
        if head.resourceType == "Bundle":  # one that answers within a batch, or a page within a message
            yield from _entries(resource)
            continue
        links = _links(resource, meant) if meant else None
        yield _row(resource, head, bundle.type, links)


def _entry(raw: msgspec.Raw) -> tuple[str | None, bytes, _Head | None]:
    """Return full URL, resource and its head; no head for an entry without a resource that is an object."""
    try:
        entry = _ENTRY.decode(raw)
    except _MALFORMED:
        return None, b"", None
    resource = bytes(entry.resource)
    return entry.fullUrl, resource, _head(resource) if resource else None


def _meant(entries: list[tuple[str | None, bytes, _Head | None]]) -> dict[str, str]:
    """Return what `urn:` addresses mean where the resource's id does not say so by itself."""
    found = {}
    for url, _, head in entries:
        own = head.id if head is not None and isinstance(head.id, str) else None
        if url and own and url.startswith("urn:") and url.rsplit(":", 1)[1] != own:
            found[url] = own
    return found


def _links(resource: bytes, meant: dict[str, str]) -> str | None:
    used = {url: meant[url] for one in _URN.findall(resource) if (url := one.decode()) in meant}
    return orjson.dumps(used).decode() if used else None


def _row(text: bytes, head: _Head | None, bundle: str | None, links: str | None) -> Row:
    kind = head.resourceType if head else None
    known = kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else None
    id_ = head.id if head and isinstance(head.id, str) else None
    return known, id_, bundle, links, text.decode()


def _frame(rows: list[Row], cohort: str) -> pl.DataFrame:
    schema = payload_schema(RAW_FHIR_RESOURCES)
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds, ids, bundles, links, texts = (pl.Series(values, dtype=pl.String) for values in columns)
    made = {
        "cohort": pl.repeat(cohort, len(rows), eager=True, dtype=pl.String),
        "resource_type": kinds,
        "resource_id": ids,
        "bundle_type": bundles,
        "links": links,
        "resource": texts,
    }
    return pl.DataFrame(made, schema=schema)
