"""One DuckDB in this process with the lake attached, and what it says when something fails.

Belongs here: extensions, secrets, settings of the connection, its errors. Does not: any table.
Extensions are loaded from their wheels' files; nothing is installed or fetched, and signatures are checked.
"""

from __future__ import annotations

import importlib.util
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from lakehouse.errors import SettingsError, StorageUnavailable
from lakehouse.settings import Settings
from lakehouse.store.process import refuse_fork

LAKE = "lake"
META = f"__ducklake_metadata_{LAKE}"
_EXTENSIONS = ("httpfs", "postgres_scanner", "ducklake")
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # A table that is not there must be an error, not a Python variable that happens to have its name.
    "python_enable_replacements": "false",
}
_SETTINGS = (
    "TimeZone = 'UTC'",
    # Snapshots of a lake are numbered: writers of different tables take turns within milliseconds.
    "ducklake_retry_wait_ms = 10",
    "ducklake_retry_backoff = 1.2",
    "ducklake_max_retry_count = 20",
)
# Where DuckLake itself would put a file. We place ours in the layers' buckets, under absolute names.
_OWN_FOLDER = "s3://bronze/ducklake/"
_ATTACH_TRIES = 8
# Rows of tables lie in Parquet, however few; marks lie in the catalog, however many.
OWN = "odp"
_INLINE = {None: 0, OWN: 1_000_000_000}

Cursor = duckdb.DuckDBPyConnection


class DuckLake:
    """The attached lake. It is opened on first use, and anew after a failure that may have broken it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._database: Cursor | None = None

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Yield a cursor of its own; an open transaction is rolled back at the end."""
        cursor = self._open().cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def asking(self, doing: str) -> Iterator[Cursor]:
        """The same, for reading: what DuckDB raises becomes StorageUnavailable."""
        try:
            with self.cursor() as cursor:
                yield cursor
        except duckdb.Error as exc:
            self.forget()
            raise self.unavailable(doing, exc) from exc

    def forget(self) -> None:
        """Open anew at the next use. Cursors that are out keep the old one alive until they end."""
        with self._lock:
            self._database = None

    def unavailable(self, doing: str, exc: BaseException) -> StorageUnavailable:
        return StorageUnavailable(f"{doing}: {self.said(exc)}. Are Postgres and the object store up?")

    def said(self, exc: BaseException) -> str:
        """Return the first lines of an error, without the password that a connection error may quote."""
        lines = [line.strip() for line in str(exc).strip().splitlines() if line.strip()]
        text = " ".join(lines[:3]) or type(exc).__name__
        secrets = (self._settings.ducklake_pg_password, self._settings.s3_secret_key)
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text.rstrip(".")

    def _open(self) -> Cursor:
        refuse_fork()
        with self._lock:
            if self._database is None:
                self._database = self._connect()
            return self._database

    def _connect(self) -> Cursor:
        database = duckdb.connect(":memory:", config=_CONFIG)
        try:
            for name in _EXTENSIONS:
                database.execute(f"LOAD {text(str(extension(name)))}")
            for setting in _SETTINGS:
                database.execute(f"SET {setting}")
            self._secrets(database)
            self._attach(database)
            self._prepare(database)
        except duckdb.Error as exc:
            database.close()
            where = f"{self._settings.ducklake_pg_host}:{self._settings.ducklake_pg_port}"
            raise self.unavailable(f"opening the DuckLake catalog at {where}", exc) from exc
        return database

    def _secrets(self, database: Cursor) -> None:
        settings = self._settings
        catalog = {
            "HOST": settings.ducklake_pg_host,
            "PORT": str(settings.ducklake_pg_port),
            "DATABASE": settings.ducklake_pg_db,
            "USER": settings.ducklake_pg_user,
            "PASSWORD": settings.ducklake_pg_password,
        }
        database.execute(_secret("catalog", "postgres", catalog))
        if settings.on_s3:
            url = urlsplit(settings.s3_endpoint or "")
            store = {
                "KEY_ID": settings.s3_access_key,
                "SECRET": settings.s3_secret_key,
                "REGION": settings.s3_region,
                "ENDPOINT": url.netloc or None,
                "URL_STYLE": "path" if url.netloc else None,
                "USE_SSL": "false" if url.scheme == "http" else None,
            }
            database.execute(_secret("store", "s3", store))

    def _prepare(self, database: Cursor) -> None:
        """Make the schema of marks, and say what may lie in the catalog; of several processes, one does."""
        for number in range(1, _ATTACH_TRIES + 1):
            try:
                database.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{OWN}")
                asked = f"SELECT scope, value FROM ducklake_options('{LAKE}') WHERE option_name = ?"
                found = {row[1] for row in database.execute(asked, ["data_inlining_row_limit"]).fetchall()}
                if found != {str(rows) for rows in _INLINE.values()}:
                    for schema, rows in _INLINE.items():
                        scope = f", schema => '{schema}'" if schema else ""
                        database.execute(
                            f"CALL ducklake_set_option('{LAKE}', 'data_inlining_row_limit', {rows}{scope})"
                        )
            except duckdb.TransactionException:
                if number == _ATTACH_TRIES:
                    raise
                time.sleep(random.uniform(0.05, 0.2 * number))  # noqa: S311
            else:
                return

    def _attach(self, database: Cursor) -> None:
        """Attach, creating an empty catalog. Of several processes that create it at once, one succeeds."""
        folder = _OWN_FOLDER if self._settings.on_s3 else f"{Path(self._settings.lake_url).absolute()}/"
        attach = f"ATTACH 'ducklake:postgres:' AS {LAKE} (DATA_PATH {text(folder)}, META_SECRET 'catalog')"
        for number in range(1, _ATTACH_TRIES + 1):
            try:
                database.execute(attach)
            except duckdb.Error as exc:
                created = "initialize DuckLake" in str(exc)
                if not created or number == _ATTACH_TRIES:
                    raise
                time.sleep(random.uniform(0.05, 0.2 * number))  # noqa: S311
            else:
                return


def extension(name: str) -> Path:
    """Return the file of an extension in its wheel. Raises SettingsError when the wheel is not installed."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for file in Path(folder).rglob(f"{name}.duckdb_extension"):
            return file
    raise SettingsError(
        f"LAKE_FORMAT=ducklake needs the package duckdb-extension-{name.replace('_', '-')}: "
        "install the library with its extra `ducklake`"
    )


def text(value: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def _secret(name: str, kind: str, values: dict[str, str | None]) -> str:
    given = ", ".join(f"{key} {text(value)}" for key, value in values.items() if value)
    return f"CREATE SECRET {name} (TYPE {kind}, {given})"
