"""Odd values of the door's settings: a clear error that names the setting, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI

from lakehouse.errors import SettingsError
from serving import __main__ as server
from serving.app import make_app
from serving.settings import ServingSettings

HOSTS = ("a*b", "**", "ok.example,a*b", "http://x", "x:80", "a b", "x/y", "*.")
NUMBERS = ("API_MAX_BODY_MB", "API_SQL_SECONDS", "API_SQL_ROWS", "API_REQUESTS_PER_MINUTE")
PUBLIC = ("API_PUBLIC_URL", "DAGSTER_PUBLIC_URL", "MINIO_CONSOLE_URL")
ADDRESSES = (*PUBLIC, "DAGSTER_URL", "API_S3_PUBLIC_ENDPOINT", "S3_ENDPOINT")
ODD = ("x", "http://", "http://[::1", "ftp://x", "http://x:abc", "http://x:99999", "http://a b")


def made(tmp_path: Path, name: str, text: str) -> FastAPI:
    lake = {"LAKE_URL": str(tmp_path / "lake"), "LANDING_URL": str(tmp_path / "landing")}
    return make_app(ServingSettings.from_env({"API_STATE": str(tmp_path / "state"), **lake, name: text}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("API_HOSTS", text) for text in HOSTS),
        *(("API_PORT", text) for text in ("65536", "9" * 5000)),
        *((name, "9" * digits) for name in NUMBERS for digits in (30, 400, 5000)),
        *((name, text) for name in ADDRESSES for text in ODD),
        *(("S3_REGION", text) for text in ("x y", "é")),
        ("API_SQL_MEMORY", "1"),
        *(("API_STATE", text) for text in ("/dev/null", "/dev/null/x")),
    ],
)
def test_an_odd_setting_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        made(tmp_path, name, text)


@pytest.mark.parametrize(
    "text", ["*", "*.example.org", "lake.example.org, api", "::1", "[::1]", "192.0.2.1", " , "]
)
def test_names_that_hosts_have(tmp_path: Path, text: str) -> None:
    made(tmp_path, "API_HOSTS", text).build_middleware_stack()


def test_an_address_that_cannot_be_listened_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("LAKE_URL", "lake"), ("LANDING_URL", "landing"), ("API_STATE", "state")):
        monkeypatch.setenv(name, str(tmp_path / text))
    monkeypatch.setenv("API_HOST", "http://127.0.0.1")
    assert server.main() == 2
    assert "API_HOST=http://127.0.0.1" in capsys.readouterr().err
