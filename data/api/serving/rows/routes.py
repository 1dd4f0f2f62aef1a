"""`GET /data/{layer}/{table}` and `GET /catalog`.

Belongs here: the calls and their answers. Does not: reading (reader.py), describing (describe.py).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import orjson
import polars as pl
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from lakehouse.contracts import Contract
from lakehouse.store import Where
from serving.access import Caller, may
from serving.heads import is_bare
from serving.problems import Problem
from serving.reader import Pinned, Reader
from serving.rows import filters, formats
from serving.rows.describe import Describer, datasets

router = APIRouter(tags=["read"])
PAGE_ROWS = 100
MOST_ROWS = 10_000  # of a page
_MOST_PAGE_BYTES = 16 << 20
_RESERVED = {"columns", "order", "limit", "cursor", "version", "as_of", "format"}
_WITHHELD_HEADER, _VERSION_HEADER = "X-Withheld-Columns", "X-Version"
_LARGEST = 2**63 - 1
_MOST_LIMIT = 2**32 - 1  # Polars counts rows in 32 bits
Reads = Annotated[Caller, Depends(may("read"))]


@router.get("/catalog", summary="Every table, with rows, freshness and refused rows")
def catalog(request: Request, _: Reads) -> dict[str, Any]:
    """Tables in the order in which they are made, and the datasets that data can be sent to."""
    describer: Describer = request.app.state.describer
    return {"tables": describer.catalog(), "datasets": datasets()}


@router.get("/catalog/{layer}/{table}", summary="One table: contract, schema, lineage, checks, history")
def described(request: Request, layer: str, table: str, _: Reads) -> dict[str, Any]:
    """Everything the catalog knows of a table."""
    describer: Describer = request.app.state.describer
    reader: Reader = request.app.state.reader
    return describer.table(reader.contract(layer, table))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Which rows of which version."""

    pinned: Pinned
    columns: list[str]
    where: Where
    order: list[filters.Order]
    offset: int
    limit: int | None


_EXAMPLE = {
    "table": "gold/pipeline_metrics",
    "version": 3,
    "next": None,
    "rows": [{"pipeline": "orders", "runs": 7}],
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows, in the format that `Accept` or `format` names",
        "content": {"application/json": {"example": _EXAMPLE}}
        | {one.media_type.partition(";")[0]: {} for one in formats.FORMATS.values() if not one.paged},
    },
    304: {"description": "Nothing has changed since the version in `If-None-Match`"},
    412: {"description": "`If-Match` names a tag: those of rows are weak, and match none"},
}


