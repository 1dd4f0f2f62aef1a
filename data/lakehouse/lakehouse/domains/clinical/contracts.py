"""The contracts of clinical cohorts, in dependency order.

Belongs here: their list. Does not: any contract itself, or how its rows are made (tables.py).
"""

from __future__ import annotations

from lakehouse.contracts.model import Contract
from lakehouse.domains.clinical.contracts_gold import CONDITION_ERA, ENCOUNTER_SUMMARY, FHIR_REFERENCES
from lakehouse.domains.clinical.contracts_gold import GOLD as COMPUTED
from lakehouse.domains.clinical.contracts_silver import DOMAIN, FHIR_INDEX, RAW_FHIR_RESOURCES, SILVER
from lakehouse.domains.clinical.resources import DELETE, TYPE
from lakehouse.domains.clinical.views.tables import tables as views

__all__ = [
    "COMPUTED",
    "CONDITION_ERA",
    "CONTRACTS",
    "DELETE",
    "DOMAIN",
    "ENCOUNTER_SUMMARY",
    "FHIR_INDEX",
    "FHIR_REFERENCES",
    "GOLD",
    "RAW_FHIR_RESOURCES",
    "SILVER",
    "TYPE",
    "VIEWS",
]  # fmt: skip

VIEWS: tuple[Contract, ...] = views(RAW_FHIR_RESOURCES, FHIR_INDEX)
GOLD: tuple[Contract, ...] = (*COMPUTED, *VIEWS)
CONTRACTS: tuple[Contract, ...] = (RAW_FHIR_RESOURCES, *SILVER, FHIR_INDEX, *GOLD)
