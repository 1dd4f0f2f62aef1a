"""Restore points after each run, and maintenance as assets.

Belongs here: binding the library's maintenance into Dagster: assets, job, schedule. Does not: what it does.
Maintenance is no part of `materialize_all`: it changes no row, and nothing waits for it.
"""

import time
from dataclasses import asdict

import dagster as dg

from lakehouse.contracts import LAYERS, RESTORE_POINTS, Layer
from lakehouse.registry import contracts
from orchestration import checks, metadata
from orchestration.assets import last_of
from orchestration.materializing import retry_only_transient
from orchestration.resources import LakeResource

GROUP = "maintenance"


@dg.asset(
    key=checks.key_of(RESTORE_POINTS),
    deps=[checks.key_of(table) for table in last_of(contracts())],
    group_name=GROUP,
    kinds={"deltalake"},
    owners=[RESTORE_POINTS.owner],
    tags={"domain": RESTORE_POINTS.domain},
    code_version="1",
    description=RESTORE_POINTS.description,
    metadata=metadata.static(RESTORE_POINTS),
)
def restore_points(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """Record which version every table has at the end of this run; `odp restore --run` goes back to it."""
    from lakehouse.maintenance import points, record_point

    started = time.monotonic()
    with retry_only_transient():
        opened = lake.open()
        point = record_point(opened, context.run.run_id, contracts())
        known = points(opened)
        told = {"points": len(known), "pinned": sum(p.pinned for p in known), "recorded": point is not None}
        found = metadata.of_run(opened, RESTORE_POINTS, time.monotonic() - started)
    return dg.MaterializeResult(metadata={**found, **told})


def _maintenance(layer: Layer) -> dg.AssetsDefinition:
    @dg.asset(
        key=["maintenance", layer],
        group_name=GROUP,
        kinds={"deltalake"},
        owners=[RESTORE_POINTS.owner],
        tags={"domain": RESTORE_POINTS.domain},
        code_version="1",
        description=f"The {layer} tables compacted, checkpointed, and rid of what is past its retention.",
    )
    def maintained(lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.maintenance import maintain_all

        with retry_only_transient():
            done = maintain_all(lake.open(), contracts(), layer=layer)
        lines = ["| table | rows | files | reclaimed |", "|---|--:|--:|--:|"]
        for d in done:
            files = f"{d.files_before} → {d.files_after}"
            lines.append(f"| {d.table} | {d.rows:,} | {files} | {d.reclaimed_bytes / 1e6:,.1f} MB |")
        return dg.MaterializeResult(
            metadata={
                "tables": dg.MetadataValue.md("\n".join(lines)),
                "rows": sum(d.rows for d in done),
                "files_before": sum(d.files_before for d in done),
                "files_after": sum(d.files_after for d in done),
                "removed_files": sum(d.removed_files for d in done),
                "bytes_before": sum(d.bytes_before for d in done),
                "bytes_after": sum(d.bytes_after for d in done),
                "bytes_reclaimed": sum(d.reclaimed_bytes for d in done),
            }
        )

    return maintained


@dg.asset(
    key=["maintenance", "runs"],
    group_name=GROUP,
    owners=[RESTORE_POINTS.owner],
    tags={"domain": RESTORE_POINTS.domain},
    code_version="1",
    description="Dagster's own memory of old runs, within DAGSTER_KEEP_DAYS and DAGSTER_KEEP_RUNS.",
)
def runs(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Remove old runs, their events and logs; never the latest word on an asset or a check."""
    from orchestration.retention import prune

    with retry_only_transient():
        done = prune(context.instance)
    return dg.MaterializeResult(metadata=asdict(done))


MAINTENANCE = [*(_maintenance(layer) for layer in LAYERS), runs]
ASSETS = [restore_points, *MAINTENANCE]

maintain = dg.define_asset_job(
    "maintain",
    selection=dg.AssetSelection.assets(*MAINTENANCE),
    executor_def=dg.in_process_executor,
    op_retry_policy=dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    description="Compact, checkpoint and clean up every table, and remove old runs. No row changes.",
)

# Running from the start: retention is thirty days at least, so it takes nothing that anybody counts on, and a
# lake that nobody maintains gets slower with each run.
maintain_daily = dg.ScheduleDefinition(
    job=maintain,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
