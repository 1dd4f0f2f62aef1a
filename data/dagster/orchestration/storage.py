"""Dagster's Postgres storage, with a connection pool and the password read from a file.

Belongs here: the storage class that dagster.yaml names. Does not: any query.
Stock Dagster opens a new connection per query outside the webserver: over 500 for one run of 40 steps
(dagster-io/dagster#20325). `optimize_for_webserver` is its own switch to a pool; re-check it at each upgrade.
It also asks the database before nearly every event whether a table or column is there: one second of a run of
23 tables. What is there stays there, so it is asked once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster import Field, IntSource, StringSource
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config

_STATEMENT_TIMEOUT_MS = 30_000
_RECYCLE_SECONDS = 600
_OVERFLOW = 20


class PooledPostgresStorage(DagsterPostgresStorage):
    """DagsterPostgresStorage whose three storages share pools of connections."""

    ASKED_ONCE = ("has_table", "has_asset_key_col", "_has_asset_key_col_on_connection")

    def __init__(self, postgres_url: str, inst_data: Any = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables=True, inst_data=inst_data)
        for storage in (self.run_storage, self.event_log_storage, self.schedule_storage):
            storage.optimize_for_webserver(
                statement_timeout=_STATEMENT_TIMEOUT_MS, pool_recycle=_RECYCLE_SECONDS, max_overflow=_OVERFLOW
            )
        for question in self.ASKED_ONCE:
            setattr(self.event_log_storage, question, once_true(getattr(self.event_log_storage, question)))

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {
            "hostname": StringSource,
            "port": Field(IntSource, is_required=False, default_value=5432),
            "db_name": StringSource,
            "username": StringSource,
            "password_file": StringSource,
        }

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> PooledPostgresStorage:
        """Build from dagster.yaml; the parent's returns the parent's class."""
        password = Path(config_value["password_file"]).read_text(encoding="utf-8").strip()
        url = pg_url_from_config(
            {
                "postgres_db": {
                    "hostname": config_value["hostname"],
                    "port": config_value["port"],
                    "db_name": config_value["db_name"],
                    "username": config_value["username"],
                    "password": password,
                    # A bare postgresql:// means psycopg 3 from SQLAlchemy 2.1 on (dagster-io/dagster#33958).
                    "scheme": "postgresql+psycopg2",
                }
            }
        )
        return cls(url, inst_data=inst_data)


def once_true(asks: Callable[..., bool]) -> Callable[..., bool]:
    """Return `asks` that remembers a yes, by its last argument; a no may change, with a migration."""
    yes: set[Any] = set()

    def remembers(*args: Any) -> bool:
        if args[-1] not in yes and asks(*args):
            yes.add(args[-1])
        return args[-1] in yes

    return remembers
