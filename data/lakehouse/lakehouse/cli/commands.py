"""The commands of `odp`, their arguments and help.

Belongs here: names, options, one sentence and one example each. Does not: what a command does (tables.py,
runs.py, outputs.py, rejects.py, fhir.py).
"""

from __future__ import annotations

from typing import Any

import click

from lakehouse.cli.base import Command, Group, shared

_CODES = """exit codes:
  0  done
  1  done, and something does not hold (verify), or the lake refused it: the reason is printed
  2  wrong arguments, or the lake cannot be reached
"""
_FIRST_LOOK = """Where the lake is: --lake, else LAKE_URL, else .data/lake below this folder.

a first look:
  odp tables
  odp head gold/pipeline_metrics
  odp history silver/pipeline_events

"""
_TABLE = "<layer>/<name>, as `odp tables` lists them"
_RUN = "id of a run, the beginning of it, or the name of its pin (`odp runs` lists them)"
_MOST_ROWS = 2**31 - 1
_LAYERS = ("bronze", "silver", "gold", "quarantine", "system")


def commands() -> Group:
    """Return `odp` with all its commands."""
    top = Group(
        "odp", params=shared(), help="Look into a lake, and maintain it.", epilog=_FIRST_LOOK + _CODES
    )
    _reading(top)
    _keeping(top)
    _outputs(top)
    _quarantine(_group(top, "quarantine", "list, show, replay or accept the rows that broke a rule"))
    _fhir(_group(top, "fhir", "query the FHIR resources of the lake"))
    _dbt(_group(top, "dbt", "work on the dbt project's models"))
    return top


def _group(top: Group, name: str, purpose: str) -> Group:
    group = Group(name, help=_sentence(purpose), short_help=purpose)
    top.add_command(group)
    return group


