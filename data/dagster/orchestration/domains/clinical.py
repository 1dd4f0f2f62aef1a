"""Clinical cohorts: FHIR R4 bundles and bulk files, one partition a cohort."""

import time

import dagster as dg

from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical import transforms
from lakehouse.domains.clinical.reading import cohort_of
from lakehouse.domains.clinical.sources import SOURCES
from orchestration import checks
from orchestration.cohorts import Cohorts, cohort_asset, tables_of
from orchestration.resources import LakeResource
from orchestration.tables import table, told_apart

COHORTS = Cohorts("cohorts", source=SOURCES[0], of=lambda file: cohort_of(file.name))
_MADE = (*c.SILVER, c.FHIR_INDEX)

cohorts = cohort_asset(COHORTS, says="One cohort's FHIR files as they landed, brought into Bronze.")
clinical = tables_of(
    COHORTS, _MADE, {one.name: getattr(transforms, one.name) for one in _MADE}, name="clinical"
)
encounter_summary = table(c.ENCOUNTER_SUMMARY)(transforms.encounter_summary)
condition_era = table(c.CONDITION_ERA)(transforms.condition_era)
fhir_references = table(c.FHIR_REFERENCES)(transforms.fhir_references)


@dg.asset(
    key=["gold", "corpus_manifest"],
    deps=[checks.key_of(one) for one in c.GOLD],
    group_name="gold",
    kinds={"json"},
    owners=[c.FHIR_INDEX.owner],
    tags={"domain": c.DOMAIN},
    code_version="1",
    description="The clinical corpus as one JSON document: versions, rows, content hashes, coverage.",
)
def corpus_manifest(lake: LakeResource) -> dg.MaterializeResult:
    """Write down what the corpus consists of, after everything else."""
    from lakehouse.upkeep import keep, manifest

    started = time.monotonic()
    opened = lake.open()
    with told_apart():
        references = opened.store.scan(c.FHIR_REFERENCES).drop("table", "reference").sum().collect()
        cohorts = opened.store.scan(c.RAW_FHIR_RESOURCES).select("cohort").unique().collect()
        coverage = {"cohorts": sorted(cohorts["cohort"]), "references": references.row(0, named=True)}
        document = manifest(opened, c.TABLES, coverage)
        where = keep(opened, "clinical", document)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(one["rows"] for one in document["tables"].values()),
            "dagster/uri": where,
            "document": document,
            "seconds": round(time.monotonic() - started, 3),
        }
    )
