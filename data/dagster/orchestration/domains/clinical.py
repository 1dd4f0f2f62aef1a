"""Clinical cohorts: FHIR R4 bundles and bulk files, one partition a cohort."""

from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical import transforms
from lakehouse.domains.clinical.reading import cohort_of
from lakehouse.domains.clinical.sources import SOURCES
from orchestration.cohorts import Cohorts, cohort_asset, tables_of
from orchestration.tables import table

COHORTS = Cohorts("cohorts", source=SOURCES[0], of=lambda file: cohort_of(file.name))
_MADE = (*c.SILVER, c.FHIR_INDEX)

cohorts = cohort_asset(COHORTS, says="One cohort's FHIR files as they landed, brought into Bronze.")
clinical = tables_of(
    COHORTS, _MADE, {one.name: getattr(transforms, one.name) for one in _MADE}, name="clinical"
)
encounter_summary = table(c.ENCOUNTER_SUMMARY)(transforms.encounter_summary)
condition_era = table(c.CONDITION_ERA)(transforms.condition_era)
fhir_references = table(c.FHIR_REFERENCES)(transforms.fhir_references)
