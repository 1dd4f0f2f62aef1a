"""Settings of the door, read once from the environment into one frozen object.

Belongs here: names, defaults and parsing of API_* variables. Does not: the lake's own settings
(lakehouse.settings), or connecting to anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, read, switch

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """Where the lake is, where the door keeps its own files, and its limits.

    `state` holds keys, logs and what is being received. `open_read` lets anybody on this machine read what is
    not personal, without a key. Addresses of shared files of Gold are signed with the key `s3_access_key`,
    of others with the lake's own, for `s3_public_endpoint`, where clients reach the object store.
    """

    lake: Settings
    state: Path
    host: str = "127.0.0.1"
    port: int = 18080
    public_url: str = "http://127.0.0.1:18080"
    hosts: tuple[str, ...] = LOOPBACK
    open_read: bool = False
    dagster_url: str | None = None
    dagster_public_url: str | None = None
    console_url: str | None = None
    max_body_bytes: int = 1024 * _MEGABYTE
    requests_per_minute: int = 6000
    sql_seconds: float = 30.0
    sql_memory: str = "1GB"
    sql_rows: int = 100_000
    s3_public_endpoint: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ServingSettings:
        """Read API_*, DAGSTER_URL, DAGSTER_PUBLIC_URL and the lake's settings. Raises SettingsError."""
        values = os.environ if env is None else env
        state = read(values, "API_STATE")
        if not state:
            raise SettingsError("API_STATE is not set: give the folder for keys, logs and uploads")
        bound = read(values, "BIND_ADDRESS") or "127.0.0.1"
        open_read = switch(values, "API_OPEN_READ", default=False)
        if open_read and bound not in LOOPBACK:
            raise SettingsError(
                f"API_OPEN_READ=true with BIND_ADDRESS={bound} would open every table to the network: "
                "give keys instead (`make api-key`)"
            )
        port = _number(values, "API_PORT", 18080)
        named = (read(values, "API_HOSTS") or "").split(",")
        return cls(
            lake=Settings.from_env(values),
            state=Path(state),
            host=read(values, "API_HOST") or "127.0.0.1",
            port=port,
            public_url=(read(values, "API_PUBLIC_URL") or f"http://127.0.0.1:{port}").rstrip("/"),
            hosts=(*LOOPBACK, *(name.strip() for name in named if name.strip())),
            open_read=open_read,
            dagster_url=read(values, "DAGSTER_URL"),
            dagster_public_url=read(values, "DAGSTER_PUBLIC_URL"),
            console_url=read(values, "MINIO_CONSOLE_URL"),
            max_body_bytes=_number(values, "API_MAX_BODY_MB", 1024) * _MEGABYTE,
            requests_per_minute=_number(values, "API_REQUESTS_PER_MINUTE", 6000),
            sql_seconds=float(_number(values, "API_SQL_SECONDS", 30)),
            sql_memory=read(values, "API_SQL_MEMORY") or "1GB",
            sql_rows=_number(values, "API_SQL_ROWS", 100_000),
            s3_public_endpoint=read(values, "API_S3_PUBLIC_ENDPOINT"),
            s3_access_key=read(values, "S3_SERVING_ACCESS_KEY"),
            s3_secret_key=read(values, "S3_SERVING_SECRET_KEY"),
        )


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = read(env, name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SettingsError(f"{name}={text} is no whole number above 0")
    return int(text)
