"""Doors onto lakes in folders, and keys for them.

Belongs here: what several test files make. Does not: fixtures (conftest.py).
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake
from lakehouse.registry import tables
from lakehouse.settings import Settings
from serving.keys import SCOPES, Keys
from serving.settings import ServingSettings


def refresh(lake: Lake) -> None:
    """Bring every table of a lake up to date."""
    for table in tables():
        materialize(lake, table, checks=False)


def settings_of(place: Path, **changed: object) -> ServingSettings:
    """Return the settings of a door onto the lake in a folder."""
    lake = Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing"))
    state = changed.pop("state", place / "api")
    return ServingSettings(lake=lake, state=state, hosts=("testserver", "127.0.0.1"), **changed)  # type: ignore[arg-type]


def key(app: FastAPI, *scopes: str) -> dict[str, str]:
    """Return the header of a new key; without scopes it has all of them."""
    keys: Keys = app.state.gate.keys
    return {"Authorization": f"Bearer {keys.make('test', scopes or tuple(SCOPES))}"}
