"""What every run needs and a fork may inherit: imported once by the helper process of warm_runs.

Belongs here: imports that start no thread. Does not: Polars and deltalake, which do.

Reason: see warm_runs; the function that the process of a run starts with is Dagster's own.
Gain: see warm_runs.
Pin: dagster 1.13.27.
Drop when: warm_runs goes.
"""

import gc

import arro3.core
import boto3
import dagster
import dagster._grpc.impl
import dagster_postgres
import narwhals.stable.v2 as narwhals
import orjson
import upath

from lakehouse import errors, settings
from orchestration.workarounds import postgres_storage

__all__ = ["arro3", "boto3", "dagster", "dagster_postgres", "errors", "narwhals", "orjson"]
__all__ += ["postgres_storage", "settings", "upath"]

# What is here now lives as long as the helper: the garbage collector of a run need not walk through it, and
# so does not copy its pages.
gc.collect()
gc.freeze()
