"""Templates, what every answer of the page carries, and errors as pages.

Belongs here: turning values into HTML, headers, static files. Does not: which values (views.py).

Everything is escaped by the template engine. The policy in the headers lets no script in but our file, so
that a value that got past it would still not run.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from lakehouse.contracts.encoding import size_text
from lakehouse.errors import LakeError, plain
from serving.access import COOKIE, Caller
from serving.operations.journal import note_error
from serving.problems import TITLES, Problem, of_lake
from serving.settings import ServingSettings

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: a form would then be sent with `Origin: null`, which is nobody's page.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
THEME_COOKIE = "odp_theme"
_FIXES = {
    403: "Sign in with a key that has the scope. `make api-key` makes one.",
    404: "The tables there are stand on the first page.",
    429: "Wait a little, then try again.",
    503: "Type `make status`: it tells what runs and what to do. Then load this page again; nothing is lost.",
}
_FIX = "Go back and try again. `make logs SERVICE=api` shows what the service says."


class Static:
    """The files that pages load, held in memory. Their address changes with their content."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, tuple[bytes, bytes, str, str]] = {}
        for path in sorted(folder.iterdir()):
            body = path.read_bytes()
            etag = hashlib.sha256(body).hexdigest()[:16]
            packed = gzip.compress(body, mtime=0)
            self._files[path.name] = (body, packed, etag, _TYPES[path.suffix])

    def address(self, name: str) -> str:
        """Return where a file is; it may be kept for ever."""
        return f"/static/{name}?v={self._files[name][2]}"

    def answer(self, name: str, request: Request) -> Response:
        """Return a file, or 304 for who has it. Raises Problem 404."""
        if name not in self._files:
            raise Problem(404, "there is no such file")
        body, packed, etag, kind = self._files[name]
        headers = {"ETag": f'"{etag}"', "Vary": "Accept-Encoding", "Cache-Control": "public, no-cache"}
        if request.query_params.get("v") == etag:
            headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = packed
        return Response(body, headers=headers, media_type=kind)


STATIC = Static(_HERE / "static")


def number(value: float | None) -> str:
    """Return a number with separators; – for none."""
    return "–" if value is None else f"{value:,}"


def size(value: float | None) -> str:
    """Return a number of bytes in the unit that fits."""
    return "–" if value is None else size_text(value)


def duration(seconds: int | None) -> str:
    """Return a length of time in its largest unit."""
    if seconds is None:
        return "–"
    for length, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def when(at: str | None) -> str:
    """Return a moment to the minute, in UTC."""
    return "–" if at is None else f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters |= {"number": number, "size": size, "duration": duration, "when": when}
    made.globals["static"] = STATIC.address
    return made


_ENVIRONMENT = _environment()


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page: `template` with `values`, and what every page shows."""
    settings: ServingSettings = request.app.state.settings
    caller: Caller | None = getattr(request.state, "caller", None)
    theme = request.cookies.get(THEME_COOKIE, "")
    shown = _ENVIRONMENT.get_template(template).render(
        theme=theme if theme in ("light", "dark") else "",
        caller=caller,
        has_cookie=COOKIE in request.cookies,
        dagster=_web(settings.dagster_public_url),
        console=_web(settings.console_url),
        here=request.url.path,
        **values,
    )
    return Response(
        shown, status, {"Cache-Control": "no-store", "Vary": "Cookie"}, media_type="text/html; charset=utf-8"
    )


def error(request: Request, exc: Exception) -> Response:
    """Return what went wrong, and what to do, as a page. Who has no valid key is sent to sign in."""
    found = _problem(request, exc)
    if found.status == 401:
        there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        wanted = f"?next={quote(there)}" if request.method == "GET" and there != "/" else ""
        answer: Response = RedirectResponse(f"/login{wanted}", 303)
        if COOKIE in request.cookies:
            answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer
    answer = page(
        request, "error.html", status=found.status, code=found.status, detail=found.detail,
        title=TITLES.get(found.status, "Error"), fix=_FIXES.get(found.status, _FIX),
    )  # fmt: skip
    answer.headers.update(found.headers)
    return answer


class PageRoute(APIRoute):
    """A route that answers with pages, errors too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                answer = await handle(request)
            except Exception as exc:  # noqa: BLE001  # told as a page, and noted in the journal
                answer = error(request, exc)
            return with_headers(answer)

        return told


def with_headers(answer: Response, more: Mapping[str, str] = HEADERS) -> Response:
    """Return the answer with what every answer of the page carries."""
    answer.headers.update(more)
    return answer


def _problem(request: Request, exc: Exception) -> Problem:
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, LakeError):
        return of_lake(exc)
    if isinstance(exc, RequestValidationError):
        return Problem(422, "the address is not as this page needs it")
    if isinstance(exc, HTTPException):
        return Problem(exc.status_code, TITLES.get(exc.status_code, "Error").lower(), headers=exc.headers)
    note_error(request, plain(exc))
    return Problem(500, "something failed here that should not have; the service's log says where")


def _web(url: str | None) -> str | None:
    """Return an address that a link may lead to."""
    return url if url and url.startswith(("http://", "https://")) else None
