"""Settings of the door, read once from the environment into one frozen object.

Belongs here: names, defaults and parsing of API_* variables. Does not: the lake's own settings
(lakehouse.settings), or connecting to anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, read, switch, web_address

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MEGABYTE = 1 << 20
_MOST = 1_000_000_000
_MOST_MEGABYTES, _MOST_SECONDS, _MOST_PORT = 1 << 20, 86_400, 65_535
# A name of DNS, also all below one, or an address; what is asked for is known without scheme and port.
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?|\*")


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
        port = _number(values, "API_PORT", 18080, most=_MOST_PORT)
        return cls(
            lake=Settings.from_env(values),
            state=Path(state),
            host=read(values, "API_HOST") or "127.0.0.1",
            port=port,
            public_url=(web_address(values, "API_PUBLIC_URL") or f"http://127.0.0.1:{port}").rstrip("/"),
            hosts=(*LOOPBACK, *_hosts(values)),
            open_read=open_read,
            dagster_url=web_address(values, "DAGSTER_URL"),
            dagster_public_url=web_address(values, "DAGSTER_PUBLIC_URL"),
            console_url=web_address(values, "MINIO_CONSOLE_URL"),
            max_body_bytes=_number(values, "API_MAX_BODY_MB", 1024, most=_MOST_MEGABYTES) * _MEGABYTE,
            requests_per_minute=_number(values, "API_REQUESTS_PER_MINUTE", 6000),
            sql_seconds=float(_number(values, "API_SQL_SECONDS", 30, most=_MOST_SECONDS)),
            sql_memory=read(values, "API_SQL_MEMORY") or "1GB",
            sql_rows=_number(values, "API_SQL_ROWS", 100_000),
            s3_public_endpoint=web_address(values, "API_S3_PUBLIC_ENDPOINT"),
            s3_access_key=read(values, "S3_SERVING_ACCESS_KEY"),
            s3_secret_key=read(values, "S3_SERVING_SECRET_KEY"),
        )


def _number(env: Mapping[str, str], name: str, default: int, *, most: int = _MOST) -> int:
    text = read(env, name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text[:20]) > 0):
        raise SettingsError(f"{name}={text[:60]} is no whole number above 0")
    if len(text) > 20 or int(text) > most:
        raise SettingsError(f"{name}={text[:60]} is too large: give at most {most}")
    return int(text)


def _hosts(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of API_HOSTS. Raises SettingsError."""
    names = tuple(name.strip() for name in (read(env, "API_HOSTS") or "").split(",") if name.strip())
    for name in names:
        if not _HOST.fullmatch(name):
            raise SettingsError(
                f"API_HOSTS has {name[:60]}, which is no host: give names as lake.example.org or "
                "*.example.org, comma-separated, without scheme, port or path"
            )
    return names
