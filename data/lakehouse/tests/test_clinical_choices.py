"""Elements of several types (`value[x]`): R4 allows one of them, so that a resource with two is refused.

And which of several names, addresses and numbers counts where a use is stated, but not known.
"""

from __future__ import annotations

from typing import Any

import pytest
from test_clinical import BY_NAME, condition, lake, land, patient, refused, run
from test_clinical_cases import HERE, by_id, observation
from test_clinical_edges import order

from lakehouse.contracts import quarantine_of
from lakehouse.domains.clinical.resources import SHAPES
from lakehouse.domains.clinical.values import _choices
from lakehouse.pipeline import Lake

__all__ = ["lake"]
TEN = {"value": 10, "unit": "mg"}
PART = {"code": {"text": "part"}}
WORDS, NONE = {"text": "x"}, {"reference": "Medication/m"}
SPAN = {"start": "2020-01-01"}


def _other(kind: str, id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": id_, "status": "completed", **HERE, **more}


TWO: dict[str, tuple[str, dict[str, Any]]] = {
    "deceased[x]": ("patient", patient("two", deceasedBoolean=False, deceasedDateTime="2020-01-01")),
    "value[x]": ("observation", observation("two", valueQuantity=TEN, valueString="ten")),
    "effective[x]": ("observation", observation("two", effectiveDateTime="2020-01-01", effectivePeriod=SPAN)),
    "component.value[x]": (
        "observation",
        observation("two", component=[PART, {**PART, "valueBoolean": False, "valueInteger": 0}]),
    ),
    "onset[x]": ("condition", condition("two", "Patient/p", onsetAge=TEN, onsetString="in youth")),
    "abatement[x]": (
        "condition",
        condition("two", "Patient/p", abatementDateTime="2020-01-01", abatementString="later"),
    ),
    "performed[x]": (
        "procedure",
        _other("Procedure", "two", performedDateTime="2020-01-01", performedPeriod=SPAN),
    ),
    "medication[x]": (
        "medication_request",
        order("two", medicationCodeableConcept=WORDS, medicationReference=NONE),
    ),
    "reported[x]": (
        "medication_request",
        order("two", reportedBoolean=False, reportedReference={"reference": "Patient/p"}),
    ),
    "dosageInstruction.asNeeded[x]": (
        "medication_request",
        order("two", dosageInstruction=[{"asNeededBoolean": False, "asNeededCodeableConcept": WORDS}]),
    ),
    "occurrence[x]": (
        "immunization",
        {
            **_other("Immunization", "two", occurrenceDateTime="2020-01-01", occurrenceString="in spring"),
            "patient": {"reference": "Patient/p"},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("element", TWO)
def test_two_types_of_one_element_are_refused_by_name(lake: Lake, element: str) -> None:
    table, two = TWO[element]
    land(lake, "a/1.json", two)
    run(lake, BY_NAME[table])
    assert by_id(lake, table) == {}
    assert refused(lake, table) == ["one_type_of_each"]
    (said,) = lake.store.scan(quarantine_of(BY_NAME[table])).collect()["reasons"]
    assert f'"doubled":"{element}"' in said


def test_what_states_one_type_lands(lake: Lake) -> None:
    """Also where another one is null, or where a part states another type than the whole."""
    land(
        lake,
        "a/1.json",
        observation("one", valueQuantity=TEN, valueString=None, effectiveDateTime="2020-01-01"),
        observation("parts", valueQuantity=TEN, component=[{**PART, "valueString": "x"}, None]),
        observation("none"),
    )
    run(lake, BY_NAME["observation"])
    assert sorted(by_id(lake, "observation")) == ["none", "one", "parts"]
    assert refused(lake, "observation") == []


def test_every_choice_that_is_read_is_looked_at() -> None:
    found = {name: [element for element, _, _ in _choices(shape)] for name, (_, shape, _) in SHAPES.items()}
    assert {name: elements for name, elements in found.items() if elements} == {
        "patient": ["deceased[x]"],
        "condition": ["onset[x]", "abatement[x]"],
        "observation": ["value[x]", "effective[x]"],
        "procedure": ["performed[x]"],
        "medication_request": ["medication[x]", "reported[x]"],
        "immunization": ["occurrence[x]"],
        "allergy_intolerance": ["onset[x]"],
        "diagnostic_report": ["effective[x]"],
    }


UNSAID = {"_use": {"extension": [{"url": "http://x.example/unknown", "valueCode": "unknown"}]}}


def test_what_may_be_old_is_taken_where_there_is_no_other(lake: Lake) -> None:
    def said(name: str, **use: Any) -> dict[str, Any]:
        phone = {"system": "phone", "value": name, "rank": 1 if use == UNSAID else 2, **use}
        return {"name": [{"family": name, **use}], "telecom": [phone], "address": [{"city": name, **use}]}

    def both(id_: str, *parts: dict[str, Any]) -> dict[str, Any]:
        return patient(id_, **{key: [one for part in parts for one in part[key]] for key in parts[0]})

    ended = {"period": {"end": "2999-01-01"}}
    land(
        lake,
        "a/1.json",
        both("stated", said("old?", **UNSAID), said("new", use="temp")),
        both("plain", said("old?", **UNSAID), said("new")),
        both("ended", said("old?", **UNSAID), said("new", **ended)),
        both("alone", said("old?", **UNSAID), said("gone", use="old")),
    )
    run(lake, BY_NAME["patient"])
    names = ("family_name", "phone", "city")
    assert {i: {row[name] for name in names} for i, row in by_id(lake, "patient").items()} == {
        "stated": {"new"},
        "plain": {"new"},
        "ended": {"new"},
        "alone": {"old?"},
    }
