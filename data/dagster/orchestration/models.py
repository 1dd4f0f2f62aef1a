"""The dbt project as assets: its tables, the models that they are made of, and their tests.

Belongs here: one step for all, since one build makes them. Does not: the build (lakehouse.dbt), or what a
table says of itself (materializing.py).

Neither dbt nor an adapter of it is imported: what is here comes from the extract of its manifest.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner function.)
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from lakehouse.dbt import BuildFailed, Node, Project, check_name, project
from lakehouse.errors import without_chain
from lakehouse.table import Table
from orchestration import FULL_REFRESH_TAG, checks
from orchestration.materializing import materialized, retry_only_transient, spec_of, told_by
from orchestration.resources import LakeResource

GROUP = "models"


def models_asset(tables: Sequence[Table]) -> dg.AssetsDefinition:
    """Return the assets of the dbt project: `tables`, and each model between them and their sources."""
    found = project()
    if found is None:
        raise LookupError("tables of dbt without a project")
    by_id = {table.model: table for table in tables}
    above = {
        one.id: one for t in tables for one in found.above(found.nodes[t.model or ""]) if one.kind == "model"
    }
    between = found.in_order([one for one in above if one not in by_id])
    tables = [by_id[node.id] for node in found.in_order([one for one in by_id if one])]
    keys = {one.id: dg.AssetKey(["dbt", one.name]) for one in between}
    keys |= {table.model or "": checks.key_of(table.contract) for table in tables}

    @dg.multi_asset(
        name="dbt_build",
        specs=[
            *(_spec(found, one, keys, tables) for one in between),
            *(
                spec_of(table, more_deps=_deps(found, found.nodes[table.model or ""], keys))
                for table in tables
            ),
        ],
        check_specs=[
            *(spec for table in tables for spec in checks.specs(table.contract)),
            *(spec for one in between for spec in _check_specs(found, one, keys[one.id])),
        ],
        can_subset=True,
    )
    def made(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        from lakehouse.materialize import materialize_models

        opened = lake.open()
        chosen = [table for table in tables if checks.key_of(table.contract) in context.selected_asset_keys]
        told = {table.path: told_by(context, table) for table in chosen}
        full = context.run.tags.get(FULL_REFRESH_TAG) == "true"
        try:
            with retry_only_transient(but=BuildFailed):
                done = materialize_models(
                    opened,
                    chosen,
                    full=full,
                    info={"odp.run": context.run.run_id},
                    known_versions={path: each["known_version"] for path, each in told.items()},
                )
        except BuildFailed as exc:
            yield from _failed(found, exc, keys, context.selected_asset_check_keys)
            raise dg.Failure(description=str(without_chain(exc)), allow_retries=False) from None
        by_path = {each.table.path: each for each in done}
        for node in found.in_order(list(keys)):
            if keys[node.id] not in context.selected_asset_keys:
                continue
            if (table := by_id.get(node.id)) is not None:
                yield materialized(opened, by_path[table.path])
            else:
                tested = list(_passed(found, node, keys[node.id]))
                yield dg.MaterializeResult(asset_key=keys[node.id], check_results=tested)

    return made


def _spec(found: Project, node: Node, keys: dict[str, dg.AssetKey], tables: Sequence[Table]) -> dg.AssetSpec:
    made = next(t.contract for t in tables if node in found.above(found.nodes[t.model or ""]))
    return dg.AssetSpec(
        key=keys[node.id],
        deps=_deps(found, node, keys),
        group_name=GROUP,
        kinds={"dbt", "duckdb"},
        owners=[made.owner],
        tags={"domain": made.domain},
        code_version=node.checksum[:12],
        description=node.description or None,
        skippable=True,
    )


def _deps(found: Project, node: Node, keys: dict[str, dg.AssetKey]) -> list[dg.AssetKey]:
    """Return what a node is made of: models of the project, and tables of the lake."""
    needs = [found.nodes[one] for one in node.needs if one in found.nodes]
    tables = [dg.AssetKey([one.schema, one.name]) for one in needs if one.kind == "source"]
    return [
        *(keys[one.id] for one in needs if one.id in keys),
        *(key for key in tables if key.path[0] != "history"),
    ]


def _check_specs(found: Project, node: Node, key: dg.AssetKey) -> Iterator[dg.AssetCheckSpec]:
    for test in found.tests_of(node):
        yield dg.AssetCheckSpec(check_name(test), asset=key, description=test.description or None,
                                blocking=test.severity == "error")  # fmt: skip


def _passed(found: Project, node: Node, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    for test in found.tests_of(node):
        yield dg.AssetCheckResult(check_name=check_name(test), asset_key=key, passed=True)


def _failed(
    found: Project, exc: BuildFailed, keys: dict[str, dg.AssetKey], wanted: Any
) -> Iterator[dg.AssetCheckResult]:
    """Yield the tests that failed, as checks of what they test."""
    for test_id, told in exc.failed.items():
        test = found.nodes.get(test_id)
        if test is None or test.kind != "test" or test.tests not in keys:
            continue
        key = keys[test.tests]
        name = (
            f"{found.nodes[test.tests].name}_{check_name(test)}" if key.path[0] != "dbt" else check_name(test)
        )
        if dg.AssetCheckKey(key, name) in wanted:
            yield dg.AssetCheckResult(check_name=name, asset_key=key, passed=False, description=told)
