"""Where clinical files land. Belongs here: the declaration. Does not: reading (reading.py)."""

from __future__ import annotations

from lakehouse.domains.clinical.contracts import RAW_FHIR_RESOURCES
from lakehouse.domains.clinical.reading import read
from lakehouse.landing import Source

SOURCES: tuple[Source, ...] = (
    Source(folder="clinical", table=RAW_FHIR_RESOURCES, read=read,
           description="FHIR R4 by cohort, clinical/<cohort>/: bundles and bulk NDJSON, perhaps gzipped",
           names_are_personal=True),
)  # fmt: skip
