"""The calls of the Delta Sharing protocol.

Belongs here: parameters, and which version an answer is about. Does not: the lines of an answer (actions.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Match

from lakehouse.contracts import Contract
from serving.access import Caller, may
from serving.problems import Problem
from serving.reader import Reader
from serving.sharing import hints, shares
from serving.sharing.actions import HEADER, Answer, Format, chosen
from serving.sharing.errors import MALFORMED, UNSUPPORTED, SharingRoute
from serving.sharing.shares import SHARE, Page
from serving.sharing.urls import Links

router = APIRouter(prefix="/delta-sharing", tags=["delta sharing"], route_class=SharingRoute)
VERSION_HEADER = "Delta-Table-Version"
_LARGEST_BODY = 1 << 20
_LINES_AT_ONCE = 500  # each piece of an answer is made in a thread
_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_NDJSON = "application/x-ndjson; charset=utf-8"
_TABLE = "/shares/{share}/schemas/{schema}/tables/{table}"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": what,
        "content": {"application/json": {"example": {"errorCode": code, "message": "…"}}},
    }
    for status, code, what in (
        (400, "INVALID_PARAMETER_VALUE", "The request is malformed"),
        (401, "UNAUTHENTICATED", "No valid key"),
        (403, "PERMISSION_DENIED", "The key may not have this"),
        (404, "RESOURCE_DOES_NOT_EXIST", "There is no such thing"),
    )
}  # fmt: skip
_LINES = _ERRORS | {
    200: {"description": "One JSON object in each line", "content": {_NDJSON.partition(";")[0]: {}}}
}
Shares = Annotated[Caller, Depends(may("share"))]


def _paged(
    most: Annotated[
        int | None, Query(alias="maxResults", ge=0, le=_INT32, description="Items of a page (500)")
    ] = None,
    token: Annotated[
        str | None,
        Query(alias="pageToken", max_length=1000, description="`nextPageToken` of the page before"),
    ] = None,
) -> Page:
    return Page(most=most, token=token)


Paged = Annotated[Page, Depends(_paged)]


@router.get("/shares", summary="The shares", responses=_ERRORS)
def list_shares(_: Shares, page: Paged) -> dict[str, Any]:
    """There is one."""
    return page.of("shares", [(SHARE, {"name": SHARE})])


@router.get("/shares/{share}", summary="One share", responses=_ERRORS)
def get_share(_: Shares, share: str) -> dict[str, Any]:
    """Its name."""
    shares.check_share(share)
    return {"share": {"name": SHARE}}


@router.get("/shares/{share}/schemas", summary="The schemas of a share", responses=_ERRORS)
def list_schemas(_: Shares, share: str, page: Paged) -> dict[str, Any]:
    """Each layer is a schema."""
    shares.check_share(share)
    return page.of("schemas", [(name, {"name": name, "share": SHARE}) for name in shares.LAYERS])


@router.get("/shares/{share}/schemas/{schema}/tables", summary="The tables of a schema", responses=_ERRORS)
def list_tables(request: Request, caller: Shares, share: str, schema: str, page: Paged) -> dict[str, Any]:
    """Those that are written, and that the key may have."""
    layer = shares.schema_of(share, schema)
    found = shares.tables_for(caller, _reader(request).written(), layer)
    return page.of(f"tables/{layer}", [shares.described(table) for table in found])


@router.get("/shares/{share}/all-tables", summary="All tables of a share", responses=_ERRORS)
def list_all_tables(request: Request, caller: Shares, share: str, page: Paged) -> dict[str, Any]:
    """Those that are written, and that the key may have."""
    shares.check_share(share)
    found = shares.tables_for(caller, _reader(request).written())
    return page.of("all-tables", [shares.described(table) for table in found])


@router.head(_TABLE, include_in_schema=False)
@router.head(f"{_TABLE}/version", include_in_schema=False)
@router.get(f"{_TABLE}/version", summary="A table's version", responses=_ERRORS, response_class=Response)
def version(
    request: Request,
    caller: Shares,
    share: str,
    schema: str,
    table: str,
    since: Annotated[
        str | None,
        Query(
            alias="startingTimestamp", description="The oldest version from then on, as 2026-01-15T12:00:00Z"
        ),
    ] = None,
) -> Response:
    """In the header `Delta-Table-Version`; the body is empty."""
    contract = shares.table_of(share, schema, table, caller)
    found = _reader(request).pin(contract).version
    if since is not None:
        moment = _moment(since, "startingTimestamp")
        later = [one.version for one in _reader(request).history(contract) if one.at >= moment]
        if not later:
            raise Problem(
                400, f"{contract} has no version as young as startingTimestamp; the newest is {found}"
            )
        found = min(later)
    return Response(headers={VERSION_HEADER: str(found)})


@router.get(f"{_TABLE}/metadata", summary="A table's schema", responses=_LINES, response_class=Response)
def metadata(request: Request, caller: Shares, share: str, schema: str, table: str) -> Response:
    """Two lines: protocol and metadata, as of the newest version."""
    form = chosen(request.headers.get(HEADER))
    contract = shares.table_of(share, schema, table, caller)
    answer = _answer(request, contract, {})
    return _lines(answer, form, answer.head(form))


async def _asked(request: Request, _: Shares) -> dict[str, Any]:
    """Return the body of a query. Raises Problem 400, 413."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_BODY:
            raise Problem(413, "a query has at most 1 MiB")
    try:
        found = orjson.loads(bytes(body) or b"{}")
    except ValueError:
        raise Problem(400, "the body is no JSON", code=MALFORMED) from None
    if not isinstance(found, dict):
        raise Problem(400, "the body is a JSON object", code=MALFORMED)
    return {name: value for name, value in found.items() if value is not None}


