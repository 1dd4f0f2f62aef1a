"""How rows move between tables, exactly once: landing -> Bronze -> Silver -> Gold.

Belongs here: positions, batches, splitting good rows from refused ones, counting.
Does not: what a table is (contracts), how it is stored (store), what a domain computes (domains).
"""

from lakehouse.pipeline.context import RefreshReport
from lakehouse.pipeline.ingest import IngestReport, ingest
from lakehouse.pipeline.lake import Lake, open_lake
from lakehouse.pipeline.refresh import refresh

__all__ = ["IngestReport", "Lake", "RefreshReport", "ingest", "open_lake", "refresh"]
