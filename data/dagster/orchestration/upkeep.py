"""Restore points after each run, and maintenance as assets.

Belongs here: binding the library's upkeep into Dagster: assets, job, schedule. Does not: what upkeep does.
Maintenance is no part of `materialize_all`: it changes no row, and nothing waits for it.
"""

import time

import dagster as dg

from lakehouse.contracts import LAYERS, RESTORE_POINTS, Contract, Layer
from lakehouse.domains import contracts
from orchestration import checks, metadata
from orchestration.resources import LakeResource

GROUP = "upkeep"


def _last() -> list[Contract]:
    """Return the tables that no other is made from: after them a run is at its end."""
    sources = {source.path for table in contracts() for source in table.sources}
    return [table for table in contracts() if table.path not in sources]


@dg.asset(
    key=checks.key_of(RESTORE_POINTS),
    deps=[checks.key_of(table) for table in _last()],
    group_name=GROUP,
    kinds={"deltalake"},
    owners=[RESTORE_POINTS.owner],
    tags={"domain": RESTORE_POINTS.domain},
    code_version="1",
    description=RESTORE_POINTS.row,
    metadata=metadata.static(RESTORE_POINTS),
)
def restore_points(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """Record which version every table has at the end of this run; `odp restore --run` goes back to it."""
    from lakehouse.upkeep import points, record_point

    started = time.monotonic()
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
        from lakehouse.upkeep import maintain_all

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


MAINTENANCE = [_maintenance(layer) for layer in LAYERS]
ASSETS = [restore_points, *MAINTENANCE]

maintain = dg.define_asset_job(
    "maintain",
    selection=dg.AssetSelection.assets(*MAINTENANCE),
    executor_def=dg.in_process_executor,
    op_retry_policy=dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    description="Compact, checkpoint and clean up every table. No row changes; pinned runs stay.",
)

# Running from the start: retention is thirty days at least, so it takes nothing that anybody counts on, and a
# lake that nobody maintains gets slower with each run.
maintain_daily = dg.ScheduleDefinition(
    job=maintain,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
