"""Edges of FHIR R4, each with the one right reading: references, modifiers and histories at their limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_clinical import (
    BY_NAME,
    condition,
    kept_out_by,
    lake,
    land,
    patient,
    refused,
    rows,
    stated,
)
from test_clinical_cases import HERE, by_id, counts, entry, gold, observation, run, visit

from lakehouse.contracts import quarantine_of
from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical.parts import RACE
from lakehouse.domains.clinical.resources import SHAPES
from lakehouse.pipeline import Lake

__all__ = ["lake"]
ABSENT = [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
SAID = [{"url": "http://x.example/not", "valueBoolean": True}]


def order(id_: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": id_,
        "status": "active",
        "intent": "order",
        "authoredOn": "2020-05-05",
        **HERE,
        **more,
    }


# -- references ----


def test_a_reference_without_an_address_is_one(lake: Lake) -> None:
    """R4's Reference may have an identifier, or words, or an extension alone."""
    land(
        lake,
        "a/1.json",
        patient("p", identifier=[{"system": "http://h/mrn", "value": "7 &%"}], birthDate="1950-01-01"),
        visit("v", participant=[{"individual": {"identifier": {"value": "9"}}}]),
        *(
            condition(i, "", onsetDateTime="2020-01-01", subject=subject)
            for i, subject in {
                "identifier": {"identifier": {"system": "http://h/mrn", "value": "7 &%"}},
                "unknown": {"type": "Patient", "identifier": {"value": "7"}},
                "group": {"type": "Group", "identifier": {"system": "http://h/mrn", "value": "7 &%"}},
                "words": {"display": "Jane Roe"},
                "absent": {"extension": ABSENT},
                "unsaid": {"_reference": {"extension": ABSENT}},
                "type": {"type": "Patient"},
                "empty": {},
            }.items()
        ),
    )
    run(lake)
    assert {i: [r["patient_type"], r["patient_ref"]] for i, r in by_id(lake, "condition").items()} == {
        "identifier": [None, "Patient?identifier=http://h/mrn|7%20%26%25"],
        "unknown": ["Patient", "Patient?identifier=|7"],
        "group": ["Group", "Group?identifier=http://h/mrn|7%20%26%25"],
        "words": [None, "(no address)"],
        "absent": [None, "(no address)"],
        "unsaid": [None, "(no address)"],
        "type": ["Patient", "(no address)"],
    }
    assert refused(lake, "condition") == ["patient_ref_present"]
    assert by_id(lake, "encounter")["v"]["practitioner_ref"] == "?identifier=|9"
    assert [(r["patient_id"], r["occurrence_count"]) for r in gold(lake, "condition_era")] == [("p", 1)]
    kinds = ("table", "stated", "resolved_by_identifier", "dangling")
    told = {tuple(r[k] for k in kinds) for r in gold(lake, "fhir_references")}
    assert told == {("condition", 3, 1, 2), ("encounter", 1, 0, 0), ("encounter", 1, 0, 1)}


def test_lists_of_references_have_those_without_an_address_too(lake: Lake) -> None:
    given = [
        {"reference": "Observation/o"},
        None,
        {"identifier": {"system": "s", "value": "1"}},
        {"display": "w"},
    ]
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", **HERE, "result": given}
    other = {"type": "Patient", "identifier": {"value": "1"}}
    land(
        lake,
        "a/1.json",
        report,
        observation("o", hasMember=given[2:]),
        patient("p", link=[{"type": "seealso", "other": other}]),
    )
    run(lake)
    found = rows(lake, "diagnostic_report")[0]
    told = ["Observation/o", "Observation?identifier=s|1", "(no address)"]
    assert (found["results"], found["result_count"]) == (told, 3)
    assert rows(lake, "observation")[0]["members"] == ["?identifier=s|1", "(no address)"]
    assert rows(lake, "patient")[0]["links"] == [{"type": "seealso", "reference": "Patient?identifier=|1"}]


