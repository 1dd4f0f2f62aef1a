"""From a landed FHIR file to Bronze rows: one per resource, its text untouched.

Belongs here: bundles of every type, single resources, bulk NDJSON, and what keeps a broken entry's place.
Does not: what a resource means (records.py, fields.py).

Nothing is dropped: an entry without a resource, or that a modifierExtension of its own, its request or its
response, or its bundle's implicitRules may change, one of an answer that says it failed, a line that is no
JSON, or what states no type become rows without `resource_type`, which the index's rules send to quarantine.
A file that is no FHIR at all is refused whole, and stays in landing.

A bundle's entry tells more than its resource: when it changed, which version it is, and in a history bundle
that it was deleted. A deletion in a transaction asks a server for it, and does not tell that it was done,
whatever stands beside it, and a patch is no resource; but as a line of a bulk export, of such deletions alone
and with the bundle's time, it tells of what is gone:
https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---complete-status.
Of a history, newest first by the standard, the rows come oldest first; an entry there that tells no time
takes that of the version before it, so that it comes after that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec
import orjson
import polars as pl

from lakehouse.domains.clinical.contracts import DELETE, RAW_FHIR_RESOURCES, TYPE
from lakehouse.domains.clinical.decoding import fault
from lakehouse.domains.clinical.links import ADDRESS, ELSEWHERE, address
from lakehouse.domains.clinical.modifiers import extended
from lakehouse.domains.clinical.outcomes import failure, is_answer
from lakehouse.errors import SourceError, UnknownShape
from lakehouse.landing import LandedFile
from lakehouse.landing.readers import (
    MAX_DOCUMENT,
    MAX_LINE,
    Format,
    format_of,
    refuse_several,
    skip_bom,
    unpacked,
)
from lakehouse.landing.source import payload_schema

CHUNK_ROWS = 20_000
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_REFERENCE = re.compile(rb'"reference"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")')
_SERVER = re.compile(rf"(https?://.*){ADDRESS.replace('(?:^|/)', '/')}")
_COHORT = re.compile(r"(?:cohort=)?([^/]+)")
PATCH = "PATCH"
_NO = msgspec.Raw(b"")
_MALFORMED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class _Head(msgspec.Struct):
    resourceType: Any = None
    id: Any = None
    type: Any = None


class _Stamped(msgspec.Struct):
    meta: Any = None


class _Bundle(msgspec.Struct):
    type: str | None = None
    meta: Any = None
    timestamp: Any = None
    implicitRules: Any = None
    implicitRules_: Any = msgspec.field(default=None, name="_implicitRules")
    entry: list[msgspec.Raw] | None = None


class _Entry(msgspec.Struct):
    fullUrl: str | None = None
    modifierExtension: Any = None
    resource: msgspec.Raw = _NO
    request: msgspec.Raw = _NO
    response: msgspec.Raw = _NO


class _Plain(msgspec.Struct):
    """A bundle of the common kind, read at once: each entry is an object, as `_Entry` has it."""

    resourceType: Any = None
    type: str | None = None
    implicitRules: Any = None
    implicitRules_: Any = msgspec.field(default=None, name="_implicitRules")
    entry: list[_Entry] | None = None


@dataclass(kw_only=True)
class _Told:
    """One entry: its resource (else the entry itself), and what the bundle says of it."""

    url: str | None = None
    text: bytes
    head: _Head | None = None
    method: str | None = None
    modified: str | None = None
    version: str | None = None

    @property
    def deleted(self) -> bool:
        return self.method == DELETE


_HEAD = msgspec.json.Decoder(_Head)
_BUNDLE = msgspec.json.Decoder(_Bundle)
_PLAIN = msgspec.json.Decoder(_Plain)
_ENTRY = msgspec.json.Decoder(_Entry)
_ANY = msgspec.json.Decoder()
_META = msgspec.json.Decoder(_Stamped)
_NO_PATIENT = ("Group", "Device", "Location")  # what a subject may be besides, of the same id too
_ETAG = re.compile(r'(?:W/)?"?([A-Za-z0-9\-.]{1,64})"?')
_COLUMNS = (
    TYPE, "resource_id", "bundle_type", "links", "resource",
    "entry_method", "entry_modified", "entry_version",
)  # fmt: skip
Row = tuple[str | None, ...]  # _COLUMNS


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
    if (entries := _plain_entries(text)) is not None:
        yield from entries
        return
    try:
        head = _HEAD.decode(text)
    except _MALFORMED as exc:
        refuse_several(raw, name=name)
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
            yield from _document(text, _head(text), is_line=True)


def _head(text: bytes | msgspec.Raw) -> _Head | None:
    try:
        return _HEAD.decode(text)
    except _MALFORMED:
        return None


def _document(text: bytes, head: _Head | None, *, is_line: bool = False) -> Iterator[Row]:
    if head is not None and head.resourceType == "Bundle":
        yield from _entries(text, is_line=is_line)
    else:
        yield _row(text, head, None, None)


def _plain_entries(text: bytes) -> list[Row] | None:
    """Return the rows of a bundle whose entries all have a resource; None for any other document.

    Two passes over the text instead of four. Such a bundle is no history, and nothing in it keeps its entry.
    """
    try:
        bundle = _PLAIN.decode(text)
    except _MALFORMED:
        return None
    if bundle.resourceType != "Bundle" or bundle.type == "history" or _is_ruled(bundle):
        return None
    entries = []
    for entry in bundle.entry or ():
        told = _told(entry)
        if _is_modified(entry) or told.head is None or told.head.resourceType == "Bundle":
            return None
        if _asks(entry) or (is_answer(bundle.type) and _failed(entry)):
            return None
        entries.append(told)
    meant, servers = _meant(entries), _servers(entries)
    return [_row(one.text, one.head, bundle.type, _links(one.text, meant, servers), one) for one in entries]


def _entries(text: bytes, *, is_line: bool = False) -> Iterator[Row]:
    try:
        bundle = _BUNDLE.decode(text)
    except _MALFORMED:
        yield _row(text, None, None, None)  # its `entry` is no list
        return
    history = bundle.type == "history"
    if _is_ruled(bundle):
        yield from (_row(bytes(one), None, bundle.type, None) for one in bundle.entry or ())
        return
    time = _text_of(bundle.meta, "lastUpdated") or _plain(bundle.timestamp)
    gone = is_line and time is not None and bundle.type == "transaction" and _tells_deletions(bundle)
    answer = is_answer(bundle.type)
    entries = [_entry(one, history=history or gone, answer=answer) for one in bundle.entry or ()]
    if history or gone:
        entries.reverse()
        _date_the_undated(entries, time)
    meant, servers = _meant(entries), _servers(entries)
    for one in entries:
        if one.head is not None and one.head.resourceType == "Bundle":
            yield from _entries(one.text)  # one that answers within a batch, or a page within a message
            continue
        links = _links(one.text, meant, servers) if one.head and not one.deleted else None
        yield _row(one.text, one.head, bundle.type, links, one)


def _entry(raw: msgspec.Raw, *, history: bool, answer: bool) -> _Told:
    """Return an entry; without a head where it tells of no deletion and has no resource that is an object."""
    try:
        entry = _ENTRY.decode(raw)
    except _MALFORMED:
        return _Told(text=bytes(raw))
    if _is_modified(entry) or (answer and _failed(entry)):
        return _Told(text=bytes(raw))
    told = _told(entry)
    if not history and _asks(entry):
        return _Told(text=bytes(raw))
    if history and (request := bytes(entry.request)):
        said = _ANY.decode(request)
        told.method = _text_of(said, "method")
        if told.deleted:
            kind, own = address(_text_of(said, "url") or entry.fullUrl)
            told.head = _Head(resourceType=kind, id=own) if kind else None
    if told.deleted or told.head is None:
        told.text = bytes(raw)
    return told


def _is_ruled(bundle: _Bundle | _Plain) -> bool:
    """Return whether rules may change a bundle, also such as are not told."""
    return bundle.implicitRules is not None or bool(bundle.implicitRules_)


def _is_modified(entry: _Entry) -> bool:
    """Return whether an extension may change an entry, its request or its response."""
    if entry.modifierExtension:
        return True
    beside = (bytes(entry.request), bytes(entry.response))
    return any(b"modifierE" in one and extended(one.decode()) for one in beside)


def _failed(entry: _Entry) -> bool:
    """Return whether an answer says that its request was not done: what stands beside it is not stored."""
    response = bytes(entry.response)
    return bool(response) and failure(_ANY.decode(response)) is not None


def _asks(entry: _Entry) -> bool:
    """Return whether an entry asks for a deletion, or has a patch: neither has a resource as it is."""
    return _asked(entry) in (DELETE, PATCH)


def _asked(entry: _Entry) -> str | None:
    request = bytes(entry.request)
    is_other = b"DELETE" in request or b"PATCH" in request
    return _text_of(_ANY.decode(request), "method") if is_other else None


def _tells_deletions(bundle: _Bundle) -> bool:
    """Return whether a bundle has deletions alone, and no resource."""
    try:
        entries = [_ENTRY.decode(one) for one in bundle.entry or ()]
    except _MALFORMED:
        return False
    return bool(entries) and all(_asked(one) == DELETE and not bytes(one.resource) for one in entries)


def _told(entry: _Entry) -> _Told:
    """Return what an entry tells by its resource and its response."""
    resource = bytes(entry.resource)
    told = _Told(url=entry.fullUrl, text=resource, head=_head(resource) if resource else None)
    if response := bytes(entry.response):
        said = _ANY.decode(response)
        told.modified = _text_of(said, "lastModified")
        etag = _ETAG.fullmatch(_text_of(said, "etag") or "")
        told.version = etag[1] if etag else None
    return told


def _date_the_undated(entries: Sequence[_Told], by_bundle: str | None) -> None:
    """Give an entry of a history without time or version those of the version before it; oldest first.

    A deletion that none before it dates has the time of the version after it, else of its bundle.
    """
    versions: dict[tuple[str, str], list[_Told]] = {}
    for one in entries:
        if one.head is not None and isinstance(one.head.id, str) and isinstance(one.head.resourceType, str):
            versions.setdefault((one.head.resourceType, one.head.id), []).append(one)
    for of_one in versions.values():
        _date(of_one, by_bundle)


def _date(versions: Sequence[_Told], by_bundle: str | None) -> None:
    stated = [_stated(one) for one in versions]
    before: tuple[str | None, str | None] = (None, None)
    for number, (one, (time, version)) in enumerate(zip(versions, stated, strict=True), 1):
        if time is None:
            one.modified = time = before[0]
        if time is None and one.deleted:
            later = stated[number:]
            one.modified = time = next((at for at, _ in later if at), by_bundle)
            if time is None and later:  # it came before these, and undated it would count as the last of all
                one.head = one.method = None
                continue
        if number > 1 and version is None and time == before[0]:
            one.version = version = before[1]
        before = time, version


def _stated(one: _Told) -> tuple[str | None, str | None]:
    """Return time and version of an entry."""
    own = None if one.deleted else _meta(one.text)
    return _text_of(own, "lastUpdated") or one.modified, _text_of(own, "versionId") or one.version


def _meta(text: bytes) -> Any:
    try:
        return _META.decode(text).meta
    except _MALFORMED:
        return None


def _plain(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _text_of(value: Any, name: str) -> str | None:
    return _plain(value.get(name)) if isinstance(value, dict) else None


def _meant(entries: Sequence[_Told]) -> dict[str, str]:
    """Return what full URLs mean where they do not say so by themselves: `Type/id`, or an id alone."""
    found = {}
    for one in entries:
        own = one.head.id if one.head is not None and isinstance(one.head.id, str) else None
        if one.url and own:
            known = _type(one.head.resourceType if one.head else None)
            is_own = one.url == f"urn:uuid:{own}" and own.isprintable()  # as nearly all are
            said = (None, own) if is_own else address(one.url)
            if said[1] != own or (said[0] != known and (said[0] or known in _NO_PATIENT)):
                found[one.url] = f"{known}/{own}" if known else own
    return found


def _servers(entries: Sequence[_Told]) -> frozenset[str]:
    """Return the addresses of the servers that the bundle's full URLs are of."""
    found = (_SERVER.match(one.url) for one in entries if one.url)
    return frozenset(one[1] for one in found if one)


