"""The settings of provisioning: addresses, the root credentials, and the credentials to set up.

Belongs here: names, defaults and parsing. Does not: connecting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.errors import SettingsError
from lakehouse.provision.policies import PRINCIPALS
from lakehouse.settings import bucket_prefix, read, switch


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A user and its password, or a key and its secret."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ProvisionSettings:
    """All settings of lake-init."""

    s3_endpoint: str | None
    s3_region: str
    s3_bucket_prefix: str
    s3_root: Secret | None  # None: buckets, users and policies are somebody else's
    s3_keys: Mapping[str, Secret]  # by principal
    pg_host: str
    pg_port: int
    pg_root: Secret
    pg_roles: Mapping[str, Secret]  # by role: dagster, lake, lake_readonly, …
    deadline_seconds: float
    sample: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ProvisionSettings:
        """Read the environment; a secret X also from X_FILE, or from the file x in SECRETS_DIR.

        Raises SettingsError, which names every missing secret.
        """
        values = os.environ if env is None else env
        secrets = _Secrets(values)
        managed = switch(values, "S3_MANAGED", default=False)
        settings = cls(
            s3_endpoint=read(values, "S3_ENDPOINT") or (None if managed else "http://minio:9000"),
            s3_region=read(values, "S3_REGION") or "us-east-1",
            s3_bucket_prefix=bucket_prefix(values),
            s3_root=None if managed else _root(secrets),
            s3_keys={
                p.name: _key_pair(secrets, p.name)
                for p in PRINCIPALS
                if not (managed and p.optional and secrets.lacks(f"S3_{p.name.upper()}_ACCESS_KEY"))
            },
            pg_host=read(values, "POSTGRES_HOST") or "postgres",
            pg_port=int(_number(values, "POSTGRES_HOST_PORT", 5432)),
            pg_root=Secret(
                user=read(values, "POSTGRES_USER") or "postgres", password=secrets["POSTGRES_PASSWORD"]
            ),
            pg_roles={
                "dagster": Secret(user="dagster", password=secrets["DAGSTER_PG_PASSWORD"]),
                "lake": Secret(user="lake", password=secrets["LAKE_PG_PASSWORD"]),
                "lake_readonly": Secret(user="lake_readonly", password=secrets["READONLY_PG_PASSWORD"]),
                "ducklake": Secret(user="ducklake", password=secrets["DUCKLAKE_PG_PASSWORD"]),
                "mart": Secret(user="mart", password=secrets["MART_PG_PASSWORD"]),
                "mart_reader": Secret(user="mart_reader", password=secrets["MART_READER_PASSWORD"]),
            },
            deadline_seconds=_number(values, "PROVISION_DEADLINE_SECONDS", 60),
            sample=switch(values, "ODP_SAMPLE_DATA", default=True),
        )
        if secrets.absent:
            raise SettingsError(
                f"no value for {', '.join(sorted(secrets.absent))}: run `make start`, which generates what "
                "is missing in .env, or set them in the Secret of the cluster"
            )
        return settings


class _Secrets:
    """Looks up secrets and collects the missing ones, so that one message names them all."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env, self.absent = env, set[str]()

    def __getitem__(self, name: str) -> str:
        value = read(self._env, name) or self._from_folder(name)
        if not value:
            self.absent.add(name)
        return value or ""

    def lacks(self, name: str) -> bool:
        """Return whether it has no value, which is no fault."""
        return not (read(self._env, name) or self._from_folder(name))

    def _from_folder(self, name: str) -> str | None:
        folder = self._env.get("SECRETS_DIR")
        path = Path(folder, name.lower()) if folder else None
        return path.read_text(encoding="utf-8").strip() if path and path.is_file() else None


def _root(secrets: _Secrets) -> Secret:
    return Secret(user=secrets["MINIO_ROOT_USER"], password=secrets["MINIO_ROOT_PASSWORD"])


def _key_pair(secrets: _Secrets, name: str) -> Secret:
    prefix = f"S3_{name.upper()}"
    return Secret(user=secrets[f"{prefix}_ACCESS_KEY"], password=secrets[f"{prefix}_SECRET_KEY"])


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = read(env, name)
    try:
        return float(text) if text else default
    except ValueError:
        raise SettingsError(f"{name}={text} is not a number: correct it in .env") from None
