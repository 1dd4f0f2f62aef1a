"""Every error of these calls as the protocol has it: `{"errorCode": …, "message": …}`.

Belongs here: how an error is told. Does not: deciding what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lakehouse.errors import LakeError, SchemaViolation, Unsupported, plain
from serving.operations.journal import note_error
from serving.problems import TITLES, Problem, of_lake

UNSUPPORTED = "UNSUPPORTED_OPERATION"
MALFORMED = "MALFORMED_REQUEST"
_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: UNSUPPORTED,
    410: "RESOURCE_DOES_NOT_EXIST",
    413: MALFORMED,
    429: "RESOURCE_EXHAUSTED",
    503: "TEMPORARILY_UNAVAILABLE",
}


class SharingRoute(APIRoute):
    """A route whose errors are those of the protocol."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler; it raises nothing."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Exception as exc:  # noqa: BLE001  # told to the caller without its text
                return answer(_problem(request, exc))

        return handler


def answer(problem: Problem) -> Response:
    """Return a problem as the protocol tells it."""
    status = 400 if problem.status == 422 else problem.status
    code = problem.more.get("code") or _CODES.get(status, "INTERNAL_ERROR")
    return JSONResponse({"errorCode": code, "message": problem.detail}, status, problem.headers)


def _problem(request: Request, exc: Exception) -> Problem:
    match exc:
        case Problem():
            return exc
        case Unsupported() | SchemaViolation():
            return Problem(400, plain(exc), code=UNSUPPORTED)
        case LakeError():
            return of_lake(exc)
        case RequestValidationError():
            # Without the input that was refused: it may be anything.
            where = ", ".join(sorted({str(error["loc"][-1]) for error in exc.errors()}))
            return Problem(400, f"not as this call needs it: {where}")
        case HTTPException():
            return Problem(exc.status_code, TITLES.get(exc.status_code, "Error").lower())
    note_error(request, plain(exc))
    return Problem(500, "something failed here that should not have; the door's log says where")
