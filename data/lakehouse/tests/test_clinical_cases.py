"""Small FHIR inputs with the one right reading of each: what a modifier or a type says is in the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest
import test_clinical
from test_clinical import (
    BY_NAME,
    SHARED,
    SILVER,
    condition,
    kept_out_by,
    lake,
    land,
    patient,
    refused,
    rows,
    stated,
)

from lakehouse.contracts import Contract
from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical import reading, transforms
from lakehouse.pipeline import Lake, RefreshReport, refresh
from lakehouse.verify import conservation_problems, content_hash

__all__ = ["lake"]
GOLD_BY = {"encounter_summary": "encounter_id", "condition_era": "patient_id", "fhir_references": "reference"}


def run(lake: Lake, *tables: Contract, full: bool = False) -> dict[str, RefreshReport]:
    """Bring Bronze and Silver up; a table of Gold is brought up when it is looked at."""
    return test_clinical.run(lake, *(tables or SILVER), full=full)


def gold(lake: Lake, table: str) -> list[dict[str, Any]]:
    refresh(lake, BY_NAME[table], getattr(transforms, table))
    return lake.store.scan(BY_NAME[table]).sort(GOLD_BY[table]).collect().rows(named=True)


def visit(id_: str = "v", of: str = "Patient/p", day: str = "2020-05-05", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": of},
        "period": {"start": f"{day}T10:00:00Z", "end": f"{day}T10:30:00Z"},
        **more,
    }


def observation(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}, **more}


def by_id(lake: Lake, table: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows(lake, table)}


def active(lake: Lake) -> dict[str, list[str]]:
    return {row["encounter_id"]: row["active_conditions"] for row in gold(lake, "encounter_summary")}


def counts(row: dict[str, Any]) -> list[int]:
    return [row[f"{name}_count"] for name in ("observation", "procedure", "immunization", "report")]


# -- the cases that every lake is judged by ----


def comparator(lake: Lake) -> None:
    one = by_id(lake, "observation")
    value = ("value", "value_text", "value_comparator", "value_bound", "value_type")
    assert [one["lt"][n] for n in value] == [None, None, "<", "0.01", "Quantity"]
    assert [one["eq"][n] for n in value] == [0.01, "0.01", None, None, "Quantity"]
    assert json.loads(one["ratio"]["value_json"]) == {
        "numerator": {"value": 1},
        "denominator": {"value": 128},
    }
    assert json.loads(one["rng"]["value_json"]) == {"low": {"value": 3}, "high": {"value": 5}}
    assert [one[n]["value_type"] for n in ("ratio", "rng")] == ["Ratio", "Range"]
    part = one["comp"]["components"][0]
    assert (part["value"], part["value_comparator"], part["value_bound"]) == (None, ">", "300")
    assert refused(lake, "observation") == ["resource_readable,id_valid,status_present"]
    assert "strval" not in one


def history(lake: Lake) -> None:
    one = by_id(lake, "patient")
    assert (one["h7"]["gender"], one["h7"]["version_id"], one["h7"]["is_deleted"]) == ("female", "2", False)
    assert (one["h8"]["gender"], one["h8"]["is_deleted"], one["h8"]["kept_out_by"]) == (
        None,
        True,
        ["deleted"],
    )


def negated(lake: Lake) -> None:
    summary = gold(lake, "encounter_summary")[0]
    assert summary["active_conditions"] == ["CONFIRMED"]
    assert (summary["active_medications"], counts(summary)) == ([], [0, 0, 0, 0])
    assert [row["code"] for row in gold(lake, "condition_era")] == ["CONFIRMED"]
    told = {row["id"]: kept_out_by(row) for name in c.SILVER for row in rows(lake, name.name)}
    assert told == {
        "neg": None,
        "nege": None,
        "n1": None,
        "n2": "verificationStatus",
        "n3": "verificationStatus",
        "n4": "doNotPerform",
        "n5": "status",
        "n6": "status",
        "n7": "status",
        "n8": "status",
    }


def birthdate_time(lake: Lake) -> None:
    assert {i: row["birth_date"] for i, row in by_id(lake, "patient").items()} == {
        "b1": date(1970, 1, 1),
        "b2": date(1985, 7, 10),
        "b3": date(1985, 7, 10),
    }


def wrong_type_ref(lake: Lake) -> None:
    assert [
        (r["table"], r["reference"], r["resolved"], r["dangling"]) for r in gold(lake, "fhir_references")
    ] == [("imaging_study", "patient", 0, 1)]


CASES: dict[str, Callable[[Lake], None]] = {
    "comparator.ndjson": comparator,
    "history.json": history,
    "negated.ndjson": negated,
    "birthdate_time.ndjson": birthdate_time,
    "wrong_type_ref.ndjson": wrong_type_ref,
}


def case(name: str) -> bytes:
    path = SHARED / "cases" / name
    if not path.is_file():
        pytest.skip(f"no real data at {path} (set ODP_SHARED_DATA)")
    return path.read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_each_case_has_its_right_value(lake: Lake, name: str) -> None:
    lake.landing.put(f"clinical/a/{name}", case(name))
    run(lake)
    CASES[name](lake)


def test_two_sites_with_the_same_ids_are_two_patients(lake: Lake) -> None:
    lake.landing.put("clinical/a/site.ndjson", case("site_a.ndjson"))
    run(lake)
    lake.landing.put("clinical/b/site.ndjson", case("site_b.ndjson"))
    run(lake)
    told = sorted((row["cohort"], row["id"], row["gender"]) for row in rows(lake, "patient"))
    assert told == [("a", "1", "male"), ("b", "1", "female")]
    assert [(row["cohort"], row["age_years"]) for row in gold(lake, "encounter_summary")] == [("a", 70)]


# -- identity ----


def test_equal_bytes_in_two_cohorts_are_two_files(lake: Lake) -> None:
    body = json.dumps(patient("p")).encode()
    lake.landing.put("clinical/a/1.json", body)
    lake.landing.put("clinical/b/1.json", body)
    lake.landing.put("clinical/a/copy.json", body)
    run(lake)
    lake.landing.put("clinical/c/other.json", body)
    lake.landing.put("clinical/b/again.json", body)
    run(lake)
    assert sorted((row["cohort"], row["id"]) for row in rows(lake, "patient")) == [
        ("a", "p"),
        ("b", "p"),
        ("c", "p"),
    ]
    assert lake.store.snapshot(c.RAW_FHIR_RESOURCES).rows == 3


def test_references_resolve_in_the_cohort_then_in_a_shared_one(lake: Lake) -> None:
    doctor = {"resourceType": "Practitioner", "identifier": [{"system": "npi", "value": "9"}]}
    land(lake, "reference/1.json", {**doctor, "id": "doc"}, patient("shared", birthDate="1980-01-01"))
    land(
        lake,
        "b/1.json",
        {**doctor, "id": "elsewhere", "identifier": [{"system": "npi", "value": "7"}]},
        patient("far"),
    )
    land(
        lake,
        "a/1.json",
        patient("p", identifier=[{"system": "mrn", "value": "77"}], birthDate="1950-05-06"),
        visit("own", participant=[{"individual": {"reference": "Practitioner?identifier=npi|9"}}]),
        visit("shared", "Patient/shared", participant=[{"individual": {"reference": "Practitioner/doc"}}]),
        visit(
            "ident",
            "Patient?identifier=mrn%7C77",
            participant=[{"individual": {"reference": "Practitioner?identifier=npi|7"}}],
        ),
        visit("far", "Patient/far", participant=[{"individual": {"reference": "Organization/doc"}}]),
        condition("c1", "Patient?identifier=mrn|77", onsetDateTime="2019-01-01"),
        condition("c2", "Patient?identifier=mrn|unknown", onsetDateTime="2019-01-01"),
    )
    run(lake)
    told = {
        row["encounter_id"]: (row["patient_cohort"], row["patient_id"], row["age_years"])
        for row in gold(lake, "encounter_summary")
    }
    assert told == {
        "own": ("a", "p", 69),
        "shared": ("reference", "shared", 40),
        "ident": ("a", "p", 69),
        "far": ("a", "far", None),
    }
    assert active(lake) == {"own": ["44054006"], "shared": [], "ident": ["44054006"], "far": []}
    eras = [(row["cohort"], row["patient_id"]) for row in gold(lake, "condition_era")]
    assert eras == [("a", "p")]
    kinds = ("table", "reference", "stated", "resolved", "resolved_by_identifier", "contained", "dangling")
    assert sorted(tuple(row[k] for k in kinds) for row in gold(lake, "fhir_references")) == [
        ("condition", "patient", 2, 0, 1, 0, 1),
        ("encounter", "patient", 4, 2, 1, 0, 1),
        ("encounter", "practitioner", 4, 1, 1, 0, 2),
    ]


def test_a_group_is_no_patient_of_the_same_id(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        patient("1", birthDate="1950-01-01"),
        {"resourceType": "Group", "id": "1"},
        visit("v", "Group/1"),
        condition("c", "Group/1", onsetDateTime="2019-01-01"),
        visit("w", "Patient/1"),
    )
    run(lake)
    assert [(r["patient_id"], r["patient_type"]) for r in rows(lake, "encounter")] == [
        (None, "Group"),
        ("1", "Patient"),
    ]
    assert [(r["patient_id"], r["age_years"]) for r in gold(lake, "encounter_summary")] == [
        (None, None),
        ("1", 70),
    ]
    assert (gold(lake, "condition_era"), active(lake)) == ([], {"v": [], "w": []})
    assert sum(r["resolved"] for r in gold(lake, "fhir_references")) == 3


def test_a_reference_into_the_bundle_has_the_type_of_what_it_means(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        {"entry": {"fullUrl": "urn:uuid:0001", "resource": {"resourceType": "Organization", "id": "o"}}},
        {"entry": {"fullUrl": "urn:uuid:v", "resource": visit("v", "urn:uuid:0001")}},
        patient("o"),
        observation("x", encounter={"reference": "urn:uuid:v"}),
    )
    run(lake)
    assert [(r["patient_id"], r["patient_type"]) for r in rows(lake, "encounter")] == [(None, "Organization")]
    assert counts(gold(lake, "encounter_summary")[0]) == [1, 0, 0, 0]


# -- what did not happen ----

STATUSES = {
    "Encounter": (
        "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown",
        "arrived triaged in-progress onleave finished",
    ),
    "Observation": (
        "registered preliminary final amended corrected cancelled entered-in-error unknown",
        "preliminary final amended corrected",
    ),
    "Procedure": (
        "preparation in-progress not-done on-hold stopped completed entered-in-error unknown",
        "in-progress on-hold stopped completed",
    ),
    "MedicationRequest": (
        "active on-hold cancelled completed entered-in-error stopped draft unknown",
        "active on-hold completed stopped",
    ),
    "Immunization": ("completed entered-in-error not-done", "completed"),
    "DiagnosticReport": (
        "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown",
        "partial preliminary final amended corrected appended",
    ),
    "ImagingStudy": ("registered available cancelled entered-in-error unknown", "available"),
}
"""Resource -> every code of its status in R4, and those with which it counts."""
HERE = {"subject": {"reference": "Patient/p"}, "encounter": {"reference": "Encounter/v"}}
WITH = {
    "Encounter": {
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"},
        "period": {"start": "2020-05-05"},
    },
    "Observation": HERE,
    "Procedure": HERE,
    "DiagnosticReport": HERE,
    "ImagingStudy": HERE,
    "MedicationRequest": {**HERE, "intent": "order", "authoredOn": "2020-05-05"},
    "Immunization": {"patient": HERE["subject"], "encounter": HERE["encounter"]},
}
TABLE_OF = {
    "MedicationRequest": "medication_request",
    "DiagnosticReport": "diagnostic_report",
    "ImagingStudy": "imaging_study",
}


def test_every_status_of_r4_counts_or_is_kept_out_of_gold(lake: Lake) -> None:
    made = [
        {
            "resourceType": kind,
            "id": status,
            "status": status,
            **WITH[kind],
            **(
                {"medicationCodeableConcept": {"coding": [{"code": status}]}}
                if kind == "MedicationRequest"
                else {}
            ),
        }
        for kind, (every, _) in STATUSES.items()
        for status in [*every.split(), "invented"]
    ]
    intents = "proposal plan order original-order reflex-order filler-order instance-order option"
    made += [
        {
            "resourceType": "MedicationRequest",
            "id": f"i-{intent}",
            "status": "active",
            **WITH["MedicationRequest"],
            "intent": intent,
            "medicationCodeableConcept": {"coding": [{"code": f"i-{intent}"}]},
        }
        for intent in intents.split()
    ]
    land(lake, "a/1.json", patient("p"), visit(), *made)
    reports = run(lake)
    for kind, (_, counting) in STATUSES.items():
        found = by_id(lake, TABLE_OF.get(kind, kind.lower()))
        held = {
            i
            for i, row in found.items()
            if row["kept_out_by"] is None and i != "v" and not i.startswith("i-")
        }
        assert held == set(counting.split()), kind
        assert {kept_out_by(row) for row in found.values()} <= {None, "status", "intent"}
    summary = {row["encounter_id"]: row for row in gold(lake, "encounter_summary")}
    assert summary.keys() == {"v", *STATUSES["Encounter"][1].split()}
    assert counts(summary["v"]) == [4, 4, 1, 6]
    medications = set(summary["v"]["active_medications"])
    assert medications == {"active", "on-hold", "completed", "stopped"} | {
        f"i-{intent}" for intent in intents.split() if intent.endswith("order")
    }
    tables = [TABLE_OF.get(kind, kind.lower()) for kind in STATUSES]
    assert {name: reports[name].warnings["modifiers_understood"] for name in tables} == dict.fromkeys(
        tables, 1
    )


def test_verification_counts_whatever_coding_says_it(lake: Lake) -> None:
    def said(*codings: tuple[str | None, str]) -> dict[str, Any]:
        return {"verificationStatus": {"coding": [{"system": s, "code": code} for s, code in codings]}}

    hl7 = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    made = {
        "confirmed": said((hl7, "confirmed")),
        "differential": said((hl7, "differential")),
        "provisional": said((hl7, "provisional")),
        "unconfirmed": said((None, "unconfirmed")),
        "unsaid": {},
        "second": said(("local", "X"), (hl7, "refuted")),
        "both": said((hl7, "confirmed"), (hl7, "refuted")),
        "foreign": said(("local", "X")),
        "words": {"verificationStatus": {"text": "refuted"}},
        "error": said((hl7, "entered-in-error")),
    }
    land(
        lake,
        "a/1.json",
        *(condition(i, "Patient/p", onsetDateTime="2019-01-01", **more) for i, more in made.items()),
        *(
            {"resourceType": "AllergyIntolerance", "id": i, "patient": {"reference": "Patient/p"}, **more}
            for i, more in made.items()
        ),
    )
    run(lake)
    out = {"second", "both", "foreign", "words", "error"}
    assert {
        i for i, row in by_id(lake, "condition").items() if kept_out_by(row) == "verificationStatus"
    } == out
    out |= {"differential", "provisional"}  # no codes of an allergy's verification
    assert {i for i, row in by_id(lake, "allergy_intolerance").items() if row["kept_out_by"]} == out
    assert gold(lake, "condition_era")[0]["occurrence_count"] == 5


def test_what_may_say_anything_is_flagged_warned_of_and_kept_out(lake: Lake) -> None:
    said = [{"url": "http://x.example/not", "valueBoolean": True}]
    land(
        lake,
        "a/1.json",
        patient(
            "p", birthDate="1950-01-01", link=[{"type": "replaced-by", "other": {"reference": "Patient/q"}}]
        ),
        visit(),
        visit("w", implicitRules="http://x.example/rules"),
        observation("o1", **HERE, modifierExtension=said),
        observation("o2", **HERE, component=[{"code": {"text": "c"}, "modifierExtension": said}]),
        observation("o3", **HERE, valueString='"modifierExtension": is only a text', extension=said),
        {
            "resourceType": "Immunization",
            "id": "i",
            "status": "completed",
            "isSubpotent": True,
            **WITH["Immunization"],
        },
        condition("c", "Patient/p", onsetDateTime="2019-01-01", modifierExtension=said),
        {
            "resourceType": "MedicationRequest",
            "id": "m",
            "status": "active",
            **WITH["MedicationRequest"],
            "medicationReference": {"reference": "Medication/bad"},
        },
        {
            "resourceType": "Medication",
            "id": "bad",
            "status": "entered-in-error",
            "code": {"coding": [{"code": "x"}]},
        },
    )
    reports = run(lake)
    told = {
        row["id"]: kept_out_by(row)
        for name in ("patient", "encounter", "observation", "immunization", "condition")
        for row in rows(lake, name)
    }
    assert told == {
        "p": "link",
        "v": None,
        "w": "implicitRules",
        "o1": "modifierExtension",
        "o2": "modifierExtension",
        "o3": None,
        "i": "isSubpotent",
        "c": "modifierExtension",
    }
    summary = gold(lake, "encounter_summary")
    assert [
        (r["encounter_id"], r["age_years"], r["active_conditions"], r["active_medications"]) for r in summary
    ] == [("v", None, [], [])]
    assert counts(summary[0]) == [1, 0, 0, 0]
    assert {name: reports[name].warnings for name in ("encounter", "observation", "condition")} == {
        "encounter": {"modifiers_understood": 1},
        "observation": {"modifiers_understood": 2},
        "condition": {"modifiers_understood": 1},
    }


# -- history ----


def entry(
    id_: str,
    gender: str | None = None,
    version: str | None = None,
    at: str | None = None,
    *,
    modified: str | None = None,
    etag: str | None = None,
) -> dict[str, Any]:
    """One entry of a history; without a gender a deletion."""
    meta = {k: v for k, v in (("versionId", version), ("lastUpdated", at)) if v}
    response = {k: v for k, v in (("lastModified", modified), ("etag", etag)) if v}
    given = {"resource": patient(id_, gender=gender, **({"meta": meta} if meta else {}))} if gender else {}
    method = "PUT" if gender else "DELETE"
    return {
        "entry": {
            **given,
            "request": {"method": method, "url": f"Patient/{id_}"},
            **({"response": {"status": "200", **response}} if response else {}),
        }
    }


HISTORIES: dict[str, tuple[list[list[dict[str, Any]]], str | None]] = {
    "numbers, not texts": ([[entry("p", "new", "10"), entry("p", "old", "9")]], "new"),
    "oldest first": ([[entry("p", "old", "1"), entry("p", "new", "2")]], "new"),
    "by the bundle's time": (
        [
            [
                entry("p", "new", modified="2024-02-01T00:00:00Z"),
                entry("p", "old", modified="2024-01-01T00:00:00Z"),
            ]
        ],
        "new",
    ),
    "by etag": ([[entry("p", "old", etag='W/"1"'), entry("p", "new", etag='W/"2"')]], "new"),
    "newest first and nothing else": ([[entry("p", "new"), entry("p", "old")]], "new"),
    "an undated one after a dated one": (
        [[entry("p", "new", "2"), entry("p", "old", "1", "2024-01-01T00:00:00Z")]],
        "new",
    ),
    "deleted, undated": ([[entry("p"), entry("p", "old", "1", "2024-01-01T00:00:00Z")]], None),
    "deleted in a later file": (
        [[entry("p", "old", "1", "2024-01-01T00:00:00Z")], [entry("p", modified="2024-02-01T00:00:00Z")]],
        None,
    ),
    "deleted in an earlier file": (
        [[entry("p", modified="2024-02-01T00:00:00Z")], [entry("p", "old", "1", "2024-01-01T00:00:00Z")]],
        None,
    ),
    "deleted without any time": ([[entry("p")], [entry("p", "old", "1", "2024-01-01T00:00:00Z")]], None),
    "deleted and made again": (
        [
            [
                entry("p", "new", "3", modified="2024-03-01T00:00:00Z"),
                entry("p", modified="2024-02-01T00:00:00Z"),
                entry("p", "old", "1", modified="2024-01-01T00:00:00Z"),
            ]
        ],
        "new",
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_newest_version_of_a_history_stays(lake: Lake, name: str) -> None:
    files, gender = HISTORIES[name]
    for number, entries in enumerate(files):
        land(lake, f"a/{number}.json", *entries, type="history")
        run(lake, c.SILVER[0], c.FHIR_INDEX)
    one = by_id(lake, "patient")["p"]
    assert (one["gender"], one["is_deleted"]) == (gender, gender is None)
    assert conservation_problems(lake, c.SILVER[0]) == []
    before = {
        table.name: content_hash(table, lake.store.scan(table)) for table in (c.SILVER[0], c.FHIR_INDEX)
    }
    run(lake, c.SILVER[0], c.FHIR_INDEX, full=True)
    assert {t.name: content_hash(t, lake.store.scan(t)) for t in (c.SILVER[0], c.FHIR_INDEX)} == before


def test_what_was_deleted_counts_nowhere_and_nothing_leads_to_it(lake: Lake) -> None:
    land(lake, "a/1.json", patient("p", birthDate="1950-01-01"), visit(), observation("o", **HERE))
    run(lake)
    assert counts(gold(lake, "encounter_summary")[0]) == [1, 0, 0, 0]
    gone = [
        {
            "entry": {
                "request": {"method": "DELETE", "url": f"http://s.example/{what}"},
                "response": {"status": "204", "lastModified": "2024-03-01T00:00:00Z"},
            }
        }
        for what in ("Patient/p", "Observation/o", "Encounter/other")
    ]
    land(lake, "a/2.json", *gone, type="history")
    run(lake)
    assert [(r["id"], r["status"], kept_out_by(r)) for r in rows(lake, "observation")] == [
        ("o", "(deleted)", "deleted")
    ]
    summary = gold(lake, "encounter_summary")
    assert [(r["encounter_id"], r["age_years"], *counts(r)) for r in summary] == [("v", None, 0, 0, 0, 0)]
    assert [(r["table"], r["dangling"]) for r in gold(lake, "fhir_references")] == [("encounter", 1)]
    assert all(refused(lake, table.name) == [] for table in SILVER)


# -- dates ----


def test_an_end_includes_its_unit_and_durations_are_exact(lake: Lake) -> None:
    periods = {
        "day": ("2020-01-10T10:00:00Z", "2020-01-10"),
        "days": ("2020-01-10", "2020-01-10"),
        "month": ("2020-02-01", "2020-02"),
        "seconds": ("2020-01-10T10:00:00Z", "2020-01-10T10:01:30.5Z"),
        "west": ("2020-01-10T22:00:00-05:00", "2020-01-10"),
        "none": ("2020-01-10T10:00:00Z", "2020-01-09T10:00:00Z"),
    }
    land(
        lake,
        "a/1.json",
        *(visit(i, period={"start": begin, "end": end}) for i, (begin, end) in periods.items()),
    )
    reports = run(lake)
    assert {r["encounter_id"]: r["duration_minutes"] for r in gold(lake, "encounter_summary")} == {
        "day": 840.0,
        "days": 1440.0,
        "month": 29 * 1440.0,
        "seconds": 90.5 / 60,
        "west": 120.0,
        "none": -1440.0,
    }
    assert reports["encounter"].warnings == {"ended_at_after_started_at": 1}
    assert str(by_id(lake, "encounter")["day"]["ended_at"]) == "2020-01-10 23:59:59.999999+00:00"


def test_dates_are_those_that_are_written(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        patient("p", birthDate="1980-05-06"),
        visit("eve", period={"start": "2020-05-05T23:30:00-05:00"}),
        visit("day", period={"start": "2020-05-06T00:30:00+05:00"}),
        condition("c", "Patient/p", onsetDateTime="2020-05-05T22:00:00-05:00", abatementDateTime="2020-05"),
        {
            "resourceType": "MedicationRequest",
            "id": "m",
            "status": "completed",
            "intent": "order",
            "authoredOn": "2020-05-05T23:30:00-05:00",
            **HERE,
            "medicationCodeableConcept": {"coding": [{"code": "m"}]},
        },
    )
    run(lake)
    told = {
        r["encounter_id"]: (
            r["age_years"],
            r["active_conditions"],
            r["active_medications"],
        )
        for r in gold(lake, "encounter_summary")
    }
    assert told == {"eve": (39, ["44054006"], ["m"]), "day": (40, ["44054006"], [])}
    assert [(r["era_start"], r["era_end"]) for r in gold(lake, "condition_era")] == [
        (date(2020, 5, 5), date(2020, 5, 31))
    ]


# -- values ----

WRONG: dict[str, Any] = {
    "text": {"valueQuantity": {"value": "5.4"}},
    "bool": {"valueQuantity": {"value": True}},
    "object": {"valueQuantity": {"value": {}}},
    "list": {"valueQuantity": {"value": [5.4]}},
    "part": {"component": [{"code": {"text": "x"}, "valueQuantity": {"value": "5"}}]},
    "low": {"valueRange": {"low": {"value": "5"}}},
    "ratio": {"valueRatio": [1]},
    "number": {"valueString": 5},
    "integer": {"valueInteger": "5"},
    "data": {"valueSampledData": {"origin": {"value": 1}, "period": "10"}},
    "whole": {"valueBoolean": 1},
    "timing": {"effectiveTiming": "daily"},
}


def test_a_value_of_another_json_type_is_refused(lake: Lake) -> None:
    land(lake, "a/1.json", *(observation(i, **more) for i, more in WRONG.items()), observation("good"))
    huge = b'{"resourceType":"Observation","id":"huge","status":"final","valueQuantity":{"value":%s}}'
    lake.landing.put(
        "clinical/a/2.ndjson", b"\n".join((huge % b"1e400", huge % b"-1E999", huge % (b"9" * 400)))
    )
    exact = b'{"resourceType":"Observation","id":"exact","status":"final","valueQuantity":{"value":1.5e300}}'
    lake.landing.put("clinical/a/3.ndjson", exact)
    run(lake)
    assert {i: row["value"] for i, row in by_id(lake, "observation").items()} == {
        "good": None,
        "exact": 1.5e300,
    }
    told = lake.store.scan(c.RAW_FHIR_RESOURCES).collect().height - 2
    assert [rules.split(",")[0] for rules in refused(lake, "observation")] == ["resource_readable"] * told
    reasons = lake.store.scan(_quarantine("observation")).collect()["reasons"].to_list()
    assert not any("5.4" in text or "1e400" in text for text in reasons)


def _quarantine(table: str) -> Any:
    from lakehouse.contracts import quarantine_of

    return quarantine_of(BY_NAME[table])


def test_every_kind_of_value_is_told(lake: Lake) -> None:
    data = {"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "1 2 E"}
    kinds = {
        "Quantity": {"value": 1},
        "CodeableConcept": {"text": "w"},
        "String": "s",
        "Boolean": True,
        "Integer": 3,
        "Range": {"low": {"value": 1.50}},
        "Ratio": {"numerator": {"value": 1, "comparator": "<"}},
        "SampledData": data,
        "Time": "10:00:00",
        "DateTime": "2020",
        "Period": {"start": "2020-01-01", "end": "2020-01-02"},
    }
    land(
        lake,
        "a/1.json",
        *(observation(kind, **{f"value{kind}": value}) for kind, value in kinds.items()),
        observation("Timing", effectiveTiming={"repeat": {"frequency": 1}}),
        observation("none"),
        observation("parts", component=[{"code": {"text": "x"}, "valueRange": {"low": {"value": 1}}}]),
        observation("period", effectivePeriod={"start": "2020-01-01", "end": "2020-01-02"}),
    )
    run(lake)
    one = by_id(lake, "observation")
    assert {kind: one[kind]["value_type"] for kind in kinds} == {kind: kind for kind in kinds}
    whole = ("Range", "Ratio", "SampledData", "Period")
    assert {kind: json.loads(one[kind]["value_json"]) for kind in whole} == {
        kind: kinds[kind] for kind in whole
    }
    assert [(one[i]["value_type"], one[i]["effective_type"]) for i in ("Timing", "none", "period")] == [
        (None, "Timing"),
        (None, None),
        (None, "Period"),
    ]
    part = one["parts"]["components"][0]
    assert (part["value_type"], json.loads(part["value_json"])) == ("Range", {"low": {"value": 1}})
    assert str(one["period"]["effective_end_at"]) == "2020-01-02 23:59:59.999999+00:00"


# -- choices ----


def test_the_current_name_number_and_address_are_taken(lake: Lake) -> None:
    land(
        lake,
        "a/1.json",
        patient(
            "uses",
            name=[
                {"use": "old", "family": "A"},
                {"use": "nickname", "given": ["N"]},
                {"use": "official", "family": "B", "given": ["C", None, "D"]},
            ],
            telecom=[
                {"system": "phone", "use": "old", "value": "1"},
                {"system": "email", "value": "e"},
                {"system": "phone", "value": "2", "rank": 2},
                {"system": "phone", "value": "3", "rank": 1},
            ],
            address=[
                {"use": "old", "city": "A"},
                {"use": "temp", "city": "T"},
                {"use": "home", "city": "B", "line": ["1", "2"]},
            ],
            identifier=[{"use": "old", "system": "s", "value": "1"}, {"system": "s", "value": "2"}],
        ),
        patient(
            "periods",
            name=[{"family": "A", "period": {"end": "2010"}}, {"family": "B"}],
            address=[
                {"city": "A", "period": {"end": "2010-01-01"}},
                {"city": "B", "period": {"start": "2010-01-01"}},
            ],
        ),
        patient(
            "past",
            meta={"lastUpdated": "2020-01-01T00:00:00Z"},
            name=[{"family": "A", "period": {"end": "2019"}}],
            address=[{"city": "A", "period": {"end": "2020"}}],
            telecom=[{"system": "phone", "use": "old", "value": "1"}],
        ),
    )
    run(lake)
    names = ("family_name", "given_names", "phone", "city", "address_line")
    assert {i: [row[n] for n in names] for i, row in by_id(lake, "patient").items()} == {
        "uses": ["B", ["C", "D"], "3", "B", ["1", "2"]],
        "periods": ["B", None, None, "B", None],
        "past": [None, None, None, "A", None],
    }
    one = by_id(lake, "patient")["uses"]
    assert one["identifiers"] == [{"system": "s", "value": "2"}]
    assert one["old_identifiers"] == [{"system": "s", "value": "1"}]


def test_the_first_coding_with_a_system_is_the_code_and_all_are_kept(lake: Lake) -> None:
    codings = {
        "second": [{"display": "words"}, {"system": "s", "code": "2", "display": "two"}],
        "system": [{"code": "local"}, {"system": "s", "code": "2"}],
        "alone": [{"code": "local"}],
        "none": [{"display": "d"}],
    }
    land(
        lake,
        "a/1.json",
        *(observation(i, code={"coding": given, "text": "t"}) for i, given in codings.items()),
        observation("lists", category=[None, {"coding": [None, {"code": "lab"}]}]),
        {
            "resourceType": "AllergyIntolerance",
            "id": "al",
            "patient": {"reference": "Patient/p"},
            "category": [None],
        },
        condition("c", "Patient/p", category=[None]),
        visit("v", type=[{"text": "t"}, {"coding": [{"system": "s", "code": "9"}]}]),
    )
    run(lake)
    one = by_id(lake, "observation")
    parts = ("code", "code_system", "code_display")
    assert {i: [one[i][n] for n in parts] for i in codings} == {
        "second": ["2", "s", "two"],
        "system": ["2", "s", "t"],
        "alone": ["local", None, "t"],
        "none": [None, None, "d"],
    }
    assert {i: stated(one[i]["code_codings"]) for i in codings} == codings
    assert (one["lists"]["category"], rows(lake, "allergy_intolerance")[0]["category"]) == ("lab", None)
    assert (rows(lake, "condition")[0]["category"], rows(lake, "encounter")[0]["type"]) == (None, "9")


def status(code: str) -> dict[str, Any]:
    return {"clinicalStatus": {"coding": [{"code": code}]}}


UNDATED: dict[str, tuple[dict[str, Any], list[str], tuple[str, str] | None]] = {
    # name: what is stated; the visits (2015, 2020-05-05, 2022) at which it is active; its era
    "abatementString": (
        {"onsetDateTime": "2014", "abatementString": "last year"},
        [],
        ("2014-01-01", "2014-01-02"),
    ),
    "resolved": (
        {"onsetDateTime": "2020-05-05", **status("resolved")},
        ["2020"],
        ("2020-05-05", "2020-05-06"),
    ),
    "remission": ({"onsetDateTime": "2014", **status("remission")}, [], ("2014-01-01", "2014-01-02")),
    "abatementAge": (
        {"onsetDateTime": "2014", "abatementAge": {"value": 70, "code": "a"}},
        ["2015", "2020"],
        ("2014-01-01", "2021-01-31"),
    ),
    "onsetAge": (
        {"onsetAge": {"value": 66, "unit": "years"}, **status("active")},
        ["2020", "2022"],
        ("2016-02-01", "2016-02-02"),
    ),
    "onsetString": ({"onsetString": "in childhood", **status("active")}, ["2015", "2020", "2022"], None),
    "recorded": (
        {"onsetString": "?", "recordedDate": "2019-03-04", **status("relapse")},
        ["2020", "2022"],
        ("2019-03-04", "2019-03-05"),
    ),
    "over-when-recorded": ({"recordedDate": "2020-05-05", "abatementDateTime": "2010-01-01"}, [], None),
    "recorded-that-day": (
        {"recordedDate": "2020-05-05", "abatementDateTime": "2020-05-05"},
        [],
        ("2020-05-05", "2020-05-05"),
    ),
    "recorded-while-it-held": (
        {"recordedDate": "2020-05-05", "abatementDateTime": "2021"},
        ["2020"],
        ("2020-05-05", "2021-12-31"),
    ),
    "nothing": ({}, [], None),
    "inactive": ({"onsetString": "in childhood", **status("inactive")}, [], None),
    "onsetRange": ({"onsetRange": {"low": {"value": 3}}, **status("active")}, ["2015", "2020", "2022"], None),
    "abatementPeriod": (
        {"onsetDateTime": "2014", "abatementPeriod": {"start": "2015", "end": "2021"}},
        ["2015", "2020"],
        ("2014-01-01", "2021-12-31"),
    ),
}


def test_undated_states_follow_stated_rules(lake: Lake) -> None:
    made = []
    for name, (more, _, _) in UNDATED.items():
        one = condition(name, "Patient/p", **more)
        made.append({**one, "code": {"coding": [{"code": name}]}})
    visits = [visit(day[:4], day=day) for day in ("2015-05-05", "2020-05-05", "2022-05-05")]
    land(lake, "a/1.json", patient("p", birthDate="1950-02-01"), *visits, *made)
    run(lake)
    held: dict[str, list[str]] = {name: [] for name in UNDATED}
    for when, codes in active(lake).items():
        for code in codes:
            held[code].append(when)
    assert held == {name: when for name, (_, when, _) in UNDATED.items()}
    eras = {r["code"]: (str(r["era_start"]), str(r["era_end"])) for r in gold(lake, "condition_era")}
    assert eras == {name: era for name, (_, _, era) in UNDATED.items() if era}


def test_a_medication_that_is_referred_to_is_named(lake: Lake) -> None:
    def order(id_: str, reference: str, **more: Any) -> dict[str, Any]:
        return {
            "resourceType": "MedicationRequest",
            "id": id_,
            "status": "active",
            **WITH["MedicationRequest"],
            "medicationReference": {"reference": reference},
            **more,
        }

    def medication(id_: str, code: str) -> dict[str, Any]:
        return {"resourceType": "Medication", "id": id_, "code": {"coding": [{"system": "rx", "code": code}]}}

    land(lake, "reference/1.json", medication("m2", "shared"), medication("m1", "other"))
    land(
        lake,
        "a/1.json",
        patient("p"),
        visit(),
        medication("m1", "own"),
        order("o1", "Medication/m1"),
        order("o2", "Medication/m2"),
        order(
            "o3",
            "#in",
            contained=[
                {"resourceType": "Organization", "id": "org"},
                {**medication("in", "inside"), "id": "in"},
            ],
        ),
        order("o4", "urn:uuid:m1"),
    )
    run(lake)
    assert gold(lake, "encounter_summary")[0]["active_medications"] == ["inside", "own", "shared"]


def test_a_lake_of_before_lands_what_it_skipped(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that knew files by their bytes alone is told anew from the rows."""
    import dataclasses

    from lakehouse.domains.clinical.sources import SOURCES
    from lakehouse.pipeline import ingest

    table = dataclasses.replace(c.RAW_FHIR_RESOURCES, files_within=None)
    source = dataclasses.replace(SOURCES[0], table=table, partition_by=None)
    body = json.dumps(patient("p")).encode()
    for name in ("a/1.json", "b/1.json"):
        lake.landing.put(f"clinical/{name}", body)
    assert (ingest(lake, table, [source]).files, ingest(lake, table, [source]).files) == (1, 0)
    run(lake)
    assert sorted(row["cohort"] for row in rows(lake, "patient")) == ["a", "b"]
    again = ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    assert (again.files, again.rows, again.known) == (0, 0, 2)
    assert lake.store.scan(c.RAW_FHIR_RESOURCES).select(pl.len()).collect().item() == 2


