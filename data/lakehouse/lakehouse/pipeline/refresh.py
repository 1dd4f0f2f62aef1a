"""From one table to the next: only what is new, once, and every row accounted for.

Belongs here: choosing the shape of a refresh, by the contract alone. Does not: the shapes, or a transform.

    rowwise     write merge, no groups: one output row per source row (Silver), in batches of bounded size
    groups      write merge, groups:    touched groups are computed whole (Gold)
    everything  write overwrite:        all of it is computed anew when a source has a new version
"""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.contracts import Contract, Materialization, quarantine_of
from lakehouse.errors import ContractError, TableNotFound, only_ours
from lakehouse.pipeline import aggregates, code, holds, rowwise
from lakehouse.pipeline.context import RefreshContext, RefreshReport, Transform
from lakehouse.pipeline.lake import Lake
from lakehouse.store.integrity.damage import readable
from lakehouse.store.integrity.foreign_commits import FULL_REFRESH


def refresh(
    lake: Lake,
    table: Contract,
    transform: Transform,
    *,
    full: bool = False,
    info: Mapping[str, str] | None = None,
) -> RefreshReport:
    """Bring `table` up to its sources. A second call without new rows commits nothing.

    A table of a held source (holds.py) is left as it is until the hold has ended: `waits_for` of the
    report names what it waits for.

    `full` computes it anew from every source row, as after a changed transform; unless that has changed, the
    content is the same to the byte.

    Raises TableNotFound (a source was never written), SchemaViolation, DataViolation, StaleWriter,
    Conflict, StorageUnavailable, DamagedTable (a file cannot be read, it is named), UnexpectedError (a
    transform or an engine failed). Whatever was committed
    by then stays; a re-run goes on from it.
    """
    said = {**(info or {}), **({FULL_REFRESH: "true"} if full else {})}
    step = RefreshContext(lake=lake, table=table, transform=transform, info=said, full=full)
    read = [*table.sources, table, *([quarantine_of(table)] if table.row_wise else [])]
    with only_ours(f"refreshing {table}"), readable(lake.store, read):
        _refresh(step)
    return step.report


def _refresh(step: RefreshContext) -> None:
    lake, table = step.lake, step.table
    for source in table.sources:
        if not lake.store.exists(source):
            raise TableNotFound(
                f"refreshing {table}: its source {source} has never been written; do that first"
            )
    step.report.version = lake.store.ensure(table)
    code.refuse_changed_key(lake, table, full=step.full)
    if not table.row_wise and (held := holds.on_sources(lake, table)):
        step.report.waits_for = held
        return
    if table.materialization is Materialization.FULL:
        aggregates.everything(step)
    elif table.groups is not None:
        aggregates.groups(step, table.groups)
    elif table.row_wise:
        rowwise.batches(step)
    else:
        raise ContractError(
            f"refreshing {table}: {table.materialization} from {len(table.sources)} sources is not known"
        )