@router.get("/data/{layer}/{table}", summary="Rows of a table", responses=ANSWERS, response_class=Response)
def rows(
    request: Request,
    layer: str,
    table: str,
    caller: Reads,
    columns: Annotated[
        str | None, Query(description="Comma-separated; default: all but personal ones")
    ] = None,
    order: Annotated[str | None, Query(description="Comma-separated; a minus sorts descending")] = None,
    limit: Annotated[
        int | None, Query(ge=0, le=_MOST_LIMIT, description="JSON: rows of a page (100)")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
    version: Annotated[int | None, Query(ge=0, le=_LARGEST, description="A version of the table")] = None,
    as_of: Annotated[str | None, Query(description="A time with an offset: the version of then")] = None,
    format: Annotated[str | None, Query(description=", ".join(formats.FORMATS))] = None,
) -> Response:
    """Filters are columns of the table: `status=failed`, `duration_ms.gte=1000`, `status.in=a,b`,
    `ended_at.null=true`.

    JSON comes in pages of one version, whatever is written meanwhile; other formats bring all rows.
    """
    reader: Reader = request.app.state.reader
    contract = reader.contract(layer, table)
    if twice := [name for name in sorted(_RESERVED) if len(request.query_params.getlist(name)) > 1]:
        raise Problem(422, f"{twice[0]} is given more than once")
    pii = caller.has("pii")
    if filters.may_quote(contract) and not pii:
        raise Problem(403, f"{contract} may quote personal data: it is for keys with the scope pii")
    form = formats.chosen(request.headers.getlist("accept"), format)
    question = _question(contract, columns, order, request)
    wanted = filters.chosen(contract, columns, pii=pii)
    sort = filters.ordered(contract, order, pii=pii)
    conditions = filters.where(contract, request.query_params.multi_items(), _RESERVED, pii=pii)
    if limit is not None and form.paged and limit > MOST_ROWS:
        raise Problem(422, f"a page has at most {MOST_ROWS} rows; take another format for more")
    pinned, offset = _pin(reader, contract, cursor, question, version, _moment(as_of))
    tag = pinned.tag(form.name, "pii" if pii else "")
    headers = {
        "ETag": f"W/{tag}", "Vary": "Accept, Authorization, Cookie",
        _VERSION_HEADER: str(pinned.version), "Cache-Control": "private, no-cache",
    }  # fmt: skip
    shown = filters.visible(contract, pii=pii)
    withheld = [name for name in contract.column_names if name not in shown] if columns is None else []
    if withheld:
        headers[_WITHHELD_HEADER] = ", ".join(withheld)
    _refuse_if_match(request.headers.getlist("if-match"), headers)
    if _matches(request.headers.getlist("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    if is_bare(request):
        return _bare(headers, form)
    most = PAGE_ROWS if form.paged and limit is None else limit
    asked = _Asked(pinned=pinned, columns=wanted, where=conditions, order=sort, offset=offset, limit=most)
    if form.paged:
        return _page(reader, asked, headers, question, withheld)
    return _stream(reader, asked, form, headers)


def _bare(headers: dict[str, str], form: formats.Format) -> Response:
    """Return the head of an answer without reading rows: how long it is would be known from them alone."""
    answer = Response(headers=headers, media_type=form.media_type)
    del answer.headers["content-length"]
    return answer


def _pin(
    reader: Reader,
    contract: Contract,
    cursor: str | None,
    question: str,
    version: int | None,
    as_of: datetime | None,
) -> tuple[Pinned, int]:
    """Return the version to read, and the row of it to begin at."""
    if sum(given is not None for given in (cursor, version, as_of)) > 1:
        raise Problem(422, "give one of `version`, `as_of` and `cursor`, which belongs to a version")
    if cursor is None:
        return reader.pin(contract, version=version, as_of=as_of), 0
    origin, version, offset = _opened(cursor, question)
    try:
        pinned = reader.pin(contract, version=version)
    except Problem as exc:
        # There was such a version: this is its cursor.
        raise Problem(410, exc.detail) if exc.status == 422 else exc from None
    if pinned.origin != origin:
        raise Problem(410, f"{contract} is another table by now; begin at the first page")
    return pinned, offset


def _page(
    reader: Reader, asked: _Asked, headers: dict[str, str], question: str, withheld: list[str]
) -> Response:
    pinned, limit = asked.pinned, asked.limit or 0
    shown = [pinned.contract.by_name[name] for name in asked.columns]
    with reader.reading(pinned):
        # One row more says whether there is another page.
        rows, taken, more = formats.page(_rows(reader, asked, limit + 1), shown, limit, _MOST_PAGE_BYTES)
    head: dict[str, Any] = {
        "table": pinned.contract.path,
        "version": pinned.version,
        "next": _sealed(pinned, asked.offset + taken, question) if more else None,
    }
    if withheld:
        head["withheld"] = withheld
    body = orjson.dumps(head)[:-1] + b',"rows":' + rows + b"}"
    return Response(body, headers=headers, media_type="application/json")


def _stream(reader: Reader, asked: _Asked, form: formats.Format, headers: dict[str, str]) -> Response:
    shown = [asked.pinned.contract.by_name[name] for name in asked.columns]
    pieces = _told(reader, asked.pinned, formats.stream(_rows(reader, asked, asked.limit), shown, form))
    first = next(pieces, b"")  # what fails, fails mostly here, where it can still be told
    return StreamingResponse(_again(first, pieces), headers=headers, media_type=form.media_type)


def _told(reader: Reader, pinned: Pinned, pieces: Iterator[formats.Piece]) -> Iterator[formats.Piece]:
    with reader.reading(pinned):
        yield from pieces


def _again(first: formats.Piece, pieces: Iterator[formats.Piece]) -> Iterator[formats.Piece]:
    if first:
        yield first
    yield from pieces


def _rows(reader: Reader, asked: _Asked, limit: int | None) -> pl.LazyFrame:
    found = reader.rows(asked.pinned)
    if asked.where:
        found = found.filter(asked.where.polars())
    if asked.order:
        # What is equal in these keeps the order of the version's files, so that pages do not overlap.
        found = found.sort(
            [one.column for one in asked.order], descending=[one.descending for one in asked.order],
            nulls_last=True, maintain_order=True,
        )  # fmt: skip
    if asked.offset or limit is not None:
        found = found.slice(asked.offset, limit)
    return found.select(asked.columns)


def _question(contract: Contract, columns: str | None, order: str | None, request: Request) -> str:
    """Return what tells one question from another, whatever its page."""
    rest = [(name, text) for name, text in request.query_params.multi_items() if name not in _RESERVED]
    return hashlib.sha256(repr((contract.path, columns, order, rest)).encode()).hexdigest()[:12]


def _sealed(pinned: Pinned, offset: int, question: str) -> str:
    return urlsafe_b64encode(orjson.dumps([pinned.origin, pinned.version, offset, question])).decode()


def _opened(cursor: str, question: str) -> tuple[str, int, int]:
    try:
        match orjson.loads(urlsafe_b64decode(cursor)):
            case [str(origin), int(version), int(offset), str(of)] if (
                of == question and 0 <= version <= _LARGEST and 0 <= offset < 2**62
            ):
                return origin, version, offset
    except (ValueError, NotBase64):
        pass
    raise Problem(
        422, "this cursor is not of this question: take `next` as it came, with the same parameters"
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = filters.moment(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Problem(422, "as_of is a time with an offset, as 2026-01-15T12:00:00Z")
    return found


def _refuse_if_match(given: list[str], headers: dict[str, str]) -> None:
    """Raise Problem 412 for If-Match with tags: it compares strongly, ours are weak (RFC 9110, 13.1.1)."""
    if given and [text.strip() for text in given] != ["*"]:
        says = (
            "tags of rows are weak, which If-Match never matches: ask with `version` for rows of one version"
        )
        raise Problem(412, says, headers=headers)


def _matches(headers: list[str], tag: str) -> bool:
    """Return whether If-None-Match names the tag, strong or weak (RFC 9110, 13.1.2). It has no comma."""
    given = [part.strip() for header in headers for part in header.split(",")]
    return given == ["*"] or tag in {part.removeprefix("W/") for part in given}
