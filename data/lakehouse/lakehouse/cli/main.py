"""The commands and their arguments. Nothing heavy is imported before a command runs.

Belongs here: parsing, errors, exit codes. Does not: what a command does (tables.py, runs.py, rejects.py).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

OK, FOUND, WRONG = 0, 1, 2

_CODES = """exit codes:
  0  done
  1  done, and something does not hold (verify), or the lake refused it: the reason is told
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

Add = Callable[..., argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run one command, return the exit code. ODP_DEBUG=1 shows where an error came from."""
    options = parser().parse_args(argv)
    from lakehouse.errors import LakeError, SettingsError, StorageUnavailable

    try:
        module, function = options.run.split(":")
        code: int = getattr(import_module(f"lakehouse.cli.{module}"), function)(options)
    except LakeError as exc:
        if os.environ.get("ODP_DEBUG") == "1":
            raise
        print(f"✗ {exc}", file=sys.stderr)
        return WRONG if isinstance(exc, SettingsError | StorageUnavailable) else FOUND
    except BrokenPipeError:  # `odp head … | less`, closed early
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        print("\nended by Ctrl-C; what was committed stays", file=sys.stderr)
        return 130
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="odp",
        description="Look into a lake, and take care of it.",
        epilog=_FIRST_LOOK + _CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(top)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, says: str, example: str, run: str, below: argparse._SubParsersAction = commands
    ) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = below.add_parser(
            name,
            help=says,
            description=says[:1].upper() + says[1:] + ".",
            epilog=f"example:\n  {example}\n\n{_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _common(made, default=argparse.SUPPRESS)
        made.set_defaults(run=run)
        return made

    _reading(add)
    _keeping(add)
    _quarantine(add, commands)
    return top


def _common(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument("--lake", metavar="URL", default=default, help="a folder, or s3:// with S3_* set")
    parser.add_argument(
        "--json", action="store_true", default=default or False, help="one JSON document instead of a table"
    )


def _reading(add: Add) -> None:
    add("tables", "list every table: rows, size, version, age", "odp tables", "tables:tables")
    head = add("head", "show rows of a table", "odp head silver/pipeline_events -n 3", "tables:head")
    head.add_argument("table", help=_TABLE)
    head.add_argument("-n", "--rows", type=_positive, default=10, help="how many (10)")
    head.add_argument("--columns", help="names, separated by commas (all that are no pointers)")
    when = head.add_mutually_exclusive_group()
    when.add_argument("--version", type=int, help="as of this version")
    when.add_argument("--as-of", metavar="TIME", help="as of this moment, ISO 8601 with an offset or Z")
    head.add_argument("--reveal-pii", action="store_true", help="show personal data; masked otherwise")
    says = "list a table's commits, newest first"
    history = add("history", says, "odp history gold/user_profiles", "tables:history")
    history.add_argument("table", help=_TABLE)
    history.add_argument("-n", "--rows", type=_positive, default=20, help="how many (20)")
    add("verify", "check every table: files, schema, rows, keys, conservation", "odp verify", "tables:verify")
    says = "bring computed tables up to their sources"
    refresh = add("refresh", says, "odp refresh --full-refresh", "tables:refresh")
    refresh.add_argument("table", nargs="?", help=f"{_TABLE}; all of Silver and Gold without it")
    refresh.add_argument("--full-refresh", action="store_true", help="anew, from every source row")


def _keeping(add: Add) -> None:
    says = "list the runs that can be gone back to; pin one"
    runs = add("runs", says, "odp runs --pin 4f1c --name release", "runs:runs")
    what = runs.add_mutually_exclusive_group()
    what.add_argument("--pin", metavar="RUN", help="keep this run whatever its age")
    what.add_argument("--unpin", metavar="RUN", help="let maintenance have it, once it is old enough")
    runs.add_argument("--name", help="a name for the pin")
    says = "bring every table back to how a run left it"
    restore = add("restore", says, "odp restore --run 4f1c --dry-run", "runs:restore")
    restore.add_argument("--run", dest="run_id", required=True, help=_RUN)
    restore.add_argument("--dry-run", action="store_true", help="check and tell, change nothing")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    diff = add("diff", "count what changed between two runs", "odp diff 4f1c 9a20", "runs:diff")
    diff.add_argument("run_a", help=_RUN)
    diff.add_argument("run_b", help=_RUN)
    says = "compact, checkpoint and clean up tables"
    maintain = add("maintain", says, "odp maintain --layer silver", "runs:maintain")
    maintain.add_argument("--layer", choices=["bronze", "silver", "gold", "quarantine", "system"])
    maintain.add_argument(
        "--orphans", action="store_true", help="also files of writers that died, once past retention"
    )


def _quarantine(add: Add, commands: argparse._SubParsersAction) -> None:
    says = "list, show and try again the rows that broke a rule"
    group = commands.add_parser("quarantine", help=says, description=says[:1].upper() + says[1:] + ".")
    below = group.add_subparsers(dest="what", required=True, metavar="WHAT")
    add("list", "count open rejects by table and rule", "odp quarantine list", "rejects:listed", below)
    says = "show open rejects with all their reasons"
    shown = add("show", says, "odp quarantine show silver/pipeline_events", "rejects:show", below)
    shown.add_argument("table", help=_TABLE)
    shown.add_argument("--rule", help="only those that broke this one")
    shown.add_argument("-n", "--rows", type=_positive, default=10, help="how many, the newest (10)")
    shown.add_argument("--reveal-pii", action="store_true", help="show records and values; masked otherwise")
    says = "put open rejects through today's transform and rules, once"
    example = "odp quarantine replay silver/pipeline_events --rule duration_ms_readable"
    again = add("replay", says, example, "rejects:replay", below)
    again.add_argument("table", help=_TABLE)
    again.add_argument("--rule", help="only those that broke this one")
    again.add_argument("--contract-version", help="only those that this version refused")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give a number from 1")
    return number


def default_lake() -> str | None:
    """Return the embedded lake of this folder, if there is one."""
    here = Path(".data/lake")
    return str(here.resolve()) if here.is_dir() else None
