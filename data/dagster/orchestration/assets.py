"""One factory: every table of the registry as an asset.

Belongs here: steps, their assets, and translating a materialisation into Dagster's words. Does not: what a
table is or how it is made (lakehouse), partitions (partitions.py).

A step is one table; those that are mapped row by row from one and the same table share a step, where each is
computed in a thread of its own. There is no IO manager: position, rows and refused rows of one batch go into
the store together, in batches of bounded size, which a load hook and a separate save hook cannot do.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner functions.)
"""

import inspect
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

import dagster as dg

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, LakeError, StorageUnavailable, only_ours
from lakehouse.registry import manifests, tables
from lakehouse.table import Kind, Manifest, Table
from orchestration import FULL_REFRESH_TAG, checks, metadata
from orchestration.partitions import Partitioned, partitioned, partitioned_of
from orchestration.resources import LakeResource

_TRANSIENT = (StorageUnavailable, Conflict)


@cache
def assets() -> tuple[dg.AssetsDefinition, ...]:
    """Return an asset for each table, each manifest, and each kind of partition."""
    return (
        *(partition_asset(one) for one in partitioned()),
        *(table_assets(step) for step in _steps()),
        *(manifest_asset(one) for one in manifests()),
    )


def _steps() -> list[list[Table]]:
    """Return the tables by step, in their order."""
    steps: dict[str, list[Table]] = {}
    for table in tables():
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


def spec_of(table: Table) -> dg.AssetSpec:
    """Return what an asset says of its table."""
    contract = table.contract
    age = contract.max_age
    own = partitioned_of(table)
    return dg.AssetSpec(
        key=checks.key_of(contract),
        deps=[*([own.key] if own else []), *(checks.key_of(source) for source in contract.sources)],
        group_name=contract.layer,
        kinds={"deltalake", "json" if table.kind is Kind.LANDING else "polars"},
        owners=[contract.owner],
        tags={"domain": contract.domain},
        code_version=contract.version,
        description="\n\n".join([contract.description, *_documentation(table)]),
        metadata=metadata.static(contract),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=age) if age else None,
    )


def _documentation(table: Table) -> list[str]:
    function = inspect.unwrap(table.transform) if table.transform else None
    return (
        [inspect.cleandoc(function.__doc__)]
        if isinstance(function, FunctionType) and function.__doc__
        else []
    )


def _one(context: dg.AssetExecutionContext, lake: LakeResource, table: Table) -> list[Any]:
    opened, told = lake.open(), _told_by(context, table)
    result = _materialized(opened, table, told)
    own = partitioned_of(table)
    if own is not None and told["partitions"] is None and (result.metadata or {})["new_files"]:
        own.report_each(context.instance, opened)
    return [result]


def _several(context: dg.AssetExecutionContext, lake: LakeResource, chosen: Sequence[Table]) -> list[Any]:
    from lakehouse.pipeline.together import together

    told = {table.path: _told_by(context, table) for table in chosen}
    return together(chosen, lambda own, table: _materialized(own, table, told[table.path]), open_=lake.own)


def _told_by(context: dg.AssetExecutionContext, table: Table) -> dict[str, Any]:
    """Return what a run tells `materialize` of a table."""
    own = partitioned_of(table)
    return {
        "full": context.run.tags.get(FULL_REFRESH_TAG) == "true",
        "partitions": own.wanted(context) if own else None,
        "known_version": known_version(context.instance, table.contract),
        "info": {"odp.run": context.run.run_id, "odp.code_version": table.contract.version},
    }


def _materialized(opened: Any, table: Table, told: Mapping[str, Any]) -> dg.MaterializeResult:
    from lakehouse.materialize import materialize

    with retry_only_transient():
        done = materialize(opened, table, **told)
        found = metadata.of_run(opened, table.contract, done.seconds)
    return dg.MaterializeResult(
        asset_key=checks.key_of(table.contract),
        metadata={**found, **done.counts},
        check_results=checks.results(table.contract, done.checks),
        data_version=dg.DataVersion(str(found["version"])),
    )


def known_version(instance: dg.DagsterInstance, contract: Contract) -> int | None:
    """Return the version that the table was last materialised at, as Dagster has it."""
    event = instance.get_latest_materialization_event(checks.key_of(contract))
    seen = event.asset_materialization if event else None
    found = seen.metadata.get("version") if seen else None
    return found.value if isinstance(found, dg.IntMetadataValue) else None


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
            told = {**_told_by(context, one.table), "partitions": names}
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


@contextmanager
def retry_only_transient() -> Iterator[None]:
    """Let transient faults be retried by the job's policy, and no others: a re-run would not help them.

    Whatever is raised, Dagster is told of it by an error of the library alone: event log, compute log and
    console show the text of an exception and of all that it came from, and a foreign text may quote data.
    """
    try:
        with only_ours("this step"):
            yield
    except _TRANSIENT:
        raise
    except LakeError as exc:
        raise dg.Failure(description=f"{type(exc).__name__}: {exc}", allow_retries=False) from None
