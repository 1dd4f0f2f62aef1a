"""FHIR cohorts from landing to Silver: small cases by hand, and the real sets against an independent count."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakehouse.contracts import LANDING_REJECTS, Contract, quarantine_of
from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical import sample, transforms
from lakehouse.domains.clinical.dates import moments
from lakehouse.domains.clinical.links import address
from lakehouse.domains.clinical.resources import SHAPES
from lakehouse.domains.clinical.sources import SOURCES
from lakehouse.pipeline import Lake, RefreshReport, ingest, open_lake, refresh
from lakehouse.settings import Settings
from lakehouse.verify import conservation_problems, content_hash, key_problems

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("ODP_SHARED_DATA") or ROOT.parent / "shared" / "data")
BY_PATH = {t.path: t for table in c.CONTRACTS for t in (table, quarantine_of(table))}
BY_NAME = {table.name: table for table in c.CONTRACTS}
SILVER = [table for table in c.CONTRACTS if table.layer == "silver"]
GOLD = [table for table in c.CONTRACTS if table.layer == "gold"]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


def land(lake: Lake, name: str, *resources: dict[str, Any], **bundle: Any) -> None:
    """Land a bundle (or what `raw` says) under `clinical/<name>`."""
    entries = [
        one if "entry" in one else {"fullUrl": f"urn:uuid:{one.get('id')}", "resource": one}
        for one in resources
    ]
    entries = [one.get("entry", one) for one in entries]
    document = {"resourceType": "Bundle", "type": "transaction", "entry": entries, **bundle}
    lake.landing.put(f"clinical/{name}", json.dumps(document).encode())


def run(lake: Lake, *tables: Contract, full: bool = False) -> dict[str, RefreshReport]:
    ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    return {
        table.name: refresh(lake, table, getattr(transforms, table.name), full=full)
        for table in tables or [*SILVER, *GOLD]
    }


def rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    return lake.store.scan(BY_NAME[table]).sort("id").collect().rows(named=True)


def stated(value: Any) -> Any:
    """Return a nested value as FHIR's JSON would have it: without what is null."""
    if isinstance(value, list):
        return [stated(one) for one in value]
    if isinstance(value, dict):
        return {name: stated(one) for name, one in value.items() if one is not None}
    return value


def kept_out_by(row: dict[str, Any]) -> str | None:
    """Return the one element that keeps a row out of Gold, of several all of them; None where none does."""
    return ",".join(row["kept_out_by"]) if row["kept_out_by"] is not None else None


def refused(lake: Lake, table: str) -> list[str]:
    return lake.store.scan(quarantine_of(BY_NAME[table])).collect()["rules"].to_list()


def patient(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "gender": "female", **more}


