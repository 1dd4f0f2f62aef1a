"""DuckDB in this process, by the extra `ducklake`, which brings it."""

from lakehouse.engine.duckdb.engine import DuckDBEngine

__all__ = ["DuckDBEngine"]
