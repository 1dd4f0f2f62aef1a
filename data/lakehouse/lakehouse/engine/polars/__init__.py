"""Polars in this process: the engine that production runs, and the reference of the others."""

from lakehouse.engine.polars.engine import PolarsEngine

__all__ = ["PolarsEngine"]
