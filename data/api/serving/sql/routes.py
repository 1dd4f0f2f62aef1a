"""`POST /sql`.

Belongs here: the call and its answer over HTTP. Does not: running a statement (room.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response, StreamingResponse

from lakehouse.errors import only_ours
from serving.access import Caller, may
from serving.problems import Problem, refuse_other_parameters
from serving.rows import formats
from serving.sql.process import Ticket
from serving.sql.room import MOST_TEXT, Answer, SqlRoom

router = APIRouter(tags=["sql"])
Asks = Annotated[Caller, Depends(may("sql", "read"))]
_MOST_BODY = 6 * MOST_TEXT + 1000  # bytes: JSON may write a character as \uXXXX
_LARGEST = 2**31 - 1
_T = TypeVar("_T")


class Statement(BaseModel):
    """One SELECT in DuckDB's SQL over tables named `<layer>.<name>`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "example": {
                "sql": "SELECT date, success_count FROM gold.pipeline_metrics ORDER BY date DESC",
                "limit": 10,
            }
        },
    )
    sql: str = Field(min_length=1, max_length=MOST_TEXT)
    limit: int | None = Field(default=None, ge=0, le=_LARGEST, description="Rows at most")
    format: str | None = Field(default=None, description=f"{', '.join(formats.FORMATS)}; default: by Accept")


_EXAMPLE = {
    "columns": [{"name": "date", "type": "date"}, {"name": "success_count", "type": "int64"}],
    "rows": [{"date": "2026-01-15", "success_count": 7}],
    "truncated": False,
    "tables": {"gold/pipeline_metrics": 3},
    "withheld": {},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows, in the format that `Accept` or `format` names; `truncated` when there are more",
        "content": {"application/json": {"example": _EXAMPLE}}
        | {one.media_type.partition(";")[0]: {} for one in formats.FORMATS.values() if not one.paged},
    }
}
_BODY = {"required": True, "content": {"application/json": {"schema": Statement.model_json_schema()}}}


@router.post(
    "/sql", summary="One SELECT over tables", responses=_ANSWERS, response_class=Response,
    openapi_extra={"requestBody": _BODY},
)  # fmt: skip
async def sql(request: Request, caller: Asks) -> Response:
    """Runs in a process of its own with limits of time, memory and rows, and sees the newest versions of
    tables as `<layer>.<name>`, without personal columns unless the key has the scope `pii`.

    Other formats than JSON tell `truncated` and the versions in `X-Truncated` and `X-Versions`.
    """
    room: SqlRoom = request.app.state.sql
    refuse_other_parameters(request)
    statement = await _read(request)
    form = formats.chosen(request.headers.getlist("accept"), statement.format)
    ticket = Ticket()
    answer = await _while_connected(
        request,
        ticket,
        lambda: room.ask(statement.sql, limit=statement.limit, pii=caller.has("pii"), ticket=ticket),
    )
    request.state.noted = {"tables": answer.versions, "rows": answer.rows.height}
    return await anyio.to_thread.run_sync(lambda: _response(answer, form))


async def _read(request: Request) -> Statement:
    """Return what is asked. Raises Problem 413, 422."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY:
            raise Problem(413, f"a statement has at most {MOST_TEXT} characters")
    try:
        return Statement.model_validate_json(body)
    except ValidationError as exc:
        errors = [{"at": ".".join(map(str, ("body", *e["loc"]))), "says": e["msg"]} for e in exc.errors()]
        raise Problem(422, "the request is not as this call needs it", errors=errors) from None


async def _while_connected(request: Request, ticket: Ticket, work: Callable[[], _T]) -> _T:
    """Return what `work` does in a thread; it is given up when the caller goes."""
    done: list[_T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as exc:  # noqa: BLE001  # raised below, not as a group
            failed.append(exc)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        ticket.give_up()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        # A limiter of its own: statements that wait take no thread from those who read rows.
        await anyio.to_thread.run_sync(run, limiter=anyio.CapacityLimiter(1))
        tasks.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return done[0]


def _response(answer: Answer, form: formats.Format) -> Response:
    with only_ours("writing the rows of a statement"):
        return _formatted(answer, form)


def _formatted(answer: Answer, form: formats.Format) -> Response:
    if form.paged:
        body = (
            orjson.dumps(answer.told)[:-1] + b',"rows":' + formats.array(answer.rows, answer.columns) + b"}"
        )
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})
    headers = {
        "X-Truncated": str(answer.truncated).lower(),
        "X-Versions": ", ".join(f"{table}={version}" for table, version in answer.versions.items()),
        "Cache-Control": "no-store",
    }
    pieces = _told(formats.stream(answer.rows.lazy(), answer.columns, form))
    return StreamingResponse(pieces, headers=headers, media_type=form.media_type)


def _told(pieces: Iterator[formats.Piece]) -> Iterator[formats.Piece]:
    with only_ours("writing the rows of a statement"):
        yield from pieces
