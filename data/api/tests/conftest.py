"""A lake of the sample, and doors onto copies of it.

Belongs here: fixtures. Does not: any claim.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

os.environ.setdefault("ODP_DBT_PROJECT", "off")

from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import sample_files, tables
from lakehouse.settings import Settings
from serving.app import make_app
from serving.keys import SCOPES, Keys
from serving.settings import ServingSettings


def refresh(lake: Lake) -> None:
    """Bring every table of a lake up to date."""
    for table in tables():
        materialize(lake, table, checks=False)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lake that holds the sample: `lake` and `landing`. Nobody writes to it."""
    place = tmp_path_factory.mktemp("sample")
    lake = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))
    for name, body in sample_files().items():
        lake.landing.put(name, body)
    refresh(lake)
    return place


@pytest.fixture
def place(sample: Path, tmp_path: Path) -> Path:
    """A copy of the sample's lake, to write to."""
    shutil.copytree(sample, tmp_path / "odp")
    return tmp_path / "odp"


def settings_of(place: Path, **changed: object) -> ServingSettings:
    """Return the settings of a door onto the lake in a folder."""
    lake = Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing"))
    state = changed.pop("state", place / "api")
    return ServingSettings(lake=lake, state=state, hosts=("testserver", "127.0.0.1"), **changed)  # type: ignore[arg-type]


@pytest.fixture
def app(sample: Path, tmp_path: Path) -> FastAPI:
    """A door onto the sample, which nobody writes to."""
    return make_app(settings_of(sample, state=tmp_path / "api"))


def key(app: FastAPI, *scopes: str) -> dict[str, str]:
    """Return the header of a new key; without scopes it has all of them."""
    keys: Keys = app.state.gate.keys
    return {"Authorization": f"Bearer {keys.make('test', scopes or tuple(SCOPES))}"}


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client with a key of the scope `read`."""
    with TestClient(app, headers=key(app, "read"), raise_server_exceptions=False) as made:
        yield made
