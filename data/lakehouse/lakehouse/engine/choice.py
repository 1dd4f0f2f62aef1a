"""Which engine computes, by its name.

Belongs here: the names, and opening one. Does not: an engine (one folder each).
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lakehouse.errors import SettingsError
from lakehouse.settings import ENGINES

if TYPE_CHECKING:
    from lakehouse.engine.protocol import Engine
    from lakehouse.settings import Settings

_PACKAGES = {"polars": "polars", "duckdb": "duckdb", "spark": "pyspark"}


def open_engine(name: str, settings: Settings | None = None) -> Engine:
    """Return the engine of this name, one for each process; `spark` needs settings that say where.

    Raises SettingsError for a name that is none, and for an engine that is not installed or has no address.
    """
    if name not in ENGINES:
        raise SettingsError(f"the engine {name!r} is not known: give one of {', '.join(ENGINES)}")
    if find_spec(_PACKAGES[name]) is None:
        raise SettingsError(
            f"the engine {name} is not installed: install the extra `{name}` of the lakehouse "
            f"(`pip install lakehouse[{name}]`), or set ODP_ENGINE=polars"
        )
    if name != "spark":
        return _local(name)
    if settings is None or not settings.spark_remote:
        raise SettingsError(
            "SPARK_REMOTE is not set: give the Spark Connect server of the engine spark, as sc://host:port"
        )
    return _spark(settings.spark_remote, settings.spark_reads_lake)


@functools.cache
def _local(name: str) -> Engine:
    if name == "duckdb":
        from lakehouse.engine.duckdb import DuckDBEngine

        return DuckDBEngine()
    from lakehouse.engine.polars import PolarsEngine

    return PolarsEngine()


@functools.cache
def _spark(remote: str, reads_files: bool) -> Engine:
    from lakehouse.engine.spark import SparkEngine

    return SparkEngine(remote, reads_files=reads_files)