def test_a_full_url_is_what_a_reference_says_whatever_its_form(lake: Lake) -> None:
    """https://hl7.org/fhir/R4/bundle.html#references: a reference into the bundle equals a full URL."""
    land(
        lake,
        "a/1.json",
        {"entry": {"fullUrl": "http://x.example/jane", "resource": patient("p")}},
        {"entry": {"fullUrl": "http://x.example/Patient/old", "resource": patient("q")}},
        condition("c1", "http://x.example/jane", onsetDateTime="2020-01-01"),
        condition("c2", "http://x.example/Patient/old", onsetDateTime="2020-01-01"),
        condition("c3", "http://x.example/Patient/p", onsetDateTime="2020-01-01"),
    )
    escaped = json.dumps(
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [
                {"fullUrl": "http://x.example/jane", "resource": patient("p")},
                {"resource": condition("c4", "http://x.example/jane")},
            ],
        }
    )
    lake.landing.put("clinical/b/1.json", escaped.replace("/", "\\/").encode())
    run(lake)
    told = {i: (r["patient_type"], r["patient_id"]) for i, r in by_id(lake, "condition").items()}
    assert told == {
        "c1": ("Patient", "p"),
        "c2": ("Patient", "q"),
        "c3": ("Patient", "p"),
        "c4": ("Patient", "p"),
    }
    assert [(r["resolved"], r["dangling"]) for r in gold(lake, "fhir_references")] == [(4, 0)]


def test_a_resource_of_another_server_is_none_of_the_cohort(lake: Lake) -> None:
    """Where the bundle's full URLs tell its server; elsewhere an address is all that there is to go by."""
    own, other = "http://own.example/fhir", "http://other.example/fhir"
    stated = {"own": f"{own}/Patient/p", "other": f"{other}/Patient/p", "relative": "Patient/p"}
    stated["version"] = f"{own}/Patient/p/_history/2"
    land(
        lake,
        "a/1.json",
        {"entry": {"fullUrl": f"{own}/Patient/p", "resource": patient("p", birthDate="1950-01-01")}},
        *(
            {"entry": {"fullUrl": f"{own}/Encounter/{i}", "resource": visit(i, of)}}
            for i, of in stated.items()
        ),
        {
            "entry": {
                "fullUrl": f"{own}/MedicationRequest/m",
                "resource": order("m", medicationReference={"reference": f"{other}/Medication/x"}),
            }
        },
        {"resourceType": "Medication", "id": "x", "code": {"coding": [{"code": "wrong"}]}},
    )
    land(lake, "a/2.json", visit("unknown", stated["other"]))
    run(lake)
    told = {r["encounter_id"]: (r["patient_id"], r["age_years"]) for r in gold(lake, "encounter_summary")}
    known = ("p", 70)
    assert told == {
        "own": known,
        "other": (None, None),
        "relative": known,
        "version": known,
        "unknown": known,
    }
    assert by_id(lake, "encounter")["other"]["patient_type"] == "Patient"
    assert all(r["active_medications"] == [] for r in gold(lake, "encounter_summary"))
    dangling = {(r["table"], r["reference"]): r["dangling"] for r in gold(lake, "fhir_references")}
    assert (dangling["encounter", "patient"], dangling["medication_request", "medication"]) == (1, 1)


def test_a_group_of_a_bundle_is_no_patient_though_its_url_has_its_id(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        {"resourceType": "Group", "id": "g"},
        {"resourceType": "Device", "id": "d"},
        visit("v", "urn:uuid:g"),
        observation("o", subject={"reference": "urn:uuid:d"}),
    )
    run(lake)
    told = [(r["patient_id"], r["patient_type"]) for t in ("encounter", "observation") for r in rows(lake, t)]
    assert told == [(None, "Group"), (None, "Device")]
    assert [r["patient_id"] for r in gold(lake, "encounter_summary")] == [None]
    assert [(r["resolved"], r["dangling"]) for r in gold(lake, "fhir_references")] == [(1, 0), (1, 0)]


