"""One factory: every table of the registry as an asset.

Belongs here: steps, their assets, and translating a materialisation into Dagster's words. Does not: what a
table is or how it is made (lakehouse), partitions (partitions.py).

A step is one table; those that are mapped row by row from one and the same table share a step, where each is
computed in a thread of its own. There is no IO manager: position, rows and refused rows of one batch go into
the store together, in batches of bounded size, which a load hook and a separate save hook cannot do.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner functions.)
"""

import time
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

import dagster as dg

from lakehouse.contracts import Contract
from lakehouse.registry import manifests, models, tables
from lakehouse.table import Kind, Manifest, Table
from orchestration import checks
from orchestration.materializing import materialize_one, retry_only_transient, spec_of, told_by
from orchestration.models import models_asset
from orchestration.partitions import Partitioned, partitioned, partitioned_of
from orchestration.resources import LakeResource


@cache
def assets() -> tuple[dg.AssetsDefinition, ...]:
    """Return an asset for each table, each manifest, and each kind of partition."""
    return (
        *(partition_asset(one) for one in partitioned()),
        *(table_assets(step) for step in _steps()),
        *([models_asset(models())] if models() else []),
        *(manifest_asset(one) for one in manifests()),
    )


def _steps() -> list[list[Table]]:
    """Return the tables by step, in their order."""
    steps: dict[str, list[Table]] = {}
    for table in tables():
        if table.kind is Kind.DBT:
            continue
        shared = table.kind is Kind.BATCH_MAP
        name = f"from {table.contract.sources[0].path}" if shared else table.path
        steps.setdefault(name, []).append(table)
    return list(steps.values())


def table_assets(step: Sequence[Table]) -> dg.AssetsDefinition:
    """Return the assets of one step. A run may leave some out.

    A table that fails, or whose check blocks, does not keep the others of its step from being written.
    """
    first = step[0].contract
    name = f"{first.layer}__{first.name}" if len(step) == 1 else f"{first.domain}_{first.layer}"

    @dg.multi_asset(
        name=name,
        specs=[spec_of(table) for table in step],
        check_specs=[spec for table in step for spec in checks.specs(table.contract)],
        can_subset=len(step) > 1,
    )
    def made(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[dg.MaterializeResult]:
        chosen = [table for table in step if checks.key_of(table.contract) in context.selected_asset_keys]
        results = _one(context, lake, chosen[0]) if len(chosen) == 1 else _several(context, lake, chosen)
        done = [one for one in results if isinstance(one, dg.MaterializeResult)]
        # A blocking check ends the step at once: what holds is told first.
        yield from sorted(done, key=checks.blocks)
        for one in results:
            if isinstance(one, Exception):
                raise one

    return made


def _one(context: dg.AssetExecutionContext, lake: LakeResource, table: Table) -> list[Any]:
    opened, told = lake.open(), told_by(context, table)
    result = materialize_one(opened, table, told)
    own = partitioned_of(table)
    if own is not None and told["partitions"] is None and (result.metadata or {})["new_files"]:
        own.report_each(context.instance, opened)
    return [result]


def _several(context: dg.AssetExecutionContext, lake: LakeResource, chosen: Sequence[Table]) -> list[Any]:
    from lakehouse.pipeline.together import together

    told = {table.path: told_by(context, table) for table in chosen}
    return together(chosen, lambda own, table: materialize_one(own, table, told[table.path]), open_=lake.own)


def partition_asset(one: Partitioned) -> dg.AssetsDefinition:
    """Return the partitioned asset of a source: what each partition's files are, and what Bronze holds of
    it."""
    contract = one.table.contract

    @dg.asset(
        key=one.key,
        group_name=one.key.path[0],
        kinds={"json"},
        owners=[contract.owner],
        tags={"domain": contract.domain},
        code_version=contract.version,
        description=f"{one.source.description}. Their rows are brought into {contract}.",
        partitions_def=one.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def files(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.materialize import materialize

        opened, names = lake.open(), list(context.partition_keys)
        with retry_only_transient():
            told = {**told_by(context, one.table), "partitions": names}
            done = materialize(opened, one.table, checks=False, **told)
            landed = one.landed(opened.landing.list(one.source.folder))
            for name, said in one.describe(opened, {name: landed.get(name, []) for name in names}).items():
                context.add_asset_metadata(said, partition_key=name)
        counts = {name: done.counts[name] for name in ("new_files", "new_rows")}
        return dg.MaterializeResult(metadata=counts)

    return files


def manifest_asset(one: Manifest) -> dg.AssetsDefinition:
    """Return the asset of a document about tables, after all that nothing else of them is made from."""

    @dg.asset(
        key=dg.AssetKey(one.path.split("/")),
        deps=[checks.key_of(table) for table in last_of(one.tables)],
        group_name="gold",
        kinds={"json"},
        owners=[one.tables[0].owner],
        tags={"domain": one.domain},
        code_version="1",
        description=one.description,
    )
    def document(lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.manifest import write_manifest

        started = time.monotonic()
        with retry_only_transient():
            where, told = write_manifest(lake.open(), one)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(table["rows"] for table in told["tables"].values()),
                "dagster/uri": where,
                "document": told,
                "seconds": round(time.monotonic() - started, 3),
            }
        )

    return document


def last_of(tables: Collection[Contract]) -> list[Contract]:
    """Return those of the tables that no other of them is made from: after them a run is at its end."""
    inner = {source.path for table in tables for source in table.sources}
    return [table for table in tables if table.path not in inner]