def _links(resource: bytes, meant: dict[str, str], servers: frozenset[str]) -> str | None:
    """Return what references mean, where they do not say so by themselves; nothing for other servers'."""
    if not meant and not (servers and b'"http' in resource):
        return None
    used = {}
    for url in map(_plain_text, _REFERENCE.findall(resource)):
        if url in meant:
            used[url] = meant[url]
        elif servers and (at := _SERVER.match(url)) and at[1] not in servers:
            used[url] = ELSEWHERE
    return orjson.dumps(used).decode() if used else None


def _plain_text(quoted: bytes) -> str:
    return str(_ANY.decode(quoted)) if b"\\" in quoted else quoted[1:-1].decode()


def _type(kind: Any) -> str | None:
    """Return what could be a resource's type; None for what is none."""
    return kind if isinstance(kind, str) and _is_type(kind) else None


@lru_cache(maxsize=512)
def _is_type(kind: str) -> bool:
    return _TYPE.fullmatch(kind) is not None


def _row(
    text: bytes, head: _Head | None, bundle: str | None, links: str | None, told: _Told | None = None
) -> Row:
    known = _type(head.resourceType) if head else None
    id_ = head.id if head and isinstance(head.id, str) else None
    said = (told.method, told.modified, told.version) if told else (None, None, None)
    return known, id_, bundle, links, text.decode(), *said


def _frame(rows: list[Row], cohort: str) -> pl.DataFrame:
    schema = payload_schema(RAW_FHIR_RESOURCES)
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    made = {name: pl.Series(values, dtype=pl.String) for name, values in zip(_COLUMNS, columns, strict=True)}
    made["cohort"] = pl.repeat(cohort, len(rows), eager=True, dtype=pl.String)
    return pl.DataFrame({name: made[name] for name in schema}, schema=schema)
