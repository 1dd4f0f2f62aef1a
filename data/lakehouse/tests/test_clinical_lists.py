"""Lists of a resource: what the standard's JSON says, as lists of texts and structs."""

from __future__ import annotations

import re

import duckdb
import polars as pl
from checkouts import ROOT
from test_clinical import BY_NAME, condition, lake, land, patient, rows, run, stated
from test_clinical_cases import by_id, gold, observation, visit

from lakehouse.contracts.types import ListType, is_nested
from lakehouse.domains.clinical import contracts as c
from lakehouse.domains.clinical.lists import CODINGS, COMPONENTS, TEXTS, series
from lakehouse.pipeline import Lake
from lakehouse.verify import content_hash

__all__ = ["lake"]
LOINC = "http://loinc.org"
CHOSEN = {"code": "bp", "userSelected": True, "version": "2"}
LEFT = {"coding": [{"system": "s", "code": "left"}]}
PRESSURE = {
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}, CHOSEN]},
    "component": [
        {
            "code": {"coding": [{"system": LOINC, "code": "8480-6", "display": "Systolic"}]},
            "valueQuantity": {"value": 107.10, "unit": "mmHg", "code": "mm[Hg]"},
            "interpretation": [{"coding": [{"code": "N"}]}, {"text": "as before"}, {}],
        },
        {"code": {"text": "Diastolic"}, "dataAbsentReason": {"coding": [{"code": "error"}]}},
        {"code": {"coding": [{"code": "arm"}]}, "valueCodeableConcept": LEFT},
        {"code": {"coding": [{"code": "ratio"}]}, "valueRatio": {"numerator": {"value": 1}}},
        {"code": {"coding": [{"code": "trace"}]}, "valueQuantity": {"value": 0.10, "comparator": "<"}},
    ],
}  # fmt: skip


def test_a_panel_says_what_its_json_says(lake: Lake) -> None:
    land(lake, "a/1.json", patient("p"), observation("bp", **PRESSURE), observation("none"))
    run(lake)
    one = by_id(lake, "observation")
    assert stated(one["bp"]["code_codings"]) == [
        {"system": LOINC, "code": "85354-9"},
        {"version": "2", "code": "bp", "user_selected": True},
    ]
    assert [stated(part) for part in one["bp"]["components"]] == [
        {
            "code": "8480-6", "code_system": LOINC, "code_display": "Systolic",
            "code_codings": [{"system": LOINC, "code": "8480-6", "display": "Systolic"}],
            "value": 107.1, "value_text": "107.1", "value_unit": "mm[Hg]", "value_type": "Quantity",
            "interpretation": ["N", "as before"],
        },
        {"code_display": "Diastolic", "absent_reason": "error"},
        {"code": "arm", "code_codings": [{"code": "arm"}], "value_code": "left", "value_code_system": "s",
         "value_type": "CodeableConcept"},
        {"code": "ratio", "code_codings": [{"code": "ratio"}], "value_type": "Ratio",
         "value_json": '{"numerator":{"value":1}}'},
        {"code": "trace", "code_codings": [{"code": "trace"}], "value_comparator": "<", "value_bound": "0.1",
         "value_type": "Quantity"},
    ]  # fmt: skip
    lists = [name for name, column in BY_NAME["observation"].by_name.items() if is_nested(column.type)]
    assert {name: one["none"][name] for name in lists} == dict.fromkeys(lists)


def test_no_column_of_a_cohort_is_glued_text() -> None:
    """A JSON text is left where its shape is not one: a value of one of several types, or of any resource."""
    texts = {
        (table.name, column.name)
        for table in c.CONTRACTS
        for column in table.columns
        if "JSON" in column.description and not isinstance(column.type, ListType)
    }
    assert {name for table, name in texts if table != "raw_fhir_resources"} == {
        "value_json", "onset_text", "abatement_text", "performed_text", "built_from",
    }  # fmt: skip


def test_another_order_of_codings_is_another_content(lake: Lake) -> None:
    first, second = [{"code": "a"}, {"code": "b"}], [{"code": "b"}, {"code": "a"}]
    found = []
    for number, codings in enumerate((first, first, second)):
        stamp = {"lastUpdated": f"2020-01-0{number + 1}T00:00:00Z"}
        land(lake, f"a/{number}.json", condition("c", "Patient/p", code={"coding": codings}, meta=stamp))
        run(lake)
        table = BY_NAME["condition"]
        frame = lake.store.scan(table).with_columns(
            pl.lit(None, pl.Datetime("us", "UTC")).alias("last_updated")
        )
        frame = frame.with_columns(_source=pl.lit(""), _fingerprint=pl.lit(""), code=pl.lit("a"))
        found.append(content_hash(table, frame))
    assert found[0] == found[1] != found[2]
    assert len(rows(lake, "condition")) == 1


def test_the_queries_of_the_page_give_what_the_bundle_says(lake: Lake) -> None:
    page = (ROOT / "docs" / "operations" / "clinical.md").read_text()
    [asked] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    pressures, visits = [one for one in asked.split(";") if one.strip()]
    diabetes = {"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}]}
    land(
        lake, "a/1.json", patient("p"), observation("bp", **PRESSURE), observation("other"), visit("v"),
        condition("c", "Patient/p", code=diabetes, onsetDateTime="2001-01-01"),
    )  # fmt: skip
    run(lake)
    database = duckdb.connect()
    for table in (BY_NAME["observation"], c.ENCOUNTER_SUMMARY):
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {table.layer}")
        database.register("given", lake.store.scan(table).collect().to_arrow())
        database.execute(f"CREATE TABLE {table.path.replace('/', '.')} AS FROM given")
    found = [row[2:] for row in database.execute(pressures).fetchall()]
    assert sorted(found, key=str) == [
        ("Diastolic", None, None),
        ("Systolic", 107.1, "mm[Hg]"),
        *[(None, None, None)] * 3,
    ]
    assert database.execute(visits).fetchall() == [("p", "v")]
    assert gold(lake, "encounter_summary")[0]["active_medications"] == []


def test_a_column_of_lists_is_built_as_polars_builds_it() -> None:
    made = series([["a", None], None, [], ["b"]], TEXTS)
    assert made.to_list() == [["a", None], None, None, ["b"]]
    for values in ([], [None], [[], None], [None, [(None,) * 5]], [[("s", None, "c", "d", True)] * 3, []]):
        found = series(values, CODINGS)
        names = [field.name for field in CODINGS.element.fields]  # type: ignore[union-attr]
        wanted = [[dict(zip(names, one, strict=True)) for one in some] if some else None for some in values]
        assert found.to_list() == wanted
        assert found.dtype == BY_NAME["observation"].polars_schema()["code_codings"]
    assert series([None, []], COMPONENTS).to_list() == [None, None]
