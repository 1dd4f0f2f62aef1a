"""The application: its rooms put together.

Belongs here: wiring, start and end. Does not: any route.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from lakehouse.errors import SettingsError
from lakehouse.pipeline import open_lake
from serving import problems
from serving.access import Gate
from serving.connections import TimedBodies
from serving.heads import Heads
from serving.hosts import KnownHosts
from serving.ingest import routes as ingest
from serving.ingest.door import Door
from serving.keys import Keys
from serving.operations import health, metrics
from serving.operations.health import Endpoint, Health, probes_of
from serving.operations.journal import Journal
from serving.operations.metrics import Metrics
from serving.operations.record import Record
from serving.page import routes as page
from serving.reader import Reader
from serving.rows import routes as rows
from serving.rows.describe import Describer
from serving.settings import ServingSettings
from serving.sharing import routes as sharing
from serving.sharing.urls import Links
from serving.sql import routes as sql
from serving.sql.files import TableFiles
from serving.sql.process import Workers
from serving.sql.room import SqlRoom, memory_bytes
from serving.tools.catalog import Toolbox
from serving.tools.server import ToolServer

_BODY_SECONDS = 30.0
DESCRIPTION = (
    """Ingest and reads over HTTP. Give a key as `Authorization: Bearer <key>`; `make api-key` makes one."""
)


def make_app(settings: ServingSettings) -> FastAPI:
    """Return the application. Nothing is read from the lake yet. Raises SettingsError."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.ingest.start()
        async with app.state.tools.running():
            yield
        app.state.ingest.close()
        app.state.sql.close()
        app.state.health.close()
        app.state.requests.close()
        app.state.ingests.close()

    app = FastAPI(
        title="ODP", version="1", description=DESCRIPTION, lifespan=life, docs_url=None, redoc_url=None
    )
    _make_state(settings.state)
    lake, endpoint = open_lake(settings.lake), Endpoint(settings.lake.s3_endpoint)
    state = app.state
    state.settings = settings
    state.reader = Reader(lake, endpoint.check)
    state.describer = Describer(open_lake(settings.lake), endpoint.check)
    state.gate = Gate(
        keys=Keys(settings.state / "keys.json"),
        open_read=settings.open_read,
        requests_per_minute=settings.requests_per_minute,
    )
    state.requests = Journal(settings.state / "logs", "requests")
    state.ingests = Journal(settings.state / "logs", "ingests")
    state.sql = SqlRoom(
        state.reader,
        TableFiles(
            open_lake(settings.lake), settings.state / "sql", is_delta=settings.lake.lake_format == "delta"
        ),
        Workers(memory=memory_bytes(settings.sql_memory), seconds=settings.sql_seconds),
        most_rows=settings.sql_rows,
    )
    toolbox = Toolbox(settings, reader=state.reader, describer=state.describer, sql=state.sql)
    state.tools = ToolServer(toolbox, settings)
    state.health = Health(probes=probes_of(settings, lake, endpoint))
    state.metrics = Metrics(state.describer)
    state.links = Links(settings, lake.store)
    state.ingest = Door.of(settings, journal=state.ingests, metrics=state.metrics, reachable=endpoint.check)
    for room in (ingest, rows, sql, sharing, health, metrics, page):
        app.include_router(room.router)
    app.router.routes.append(state.tools.route)
    problems.install(app)
    page.install(app)
    app.add_middleware(Heads)
    # A page of another site that has made its name resolve to this machine is not let in.
    app.add_middleware(KnownHosts, allowed_hosts=list(settings.hosts))
    app.add_middleware(TimedBodies, seconds=_BODY_SECONDS, apart="/ingest/")
    app.add_middleware(Record, journal=state.requests, metrics=state.metrics)
    return app


def _make_state(state: Path) -> None:
    """Make the folder of the door's own files. Raises SettingsError."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else type(exc).__name__
        raise SettingsError(f"API_STATE={state} cannot be made: {why}. Give a folder that is ours") from None
