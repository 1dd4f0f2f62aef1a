"""The entry point of `odp`: exit codes and errors. Nothing heavy is imported before a command runs.

Belongs here: from arguments to an exit code. Does not: the commands (commands.py), what they share (base.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lakehouse.cli.base import Group
from lakehouse.cli.commands import commands
from lakehouse.cli.terminal import say

OK, FOUND, WRONG = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run one command, return the exit code. ODP_DEBUG=1 shows where an error came from."""
    from lakehouse.errors import LakeError, SettingsError, StorageUnavailable, with_chain

    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "odp"
        usage = f"{exc.ctx.get_usage()}\n" if exc.ctx else ""
        say(f"{usage}{path}: error: {exc.format_message()}", error=True)
        return WRONG
    except LakeError as exc:
        if os.environ.get("ODP_DEBUG") == "1":
            raise with_chain(exc)  # noqa: B904
        say(f"✗ {exc}", error=True)
        return WRONG if isinstance(exc, SettingsError | StorageUnavailable) else FOUND
    except BrokenPipeError:  # `odp head … | less`, closed early
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        say("\nended by Ctrl-C; what was committed stays", error=True)
        return 130


def _run(argv: list[str]) -> int:
    """Run without `click.Group.main`, whose own answers to Ctrl-C and a closed pipe are others than ours."""
    try:
        with parser().make_context("odp", argv) as ctx:
            code: int = ctx.command.invoke(ctx)
    except click.exceptions.Exit as exc:  # --help
        return exc.exit_code
    return code


def parser() -> Group:
    """Return the parser of all commands."""
    return commands()


def default_lake() -> str | None:
    """Return the embedded lake of this folder, if there is one."""
    here = Path(".data/lake")
    return str(here.resolve()) if here.is_dir() else None
