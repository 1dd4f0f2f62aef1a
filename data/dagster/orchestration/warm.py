"""What every run needs and a fork may inherit: imported once by the helper process of serve.py.

Belongs here: imports that start no thread. Does not: Polars and deltalake, which do.
"""

import importlib

import boto3
import dagster
import dagster_postgres

from orchestration import storage

__all__ = ["boto3", "dagster", "dagster_postgres", "storage"]

# Where the function that a run's process starts with lives; named, not imported, since it is Dagster's own.
importlib.import_module("dagster._grpc.impl")
