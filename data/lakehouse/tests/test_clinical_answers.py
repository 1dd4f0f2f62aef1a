"""Answers to batches: an entry that says it failed has stored nothing, whatever stands beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_clinical import BY_NAME, lake, land, patient, refused, run
from test_clinical_cases import by_id

from lakehouse.contracts import quarantine_of
from lakehouse.domains.clinical import contracts as c
from lakehouse.pipeline import Lake

__all__ = ["lake"]


def _answer(id_: str, status: Any) -> dict[str, Any]:
    return {"entry": {"resource": patient(id_), "response": {"status": status}}}


@pytest.mark.parametrize("kind", ["batch-response", "transaction-response"])
@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_an_entry_that_failed_is_refused_by_name(lake: Lake, kind: str, form: str) -> None:
    """https://hl7.org/fhir/R4/http.html#transaction-response"""
    statuses = {
        "made": "201 Created", "same": "304", "unsaid": None, "words": "fine",
        "conflict": "409 Conflict", "gone": "410", "broken": "500 Internal", "number": 404,
    }  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": kind,
              "entry": [_answer(i, status)["entry"] for i, status in statuses.items()]}  # fmt: skip
    lake.landing.put(f"clinical/a/1.{form}", json.dumps(bundle).encode())
    run(lake, BY_NAME["patient"], c.FHIR_INDEX)
    assert sorted(by_id(lake, "patient")) == ["made", "same", "unsaid", "words"]
    assert refused(lake, "fhir_index") == ["type_valid,entry_done,id_valid"] * 4
    told = lake.store.scan(quarantine_of(c.FHIR_INDEX)).collect()["reasons"].to_list()
    assert sorted(one.split('"failed_with":"')[1][:3] for one in told) == ["404", "409", "410", "500"]


def test_other_bundles_mean_other_things_by_it(lake: Lake) -> None:
    """A history tells of what made a version, a search has modes; there an entry is what it is."""
    for number, kind in enumerate(("history", "searchset", "collection")):
        land(lake, f"a/{number}.json", _answer(kind, "409"), type=kind)
    found = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": patient("found")}]}
    land(
        lake, "a/9.json", {"entry": {"resource": found, "response": {"status": "200"}}}, type="batch-response"
    )
    run(lake, BY_NAME["patient"], c.FHIR_INDEX)
    assert sorted(by_id(lake, "patient")) == ["collection", "found", "history", "searchset"]
    assert refused(lake, "fhir_index") == []
