"""`odp` as a user types it: a real process on a real lake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

from lakehouse.contracts import RESTORE_POINTS
from lakehouse.domains.pipelines.contracts import PIPELINE_EVENTS
from lakehouse.maintenance import record_point
from lakehouse.pipeline import Lake, ingest, open_lake, refresh
from lakehouse.registry import contracts, sample_files, sources, transform_of
from lakehouse.settings import Settings

BAD = (
    b'{"pipeline_id":"n1","event_type":"completed","workspace_id":"w","timestamp":"2026-01-10T10:00:00Z",'
    b'"raw_data":{"duration_ms":-4}}\n'
)


def init(lake: Lake, run_id: str) -> None:
    for table in contracts():
        if not table.sources:
            ingest(lake, table, [s for s in sources() if s.table is table])
    for table in contracts():
        if table.sources:
            refresh(lake, table, transform_of(table))
    record_point(lake, run_id, contracts())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two runs, `4f1c…` and `9a20…`, with one reject."""
    place = tmp_path_factory.mktemp("cli")
    lake = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))
    for name, body in sample_files().items():
        lake.landing.put(name, body)
    lake.landing.put("pipeline_events/bad.ndjson", BAD)
    init(lake, "4f1c0d2e")
    more = sample_files()["pipeline_events/sample.ndjson"].replace(b"ws-", b"wt-")
    lake.landing.put("pipeline_events/more.ndjson", more)
    init(lake, "9a20ffff")
    return place


def odp(root: Path, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("odp")), *args]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAKE", "LANDING", "S3_"))}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**clean, "LAKE_URL": str(root / "lake"), **env},
        cwd=root,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def told(root: Path, *args: str) -> object:
    return json.loads(odp(root, *args, "--json").stdout)


def test_tables_are_listed_for_people_and_for_machines(root: Path) -> None:
    lines = odp(root, "tables").stdout.splitlines()
    assert lines[0].split() == ["table", "rows", "size_bytes", "files", "version", "written_at"]
    rows = {row["table"]: row["rows"] for row in told(root, "tables")}  # type: ignore[attr-defined]
    assert rows["silver/pipeline_events"] == 60
    assert rows["quarantine/pipeline_events"] == 1


def test_head_masks_personal_data_unless_asked(root: Path) -> None:
    masked = told(root, "head", "gold/user_profiles", "-n", "1", "--columns", "username,posts_count")
    assert masked == [{"username": "•••", "posts_count": 12400}]
    shown = told(root, "head", "gold/user_profiles", "-n", "1", "--columns", "username", "--reveal-pii")
    assert shown == [{"username": "ada_maps"}]
    assert odp(root, "head", "gold/user_profiles").stdout.count("ada_maps") == 0


@pytest.mark.slow
def test_head_travels_in_time(root: Path) -> None:
    query = ("head", "gold/pipeline_metrics", "-n", "100")
    assert len(told(root, *query)) == 8  # type: ignore[arg-type]
    assert len(told(root, *query, "--version", "1")) == 4  # type: ignore[arg-type]
    first = told(root, "history", "gold/pipeline_metrics")[-2]["at"]  # type: ignore[index]
    assert len(told(root, *query, "--as-of", first.replace(" ", "T"))) == 4  # type: ignore[arg-type]
    why = odp(root, *query, "--as-of", "2020-01-01T00:00:00Z", code=1).stderr
    assert why == "✗ gold/pipeline_metrics has no version as old as 2020-01-01T00:00:00Z\n"
    assert "has no offset" in odp(root, *query, "--as-of", "2020-01-01", code=2).stderr


@pytest.mark.slow
def test_verify_says_by_its_exit_code(root: Path, tmp_path: Path) -> None:
    assert told(root, "verify")["ok"] is True  # type: ignore[index]
    assert "✗ not verified" in odp(tmp_path, "verify", code=1).stdout


