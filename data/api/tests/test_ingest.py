"""Bodies sent to the door, and what becomes of them in the lake.

Belongs here: everything that a client inside the process shows. Does not: sockets (test_ingest_server.py).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkouts import ROOT
from doors import key, settings_of
from fastapi.testclient import TestClient

from lakehouse import fault_points
from lakehouse.materialize import materialize
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import tables
from lakehouse.settings import Settings
from serving.app import make_app

SHARED = Path(os.environ.get("ODP_SHARED_DATA") or ROOT.parent / "shared" / "data")
NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


def shared(folder: str, pattern: str) -> list[Path]:
    """The files of real data below a folder, sorted; the test is skipped where it is not there."""
    if not (SHARED / folder).is_dir():
        pytest.skip(
            f"no real data at {SHARED / folder}; set ODP_SHARED_DATA to the folder that holds {folder}"
        )
    found = sorted((SHARED / folder).rglob(pattern))
    assert found
    return found


def event(run: str, **changed: Any) -> dict[str, Any]:
    return {
        "pipeline_id": "p-1", "event_type": "run_started", "workspace_id": "w-1",
        "timestamp": f"2026-01-15T12:00:{run}Z", "raw_data": json.dumps({"run_id": run}), **changed,
    }  # fmt: skip


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))


@pytest.fixture
def sender(tmp_path: Path, lake: Lake) -> Iterator[TestClient]:
    """A client with a key of the scope `ingest`, at a door onto an empty lake."""
    app = make_app(settings_of(tmp_path, max_body_bytes=1 << 20))
    with TestClient(app, headers=key(app, "ingest"), raise_server_exceptions=False) as made:
        yield made


def landed(lake: Lake) -> list[str]:
    return [file.name for file in lake.landing.list()]


def bring_in(lake: Lake, domain: str = "pipelines") -> None:
    for table in tables():
        if table.contract.domain == domain and table.contract.layer in ("bronze", "silver"):
            materialize(lake, table, checks=False)


def test_it_has_not_ended_while_a_refused_row_is_on_its_way(sender: TestClient, lake: Lake) -> None:
    body = lines(event("01"), event("02", timestamp="no time"))
    where = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON).headers["Location"]

    def ends(point: str) -> None:
        if point == "flow.committed":
            raise KeyboardInterrupt

    fault_points.arm(ends)
    try:
        with pytest.raises(KeyboardInterrupt):
            bring_in(lake)
    finally:
        fault_points.arm(None)
    assert sender.get(where).json()["status"] == "running"
    bring_in(lake)
    said = sender.get(where).json()
    assert said["status"] == "done"
    assert [(t["written"], t["rejected"]) for t in said["tables"] if t["taken"]] == [(1, 1)]


def test_what_was_sent_comes_to_its_end(sender: TestClient, lake: Lake) -> None:
    body = lines(event("01"), event("02"), event("02"), {"event_type": "run_started"})
    sha = hashlib.sha256(body).hexdigest()
    answer = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {
        "tracking_id": f"pipeline_events~{sha}", "dataset": "pipeline_events", "cohort": None,
        "status": "queued", "bytes": len(body), "sha256": sha,
    }  # fmt: skip
    assert landed(lake) == [f"pipeline_events/api/{sha}.ndjson"]
    where = answer.headers["location"]
    assert sender.get(where).json()["status"] == "queued"
    bring_in(lake)
    found = sender.get(where).json()
    assert (found["status"], found["rows"]) == ("done", 4)
    [silver] = found["tables"]
    assert silver["table"] == "silver/pipeline_events"
    assert silver["taken"] == 4 == silver["written"] + silver["merged"] + silver["rejected"]
    assert silver["merged"] == 1
    assert silver["rejected"] == 1
    assert silver["rejects"]


def test_a_parameter_that_the_call_has_not_got_is_refused(sender: TestClient, lake: Lake) -> None:
    """A misspelled one, passed over, would let data land where nobody meant it to."""
    for where in (
        "pipeline_events?x=1",
        "clinical?Cohort=a",
        "clinical?cohort=a&cohrt=b",
        "pipeline_events?",
    ):
        answer = sender.post(f"/ingest/{where}", content=lines(event("01")), headers=NDJSON)
        is_refused = not where.endswith("?")
        assert answer.status_code == (422 if is_refused else 202), where
        assert not is_refused or answer.json()["detail"] == "of query parameters this call takes cohort"
    assert len(landed(lake)) == 1


def test_equal_bytes_are_one_file_and_one_id(sender: TestClient, lake: Lake) -> None:
    body = lines(event("01"))
    first = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
    [file] = lake.landing.list()
    for again in (
        sender.post("/ingest/pipeline_events", content=body, headers=NDJSON),
        sender.post("/ingest/pipeline_events", content=body, headers=JSON),
        sender.post(
            "/ingest/pipeline_events",
            content=gzip.compress(body),
            headers={**NDJSON, "Content-Encoding": "gzip"},
        ),
    ):
        assert (again.status_code, again.json()) == (202, first.json())
    assert [(f.name, f.version) for f in lake.landing.list()] == [(file.name, file.version)]
    other = sender.post("/ingest/github", content=body, headers=NDJSON)
    assert other.json()["tracking_id"] == f"github~{first.json()['sha256']}"


def test_several_at_once_send_the_same(sender: TestClient, lake: Lake) -> None:
    body = lines(*(event(f"{n:02}") for n in range(50)))
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: sender.post("/ingest/pipeline_events", content=body, headers=NDJSON), range(8))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["tracking_id"] for answer in answers}) == 1
    assert len(landed(lake)) == 1


def test_every_format_comes_in(sender: TestClient, lake: Lake) -> None:
    frame = pl.DataFrame([event("01"), event("02")])
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    bodies = {
        "ndjson": (NDJSON, lines(event("01"), event("02"))),
        "json": (JSON, json.dumps([event("01"), event("02")], indent=1).encode()),
        "csv": (CSV, frame.write_csv().encode()),
        "parquet": (PARQUET, parquet.getvalue()),
    }
    where = {}
    for extension, (headers, body) in bodies.items():
        answer = sender.post("/ingest/pipeline_events", content=body, headers=headers)
        assert answer.status_code == 202, answer.text
        assert f"pipeline_events/api/{hashlib.sha256(body).hexdigest()}.{extension}" in landed(lake)
        where[extension] = answer.headers["location"]
    bring_in(lake)
    found = {extension: sender.get(path).json() for extension, path in where.items()}
    assert {one["status"] for one in found.values()} == {"done"}
    assert {one["rows"] for one in found.values()} == {2}
    # All say the same, so that one row stands for four.
    tables = [one["tables"][0] for one in found.values()]
    assert sum(one["written"] for one in tables) == 2
    assert sum(one["merged"] for one in tables) == 6


def test_an_array_without_records_is_done_at_once(sender: TestClient, lake: Lake) -> None:
    answer = sender.post("/ingest/pipeline_events", content=b"[]", headers=JSON)
    assert answer.status_code == 202
    bring_in(lake)
    found = sender.get(answer.headers["location"]).json()
    assert (found["status"], found["rows"], found["tables"]) == ("done", 0, [])


def test_rows_that_came_before_are_done_too(sender: TestClient, lake: Lake) -> None:
    body = lines(event("01"))
    lake.landing.put("pipeline_events/by_hand.ndjson", body)
    bring_in(lake)
    answer = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
    found = sender.get(answer.headers["location"]).json()
    assert (found["status"], found["rows"]) == ("done", 1)


def test_what_landing_refuses_later_is_told(sender: TestClient, lake: Lake) -> None:
    """The file is cut short behind the door's back."""
    body = lines(event("01"))
    answer = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
    [file] = lake.landing.list()
    lake.landing.put(file.name, b"\x00\x01 secret")
    bring_in(lake)
    found = sender.get(answer.headers["location"]).json()
    assert found["status"] == "refused"
    assert "secret" not in found["reason"]
    # Sent again it is put back as it was.
    assert sender.post("/ingest/pipeline_events", content=body, headers=NDJSON).status_code == 202
    bring_in(lake)
    assert sender.get(answer.headers["location"]).json()["status"] == "done"


