"""Where outputs go, and whether personal data goes with them.

Belongs here: names, defaults and parsing of environment variables. Does not: connecting to anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, port, read, switch


@dataclass(frozen=True, kw_only=True)
class PostgresPlace:
    """The database of the mart, and its owner."""

    host: str
    port: int
    database: str
    user: str
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"postgres://{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """Where exports and the mart go. `mart` is a database, or the path of a DuckDB file."""

    lake: Settings
    exports_url: str
    exports_pii: bool
    mart: PostgresPlace | Path
    mart_pii: bool

    @classmethod
    def from_env(cls, lake: Settings, env: Mapping[str, str] | None = None) -> OutputSettings:
        """Read EXPORTS_URL, EXPORTS_PII, MART_PG_*, MART_FILE and MART_PII.

        Exports lie beside a landing folder, or in the bucket `exports`. The mart is a database where
        MART_PG_HOST is set, else a file beside the lake's folder. Raises SettingsError.
        """
        values = os.environ if env is None else env
        in_bucket = "://" in lake.landing_url
        bucket, folder = f"s3://{lake.bucket('exports')}", str(Path(lake.landing_url).parent / "exports")
        return cls(
            lake=lake,
            exports_url=read(values, "EXPORTS_URL") or (bucket if in_bucket else folder),
            exports_pii=switch(values, "EXPORTS_PII", default=False),
            mart=_mart(lake, values),
            mart_pii=switch(values, "MART_PII", default=False),
        )


def _mart(lake: Settings, values: Mapping[str, str]) -> PostgresPlace | Path:
    if host := read(values, "MART_PG_HOST"):
        return PostgresPlace(
            host=host,
            port=port(values, "MART_PG_PORT"),
            database=read(values, "MART_PG_DB") or "mart",
            user=read(values, "MART_PG_USER") or "mart",
            password=read(values, "MART_PG_PASSWORD"),
        )
    if file := read(values, "MART_FILE"):
        return Path(file).absolute()
    if lake.on_s3:
        raise SettingsError(
            "MART_PG_HOST is not set: with LAKE_URL=s3:// the mart lies in Postgres. Give MART_PG_HOST, "
            "_PORT, _DB, _USER and _PASSWORD (or MART_PG_PASSWORD_FILE), or MART_FILE for a DuckDB file"
        )
    return Path(lake.lake_url).parent / "mart.duckdb"
