"""The application: its rooms put together.

Belongs here: wiring, start and end. Does not: any route.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from lakehouse.pipeline import open_lake
from serving import problems
from serving.access import Gate
from serving.keys import Keys
from serving.operations.journal import Journal
from serving.reader import Reader
from serving.settings import ServingSettings

DESCRIPTION = """Ingest and reads over HTTP. Give a key as `Authorization: Bearer <key>`; `make api-key` makes one."""


def make_app(settings: ServingSettings) -> FastAPI:
    """Return the application. Nothing is read from the lake yet."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.queries.close()
        app.state.ingests.close()

    app = FastAPI(title="ODP", version="1", description=DESCRIPTION, lifespan=life, docs_url=None, redoc_url=None)
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    app.state.settings = settings
    app.state.reader = Reader(open_lake(settings.lake))
    app.state.gate = Gate(
        keys=Keys(settings.state / "keys.json"),
        open_read=settings.open_read,
        requests_per_minute=settings.requests_per_minute,
    )
    app.state.queries = Journal(settings.state / "logs", "requests")
    app.state.ingests = Journal(settings.state / "logs", "ingests")
    problems.install(app)
    # A page of another site that has made its name resolve to this machine is not let in.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False)
    return app