def test_a_reference_to_a_type_that_r4_does_not_allow_there_dangles(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        patient("p"),
        {"resourceType": "Group", "id": "g"},
        {"resourceType": "Organization", "id": "o", "identifier": [{"value": "1"}]},
        condition("c1", "Organization/o"),
        condition("c2", "Organization?identifier=1"),
        observation("o1", performer=[{"reference": "Group/g"}]),
        observation("o2", performer=[{"reference": "Organization/o"}]),
    )
    run(lake)
    told = {r["table"]: (r["stated"], r["resolved"], r["dangling"]) for r in gold(lake, "fhir_references")}
    assert told == {"condition": (2, 0, 2), "observation": (2, 1, 1)}


# -- what may say anything ----


def test_a_modifier_extension_is_a_name_not_a_word(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        observation("word", valueString="modifierExtension"),
        observation("none", component=[None, {"code": {"text": "x"}}], modifierExtension=[]),
        observation("deep", component=[{"code": {"text": "x", "extension": [{"url": "é"}]}}]),
    )
    escaped = json.dumps(
        observation("escaped", component=[{"code": {"text": "x"}, "modifierExtension": SAID}])
    )
    lake.landing.put("clinical/a/2.ndjson", escaped.replace("modifierE", "modifier\\u0045").encode())
    run(lake)
    assert {i: kept_out_by(r) for i, r in by_id(lake, "observation").items()} == {
        "word": None,
        "none": None,
        "deep": None,
        "escaped": "modifierExtension",
    }


def test_what_modifies_an_entry_or_its_bundle_refuses_it(lake: Lake) -> None:
    """Bundle.entry has a modifierExtension, and Bundle has implicitRules: neither is part of the resource."""
    modified = {"fullUrl": "urn:uuid:o1", "resource": observation("o1"), "modifierExtension": SAID}
    asked = {"method": "PUT", "url": "Observation/o4"}
    land(lake, "a/1.json", patient("p"), {"entry": modified}, observation("o2"))
    land(lake, "a/2.json", observation("o3"), implicitRules="http://x.example/rules")
    land(lake, "a/3.json", observation("o5"), _implicitRules={"extension": ABSENT})
    land(lake, "a/4.json", observation("o6"), type="history", _implicitRules={"extension": ABSENT})
    land(
        lake,
        "a/5.json",
        {"entry": {"resource": observation("o4"), "request": {**asked, "modifierExtension": SAID}}},
        {"entry": {"resource": observation("o7"), "request": asked, "response": {"modifierExtension": SAID}}},
        {"entry": {"resource": observation("o8"), "request": {**asked, "modifierExtension": []}}},
    )
    run(lake)
    assert [r["id"] for r in rows(lake, "observation")] == ["o2", "o8"]
    assert [one.split(",")[0] for one in refused(lake, "fhir_index")] == ["type_valid"] * 6
    assert lake.store.snapshot(c.RAW_FHIR_RESOURCES).rows == 9


@pytest.mark.parametrize("contained", [False, True])
def test_a_medication_that_may_say_anything_names_nothing(lake: Lake, contained: bool) -> None:
    told: dict[str, dict[str, Any]] = {
        "active": {"status": "active"},
        "inactive": {"status": "inactive"},
        "rules": {"implicitRules": "http://x.example/rules"},
        "invented": {"status": "invented"},
        "error": {"status": "entered-in-error"},
        "unsaid": {},
        "rules-unsaid": {"_implicitRules": {"extension": ABSENT}},
        "status-unsaid": {"_status": {"extension": ABSENT}},
        "status-said": {"status": "active", "_status": {"extension": ABSENT}},
    }
    made = {
        i: {"resourceType": "Medication", "id": i, "code": {"coding": [{"code": i}]}, **more}
        for i, more in told.items()
    }
    orders = [
        order(
            f"o-{i}",
            medicationReference={"reference": f"#{i}" if contained else f"Medication/{i}"},
            **({"contained": [one]} if contained else {}),
        )
        for i, one in made.items()
    ]
    land(lake, "a/1.json", patient("p"), visit(), *orders, *([] if contained else made.values()))
    run(lake)
    assert gold(lake, "encounter_summary")[0]["active_medications"] == [
        "active",
        "inactive",
        "status-said",
        "unsaid",
    ]


