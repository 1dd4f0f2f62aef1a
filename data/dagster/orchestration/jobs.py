"""Jobs: verbs over assets.

Belongs here: selections, executor, retries. Does not: when they run (automation.py).
Steps run one after another in the run's own process: Polars and delta-rs use every core by themselves, and a
process per step costs over twenty times the CPU.
"""

from __future__ import annotations

import uuid

import dagster as dg

from lakehouse.contracts import RESTORE_POINTS
from orchestration import BOOT_TAG, checks
from orchestration.models import GROUP as MODELS
from orchestration.outputs import GROUP as OUTPUTS
from orchestration.partitions import partitioned

# Runs are children of the code server. A run that carries another boot id than the code location's jobs do
# belongs to a server that is gone, and so is the run.
BOOT_ID = uuid.uuid4().hex[:12]
# A run in a process of its own, which no code server takes along when it goes.
NO_BOOT = "none"

_DATA = ("bronze", "silver", "gold")
_RETRY = dg.RetryPolicy(max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def _job(name: str, selection: dg.AssetSelection, says: str) -> dg.UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=selection,
        executor_def=dg.in_process_executor,
        op_retry_policy=_RETRY,
        description=says,
        tags={BOOT_TAG: BOOT_ID},
    )


materialize_all = _job(
    "materialize_all",
    dg.AssetSelection.groups(*_DATA, MODELS, OUTPUTS)
    | dg.AssetSelection.assets(checks.key_of(RESTORE_POINTS)),
    "Bring every layer, and what is made of it for others, up to what has landed. Does nothing twice.",
)
LAYER_JOBS = [
    _job(
        f"materialize_{layer}",
        dg.AssetSelection.groups(layer, *([MODELS] if layer == "gold" else [])),
        f"Bring the {layer} tables up to date.",
    )
    for layer in _DATA
]
PARTITION_JOBS = {
    one.name: _job(
        f"materialize_{one.table.contract.domain}",
        dg.AssetSelection.tag("domain", one.table.contract.domain)
        | dg.AssetSelection.assets(checks.key_of(RESTORE_POINTS))
        | dg.AssetSelection.groups(OUTPUTS),
        f"Bring in the files of the chosen {one.name}, and every table that is made of them.",
    )
    for one in partitioned()
}
JOBS = [materialize_all, *LAYER_JOBS, *PARTITION_JOBS.values()]
