"""Tables that a dbt project makes: its models as contracts, and taking a passed build into the lake.

project.py    the project, and what dbt's manifest says of it
tables.py     a model as a contract
build.py      one dbt build in a DuckDB file over pinned versions
workplace.py  where it runs: a folder, and dbt that waits in it (waiting.py)
refresh.py    which models are behind, and committing what a passed build left
"""

from lakehouse.dbt.build import BuildFailed, Built
from lakehouse.dbt.project import Node, Project, project, the_project
from lakehouse.dbt.refresh import forget_build, no_build, prepare, refresh_models
from lakehouse.dbt.tables import HISTORY, LAYER, check_name, checks_of, is_history, tables_of
from lakehouse.dbt.workplace import close_early, open_early

__all__ = [
    "HISTORY",
    "LAYER",
    "BuildFailed",
    "Built",
    "Node",
    "Project",
    "check_name",
    "checks_of",
    "close_early",
    "forget_build",
    "is_history",
    "no_build",
    "open_early",
    "prepare",
    "project",
    "refresh_models",
    "tables_of",
    "the_project",
]
