"""Contracts over time: versions, releases, and what is generated from them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from test_flow import event, lake, land, run

from lakehouse.contracts import Column, Contract, RowRule, Type
from lakehouse.contracts.release import bumped, drift, drifts, needed, released, snapshot
from lakehouse.contracts.schema import json_schema, landing_schema
from lakehouse.domains.pipelines import contracts as c
from lakehouse.errors import ContractError
from lakehouse.pipeline import Lake
from lakehouse.registry import contracts

__all__ = ["lake"]
ROOT = Path(__file__).resolve().parents[3]
EVENTS = dataclasses.replace(c.PIPELINE_EVENTS, version="1.0.0")
NEW = Column(name="more", type=Type.STRING, description="New")
RULE = EVENTS.rules[0]


def changed(**parts: object) -> Contract:
    return dataclasses.replace(EVENTS, **parts)  # type: ignore[arg-type]


def column(name: str, **parts: object) -> Contract:
    columns = [dataclasses.replace(x, **parts) if x.name == name else x for x in EVENTS.columns]  # type: ignore[arg-type]
    return changed(columns=tuple(columns))


def rule(severity: str) -> RowRule:
    return RowRule(name="new", description="new", passes=RULE.passes, severity=severity)  # type: ignore[arg-type]


CHANGES = {
    "nothing": (EVENTS, None),
    "a text": (column("status", description="other words"), "patch"),
    "another sentence": (changed(description="Another sentence."), "patch"),
    "a new nullable column": (changed(columns=(*EVENTS.columns, NEW)), "minor"),
    "a looser limit": (changed(max_reject_ratio=0.5), "minor"),
    "a rule less": (changed(rules=EVENTS.rules[1:]), "minor"),
    "a rule that warns": (changed(rules=(*EVENTS.rules, rule("warn"))), "minor"),
    "personal data marked": (column("status", pii=True), "minor"),
    "a rule turned to a warning": (
        changed(rules=(dataclasses.replace(RULE, severity="warn"), *EVENTS.rules[1:])),
        "minor",
    ),
    "a new column without null": (
        changed(columns=(*EVENTS.columns, dataclasses.replace(NEW, nullable=False))),
        "major",
    ),
    "a column less": (changed(columns=tuple(x for x in EVENTS.columns if x.name != "steps")), "major"),
    "another type": (column("steps", type=Type.FLOAT64), "major"),
    "another unit": (column("duration_ms", unit="s"), "major"),
    "no nulls any more": (column("steps", nullable=False), "major"),
    "another key": (changed(key=EVENTS.key[1:]), "major"),
    "a stricter limit": (changed(max_reject_ratio=0.01), "major"),
    "a new rule": (changed(rules=(*EVENTS.rules, rule("error"))), "major"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_asks_for_its_bump(name: str) -> None:
    table, level = CHANGES[name]
    assert needed(snapshot(EVENTS), snapshot(table)) == level
    told = drift(snapshot(EVENTS), table)
    assert (told is None) == (level is None)
    if level is not None:
        assert f"that is a {level} change" in str(told)
        right = {"patch": "1.0.1", "minor": "1.1.0", "major": "2.0.0"}[level]
        assert drift(snapshot(EVENTS), dataclasses.replace(table, version=right)) is None
        short = drift(snapshot(EVENTS), dataclasses.replace(table, version="1.0.1"))
        assert (short is None) == (level == "patch")


def test_versions_are_compared_as_numbers() -> None:
    bumps = [bumped("1.9.0", version) for version in ("1.10.0", "2.0.0", "1.9.1", "1.9.0", "1.8.9")]
    assert bumps == ["minor", "major", "patch", None, None]


def test_no_released_contract_drifts_and_all_of_ours_are_released() -> None:
    ours = [t for t in contracts() if t.domain == "pipelines"]
    assert drifts(contracts()) == []
    assert {p: s["version"] for p, s in released(ours).items()} == {t.path: t.version for t in ours}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"version": "1.0"}, "is no semantic version"),
        ({"version": "v1.0.0"}, "is no semantic version"),
        ({"key": ("pipeline_id", "pipeline_id")}, "stands twice in the key"),
        ({"cluster_by": ("nope",)}, "is no column"),
        ({"partition_by": ("occurred_at",)}, "partition column"),
        ({"max_reject_ratio": 2.0}, "max_reject_ratio is a share"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(parts: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ContractError, match=says):
        changed(**parts)


def test_schemas_are_schemas_and_real_rows_keep_them(lake: Lake) -> None:
    land(lake, "1.ndjson", event("p1"), event("p2"), event("bad", duration_ms=-1))
    run(lake)
    for table in (c.RAW_PIPELINE_EVENTS, c.PIPELINE_EVENTS, c.PIPELINE_METRICS):
        schema = json_schema(table)
        jsonschema.Draft202012Validator.check_schema(schema)
        rows = json.loads(lake.store.scan(table).collect().write_json())
        assert rows
        for row in rows:
            jsonschema.validate(row, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**rows[0], "total_pipelines": None}, json_schema(c.PIPELINE_METRICS))


def test_the_landing_schema_takes_what_landing_takes() -> None:
    schema = landing_schema(c.RAW_PIPELINE_EVENTS)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(event("p1"), schema)
    assert list(schema["properties"]) == [
        "pipeline_id",
        "event_type",
        "workspace_id",
        "timestamp",
        "raw_data",
    ]


def test_the_data_dictionary_and_the_schemas_are_up_to_date() -> None:
    script = ROOT / "ops" / "scripts" / "contract_docs.py"
    env = {**os.environ, "ODP_DBT_PROJECT": ""}  # the shipped project
    argv = [sys.executable, script, "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
