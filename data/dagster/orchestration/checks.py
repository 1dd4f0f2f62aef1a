"""One factory for every table's checks, from its contract.

Belongs here: which checks a contract implies and how each is judged from a run's report.
Does not: the rules themselves (contracts), or the checks of the whole lake (lakehouse.verify).
The checks run inside the step that wrote the table: no extra step, and a blocking one stops what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from lakehouse.contracts import Contract, RowRule
    from lakehouse.flow import IngestReport, Lake, RefreshReport


@dataclass(frozen=True)
class Judged:
    """The verdict of one check, before Dagster hears of it."""

    name: str
    passed: bool
    says: str
    numbers: dict[str, int | float] = field(default_factory=dict)  # drawn over time on the check's page


def key_of(table: Contract) -> dg.AssetKey:
    """Return the asset key of a table: its layer and its name."""
    return dg.AssetKey([table.layer, table.name])


def specs(table: Contract) -> list[dg.AssetCheckSpec]:
    """Return the checks a contract implies."""
    found = [
        _spec(table, "schema", "The stored schema is exactly the contract's.", blocking=True),
        _spec(table, "drift", "Nothing else wrote to the table or took files of it since the last run."),
    ]
    if table.key:
        found.append(
            _spec(table, "key", f"No two rows share ({', '.join(table.key)}); none is null.", blocking=True)
        )
    if table.layer == "bronze":
        found += [
            _spec(table, "files", "Every landed file could be read and is known."),
            _spec(table, "unexpected_columns", "New files hold no column that the table has not."),
        ]
    if table.row_wise:
        found += [
            _spec(table, "conservation", "Rows read = written + merged + quarantined.", blocking=True),
            _spec(
                table,
                "reject_share",
                f"At most {table.reject_limit:.0%} of the rows were quarantined; the good ones are kept.",
                blocking=True,
            ),
        ]
    return found + [_spec(table, rule.name, rule.description) for rule in warnings(table)]


def warnings(table: Contract) -> list[RowRule]:
    """Return the rules that only warn."""
    return [rule for rule in table.rules if rule.severity == "warn"]


def _spec(table: Contract, name: str, says: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(f"{table.name}_{name}", asset=key_of(table), description=says, blocking=blocking)


def before(lake: Lake, table: Contract, known: int | None) -> Judged:
    """Compare the table with the version Dagster last saw, before this run adds its own commits."""
    from lakehouse.verify import drift_problems

    found = drift_problems(lake, table, known)
    return Judged("drift", not found, "; ".join(found))


def after_ingest(
    lake: Lake, table: Contract, report: IngestReport, drift: Judged
) -> list[dg.AssetCheckResult]:
    """Judge a Bronze table."""
    refused = [f"{r.file}: {r.reason}" for r in report.refused]
    files = Judged("files", not refused, "; ".join(refused[:5]) + (" …" if len(refused) > 5 else ""))
    columns = [f"{name} ({rows} rows)" for name, rows in report.unexpected.most_common()]
    unexpected = Judged("unexpected_columns", not columns, ", ".join(columns))
    return _results(table, [*_stored(lake, table), drift, files, unexpected])


def after_refresh(
    lake: Lake, table: Contract, report: RefreshReport, drift: Judged
) -> list[dg.AssetCheckResult]:
    """Judge a Silver or Gold table."""
    judged = [*_stored(lake, table), drift]
    if table.row_wise:
        judged += [_conservation(lake, table, report), _reject_share(table, report)]
    judged += [
        Judged(
            rule.name,
            not report.warnings.get(rule.name),
            f"{report.warnings.get(rule.name, 0)} new rows fail it",
        )
        for rule in warnings(table)
    ]
    return _results(table, judged)


def _stored(lake: Lake, table: Contract) -> list[Judged]:
    problems = lake.store.schema_problems(table)
    judged = [Judged("schema", not problems, "; ".join(problems))]
    if table.key:
        from lakehouse.verify import key_problems

        broken = key_problems(lake, table)
        judged.append(Judged("key", not broken, "; ".join(broken)))
    return judged


def _conservation(lake: Lake, table: Contract, report: RefreshReport) -> Judged:
    from lakehouse.verify import conservation_problems, conservation_totals

    totals = conservation_totals(lake, table)
    broken = conservation_problems(lake, table, totals)
    if not report.balances:
        broken.append(f"this run read {report.read}, but accounts for another number")
    says = "read {read} = here {here} + merged {merged} + quarantined {quarantined}".format(**totals)
    return Judged("conservation", not broken, "; ".join(broken) or says, dict(totals))


def _reject_share(table: Contract, report: RefreshReport) -> Judged:
    read, quarantined = report.last_read, report.last_quarantined
    share = quarantined / read if read else 0.0
    reasons = sorted(report.failures.items(), key=lambda item: (-item[1], item[0]))[:3]
    named = ", ".join(f"{name} ({count})" for name, count in reasons)
    says = f"{quarantined} of {read} rows quarantined ({share:.1%}, limit {table.reject_limit:.0%})"
    numbers = {"share": share, "read": read, "quarantined": quarantined}
    return Judged("reject_share", share <= table.reject_limit, f"{says}: {named}" if named else says, numbers)


def _results(table: Contract, judged: list[Judged]) -> list[dg.AssetCheckResult]:
    blocking = {spec.name: spec.blocking for spec in specs(table)}
    results = []
    for one in judged:
        name = f"{table.name}_{one.name}"
        severity = dg.AssetCheckSeverity.ERROR if blocking[name] else dg.AssetCheckSeverity.WARN
        results.append(
            dg.AssetCheckResult(
                check_name=name,
                asset_key=key_of(table),
                passed=one.passed,
                severity=severity,
                description=one.says,
                metadata=dict(one.numbers),
            )
        )
    return results
