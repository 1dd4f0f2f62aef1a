"""What the checks of one materialisation found.

Belongs here: their outcomes, for whoever ran the table. Does not: which checks a contract implies
(contracts/checks.py), or the checks of the whole lake (checks.py).
They are made right after the commit, by the process that made it: no extra step, and a blocking one stops
what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.contracts import Contract, RowRule
from lakehouse.contracts.checks import warning_rules
from lakehouse.pipeline.code import is_older
from lakehouse.quarantine import describe, share
from lakehouse.verify.checks import conservation_problems, conservation_totals, drift_problems, key_problems
from lakehouse.verify.warnings import OLDER, full_refresh

if TYPE_CHECKING:
    from lakehouse.pipeline import IngestReport, Lake, RefreshReport
    from lakehouse.pipeline.context import Transform

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class CheckOutcome:
    """What one check found. `numbers` are worth a curve over time; `blocks` is False for a mere warning."""

    name: str
    passed: bool
    description: str
    numbers: dict[str, int | float] = field(default_factory=dict)
    blocks: bool = False


def drift(lake: Lake, table: Contract, known: int | None) -> CheckOutcome:
    """Compare the table with the version it was last seen at, before a run adds commits of its own."""
    found = drift_problems(lake, table, known)
    return CheckOutcome(name="drift", passed=not found, description="; ".join(found))


def of_ingest(lake: Lake, table: Contract, report: IngestReport) -> list[CheckOutcome]:
    """Check a Bronze table after an ingest."""
    refused = [f"{r.file}: {r.reason}" for r in report.refused]
    listed = "; ".join(refused[:_SHOWN]) + (" …" if len(refused) > _SHOWN else "")
    columns = [f"{name} ({rows} rows)" for name, rows in report.unexpected.most_common()]
    return [
        *_stored(lake, table),
        CheckOutcome(name="files", passed=not refused, description=listed),
        CheckOutcome(name="unexpected_columns", passed=not columns, description=", ".join(columns)),
    ]


def of_refresh(
    lake: Lake, table: Contract, report: RefreshReport, transform: Transform
) -> list[CheckOutcome]:
    """Check a Silver or Gold table after a refresh."""
    found = [*_stored(lake, table), _code(lake, table, transform)]
    if table.row_wise:
        found += [_conservation(lake, table, report), _reject_share(lake, table, report)]
    return found + [_warned(rule, report.warnings.get(rule.name, 0)) for rule in warning_rules(table)]


def _warned(rule: RowRule, rows: int) -> CheckOutcome:
    told = f"{rows} new rows fail it. Must hold: {rule.description}"
    return CheckOutcome(name=rule.name, passed=not rows, description=told)


def _stored(lake: Lake, table: Contract) -> list[CheckOutcome]:
    problems = lake.store.schema_problems(table)
    found = [
        CheckOutcome(
            name="schema", passed=not problems, description="; ".join(problems), blocks=bool(problems)
        )
    ]
    if table.key:
        broken = key_problems(lake, table)
        found.append(
            CheckOutcome(name="key", passed=not broken, description="; ".join(broken), blocks=bool(broken))
        )
    return found


def _code(lake: Lake, table: Contract, transform: Transform) -> CheckOutcome:
    older = is_older(lake, table, transform)
    told = f"{OLDER}. To compute them anew: {full_refresh(table)}" if older else ""
    return CheckOutcome(name="code", passed=not older, description=told)


def _conservation(lake: Lake, table: Contract, report: RefreshReport) -> CheckOutcome:
    totals = conservation_totals(lake, table)
    broken = conservation_problems(lake, table, totals)
    if not report.balances:
        broken.append(f"this run read {report.read}, but accounts for another number")
    balance = "read {read} = here {here} + merged {merged} + quarantined {quarantined}".format(**totals)
    return CheckOutcome(
        name="conservation",
        passed=not broken,
        description="; ".join(broken) or balance,
        numbers=dict(totals),
        blocks=bool(broken),
    )


def _reject_share(lake: Lake, table: Contract, report: RefreshReport) -> CheckOutcome:
    """Judge the rows of this run, once. A hold that an earlier run has put on the table only warns."""
    judged, hold = report.judged, report.hold
    read, quarantined = (judged.read, judged.quarantined) if judged else (0, 0)
    numbers = {"share": quarantined / read if read else 0.0, "read": read, "quarantined": quarantined}
    told, passed, blocks = share(table, read, quarantined), True, False
    if judged is not None and judged.verdict == "bad":
        held = judged.hold or hold
        told, passed, blocks = describe(lake, table, held) if held else told, False, True
    elif hold is not None:
        told, passed = describe(lake, table, hold), False
    elif judged is not None and judged.verdict == "few":
        told, passed = f"{told}: {_reasons(report)}. They are too few to hold Gold", False
    return CheckOutcome(name="reject_share", passed=passed, description=told, numbers=numbers, blocks=blocks)


def _reasons(report: RefreshReport) -> str:
    commonest = sorted(report.failures.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{name} ({count})" for name, count in commonest)
