"""The dbt project as assets: its tables, the models that they are made of, and their tests.

Belongs here: one step for all, since one build makes them. Does not: the build (lakehouse.dbt), or what a
table says of itself (materializing.py).

Neither dbt nor an adapter of it is imported: what is here comes from the extract of its manifest.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner function.)
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from lakehouse.dbt import HISTORY, LAYER, BuildFailed, Node, Project, check_name, checks_of, the_project
from lakehouse.errors import without_chain
from lakehouse.table import Table
from orchestration import checks
from orchestration.materializing import known_version, materialized, retry_only_transient, spec_of, wants_full
from orchestration.metadata import LINEAGE, column_lineage
from orchestration.resources import LakeResource

GROUP = "models"


def models_asset(tables: Sequence[Table]) -> dg.AssetsDefinition:
    """Return the assets of the dbt project: `tables`, and each model between them and their sources."""
    found = the_project()
    by_id = {table.model or "": table for table in tables}
    above = {one.id for made in by_id for one in found.above(found.nodes[made]) if one.kind == "model"}
    order = found.in_order(above | by_id.keys())
    between = [node for node in order if node.id not in by_id]
    keys = {
        node.id: checks.key_of(by_id[node.id].contract)
        if node.id in by_id
        else dg.AssetKey(["dbt", node.name])
        for node in order
    }

    @dg.multi_asset(
        name="dbt_build",
        specs=[
            spec_of(by_id[node.id], more_deps=_deps(found, node, keys))
            if node.id in by_id
            else _spec(found, node, keys, tables)
            for node in order
        ],
        check_specs=[
            *(spec for table in tables for spec in checks.specs(table.contract)),
            *(spec for node in between for spec in checks.specs_of(keys[node.id], checks_of(found, node))),
        ],
        can_subset=True,
    )
    def made(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        from lakehouse.materialize import materialize_models, of_tests

        opened = lake.open()
        wanted = context.selected_asset_keys
        chosen = [table for table in tables if checks.key_of(table.contract) in wanted]
        seen = {table.path: known_version(context.instance, table.contract) for table in chosen}
        try:
            with retry_only_transient(but=BuildFailed):
                done = materialize_models(
                    opened,
                    chosen,
                    full=wants_full(context),
                    info={"odp.run": context.run.run_id},
                    known_versions=seen,
                )
        except BuildFailed as exc:
            yield from _failed(found, exc, keys, context.selected_asset_check_keys)
            raise dg.Failure(description=str(without_chain(exc)), allow_retries=False) from None
        by_path = {each.table.path: each for each in done}
        built = done[0].built if done else None
        for node in order:
            if keys[node.id] not in wanted:
                continue
            if (table := by_id.get(node.id)) is not None:
                stated = column_lineage(table.contract).deps_by_column
                lineage = dg.TableColumnLineage({**stated, **_lineage(found, node, keys)})
                yield materialized(opened, by_path[table.path], {LINEAGE: lineage})
            else:
                yield dg.MaterializeResult(
                    asset_key=keys[node.id],
                    metadata={LINEAGE: dg.TableColumnLineage(_lineage(found, node, keys))},
                    check_results=checks.results_of(keys[node.id], of_tests(checks_of(found, node), built)),
                )

    return made


def _spec(
    found: Project, node: Node, keys: Mapping[str, dg.AssetKey], tables: Sequence[Table]
) -> dg.AssetSpec:
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


def _deps(found: Project, node: Node, keys: Mapping[str, dg.AssetKey]) -> list[dg.AssetKey]:
    """Return what a node is made of: models of the project, and tables of the lake."""
    needs = [found.nodes[one] for one in node.needs if one in found.nodes]
    tables = [one for one in needs if one.kind == "source" and one.schema != HISTORY]
    return [
        *(keys[one.id] for one in needs if one.id in keys),
        *(dg.AssetKey([one.schema, one.name]) for one in tables),
    ]


def _lineage(
    found: Project, node: Node, keys: Mapping[str, dg.AssetKey]
) -> dict[str, Sequence[dg.TableColumnDep]]:
    """Return which columns of the assets right above a node's are computed from, as its SQL says.

    Where that could not be read, or names no column (a count), there is nothing.
    """
    places = {one: _place(found.nodes[one], keys) for one in node.needs if one in found.nodes}
    told = {
        column: [
            dg.TableColumnDep(asset_key=place, column_name=name)
            for of, name in pairs
            if (place := places.get(of)) is not None
        ]
        for column, pairs in node.lineage.items()
    }
    return {column: deps for column, deps in told.items() if deps}


def _place(node: Node, keys: Mapping[str, dg.AssetKey]) -> dg.AssetKey | None:
    """Return the asset of a node; the history that a snapshot goes on from is none."""
    if node.kind == "source" and node.schema != HISTORY:
        return dg.AssetKey([node.schema, node.name])
    return keys.get(node.id)


def _failed(
    found: Project, exc: BuildFailed, keys: Mapping[str, dg.AssetKey], wanted: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the tests that failed, as checks of what they test."""
    from lakehouse.verify.outcomes import CheckOutcome

    for test_id, told in exc.failed.items():
        test = found.nodes.get(test_id)
        if test is None or test.tests is None or test.tests not in keys:
            continue
        key, of = keys[test.tests], found.nodes[test.tests]
        outcome = CheckOutcome(name=check_name(test), passed=False, description=told, blocks=True)
        prefix = f"{of.name}_" if of.schema == LAYER else ""
        results = checks.results_of(key, [outcome], prefix=prefix)
        yield from (one for one in results if dg.AssetCheckKey(key, one.check_name or "") in wanted)
