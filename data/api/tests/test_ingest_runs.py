"""Runs for ingests, asked of a webserver that answers as Dagster's does.

Belongs here: which runs are asked for, and what a status says of them. Does not: Dagster itself; that it
understands each question is shown in dagster_client/tests/test_webserver.py.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from doors import key, settings_of
from fastapi.testclient import TestClient
from test_ingest import NDJSON, bring_in, event, lines

from lakehouse.pipeline import open_lake
from lakehouse.settings import Settings
from serving.app import make_app
from serving.ingest.launching import made_of

ASSETS = {
    ("bronze", "raw_pipeline_events"): [],
    ("bronze", "raw_loans"): [],
    ("silver", "pipeline_events"): [("bronze", "raw_pipeline_events")],
    ("gold", "pipeline_metrics"): [("silver", "pipeline_events")],
    ("silver", "loans"): [("bronze", "raw_loans")],
    ("outputs", "quality_report"): [("gold", "pipeline_metrics")],
}


class Dagster:
    """The answers of a webserver, and what it was asked to launch."""

    def __init__(self) -> None:
        self.launched: list[dict[str, Any]] = []
        self.status: dict[str, str] = {}
        self.going: str | None = None
        self.ready = threading.Event()
        self.ready.set()

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "query Ready" in query:
            return self._ready()
        if "query Assets" in query:
            nodes = [
                {
                    "assetKey": {"path": k},
                    "dependencyKeys": [{"path": d} for d in of],
                    "assetMaterializations": [],
                }
                for k, of in ASSETS.items()
            ]
            return {"assetNodes": nodes}
        if "mutation Launch" in query:
            self.launched.append(variables["params"])
            run = f"run-{len(self.launched)}"
            self.status[run] = "STARTED"
            return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": run}}}
        if "query Tagged" in query:
            [tag] = variables["tags"]
            found = [
                {"runId": f"run-{number}", "status": self.status[f"run-{number}"]}
                for number, params in enumerate(self.launched, start=1)
                if tag in params["executionMetadata"]["tags"]
            ]
            return {"runsOrError": {"results": found[::-1]}}
        run = variables["run"]
        found = {"runId": run, "status": self.status[run]} if run in self.status else {}
        return {"runOrError": found}

    def _ready(self) -> dict[str, Any]:
        going = [{"runId": run, "status": s, "tags": []} for run, s in self.status.items() if s == "STARTED"]
        job = {"name": "materialize_all", "tags": []}
        location = {"__typename": "RepositoryLocation", "repositories": [{"name": "r", "jobs": [job]}]}
        health = [{"daemonType": "SENSOR", "required": True, "healthy": self.ready.is_set()}]
        return {
            "instance": {"runLauncher": {"name": "DefaultRunLauncher"},
                         "daemonHealth": {"allDaemonStatuses": health}},
            "workspaceOrError": {"__typename": "Workspace",
                                 "locationEntries": [{"name": "l", "locationOrLoadError": location}]},
            "runsOrError": {"results": going},
        }  # fmt: skip


@pytest.fixture
def dagster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Dagster, str]]:
    monkeypatch.setattr("serving.ingest.launching._POLL_SECONDS", 0.02)
    monkeypatch.setattr("serving.ingest.launching._AWAY_SECONDS", 0.02)
    monkeypatch.setattr("serving.ingest.launching._SILENT_SECONDS", 0.0)
    fake = Dagster()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"data": fake.answer(asked["query"], asked["variables"])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield fake, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def wait(what: str, holds: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return found


def test_ingests_share_runs_and_each_is_found_by_its_tag(
    tmp_path: Path, dagster: tuple[Dagster, str]
) -> None:
    fake, url = dagster
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    app = make_app(settings_of(tmp_path, dagster_url=url))
    with TestClient(app, headers=key(app, "ingest")) as sender:

        def send(number: int) -> str:
            body = lines(event(f"{number:02}"))
            return str(
                sender.post("/ingest/pipeline_events", content=body, headers=NDJSON).headers["location"]
            )

        first = send(1)
        wait("a run", lambda: fake.launched)
        chosen = [tuple(one["path"]) for one in fake.launched[0]["selector"]["assetSelection"]]
        assert chosen == made_of(["bronze/raw_pipeline_events"], {k: set(v) for k, v in ASSETS.items()})
        assert ("outputs", "quality_report") in chosen
        assert ("silver", "loans") not in chosen
        wait("it carries the first", lambda: sender.get(first).json().get("run"))
        assert sender.get(first).json()["status"] == "running"
        others = [send(number) for number in range(2, 12)]
        assert len(fake.launched) == 1  # they wait for its end
        assert sender.get(others[0]).json()["status"] == "queued"
        fake.status["run-1"] = "FAILURE"
        wait("a second run", lambda: len(fake.launched) == 2)
        assert sender.get(first).json()["status"] == "failed"
        wait("it carries the others", lambda: sender.get(others[-1]).json().get("run"))
        assert len(fake.launched[1]["executionMetadata"]["tags"]) == 11  # ten, and where it came from
        bring_in(lake)
        fake.status["run-2"] = "SUCCESS"
        wait("an estimate", lambda: sender.get(first).json()["estimate_seconds"] is not None)
        assert {sender.get(where).json()["status"] for where in (first, *others)} == {"done"}
        assert len(fake.launched) == 2
        third = send(12)
        wait("a third run", lambda: len(fake.launched) == 3)
        wait("it carries it", lambda: sender.get(third).json().get("run"))
    with TestClient(make_app(settings_of(tmp_path, dagster_url=url)), headers=sender.headers) as later:
        found = later.get(third).json()  # by a process that never heard of it
        assert (found["status"], found["run"]["id"]) == ("running", "run-3")
        assert found["estimate_seconds"] > 0


def test_without_dagster_it_is_queued_until_somebody_runs(
    tmp_path: Path, dagster: tuple[Dagster, str]
) -> None:
    fake, url = dagster
    fake.ready.clear()
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    for address in (url, "http://127.0.0.1:9"):
        app = make_app(settings_of(tmp_path, dagster_url=address))
        with TestClient(app, headers=key(app, "ingest")) as sender:
            body = lines(event("01", pipeline_id=address))
            answer = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
            assert (answer.status_code, answer.json()["status"]) == (202, "queued")
            where = answer.headers["location"]
            assert sender.get(where).json()["status"] == "queued"
            bring_in(lake)
            assert sender.get(where).json()["status"] == "done"
            if address == url:
                fake.ready.set()
                waiting: dict[str, Any] = app.state.ingest.launcher._waiting
                wait("it sees that nothing is left to do", lambda of=waiting: not of)
                assert fake.launched == []
