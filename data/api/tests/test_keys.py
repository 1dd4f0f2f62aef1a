"""Keys: who is let in, and what is kept of a key."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from doors import key, settings_of
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lakehouse.errors import SettingsError
from serving import keys
from serving.access import COOKIE
from serving.app import make_app
from serving.keys import Keys
from serving.settings import ServingSettings


def test_a_key_is_kept_as_a_hash_in_a_private_file(tmp_path: Path) -> None:
    held = Keys(tmp_path / "api" / "keys.json")
    text = held.make("ada", ["read"])
    kept = held.path.read_text()
    assert text not in kept
    assert text.split("_", 2)[2] not in kept
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o600
    found = held.find(text)
    assert found is not None
    assert (found.name, found.scopes) == ("ada", ("read",))


@pytest.mark.parametrize("change", [
    lambda t: t[:-1], lambda t: t + "x", lambda t: t.upper(), lambda t: t.replace("odp_", "", 1),
    lambda t: t.split("_")[1], lambda t: f"odp_{'0' * 8}_{t.split('_', 2)[2]}", lambda _: "odp__",
    lambda _: "", lambda _: "\ud800",
])  # fmt: skip
def test_no_other_text_is_the_key(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    held = Keys(tmp_path / "keys.json")
    text = held.make("ada", ["read"])
    assert held.find(change(text)) is None


def test_revoked_and_expired_keys_are_refused_at_once(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    held: Keys = app.state.gate.keys
    text = held.make("ada", ["read"], days=1)
    with TestClient(app) as client:
        header = {"Authorization": f"Bearer {text}"}
        assert client.get("/catalog", headers=header).status_code == 200
        entry = json.loads(held.path.read_text())
        entry[0]["expires_at"] = "2026-01-01T00:00:00+00:00"
        held.path.write_text(json.dumps(entry))
        assert client.get("/catalog", headers=header).status_code == 401
        other = held.make("bob", ["read"])
        assert held.revoke(other.split("_")[1])
        assert client.get("/catalog", headers={"Authorization": f"Bearer {other}"}).status_code == 401


def test_two_who_make_keys_at_once_both_have_one(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(Keys(tmp_path / "keys.json").make("x", ["read"])))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(Keys(tmp_path / "keys.json").find(text) for text in made)
    assert len(Keys(tmp_path / "keys.json").all()) == 12


def test_scopes_open_their_own_calls_alone(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.get("/catalog").status_code == 401
        assert "WWW-Authenticate" in client.get("/catalog").headers
        refused = client.get("/catalog", headers=key(app, "ingest"))
        assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
        assert client.get("/catalog", headers=key(app, "read")).status_code == 200
        for header in ("Basic abc", "Bearer", "Bearer  ", "odp_x_y"):
            assert client.get("/catalog", headers={"Authorization": header}).status_code == 401, header
        text = key(app, "read")["Authorization"].removeprefix("Bearer ")
        assert client.get("/catalog", headers={"Cookie": f"{COOKIE}={text}"}).status_code == 200


def test_who_asks_too_often_waits(sample: Path, tmp_path: Path) -> None:
    app = make_app(settings_of(sample, state=tmp_path, requests_per_minute=5))
    header = key(app, "read")
    with TestClient(app) as client:
        answers = [client.get("/metrics", headers=header) for _ in range(8)]
        assert [a.status_code for a in answers].count(429) >= 2
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert client.get("/metrics", headers=key(app, "read")).status_code == 200
        assert client.get("/health").status_code == 200


def test_open_read_is_for_this_machine_alone(sample: Path, tmp_path: Path) -> None:
    lake = {"LAKE_URL": str(sample / "lake"), "LANDING_URL": str(sample / "landing")}
    env = {"API_STATE": str(tmp_path), "API_OPEN_READ": "true", **lake}
    with pytest.raises(SettingsError, match="BIND_ADDRESS"):
        ServingSettings.from_env(env | {"BIND_ADDRESS": "0.0.0.0"})
    assert ServingSettings.from_env(env).open_read
    app = make_app(settings_of(sample, state=tmp_path, open_read=True))
    with TestClient(app) as client:
        assert client.get("/catalog").status_code == 200
        assert client.get("/data/silver/patient?columns=name_family").status_code in (403, 422)
        for host in ("evil.example", "", "evil.example:80", "["):
            refused = client.get("/catalog", headers={"Host": host})
            assert refused.status_code == 400
            assert refused.headers["content-type"] == "application/problem+json"
            assert "API_HOSTS" in refused.json()["detail"]


@pytest.mark.parametrize("name", ["API_PORT", "API_MAX_BODY_MB", "API_SQL_ROWS"])
@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "١"])
def test_a_setting_that_is_no_number_is_named(tmp_path: Path, name: str, text: str) -> None:
    env = {"API_STATE": str(tmp_path), "LAKE_URL": str(tmp_path), "LANDING_URL": str(tmp_path), name: text}
    with pytest.raises(SettingsError, match=name):
        ServingSettings.from_env(env)


def test_the_command_makes_lists_and_revokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_STATE", str(tmp_path))
    assert keys.main(["create", "--name", "bi", "--scopes", "read, share", "--days", "30"]) == 0
    text = capsys.readouterr().out.strip()
    assert Keys(tmp_path / "keys.json").find(text) is not None
    assert keys.main(["list"]) == 0
    listed = capsys.readouterr().out
    identity = text.split("_")[1]
    assert identity in listed
    assert text not in listed
    assert keys.main(["revoke", identity]) == 0
    assert keys.main(["revoke", identity]) == 1
    with pytest.raises(SystemExit):
        keys.main(["create", "--name", "x", "--scopes", "everything"])
    monkeypatch.delenv("API_STATE")
    assert keys.main(["list"]) == 2


@pytest.mark.parametrize("change", [
    lambda _: "", lambda t: t[: len(t) // 2], lambda _: "null", lambda _: "{}", lambda _: "[1]",
    lambda _: "\0" * 9,
    lambda t: t.replace('"id"', '"of_another_release": 1, "id"'), lambda t: t.replace('"sha256"', '"sha1"'),
    lambda t: t.replace('"expires_at": null', '"expires_at": "soon"'),
    lambda t: t.replace('"expires_at": null', '"expires_at": "2026-01-01T00:00:00"'),
    lambda t: t.replace('"scopes": [', '"scopes": "read", "name": ['), lambda t: t.replace('"test"', "7"),
])  # fmt: skip
def test_a_damaged_file_lets_nobody_in_and_says_so(
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[str], str],
) -> None:
    header = key(app, "read", "share")
    file = app.state.gate.keys.path
    whole = file.read_text()
    damaged = change(whole)
    assert damaged != whole
    file.write_text(damaged)
    with TestClient(app, raise_server_exceptions=False) as client:
        for path in ("/catalog", "/delta-sharing/shares", "/mcp", "/tables/gold/pipeline_metrics"):
            answer = client.get(path, headers=header)
            assert answer.status_code == 503, path
            assert "keys.json cannot be read" in answer.text
        assert client.get("/health").status_code == 200
        monkeypatch.setenv("API_STATE", str(file.parent))
        for words in (["create", "--name", "x"], ["list"], ["revoke", "x"]):
            assert keys.main(words) == 1
        assert "put a copy of it back" in capsys.readouterr().err
        assert file.read_text() == damaged  # nothing of what may be saved is written over
        file.write_text(whole)
        assert client.get("/catalog", headers=header).status_code == 200


def test_importing_the_command_costs_no_library() -> None:
    argv = [sys.executable, "-c", "import serving.keys, sys; print('polars' in sys.modules)"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == "False"
