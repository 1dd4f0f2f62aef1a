"""The seams of the domain: what transforms may import and use, and what the contracts promise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lakehouse import registry
from lakehouse.contracts.model import Column, Contract, Materialization, Type
from lakehouse.domains.pipelines import contracts, rules, tables, transforms, values, vocabulary
from lakehouse.errors import ContractError
from lakehouse.table import Table

TREE = ast.parse(Path(str(transforms.__file__)).read_text())
PARTS = [ast.parse(Path(str(module.__file__)).read_text()) for module in (transforms, values, vocabulary)]


def test_transforms_import_narwhals_and_xp_and_nothing_else() -> None:
    imports = [ast.unparse(node) for node in ast.walk(TREE) if isinstance(node, ast.Import | ast.ImportFrom)]
    for part in PARTS[1:]:
        modules = [ast.unparse(n) for n in ast.walk(part) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert modules == ["from __future__ import annotations", "import narwhals.stable.v2 as nw"]
    assert imports == [
        "from __future__ import annotations",
        "import narwhals.stable.v2 as nw",
        "from lakehouse.domains.pipelines import vocabulary",
        "from lakehouse.domains.pipelines.values import filled, given, truth, whole",
        "from lakehouse.engine import xp",
    ]


def test_transforms_use_no_call_that_differs_between_engines() -> None:
    nodes = [node for part in PARTS for node in ast.walk(part)]
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    names = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert names.isdisjoint(
        {"round", "map_batches", "replace_strict", "first", "last", "join_asof", "truncate"}
    )
    for call in calls:
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        if isinstance(call.func, ast.Attribute) and call.func.attr == "unique":
            assert given["keep"] == "'last'"
            assert given["order_by"].startswith("[")
        if isinstance(call.func, ast.Attribute) and call.func.attr == "quantile":
            assert given["interpolation"] == "'linear'"


def test_the_six_tables_with_their_keys() -> None:
    assert {t.path: (t.materialization.value, t.key) for t in contracts.CONTRACTS} == {
        "bronze/raw_pipeline_events": ("append", ()),
        "bronze/raw_crawler_results": ("append", ()),
        "silver/pipeline_events": (
            "incremental by key", ("workspace_id", "pipeline_id", "event_type", "occurred_at", "event_id")
        ),
        "silver/crawler_results": ("incremental by key", ("method_id", "username", "scraped_at")),
        "gold/pipeline_metrics": ("incremental by group", ("workspace_id", "date")),
        "gold/user_profiles": ("incremental by group", ("username",)),
    }  # fmt: skip
    assert [t for t in registry.contracts() if t.domain == "pipelines"] == list(contracts.CONTRACTS)


@pytest.mark.parametrize("table", contracts.CONTRACTS, ids=str)
def test_lineage_names_columns_that_exist(table: Contract) -> None:
    upstream = {name for source in table.sources for name in source.column_names}
    for column in table.columns:
        assert set(column.sources) <= upstream, column.name
        assert column.description
        assert not table.sources or column.sources, f"{column.name} is computed from nothing"


def test_personal_data_stays_marked_from_table_to_table() -> None:
    for table in contracts.CONTRACTS:
        for column in table.columns:
            named_like_a_person = column.name in (
                "username", "display_name", "bio", "location", "profile_image_url", "raw_json",
                "raw_data",  # a webhook of GitHub has its actors and the addresses of a commit's author
            )  # fmt: skip
            assert column.pii == named_like_a_person, f"{table}.{column.name}"


def test_every_rule_reads_well() -> None:
    for table in contracts.CONTRACTS:
        names = [rule.name for rule in table.rules]
        assert len(names) == len(set(names))
        assert all(rule.description and rule.values for rule in table.rules)
    assert rules.present("x").name == "x_present"


def test_two_tables_of_one_path_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = Contract(
        layer="gold", name="user_profiles", domain="other", description="One row.",
        materialization=Materialization.FULL,
        columns=(Column(name="a", type=Type.STRING, description="a"),),
    )  # fmt: skip
    monkeypatch.setattr(tables, "TABLES", (*tables.TABLES, Table(contract=twin, transform=lambda: None)))
    registry.clear()
    try:
        with pytest.raises(ContractError, match="gold/user_profiles"):
            registry.contracts()
    finally:
        registry.clear()
