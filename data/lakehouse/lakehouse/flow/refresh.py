"""From one table to the next: only what is new, once, and every row accounted for.

Belongs here: choosing the shape of a refresh, by the contract alone. Does not: the shapes, or a transform.

    rowwise     write merge, no groups: one output row per source row (Silver), in batches of bounded size
    groups      write merge, groups:    touched groups are computed whole (Gold)
    everything  write overwrite:        all of it is computed anew when a source has a new version
"""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.contracts import Contract, Write
from lakehouse.errors import ContractError, TableNotFound
from lakehouse.flow import aggregates, rowwise
from lakehouse.flow.lake import Lake
from lakehouse.flow.step import RefreshReport, Step, Transform


def refresh(
    lake: Lake,
    table: Contract,
    transform: Transform,
    *,
    full: bool = False,
    info: Mapping[str, str] | None = None,
) -> RefreshReport:
    """Bring `table` up to its sources. A second call without new rows commits nothing.

    `full` computes it anew from every source row, as after a changed transform; unless that has changed, the
    content is the same to the byte.

    Raises TableNotFound (a source was never written), SchemaViolation, DataViolation, StaleWriter,
    Conflict, StorageUnavailable. Whatever was committed by then stays; a re-run goes on from it.
    """
    for source in table.sources:
        if not lake.store.exists(source):
            raise TableNotFound(
                f"refreshing {table}: its source {source} has never been written; do that first"
            )
    step = Step(lake=lake, table=table, transform=transform, info=info or {}, full=full)
    step.report.version = lake.store.ensure(table)
    if table.write is Write.OVERWRITE:
        aggregates.everything(step)
    elif table.write is Write.MERGE and table.groups is not None:
        aggregates.groups(step, table.groups)
    elif table.row_wise:
        rowwise.batches(step)
    else:
        raise ContractError(
            f"refreshing {table}: write {table.write} from {len(table.sources)} sources is not known"
        )
    return step.report
