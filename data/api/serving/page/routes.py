"""The addresses of the page, signing in and out.

Belongs here: the calls and their answers. Does not: what they show (views.py), how (render.py).
"""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from lakehouse.registry import contracts
from serving.access import COOKIE, Caller, Gate, may, same_origin
from serving.page import drawing, render, views
from serving.page.render import STATIC, PageRoute
from serving.page.snippets import snippets
from serving.problems import Problem
from serving.rows.describe import Describer, datasets
from serving.settings import ServingSettings

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reads = Annotated[Caller, Depends(may("read"))]
_DAY_SECONDS = 86_400
_MOST_FORM_BYTES = 4096
_WAY_BACK = re.compile(r"/(?![/\\])[A-Za-z0-9_\-./?=&%]{0,500}")


@router.get("/")
def overview(request: Request, _: Reads) -> Response:
    """Return layers and their tables."""
    describer: Describer = request.app.state.describer
    cards = describer.catalog()
    rows = sum(card["rows"] or 0 for card in cards)
    looks = {card["table"]: views.badges(card) for card in cards}
    wrong = [path for path, found in looks.items() if any(one.kind in ("bad", "warn") for one in found)]
    return render.page(
        request, "overview.html", layers=views.layers(cards), badges=looks, rows=rows, count=len(cards),
        is_empty=all(card["state"] == "absent" for card in cards), wrong=wrong,
    )  # fmt: skip


@router.get("/tables/{layer}/{name}")
def table(request: Request, layer: str, name: str, _: Reads) -> Response:
    """Return everything there is to say of a table."""
    describer: Describer = request.app.state.describer
    settings: ServingSettings = request.app.state.settings
    contract = views.declared(layer, name)
    said = describer.table(contract)
    shown = views.Rows()
    if said["state"] == "ok":
        shown = request.app.state.views.rows(contract, said["history"])
    return render.page(
        request, "table.html", table=said, badges=views.badges(said), rows=shown,
        rules=views.rule_counts(said, contract), row_wise=contract.row_wise,
        lineage=views.lineage(contract), box=(drawing.BOX_WIDTH, drawing.BOX_HEIGHT),
        datasets=views.sources_of(contract),
        snippets=snippets(layer, name, url=settings.public_url, pii=said["pii"]),
    )  # fmt: skip


@router.get("/tables/{rest:path}")
def no_table(_: Reads) -> Response:
    """Say that there is no such table."""
    raise Problem(404, "no such table is declared")


@router.get("/send")
def send(request: Request, _: Reads, dataset: str = "") -> Response:
    """Return the box that sends files."""
    return render.page(request, "send.html", datasets=datasets(), chosen=dataset)


@router.get("/query")
def query(request: Request, _: Reads, table: str = "") -> Response:
    """Return the box that asks questions in SQL."""
    known = [one.path for one in contracts()]
    first = table if table in known else next((t for t in known if t.startswith("gold/")), known[0])
    return render.page(request, "query.html", tables=known, first=first.replace("/", "."))


@router.get("/login")
def login(request: Request) -> Response:
    """Return the form that takes a key."""
    return _form(request, request.query_params.get("next", "/"))


@router.post("/login")
async def signed_in(request: Request) -> Response:
    """Keep a valid key in the browser's cookie, and go on to where the visitor wanted."""
    if not same_origin(request):
        raise Problem(403, "this form belongs to a page of another site")
    fields = parse_qs((await _body(request)).decode("ascii", "replace"))
    text, back = fields.get("key", [""])[0].strip(), fields.get("next", ["/"])[0]
    gate: Gate = request.app.state.gate
    settings: ServingSettings = request.app.state.settings
    try:
        gate.known(text, request)
    except Problem as exc:
        answer = _form(request, back, status=exc.status, wrong=exc.detail)
        answer.headers.update(exc.headers)
        return answer
    answer = RedirectResponse(_way_back(back), 303)
    answer.set_cookie(
        COOKIE, text, max_age=_DAY_SECONDS, path="/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https" or settings.public_url.startswith("https:"),
    )  # fmt: skip
    return answer


@router.post("/logout")
def logout(request: Request) -> Response:
    """Forget the key."""
    if not same_origin(request):
        raise Problem(403, "this form belongs to a page of another site")
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """Return a file that pages load."""
    return STATIC.answer(name, request)


def install(app: FastAPI) -> None:
    """Give the application what the page needs; a browser that asks for what is not there gets a page."""
    app.state.views = views.Views(reader=app.state.reader)
    otherwise: Any = app.exception_handlers[HTTPException]

    async def not_found(request: Request, exc: Exception) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "") and request.method == "GET"
        if wants_page:
            return render.with_headers(render.error(request, exc))
        answer: Response = await otherwise(request, exc)
        return answer

    app.add_exception_handler(404, not_found)


def _form(request: Request, back: str, *, status: int = 200, wrong: str = "") -> Response:
    open_read = request.app.state.gate.open_read
    return render.page(
        request, "login.html", status=status, back=_way_back(back), wrong=wrong, open_read=open_read
    )


def _way_back(there: str) -> str:
    """Return an address of ours to go on to, whatever came."""
    return there if _WAY_BACK.fullmatch(there) else "/"


async def _body(request: Request) -> bytes:
    found = b""
    async for piece in request.stream():
        found += piece
        if len(found) > _MOST_FORM_BYTES:
            raise Problem(413, "a form with a key is smaller than that")
    return found