def test_a_link_that_does_not_say_what_it_means_may_replace_the_record(lake: Lake) -> None:
    link = {"other": {"reference": "Patient/p"}}
    land(
        lake,
        "a/1.json",
        patient("p", link=[{**link, "type": "seealso", "_type": {"extension": ABSENT}}]),
        patient("q", link=[{**link, "_type": {"extension": ABSENT}}]),
    )
    run(lake)
    assert [kept_out_by(r) for r in rows(lake, "patient")] == [None, "link"]


# -- codes and versions that are not R4's ----


def test_a_status_is_the_standards_whatever_stands_before_it(lake: Lake) -> None:
    """A concept with a required binding may say the same in other systems: the standard's is understood."""
    own, standard = {"system": "http://x.example", "code": "R1"}, "http://terminology.hl7.org/CodeSystem/"
    over = {"system": f"{standard}condition-clinical", "code": "resolved"}
    confirmed = {"system": f"{standard}condition-ver-status", "code": "confirmed"}
    told: dict[str, list[Any]] = {
        "before": [own, over],
        "after": [over, own],
        "same": [{**own, "code": "active"}, over],
        "unnamed": [own, None, {"code": "resolved"}],
        "alone": [own],
    }
    land(
        lake,
        "a/1.json",
        patient("p"),
        visit(),
        *(
            condition(i, "Patient/p", onsetDateTime="2010-01-01", clinicalStatus={"coding": codings})
            for i, codings in told.items()
        ),
        {
            "resourceType": "AllergyIntolerance",
            "id": "a",
            "patient": {"reference": "Patient/p"},
            "verificationStatus": {"coding": [own, confirmed]},
        },
    )
    run(lake)
    states = {i: r["clinical_status"] for i, r in by_id(lake, "condition").items()}
    assert states == dict.fromkeys(told, "resolved") | {"alone": "R1"}
    assert rows(lake, "allergy_intolerance")[0]["verification_status"] == "confirmed"
    assert gold(lake, "encounter_summary")[0]["active_conditions"] == []


_OF_P = {"subject": {"reference": "Patient/p"}}
_AT_V = {"context": {"reference": "Encounter/v"}}
OTHER_VERSIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # name: table, what of it R4 has not, the resource
    "DSTU2, an animal": ("patient", "animal", {"animal": {"species": {"text": "dog"}}}),
    "DSTU2, not given": ("immunization", "wasNotGiven", {"wasNotGiven": True}),
    "STU3, not given": ("immunization", "notGiven", {"notGiven": True}),
    "STU3, not done": ("procedure", "notDone", {"notDone": True, **_OF_P}),
    "STU3, a visit": ("observation", "context", {**_OF_P, **_AT_V}),
    "STU3, an end": ("condition", "abatementBoolean", {**_OF_P, "abatementBoolean": True}),
    "DSTU2, a status": ("allergy_intolerance", "status", {"status": "entered-in-error"}),
    "R5, a period": ("encounter", "actualPeriod", {**_OF_P, "actualPeriod": {"start": "2020"}}),
    "R5, a medication": ("medication_request", "medication", {"medication": {"concept": {"text": "x"}}}),
    "R5, a time": ("procedure", "occurrenceDateTime", {"occurrenceDateTime": "2020", **_OF_P}),
    "R5, a value": ("observation", "valueReference", {"valueReference": {"reference": "Group/g"}}),
    "R5, a part": (
        "observation",
        "component[0].valueAttachment",
        {"component": [{"code": {"text": "x"}, "valueAttachment": {"title": "x"}}]},
    ),
    "R5, a modality": (
        "imaging_study",
        "series[0].modality.coding",
        {**_OF_P, "series": [{"modality": {"coding": [{"code": "CT"}]}}]},
    ),
}


