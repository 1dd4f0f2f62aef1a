"""Delta Sharing as its official client sees it, of a real server; and who may have which files.

Belongs here: the protocol's calls, keys, addresses. Does not: which files make up a
version (the store's tests).
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable
from doors import key, running, settings_of
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lakehouse.contracts import Column, Contract, DecimalType, ListType, Materialization, Type
from lakehouse.pipeline import open_lake
from lakehouse.registry import contracts
from lakehouse.settings import Settings
from lakehouse.store import DataFile, MaintenanceOptions
from serving.app import make_app
from serving.keys import Keys
from serving.settings import ServingSettings
from serving.sharing.actions import schema_string
from serving.sharing.hints import needed
from serving.sharing.profile import main, profile
from serving.sharing.urls import SECONDS, Links

delta_sharing = pytest.importorskip("delta_sharing", reason="uv sync --group readers brings the client")

pytestmark = pytest.mark.readers

GOLD = [t for t in contracts() if t.layer == "gold"]
OPEN = [t for t in contracts() if not any(c.pii for c in t.columns)]
ROOT = "/delta-sharing/shares/odp"


# --- A real server and the official client ---


@pytest.fixture(scope="module")
def server(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A server of the sample in a process of its own; yields its state and a profile for everything."""
    with running(sample, state=tmp_path_factory.mktemp("state")) as made:
        path = made.state / "all.share"
        held = Keys(made.state / "keys.json")
        path.write_text(profile(held, "t", endpoint=f"{made.url}/delta-sharing/", pii=True))
        yield made.state, path