def condition(id_: str, of: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition", "id": id_, "subject": {"reference": of},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "44054006", "display": "Diabetes"}]},
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "at", "precision"),
    [
        ("2019", datetime(2019, 1, 1, tzinfo=UTC), "year"),
        ("2019-05", datetime(2019, 5, 1, tzinfo=UTC), "month"),
        ("2019-05-06", datetime(2019, 5, 6, tzinfo=UTC), "day"),
        ("2019-05-06T07:08:09Z", datetime(2019, 5, 6, 7, 8, 9, tzinfo=UTC), "second"),
        ("2019-05-06T01:08:09.123456-06:00", datetime(2019, 5, 6, 7, 8, 9, 123456, tzinfo=UTC), "second"),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC), "day"),
        ("2019-02-30", None, None),
        ("2019-13", None, None),
        ("2019-05-06T07:08:09", None, None),
        ("2019-05-06T25:00:00Z", None, None),
        ("05/06/2019", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_dates_keep_the_precision_they_were_stated_in(
    text: str | None, at: Any, precision: str | None
) -> None:
    found, kept = moments(pl.Series([text], dtype=pl.String))
    assert (found.item(), kept.item()) == (at, precision)


@pytest.mark.parametrize(
    ("reference", "known", "means"),
    [
        ("Patient/a-1", None, "a-1"),
        ("Patient/a-1/_history/3", None, "a-1"),
        ("http://example.org/fhir/Patient/a.1", None, "a.1"),
        ("urn:uuid:77", None, "77"),
        ("urn:uuid:77", {"urn:uuid:77": "pat"}, "pat"),
        ("Practitioner?identifier=npi|99", None, None),
        ("#inside", None, None),
        ("nonsense", None, None),
        (None, None, None),
    ],
)
def test_what_a_reference_means(
    reference: str | None, known: dict[str, str] | None, means: str | None
) -> None:
    assert address(reference, known)[1] == means


def test_references_into_the_bundle_follow_its_full_urls(lake: Lake) -> None:
    land(lake, "a/1.json", {"entry": {"fullUrl": "urn:uuid:0001", "resource": patient("pat")}},
         {"entry": {"fullUrl": "urn:uuid:0002", "resource": condition("c1", "urn:uuid:0001")}})  # fmt: skip
    run(lake)
    assert [(r["patient_id"], r["patient_ref"]) for r in rows(lake, "condition")] == [
        ("pat", "urn:uuid:0001")
    ]


def test_every_kind_of_reference_is_counted(lake: Lake) -> None:
    doctor = {"resourceType": "Practitioner", "id": "doc", "identifier": [{"system": "npi", "value": "9"}]}
    visit = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    land(
        lake, "a/1.json", patient("pat"), doctor,
        {**visit, "id": "e1", "subject": {"reference": "Patient/pat"},
         "participant": [{"individual": {"reference": "Practitioner?identifier=npi|9"}}]},
        {**visit, "id": "e2", "subject": {"reference": "Patient/gone"},
         "participant": [{"individual": {"reference": "#in"}}]},
    )  # fmt: skip
    reports = run(lake)
    told = lake.store.scan(c.FHIR_REFERENCES).sort("reference").collect().rows()
    assert told == [
        ("encounter", "patient", 2, 1, 0, 0, 1),
        ("encounter", "practitioner", 2, 0, 1, 1, 0),
    ]
    assert reports["fhir_references"].warnings == {"none_dangling": 1}


def test_an_observation_keeps_its_value_as_written_and_its_components(lake: Lake) -> None:
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    part = {
        "code": {"coding": [{"code": "8480-6", "display": "Systolic"}]},
        "valueQuantity": {"value": 120, "unit": "mmHg"},
    }
    land(
        lake, "a/1.json",
        {**base, "id": "o1", "valueQuantity": {"value": 1.10, "unit": "kg", "code": "kg"}},
        {**base, "id": "o2", "valueCodeableConcept": {"coding": [{"code": "yes", "system": "s"}]}},
        {**base, "id": "o3", "valueString": "fine"},
        {**base, "id": "o4", "component": [part]},
        {**base, "id": "o5", "hasMember": [{"reference": "Observation/o1"}], "effectiveDateTime": "2019-05"},
        {**base, "id": "o6", "valueBoolean": False},
    )  # fmt: skip
    exact = b'{"resourceType":"Observation","id":"o7","status":"final","valueQuantity":{"value":0.10000000000000000555}}'
    lake.landing.put("clinical/a/2.json", exact)
    run(lake)
    one = {r["id"]: r for r in rows(lake, "observation")}
    assert [one["o1"][n] for n in ("value", "value_text", "value_unit")] == [1.1, "1.1", "kg"]
    assert (one["o2"]["value_code"], one["o2"]["value_code_system"], one["o3"]["value_string"]) == (
        "yes",
        "s",
        "fine",
    )
    assert stated(one["o4"]["components"]) == [
        {
            "code": "8480-6",
            "code_display": "Systolic",
            "code_codings": [{"code": "8480-6", "display": "Systolic"}],
            "value": 120.0,
            "value_text": "120",
            "value_unit": "mmHg",
            "value_type": "Quantity",
        }
    ]
    assert one["o5"]["members"] == ["Observation/o1"]
    assert (one["o5"]["effective_at"], one["o5"]["effective_at_precision"]) == (
        datetime(2019, 5, 1, tzinfo=UTC),
        "month",
    )
    assert one["o6"]["value_string"] == "false"
    assert (one["o7"]["value"], one["o7"]["value_text"]) == (0.1, "0.10000000000000000555")


def test_what_cannot_be_a_row_is_in_quarantine_and_the_rest_lands(lake: Lake) -> None:
    land(
        lake, "a/1.json", patient("good"), patient("bad id!"), {"resourceType": "Patient"},
        patient("p3", birthDate="yesterday"), patient("p4", birthDate=1990), {"resourceType": "Condition", "id": "c1"},
        {"entry": {"request": {"method": "DELETE", "url": "Patient/1"}}}, {"entry": {"resource": "text"}},
        {"entry": {"resource": {"id": "x"}}},
    )  # fmt: skip
    lake.landing.put("clinical/a/broken.json", b'{"resourceType": "Bundle", "entry": [')
    lake.landing.put("clinical/a/list.json", b'{"resourceType": "Bundle", "entry": {}}')
    lake.landing.put("clinical/loose.json", b'{"resourceType": "Patient", "id": "x"}')
    made = run(lake)
    assert [r["id"] for r in rows(lake, "patient")] == ["good"]
    assert sorted(refused(lake, "patient")) == [
        "birth_date_readable",
        "id_valid",
        "id_valid",
        "resource_readable,id_valid",
    ]
    assert refused(lake, "condition") == ["patient_ref_present"]
    assert Counter(refused(lake, "fhir_index")) == {"id_valid": 2, "type_valid,id_valid": 3, "type_valid": 1}
    told = {
        Path(r["_source"]).name: r["reason"]
        for r in lake.store.scan(LANDING_REJECTS).collect().rows(named=True)
    }
    assert told.keys() == {"broken.json", "loose.json"}
    assert "not readable as FHIR" in told["broken.json"]
    assert "clinical/<cohort>/" in told["loose.json"]
    assert all(one.balances for name, one in made.items() if BY_NAME[name].row_wise)
    assert "1990" not in str(lake.store.scan(quarantine_of(c.SILVER[0])).collect()["reasons"].to_list())


def test_the_latest_version_of_a_resource_stays_whatever_the_order(lake: Lake) -> None:
    def version(moment: str | None, gender: str) -> dict[str, Any]:
        return patient("p", gender=gender, **({"meta": {"lastUpdated": moment}} if moment else {}))

    told = []
    for number, (moment, gender) in enumerate([
        ("2020-01-02T00:00:00Z", "first"),
        ("2020-01-01T00:00:00Z", "older"),
        (None, "unknown"),
        ("2020-01-02T00:00:00Z", "equal"),
        ("2020-01-03T00:00:00Z", "newer"),
    ]):  # fmt: skip
        land(lake, f"a/{number}.json", version(moment, gender))
        run(lake, c.SILVER[0])
        told += [r["gender"] for r in rows(lake, "patient")]
    assert told == ["first", "first", "first", "equal", "newer"]
    assert conservation_problems(lake, c.SILVER[0]) == []
    before = content_hash(c.SILVER[0], lake.store.scan(c.SILVER[0]))
    run(lake, c.SILVER[0], full=True)
    assert content_hash(c.SILVER[0], lake.store.scan(c.SILVER[0])) == before


def test_bulk_ndjson_lands_line_by_line_gzipped_or_not(lake: Lake) -> None:
    lines = [json.dumps(patient(f"p{n}")) for n in range(3)] + ["{broken", ""]
    lake.landing.put("clinical/b/Patient.ndjson.gz", gzip.compress("\n".join(lines).encode()))
    run(lake)
    assert [r["id"] for r in rows(lake, "patient")] == ["p0", "p1", "p2"]
    assert refused(lake, "fhir_index") == ["type_valid,resource_readable,id_valid"]
    assert {r["cohort"] for r in rows(lake, "patient")} == {"b"}


def test_a_bundle_within_a_bundle_gives_its_resources(lake: Lake) -> None:
    inner = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": patient("p")}]}
    land(lake, "a/1.json", {"entry": {"resource": inner}}, {"resourceType": "Organization", "id": "o"})
    run(lake, c.SILVER[0], c.FHIR_INDEX)
    assert [r["id"] for r in rows(lake, "patient")] == ["p"]
    assert [r["resource_type"] for r in rows(lake, "fhir_index")] == ["Organization", "Patient"]


@pytest.mark.parametrize("name", ["a/Ada_Lovelace.json", "a/Ada_Lovelace/1.json", "a/Ada/Lovelace.json"])
def test_names_of_files_are_not_told(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def told() -> str:
        report = ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
        assert len(report.refused) == 1
        assert report.refused[0].file.startswith("clinical/a/")
        return f"{report.refused[0].file} {report.refused[0].reason}"

    lake.landing.put(f"clinical/{name}", b"{")
    assert "Ada" not in told()
    lake.landing.put(f"clinical/{name}", b'\xff{"resourceType": "Patient"}')
    assert "Lovelace" not in (text := told())
    assert "clinical/a/…: not UTF-8 text" in text
    assert "Ada" not in str(lake.store.scan(LANDING_REJECTS).select("reason").collect().rows())

    listed = lake.landing.list("clinical")
    monkeypatch.setattr(type(lake.landing), "list", lambda *_: listed)
    (tmp_path / "landing" / "clinical" / name).unlink()
    assert "it cannot be opened" in (text := told())
    assert "Ada" not in text
    assert "Lovelace" not in text


def test_the_sample_cohort_has_the_stated_numbers_and_is_the_same_everywhere(
    lake: Lake, tmp_path: Path
) -> None:
    for name, body in sample.sample_files().items():
        lake.landing.put(name, body)
    run(lake)
    assert {path: lake.store.snapshot(BY_PATH[path]).rows for path in sample.EXPECTED} == sample.EXPECTED
    assert sample.sample_files() == sample.sample_files()
    out = tmp_path / "made"
    assert sample.main(["--patients", "2", "--seed", "5", "--out", str(out)]) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == sample.cohort(2, seed=5)
    weight = next(r for r in rows(lake, "observation") if r["id"].endswith("-0-visit0-weight"))
    assert (weight["status"], weight["value"]) == ("corrected", 80.5)


def test_a_cohort_without_a_kind_of_resource_has_an_empty_table(lake: Lake) -> None:
    land(lake, "cohort=a/1.json", patient("p"))
    run(lake)
    assert rows(lake, "allergy_intolerance") == []
    assert lake.store.schema_problems(BY_NAME["allergy_intolerance"]) == []
    assert [r["cohort"] for r in rows(lake, "patient")] == ["a"]


def test_an_encounter_says_what_was_active_on_its_day(lake: Lake) -> None:
    def visit(id_: str, day: str) -> dict[str, Any]:
        return {
            "resourceType": "Encounter", "id": id_, "status": "finished", "class": {"code": "AMB"},
            "subject": {"reference": "Patient/p"},
            "period": {"start": f"{day}T10:00:00Z", "end": f"{day}T10:30:00Z"},
        }  # fmt: skip

    def order(id_: str, status: str, code: str) -> dict[str, Any]:
        return {
            "resourceType": "MedicationRequest", "id": id_, "status": status, "intent": "order",
            "subject": {"reference": "Patient/p"}, "authoredOn": "2020-03-01",
            "medicationCodeableConcept": {"coding": [{"code": code}]},
        }  # fmt: skip

    land(
        lake, "a/1.json", patient("p", birthDate="1980-03-02"),
        visit("e1", "2020-02-29"), visit("e2", "2020-03-01"), visit("e3", "2020-03-02"),
        condition("c1", "Patient/p", onsetDateTime="2020-03-01", abatementDateTime="2020-03-02"),
        condition("c2", "Patient/p", onsetDateTime="2020-03-01T23:00:00Z"),
        order("m1", "active", 'a"1'), order("m2", "stopped", "b"),
        {"resourceType": "Observation", "id": "o", "status": "final", "encounter": {"reference": "Encounter/e2"}},
    )  # fmt: skip
    run(lake)
    got = lake.store.scan(c.ENCOUNTER_SUMMARY).sort("encounter_id").collect().rows(named=True)
    told = [(r["age_years"], r["active_conditions"], r["active_medications"],
             r["observation_count"], r["duration_minutes"]) for r in got]  # fmt: skip
    assert told == [
        (39, [], [], 0, 30.0),
        (39, ["44054006"], ['a"1', "b"], 1, 30.0),
        (40, ["44054006"], ['a"1'], 0, 30.0),
    ]
    assert (
        json.loads(got[0]["built_from"])["silver/encounter"]
        == lake.store.snapshot(BY_NAME["encounter"]).version
    )


def test_an_age_nobody_reaches_is_warned_of(lake: Lake) -> None:
    visit = {
        "resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p"}, "period": {"start": "2020-01-01T10:00:00Z"},
    }  # fmt: skip
    land(lake, "a/1.json", patient("p", birthDate="1820-03-02"), visit)
    reports = run(lake)
    assert lake.store.scan(c.ENCOUNTER_SUMMARY).collect()["age_years"].to_list() == [199]
    assert reports["encounter_summary"].warnings == {"age_plausible": 1}


def test_eras_join_gaps_of_thirty_days(lake: Lake) -> None:
    spans = [
        ("2020-01-01", "2020-01-10"),
        ("2020-02-09", "2020-02-10"),
        ("2020-03-12", None),
        ("2020-01-02", "2020-01-03"),
    ]
    land(lake, "a/1.json", *(
        condition(f"c{n}", "Patient/p", onsetDateTime=begin, **({"abatementDateTime": end} if end else {}))
        for n, (begin, end) in enumerate(spans)
    ))  # fmt: skip
    run(lake)
    eras = lake.store.scan(c.CONDITION_ERA).sort("era_start").collect()
    assert eras.select("era_start", "era_end", "occurrence_count").rows() == [
        (date(2020, 1, 1), date(2020, 2, 10), 3),
        (date(2020, 3, 12), date(2020, 3, 13), 1),
    ]


def files(*folders: str) -> dict[str, bytes]:
    """Landing name -> bytes of real cohorts; skipped where they are not there."""
    found = {}
    for folder in folders:
        root = SHARED / folder
        if not root.is_dir():
            pytest.skip(f"no real data at {root} (set ODP_SHARED_DATA)")
        cohort = (
            root.name if "cohort" in root.name or root.parent == SHARED else f"{root.parent.name}-{root.name}"
        )
        found |= {
            f"clinical/{cohort}/{p.relative_to(root).as_posix()}": p.read_bytes()
            for p in sorted(root.rglob("*.*json")) if p.name != "cases.json"
        }  # fmt: skip
    return found


def counted(landed: Mapping[str, bytes]) -> dict[str, int]:
    """Distinct ids of each cohort by resource type, with the standard library alone."""
    ids: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name, content in landed.items():
        for entry in json.loads(content)["entry"]:
            ids[entry["resource"]["resourceType"]].add((name.split("/")[1], entry["resource"]["id"]))
    return {kind: len(found) for kind, found in ids.items()}


SMART = ("fhir_smart_r4/cohort=A", "fhir_smart_r4/cohort=C", "fhir_smart_r4/reference")
HIV = tuple(
    f"fhir_synthea_hiv/{name}" for name in ("segment_0", "segment_1", "segment_2", "segment_3", "reference")
)


@pytest.mark.slow
def test_real_cohorts_have_the_numbers_of_an_independent_count(lake: Lake) -> None:
    landed = files(*SMART, *HIV)
    for name, content in landed.items():
        lake.landing.put(name, content)
    run(lake)
    expected = counted(landed)
    for table in c.SILVER:
        assert lake.store.snapshot(table).rows == expected.get(SHAPES[table.name][0], 0), table.name
    by_type = lake.store.scan(c.FHIR_INDEX).group_by("resource_type").len().collect().rows()
    assert dict(by_type) == expected
    for table in SILVER:
        assert (key_problems(lake, table), conservation_problems(lake, table), refused(lake, table.name)) == (
            [],
            [],
            [],
        )
    told = lake.store.scan(c.FHIR_REFERENCES).collect()
    assert (
        told["stated"].sum()
        == told.select("resolved", "resolved_by_identifier", "contained", "dangling").to_numpy().sum()
    )
    assert told["dangling"].sum() == 0

    versions = {table.path: lake.store.snapshot(table).version for table in c.CONTRACTS}
    again = files("fhir_synthea_hiv/incremental")
    for name, content in again.items():
        lake.landing.put(name.replace("-incremental/", "-segment_0/again/"), content)
    report = ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    run(lake)
    assert (report.files, report.rows) == (0, 0)
    assert {t.path: lake.store.snapshot(t).version for t in c.CONTRACTS if t.layer != "bronze"} == {
        path: version for path, version in versions.items() if not path.startswith("bronze")
    }
    for name, content in again.items():
        lake.landing.put(name, content)
    run(lake)
    expected = counted({**landed, **again})
    assert lake.store.snapshot(BY_NAME["patient"]).rows == expected["Patient"]
    assert lake.store.snapshot(BY_NAME["encounter"]).rows == expected["Encounter"]


@pytest.mark.slow
def test_every_case_of_hl7_is_in_silver_or_refused_with_a_reason(lake: Lake) -> None:
    landed = files("fhir_hl7_cases")
    for name, content in landed.items():
        lake.landing.put(name, content)
    report = ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    run(lake)
    bronze = set(lake.store.scan(c.RAW_FHIR_RESOURCES).collect()["_source"])
    reasons = {r["_source"]: r["reason"] for r in lake.store.scan(LANDING_REJECTS).collect().rows(named=True)}
    assert bronze | reasons.keys() == _one_per_content(landed)
    assert not bronze & reasons.keys()
    assert all(reasons.values())
    assert report.files + len(report.refused) + report.known == len(landed)
    for table in SILVER:
        assert conservation_problems(lake, table) == []


def _one_per_content(landed: Mapping[str, bytes]) -> set[str]:
    """The first name of each content; all of them lie in one cohort."""
    first: dict[bytes, str] = {}
    for name in sorted(landed):
        first.setdefault(landed[name], name)
    return set(first.values())