@pytest.mark.parametrize("name", OTHER_VERSIONS)
def test_a_resource_of_another_version_is_refused_by_its_name(lake: Lake, name: str) -> None:
    """As R4 it would say less, or the opposite: `notGiven` beside `completed` is no vaccination."""
    table, element, more = OTHER_VERSIONS[name]
    resource = {
        "resourceType": SHAPES[table][0],
        "id": "x",
        "status": "completed",
        "intent": "order",
        "class": {"code": "AMB"},
        **more,
    }
    if table in ("patient", "condition"):
        del resource["status"]
    land(lake, "a/1.json", patient("p"), resource)
    run(lake, BY_NAME[table], c.FHIR_INDEX)
    assert [one.split(",")[0] for one in refused(lake, table)] == ["resource_readable"]
    told = str(lake.store.scan(quarantine_of(BY_NAME[table])).collect()["reasons"][0])
    assert f"An element that FHIR R4 has not, of another version - at `$.{element}`" in told


def test_the_same_elements_without_a_value_are_none(lake: Lake) -> None:
    land(lake, "a/1.json", observation("o", context=None), patient("p", animal=None))
    run(lake, c.SILVER[0], BY_NAME["observation"])
    assert [r["id"] for t in ("observation", "patient") for r in rows(lake, t)] == ["o", "p"]


# -- values ----


def test_all_instructions_and_what_the_need_is_are_told(lake: Lake) -> None:
    dosages: dict[str, list[Any]] = {
        "taper": [{"sequence": 1, "text": "two"}, {"sequence": 2, "text": "one"}],
        "later": [None, {"timing": {}, "asNeededBoolean": False}, {"text": "one"}],
        "need": [{"asNeededCodeableConcept": {"text": "pain"}}],
        "none": [],
    }
    land(lake, "a/1.json", *(order(i, dosageInstruction=given) for i, given in dosages.items()))
    run(lake)
    assert {i: (r["dosage"], r["as_needed"]) for i, r in by_id(lake, "medication_request").items()} == {
        "taper": (["two", "one"], None),
        "later": (["one"], False),
        "need": (None, True),
        "none": (None, None),
    }


def test_a_class_in_words_is_a_class(lake: Lake) -> None:
    land(lake, "a/1.json", visit("v", **{"class": {"display": "ambulatory"}}), visit("w"))
    run(lake)
    assert [r["class"] for r in rows(lake, "encounter")] == ["ambulatory", "AMB"]
    assert counts(gold(lake, "encounter_summary")[0]) == [0, 0, 0, 0]


# -- histories ----

T1, T3, NOW = "2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z", "2024-06-01T00:00:00Z"
AGAIN: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a page that begins with it": ([entry("p", "new", "3", T3), entry("p")], {"meta": {"lastUpdated": NOW}}),
    "versions alone": ([entry("p", "new", "3"), entry("p", etag='W/"2"'), entry("p", "old", "1")], {}),
    "order alone": ([entry("p", "new"), entry("p"), entry("p", "old")], {}),
    "order, and the bundle's time": (
        [entry("p", "new"), entry("p"), entry("p", "old")],
        {"timestamp": NOW},
    ),
    "an etag of the deletion": ([entry("p", "new", at=T3), entry("p", etag='W/"2"')], {"timestamp": NOW}),
    "the newest alone is dated": ([entry("p", "new", "4", T3), entry("p", "old", "3"), entry("p")], {}),
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_was_made_again_after_an_undated_deletion_is_there(lake: Lake, name: str) -> None:
    """A history is newest first: https://hl7.org/fhir/R4/http.html#history."""
    entries, bundle = AGAIN[name]
    land(lake, "a/1.json", *entries, type="history", **bundle)
    run(lake, c.SILVER[0], c.FHIR_INDEX)
    one = by_id(lake, "patient")["p"]
    assert (one["gender"], one["is_deleted"]) == ("new", False)
    assert lake.store.snapshot(c.RAW_FHIR_RESOURCES).rows == len(entries)