@pytest.mark.slow
def test_rejects_are_counted_shown_and_tried_again(root: Path) -> None:
    listed = told(root, "quarantine", "list")
    assert {r["table"] for r in listed} == {t.path for t in contracts() if t.row_wise}  # type: ignore[attr-defined]
    assert [(r["table"], r["by_rule"]) for r in listed if r["open"]] == [  # type: ignore[attr-defined]
        ("silver/pipeline_events", {"duration_ms_not_negative": 1})
    ]
    text = odp(root, "quarantine", "show", "silver/pipeline_events").stdout
    assert text == (
        f"pipeline_events/bad.ndjson row 0, batch 1, contract {PIPELINE_EVENTS.version}\n"
        "  ✗ duration_ms_not_negative: duration_ms_text = '•••'\n"
        "duration_ms_not_negative: duration_ms, where given, is not negative\n"
    )
    assert "'-4'" in odp(root, "quarantine", "show", "silver/pipeline_events", "--reveal-pii").stdout
    again = odp(root, "quarantine", "replay", "silver/pipeline_events").stdout
    assert again == "1 tried: 0 written, 0 merged, 1 still refused\n  ✗ duration_ms_not_negative: 1\n"
    unknown = ("quarantine", "show", "silver/pipeline_events", "--rule", "x")
    assert "has no rule 'x'" in odp(root, *unknown, code=1).stderr


@pytest.mark.slow
def test_runs_are_told_apart_pinned_and_gone_back_to(root: Path) -> None:
    changed = {d["table"]: d["added"] for d in told(root, "diff", "4f1c", "9a20")}  # type: ignore[attr-defined]
    assert (changed["silver/pipeline_events"], changed["gold/pipeline_metrics"]) == (30, 4)
    odp(root, "runs", "--pin", "4f1c", "--name", "release")
    assert [(p["run_id"], p["pinned"], p["name"]) for p in told(root, "runs")] == [  # type: ignore[attr-defined]
        ("4f1c0d2e", True, "release"),
        ("9a20ffff", False, None),
    ]
    assert "add --yes" in odp(root, "restore", "--run", "release", code=2).stderr
    planned = odp(root, "restore", "--run", "release", "--dry-run").stdout
    assert planned.splitlines()[-1] == "3 tables would be back at run release"
    assert len(told(root, "maintain")) == len(
        [*contracts(), *(t for t in contracts() if t.row_wise), RESTORE_POINTS]
    )  # type: ignore[arg-type]
    odp(root, "restore", "--run", "release", "--yes")
    assert told(root, "verify")["ok"] is True  # type: ignore[index]
    odp(root, "restore", "--run", "9a20", "--yes")
    assert len(told(root, "head", "gold/pipeline_metrics", "-n", "100")) == 8  # type: ignore[arg-type]
    assert "no restore point is recorded" in odp(root, "restore", "--run", "nope", "--yes", code=1).stderr


@pytest.mark.slow
def test_a_full_refresh_from_the_command_line(root: Path) -> None:
    before = told(root, "verify")["tables"]  # type: ignore[index]
    odp(root, "refresh", "--full-refresh")
    after = told(root, "verify")["tables"]  # type: ignore[index]
    assert {t["table"]: t["content_hash"] for t in after} == {t["table"]: t["content_hash"] for t in before}
    assert "is not computed" in odp(root, "refresh", "bronze/raw_crawler_results", code=1).stderr


@pytest.mark.slow
def test_what_is_wrong_is_told_in_one_line(root: Path, tmp_path: Path) -> None:
    assert "no table 'silver/x' is declared; there are" in odp(root, "head", "silver/x", code=1).stderr
    unset = odp(tmp_path, "tables", code=2, LAKE_URL="").stderr
    assert unset.startswith("✗ LAKE_URL is not set")
    away = odp(tmp_path, "tables", code=2, LAKE_URL="s3://", S3_ENDPOINT="http://127.0.0.1:9",
               S3_ACCESS_KEY="a", S3_SECRET_KEY="b").stderr  # fmt: skip
    assert away.count("\n") == 1
    assert "make status" in away


@pytest.mark.parametrize("command", ["", "tables", "head", "history", "verify", "refresh", "runs", "restore",
                                     "diff", "maintain", "quarantine", "quarantine replay",
                                     "fhir view"])  # fmt: skip
def test_every_command_helps(tmp_path: Path, command: str) -> None:
    text = odp(tmp_path, *command.split(), "--help").stdout
    assert text.startswith("usage: odp")
    assert command in ("", "quarantine") or f"example:\n  odp {command}" in text


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from lakehouse.cli.main import parser; parser(); " \
           "print([m for m in sys.modules if m in " \
           "('polars', 'deltalake', 'narwhals', 'pyarrow', 'boto3', 'pandas')])"  # fmt: skip
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


