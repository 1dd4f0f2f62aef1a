"""One DuckDB in this process with the lake attached, and what it says when something fails.

Belongs here: extensions, secrets, settings of the connection, its errors. Does not: any table.
Extensions are loaded from their wheels' files; nothing is installed or fetched, and signatures are checked.
"""

from __future__ import annotations

import importlib.util
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from lakehouse.contracts.sql import text
from lakehouse.errors import Conflict, SettingsError, StorageUnavailable, plain
from lakehouse.process import refuse_fork
from lakehouse.settings import Settings
from lakehouse.store.ducklake import options
from lakehouse.store.ducklake.options import LAKE, OWN

__all__ = ["LAKE", "META", "OWN", "Cursor", "DuckLake", "extension", "text"]
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
_OPENING_SECONDS = 30.0
_TURN_SECONDS = 120.0
# What Postgres and DuckDB say of a transaction that another one got in the way of.
_OVERTAKEN = (
    "Transaction conflict",
    "could not serialize access",
    "duplicate key value",
    "deadlock detected",
    "concurrently updated",
    "already exists",
    "Failed to insert config option",
    "initialize DuckLake",
)

Cursor = duckdb.DuckDBPyConnection


class DuckLake:
    """The attached lake. It is opened on first use, and anew after a failure that may have broken it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._database: Cursor | None = None
        self._checked: Cursor | None = None  # whose options were found right

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Yield a cursor of its own; an open transaction is rolled back at the end."""
        cursor = self._open().cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def turn(self, path: str, *, shared: bool = False) -> Iterator[Callable[[], None]]:
        """Hold the lock of table `path`, alone or with others who share it; yield a check that it still is.

        The lock is that of a Postgres session beside the one that commits: DuckLake rolls its own transaction
        back, and with it any lock, when it retries a commit that another table's commit got in the way of. It
        ends with this process. Raises Conflict when others do not let go, duckdb.Error when Postgres is away.
        """
        kind = "pg_try_advisory_xact_lock_shared" if shared else "pg_try_advisory_xact_lock"
        take = f"SELECT {kind}(hashtext({text(OWN)}), hashtext({text(path)}))"
        deadline = time.monotonic() + _TURN_SECONDS
        with self.cursor() as session:
            session.execute("BEGIN")

            def ask(query: str) -> bool:
                row = session.execute("SELECT * FROM postgres_query(?, ?)", [META, query]).fetchone()
                return bool(row and row[0])

            while not ask(take):
                if time.monotonic() > deadline:
                    raise Conflict(
                        f"writing {path}: another writer has held it for {_TURN_SECONDS:.0f} s. Nothing was "
                        "written; run it again."
                    )
                time.sleep(random.uniform(0.005, 0.05))  # noqa: S311

            def still_ours() -> None:
                ask("SELECT true")  # fails when the session has ended, and the lock with it

            yield still_ours

    @contextmanager
    def asking(self, doing: str) -> Iterator[Cursor]:
        """The same, for reading: what DuckDB raises becomes StorageUnavailable."""
        try:
            with self.cursor() as cursor:
                yield cursor
        except duckdb.Error as exc:
            self.forget()
            raise self.unavailable(doing, exc) from None

    def forget(self) -> None:
        """Open anew at the next use. Cursors that are out keep the old one alive until they end."""
        with self._lock:
            self._database = None

    def unavailable(self, doing: str, exc: BaseException) -> StorageUnavailable:
        return StorageUnavailable(f"{doing}: {self.said(exc)}. Are Postgres and the object store up?")

    def said(self, exc: BaseException) -> str:
        """Return what may be told of an error: DuckDB's own text quotes values, statements and passwords."""
        return plain(exc)

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
            raise self.unavailable(f"opening the DuckLake catalog at {where}", exc) from None
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
        """Make the schema of state and set the options of a new catalog. Nothing is written to any other."""
        there = f"SELECT 1 FROM duckdb_schemas() WHERE database_name = '{LAKE}' AND schema_name = '{OWN}'"

        def prepare() -> None:
            if database.execute(there).fetchone() is None:
                database.execute(f"CREATE SCHEMA IF NOT EXISTS {LAKE}.{OWN}")
            if not options.initialised(database):
                options.set_right(database)

        _until_not_overtaken(prepare)

    def _attach(self, database: Cursor) -> None:
        """Attach, creating an empty catalog. Of several processes that create it at once, one succeeds."""
        settings = self._settings
        in_bucket = f"s3://{settings.bucket('bronze')}/ducklake/"
        folder = in_bucket if settings.on_s3 else f"{Path(settings.lake_url).absolute()}/"
        attach = f"ATTACH 'ducklake:postgres:' AS {LAKE} (DATA_PATH {text(folder)}, META_SECRET 'catalog')"

        def afresh() -> None:
            database.execute(f"DETACH DATABASE IF EXISTS {LAKE}")
            database.execute(attach)

        _until_not_overtaken(afresh)

    def keep_options(self, cursor: Cursor) -> None:
        """Set the catalog's options right before this process first writes: others may have changed them."""
        if self._checked is not self._database:
            _until_not_overtaken(lambda: options.set_right(cursor))
            self._checked = self._database


def _until_not_overtaken(work: Callable[[], None]) -> None:
    """Do it again as long as others get in the way, for a while. Raises duckdb.Error."""
    deadline, wait = time.monotonic() + _OPENING_SECONDS, 0.05
    while True:
        try:
            work()
        except duckdb.Error as exc:
            if time.monotonic() > deadline or not any(words in str(exc) for words in _OVERTAKEN):
                raise
            time.sleep(random.uniform(wait / 4, wait))  # noqa: S311
            wait = min(2 * wait, 1.0)
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


def _secret(name: str, kind: str, values: dict[str, str | None]) -> str:
    given = ", ".join(f"{key} {text(value)}" for key, value in values.items() if value)
    return f"CREATE SECRET {name} (TYPE {kind}, {given})"
