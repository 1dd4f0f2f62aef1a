"""What holds for every test here: tables of dbt are made only where a test is about them.

Belongs here: that switch, and the one server that tests share. Does not: other fixtures. A build takes
seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from connect_server import connect_server

os.environ.setdefault("ODP_DBT_PROJECT", "off")


@pytest.fixture(scope="session")
def spark_remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Spark Connect server: Sail, or one that is there (docs/operations/engines.md)."""
    if given := os.environ.get("ODP_TEST_SPARK_REMOTE"):
        yield given
        return
    with connect_server(tmp_path_factory.mktemp("connect")) as remote:
        yield remote
