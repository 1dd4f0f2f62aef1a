"""How rows move between tables, exactly once: landing -> Bronze -> Silver -> Gold.

Belongs here: positions, batches, splitting good rows from refused ones, counting.
Does not: what a table is (contracts), how it is stored (store), what a domain computes (domains).
"""

from lakehouse.flow.ingest import IngestReport, ingest
from lakehouse.flow.lake import Lake, open_lake
from lakehouse.flow.refresh import refresh
from lakehouse.flow.step import RefreshReport

__all__ = ["IngestReport", "Lake", "RefreshReport", "ingest", "open_lake", "refresh"]
