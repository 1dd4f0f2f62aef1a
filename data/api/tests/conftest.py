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

from doors import key, refresh, settings_of

from lakehouse.pipeline import open_lake
from lakehouse.registry import sample_files
from lakehouse.settings import Settings
from serving.app import make_app


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


@pytest.fixture
def app(sample: Path, tmp_path: Path) -> FastAPI:
    """A door onto the sample, which nobody writes to."""
    return make_app(settings_of(sample, state=tmp_path / "api"))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client with a key of the scope `read`."""
    with TestClient(app, headers=key(app, "read"), raise_server_exceptions=False) as made:
        yield made
