"""The Spark Connect server that comes along: what Sail is started with. It needs no server.

Belongs here: its settings and its folder. Does not: what it computes (test_engine_spark.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse import process
from lakehouse.engine.spark import server
from lakehouse.errors import SettingsError


def env(root: Path, **more: str) -> dict[str, str]:
    return {"LAKE_URL": str(root / "lake"), "LANDING_URL": str(root / "landing"), **more}


def test_a_start_removes_what_a_killed_server_has_left_and_nothing_else(tmp_path: Path) -> None:
    given = env(tmp_path, ODP_SCRATCH=str(tmp_path / "scratch"))
    place = tmp_path / "scratch" / "connect-50051"
    assert server.environment(given)["SAIL_EXECUTION__CHECKPOINT__PATH"] == place.as_uri()
    (place / "session").mkdir()
    (place / "session" / "part-0.parquet").write_bytes(b"rows")
    (tmp_path / "scratch" / "of-others").write_text("")
    server.environment({**given, "CONNECT_PORT": "50052"})  # another server of this machine
    assert (place / "session" / "part-0.parquet").exists()
    server.environment(given)
    assert list(place.iterdir()) == []
    assert (tmp_path / "scratch" / "of-others").exists()


def test_its_memory_is_bounded_by_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    monkeypatch.setattr(process, "_CGROUPS", (tmp_path / "memory.max",))
    given = env(tmp_path, ODP_SCRATCH=str(tmp_path))
    made = server.environment(given)
    assert made["SAIL_RUNTIME__MEMORY_POOL__TYPE"] == "greedy"
    assert int(made["SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE"]) == 644_245_094  # 0.6 GiB
    told = {"SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE": "1000000"}
    assert server.environment({**given, **told}).items() >= told.items()


def test_a_folder_is_asked_for_no_key_and_buckets_are(tmp_path: Path) -> None:
    made = server.environment(env(tmp_path, ODP_SCRATCH=str(tmp_path)))
    assert not [name for name in made if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]
    with pytest.raises(SettingsError, match="S3_ACCESS_KEY and S3_SECRET_KEY"):
        server.environment({"LAKE_URL": "s3://", "LANDING_URL": "s3://landing"})