def plain(value: Any) -> Any:
    """Return a value of Pandas, Arrow or Polars as Python's own, so that equal values are equal."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple) or (type(value).__module__ == "numpy" and getattr(value, "ndim", 0)):
        return [plain(one) for one in value]
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.item() if type(value).__module__ == "numpy" else value


def rows_of(frame: pd.DataFrame | pl.DataFrame) -> list[str]:
    """Return rows as texts to compare, in an order of their own. Times are told by their instant."""
    dicts = frame.to_dicts() if isinstance(frame, pl.DataFrame) else frame.to_dict("records")
    return sorted(repr({name: _told(plain(value)) for name, value in row.items()}) for row in dicts)


def _told(value: Any) -> Any:
    if isinstance(value, list):
        return [_told(one) for one in value]
    if isinstance(value, dict):
        return {name: _told(one) for name, one in value.items()}
    if hasattr(value, "astimezone") and value.tzinfo is not None:
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < 2**53 else value  # Pandas has whole numbers with nulls as floats
    return value


@pytest.mark.parametrize("table", GOLD, ids=lambda t: t.name)
@pytest.mark.parametrize("delta", [False, True], ids=["parquet", "delta"])
def test_the_official_client_reads_every_gold_table(
    server: tuple[Path, Path], sample: Path, table: Contract, delta: bool
) -> None:
    lake = open_lake(Settings(lake_url=str(sample / "lake"), landing_url=str(sample / "landing")))
    url = f"{server[1]}#odp.gold.{table.name}"
    versions = {entry.version for entry in lake.store.history(table)}
    for version in [None, *sorted(versions)]:
        got = delta_sharing.load_as_pandas(url, version=version, use_delta_format=delta)
        wanted = lake.store.scan(table, version=version).collect()
        assert list(got.columns) == wanted.columns
        assert rows_of(got) == rows_of(wanted)
    few = delta_sharing.load_as_pandas(url, limit=2, use_delta_format=delta)
    every = rows_of(lake.store.scan(table).collect())
    assert len(few) == min(2, len(every))
    assert set(rows_of(few)) <= set(every)


def test_the_official_client_lists_what_a_key_may_have(server: tuple[Path, Path]) -> None:
    client = delta_sharing.SharingClient(str(server[1]))
    assert [one.name for one in client.list_shares()] == ["odp"]
    schemas = client.list_schemas(client.list_shares()[0])
    assert [one.name for one in schemas] == ["bronze", "gold", "silver"]
    assert sorted(f"{t.schema}/{t.name}" for t in client.list_all_tables()) == sorted(
        t.path for t in contracts()
    )
    narrow = json.loads(server[1].read_text())
    keys = Keys(server[0] / "keys.json")
    narrow["bearerToken"] = keys.make("narrow", ["share"])
    path = server[0] / "narrow.share"
    path.write_text(json.dumps(narrow))
    seen = delta_sharing.SharingClient(str(path)).list_all_tables()
    assert sorted(f"{t.schema}/{t.name}" for t in seen) == sorted(t.path for t in OPEN)
    assert delta_sharing.get_table_version(f"{path}#odp.gold.pipeline_metrics") >= 0


# --- One process ---


@pytest.fixture
def shared(app: FastAPI) -> Iterator[TestClient]:
    """A client with a key of the scope `share` alone."""
    with TestClient(app, headers=key(app, "share"), raise_server_exceptions=False) as made:
        yield made


def lines(
    client: TestClient, table: str, body: dict[str, Any] | None = None, **headers: str
) -> list[dict[str, Any]]:
    layer, name = table.split("/")
    answer = client.post(f"{ROOT}/schemas/{layer}/tables/{name}/query", json=body or {}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    return [json.loads(line) for line in answer.text.splitlines()]


def fetched(client: TestClient, url: str, **headers: str) -> Any:
    parts = urlsplit(url)
    return client.get(f"{parts.path}?{parts.query}", headers=headers)


def test_errors_are_those_of_the_protocol(app: FastAPI, shared: TestClient) -> None:
    table = f"{ROOT}/schemas/gold/tables/pipeline_metrics"
    asked = [
        ("GET", "/delta-sharing/shares/other", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", f"{ROOT}/schemas/quarantine/tables", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", f"{ROOT}/schemas/system/tables", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", f"{ROOT}/schemas/gold/tables/none/version", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", f"{ROOT}/schemas/gold/tables/user_profiles/metadata", None, 403, "PERMISSION_DENIED"),
        ("POST", f"{ROOT}/schemas/gold/tables/user_profiles/query", "{}", 403, "PERMISSION_DENIED"),
        ("GET", f"{table}/changes?startingVersion=0", None, 400, "UNSUPPORTED_OPERATION"),
        ("POST", f"{table}/query", '{"startingVersion": 0}', 400, "UNSUPPORTED_OPERATION"),
        ("POST", f"{table}/query", "{", 400, "MALFORMED_REQUEST"),
        ("POST", f"{table}/query", "[]", 400, "MALFORMED_REQUEST"),
        ("POST", f"{table}/query", "[" * 100_000, 400, "MALFORMED_REQUEST"),
        ("POST", f"{table}/query", " " * (1 << 21), 413, "MALFORMED_REQUEST"),
        ("POST", f"{table}/query", '{"version": 9223372036854775807}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"version": 99999999999999999999999}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"version": true}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"version": 0, "timestamp": "2026"}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"timestamp": "1990-01-01T00:00:00Z"}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"timestamp": "0001-01-01T00+14:00"}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"timestamp": 5}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"limitHint": -1}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"predicateHints": "a = 1"}', 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"{table}/query", '{"jsonPredicateHints": {}}', 400, "INVALID_PARAMETER_VALUE"),
        ("GET", f"{table}/version?startingTimestamp=soon", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", f"{table}/version?startingTimestamp=2999-01-01", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "/delta-sharing/shares?maxResults=-1", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "/delta-sharing/shares?maxResults=2147483648", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "/delta-sharing/shares?pageToken=%F0%9F%98%80", None, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "/delta-sharing/nothing/here", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("DELETE", "/delta-sharing/shares", None, 405, "UNSUPPORTED_OPERATION"),
        ("GET", f"{table}/query", None, 405, "UNSUPPORTED_OPERATION"),
        ("GET", "/delta-sharing/files/x?sig=y", None, 403, "PERMISSION_DENIED"),
        ("GET", "/delta-sharing/files/x", None, 400, "INVALID_PARAMETER_VALUE"),
    ]  # fmt: skip
    for method, path, body, status, code in asked:
        answer = shared.request(method, path, content=body)
        assert (answer.status_code, answer.json()["errorCode"]) == (status, code), (method, path, body)
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"errorCode", "message"}
    for headers, status in (({}, 401), ({"Authorization": "Bearer odp_x_y"}, 401), (key(app, "read"), 403)):
        with TestClient(app, headers=headers) as other:
            for path in ("/delta-sharing/shares", f"{ROOT}/all-tables", f"{table}/metadata"):
                assert other.get(path).status_code == status
            answer = other.post(f"{table}/query", content="{")
            assert (answer.status_code, "errorCode" in answer.json()) == (status, True)


def test_names_are_case_insensitive_and_versions_come_by_get_and_head(shared: TestClient) -> None:
    upper = shared.get("/delta-sharing/shares/ODP/schemas/Gold/tables/PIPELINE_metrics/version")
    lower = shared.get(f"{ROOT}/schemas/gold/tables/pipeline_metrics/version")
    head = shared.head(f"{ROOT}/schemas/gold/tables/pipeline_metrics")
    assert upper.status_code == lower.status_code == head.status_code == 200
    assert upper.headers["delta-table-version"] == lower.headers["delta-table-version"]
    assert head.headers["delta-table-version"] == lower.headers["delta-table-version"]
    assert lower.content == b""
    first = shared.get(lower.url.path, params={"startingTimestamp": "1990-01-01T00:00:00Z"})
    assert first.headers["delta-table-version"] == "0"


def test_pages_hold_each_table_once(shared: TestClient) -> None:
    found, token = [], ""
    while True:
        page = shared.get(
            f"{ROOT}/all-tables", params={"maxResults": 3, **({"pageToken": token} if token else {})}
        ).json()
        found += [f"{item['schema']}/{item['name']}" for item in page["items"]]
        assert len(page["items"]) <= 3
        if not (token := page.get("nextPageToken", "")):
            break
    assert found == sorted(t.path for t in OPEN)
    none = shared.get(f"{ROOT}/all-tables", params={"maxResults": 0}).json()
    again = shared.get(f"{ROOT}/all-tables", params={"pageToken": none["nextPageToken"]}).json()
    assert (none["items"], len(again["items"])) == ([], len(OPEN))
    wrong = shared.get(f"{ROOT}/schemas", params={"pageToken": none["nextPageToken"]})
    assert wrong.status_code == 400


def test_the_schema_is_what_delta_itself_says(sample: Path) -> None:
    for table in contracts():
        stored = json.loads(DeltaTable(str(sample / "lake" / table.path)).schema().to_json())
        assert json.loads(schema_string(table, table.column_names)) == stored, table.path


@pytest.mark.parametrize(
    ("header", "form"),
    [("", "parquet"), ("responseformat=delta", "delta"), ("responseFormat=DELTA;readerfeatures=x", "delta"),
     ("responseformat=delta,parquet;x", "parquet"), ("readerfeatures=a", "parquet"), (";=;==", "parquet")],
)  # fmt: skip
def test_the_format_is_the_one_asked_for(shared: TestClient, header: str, form: str) -> None:
    answer = shared.get(
        f"{ROOT}/schemas/gold/tables/pipeline_metrics/metadata",
        headers={"delta-sharing-capabilities": header},
    )
    assert answer.headers["delta-sharing-capabilities"] == f"responseformat={form}"
    assert ("deltaProtocol" in json.loads(answer.text.splitlines()[0])["protocol"]) == (form == "delta")
    unknown = shared.get(answer.url.path, headers={"delta-sharing-capabilities": "responseformat=orc"})
    assert unknown.status_code == 400


# --- Files ---


def test_a_file_comes_whole_and_in_ranges_without_a_header(app: FastAPI, shared: TestClient) -> None:
    file = lines(shared, "gold/pipeline_metrics")[2]["file"]
    with TestClient(app) as nobody:
        whole = fetched(nobody, file["url"])
        assert (whole.status_code, len(whole.content)) == (200, file["size"])
        assert pl.read_parquet(io.BytesIO(whole.content)).height == json.loads(file["stats"])["numRecords"]
        part = fetched(nobody, file["url"], Range="bytes=-8")
        assert (part.status_code, part.content) == (206, whole.content[-8:])
        assert fetched(nobody, file["url"], Range=f"bytes={file['size']}-").status_code == 416


def test_an_address_cannot_be_made_changed_or_kept(app: FastAPI, shared: TestClient, sample: Path) -> None:
    url = lines(shared, "gold/pipeline_metrics")[2]["file"]["url"]
    path, _, signature = urlsplit(url)._replace(scheme="", netloc="").geturl().partition("?sp=r&sig=")
    links: Links = app.state.links
    with TestClient(app, raise_server_exceptions=False) as nobody:
        for changed in (
            path[:-1] + ("A" if path[-1] != "A" else "B"),
            path + "x",
            "/delta-sharing/files/%2e%2e%2fx",
        ):
            assert nobody.get(f"{changed}?sig={signature}").status_code in (403, 404)
        for wrong in ("", "é", signature[:-1], signature + "A", "A" * 200):
            assert nobody.get(path, params={"sig": wrong}).status_code == 403
        pii = next(t for t in contracts() if t.name == "user_profiles")
        caller = json.loads((app.state.gate.keys.path).read_text())[0]["id"]
        forbidden = links.link(pii, app.state.reader.lake.store.file_names(pii)[0], caller).url
        assert fetched(nobody, forbidden).status_code == 403  # its key has not got the scope pii
        outside = links.link(contracts()[0], "../../../secret", caller).url
        assert fetched(nobody, outside).status_code in (403, 410)
        gone = links.link(OPEN[0], "part-gone.parquet", caller).url
        assert (fetched(nobody, gone).status_code, fetched(nobody, gone).json()["errorCode"]) == (
            410, "RESOURCE_DOES_NOT_EXIST",
        )  # fmt: skip
        assert nobody.get(f"{path}?sig={signature}").status_code == 200
        app.state.gate.keys.revoke(caller)
        assert nobody.get(f"{path}?sig={signature}").status_code == 401


def test_an_address_ends(sample: Path, tmp_path: Path) -> None:
    now = [1_000_000.0]
    settings = settings_of(sample, state=tmp_path)
    links = Links(settings, open_lake(settings.lake).store, clock=lambda: now[0])
    link = links.link(OPEN[0], "x", "k")
    statement, _, signature = link.url.rsplit("/", 1)[1].partition("?sp=r&sig=")
    assert link.expires_ms == (1_000_000 + SECONDS) * 1000
    now[0] += SECONDS - 1
    assert links.opened(statement, signature).name == "x"
    now[0] += 1
    with pytest.raises(Exception, match="has ended"):
        links.opened(statement, signature)
    assert (tmp_path / "sharing.key").stat().st_mode & 0o777 == 0o600
    again = Links(settings, open_lake(settings.lake).store, clock=lambda: now[0])
    assert again.link(OPEN[0], "x", "k").url == links.link(OPEN[0], "x", "k").url  # after a restart


def test_of_two_servers_that_begin_at_once_one_makes_the_secret(sample: Path, tmp_path: Path) -> None:
    settings = settings_of(sample, state=tmp_path)
    store = open_lake(settings.lake).store
    with ThreadPoolExecutor(8) as pool:
        made = [Links(settings, store, clock=lambda: 0.0) for _ in range(8)]
        urls = list(pool.map(lambda links: links.link(OPEN[0], "x", "k").url, made))
    assert len(set(urls)) == 1
    assert [one.name for one in tmp_path.iterdir() if "sharing.key" in one.name] == ["sharing.key"]


def test_a_presigned_address_has_the_signature_of_aws(tmp_path: Path) -> None:
    """Recomputed as AWS documents Signature Version 4 for query parameters."""
    lake = Settings(
        lake_url="s3://", landing_url="s3://landing", s3_endpoint="http://inside:9000",
        s3_access_key="lake", s3_secret_key="lake-secret",
    )  # fmt: skip
    settings = ServingSettings(
        lake=lake, state=tmp_path, s3_public_endpoint="https://s3.example.org:9443",
        s3_access_key="serving", s3_secret_key="serving-secret",
    )  # fmt: skip
    name = "day=a%20b%2Fü/part-0 1.parquet"
    link = Links(settings, open_lake(lake).store).link(OPEN[0], name, "k")
    parts = urlsplit(link.url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    assert (parts.scheme, parts.netloc, query["X-Amz-Expires"]) == ("https", "s3.example.org:9443", "900")
    assert parts.path == quote(f"/{OPEN[0].path}/{name}")
    signature = query.pop("X-Amz-Signature")
    day = query["X-Amz-Date"][:8]
    assert query["X-Amz-Credential"] == f"serving/{day}/us-east-1/s3/aws4_request"
    canonical = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items()))
    request = f"GET\n{parts.path}\n{canonical}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", query["X-Amz-Date"], f"{day}/us-east-1/s3/aws4_request",
         hashlib.sha256(request.encode()).hexdigest()]
    )  # fmt: skip
    made = b"AWS4serving-secret"
    for step in (day, "us-east-1", "s3", "aws4_request", to_sign):
        made = hmac.new(made, step.encode(), hashlib.sha256).digest()
    assert signature == made.hex()


def test_on_aws_an_address_has_the_bucket_of_the_prefix_in_its_host(tmp_path: Path) -> None:
    lake = Settings(
        lake_url="s3://", landing_url="s3://acme-landing", s3_region="eu-central-1", s3_bucket_prefix="acme-",
        s3_access_key="lake", s3_secret_key="lake-secret",
    )  # fmt: skip
    link = Links(ServingSettings(lake=lake, state=tmp_path), open_lake(lake).store).link(OPEN[0], "f", "k")
    layer, folder = OPEN[0].path.split("/")
    assert link.url.split("?")[0] == f"https://acme-{layer}.s3.eu-central-1.amazonaws.com/{folder}/f"


def test_a_version_outlives_merges_and_not_maintenance(place: Path) -> None:
    app = make_app(settings_of(place))
    table = next(t for t in GOLD if t.name == "pipeline_metrics")
    store = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing"))).store
    with TestClient(app, headers=key(app, "share")) as client:
        before = lines(client, table.path)
        store.overwrite(table, store.scan(table).collect().head(0))
        after = lines(client, table.path)
        assert len(after) == 2  # no rows, no files
        version = store.snapshot(table).version
        old = lines(client, table.path, {"version": version - 1})
        assert [line["file"]["id"] for line in old[2:]] == [line["file"]["id"] for line in before[2:]]
        assert old[1]["metaData"]["version"] == version - 1
        assert fetched(client, old[2]["file"]["url"]).status_code == 200
        store.maintain(table, MaintenanceOptions(retain=timedelta(0)))
        assert fetched(client, old[2]["file"]["url"]).status_code == 410


# --- Hints ---


PARTS = Contract(
    layer="gold", name="parts", domain="test", description="One.", partition_by=("s", "n", "d", "b"),
    columns=(
        Column(name="s", type=Type.STRING, description="s"),
        Column(name="n", type=Type.INT64, description="n"),
        Column(name="d", type=Type.DATE, description="d"), Column(name="b", type=Type.BOOL, description="b"),
        Column(name="x", type=DecimalType(precision=5, scale=2), description="x"),
        Column(name="y", type=ListType(element=Type.INT32), description="y"),
    ),
    materialization=Materialization.FULL,
)  # fmt: skip
FILES = [
    DataFile(name="1", size_bytes=1, rows=10, partition={"s": "a", "n": "9", "d": "2024-01-31", "b": "true"}),
    DataFile(
        name="2", size_bytes=1, rows=10, partition={"s": "b", "n": "10", "d": "2024-02-01", "b": "false"}
    ),
    DataFile(name="3", size_bytes=1, rows=None, partition={"s": None, "n": None, "d": None, "b": None}),
]


def col(name: str, kind: str) -> dict[str, str]:
    return {"op": "column", "name": name, "valueType": kind}


def lit(value: str, kind: str) -> dict[str, str]:
    return {"op": "literal", "value": value, "valueType": kind}


@pytest.mark.parametrize(
    ("predicate", "left"),
    [
        ("s = 'a'", "13"), ("'a' = s", "13"), ("s <> 'a'", "23"), ("n > 9", "23"), ("9 < n", "23"),
        ("n>=10", "23"), ("n < 10", "13"), ("d <= '2024-01-31'", "13"), ("b = true", "13"),
        ("s IS NULL", "3"), ("s is not null", "12"), ("n = '9'", "123"), ("s = 9", "123"), ("x = 1", "123"),
        ("nothing = 1", "123"), ("s = 'it''s'", "123"), ("s = 'a' OR 1 = 1", "123"), ("", "123"),
        ("'; DROP TABLE x", "123"), ("d = 'soon'", "123"), ("`n` = 9", "13"),
    ],
)  # fmt: skip
def test_an_sql_hint_leaves_out_only_files_without_a_wanted_row(predicate: str, left: str) -> None:
    assert "".join(f.name for f in needed(PARTS, FILES, predicates=[predicate])) == left


@pytest.mark.parametrize(
    ("tree", "left"),
    [
        ({"op": "equal", "children": [col("s", "string"), lit("a", "string")]}, "13"),
        ({"op": "lessThan", "children": [col("n", "int"), lit("10", "int")]}, "13"),
        ({"op": "lessThan", "children": [col("n", "string"), lit("10", "string")]}, "3"),  # as texts
        ({"op": "not", "children": [{"op": "isNull", "children": [col("n", "int")]}]}, "12"),
        ({"op": "and", "children": [{"op": "isNull", "children": [col("n", "int")]}, {"op": "what"}]}, "3"),
        ({"op": "or", "children": [{"op": "isNull", "children": [col("n", "int")]}, {"op": "what"}]}, "123"),
        ({"op": "or", "children": []}, "123"),
        ({"op": "equal", "children": [col("x", "int"), lit("1", "int")]}, "123"),
        ({"op": "equal", "children": [col("n", "int"), lit("9" * 5000, "int")]}, "123"),
        ([1], "123"), ("x", "123"), (None, "123"), ({"op": {}, "children": 5}, "123"),
    ],
)  # fmt: skip
def test_a_json_hint_leaves_out_only_files_without_a_wanted_row(tree: Any, left: str) -> None:
    assert "".join(f.name for f in needed(PARTS, FILES, json_predicate=json.dumps(tree))) == left


def test_a_hint_too_deep_or_no_json_keeps_every_file() -> None:
    deep: dict[str, Any] = {"op": "equal", "children": [col("s", "string"), lit("a", "string")]}
    for _ in range(200):
        deep = {"op": "and", "children": [deep, deep]} if _ < 2 else {"op": "not", "children": [deep]}
    for text in (json.dumps(deep), "{", "[" * 100_000):
        assert len(needed(PARTS, FILES, json_predicate=text)) == 3


@pytest.mark.parametrize(
    ("limit", "left"), [(0, ""), (1, "1"), (10, "1"), (11, "12"), (21, "123"), (2**31 - 1, "123")]
)
def test_a_limit_leaves_enough_rows(limit: int, left: str) -> None:
    assert "".join(f.name for f in needed(PARTS, FILES, limit=limit)) == left


# --- The profile ---


def test_a_profile_holds_a_key_that_works_until_it_ends(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("API_STATE", tmp_path), ("LAKE_URL", sample / "lake"), ("LANDING_URL", sample / "l"),
                        ("API_PUBLIC_URL", "https://lake.example.org/")):  # fmt: skip
        monkeypatch.setenv(name, str(value))
    assert main(["--name", "BI", "--days", "7"]) == 0
    made = json.loads(capsys.readouterr().out)
    found = Keys(tmp_path / "keys.json").find(made["bearerToken"])
    assert found is not None
    assert (made["shareCredentialsVersion"], made["endpoint"]) == (
        1,
        "https://lake.example.org/delta-sharing/",
    )
    assert (found.scopes, made["expirationTime"]) == (
        ("share",),
        str(found.expires_at).replace("+00:00", "Z"),
    )
    assert main(["--pii"]) == 0
    assert "expirationTime" not in (second := json.loads(capsys.readouterr().out))
    assert Keys(tmp_path / "keys.json").find(second["bearerToken"]).scopes == ("share", "pii")  # type: ignore[union-attr]
    for days in ("0", "-1", "9999999", "x"):
        with pytest.raises(SystemExit):
            main(["--days", days])