def test_a_part_of_a_resource_does_not_replace_the_whole(lake: Lake) -> None:
    """https://hl7.org/fhir/R4/search.html#summary: that is what the tag is for."""
    meta = {"lastUpdated": T1, "versionId": "1"}
    tags = {"tag": [None, {"system": "http://x.example", "code": "other"}]}
    part = {"tag": [{"code": "SUBSETTED"}], "lastUpdated": T3, "versionId": "2"}
    land(lake, "a/1.json", patient("p", meta=meta | tags, birthDate="1950-01-01"))
    run(lake)
    land(lake, "a/2.json", patient("p", meta=part), type="searchset")
    run(lake)
    assert [(str(r["birth_date"]), r["version_id"]) for r in rows(lake, "patient")] == [("1950-01-01", "1")]
    assert refused(lake, "patient") == ["resource_readable"]


def test_words_are_no_reference_where_none_must_be_given(lake: Lake) -> None:
    words = {"display": "Dr. Jane Roe"}
    land(lake, "a/1.json", observation("o", performer=[words]), condition("c", "-", subject=words))
    run(lake)
    assert rows(lake, "observation")[0]["performer_ref"] is None
    assert rows(lake, "condition")[0]["patient_ref"] == "(no address)"
    assert gold(lake, "fhir_references") == []


# -- what is said without a value ----


def _absent(code: str, **more: Any) -> dict[str, Any]:
    return {"dataAbsentReason": {"coding": [{"code": code}]}, **more}


def test_an_observation_that_was_not_made_counts_as_none(lake: Lake) -> None:
    """R4's data-absent-reason: `not-performed`, `not-asked`; by all others somebody has looked or asked."""
    one, two = {"code": {"text": "one"}}, {"code": {"text": "two"}}
    made = {
        "unknown": _absent("unknown"),
        "declined": _absent("asked-declined"),
        "part": _absent("not-performed", component=[{**one, "valueString": "seen"}]),
        "member": _absent("not-performed", hasMember=[{"reference": "Observation/unknown"}]),
        "half": {"component": [{**one, **_absent("not-performed")}, {**two, **_absent("error")}]},
    }
    not_made = {
        "not-performed": _absent("not-performed"),
        "not-asked": _absent("not-asked"),
        "parts": {"component": [{**one, **_absent("not-performed")}, {**two, **_absent("not-asked")}]},
    }
    all_ = {i: observation(i, **HERE, **more) for i, more in (made | not_made).items()}
    land(lake, "a/1.json", patient("p"), visit(), *all_.values())
    run(lake)
    told = {i: kept_out_by(row) for i, row in by_id(lake, "observation").items()}
    assert told == dict.fromkeys(made) | dict.fromkeys(not_made, "dataAbsentReason")
    assert counts(gold(lake, "encounter_summary")[0])[0] == len(made)


def test_an_element_with_extensions_alone_is_stated(lake: Lake) -> None:
    """https://hl7.org/fhir/R4/json.html#primitive: `_x` without `x` is an element that has no value."""
    unknown = {"extension": ABSENT}
    begun = {"onsetDateTime": "2010-01-01"}
    land(
        lake,
        "a/1.json",
        patient("p", _deceasedDateTime=unknown),
        patient("q", _deceasedBoolean=unknown),
        visit(),
        condition("over", "Patient/p", **begun, _abatementDateTime=unknown),
        condition("ended", "Patient/p", **begun, _abatementString=unknown),
        order("rules", _implicitRules=unknown),
        order("maybe-not", _doNotPerform=unknown),
        order("given", doNotPerform=False, _doNotPerform=unknown),
        {
            "resourceType": "Immunization",
            "id": "weak",
            "status": "completed",
            "_isSubpotent": unknown,
            "patient": {"reference": "Patient/p"},
            "vaccineCode": {"text": "x"},
            "occurrenceDateTime": "2020-05-05",
        },
    )
    reports = run(lake)
    assert {i: row["deceased"] for i, row in by_id(lake, "patient").items()} == {"p": True, "q": None}
    assert {i: row["abatement_type"] for i, row in by_id(lake, "condition").items()} == {
        "over": "DateTime",
        "ended": "String",
    }
    assert gold(lake, "encounter_summary")[0]["active_conditions"] == []
    assert {i: kept_out_by(row) for i, row in by_id(lake, "medication_request").items()} == {
        "rules": "implicitRules",
        "maybe-not": "doNotPerform",
        "given": None,
    }
    assert by_id(lake, "immunization")["weak"]["kept_out_by"] == ["isSubpotent"]
    assert reports["medication_request"].warnings["modifiers_understood"] == 2
    assert reports["immunization"].warnings["modifiers_understood"] == 1


