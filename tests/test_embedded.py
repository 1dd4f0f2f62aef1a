"""The platform without containers, end to end and as a person types it, in copies of the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkouts import clean_env, free_ports, wait_until
from ready_checkouts import ready_checkout

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(900)]

SIX = (
    "bronze/raw_pipeline_events",
    "bronze/raw_crawler_results",
    "silver/pipeline_events",
    "silver/crawler_results",
    "gold/pipeline_metrics",
    "gold/user_profiles",
)
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Embedded:
    """One copy of the checkout with ports of its own."""

    dir: Path
    port: int
    api_port: int
    with_models: bool = True  # a build of dbt takes seconds

    def make(self, *args: str) -> Done:
        """A verb; both streams, text, no exception."""
        return subprocess.run(
            ["make", *args],
            cwd=self.dir,
            env=clean_env(
                DAGSTER_PORT=str(self.port),
                API_PORT=str(self.api_port),
                **({} if self.with_models else {"ODP_DBT_PROJECT": "off"}),
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def hashes(self) -> dict[str, str]:
        """Table to content hash, of a lake that must be sound."""
        done = self.make("verify-data-layers", "ARGS=--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return {table["table"]: table["content_hash"] for table in json.loads(done.stdout)["tables"]}

    def ui(self) -> int:
        """The status of the UI's page, 0 if nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/server_info", timeout=5) as answer:
                return int(answer.status)
        except (urllib.error.URLError, OSError):
            return 0


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(4)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, ports: list[int]) -> Iterator[Embedded]:
    """A started copy; stopped at the end, whatever happened."""
    platform = Embedded(ready_checkout(tmp_path_factory.mktemp("embedded")), *ports[:2])
    try:
        done = platform.make("start", "PROFILE=embedded")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^embedded is up in [\d.]+ s: verified: \d+ tables", done.stdout, re.MULTILINE)
        yield platform
    finally:
        platform.make("nuke", "FORCE=1")


def test_six_tables_are_verified_and_the_ui_answers(platform: Embedded) -> None:
    assert set(platform.hashes()) >= set(SIX)
    assert platform.ui() == 200
    report = json.loads(platform.make("status", "JSON=1").stdout)
    assert (report["profile"], report["well"]) == ("embedded", True)
    assert report["urls"] == {
        "dagster": f"http://127.0.0.1:{platform.port}",
        "api": f"http://127.0.0.1:{platform.api_port}",
    }


def test_everything_stays_in_the_checkout_and_no_secret_is_made(platform: Embedded) -> None:
    assert not (platform.dir / ".env").exists()
    assert (platform.dir / ".data" / "lake" / "gold" / "pipeline_metrics" / "_delta_log").is_dir()
    assert (platform.dir / ".data" / "dagster" / "dagster.yaml").is_file()


def test_second_start_is_a_no_op(platform: Embedded) -> None:
    done = platform.make("start", "PROFILE=embedded")
    assert done.returncode == 0, done.stderr
    assert "it was up already, nothing changed; last verified 2" in done.stdout


@pytest.mark.slow
def test_two_checkouts_give_equal_content_and_do_not_meet(
    platform: Embedded, tmp_path_factory: pytest.TempPathFactory, ports: list[int]
) -> None:
    hashes = platform.hashes()
    folder = ready_checkout(tmp_path_factory.mktemp("second"))
    busy = Embedded(folder, platform.port, ports[3]).make("start", "PROFILE=embedded")
    assert busy.returncode != 0
    assert f"port {platform.port} (DAGSTER_PORT) is taken by pid " in busy.stderr
    assert not (folder / ".data" / "lake").exists()
    second = Embedded(folder, *ports[2:])
    try:
        done = second.make("start", "PROFILE=embedded")
        assert done.returncode == 0, done.stdout + done.stderr
        assert platform.ui() == second.ui() == 200
        assert second.hashes() == hashes
    finally:
        second.make("nuke", "FORCE=1")


@pytest.mark.slow
def test_init_again_changes_no_content(platform: Embedded) -> None:
    before = platform.hashes()
    done = platform.make("init-data-layers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert platform.hashes() == before


@pytest.mark.slow
def test_a_replayed_file_changes_no_silver_and_no_gold(platform: Embedded) -> None:
    before = platform.hashes()
    [sample] = (platform.dir / "landing" / "pipeline_events").glob("sample.*")
    (sample.parent / f"again{sample.suffix}").write_bytes(sample.read_bytes())
    done = platform.make("init-data-layers")
    assert done.returncode == 0, done.stdout + done.stderr
    after = platform.hashes()
    assert {name: after[name] for name in SIX[2:]} == {name: before[name] for name in SIX[2:]}


@pytest.mark.slow
def test_a_file_of_unknown_shape_is_reported_and_kept(platform: Embedded) -> None:
    strange = platform.dir / "landing" / "pipeline_events" / "strange.bin"
    strange.write_bytes(b"\x00\x01 no shape that anybody declared")
    before = platform.hashes()
    done = platform.make("init-data-layers")
    told = done.stdout + done.stderr
    try:
        assert "strange.bin" in told + platform.make("verify-data-layers").stdout, told
        assert strange.exists()
        after = platform.hashes()
        assert {name: after[name] for name in SIX} == {name: before[name] for name in SIX}
    finally:
        strange.unlink()


@pytest.mark.slow
def test_a_lake_damaged_behind_its_back_fails_verify(platform: Embedded) -> None:
    assert platform.make("stop").returncode == 0  # a run that a sensor asks for would mend it
    table = platform.dir / ".data" / "lake" / "gold" / "user_profiles"
    aside = platform.dir / ".data" / "aside"
    table.rename(aside)
    try:
        done = platform.make("verify-data-layers")
        assert done.returncode != 0
        assert "gold/user_profiles: present: the table is missing" in done.stdout
    finally:
        aside.rename(table)
    assert platform.make("verify-data-layers").returncode == 0
    assert platform.make("start", "PROFILE=embedded").returncode == 0


@pytest.mark.slow
def test_stop_ends_the_ui_and_a_later_start_finds_the_lake(platform: Embedded) -> None:
    before = platform.hashes()
    done = platform.make("stop")
    assert done.returncode == 0
    assert done.stdout == "stopped: the API, the embedded UI\n"
    wait_until("the UI is gone", lambda: platform.ui() == 0, 20)
    assert platform.make("stop").stdout == "nothing was running\n"
    assert platform.make("status").returncode != 0
    assert platform.make("start", "PROFILE=embedded").returncode == 0
    assert (platform.ui(), platform.hashes()) == (200, before)