@pytest.mark.parametrize(
    ("body", "headers", "errors"),
    [
        (lines(event("01")) + b'{"a":\nsecret\n[1]\n{}\n3\n', NDJSON,
         [{"line": 2, "says": "not JSON, from column 6 on"},
          {"line": 3, "says": "not JSON, from column 1 on"},
          {"line": 4, "says": "not a JSON object"}, {"line": 5, "says": "an object without any field"},
          {"line": 6, "says": "not a JSON object"}]),
        (b'[\n{"a": 1},\n"secret", {}]', JSON,
         [{"record": 2, "says": "not a JSON object"}, {"record": 3, "says": "an object without any field"}]),
        (b'{\n"a": secret}', JSON, [{"line": 2, "says": "not JSON"}]),
    ],
)  # fmt: skip
def test_the_first_errors_are_told_by_line(
    sender: TestClient, lake: Lake, body: bytes, headers: dict[str, str], errors: list[dict[str, Any]]
) -> None:
    answer = sender.post("/ingest/pipeline_events", content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"] == errors
    assert "secret" not in answer.text
    assert landed(lake) == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", NDJSON),
        (b"  \n ", JSON),
        (b"\xff\xfe{\x00}\x00", JSON),
        (lines({"other": 1}), NDJSON),
        (b"a,b\n1,2\n", CSV),
        (b'pipeline_id,event_type\n"x,y\n', CSV),
        (b"PAR1 secret", PARQUET),
        (b"PK\x03\x04 secret", CSV),
        (gzip.compress(lines(event("01"))), NDJSON),
        (b"[" * 100_000, JSON),
        (b'{"pipeline_id":' * 300 + b"1" + b"}" * 300, NDJSON),
    ],
)
def test_what_no_reader_takes_is_refused(
    sender: TestClient, lake: Lake, body: bytes, headers: dict[str, str]
) -> None:
    answer = sender.post("/ingest/pipeline_events", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert landed(lake) == []


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ingest/nothing", NDJSON, 404),
        ("/ingest/..%2f..%2fetc", NDJSON, 404),
        ("/ingest/pipeline_events", {}, 415),
        ("/ingest/pipeline_events", {"Content-Type": "application/xml"}, 415),
        ("/ingest/pipeline_events", {"Content-Type": "text/csv; charset=latin-1"}, 415),
        ("/ingest/pipeline_events", {**NDJSON, "Content-Encoding": "br"}, 415),
        ("/ingest/pipeline_events", {**NDJSON, "Content-Encoding": "gzip, gzip"}, 415),
        ("/ingest/pipeline_events", {**NDJSON, "Content-Encoding": "gzip"}, 400),
        ("/ingest/pipeline_events", {**NDJSON, "Idempotency-Key": ""}, 400),
        ("/ingest/pipeline_events", {**NDJSON, "Idempotency-Key": "a b"}, 400),
        ("/ingest/pipeline_events", {**NDJSON, "Idempotency-Key": "x" * 256}, 400),
        ("/ingest/pipeline_events?cohort=a", NDJSON, 422),
        ("/ingest/clinical", NDJSON, 422),
        ("/ingest/clinical?cohort=", NDJSON, 422),
        ("/ingest/clinical?cohort=..", NDJSON, 422),
        ("/ingest/clinical?cohort=a%2fb", NDJSON, 422),
        ("/ingest/clinical?cohort=.a", NDJSON, 422),
        ("/ingest/clinical?cohort=a.tmp%00", NDJSON, 422),
        ("/ingest/clinical?cohort=a.", NDJSON, 422),
        ("/ingest/clinical?cohort=a&cohort=b", NDJSON, 422),
        (f"/ingest/clinical?cohort={'a' * 65}", NDJSON, 422),
        ("/ingest/clinical?cohort=a%0a", NDJSON, 422),
    ],
)
def test_requests_that_are_none(
    sender: TestClient, lake: Lake, path: str, headers: dict[str, str], status: int
) -> None:
    answer = sender.post(path, content=lines(event("01")), headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status
    assert landed(lake) == []


def test_only_a_key_that_may_ingests(sender: TestClient, lake: Lake) -> None:
    app: Any = sender.app
    for headers, status in (({"Authorization": ""}, 401), (key(app, "read", "sql", "share", "pii"), 403)):
        where = "/ingest/pipeline_events"
        assert sender.post(where, content=b"{}", headers={**NDJSON, **headers}).status_code == status
        assert sender.get(f"/ingest/pipeline_events~{'0' * 64}/status", headers=headers).status_code == status
    assert sender.get("/ingest/pipeline_events").status_code == 405


@pytest.mark.parametrize(
    "tracking_id",
    ["x", "pipeline_events", f"pipeline_events~{'0' * 64}", f"pipeline_events~a~{'0' * 64}",
     f"clinical~{'0' * 64}", f"clinical~a~{'0' * 64}", f"clinical~..~{'0' * 64}", f"~{'0' * 64}",
     f"clinical~a%2f..%2fb~{'0' * 64}", f"pipeline_events~{'A' * 64}"],
)  # fmt: skip
def test_no_ingest_has_this_id(sender: TestClient, tracking_id: str) -> None:
    assert sender.get(f"/ingest/{tracking_id}/status").status_code == 404


def test_an_idempotency_key_stands_for_one_content(sender: TestClient, lake: Lake) -> None:
    def send(body: bytes, dataset: str = "pipeline_events", name: str = '"k-1"', **more: str) -> int:
        headers = {**NDJSON, "Idempotency-Key": name, **more}
        return sender.post(f"/ingest/{dataset}", content=body, headers=headers).status_code

    one, two = lines(event("01")), lines(event("02"))
    assert send(b"no json") == 422  # nothing came of it, so that the key is still free
    assert [send(one), send(one), send(one, name="k-1")] == [202] * 3
    assert [send(two), send(one, "github")] == [422, 422]
    assert send(two, **key(sender.app, "ingest")) == 202  # another caller's
    assert len(landed(lake)) == 2
    with TestClient(make_app(sender.app.state.settings), headers=sender.headers) as later:  # type: ignore[attr-defined]
        headers = {**NDJSON, "Idempotency-Key": "k-1"}
        assert later.post("/ingest/pipeline_events", content=two, headers=headers).status_code == 422


def test_two_cohorts_keep_the_same_resources(sender: TestClient, lake: Lake) -> None:
    [file] = shared("cases", "site_a.ndjson")
    body = file.read_bytes()
    where = []
    for cohort in ("site-a", "site_b"):
        answer = sender.post(f"/ingest/clinical?cohort={cohort}", content=body, headers=NDJSON)
        assert answer.status_code == 202, answer.text
        where.append(answer.headers["location"])
    bring_in(lake, "clinical")
    rows = [sender.get(path).json() for path in where]
    assert [one["status"] for one in rows] == ["done", "done"]
    assert [one["rows"] for one in rows] == [len(body.splitlines())] * 2
    assert {one["cohort"] for one in rows} == {"site-a", "site_b"}
    for one in rows:
        by_table = {table["table"]: table for table in one["tables"]}
        assert by_table["silver/fhir_index"]["taken"] == len(body.splitlines())
        assert all(t["taken"] == t["written"] + t["merged"] + t["rejected"] for t in one["tables"])


def test_the_byte_limit_counts_what_it_unfolds_to(sender: TestClient, lake: Lake) -> None:
    most = 1 << 20
    line = lines(event("01"))
    fits = line * (most // len(line))
    fits += b" " * (most - len(fits))
    assert sender.post("/ingest/pipeline_events", content=fits, headers=NDJSON).status_code == 202
    bombs = (fits + b" ", gzip.compress(fits + b" "), gzip.compress(b"\n" * (64 << 20)))
    for body, coding in zip(bombs, ("identity", "gzip", "gzip"), strict=True):
        headers = {**NDJSON, "Content-Encoding": coding}
        assert sender.post("/ingest/pipeline_events", content=body, headers=headers).status_code == 413
    two = gzip.compress(line) + gzip.compress(lines(event("02")))
    headers = {**NDJSON, "Content-Encoding": "gzip"}
    answer = sender.post("/ingest/pipeline_events", content=two, headers=headers)
    assert (answer.status_code, answer.json()["bytes"]) == (202, 2 * len(line))
    for cut in (two[:-1], two[: len(two) // 2 + 3], b"", two + b"x"):
        assert sender.post("/ingest/pipeline_events", content=cut, headers=headers).status_code == 400
    assert len(landed(lake)) == 2
    assert list((sender.app.state.settings.state / "spool").iterdir()) == []  # type: ignore[attr-defined]


@pytest.mark.slow
def test_each_json_of_the_suite_is_taken_or_refused(sender: TestClient) -> None:
    """JSONTestSuite: y must be taken where it is a record, n never; i may be either."""
    for file in shared("json_robustness/test_parsing", "*.json"):
        body = file.read_bytes()
        for headers in (JSON, NDJSON):
            bare = sender.post("/ingest/pipeline_events", content=body, headers=headers).status_code
            assert bare in (202, 422), (file.name, bare)
            assert bare == 422 or file.name[0] != "n", file.name
        record = b'{"pipeline_id":"p","raw_data":' + body.strip(b"\n") + b"}"
        within = sender.post("/ingest/pipeline_events", content=record, headers=JSON).status_code
        assert within in (202, 422), (file.name, within)
        if file.name.startswith("y_"):
            assert within == 202, file.name


def test_each_parquet_of_the_corpus_is_taken_or_refused(sender: TestClient) -> None:
    """apache/parquet-testing: damaged and unusual files, none of which has columns of this dataset."""
    for file in shared("parquet_robustness", "*.parquet"):
        answer = sender.post("/ingest/pipeline_events", content=file.read_bytes(), headers=PARQUET)
        assert answer.status_code in (413, 422), (file.name, answer.status_code)


@pytest.mark.slow
def test_real_payloads_come_in_and_are_all_accounted_for(sender: TestClient, lake: Lake) -> None:
    sent = []
    for dataset, folder in (("github", "github_events/webhooks"), ("temporal", "temporal_histories")):
        for file in shared(folder, "*.json")[:60]:
            answer = sender.post(f"/ingest/{dataset}", content=file.read_bytes(), headers=JSON)
            assert answer.status_code in (202, 422), (file, answer.text)
            if answer.status_code == 202:
                sent.append(answer.headers["location"])
    assert sent
    bring_in(lake)
    for where in sent:
        found = sender.get(where).json()
        assert found["status"] == "done", found  # what the door takes, landing takes
        assert all(t["taken"] == t["written"] + t["merged"] + t["rejected"] for t in found["tables"])


def test_small_bodies_that_take_much_memory_are_not_read_whole(
    sender: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that Parquet keeps once for many rows, a CSV of columns alone, a line of tiny records."""
    rows: list[int] = []
    monkeypatch.setattr("serving.ingest.checking._read", lambda _, file: rows.append(file.size))
    one = pa.array(["x" * 100_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), one)
    folded = io.BytesIO()
    pq.write_table(pa.table({"pipeline_id": column}), folded, compression="zstd")
    assert (
        sender.post("/ingest/pipeline_events", content=folded.getvalue(), headers=PARQUET).status_code == 202
    )
    few = io.BytesIO()
    pq.write_table(pa.table({"pipeline_id": column.slice(0, 100)}), few, compression="zstd")
    assert sender.post("/ingest/pipeline_events", content=few.getvalue(), headers=PARQUET).status_code == 202
    assert rows[0] != len(folded.getvalue())  # the schema alone
    assert rows[1] == len(few.getvalue())
    monkeypatch.setattr("serving.ingest.checking._MOST_PARTS", 1000)
    for body, headers in (
        (",".join(f"c{n}" for n in range(20_000)).encode() + b"\n", CSV),
        (b"[" + b",".join([b'{"a":1}'] * 1001) + b"]", JSON),
        (lines(event("01")) + b"[" + b",".join([b'{"a":1}'] * 1001) + b"]\n", NDJSON),
        (b"[" + b",".join([b'{"a":1}'] * 1001) + b"]\n" + lines(event("01")), NDJSON),
    ):
        answer = sender.post("/ingest/pipeline_events", content=body, headers=headers)
        assert answer.status_code == 413, answer.text


def test_large_bodies_are_checked_in_pieces(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.ingest.checking.WINDOW", 10_000)
    app = make_app(settings_of(tmp_path))
    events = [event(f"{n % 60:02}", pipeline_id=f"p-{n}") for n in range(2000)]
    frame, parquet = pl.DataFrame(events), io.BytesIO()
    frame.write_parquet(parquet)
    no_shape = lines(*({"other": n} for n in range(1000)))
    with TestClient(app, headers=key(app, "ingest")) as sender:

        def send(body: bytes, headers: dict[str, str]) -> Any:
            return sender.post("/ingest/pipeline_events", content=body, headers=headers)

        assert send(no_shape, NDJSON).status_code == 422
        assert send(no_shape + lines(*events), NDJSON).status_code == 202
        assert send(lines(*events) + b"{", NDJSON).json()["errors"][0]["line"] == 2001
        csv = frame.with_columns(raw_data=pl.lit('a "quoted"\ntext')).write_csv().encode()
        assert send(csv, CSV).status_code == 202
        assert send(csv + b"1,2\n", CSV).status_code == 422
        assert (
            send(
                csv.replace(b"pipeline_id", b"x").replace(b"event_type", b"y").replace(b"raw_data", b"z"), CSV
            ).status_code
            == 422
        )
        assert send(parquet.getvalue(), PARQUET).status_code == 202
        other = io.BytesIO()
        pl.DataFrame({"other": range(100_000)}).write_parquet(other)
        assert send(other.getvalue(), PARQUET).status_code == 422
    bring_in(lake)
    [silver] = [t for t in tables() if t.path == "silver/pipeline_events"]
    assert lake.store.snapshot(silver.contract).rows > 0


def test_lines_of_an_unknown_shape_are_read_no_further_than_landing_reads_them(
    sender: TestClient, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record fewer, and landing would know the file: the limits are landing's own."""
    monkeypatch.setattr("serving.ingest.checking.WINDOW", 1000)
    monkeypatch.setattr("serving.ingest.checking.CHUNK_ROWS", 500)
    monkeypatch.setattr("lakehouse.domains.pipelines.reading.CHUNK_ROWS", 500)
    unknown = [{"other": n} for n in range(2000)]
    known_at_last = lines(*unknown[:499], event("01"))
    endless = lines(*unknown) + b"no json\n"  # which would be told, had it been read
    says = {}
    for body, status in ((known_at_last, 202), (endless, 422), (b"no json\n" + endless, 422)):
        answer = sender.post("/ingest/pipeline_events", content=body, headers=NDJSON)
        assert answer.status_code == status, answer.text
        says[body] = answer.json()
    assert "another shape" in says[endless]["detail"]
    assert "errors" not in says[endless]
    assert says[b"no json\n" + endless]["errors"] == [{"line": 1, "says": "not JSON, from column 1 on"}]
    bring_in(lake)
    (done,) = [sender.get(f"/ingest/{says[known_at_last]['tracking_id']}/status").json()]
    assert (done["status"], done["rows"]) == ("done", 500)


def test_bytes_of_an_unknown_shape_have_a_limit_too(
    sender: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.ingest.checking.WINDOW", 1000)
    monkeypatch.setattr("serving.ingest.checking._MOST_UNKNOWN", 100_000)
    large = lines(*({"other": "x" * 5000} for _ in range(30)))
    answer = sender.post("/ingest/pipeline_events", content=large + b"no json\n", headers=NDJSON)
    assert (answer.status_code, "errors" in answer.json()) == (422, False)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (lines(*(event("01", pipeline_id=f"p-{n}") for n in range(1001))), NDJSON),
        ((json.dumps([event("01")] * 400).encode() + b"\n") * 3, NDJSON),
        (b"\n" * 1000 + lines(event("01")), NDJSON),
        (b"pipeline_id,event_type\n" + b"p,e\n" * 1001, CSV),
    ],
)
def test_many_tiny_records_are_too_many(
    sender: TestClient, body: bytes, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of gzip unfolds to a hundred million of them, which would be checked for minutes."""
    monkeypatch.setattr("serving.ingest.checking.WINDOW", 2000)
    monkeypatch.setattr("serving.ingest.checking.MOST_RECORDS", 1000)
    squeezed = {**headers, "Content-Encoding": "gzip"}
    answer = sender.post("/ingest/pipeline_events", content=gzip.compress(body), headers=squeezed)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "1000 records" in answer.json()["detail"]


def test_no_landing_no_202(tmp_path: Path) -> None:
    app = make_app(settings_of(tmp_path))
    with TestClient(app, headers=key(app, "ingest"), raise_server_exceptions=False) as sender:
        (tmp_path / "landing").rename(tmp_path / "away")
        answer = sender.post("/ingest/pipeline_events", content=lines(event("01")), headers=NDJSON)
        assert answer.status_code == 503
        assert not (tmp_path / "landing").exists()
        (tmp_path / "away").rename(tmp_path / "landing")
        assert (
            sender.post("/ingest/pipeline_events", content=lines(event("01")), headers=NDJSON).status_code
            == 202
        )


def test_the_journal_and_the_numbers_have_no_payload(sender: TestClient, tmp_path: Path) -> None:
    sender.post("/ingest/pipeline_events", content=lines(event("01", pipeline_id="secret")), headers=NDJSON)
    sender.post("/ingest/pipeline_events", content=b"secret", headers=NDJSON)
    [file] = (tmp_path / "api" / "logs").glob("ingests-*.jsonl")
    text = file.read_text()
    assert "secret" not in text
    assert [json.loads(line)["outcome"] for line in text.splitlines()] == ["accepted", "refused"]
    app: Any = sender.app
    numbers = sender.get("/metrics", headers=key(app, "read")).text
    assert 'odp_ingests_total{dataset="pipeline_events",outcome="accepted"} 1.0' in numbers


def test_the_docs_name_bodies_and_answers(sender: TestClient) -> None:
    paths = sender.get("/openapi.json").json()["paths"]
    post = paths["/ingest/{dataset}"]["post"]
    assert {"application/x-ndjson", "application/json", "text/csv"} <= set(post["requestBody"]["content"])
    for media, one in post["requestBody"]["content"].items():
        if "example" in one:  # it is taken as it stands
            example = one["example"]
            body = example.encode() if isinstance(example, str) else json.dumps(example).encode()
            sent = sender.post("/ingest/pipeline_events", content=body, headers={"Content-Type": media})
            assert sent.status_code == 202, (media, sent.text)
    assert {"202", "408", "413", "415", "422", "503"} <= set(post["responses"])
