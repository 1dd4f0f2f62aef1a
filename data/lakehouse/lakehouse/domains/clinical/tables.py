"""The tables of clinical cohorts, each with what makes it, and the corpus's manifest.

Belongs here: the pairing, and what the manifest covers. Does not: contracts, sources or transforms
themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical import transforms
from lakehouse.domains.clinical.sources import SOURCES
from lakehouse.domains.clinical.views.tables import transform_of as view
from lakehouse.table import Manifest, Table

if TYPE_CHECKING:
    from lakehouse.pipeline import Lake

TABLES = (
    Table(contract=c.RAW_FHIR_RESOURCES, sources=SOURCES),
    *(Table(contract=one, transform=getattr(transforms, one.name)) for one in (*c.SILVER, c.FHIR_INDEX)),
    *(Table(contract=one, transform=getattr(transforms, one.name)) for one in c.COMPUTED),
    *(Table(contract=one, transform=view(one.name)) for one in c.VIEWS),
)


def coverage(lake: Lake) -> dict[str, Any]:
    """Return the cohorts that the corpus holds, and how many of its references resolve."""
    references = lake.store.scan(c.FHIR_REFERENCES).drop("table", "reference").sum().collect()
    cohorts = lake.store.scan(c.RAW_FHIR_RESOURCES).select("cohort").unique().collect()
    return {"cohorts": sorted(cohorts["cohort"]), "references": references.row(0, named=True)}


MANIFESTS = (
    Manifest(
        name="corpus_manifest",
        file="clinical",
        domain=c.DOMAIN,
        description="The clinical corpus as one JSON document: versions, rows, content hashes, coverage.",
        tables=c.CONTRACTS,
        coverage=coverage,
    ),
)
