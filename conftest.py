"""Which tests are long: those that take minutes to guard what changes seldom.

Belongs here: that choice. Does not: fixtures. `make test ARGS="-m long -n 2 --dist loadfile"` runs them,
`.ci/run` does not. Slow tests of DuckLake, which is experimental, are long, but for the contract suite that
every backend passes.
"""

from __future__ import annotations

import pytest

_CONTRACT = "test_store_contract.py"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, before any suite is chosen by its marks."""
    for item in items:
        kind = item.name.partition("[")[2]
        is_slow = any(item.get_closest_marker(name) for name in ("slow", "containers"))
        if is_slow and "ducklake" in kind and item.path.name != _CONTRACT:
            item.add_marker(pytest.mark.long)
