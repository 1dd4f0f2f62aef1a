"""Materialising a table in a step: what the run tells the library, and what the library tells Dagster.

Belongs here: what every step does, however many tables it makes. Does not: which steps there are (assets.py,
models.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, LakeError, StorageUnavailable, only_ours
from lakehouse.table import Kind, Table
from orchestration import FULL_REFRESH_TAG, checks, metadata
from orchestration.partitions import partitioned_of

if TYPE_CHECKING:
    from lakehouse.materialize import Materialization

_TRANSIENT = (StorageUnavailable, Conflict)
_MADE_BY = {Kind.LANDING: "json", Kind.DBT: "dbt"}


def spec_of(table: Table, *, more_deps: Sequence[dg.AssetKey] = ()) -> dg.AssetSpec:
    """Return what an asset says of its table."""
    contract = table.contract
    age = contract.max_age
    own = partitioned_of(table)
    above = [*([own.key] if own else []), *(checks.key_of(source) for source in contract.sources)]
    return dg.AssetSpec(
        key=checks.key_of(contract),
        deps=list(dict.fromkeys([*above, *more_deps])),
        group_name=contract.layer,
        kinds={"deltalake", _MADE_BY.get(table.kind, "polars")},
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


def told_by(context: dg.AssetExecutionContext, table: Table) -> dict[str, Any]:
    """Return what a run tells `materialize` of a table."""
    own = partitioned_of(table)
    return {
        "full": wants_full(context),
        "partitions": own.wanted(context) if own else None,
        "known_version": known_version(context.instance, table.contract),
        "info": {"odp.run": context.run.run_id, "odp.code_version": table.contract.version},
    }


def wants_full(context: dg.AssetExecutionContext) -> bool:
    """Return whether the run computes its tables anew."""
    return context.run.tags.get(FULL_REFRESH_TAG) == "true"


def materialize_one(opened: Any, table: Table, told: Mapping[str, Any]) -> dg.MaterializeResult:
    """Bring one table up to date, and return what there is to say of it."""
    from lakehouse.materialize import materialize

    with retry_only_transient():
        done = materialize(opened, table, **told)
    return materialized(opened, done)


def materialized(
    opened: Any, done: Materialization, more: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    """Return what there is to say of a table that was brought up to date, and `more` metadata of it."""
    with retry_only_transient():
        found = metadata.of_run(opened, done.table, done.seconds)
    return dg.MaterializeResult(
        asset_key=checks.key_of(done.table),
        metadata={**found, **done.counts, **(more or {})},
        check_results=checks.results(done.table, done.checks),
        data_version=dg.DataVersion(str(found["version"])),
    )


def known_version(instance: dg.DagsterInstance, contract: Contract) -> int | None:
    """Return the version that the table was last materialised at, as Dagster has it."""
    event = instance.get_latest_materialization_event(checks.key_of(contract))
    seen = event.asset_materialization if event else None
    found = seen.metadata.get("version") if seen else None
    return found.value if isinstance(found, dg.IntMetadataValue) else None


@contextmanager
def retry_only_transient(*, but: type[LakeError] | tuple[()] = ()) -> Iterator[None]:
    """Let transient faults be retried by the job's policy, and no others: a re-run would not help them.

    Whatever is raised, Dagster is told of it by an error of the library alone: event log, compute log and
    console show the text of an exception and of all that it came from, and a foreign text may quote data.
    `but` is raised as it is, for a caller who has more to say of it.
    """
    try:
        with only_ours("this step"):
            yield
    except _TRANSIENT:
        raise
    except but:
        raise
    except LakeError as exc:
        raise dg.Failure(description=f"{type(exc).__name__}: {exc}", allow_retries=False) from None
