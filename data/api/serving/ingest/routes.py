"""`POST /ingest/{dataset}` and `GET /ingest/{tracking_id}/status`.

Belongs here: the calls and their answers in HTTP's words. Does not: any step between them (door.py).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lakehouse.errors import LakeError
from serving.access import Caller, may
from serving.ingest.door import Door
from serving.ingest.formats import MEDIA_TYPES, extension_of, is_gzipped
from serving.ingest.identity import Ingest, cohort_of, parsed, source_of
from serving.ingest.remembered import key_of
from serving.problems import MEDIA_TYPE, Problem, of_lake, refuse_other_parameters

router = APIRouter(tags=["ingest"])
Ingests = Annotated[Caller, Depends(may("ingest"))]
_DRAINED_BYTES, _DRAINED_SECONDS = 8 << 20, 2.0

_ID = "pipeline_events~9b4c1e0d5b0a7a3a3b1c0d3e7f2f4d1a6c8e9b0a1d2c3f4e5a6b7c8d9e0f1a2b"
_ACCEPTED = {
    "tracking_id": _ID, "dataset": "pipeline_events", "cohort": None, "status": "queued", "bytes": 1834,
    "sha256": _ID.rpartition("~")[2],
}  # fmt: skip
_STATUS = {
    **_ACCEPTED,
    "status": "done",
    "landed_at": "2026-01-15T12:00:00.000+00:00",
    "rows": 12,
    "tables": [
        {"table": "silver/pipeline_events", "taken": 12, "state": "done", "written": 10, "merged": 1,
         "rejected": 1, "rejects": {"timestamp_valid": 1}}
    ],
    "estimate_seconds": 6.5,
}  # fmt: skip
_EVENT = {
    "pipeline_id": "billing-export", "event_type": "run_started", "workspace_id": "ws-1",
    "timestamp": "2026-01-15T12:00:00Z", "raw_data": {"run_id": "r-1"},
}  # fmt: skip
_EXAMPLES: dict[str, Any] = {
    "ndjson": '{"pipeline_id":"billing-export","event_type":"run_started","workspace_id":"ws-1",'
    '"timestamp":"2026-01-15T12:00:00Z","raw_data":"{}"}\n',
    "json": [_EVENT],
    "csv": "pipeline_id,event_type,workspace_id,timestamp,raw_data\n"
    "billing-export,run_started,ws-1,2026-01-15T12:00:00Z,{}\n",
}


def _taken(extension: str) -> dict[str, Any]:
    kind = {"type": "string", "format": "binary"} if extension != "json" else {}
    return {"schema": kind, **({"example": _EXAMPLES[extension]} if extension in _EXAMPLES else {})}


_BODY = {
    "requestBody": {
        "required": True,
        "description": "Records of the dataset; `Content-Encoding: gzip` is taken",
        "content": {media: _taken(extension) for media, extension in MEDIA_TYPES.items()},
    }
}


def _problems(*said: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": text, "content": {MEDIA_TYPE: {}}} for status, text in said}


_REFUSALS = _problems(
    (400, "Not gzip, cut short, or no valid Idempotency-Key"),
    (401, "No valid key"),
    (403, "The key has not the scope `ingest`"),
    (404, "No such dataset"),
    (408, "The body came too slowly"),
    (413, "Too large, decompressed too, or too many records"),
    (415, "Neither NDJSON, JSON, CSV nor Parquet, or another Content-Encoding than gzip"),
    (422, "Landing would refuse it: `errors` has the first by line; or the Idempotency-Key was used"),
    (429, "The key has asked too often"),
    (503, "Landing cannot be reached; nothing was taken"),
)


@router.post(
    "/ingest/{dataset}",
    summary="Send data",
    status_code=202,
    response_class=Response,
    responses={
        202: {
            "description": "It has landed for good. `Location` says what became of it",
            "content": {"application/json": {"example": _ACCEPTED}},
            "headers": {"Location": {"schema": {"type": "string"}, "description": "The status"}},
        },
        **_REFUSALS,
    },
    openapi_extra=_BODY,
)
async def ingest(
    request: Request,
    dataset: str,
    caller: Ingests,
    cohort: Annotated[str | None, Query(description="Of clinical data: the cohort it belongs to")] = None,
    idempotency_key: Annotated[
        str | None, Header(description="1 to 255 visible ASCII characters; equal content needs none")
    ] = None,
) -> Any:
    """The answer comes once the body has landed for good, whether or not a run can start now.

    Sending equal bytes again changes nothing and gives the same answer. Rows that rules refuse do not keep
    a body from landing: the status counts them.
    """
    del cohort, idempotency_key  # declared for the docs; the request tells one from several
    door: Door = request.app.state.ingest
    begin = time.monotonic()
    source = source_of(dataset)
    note: dict[str, Any] = {"key": caller.id}
    answer: Any
    try:
        refuse_other_parameters(request, "cohort")
        given = request.query_params.getlist("cohort")
        made, size, repeated = await _take(request, door, source, given, caller)
        status = await to_thread.run_sync(door.status_in_short, made) if repeated else "queued"
        answer = _accepted(made, size, status)
        note |= {"tracking_id": made.tracking_id, "size": size}
        outcome = "repeated" if repeated else "accepted"
    except ClientDisconnect:
        outcome, answer = "cut", Problem(400, "the body was cut short").response()
    except (Problem, LakeError) as exc:
        problem = exc if isinstance(exc, Problem) else of_lake(exc)
        outcome = "refused" if problem.status < 500 else "failed"
        note["status"] = problem.status
        whole = getattr(request.state, "body_is_whole", False)
        answer = problem.response() if whole else _Unread(problem.response())
    door.note(source.folder, outcome, seconds=round(time.monotonic() - begin, 3), **note)
    return answer


async def _take(
    request: Request, door: Door, source: Any, cohorts: list[str], caller: Caller
) -> tuple[Ingest, int, bool]:
    """Return the ingest, its size in bytes, and whether it had landed before."""
    cohort = cohort_of(source, cohorts)
    extension, gzipped = extension_of(request.headers, source), is_gzipped(request.headers)
    key = key_of(request.headers.getlist("idempotency-key"))
    await to_thread.run_sync(door.reachable)
    async with door.spool.receive(request, gzipped=gzipped) as received:
        made = Ingest(source=source, cohort=cohort, sha256=received.sha256)
        _, repeated = await door.take(made, received, extension, caller=caller.id, key=key)
        return made, received.size, repeated


def _accepted(made: Ingest, size: int, status: str) -> Response:
    body = {
        "tracking_id": made.tracking_id, "dataset": made.dataset, "cohort": made.cohort, "status": status,
        "bytes": size, "sha256": made.sha256,
    }  # fmt: skip
    return JSONResponse(body, 202, {"Location": f"/ingest/{quote(made.tracking_id, safe='~')}/status"})


@router.get(
    "/ingest/{tracking_id}/status",
    summary="What became of it",
    responses={
        200: {
            "description": "`status`: queued, running, refused, done or failed. Of each table made of the "
            "rows: how many it took, wrote, merged (another row of that key stands for them) and rejected",
            "content": {"application/json": {"example": _STATUS}},
        },
        **_problems((401, "No valid key"), (403, "The key has not the scope `ingest`"),
                    (404, "Nothing of this id has landed"), (503, "The lake cannot be read")),
    },
)  # fmt: skip
def status(request: Request, tracking_id: str, _: Ingests) -> dict[str, Any]:
    """Read from the lake itself. `estimate_seconds` is the median of past ingests of the dataset."""
    door: Door = request.app.state.ingest
    return door.status(parsed(tracking_id))


class _Unread(Response):
    """An answer to a request whose body has not come whole. The connection is closed after it.

    What the sender is still sending is read for a moment and thrown away: a connection that is closed with
    bytes unread is reset, and the sender may never see the answer.
    """

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers = [*answer.raw_headers, (b"connection", b"close")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Who waits for `100 Continue` sends nothing, and to read would ask for the body.
        waits = any(name == b"expect" for name, _ in scope["headers"])
        head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(head)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        if not waits:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAINED_SECONDS):
                    await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < _DRAINED_BYTES:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        drained += len(message.get("body", b""))