# -- what is said more than once, or of another than the first ----


def test_all_that_is_said_of_a_value_is_there(lake: Lake) -> None:
    """Interpretations, categories and severities are lists in R4; an age or a unit is as its system says."""
    high, up = {"coding": [{"code": "H"}]}, {"coding": [{"code": "U"}]}
    snomed = {"value": 5, "unit": "mL", "code": "258773002", "system": "http://snomed.info/sct"}
    coding = {"system": "s", "version": "2019", "code": "c", "userSelected": True}
    land(
        lake,
        "a/1.json",
        observation("two", interpretation=[high, up], category=[{"coding": [coding]}, {"text": "mine"}]),
        observation("words", interpretation=[{"text": "High"}], focus=[{"reference": "Patient/fetus"}]),
        observation("snomed", valueQuantity=snomed),
        observation("ucum", valueQuantity={**snomed, "code": "ml", "system": "http://unitsofmeasure.org"}),
        observation("bare", valueQuantity={"value": 5, "code": "ml"}),
        observation("part", component=[{"code": {"text": "c"}, "interpretation": [high, {"text": "odd"}]}]),
        order("told", reportedReference={"reference": "Patient/p"}),
        order("first-hand", reportedBoolean=False),
        {
            "resourceType": "AllergyIntolerance",
            "id": "a",
            "patient": {"reference": "Patient/p"},
            "category": ["food", "medication"],
            "reaction": [{"manifestation": [{"text": "x"}]}, {"severity": "mild"}, {"severity": "severe"}],
        },
        visit(
            location=[
                {"location": {"reference": "Location/next"}, "status": "planned"},
                {"location": {"reference": "Location/here"}, "status": "active"},
            ]
        ),
    )
    run(lake)
    one = by_id(lake, "observation")
    assert [one["two"][n] for n in ("interpretation", "category", "category_system")] == ["H", "c", "s"]
    assert stated(one["two"]["interpretation_codings"]) == [{"code": "H"}, {"code": "U"}]
    assert stated(one["two"]["category_codings"]) == [
        {name if name != "userSelected" else "user_selected": value for name, value in coding.items()}
    ]
    assert (one["words"]["interpretation"], one["words"]["interpretation_display"]) == (None, "High")
    assert one["words"]["focus"] == ["Patient/fetus"]
    assert [one[i]["value_unit"] for i in ("snomed", "ucum", "bare")] == ["mL", "ml", "ml"]
    assert one["part"]["components"][0]["interpretation"] == ["H", "odd"]
    requests = by_id(lake, "medication_request")
    assert [requests[i]["reported"] for i in ("told", "first-hand")] == [True, False]
    allergy = by_id(lake, "allergy_intolerance")["a"]
    assert (allergy["category"], allergy["categories"]) == ("food", ["food", "medication"])
    assert allergy["reaction_severity"] == "severe"
    assert by_id(lake, "encounter")["v"]["location_id"] == "here"


def test_a_comparator_whose_value_is_not_known_makes_a_bound(lake: Lake) -> None:
    said = {"value": 12.3, "unit": "mg", "_comparator": {"extension": ABSENT}}
    plain = {"value": 12.3, "unit": "mg", "_comparator": {}}
    part = [{"code": {"coding": [{"code": "a"}]}, "valueQuantity": said}]
    land(
        lake,
        "a/1.json",
        patient("p"),
        observation("said", valueQuantity=said),
        observation("plain", valueQuantity=plain),
        observation("part", component=part),
    )
    run(lake)
    one, names = by_id(lake, "observation"), ("value", "value_text", "value_comparator", "value_bound")
    assert [one["said"][name] for name in names] == [None, None, "?", "12.3"]
    assert [one["plain"][name] for name in names] == [12.3, "12.3", None, None]
    told = one["part"]["components"][0]
    assert [told[name] for name in ("value", "value_comparator", "value_bound")] == [None, "?", "12.3"]


