"""A file with too many rejects, as a person meets it: told once, warned of from then on, ended by a verb."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from checkouts import free_ports
from ready_checkouts import ready_checkout
from test_embedded import Done, Embedded

pytestmark = [pytest.mark.embedded, pytest.mark.slow, pytest.mark.timeout(900)]

HELD = "silver/pipeline_events is held by pipeline_events_reject_share since "
SHARE = "12 of 20 rows quarantined (60.0%, limit 5%)"
VERBS = ("quarantine show silver/pipeline_events", "quarantine replay silver/pipeline_events",
         "quarantine accept silver/pipeline_events")  # fmt: skip


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A copy of the checkout, started with four events in landing, two of them bad, and nothing else."""
    platform = Embedded(ready_checkout(tmp_path_factory.mktemp("holds")), *free_ports(2), with_models=False)
    drop(platform, "four", good=2, bad=2)
    try:
        yield platform
    finally:
        platform.make("nuke", "FORCE=1")


def drop(platform: Embedded, name: str, *, good: int, bad: int) -> None:
    folder = platform.dir / "landing" / "pipeline_events"
    folder.mkdir(parents=True, exist_ok=True)
    told = [
        {"pipeline_id": f"{name}{n}", "event_type": "completed", "workspace_id": "w",
         "timestamp": "2026-01-01T00:00:00Z", "raw_data": {"duration_ms": 5 if n < good else -5}}
        for n in range(good + bad)
    ]  # fmt: skip
    (folder / f"{name}.ndjson").write_text("".join(json.dumps(one) + "\n" for one in told))


def pipelines(platform: Embedded) -> int:
    done = platform.make("odp", "ARGS=head gold/pipeline_metrics --json -n 100")
    assert done.returncode == 0, done.stderr
    return sum(row["total_pipelines"] for row in json.loads(done.stdout))


def says_all(done: Done) -> str:
    """What somebody has to read: the share, the reason, the check and the verbs."""
    text = done.stdout + done.stderr
    for part in (SHARE, "duration_ms_not_negative (12)", HELD, *VERBS):
        assert part in text, text
    return text


def test_two_bad_events_of_four_hold_nothing(platform: Embedded) -> None:
    done = platform.make("start", "PROFILE=embedded")
    assert done.returncode == 0, done.stdout + done.stderr
    assert pipelines(platform) == 2
    assert platform.make("init-data-layers").returncode == 0
    assert platform.make("stop").returncode == 0  # no sensor brings the next file in before the test does


def test_a_bad_file_ends_one_init_with_3_and_no_later_one(platform: Embedded) -> None:
    drop(platform, "bad", good=8, bad=12)
    done = platform.make("init-data-layers")
    assert re.search(r"init-data-layers\] Error 3$", done.stderr, re.MULTILINE), done.stdout + done.stderr
    assert "✗ pipeline_events_reject_share" in says_all(done)
    for _ in range(2):
        done = platform.make("init-data-layers")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "! " in says_all(done)
        assert pipelines(platform) == 2, "Gold waits"


def test_verify_and_start_go_on_and_warn(platform: Embedded) -> None:
    done = platform.make("verify-data-layers")
    assert done.returncode == 0, done.stdout
    assert "✓ verified" in says_all(done)
    for state in ("embedded is up in", "it was up already"):
        done = platform.make("start", "PROFILE=embedded")
        assert done.returncode == 0, done.stdout + done.stderr
        assert state in says_all(done)
    assert platform.make("stop").returncode == 0


def test_an_accepted_file_lets_gold_go_on(platform: Embedded) -> None:
    verb = "ARGS=quarantine accept silver/pipeline_events --who Ada --why 'as agreed'"
    assert platform.make("odp", verb).returncode == 0
    done = platform.make("init-data-layers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is held" not in done.stdout + done.stderr
    assert pipelines(platform) == 10
    listed = platform.make("odp", "ARGS=quarantine list")
    assert "Ada" in listed.stdout
    assert "as agreed" in listed.stdout
    again = platform.make("odp", verb)
    assert again.returncode != 0
    assert "is not held" in again.stderr
    assert platform.make("verify-data-layers").returncode == 0


def test_a_first_start_with_a_bad_file_ends_in_3_and_the_next_is_up(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    fresh = Embedded(ready_checkout(tmp_path_factory.mktemp("fresh")), *free_ports(2))
    drop(fresh, "bad", good=8, bad=12)
    try:
        first = fresh.make("start", "PROFILE=embedded")
        assert first.returncode != 0
        says_all(first)
        second = fresh.make("start", "PROFILE=embedded")
        assert second.returncode == 0, second.stdout + second.stderr
        says_all(second)
        assert fresh.ui() == 200
    finally:
        fresh.make("nuke", "FORCE=1")
