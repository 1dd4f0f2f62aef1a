"""Views over a lake: which resources they see, the command, and a ViewDefinition that becomes a table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import lakehouse
from lakehouse.cli.main import main
from lakehouse.contracts import Contract, Type
from lakehouse.contracts.types import ListType
from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical import transforms
from lakehouse.domains.clinical.sources import SOURCES
from lakehouse.domains.clinical.views import tables
from lakehouse.errors import ContractError, DataViolation, LakeError
from lakehouse.pipeline import Lake, code, ingest, open_lake, refresh
from lakehouse.settings import Settings

SMART = Path(os.environ.get("ODP_SHARED_DATA") or Path(__file__).parents[4] / "shared/data") / "fhir_smart_r4"
PATIENTS: dict[str, Any] = {
    "resourceType": "ViewDefinition", "name": "patient_names", "title": "One name of a patient", "resource": "Patient",
    "select": [
        {"column": [
            {"name": "key", "path": "getResourceKey()", "type": "string", "tag": [{"name": "odp/pii", "value": "false"}]},
            {"name": "given", "path": "name.first().given", "type": "string", "collection": True},
            {"name": "born", "path": "birthDate", "type": "date", "description": "Date of birth"},
        ]},
        {"forEachOrNull": "name", "column": [{"name": "family", "path": "family", "type": "string"}]},
    ],
}  # fmt: skip
VISITS: dict[str, Any] = {
    "name": "visits", "resource": "Encounter",
    "select": [{"column": [{"name": "id", "path": "id"}, {"name": "patient", "path": "subject.getReferenceKey(Patient)"},
                           {"name": "other", "path": "subject.getReferenceKey(Organization)"}]}],
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    old = {
        "resourceType": "Patient",
        "id": "p1",
        "meta": {"lastUpdated": "2020-01-01T00:00:00Z"},
        "name": [{"family": "Old"}],
    }
    new = {"resourceType": "Patient", "id": "p1", "meta": {"lastUpdated": "2021-01-01T00:00:00Z"}, "birthDate": "1980-02",
           "name": [{"family": "New", "given": ["A", "B"]}, {"family": "Second"}]}  # fmt: skip
    bad = {"resourceType": "Patient", "id": "not valid!", "name": [{"family": "Refused"}]}
    visit = {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"},
             "subject": {"reference": "urn:uuid:11111111-1111-1111-1111-111111111111"}}  # fmt: skip
    land(lake, "one/b.json", {"urn:uuid:11111111-1111-1111-1111-111111111111": new, "urn:uuid:2": visit})
    land(lake, "one/c.json", {"urn:uuid:3": old, "urn:uuid:4": bad})
    land(lake, "two/d.json", {"urn:uuid:p9": {"resourceType": "Patient", "id": "p9"}, "urn:uuid:6":
         {**visit, "id": "e2", "subject": {"reference": "urn:uuid:p9"}}})  # fmt: skip
    ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    refresh(lake, c.FHIR_INDEX, transforms.fhir_index)
    return lake


def land(lake: Lake, name: str, entries: dict[str, Any]) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection",
              "entry": [{"fullUrl": url, "resource": one} for url, one in entries.items()]}  # fmt: skip
    lake.landing.put(f"clinical/{name}", json.dumps(bundle).encode())


def contract(view: dict[str, Any]) -> Contract:
    return tables.table(str(view["name"]), tables.view_of(view), c.RAW_FHIR_RESOURCES, c.FHIR_INDEX)


def computed(lake: Lake, view: dict[str, Any]) -> list[dict[str, Any]]:
    made = contract(view)
    refresh(lake, made, tables.transform(made.name, json.dumps(view)))
    return lake.store.scan(made).sort(*made.key).collect().rows(named=True)


def test_a_view_sees_the_newest_version_of_each_resource_and_nothing_that_was_refused(lake: Lake) -> None:
    here = {
        "cohort": "one",
        "key": "Patient/p1",
        "given": ["A", "B"],
        "born": "1980-02",
        "_resource_id": "p1",
    }
    assert computed(lake, PATIENTS) == [
        {**here, "family": "New", "_resource_row": 0},
        {**here, "family": "Second", "_resource_row": 1},
        {"cohort": "two", "key": "Patient/p9", "given": [], "born": None, "family": None, "_resource_id": "p9",
         "_resource_row": 0},
    ]  # fmt: skip


def test_references_of_a_bundle_lead_to_the_key_of_the_resource_they_mean(lake: Lake) -> None:
    made = computed(lake, VISITS)
    assert [(row["id"], row["patient"], row["other"]) for row in made] == [
        ("e1", "Patient/p1", None), ("e2", "Patient/p9", None)]  # fmt: skip


def test_an_id_of_two_types_is_no_key_unless_the_reference_says_which(lake: Lake) -> None:
    organization = {"resourceType": "Organization", "id": "p9"}
    land(lake, "two/e.json", {"urn:uuid:org": organization})
    ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    refresh(lake, c.FHIR_INDEX, transforms.fhir_index)
    column = {"name": "any", "path": "subject.getReferenceKey()"}
    view = {**VISITS, "select": [*VISITS["select"], {"column": [column]}]}
    assert [(row["id"], row["any"], row["patient"], row["other"]) for row in computed(lake, view)] == [
        ("e1", "Patient/p1", "Patient/p1", None), ("e2", None, "Patient/p9", "Organization/p9")]  # fmt: skip


def test_the_contract_follows_from_the_view() -> None:
    made = contract(PATIENTS)
    assert (made.path, made.key, [s.path for s in made.sources]) == (
        "gold/patient_names", ("cohort", "_resource_id", "_resource_row"),
        ["bronze/raw_fhir_resources", "silver/fhir_index"],
    )  # fmt: skip
    assert {n: (col.type, col.pii, col.sources) for n, col in made.by_name.items()} == {
        "cohort": (Type.STRING, False, ("cohort",)), "key": (Type.STRING, False, ("resource",)),
        "given": (ListType(Type.STRING), True, ("resource",)), "born": (Type.STRING, True, ("resource",)),
        "family": (Type.STRING, True, ("resource",)), "_resource_id": (Type.STRING, False, ("resource_id",)),
        "_resource_row": (Type.INT64, False, ("resource",)),
    }  # fmt: skip
    assert made.by_name["born"].description == "Date of birth"


def test_a_changed_view_is_another_version_of_its_table() -> None:
    def number(view: dict[str, Any]) -> int:
        return code.fingerprint(contract(view), tables.transform("a", json.dumps(view)))

    other = json.loads(json.dumps(PATIENTS).replace("name.first().given", "name.given"))
    assert number(PATIENTS) == number(json.loads(json.dumps(PATIENTS))) != number(other)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is JSON"), ('{"resource": "Patient"}', "select"),
        (json.dumps({**PATIENTS, "name": "PatientNames"}), "small letters"),
        (json.dumps(VISITS).replace('"name": "id"', '"name": "cohort"'), "cohort"),
        (json.dumps(VISITS).replace('"name": "id"', '"name": "visitId"'), "small letters"),
    ],
)  # fmt: skip
def test_a_file_that_can_be_no_table_is_refused_by_its_name(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(ContractError, match=rf"one\.json.*{says}"):
        tables.declared(tmp_path)


def test_two_views_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(VISITS))
    with pytest.raises(ContractError, match="named visits too"):
        tables.declared(tmp_path)


def test_a_resource_that_does_not_fit_stops_the_table_and_says_no_value(lake: Lake) -> None:
    many = {"name": "family", "path": "name.family", "type": "string"}
    view = {"name": "families", "resource": "Patient", "select": [{"column": [many]}]}
    with pytest.raises(LakeError, match=r"view families .*: column family has several values") as told:
        computed(lake, view)
    assert not isinstance(told.value, DataViolation)
    assert "New" not in str(told.value)


def test_the_command_masks_what_is_not_declared_to_be_no_personal_data(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "view.json"
    file.write_text(json.dumps(PATIENTS))
    argv = ["--lake", str(tmp_path / "lake"), "--json", "fhir", "view", str(file)]
    assert main(argv) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown[0] == {"cohort": "one", "key": "Patient/p1", "given": "•••", "born": "•••", "family": "•••"}
    assert main([*argv, "--reveal-pii", "--cohort", "two"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"cohort": "two", "key": "Patient/p9", "given": [], "born": None, "family": None}]  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson"])
def test_the_command_writes_all_rows_to_a_file(lake: Lake, tmp_path: Path, kind: str) -> None:
    file, out = tmp_path / "view.json", tmp_path / f"out.{kind}"
    file.write_text(json.dumps(PATIENTS))
    argv = [
        "--lake",
        str(tmp_path / "lake"),
        "fhir",
        "view",
        str(file),
        "-n",
        "1",
        "--reveal-pii",
        "--out",
        str(out),
    ]
    assert main(argv) == 0
    made = {"parquet": pl.read_parquet, "csv": pl.read_csv, "ndjson": pl.read_ndjson}[kind](out)
    assert made["family"].to_list() == ["New", "Second", None]
    assert made["given"].to_list()[0] == ('["A","B"]' if kind == "csv" else ["A", "B"])


def test_the_command_tells_what_is_wrong_with_a_file(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "view.json"
    file.write_text("{}")
    argv = ["--lake", str(tmp_path / "lake"), "fhir", "view"]
    assert main([*argv, str(file)]) == 1
    assert "view.json: `resource` names no type" in capsys.readouterr().err
    assert main([*argv, str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main([*argv, str(file), "--out", "a.xls"]) == 2


@pytest.mark.slow
def test_a_view_in_the_folder_of_the_domain_is_a_table_of_the_lake(lake: Lake, tmp_path: Path) -> None:
    """In a copy of the library, since the folder is read where it lies."""
    package = tmp_path / "code" / "lakehouse"
    shutil.copytree(Path(lakehouse.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "domains/clinical/names.json").write_text(json.dumps(PATIENTS))
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "code"), "LAKE_URL": str(tmp_path / "lake")}

    def run(*argv: str) -> Any:
        done = subprocess.run([sys.executable, "-m", "lakehouse.cli", "--json", *argv], capture_output=True, text=True,
                              check=False, env=env, cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    [told] = run("refresh", "gold/patient_names")
    assert (told["table"], told["written"]) == ("gold/patient_names", 3)
    assert run("head", "gold/patient_names", "-n", "1")[0]["family"] == "•••"
    assert [one["rows"] for one in run("tables") if one["table"] == "gold/patient_names"] == [3]
    [again] = run("refresh", "gold/patient_names")
    assert (again["written"], again["version"]) == (0, told["version"])


@pytest.mark.skipif(not SMART.is_dir(), reason=f"no SMART sample at {SMART} (set ODP_SHARED_DATA)")
def test_real_observations_are_those_that_a_plain_reading_finds(tmp_path: Path) -> None:
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    right = set()
    for path in sorted(SMART.glob("cohort=*/*.json"))[:6]:
        text = path.read_text(encoding="utf-8")
        lake.landing.put(f"clinical/smart/{path.name}", text.encode())
        for entry in json.loads(text, parse_float=Decimal)["entry"]:
            one = entry["resource"]
            if one["resourceType"] == "Observation":
                for part in one.get("component") or [{}]:
                    found = part.get("valueQuantity") or {}
                    right.add((one["id"], one["subject"]["reference"].rsplit(":", 1)[1], one["effectiveDateTime"],
                               str(one["valueQuantity"]["value"]) if "valueQuantity" in one else None,
                               str(found["value"]) if found else None))  # fmt: skip
    ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    refresh(lake, c.FHIR_INDEX, transforms.fhir_index)
    text_of_number = {"type": "decimal", "tag": [{"name": "ansi/type", "value": "VARCHAR"}]}
    view = {"name": "observed", "resource": "Observation", "select": [
        {"column": [{"name": "id", "path": "id"}, {"name": "patient", "path": "subject.getReferenceKey(Patient)"},
                    {"name": "at", "path": "effective.ofType(dateTime)", "type": "dateTime"},
                    {"name": "value", "path": "value.ofType(Quantity).value", **text_of_number}]},
        {"forEachOrNull": "component", "column": [{"name": "part", "path": "value.ofType(Quantity).value", **text_of_number}]},
    ]}  # fmt: skip
    made = {(r["id"], r["patient"], r["at"], r["value"], r["part"]) for r in computed(lake, view)}
    assert len(right) > 300
    assert made == {(id_, f"Patient/{patient}", *rest) for id_, patient, *rest in right}


def test_a_resource_whose_latest_entry_deletes_it_is_seen_by_no_view(tmp_path: Path) -> None:
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    put, deleted = (
        {
            "fullUrl": "http://s.example/Patient/h8",
            "request": {"method": method, "url": "Patient/h8"},
            "response": {"status": status, "lastModified": f"2024-0{month}-01T00:00:00Z"},
        }
        for method, status, month in (("PUT", "201", 1), ("DELETE", "204", 3))
    )
    put["resource"] = {"resourceType": "Patient", "id": "h8", "name": [{"family": "Gone"}]}
    stays = {
        "resource": {"resourceType": "Patient", "id": "h9"},
        **{k: put[k] for k in ("request", "response")},
    }
    history = {"resourceType": "Bundle", "type": "history", "entry": [deleted, put, stays]}
    lake.landing.put("clinical/one/history.json", json.dumps(history).encode())
    ingest(lake, c.RAW_FHIR_RESOURCES, SOURCES)
    refresh(lake, c.FHIR_INDEX, transforms.fhir_index)
    seen = tables.newest("Patient", lake.store.scan(c.RAW_FHIR_RESOURCES), lake.store.scan(c.FHIR_INDEX))
    assert seen["resource_id"].to_list() == ["h9"]
