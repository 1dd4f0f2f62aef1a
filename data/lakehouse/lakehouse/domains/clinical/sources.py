"""Where clinical files land. Belongs here: the declaration. Does not: reading (reading.py)."""

from __future__ import annotations

from lakehouse.domains.clinical.contracts import RAW_FHIR_RESOURCES
from lakehouse.domains.clinical.reading import cohort_of, read
from lakehouse.landing import Partition, Source

SOURCES: tuple[Source, ...] = (
    Source(folder="clinical", table=RAW_FHIR_RESOURCES, read=read,
           description="FHIR R4 by cohort, clinical/<cohort>/: bundles and bulk NDJSON, perhaps gzipped",
           partition_by=Partition(name="cohorts", of=cohort_of, counted_by="resource_type"),
           names_are_personal=True),
)  # fmt: skip