def _add(
    to: Group,
    name: str,
    run: str,
    purpose: str,
    *params: click.Parameter,
    example: str,
    exclusive: tuple[str, ...] = (),
) -> None:
    to.add_command(
        Command(
            name,
            run=run,
            params=params,
            exclusive=exclusive,
            help=_sentence(purpose),
            short_help=purpose,
            epilog=f"example:\n  {example}\n\n{_CODES}",
        )
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _flag(name: str, text: str) -> click.Option:
    return click.Option([name], is_flag=True, help=text)


def _value(name: str, text: str, metavar: str | None = None, **more: Any) -> click.Option:
    return click.Option([name], metavar=metavar, help=text, **more)


def _table(*, required: bool = True, text: str = _TABLE) -> click.Argument:
    return click.Argument(["table"], required=required, help=text)


class _Count(click.IntRange):
    """How many rows to show; one larger than what counts them can hold means all of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return min(int(super().convert(value, param, ctx)), _MOST_ROWS)


def _rows(default: int, text: str = "how many") -> click.Option:
    return click.Option(
        ["-n", "--rows"],
        type=_Count(min=1),
        metavar="ROWS",
        default=default,
        help=f"{text} ({default})",
    )


def _reading(top: Group) -> None:
    _add(top, "tables", "tables:tables", "list every table: rows, size, version, age", example="odp tables")
    _add(
        top,
        "head",
        "tables:head",
        "show rows of a table",
        _table(),
        _rows(10),
        _value("--columns", "names, separated by commas (all that do not begin with _)"),
        _value("--version", "as of this version", type=int, metavar="VERSION"),
        _value("--as-of", "as of this moment, ISO 8601 with an offset or Z", "TIME"),
        _flag("--reveal-pii", "show personal data; masked otherwise"),
        example="odp head silver/pipeline_events -n 3",
        exclusive=("version", "as_of"),
    )
    _add(
        top,
        "history",
        "tables:history",
        "list a table's commits, newest first",
        _table(),
        _rows(20),
        _value(
            "--accept",
            "let this commit of another program stand: verify no longer names it",
            "VERSION",
            type=int,
        ),
        _value("--why", "the reason for --accept, which is recorded", "TEXT"),
        example="odp history gold/user_profiles",
    )
    _add(
        top,
        "verify",
        "tables:verify",
        "check every table: files, schema, rows, keys, conservation",
        _flag("--deep", "also compare every byte with the checksums recorded when it was written"),
        example="odp verify --deep",
    )
    _add(
        top,
        "refresh",
        "tables:refresh",
        "bring computed tables up to their sources",
        _table(required=False, text=f"{_TABLE}; all of Silver and Gold without it"),
        _flag("--full-refresh", "recompute from every source row"),
        example="odp refresh --full-refresh",
    )


def _keeping(top: Group) -> None:
    _add(
        top,
        "runs",
        "runs:runs",
        "list the runs that can be restored; pin one",
        _value("--pin", "keep this run whatever its age", "RUN"),
        _value("--unpin", "let maintenance remove this run once it is old enough", "RUN"),
        _value("--name", "a name for the pin"),
        example="odp runs --pin 4f1c --name release",
        exclusive=("pin", "unpin"),
    )
    _add(
        top,
        "restore",
        "runs:restore",
        "restore every table to the state in which a run left it",
        click.Option(["--run", "run_id"], required=True, metavar="RUN", help=_RUN),
        _flag("--dry-run", "check and report, change nothing"),
        _flag("--yes", "do not ask"),
        example="odp restore --run 4f1c --dry-run",
    )
    _add(
        top,
        "diff",
        "runs:diff",
        "count what changed between two runs",
        click.Argument(["run_a"], help=_RUN),
        click.Argument(["run_b"], help=_RUN),
        example="odp diff 4f1c 9a20",
    )
    _add(
        top,
        "upgrade",
        "runs:upgraded",
        "recompute the tables that an older version of the platform wrote",
        _flag("--dry-run", "list the tables and the reasons, change nothing"),
        example="odp upgrade --dry-run",
    )
    _add(
        top,
        "maintain",
        "runs:maintain",
        "compact, checkpoint and clean up tables",
        _value("--layer", "only the tables of this layer", type=click.Choice(_LAYERS)),
        _flag("--orphans", "also files of writers that died, once past retention"),
        example="odp maintain --layer silver",
    )


def _outputs(top: Group) -> None:
    _add(
        top,
        "export",
        "outputs:export",
        "write Gold as CSV and Parquet files, where a table has changed",
        click.Argument(["tables"], nargs=-1, help=f"{_TABLE}; all of Gold without any"),
        _flag("--pii", "also the columns that hold personal data"),
        example="odp export gold/pipeline_metrics",
    )
    _add(
        top,
        "mart",
        "outputs:mart",
        "bring the mart, a database for reporting tools, up to Gold",
        example="odp mart",
    )
    _add(
        top,
        "report",
        "outputs:report",
        "write the report on data quality: refused rows, freshness, rows, checks",
        example="odp report",
    )


def _quarantine(group: Group) -> None:
    _add(
        group,
        "list",
        "rejects:listed",
        "count open rejects by table and rule, and list what was accepted",
        _flag("--held", "only print a warning for each table that is held"),
        example="odp quarantine list",
    )
    broken = "only those that broke this rule"
    _add(
        group,
        "show",
        "rejects:show",
        "show open rejects with all their reasons",
        _table(),
        _value("--rule", broken),
        _rows(10, "how many, the newest"),
        _flag("--reveal-pii", "show records and values; masked otherwise"),
        example="odp quarantine show silver/pipeline_events",
    )
    _add(
        group,
        "replay",
        "rejects:replay",
        "put open rejects through today's transform and rules, once",
        _table(),
        _value("--rule", broken),
        _value("--contract-version", "only those that this version of the contract rejected"),
        example="odp quarantine replay silver/pipeline_events --rule duration_ms_readable",
    )
    _add(
        group,
        "accept",
        "rejects:accept",
        "let Gold go on although too many rows of a run were rejected; they stay in quarantine",
        _table(),
        _value("--who", "who decides it; recorded", required=True),
        _value("--why", "the reason; recorded", required=True),
        example="odp quarantine accept silver/pipeline_events --who 'Ada' --why 'no better rows will come'",
    )


def _dbt(group: Group) -> None:
    _add(
        group,
        "prepare",
        "models:prepare",
        "fill the project's lake.duckdb with the lake's tables as they are, for dbt's own commands",
        example="odp dbt prepare",
    )


def _fhir(group: Group) -> None:
    _add(
        group,
        "view",
        "fhir:view",
        "run a SQL on FHIR ViewDefinition over the newest version of each resource",
        click.Argument(["file"], help="a ViewDefinition, JSON"),
        _value("--cohort", "only over the resources of this cohort"),
        _rows(10, "how many to show"),
        _value("--out", "write all rows: .parquet, .csv or .ndjson", "FILE"),
        _flag("--reveal-pii", "show personal data; masked otherwise"),
        example="odp fhir view patients.json --cohort smart",
    )
