"""Tables as assets. Two makers: `bronze` for what lands, `table` for everything computed.

Belongs here: binding a contract, a transform and the library's flow into one Dagster asset.
Does not: transforms, rules, storage.

    pipeline_events = table(PIPELINE_EVENTS)(transforms.pipeline_events)

    @table(MY_TABLE)
    def my_table(source: pd.DataFrame) -> pd.DataFrame: ...

There is no IO manager: position, rows and refused rows of one batch must go into the store together and a
backlog goes through in batches of bounded size, which a load hook and a separate save hook cannot do.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner functions.)
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from lakehouse.contracts import Contract
from lakehouse.errors import Conflict, StorageUnavailable, plain
from lakehouse.landing import Source
from orchestration import FULL_REFRESH_TAG, checks, metadata
from orchestration.frames import adapt, kinds
from orchestration.resources import LakeResource

_TRANSIENT = (StorageUnavailable, Conflict)


def bronze(contract: Contract, *, sources: Sequence[Source], code_version: str = "1") -> dg.AssetsDefinition:
    """Return the asset that brings every new landed file of `sources` into a Bronze table."""

    def run(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.domains import sources as declared
        from lakehouse.flow.ingest import ingest, report_strays

        started = time.monotonic()
        opened = lake.open()
        with told_apart(), opened.store.steady():
            drift = checks.before(opened, contract, known(context, contract))
            report = ingest(opened, contract, sources, info=info(context, code_version))
            report.refused += report_strays(opened, declared(), info=info(context, code_version))
            results = checks.after_ingest(opened, contract, report, drift)
            found = metadata.of_run(opened, contract, time.monotonic() - started)
        counted = {"new_files": report.files, "known_files": report.known, "new_rows": report.rows}
        return dg.MaterializeResult(
            metadata={
                **found,
                **counted,
                "refused_files": len(report.refused),
                "unexpected_columns": dict(report.unexpected),
            },
            check_results=results,
            data_version=dg.DataVersion(str(found["version"])),
        )

    return _asset(contract, run, code_version=code_version, kinds={"deltalake", "json"})


def table(
    contract: Contract, *, code_version: str = "1"
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return a decorator that makes an asset of a transform.

    The function takes one frame per source of the contract, in that order, each of the kind its annotation
    names (frames.py), and returns the table's frame. It is called once per batch; `flow.refresh` says what it
    gets to see. Bump `code_version` with its logic.
    """

    def build(function: Callable[..., Any]) -> dg.AssetsDefinition:
        if len(kinds(function, len(contract.sources))) != len(contract.sources):
            raise TypeError(
                f"{function.__name__} takes {len(kinds(function, len(contract.sources)))} frames; "
                f"{contract} has {len(contract.sources)} sources"
            )

        def run(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
            from lakehouse.flow import refresh

            started = time.monotonic()
            opened = lake.open()
            with told_apart(), opened.store.steady():
                drift = checks.before(opened, contract, known(context, contract))
                report = refresh(
                    opened,
                    contract,
                    adapt(function, contract),
                    full=context.run.tags.get(FULL_REFRESH_TAG) == "true",
                    info=info(context, code_version),
                )
                results = checks.after_refresh(opened, contract, report, drift)
                found = metadata.of_run(opened, contract, time.monotonic() - started)
            counted = {"rows_written": report.written, "rows_updated": report.updated}
            if contract.row_wise:
                counted |= {
                    "rows_read": report.read,
                    "rows_merged": report.merged,
                    "rows_quarantined": report.quarantined,
                }
            return dg.MaterializeResult(
                metadata={**found, **counted},
                check_results=results,
                data_version=dg.DataVersion(str(found["version"])),
            )

        return _asset(
            contract, run, code_version=code_version, kinds={"deltalake", "polars"}, says=function.__doc__
        )

    return build


def _asset(
    contract: Contract,
    run: Callable[..., Any],
    *,
    code_version: str,
    kinds: set[str],
    says: str | None = None,
) -> dg.AssetsDefinition:
    fresh = contract.fresh_within
    return dg.asset(
        key=checks.key_of(contract),
        deps=[checks.key_of(source) for source in contract.sources],
        group_name=contract.layer,
        kinds=kinds,
        owners=[contract.owner],
        tags={"domain": contract.domain},
        code_version=code_version,
        description=contract.row if not says else f"{contract.row}\n\n{says.strip()}",
        metadata=metadata.static(contract),
        check_specs=checks.specs(contract),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=fresh) if fresh else None,
    )(run)


def known(context: dg.AssetExecutionContext, contract: Contract) -> int | None:
    """Return the version that the table was last materialised at, as Dagster has it."""
    event = context.instance.get_latest_materialization_event(checks.key_of(contract))
    seen = event.asset_materialization if event else None
    return int(seen.metadata["version"].value) if seen and "version" in seen.metadata else None


def info(context: dg.AssetExecutionContext, code_version: str) -> dict[str, str]:
    """Return what a commit says of the run that made it."""
    return {"odp.run": context.run.run_id, "odp.code_version": code_version}


@contextmanager
def told_apart() -> Iterator[None]:
    """Let transient faults be retried by the job's policy, and no others: a re-run would not help them."""
    try:
        yield
    except _TRANSIENT:
        raise
    except Exception as exc:
        raise dg.Failure(description=f"{type(exc).__name__}: {plain(exc)}", allow_retries=False) from exc
