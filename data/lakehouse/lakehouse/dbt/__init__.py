"""Tables that a dbt project makes: its models as contracts, and taking a passed build into the lake.

project.py    the project, and what dbt's manifest says of it
contracts.py  a model as a contract
build.py      one dbt build in a DuckDB file over pinned versions
refresh.py    which models are behind, and committing what a passed build left
"""

from lakehouse.dbt.build import BuildFailed, Built
from lakehouse.dbt.project import Node, Project, project
from lakehouse.dbt.refresh import prepare, refresh_models
from lakehouse.dbt.tables import check_name, tables_of

__all__ = [
    "BuildFailed",
    "Built",
    "Node",
    "Project",
    "check_name",
    "prepare",
    "project",
    "refresh_models",
    "tables_of",
]
