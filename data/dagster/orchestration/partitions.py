"""Sources whose files lie by partition: Dagster's partitions, which of them a run is for, and their sensor.

Belongs here: translating a source's partition into Dagster's words. Does not: what a partition holds (the
domains), or the assets (assets.py).

The tables hold every partition, so they have none themselves: a run of some partitions takes in the files of
these alone, a run of none those of all.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner functions.)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import dagster as dg

from lakehouse.errors import only_ours
from lakehouse.landing import LandedFile, Source
from lakehouse.registry import tables
from lakehouse.table import Table
from orchestration.listing import fingerprint, seen_before
from orchestration.resources import LakeResource

GROUP = "landing"
_KEY = "dagster/partition"
_BEGIN, _END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class Partitioned:
    """A partitioned source, and the Bronze table it feeds."""

    name: str
    source: Source
    table: Table

    @property
    def key(self) -> dg.AssetKey:
        """The asset of the partitions themselves."""
        return dg.AssetKey([GROUP, self.name])

    @property
    def definition(self) -> dg.DynamicPartitionsDefinition:
        return dg.DynamicPartitionsDefinition(name=self.name)

    def landed(self, files: Sequence[LandedFile]) -> dict[str, list[LandedFile]]:
        """Return the files of each partition, by name. A file in none is left out: any run refuses it."""
        found: dict[str, list[LandedFile]] = {}
        for file in files:
            if file.source == self.source.folder and (name := self.source.placed(file).within):
                found.setdefault(name, []).append(file)
        return dict(sorted(found.items()))

    def wanted(self, context: dg.AssetExecutionContext) -> set[str] | None:
        """Return the partitions of this run; None for a run of all."""
        tags = context.run.tags
        if _KEY in tags:
            return {tags[_KEY]}
        if _BEGIN not in tags:
            return None
        keys = list(context.instance.get_dynamic_partitions(self.name))
        return set(keys[keys.index(tags[_BEGIN]) : keys.index(tags[_END]) + 1])

    def describe(self, opened: Any, landed: Mapping[str, Sequence[LandedFile]]) -> dict[str, dict[str, Any]]:
        """Return what there is to say of partitions: files, bytes, a fingerprint of all, rows by kind."""
        from lakehouse.catalog import rows_by_kind

        counts = rows_by_kind(opened, self.source, list(landed))
        return {
            name: {
                "files": len(files),
                "bytes": sum(file.size for file in files),
                "fingerprint": fingerprint(files),
                "dagster/partition_row_count": sum(counts[name].values()),
                "rows": counts[name],
            }
            for name, files in landed.items()
        }

    def report_each(self, instance: dg.DagsterInstance, opened: Any) -> None:
        """Tell Dagster of every partition that has landed: after a run of all, which is of no partition."""
        landed = self.landed(opened.landing.list(self.source.folder))
        known = set(instance.get_dynamic_partitions(self.name))
        if missing := [name for name in landed if name not in known]:
            instance.add_dynamic_partitions(self.name, missing)
        for name, said in self.describe(opened, landed).items():
            event = dg.AssetMaterialization(self.key, partition=name, metadata=said)
            instance.report_runless_asset_event(event)


@cache
def partitioned() -> tuple[Partitioned, ...]:
    """Return every partitioned source of the registry."""
    return tuple(
        Partitioned(source.partition_by.name, source, table)
        for table in tables()
        for source in table.sources
        if source.partition_by is not None
    )


def partitioned_of(table: Table) -> Partitioned | None:
    """Return the partitioned source that feeds a table; None where none does."""
    return next((one for one in partitioned() if one.table is table), None)


def partition_sensor(
    one: Partitioned, job: Any, held_back: Callable[..., dg.SkipReason | None]
) -> dg.SensorDefinition:
    """Return the sensor that asks for one run of `job` per partition with new files.

    `held_back(context, files, cursor)` says why nothing is asked for yet, and None when it should be.
    """

    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> Any:
        with only_ours("looking into landing"):
            landed = one.landed(lake.landing().list(one.source.folder))
        now = {name: fingerprint(files) for name, files in landed.items()}
        before = json.loads(seen_before(context.cursor)[0] or "{}")
        changed = [name for name, found in now.items() if before.get(name) != found]
        if not changed:
            return dg.SkipReason(f"all {one.name} are as they were")
        if reason := held_back(context, [f for name in changed for f in landed[name]], json.dumps(now)):
            return reason
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(run_key=f"{name}-{now[name]}", partition_key=name) for name in changed
            ],
            dynamic_partitions_requests=[one.definition.build_add_request(changed)],
            cursor=json.dumps(now),
        )

    return dg.sensor(
        name=f"on_{one.table.contract.domain}_{one.name.removesuffix('s')}",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"New {one.name}, or a new file in a known one: one run for each.",
    )(sensor)
