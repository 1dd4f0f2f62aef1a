"""Settings, read once from the environment into one frozen object.

Belongs here: names, defaults and parsing of environment variables. Does not: connecting to anything.
A variable `X` may also be given as `X_FILE`, the path of a file that holds it (container secrets).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lakehouse.errors import SettingsError

BACKENDS = {"delta": "lakehouse.store.delta", "ducklake": "lakehouse.store.ducklake"}
"""The formats of tables, each with the package that has `open_store(settings)`."""
ENGINES = ("polars", "duckdb", "spark")
"""Where rows are computed (engine/choice.py)."""
# A bucket's name has at most 63 characters, the longest of ours is `quarantine`. A dot would break TLS.
_PREFIX = re.compile(r"[a-z0-9][a-z0-9-]{0,51}-")
_REGION = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TRUE = frozenset({"1", "on", "true", "yes"})
_FALSE = frozenset({"0", "off", "false", "no"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the lake and its landing area are, with which key to reach them, and where rows are computed."""

    lake_url: str
    landing_url: str
    s3_endpoint: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = field(default=None, repr=False)
    s3_region: str = "us-east-1"
    s3_bucket_prefix: str = ""
    lake_format: str = "delta"
    ducklake_pg_host: str | None = None
    ducklake_pg_port: int = 5432
    ducklake_pg_db: str = "ducklake"
    ducklake_pg_user: str = "ducklake"
    ducklake_pg_password: str | None = field(default=None, repr=False)
    engine: str = "polars"
    spark_remote: str | None = field(default=None, repr=False)  # it may hold a token
    spark_reads_lake: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read LAKE_URL, LANDING_URL, S3_*, LAKE_FORMAT, DUCKLAKE_PG_*, ODP_ENGINE and SPARK_*.

        Raises SettingsError naming what is missing.
        """
        values = os.environ if env is None else env
        lake_url = read(values, "LAKE_URL")
        landing_url = read(values, "LANDING_URL")
        if not lake_url or not landing_url:
            missing = "LAKE_URL" if not lake_url else "LANDING_URL"
            raise SettingsError(
                f"{missing} is not set: give `s3://` (one bucket per layer) or an absolute folder. "
                "`make start` sets it for you."
            )
        settings = cls(
            lake_url=lake_url,
            landing_url=landing_url,
            s3_endpoint=web_address(values, "S3_ENDPOINT"),
            s3_access_key=read(values, "S3_ACCESS_KEY"),
            s3_secret_key=read(values, "S3_SECRET_KEY"),
            s3_region=_region(values),
            s3_bucket_prefix=bucket_prefix(values),
            lake_format=_lake_format(values),
            ducklake_pg_host=read(values, "DUCKLAKE_PG_HOST"),
            ducklake_pg_port=port(values, "DUCKLAKE_PG_PORT"),
            ducklake_pg_db=read(values, "DUCKLAKE_PG_DB") or "ducklake",
            ducklake_pg_user=read(values, "DUCKLAKE_PG_USER") or "ducklake",
            ducklake_pg_password=read(values, "DUCKLAKE_PG_PASSWORD"),
            engine=_engine(values),
            spark_remote=read(values, "SPARK_REMOTE"),
            spark_reads_lake=switch(values, "SPARK_READS_LAKE", default=False),
        )
        if settings.on_s3 and not (settings.s3_access_key and settings.s3_secret_key):
            raise SettingsError(
                "S3_ACCESS_KEY and S3_SECRET_KEY (or their _FILE forms) are needed with LAKE_URL=s3://"
            )
        if settings.lake_format == "ducklake" and not settings.ducklake_pg_host:
            raise SettingsError(
                "DUCKLAKE_PG_HOST is not set: with LAKE_FORMAT=ducklake the catalog lies in Postgres. Give "
                "DUCKLAKE_PG_HOST, _PORT, _DB, _USER and _PASSWORD (or DUCKLAKE_PG_PASSWORD_FILE)"
            )
        if settings.engine == "spark" and not settings.spark_remote:
            raise SettingsError(
                "SPARK_REMOTE is not set: with ODP_ENGINE=spark give the address of a Spark Connect server, "
                "as sc://host:port"
            )
        return settings

    @classmethod
    def at(cls, lake: str | Path) -> Settings:
        """Return the settings of the lake in a folder, or of `s3://` with the environment's S3_* for it.

        Landing is a folder in it, or the bucket `landing`. Raises SettingsError.
        """
        place = str(lake) if "://" in str(lake) else str(Path(lake).expanduser().absolute())
        other = {name: text for name, text in os.environ.items() if not name.endswith("_URL_FILE")}
        in_buckets = place.startswith("s3://")
        landing = f"s3://{bucket_prefix(other)}landing" if in_buckets else f"{place}/landing"
        return cls.from_env({**other, "LAKE_URL": place, "LANDING_URL": landing})

    @property
    def on_s3(self) -> bool:
        return self.lake_url.startswith("s3://")

    @property
    def s3_place(self) -> str:
        """Return what errors call the object store: its endpoint, or the region of AWS."""
        return self.s3_endpoint or f"AWS, {self.s3_region}"

    def bucket(self, name: str) -> str:
        """Return the bucket of a layer, of `landing` or of `exports`: everywhere else they have our names."""
        return f"{self.s3_bucket_prefix}{name}"

    def storage_options(self) -> dict[str, str] | None:
        """Options for the object store clients of Delta and Polars; None for a local folder.

        Commits are always conditional puts, so nothing is set for safety; the store is probed instead.
        """
        if not self.on_s3:
            return None
        options = {
            "AWS_ACCESS_KEY_ID": self.s3_access_key or "",
            "AWS_SECRET_ACCESS_KEY": self.s3_secret_key or "",
            "AWS_REGION": self.s3_region,
            "timeout": "120s",
            "connect_timeout": "5s",
        }
        if self.s3_endpoint:
            options["AWS_ENDPOINT_URL"] = self.s3_endpoint
            if self.s3_endpoint.startswith("http://"):
                options["AWS_ALLOW_HTTP"] = "true"
        return options


def _lake_format(env: Mapping[str, str]) -> str:
    text = read(env, "LAKE_FORMAT") or "delta"
    if text not in BACKENDS:
        raise SettingsError(f"LAKE_FORMAT={text} is not known: give {' or '.join(BACKENDS)}")
    return text


def _region(env: Mapping[str, str]) -> str:
    text = read(env, "S3_REGION") or "us-east-1"
    if not _REGION.fullmatch(text):
        raise SettingsError(
            f"S3_REGION={text[:60]} is no region: give letters, digits and `-`, as eu-central-1"
        )
    return text


def _engine(env: Mapping[str, str]) -> str:
    text = read(env, "ODP_ENGINE") or "polars"
    if text not in ENGINES:
        raise SettingsError(f"ODP_ENGINE={text} is not known: give {' or '.join(ENGINES)}")
    return text


def bucket_prefix(env: Mapping[str, str]) -> str:
    """Return S3_BUCKET_PREFIX, what every bucket's name begins with; none when absent.

    Real S3 has one space of names for everybody, so that `gold` is somebody else's. Raises SettingsError.
    """
    text = read(env, "S3_BUCKET_PREFIX") or ""
    if text and not _PREFIX.fullmatch(text):
        raise SettingsError(
            f"S3_BUCKET_PREFIX={text} begins no bucket's name: give small letters, digits and `-`, with a "
            "`-` at the end, at most 53 in all"
        )
    return text


def port(env: Mapping[str, str], name: str) -> int:
    """Return variable `name`, a port number; 5432 when absent. Raises SettingsError."""
    text = read(env, name) or "5432"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise SettingsError(f"{name}={text} is no port number")
    return int(text)


def read(env: Mapping[str, str], name: str) -> str | None:
    """Return variable `name`, from `<name>_FILE` if that is set; None when absent or empty.

    Raises SettingsError when the file cannot be read.
    """
    path = env.get(f"{name}_FILE")
    if not path:
        return env.get(name) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as exc:
        raise SettingsError(f"{name}_FILE={path} cannot be read: {exc.strerror or exc}") from None


def switch(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return variable `name`, which is true or false, as `read` finds it. Raises SettingsError."""
    text = (read(env, name) or str(default)).lower()
    if text not in _TRUE | _FALSE:
        raise SettingsError(f"{name}={text} is neither true nor false: correct it in .env")
    return text in _TRUE


def web_address(env: Mapping[str, str], name: str) -> str | None:
    """Return variable `name`, an address of the web; None when absent.

    Raises SettingsError, which does not quote it: it may hold a secret.
    """
    text = read(env, name)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_web = False
    if not is_web or not text.isprintable() or " " in text:
        raise SettingsError(f"{name} is no address as https://host:port")
    return text
