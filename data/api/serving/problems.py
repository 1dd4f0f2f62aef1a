"""Every error of the door as application/problem+json (RFC 9457).

Belongs here: the exception, and how errors of the library and of validation are told. Does not: deciding
what is wrong. No value that a caller or a table gave is ever quoted but for names and positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from lakehouse.errors import DamagedTable, LakeError, SettingsError, StorageUnavailable, plain

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "No valid key",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Too slow",
    409: "Conflict",
    410: "Gone",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported format",
    422: "Invalid input",
    429: "Too many requests",
    431: "Too large a head",
    500: "Internal error",
    503: "Not available",
    504: "Took too long",
}
_RETRY_SECONDS = "5"


class Problem(Exception):
    """An error to tell the caller. `more` become members of the document beside title and detail."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return it as an answer."""
        document = {"type": "about:blank", "title": TITLES.get(self.status, "Error"), "status": self.status,
                    "detail": self.detail, **self.more}  # fmt: skip
        return JSONResponse(document, self.status, self.headers, media_type=MEDIA_TYPE)


def refuse_other_parameters(request: Request, *known: str) -> None:
    """Raise Problem 422 for a query parameter that a call has not got: passed over, it would mislead."""
    if any(name not in known for name in request.query_params):
        raise Problem(422, f"of query parameters this call takes {' and '.join(known) or 'none'}")


def of_lake(exc: LakeError) -> Problem:
    """Return what an error of the library means to a caller: an outage never looks like an empty table."""
    if isinstance(exc, StorageUnavailable):
        return Problem(503, plain(exc), headers={"Retry-After": _RETRY_SECONDS})
    if isinstance(exc, DamagedTable | SettingsError):
        return Problem(503, plain(exc))
    return Problem(500, plain(exc))


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""

    async def problem(_: Request, exc: Exception) -> Response:
        assert isinstance(exc, Problem)  # noqa: S101
        return exc.response()

    async def lake(_: Request, exc: Exception) -> Response:
        assert isinstance(exc, LakeError)  # noqa: S101
        return of_lake(exc).response()

    async def invalid(_: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)  # noqa: S101
        # Without the input that was refused: it may be anything.
        errors = [{"at": ".".join(map(str, e["loc"])), "says": e["msg"]} for e in exc.errors()]
        return Problem(422, "the request is not as this call needs it", errors=errors).response()

    async def http(_: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101
        detail = TITLES.get(exc.status_code, "Error").lower()
        return Problem(exc.status_code, detail, headers=exc.headers).response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(LakeError, lake)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
