"""A backup that is put back beneath a door that lives on, and a run that comes to the same version again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from doors import key, refresh, settings_of
from fastapi.testclient import TestClient

from lakehouse.pipeline import open_lake
from lakehouse.settings import Settings
from serving.app import make_app

ROWS = "/data/gold/pipeline_metrics"
EVENT = {"event_type": "completed", "pipeline_id": "p", "raw_data": {}, "timestamp": "2031-01-01T00:00:00Z"}
OF_DAY = "SELECT CAST(sum(total_pipelines) AS INT) AS n FROM gold.pipeline_metrics WHERE date = '2031-01-01'"
COUNT = {"sql": OF_DAY}


def landed(place: Path, workspace: str, pipelines: int) -> None:
    """Land so many pipelines of one workspace, and bring the lake up."""
    lake = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))
    told = [{**EVENT, "workspace_id": workspace, "pipeline_id": f"p{n}"} for n in range(pipelines)]
    lake.landing.put(f"pipeline_events/{workspace}.json", json.dumps(told).encode())
    refresh(lake)


def test_rows_tags_cursors_and_sql_are_of_what_was_put_back(place: Path, tmp_path: Path) -> None:
    app = make_app(settings_of(place, state=tmp_path / "api"))
    with TestClient(app, headers=key(app, "read", "sql"), raise_server_exceptions=False) as door:
        shutil.copytree(place / "lake", tmp_path / "backup")
        landed(place, "wrong", 3)
        paged = door.get(f"{ROWS}?limit=1").json()
        before = door.get(ROWS)
        assert door.post("/sql", json=COUNT).json()["rows"] == [{"n": 3}]
        assert door.get("/catalog/gold/pipeline_metrics").status_code == 200

        shutil.rmtree(place / "lake")
        (tmp_path / "backup").rename(place / "lake")
        (place / "landing" / "pipeline_events" / "wrong.json").unlink()
        landed(place, "w-right", 2)
        now = door.get(ROWS)
        assert now.json()["version"] == before.json()["version"]
        spaces = {row["workspace_id"] for row in now.json()["rows"]}
        assert ("w-right" in spaces, "wrong" in spaces) == (True, False)
        assert now.headers["etag"] != before.headers["etag"]
        assert door.get(ROWS, headers={"If-None-Match": before.headers["etag"]}).status_code == 200
        assert door.get(f"{ROWS}?limit=1&cursor={paged['next']}").status_code == 410
        assert door.get(f"{ROWS}?version={now.json()['version']}").json()["rows"] == now.json()["rows"]
        assert door.post("/sql", json=COUNT).json()["rows"] == [{"n": 2}]
        assert door.get(ROWS).headers["etag"] == now.headers["etag"]