# -- deletions ----


def test_a_bulk_export_tells_what_was_deleted_and_a_transaction_asks(lake: Lake) -> None:
    """As in the Bulk Data guide: a line of a `deleted` file is a transaction of deletions, with its time."""

    def deletion(*ids: str, **more: Any) -> dict[str, Any]:
        entries = [{"request": {"method": "DELETE", "url": f"Patient/{i}"}} for i in ids]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries, **more}

    time = {"meta": {"lastUpdated": "2021-01-01T00:00:00Z"}}
    asked = {"resource": patient("kept"), "request": {"method": "DELETE", "url": "Patient/kept"}}
    made = [
        *(patient(i, meta={"lastUpdated": "2020-01-01T00:00:00Z"}) for i in ("p", "q", "kept")),
        patient("again", meta={"lastUpdated": "2022-01-01T00:00:00Z"}),
        deletion("p", "again", **time),
        deletion("q"),  # no time: it could not be told from a later version
        {**deletion("kept", **time), "entry": [asked]},
    ]
    lake.landing.put("clinical/a/1.ndjson", "\n".join(map(json.dumps, made)).encode())
    lake.landing.put("clinical/a/2.json", json.dumps(deletion("kept", **time)).encode())
    land(lake, "a/3.json", {"entry": {**asked, "resource": patient("never")}})
    run(lake)
    assert {i: row["is_deleted"] for i, row in by_id(lake, "patient").items()} == {
        "p": True,
        "q": False,
        "again": False,
        "kept": False,
    }
    assert refused(lake, "fhir_index") == ["type_valid,id_valid"] * 4


def test_a_patch_is_no_resource_but_a_history_tells_what_came_of_it(lake: Lake) -> None:
    """https://hl7.org/fhir/R4/http.html#patch: the entry of a transaction has what is to change."""
    patch = {"method": "PATCH", "url": "Patient/p"}
    land(lake, "a/1.json", patient("p", birthDate="1950-01-01"), patient("q"))
    run(lake, c.SILVER[0], c.FHIR_INDEX)
    binary = {"resourceType": "Binary", "id": "b", "contentType": "application/json-patch+json"}
    land(
        lake, "a/2.json", *({"entry": {"resource": one, "request": patch}} for one in (patient("p"), binary))
    )
    whole = {"resource": patient("q", birthDate="1960-01-01"), "request": {**patch, "url": "Patient/q"}}
    land(lake, "a/3.json", {"entry": whole}, type="history")
    run(lake, c.SILVER[0], c.FHIR_INDEX)
    assert {i: str(r["birth_date"]) for i, r in by_id(lake, "patient").items()} == {
        "p": "1950-01-01",
        "q": "1960-01-01",
    }
    assert [one.split(",")[0] for one in refused(lake, "fhir_index")] == ["type_valid"] * 2


def test_the_modality_is_that_of_the_study_where_no_series_says_it(lake: Lake) -> None:
    study = {"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": "Patient/p"}}
    ct, mr = {"code": "CT"}, {"code": "MR"}
    land(
        lake,
        "a/1.json",
        {**study, "id": "study", "modality": [ct, mr]},
        {**study, "id": "both", "modality": [ct], "series": [{"modality": mr}]},
        {**study, "id": "unsaid", "modality": [ct], "series": [{"uid": "1"}]},
    )
    run(lake, BY_NAME["imaging_study"])
    told = {i: r["modality"] for i, r in by_id(lake, "imaging_study").items()}
    assert told == {"study": "CT", "both": "MR", "unsaid": "CT"}


def test_the_first_of_several_races_is_told(lake: Lake) -> None:
    categories = [{"url": "ombCategory", "valueCoding": {"code": i, "display": i}} for i in ("one", "two")]
    land(lake, "a/1.json", patient("p", extension=[{"url": RACE, "extension": categories}]))
    run(lake, c.SILVER[0])
    assert rows(lake, "patient")[0]["race"] == "one"
