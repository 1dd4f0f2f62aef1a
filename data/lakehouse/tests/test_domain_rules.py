"""The rules of the domains: their names, words and verdicts on rows that break each of them.

Belongs here: that who builds a rule changes nothing of it. The values were taken when every domain still
wrote its own; a change of them changes what a table refuses, and asks for a new version of its contract.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from test_flow import lake_at
from test_lending import LOAN, REFUSED
from test_lending import table as loan_file

from lakehouse.contracts import Contract, quarantine_of
from lakehouse.pipeline import ingest, refresh
from lakehouse.registry import contracts, sources, transform_of

EVENT = {"pipeline_id": "p", "event_type": "pipeline.completed", "workspace_id": "w",
         "timestamp": "2026-01-10T10:00:00Z", "raw_data": {"duration_ms": 1000}}  # fmt: skip
BLANKS = (None, "", "  ", "\t", "null", "n/a")
NUMBERS = (-1, "-0.4", "1.5", "many", True, "yes", 10**20, " 7 ", "1e3", None, "NaN", "-")
EVENTS = [
    *({**EVENT, name: blank} for name in ("pipeline_id", "event_type", "timestamp") for blank in BLANKS),
    *({**EVENT, "pipeline_id": f"n{number}", "raw_data": {name: number}}
      for name in ("duration_ms", "activities_executed", "steps") for number in NUMBERS),
    *({**EVENT, "raw_data": data} for data in (None, [], "text", "{", 1, {})),
    {**EVENT, "event_type": "pipeline.dreamt"}, {**EVENT, "timestamp": "26-01-10"}, {},
]  # fmt: skip
CRAWL = {"crawl_id": "c", "method_id": "m", "username": "u", "timestamp": "2026-01-10T10:00:00Z",
         "raw_json": {"followers_count": 3, "is_verified": True}}  # fmt: skip
CRAWLS = [
    *({**CRAWL, name: blank} for name in ("username", "method_id", "timestamp") for blank in BLANKS),
    *({**CRAWL, "username": f"u{number}", "raw_json": {name: number}}
      for name in ("followers_count", "following_count", "posts_count", "recent_posts_count", "is_verified",
                   "account_created_at")
      for number in NUMBERS),
    *({**CRAWL, "raw_json": data} for data in (None, [], "text", "{")),
]  # fmt: skip
TIMES = (
    None,
    "",
    "2024-02-30",
    "2024-05-01T10:00:00Z",
    "2024-05-01T10:00:00",
    "soon",
    "2024",
    "2025-01-01",
    "2023-12-31T23:59:59Z",
    5,
)
RESOURCES: list[dict[str, Any]] = [
    *({"resourceType": "Patient", "id": one} for one in (None, "", "a b", "x" * 65, "ok-1.A", "ü", 5)),
    *({"resourceType": "Patient", "id": f"b{n}", "birthDate": one, "deceasedDateTime": other}
      for n, (one, other) in enumerate((a, b) for a in TIMES for b in TIMES)),
    *({"resourceType": "Encounter", "id": f"e{n}", "status": "finished", "class": {"code": "AMB"},
       "subject": {"reference": "Patient/b3"}, "period": {"start": one, "end": other}}
      for n, (one, other) in enumerate((a, b) for a in TIMES for b in TIMES)),
    *({"resourceType": "Condition", "id": f"c{n}", "code": {"coding": [{"code": "1"}]},
       "subject": {"reference": "Patient/b3"}, "onsetDateTime": one, "abatementDateTime": other}
      for n, (one, other) in enumerate((a, b) for a in TIMES for b in TIMES)),
    *({"resourceType": kind, "id": f"m{n}", "meta": {"lastUpdated": one}}
      for kind in ("Observation", "Procedure", "MedicationRequest", "Immunization", "DiagnosticReport")
      for n, one in enumerate(TIMES)),
    {"resourceType": "Patient", "id": "modified", "implicitRules": "urn:x"},
    {"resourceType": None, "id": "x"}, {"id": "y"}, {"resourceType": "no type", "id": "z"},
]  # fmt: skip


def verdicts(root: Path) -> dict[str, list[Any]]:
    """Return of each Silver table how many rows broke each rule, those that warn too, and what quarantine
    says of them.
    """
    lake = lake_at(root)
    for name, records in {"pipeline_events/a.ndjson": EVENTS, "crawler_results/a.ndjson": CRAWLS}.items():
        lake.landing.put(name, "".join(json.dumps(one) + "\n" for one in records).encode())
    lines = "".join(json.dumps(one) + "\n" for one in RESOURCES)
    lake.landing.put("clinical/cohort/a.ndjson", lines.encode())
    loans = [{**LOAN, column: text or ""} for column, texts, _ in REFUSED for text in texts]
    lake.landing.put("loans/a.csv", loan_file(*loans).encode())
    found: dict[str, list[Any]] = {}
    for table in contracts():
        if table.layer == "bronze":
            ingest(lake, table, [one for one in sources() if one.table is table])
        elif table.row_wise:
            done = refresh(lake, table, transform_of(table))
            kept = (
                lake.store.scan(quarantine_of(table)).select("_row", "rules", "reasons", "record").collect()
            )
            said = hashlib.sha256(repr(sorted(kept.rows())).encode()).hexdigest()[:16]
            found[table.path] = [done.failures, done.warnings, said]
    return found


def rules_of(table: Contract) -> str:
    said = [(one.name, one.severity, one.description, one.values) for one in table.rules]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


RULES = {
    "silver/patient": "0a84d137bdc65d45",
    "silver/encounter": "c8b9f51a9e8f8e4a",
    "silver/condition": "f108471ffc2230d1",
    "silver/observation": "c19d50ff59cebebf",
    "silver/procedure": "f326cd8982fc2f5b",
    "silver/medication_request": "b7ef014eab113e2a",
    "silver/immunization": "b3745d5ef3879dd4",
    "silver/allergy_intolerance": "48159789e7608341",
    "silver/diagnostic_report": "c19d50ff59cebebf",
    "silver/imaging_study": "d2587a4f128af1c7",
    "silver/fhir_index": "7ecf0af4fc5c17d2",
    "gold/encounter_summary": "e5375fc7e2af98fe",
    "gold/fhir_references": "6f290c4e372591da",
    "silver/loans": "d7f740f6290622a9",
    "silver/pipeline_events": "f192c5a096280058",
    "silver/crawler_results": "6da8411af2997ec2",
}


VERDICTS: dict[str, list[Any]] = {
    "silver/patient": [
        {"resource_readable": 20, "id_valid": 25, "birth_date_readable": 36, "deceased_at_readable": 36},
        {"deceased_at_after_birth_date": 5, "modifiers_understood": 1},
        "6d8a255c5c7f52d7",
    ],
    "silver/encounter": [
        {
            "resource_readable": 19,
            "id_valid": 19,
            "started_at_readable": 36,
            "ended_at_readable": 36,
            "status_present": 19,
            "class_present": 19,
        },
        {"ended_at_after_started_at": 5},
        "9293196b449f8431",
    ],
    "silver/condition": [
        {
            "resource_readable": 19,
            "id_valid": 19,
            "onset_at_readable": 36,
            "abated_at_readable": 36,
            "patient_ref_present": 19,
        },
        {"abated_at_after_onset_at": 5},
        "95bb235fa40cdf35",
    ],
    "silver/observation": [
        {"resource_readable": 1, "id_valid": 1, "last_updated_readable": 4, "status_present": 10},
        {},
        "b2e5724adfbb944a",
    ],
    "silver/procedure": [
        {
            "resource_readable": 1,
            "id_valid": 1,
            "last_updated_readable": 4,
            "status_present": 10,
            "patient_ref_present": 10,
        },
        {},
        "657f242af5784573",
    ],
    "silver/medication_request": [
        {
            "resource_readable": 1,
            "id_valid": 1,
            "last_updated_readable": 4,
            "status_present": 10,
            "intent_present": 10,
            "patient_ref_present": 10,
        },
        {},
        "5883f3b7c08183f8",
    ],
    "silver/immunization": [
        {
            "resource_readable": 1,
            "id_valid": 1,
            "last_updated_readable": 4,
            "status_present": 10,
            "patient_ref_present": 10,
        },
        {},
        "e450dd1b4a75dd01",
    ],
    "silver/allergy_intolerance": [{}, {}, "4f53cda18c2baa0c"],
    "silver/diagnostic_report": [
        {"resource_readable": 1, "id_valid": 1, "last_updated_readable": 4, "status_present": 10},
        {},
        "ec2f14d08816329c",
    ],
    "silver/imaging_study": [{}, {}, "4f53cda18c2baa0c"],
    "silver/fhir_index": [
        {"type_valid": 3, "resource_readable": 6, "id_valid": 11, "last_updated_readable": 20},
        {},
        "3cee3847b25afd81",
    ],
    "silver/loans": [
        {
            "term_months_readable": 7,
            "term_months_one_of": 2,
            "interest_rate_readable": 10,
            "interest_rate_between": 5,
            "issue_month_readable": 11,
            "grade_one_of": 4,
            "sub_grade_matches": 3,
            "sub_grade_of_grade": 3,
            "loan_status_one_of": 4,
            "state_matches": 5,
            "employment_years_readable": 4,
            "employment_years_between": 2,
            "zip3_readable": 5,
            "revolving_utilization_readable": 3,
            "revolving_utilization_between": 2,
            "annual_income_readable": 14,
            "annual_income_not_negative": 2,
            "dti_readable": 2,
            "open_accounts_readable": 5,
            "open_accounts_not_negative": 1,
            "last_payment_month_readable": 2,
            "home_ownership_not_null": 3,
        },
        {},
        "e9e003d071e9443a",
    ],
    "silver/pipeline_events": [
        {
            "pipeline_id_present": 5,
            "event_type_present": 5,
            "occurred_at_readable": 8,
            "raw_data_readable": 5,
            "duration_ms_readable": 2,
            "duration_ms_not_negative": 2,
            "activities_executed_readable": 2,
            "activities_executed_not_negative": 2,
            "steps_readable": 2,
            "steps_not_negative": 2,
        },
        {
            "event_type_known": 8,
            "duration_ms_is_no_bool": 2,
            "activities_executed_is_no_bool": 2,
            "steps_is_no_bool": 2,
        },
        "5243d15ad24b3c11",
    ],
    "silver/crawler_results": [
        {
            "username_present": 4,
            "method_id_present": 4,
            "scraped_at_readable": 6,
            "raw_json_readable": 4,
            "followers_count_readable": 2,
            "followers_count_not_negative": 2,
            "following_count_readable": 2,
            "following_count_not_negative": 2,
            "posts_count_readable": 2,
            "posts_count_not_negative": 2,
            "recent_posts_count_readable": 2,
            "recent_posts_count_not_negative": 2,
        },
        {
            "followers_count_is_no_bool": 2,
            "following_count_is_no_bool": 2,
            "posts_count_is_no_bool": 2,
            "recent_posts_count_is_no_bool": 2,
            "is_verified_readable": 1,
            "is_verified_is_no_number": 6,
            "account_created_at_readable": 1,
            "account_created_at_is_no_number": 6,
            "account_created_at_is_no_bool": 2,
        },
        "64ccf04b15fba2cf",
    ],
}


def test_every_rule_has_its_name_words_and_place() -> None:
    assert {one.path: rules_of(one) for one in contracts() if one.rules} == RULES


def test_every_row_gets_the_verdict_and_the_words_it_always_got(tmp_path: Path) -> None:
    assert verdicts(tmp_path) == VERDICTS
