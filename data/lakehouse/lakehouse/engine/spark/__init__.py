"""Spark Connect: Apache Spark, Databricks or Sail at the other end of one protocol. By the extra `spark`."""

from lakehouse.engine.spark.engine import SparkEngine

__all__ = ["SparkEngine"]