_QUERY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "limitHint": {"type": "integer", "minimum": 0, "maximum": _INT32},
                        "predicateHints": {"type": "array", "items": {"type": "string"}},
                        "jsonPredicateHints": {"type": "string"},
                        "version": {"type": "integer", "minimum": 0, "maximum": _INT64},
                        "timestamp": {"type": "string", "format": "date-time"},
                    },
                },
                "example": {"limitHint": 1000},
            }
        }
    }
}


@router.post(
    f"{_TABLE}/query", summary="The files of a table", responses=_LINES, response_class=Response,
    openapi_extra=_QUERY,
)  # fmt: skip
def query(
    request: Request,
    caller: Shares,
    share: str,
    schema: str,
    table: str,
    asked: Annotated[dict[str, Any], Depends(_asked)],
) -> Response:
    """Protocol, metadata, then a line for each file, with an address that ends after a quarter of an hour.

    Hints leave out files; rows are filtered and counted by the client.
    """
    form = chosen(request.headers.get(HEADER))
    contract = shares.table_of(share, schema, table, caller)
    if "startingVersion" in asked or "startingTimestamp" in asked:
        raise _no_changes(contract)
    limit = _whole(asked, "limitHint", _INT32)
    predicates, json_predicate = asked.get("predicateHints", []), asked.get("jsonPredicateHints")
    if not isinstance(predicates, list) or not all(isinstance(one, str) for one in predicates):
        raise Problem(400, "predicateHints is a list of texts")
    if not isinstance(json_predicate, str | None):
        raise Problem(400, "jsonPredicateHints is a text that holds JSON")
    answer = _answer(request, contract, asked)
    files = hints.needed(
        contract, answer.found.files, predicates=predicates, json_predicate=json_predicate, limit=limit
    )
    links: Links = request.app.state.links
    lines = (answer.file(file, links.link(contract, file.name, caller.id), form) for file in files)
    first = next(lines, None)  # what fails, fails here, where it can still be told
    return _lines(answer, form, chain(answer.head(form), [first] if first else [], lines))


@router.get(f"{_TABLE}/changes", summary="Not supported: the change data feed", responses=_ERRORS)
def changes(caller: Shares, share: str, schema: str, table: str) -> Response:
    """Always an error: tables keep no change data feed."""
    raise _no_changes(shares.table_of(share, schema, table, caller))


@router.head("/files/{statement}", include_in_schema=False)
@router.get("/files/{statement}", summary="One file", responses=_ERRORS, response_class=Response)
def file(
    request: Request, statement: str, sig: Annotated[str, Query(max_length=200, description="Its signature")]
) -> Response:
    """The address of a file of a lake in a folder, as a query gave it. It needs no header."""
    links: Links = request.app.state.links
    said = links.opened(statement, sig)
    key = request.app.state.gate.by_id(said.key)
    if key is None or key.expired(datetime.now(UTC)):
        raise Problem(401, "the key that this address was made for is revoked or expired")
    caller = Caller(id=key.id, name=key.name, scopes=frozenset(key.scopes))
    request.state.caller = caller
    layer, name = said.table.split("/", 1)
    shares.table_of(SHARE, layer, name, caller)
    return FileResponse(
        links.path(said), media_type="application/vnd.apache.parquet",
        headers={"Cache-Control": "private, no-store"},
    )  # fmt: skip


@router.api_route(
    "/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False
)
def anything_else(request: Request, rest: str) -> Response:  # noqa: ARG001
    """Tell what is no call of the protocol in its own way."""
    allowed: set[str] = set()
    for route in router.routes[:-1]:
        if route.matches(request.scope)[0] is Match.PARTIAL:
            allowed |= getattr(route, "methods", None) or set()
    if allowed:
        raise Problem(405, "this call has another method", headers={"Allow": ", ".join(sorted(allowed))})
    raise Problem(404, "there is no such call")


def _reader(request: Request) -> Reader:
    found: Reader = request.app.state.reader
    return found


def _answer(request: Request, contract: Contract, asked: Mapping[str, Any]) -> Answer:
    """Return what is told of the version that is asked for. Raises Problem 400, 404."""
    reader = _reader(request)
    number, text = _whole(asked, "version", _INT64), asked.get("timestamp")
    if number is not None and text is not None:
        raise Problem(400, "give one of version and timestamp")
    moment = None if text is None else _moment(text, "timestamp")
    pinned = reader.pin(contract, version=number, as_of=moment)
    return Answer(
        contract=contract,
        found=reader.data_files(pinned),
        dated=bool(asked.keys() & {"version", "timestamp"}),
    )


def _lines(answer: Answer, form: Format, lines: Iterable[dict[str, Any]]) -> Response:
    headers = {
        VERSION_HEADER: str(answer.found.version),
        HEADER: f"responseformat={form}",
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(_written(lines), headers=headers, media_type=_NDJSON)


def _written(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    left = iter(lines)
    while some := list(islice(left, _LINES_AT_ONCE)):
        yield b"".join(orjson.dumps(line) + b"\n" for line in some)


def _whole(asked: Mapping[str, Any], name: str, most: int) -> int | None:
    found = asked.get(name)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
        raise Problem(400, f"{name} is a whole number from 0 to {most}")
    return found


def _moment(text: Any, name: str) -> datetime:
    """Return a time of ISO 8601; one without offset is in UTC. Raises Problem 400."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Problem(400, f"{name} is a time as 2026-01-15T12:00:00Z") from None


def _no_changes(table: Contract) -> Problem:
    return Problem(
        400,
        f"{table} has no change data feed (cdf is not enabled); query its versions instead",
        code=UNSUPPORTED,
    )
