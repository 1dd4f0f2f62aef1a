"""Which tests are long: those that take minutes to guard what changes seldom.

Belongs here: that choice. Does not: fixtures. `make test ARGS="-m long -n 2 --dist loadfile"` runs them,
`.ci/run` does not. Slow tests of DuckLake, which is experimental, are long, but for the contract suite that
every backend passes.
"""

from __future__ import annotations

import pytest

_CONTRACT = "test_store_contract.py"
# A hundred commits and more, each some requests; a folder shows the same.
_MANY_REQUESTS = (
    "test_a_foreign_commit_is_named_after_many_of_our_own",
    "test_a_clinical_lake_of_before_says_afterwards_what_a_fresh_one_says",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, before any suite is chosen by its marks."""
    for item in items:
        name, _, kind = item.name.partition("[")
        is_slow = any(item.get_closest_marker(one) for one in ("slow", "containers"))
        is_ducklake = "ducklake" in kind and item.path.name != _CONTRACT
        if is_slow and (is_ducklake or (name in _MANY_REQUESTS and "s3" in kind)):
            item.add_marker(pytest.mark.long)
