"""Which tests are long: those that take minutes, or guard once more what shorter ones guard.

Belongs here: that choice, and what no test may leave to the next one. Does not: fixtures of a subject.
`make test ARGS="-m long -n 2 --dist loadfile"` runs them, `.ci/run` does not, since its time is bounded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

# DuckLake is experimental: its slow tests are long, but for the contract suite that every backend passes.
_DUCKLAKE = r"test_store_ducklake\w*\.py::|::.*\[.*ducklake"
_CONTRACT = r"test_store_contract\.py::.*\[(?!ducklake-s3)"
# What a folder, fewer trials or another part of the system shows too.
_ONCE_MORE = re.compile(
    r"test_store_contract\.py::.*\[ducklake-s3"
    r"|::test_a_foreign_commit_is_named_after_many_of_our_own\[s3"
    r"|::test_a_clinical_lake_of_before_says_afterwards_what_a_fresh_one_says\[s3"
    r"|::test_an_old_lake_verifies_goes_on_and_goes_back\[s3"
    r"|::test_nothing_is_lost_doubled_or_changed\[s3-(every|flows|kill|many|random)"
    r"|::test_random_histories_equal_a_full_refresh\[[1-9]"
    r"|::test_a_lake_of_real_data_is_the_same_to_the_byte\[duckdb-(fhir|temporal)"
    r"|::test_a_lake_of_the_samples_is_the_same_to_the_byte\[duckdb-clinical"
    r"|::test_a_kill_on_the_way_into_the_lake_is_made_good_by_the_next_run\[dbt\.taking-1"
    r"|::test_(a_lake_of_real_data_is_the_same_to_the_byte|loans|fhir_references)\[spark"
    r"|::test_no_json_value_in_any_field_stops_a_cohort\[(?!Patient|Observation)"
    r"|::test_the_marts_of_real_years_and_one_year_more"
    r"|test_embedded_holds\.py::test_(a_first_start_with_a_bad_file|verify_and_start_go_on|an_accepted_file)"
    r"|test_embedded\.py::test_a_(lake_damaged_behind_its_back|file_of_unknown_shape)"
    r"|test_docs_dbt\.py::test_the_page_works_as_it_is_written"
    r"|test_dbt_real\.py::test_a_status_is_a_version_only_when_it_changed"
    r"|::test_two_checkouts_give_equal_content_and_do_not_meet"
    r"|::test_thirty_verifications_beside_running_processes_report_nothing"
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, before any suite is chosen by its marks."""
    for item in items:
        if not any(item.get_closest_marker(one) for one in ("slow", "containers")):
            continue
        of_ducklake = re.search(_DUCKLAKE, item.nodeid) and not re.search(_CONTRACT, item.nodeid)
        if of_ducklake or _ONCE_MORE.search(item.nodeid):
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def _own_umask() -> Iterator[None]:
    """Programs that a test runs in this process keep their files to themselves; the next test's are open."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