@pytest.fixture
def damaged(root: Path, tmp_path: Path) -> Path:
    """A copy of the lake with a log entry of Silver cut short and a data file of Gold made noise."""
    shutil.copytree(root / "lake", tmp_path / "lake")
    log = tmp_path / "lake/silver/pipeline_events/_delta_log"
    last = sorted(log.glob("*.json"))[-1]
    last.write_bytes(last.read_bytes()[:200])
    for file in (tmp_path / "lake/gold/user_profiles").glob("*.parquet"):
        file.write_bytes(os.urandom(file.stat().st_size))
    return tmp_path


@pytest.mark.slow
def test_a_damaged_table_is_named_in_one_line_by_every_command(damaged: Path) -> None:
    listed = odp(damaged, "tables", code=1)
    assert listed.stderr.startswith("✗ reading silver/pipeline_events: log entry ")
    assert "bronze/raw_pipeline_events" in listed.stdout
    for command in (("head", "silver/pipeline_events"), ("history", "silver/pipeline_events")):
        said = odp(damaged, *command, code=1).stderr
        assert said.startswith("✗ reading silver/pipeline_events: log entry ")
        assert "Kernel" not in said
    said = odp(damaged, "head", "gold/user_profiles", code=1).stderr
    assert said.startswith("✗ reading gold/user_profiles: 1 data files cannot be read, as ")
    report = json.loads(odp(damaged, "verify", "--json", code=1).stdout)
    assert {p["table"] for p in report["problems"]} == {"silver/pipeline_events", "gold/user_profiles"}
    assert [
        t["table"] for t in report["tables"] if t["table"] == "gold/encounter_summary" and t["content_hash"]
    ]
    text = odp(damaged, "verify", code=1).stdout
    assert "✗ silver/pipeline_events: log: log entry " in text
    assert "✗ not verified: 2 problems" in text


@pytest.mark.slow
def test_a_version_that_is_not_there_is_told_in_one_line(root: Path) -> None:
    for version in ("-1", "4711", str(2**70)):
        said = odp(root, "head", "silver/pipeline_events", f"--version={version}", code=1).stderr
        assert said.startswith(f"✗ reading silver/pipeline_events at version {version}: it is not there")


@pytest.mark.slow
def test_a_deep_verification_finds_a_flipped_bit_that_others_do_not_see(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "lake", tmp_path / "lake")
    assert "✓ verified" in odp(tmp_path, "verify", "--deep").stdout
    file = next((tmp_path / "lake/bronze/raw_crawler_results").glob("*.parquet"))
    body = bytearray(file.read_bytes())
    body[10] ^= 1
    file.write_bytes(body)
    said = odp(tmp_path, "verify", "--deep", code=1).stdout
    assert f"1 data files are not what was written (their checksums differ), as {file.name}" in said
    report = json.loads(odp(tmp_path, "verify", "--deep", "--json", code=1).stdout)
    assert set(report) == {"ok", "tables", "problems", "notes", "warnings"}
    assert set(report["tables"][0]) == {
        "table", "rows", "version", "size_bytes", "content_hash", "files_without_checksum"}  # fmt: skip


@pytest.mark.slow
def test_a_commit_of_another_program_is_named_until_somebody_says_why_it_may_stand(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "lake", tmp_path / "lake")
    delta = DeltaTable(str(tmp_path / "lake/gold/user_profiles"))
    delta.update(updates={"display_name": "display_name"})
    said = odp(tmp_path, "verify", code=1).stdout
    assert f"version {delta.version()} (UPDATE, " in said
    assert "odp history TABLE --accept VERSION --why TEXT" in said
    accept = ("history", "gold/user_profiles", f"--accept={delta.version()}")
    assert "--why" in odp(tmp_path, *accept, code=2).stderr
    assert odp(tmp_path, *accept, "--why", "a name was corrected on request").returncode == 0
    assert "✓ verified" in odp(tmp_path, "verify").stdout


@pytest.mark.slow
def test_a_refused_event_type_is_told_with_the_known_words(tmp_path: Path) -> None:
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    lake.landing.put(
        "pipeline_events/bad.ndjson", BAD.replace(b'"event_type":"completed"', b'"event_type":"-"')
    )
    init(lake, "4f1c0d2e")
    text = odp(tmp_path, "quarantine", "show", "silver/pipeline_events").stdout
    assert "event_type_present: event_type is given and not blank. Its last word tells the status" in text
    assert all(word in text for word in ("succeeded", "killed", "skipped", "submitted"))
