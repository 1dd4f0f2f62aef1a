"""Silver and Gold of clinical cohorts, as functions from frames to a table's frame.

Belongs here: one function per table, by its name. Does not: what a column takes of a resource (resources.py).
Those of Silver give exactly one row per Bronze row, good or not. JSON of this depth is no expression of a
frame library, so msgspec decodes it (decoding.py), the same for each engine.
"""

from __future__ import annotations

from functools import partial

from lakehouse.domains.clinical import decoding, gold, references, states
from lakehouse.engine import xp

patient = xp.by_rows(partial(decoding.table, "patient"))
encounter = xp.by_rows(partial(decoding.table, "encounter"))
condition = xp.by_rows(partial(decoding.table, "condition"))
observation = xp.by_rows(partial(decoding.table, "observation"))
procedure = xp.by_rows(partial(decoding.table, "procedure"))
medication_request = xp.by_rows(partial(decoding.table, "medication_request"))
immunization = xp.by_rows(partial(decoding.table, "immunization"))
allergy_intolerance = xp.by_rows(partial(decoding.table, "allergy_intolerance"))
diagnostic_report = xp.by_rows(partial(decoding.table, "diagnostic_report"))
imaging_study = xp.by_rows(partial(decoding.table, "imaging_study"))
fhir_index = xp.by_rows(decoding.index)

encounter_summary = xp.in_polars(gold.encounter_summary)
condition_era = states.condition_era
fhir_references = references.fhir_references
