"""What all commands of `odp` share: the shape of their help, the options --lake and --json, how one is run.

Belongs here: what click does not do by itself. Does not: which commands there are (commands.py), what they
do (tables.py, runs.py, outputs.py, rejects.py, fhir.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import click

_WIDEST_HELP = 100


class Options(SimpleNamespace):
    """The values of a command's options and arguments, by name."""


class _Base(click.Command):
    """Help whose usage line and epilog scripts can rely on."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), prefix="usage: ")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the epilog unwrapped: it holds command lines."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}")


class Command(_Base):
    """A command that runs `module:function` of this package, imported only then."""

    def __init__(
        self,
        name: str,
        *,
        run: str,
        exclusive: Sequence[str] = (),
        params: Sequence[click.Parameter],
        **more: Any,
    ) -> None:
        super().__init__(name, params=[*params, *shared()], callback=partial(_run, run), **more)
        self._exclusive = exclusive

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with shortened options; refuse two options that exclude each other, and empty values."""
        left = super().parse_args(ctx, list(_full_names(args, self.params)))
        _refuse_empty(ctx, self.params)
        given = [name for name in self._exclusive if ctx.params[name] is not None]
        if len(given) > 1:
            first, second = (f"--{name.replace('_', '-')}" for name in given)
            raise click.UsageError(f"{second} is not allowed with {first}.", ctx)
        return left


class Group(_Base, click.Group):
    """Commands in the order in which they were added."""

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name, no_args_is_help=False, **more)
        self.context_settings = {"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST_HELP}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        left = super().parse_args(ctx, args)
        _refuse_empty(ctx, self.params)
        return left

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


def _refuse_empty(ctx: click.Context, params: Iterable[click.Parameter]) -> None:
    """Raise UsageError for a value without any character: of a variable of a script that is not set.

    It is not taken for one that was left out: that may mean all tables, or another lake.
    """
    for param in params:
        value = ctx.params.get(param.name or "")
        if value == "" or (isinstance(value, tuple) and "" in value):
            raise click.UsageError(f"{param.get_error_hint(ctx)} is empty.", ctx)


def shared() -> list[click.Parameter]:
    """Return the options that every command takes, before its name or after it."""
    return [
        click.Option(["--lake"], metavar="URL", help="a folder, or s3:// with S3_* set"),
        click.Option(["--json"], is_flag=True, help="one JSON document instead of a table"),
    ]


def _run(run: str, **params: Any) -> int:
    """Import and call the function of a command. Raises LakeError."""
    from lakehouse.errors import only_ours

    top = click.get_current_context().find_root()
    options = Options(**params)
    options.lake = options.lake or top.params["lake"]
    options.json = options.json or top.params["json"]
    module, function = run.split(":")
    with only_ours(f"odp {top.invoked_subcommand}"):
        code: int = getattr(import_module(f"lakehouse.cli.{module}"), function)(options)
    return code


def _full_names(args: Iterable[str], params: Iterable[click.Parameter]) -> Iterator[str]:
    """Yield the arguments with shortened options in full (`--full` for --full-refresh): scripts use them."""
    known = [name for param in params for name in param.opts if name.startswith("--")]
    for arg in (rest := iter(args)):
        if arg == "--":
            yield arg
            yield from rest
            return
        name, equals, value = arg.partition("=")
        meant = [one for one in known if one.startswith(name)]
        is_short = name.startswith("--") and name not in known and len(meant) == 1
        yield f"{meant[0]}{equals}{value}" if is_short else arg
