"""The DuckLake backend of the persistence authority: catalog in Postgres, Parquet in the layers' places.

Belongs here: everything that knows DuckLake's catalog and DuckDB. Does not: anything of another format, nor
what holds for every format (the modules of store/).
"""

from lakehouse.settings import Settings
from lakehouse.store.ducklake.write import DuckLakeStore

__all__ = ["DuckLakeStore", "open_store"]


def open_store(settings: Settings) -> DuckLakeStore:
    """Return the store of these settings. Nothing is read yet."""
    return DuckLakeStore(settings)
