"""Tables of what lands by cohort: one partition a cohort, and one multi-asset for all that is made of them.

Belongs here: partitions, many tables in one step, the sensor. Does not: what a cohort holds (the domains).

The cohort's asset brings its files into Bronze and says what they are. The tables hold every cohort, so they
have no partitions: a run of some cohorts takes in the files of these alone, a run of none those of all.
(No `from __future__ import annotations` here: Dagster reads the annotations of the inner functions.)
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from lakehouse.contracts import Contract
from lakehouse.errors import SourceError
from lakehouse.landing import LandedFile, Source
from orchestration import FULL_REFRESH_TAG, checks, metadata
from orchestration.listing import SETTLING, fingerprint, having_waited, seen_before, settling
from orchestration.resources import LakeResource
from orchestration.tables import info, known, told_apart

GROUP = "landing"
_KEY = "dagster/partition"
_BEGIN, _END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class Cohorts:
    """A source whose files lie in folders of cohorts, and the Bronze table they feed."""

    def __init__(self, name: str, *, source: Source, of: Callable[[LandedFile], str]) -> None:
        self.name, self.source, self.bronze, self._of = name, source, source.table, of
        self.partitions = dg.DynamicPartitionsDefinition(name=name)
        self.key = dg.AssetKey([GROUP, name])

    def of(self, file: LandedFile) -> str | None:
        """Return the file's cohort; None for one that lies in none, which any run refuses."""
        try:
            return self._of(file)
        except SourceError:
            return None

    def landed(self, files: Sequence[LandedFile]) -> dict[str, list[LandedFile]]:
        """Return the files of each cohort, by name."""
        found: dict[str, list[LandedFile]] = {}
        for file in files:
            if file.source == self.source.folder and (cohort := self.of(file)) is not None:
                found.setdefault(cohort, []).append(file)
        return dict(sorted(found.items()))

    def wanted(self, context: dg.AssetExecutionContext) -> set[str] | None:
        """Return the cohorts of this run; None for a run of all."""
        tags = context.run.tags
        if _KEY in tags:
            return {tags[_KEY]}
        if _BEGIN not in tags:
            return None
        keys = list(context.instance.get_dynamic_partitions(self.name))
        return set(keys[keys.index(tags[_BEGIN]) : keys.index(tags[_END]) + 1])

    def ingest(self, opened: Any, wanted: set[str] | None, said: Mapping[str, str]) -> Any:
        """Bring the files of the wanted cohorts into Bronze."""
        from lakehouse.flow.ingest import ingest

        only = None if wanted is None else lambda file: self.of(file) in {*wanted, None}
        return ingest(opened, self.bronze, [self.source], only=only, info=said)

    def told(self, opened: Any, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what there is to say of some cohorts: files, bytes, a fingerprint of all, what they hold."""
        import polars as pl

        landed = self.landed(opened.landing.list(self.source.folder))
        rows = opened.store.scan(self.bronze).filter(pl.col("cohort").is_in(list(names)))
        held: dict[str, dict[str, int]] = {}
        mix = rows.group_by("cohort", "resource_type").len().sort("cohort", "resource_type").collect()
        for cohort, kind, count in mix.iter_rows():
            held.setdefault(cohort, {})[kind or "(none)"] = count
        return {
            name: {
                "files": len(landed.get(name, ())),
                "bytes": sum(file.size for file in landed.get(name, ())),
                "fingerprint": fingerprint(landed.get(name, ())),
                "dagster/partition_row_count": sum(held.get(name, {}).values()),
                "resources": held.get(name, {}),
            }
            for name in names
        }


def cohort_asset(cohorts: Cohorts, *, says: str, code_version: str = "1") -> dg.AssetsDefinition:
    """Return the partitioned asset of the cohorts themselves."""

    @dg.asset(
        key=cohorts.key,
        group_name=GROUP,
        kinds={"json"},
        owners=[cohorts.bronze.owner],
        tags={"domain": cohorts.bronze.domain},
        code_version=code_version,
        description=says,
        partitions_def=cohorts.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def cohort(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        opened, names = lake.open(), list(context.partition_keys)
        with told_apart():
            report = cohorts.ingest(opened, set(names), info(context, code_version))
            for name, told in cohorts.told(opened, names).items():
                context.add_asset_metadata(told, partition_key=name)
        return dg.MaterializeResult(metadata={"new_files": report.files, "new_rows": report.rows})

    return cohort


def tables_of(
    cohorts: Cohorts,
    made: Sequence[Contract],
    transforms: Mapping[str, Callable[..., Any]],
    *,
    name: str,
    code_version: str = "1",
) -> dg.AssetsDefinition:
    """Return one asset for the Bronze table and all that is made of it row by row; a run may leave some out.

    A table that fails, or whose check blocks, does not keep the others from being written.
    """
    bronze = cohorts.bronze

    @dg.multi_asset(
        name=name,
        specs=[_spec(bronze, code_version, [cohorts.key]), *(_spec(one, code_version) for one in made)],
        check_specs=[spec for one in (bronze, *made) for spec in checks.specs(one)],
        can_subset=True,
    )
    def tables(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[dg.MaterializeResult]:
        from lakehouse.flow.together import together

        opened = lake.open()
        if checks.key_of(bronze) in context.selected_asset_keys:
            with told_apart(), opened.store.steady():
                landed = _landed(context, opened, cohorts, code_version)
            yield landed
        selected = [one for one in made if checks.key_of(one) in context.selected_asset_keys]
        before = {one.path: known(context, one) for one in selected}
        full, said = context.run.tags.get(FULL_REFRESH_TAG) == "true", info(context, code_version)

        def do(own: Any, one: Contract) -> dg.MaterializeResult:
            with told_apart(), own.store.steady():
                return _made(own, one, transforms[one.name], before[one.path], said, full=full)

        results = together(selected, do, open_=lake.own)
        done = [one for one in results if isinstance(one, dg.MaterializeResult)]
        # A blocking check ends the step at once: what holds is told first.
        yield from sorted(done, key=_blocks)
        for one in results:
            if isinstance(one, Exception):
                raise one

    return tables


def _landed(
    context: dg.AssetExecutionContext, opened: Any, cohorts: Cohorts, code_version: str
) -> dg.MaterializeResult:
    """Bring in what the run is for. After a run of all, each cohort with new files is told of by itself."""
    started = time.monotonic()
    bronze, wanted = cohorts.bronze, cohorts.wanted(context)
    drift = checks.before(opened, bronze, known(context, bronze))
    report = cohorts.ingest(opened, wanted, info(context, code_version))
    results = checks.after_ingest(opened, bronze, report, drift)
    found = metadata.of_run(opened, bronze, time.monotonic() - started)
    if wanted is None and report.files:
        _tell_each(context, opened, cohorts)
    counted = {"new_files": report.files, "known_files": report.known, "new_rows": report.rows}
    return dg.MaterializeResult(
        asset_key=checks.key_of(bronze),
        metadata={**found, **counted, "refused_files": len(report.refused)},
        check_results=results,
        data_version=dg.DataVersion(str(found["version"])),
    )


def _tell_each(context: dg.AssetExecutionContext, opened: Any, cohorts: Cohorts) -> None:
    names = list(cohorts.landed(opened.landing.list(cohorts.source.folder)))
    missing = [name for name in names if not context.instance.has_dynamic_partition(cohorts.name, name)]
    if missing:
        context.instance.add_dynamic_partitions(cohorts.name, missing)
    for name, told in cohorts.told(opened, names).items():
        event = dg.AssetMaterialization(cohorts.key, partition=name, metadata=told)
        context.instance.report_runless_asset_event(event)


def _made(
    opened: Any,
    table: Contract,
    transform: Callable[..., Any],
    before: int | None,
    said: Mapping[str, str],
    *,
    full: bool,
) -> dg.MaterializeResult:
    from lakehouse.flow import refresh

    started = time.monotonic()
    drift = checks.before(opened, table, before)
    report = refresh(opened, table, transform, full=full, info=said)
    results = checks.after_refresh(opened, table, report, drift)
    found = metadata.of_run(opened, table, time.monotonic() - started)
    counted = {
        "rows_written": report.written,
        "rows_updated": report.updated,
        "rows_read": report.read,
        "rows_merged": report.merged,
        "rows_quarantined": report.quarantined,
    }
    return dg.MaterializeResult(
        asset_key=checks.key_of(table),
        metadata={**found, **counted},
        check_results=results,
        data_version=dg.DataVersion(str(found["version"])),
    )


def _blocks(result: dg.MaterializeResult) -> bool:
    error = dg.AssetCheckSeverity.ERROR
    return any(not check.passed and check.severity is error for check in result.check_results or ())


def _spec(contract: Contract, code_version: str, after: Sequence[dg.AssetKey] = ()) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=checks.key_of(contract),
        deps=[*after, *(checks.key_of(source) for source in contract.sources)],
        group_name=contract.layer,
        kinds={"deltalake", "json" if contract.layer == "bronze" else "polars"},
        owners=[contract.owner],
        tags={"domain": contract.domain},
        code_version=code_version,
        description=contract.row,
        metadata=metadata.static(contract),
    )


def cohort_sensor(cohorts: Cohorts, job: Any, covers: Callable[..., bool | None]) -> dg.SensorDefinition:
    """Return the sensor that asks for one run of `job` per cohort with new files.

    `covers(instance, files)` says whether a finished run of everything has seen the files; None while one is
    going on, and then nothing is asked for.
    """

    @dg.sensor(
        name=f"on_{cohorts.bronze.domain}_cohort",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A new cohort, or a new file in a known one: one run for each.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        landed = cohorts.landed(lake.landing().list(cohorts.source.folder))
        now = {name: fingerprint(files) for name, files in landed.items()}
        cursor, waited = seen_before(context.cursor)
        before = json.loads(cursor or "{}")
        changed = [name for name, mark in now.items() if before.get(name) != mark]
        if not changed:
            return dg.SkipReason("every cohort is as it was")
        seen = covers(context.instance, [file for name in changed for file in landed[name]])
        if seen is None:
            return dg.SkipReason("a run of everything is going on; looking again after it")
        if seen and cursor is None:  # later on, a time before that run may be that of a copy: it is asked for
            context.update_cursor(json.dumps(now))
            return dg.SkipReason("a finished run has seen these files")
        if not waited and any(settling(landed[name]) for name in changed):
            context.update_cursor(having_waited(cursor))
            return dg.SkipReason(SETTLING)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(run_key=f"{name}-{now[name]}", partition_key=name) for name in changed
            ],
            dynamic_partitions_requests=[cohorts.partitions.build_add_request(changed)],
            cursor=json.dumps(now),
        )

    return sensor
