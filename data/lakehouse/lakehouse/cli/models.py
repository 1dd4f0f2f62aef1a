"""The command about the dbt project: prepare.

Belongs here: calling the library and printing the result. Does not: arguments (commands.py).
"""

from __future__ import annotations

from lakehouse import dbt
from lakehouse.cli.base import Options
from lakehouse.cli.main import OK
from lakehouse.cli.output import lake_of
from lakehouse.cli.terminal import say
from lakehouse.registry import models


def prepare(options: Options) -> int:
    """Fill the file that dbt looks into when somebody runs it by hand."""
    file, versions = dbt.prepare(lake_of(options), models())
    for path, version in versions.items():
        say(f"{path}: version {version}")
    say(f"{file} is filled; now, in {file.parent}: dbt build --profiles-dir .")
    return OK