def _entry(kind: str, own: str, **more: Any) -> dict[str, Any]:
    resource = {"resourceType": kind, "id": own, "subject": {"reference": "urn:uuid:p1"}}
    return {"fullUrl": f"urn:uuid:{own}", "resource": resource, **more}


_ENTRIES: list[Any] = [
    _entry("Patient", "p1"),
    _entry("Observation", "o1", response={"etag": 'W/"3"', "lastModified": "2026-01-01T00:00:00Z"}),
    _entry("Observation", "o2", fullUrl="http://one.example/fhir/Observation/o2"),
    _entry("Location", "l1"),
    _entry("Observation", "o3", fullUrl="urn:uuid:other"),
    _entry("Observation", "o4", request={"method": "PUT", "url": "Observation/o4"}),
]
_ODD: list[Any] = [
    None,
    "text",
    {},
    {"fullUrl": 1},
    {"resource": None},
    {"resource": []},
    _entry("Observation", "o5", modifierExtension=[{"url": "x"}]),
    _entry("Observation", "o6", request={"method": "DELETE", "url": "Observation/o6"}),
    {"resource": {"resourceType": "Bundle", "type": "searchset", "entry": [_entry("Patient", "p2")]}},
]


@pytest.mark.parametrize("type_", ["collection", "transaction", "history", None, 7])
@pytest.mark.parametrize("more", [[], *([one] for one in _ODD)])
@pytest.mark.parametrize("rules", [{}, {"implicitRules": "x"}])
def test_a_bundle_read_at_once_gives_the_rows_of_one_read_by_entries(
    type_: Any, more: list[Any], rules: dict[str, str]
) -> None:
    bundle = {"resourceType": "Bundle", "type": type_, **rules, "entry": [*_ENTRIES, *more]}
    text = json.dumps(bundle).encode()
    at_once = reading._plain_entries(text)
    is_plain = type_ not in ("history", 7) and not more and not rules
    assert (at_once is not None) == is_plain
    assert at_once is None or at_once == list(reading._entries(text))
