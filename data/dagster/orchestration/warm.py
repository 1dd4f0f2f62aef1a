"""What every run needs and a fork may inherit: imported once by the helper process of serve.py.

Belongs here: imports that start no thread. Does not: Polars and deltalake, which do.
"""

import gc
import importlib

import arro3.core
import boto3
import dagster
import dagster_postgres
import narwhals.stable.v2 as narwhals
import orjson
import upath

from lakehouse import errors, settings
from orchestration import storage

__all__ = ["arro3", "boto3", "dagster", "dagster_postgres", "errors", "narwhals", "orjson", "settings"]
__all__ += ["storage", "upath"]

# Where the function that a run's process starts with lives; named, not imported, since it is Dagster's own.
importlib.import_module("dagster._grpc.impl")

# What is here now lives as long as the helper: the garbage collector of a run need not walk through it, and
# so does not copy its pages.
gc.collect()
gc.freeze()
