"""Rows over HTTP: what comes is what the store holds; what a caller may not see, he does not."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from doors import key, settings_of
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.contracts import Contract, DecimalType, ListType, Materialization, Type
from lakehouse.contracts.model import Column
from lakehouse.pipeline import Lake, open_lake
from lakehouse.registry import contracts
from lakehouse.settings import Settings
from lakehouse.store import MaintenanceOptions
from serving.app import make_app
from serving.problems import Problem
from serving.rows import filters, formats

GOLD = "gold/pipeline_metrics"
PERSONAL = [t for t in contracts() if any(c.pii for c in t.columns)]
STREAMED = ("ndjson", "csv", "arrow", "parquet")

ODD = Contract(
    layer="gold",
    name="odd",
    domain="test",
    description="One row of values at the edge of their types.",
    columns=(
        Column(name="id", type=Type.INT64, nullable=False, description="Key"),
        Column(name="text", type=Type.STRING, description="Any text"),
        Column(name="number", type=Type.FLOAT64, description="Any float"),
        Column(name="money", type=DecimalType(38, 4), description="Exact"),
        Column(name="at", type=Type.TIMESTAMP, description="A time"),
        Column(name="day", type=Type.DATE, description="A date"),
        Column(name="raw", type=Type.BINARY, description="Bytes"),
        Column(name="flag", type=Type.BOOL, description="A flag"),
        Column(name="many", type=ListType(Type.STRING), description="Texts"),
        Column(name="secret", type=Type.STRING, pii=True, description="Personal"),
    ),
    key=("id",),
    materialization=Materialization.FULL,
)
TEXTS = ["", 'a,b\n"c"', "null", "=1+1", "‮𝔘\u0000", None, " ", "'; DROP TABLE x; --"]
ROWS: list[dict[str, Any]] = [
    {
        "id": number - 2**63 if number < 2 else number,
        "text": TEXTS[number % len(TEXTS)],
        "number": [0.1, float("nan"), float("inf"), -0.0, None, 1e308][number % 6],
        "money": [Decimal("99999999999999999999999999999999.9999"), Decimal("-0.0001"), None][number % 3],
        "at": [datetime(2026, 1, 15, 12, 0, 0, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), None][
            number % 3
        ],
        "day": [date(9999, 12, 31), date(1970, 1, 1), None][number % 3],
        "raw": [b"\x00\xff", b"", None][number % 3],
        "flag": [True, False, None][number % 3],
        "many": [["a", None, '"b"'], [], None][number % 3],
        "secret": "Ada Lovelace",
    }
    for number in range(24)
]


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[tuple[TestClient, Lake]]:
    """A door onto a lake with the table of odd values, for a key of the scope `read`."""
    lake = open_lake(Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing")))
    lake.store.ensure(ODD)
    lake.store.overwrite(ODD, pl.DataFrame(ROWS, schema=ODD.polars_schema()))
    app = make_app(settings_of(tmp_path))
    app.state.reader.declared[ODD.path] = ODD
    with TestClient(app, headers=key(app, "read"), raise_server_exceptions=False) as client:
        yield client, lake


def again(lake: Lake) -> TestClient:
    """Return a client of a door that has read nothing yet."""
    place = Path(lake.store.uri(ODD)).parents[2]
    app = make_app(settings_of(place, state=place / "again"))
    app.state.reader.declared[ODD.path] = ODD
    return TestClient(app, headers=key(app, "read"), raise_server_exceptions=False)


def stored(app: FastAPI, table: str) -> pl.DataFrame:
    contract = app.state.reader.declared[table]
    frame: pl.DataFrame = app.state.reader.lake.store.scan(contract).collect()
    return frame


def test_every_table_is_there_and_as_the_store_has_it(app: FastAPI, client: TestClient) -> None:
    cards = client.get("/catalog").json()["tables"]
    assert [card["table"] for card in cards] == [t.path for t in contracts()]
    for card in cards:
        assert card["state"] == "ok", card
        frame = stored(app, card["table"])
        assert card["rows"] == frame.height
        shown = client.get(f"/data/{card['table']}?format=arrow")
        assert shown.status_code == 200, shown.text
        got = pl.read_ipc_stream(io.BytesIO(shown.content))
        contract = app.state.reader.declared[card["table"]]
        open_columns = [c.name for c in contract.columns if not c.pii]
        assert got.columns == open_columns
        assert got.equals(frame.select(open_columns).cast(dict(got.schema)))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", STREAMED)
def test_a_format_tells_every_value(odd: tuple[TestClient, Lake], form: str) -> None:
    client, _ = odd
    answer = client.get(f"/data/{ODD}", params={"format": form, "order": "id"})
    assert answer.status_code == 200, answer.text
    wanted = pl.DataFrame(ROWS, schema=ODD.polars_schema()).drop("secret").sort("id")
    if form == "ndjson":
        found = [orjson.loads(line) for line in answer.content.splitlines()]
        assert [row["id"] for row in found] == wanted["id"].to_list()
        assert found[0]["money"] == "99999999999999999999999999999999.9999"
        assert found[0]["at"] == "2026-01-15T12:00:00.000001Z"
        assert [row["number"] for row in found[:3]] == [0.1, "NaN", "inf"]
        assert found[0]["many"] == ["a", None, '"b"']
        assert found[0]["raw"] == "AP8="
        assert [row["text"] for row in found] == wanted["text"].to_list()
    elif form == "csv":
        found_csv = pl.read_csv(io.BytesIO(answer.content), infer_schema=False)
        assert found_csv["id"].to_list() == [str(i) for i in wanted["id"]]
        assert found_csv.columns == wanted.columns
    else:
        read = pl.read_ipc_stream if form == "arrow" else pl.read_parquet
        got = read(io.BytesIO(answer.content))
        assert got.equals(wanted.cast(dict(got.schema)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accept", "media"),
    [  # RFC 9110, 12.5.1: the narrowest range that a type is in has its weight; 0 is not acceptable
        (["application/json;q=0, */*"], "application/x-ndjson"),
        (["application/json;q=0.1, application/*;q=0.2"], "application/x-ndjson"),
        (["*/*, application/json;q=0.5, text/csv"], "application/x-ndjson"),
        (["text/csv;q=0, text/*"], None),
        (["*/*;q=0, text/csv;q=0.1"], "text/csv"),
        (["*/*;q=0"], None),
        (["text/csv;q=0.1", "application/json"], "application/json"),  # two headers are one list
        (["text/html", "text/csv"], "text/csv"),
        (["text/csv;q=0.5, application/json;q=inf"], "text/csv"),
        (["application/json;q=nan"], None),
        (["application/json;q=2"], None),
        (["TEXT/CSV ; header=present ; Q=0.5"], "text/csv"),
        ([""], "application/json"),
        ([], "application/json"),
        ([",;q=1,"], None),
    ],
)
def test_the_weight_of_a_format_is_that_of_its_narrowest_range(
    client: TestClient, accept: list[str], media: str | None
) -> None:
    del client.headers["accept"]
    answer = client.get(f"/data/{GOLD}", headers=[("Accept", text) for text in accept])
    assert answer.status_code == (406 if media is None else 200)
    if media is not None:
        assert answer.headers["content-type"].partition(";")[0] == media


def test_a_tag_is_of_one_format_and_of_what_a_key_may_see(odd: tuple[TestClient, Lake]) -> None:
    """A cache finds the answer that 304 stands for by its tag."""
    client, _ = odd
    all_of_it = key(client.app, "read", "pii")  # type: ignore[arg-type]
    asked = [(form, who) for form in ("json", *STREAMED) for who in ({}, all_of_it)]
    tags = [client.get(f"/data/{ODD}?format={form}", headers=who).headers["etag"] for form, who in asked]
    assert len(set(tags)) == len(tags)
    for tag, (form, who) in zip(tags, asked, strict=True):
        for other, status in (
            (tag, 304),
            (tags[0], 304 if tag == tags[0] else 200),
            ("W/*", 200),
            ('"*"', 200),
        ):
            again = client.get(f"/data/{ODD}?format={form}", headers={**who, "If-None-Match": other})
            assert again.status_code == status
    several = [("If-None-Match", '"x"'), ("If-None-Match", f'"y", {tags[0].removeprefix("W/")}')]
    assert client.get(f"/data/{ODD}", headers=several).status_code == 304


def test_if_match_never_matches_a_weak_tag(odd: tuple[TestClient, Lake]) -> None:
    """RFC 9110, 13.1.1: it compares strongly, and comes before If-None-Match (13.2.2)."""
    client, _ = odd
    tag = client.get(f"/data/{ODD}").headers["etag"]
    for sent in (tag, tag.removeprefix("W/"), '"x"', '"x", "y"', ""):
        for more in ({}, {"If-None-Match": tag}):
            said = client.get(f"/data/{ODD}", headers={"If-Match": sent, **more})
            assert (said.status_code, said.json()["title"]) == (412, "Precondition failed")
            assert (said.headers["etag"], "version" in said.json()["detail"]) == (tag, True)
        assert client.head(f"/data/{ODD}", headers={"If-Match": sent}).status_code == 412
    assert client.get(f"/data/{ODD}", headers={"If-Match": "*"}).status_code == 200
    assert client.get(f"/data/{ODD}", headers={"If-Match": "*", "If-None-Match": tag}).status_code == 304
    assert client.get("/data/gold/nosuch", headers={"If-Match": '"x"'}).status_code == 404


@pytest.mark.parametrize("suffix", ["", ".ne", ".lt", ".gte", ".in"])
def test_a_time_finer_than_the_column_is_refused_and_not_cut(
    odd: tuple[TestClient, Lake], suffix: str
) -> None:
    """Cut to microseconds, it would equal the time of a row that it is not; decimals are refused likewise."""
    client, _ = odd
    finer, same = "2026-01-15T12:00:00.0000011Z", "2026-01-15T12:00:00.000001000Z"
    assert client.get(f"/data/{ODD}?at{suffix}={finer}").status_code == 422
    kept = client.get(f"/data/{ODD}?limit=100&columns=at&at{suffix}={same}").json()["rows"]
    exact = client.get(f"/data/{ODD}?limit=100&columns=at&at{suffix}={same.replace('000Z', 'Z')}")
    assert kept == exact.json()["rows"]


def test_a_cursor_of_a_version_that_is_gone_is_gone(odd: tuple[TestClient, Lake], tmp_path: Path) -> None:
    """As where an older copy of the lake was put back."""
    client, lake = odd
    folder = Path(lake.store.uri(ODD))
    shutil.copytree(folder, tmp_path / "copy")
    lake.store.overwrite(ODD, pl.DataFrame(ROWS, schema=ODD.polars_schema()))
    page = client.get(f"/data/{ODD}?limit=5").json()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    with again(lake) as other:
        gone = other.get(f"/data/{ODD}?limit=5&cursor={page['next']}")
        assert (gone.status_code, gone.headers["content-type"]) == (410, "application/problem+json")
        assert other.get(f"/data/{ODD}?version={page['version']}").status_code == 422


def test_accept_chooses_the_format(client: TestClient) -> None:
    for accept, media in {
        "text/csv": "text/csv",
        "application/vnd.apache.arrow.stream": "application/vnd.apache.arrow.stream",
        "text/html, application/json;q=0.8, */*;q=0.1": "application/json",
        "application/x-ndjson;q=0.5, text/csv;q=0.4": "application/x-ndjson",
    }.items():
        answer = client.get(f"/data/{GOLD}", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(media), accept
    assert client.get(f"/data/{GOLD}", headers={"Accept": "image/png"}).status_code == 406
    assert client.get(f"/data/{GOLD}?format=xml").status_code == 422


CASES = {
    "text=": lambda r: r["text"] == "",
    "text.null=true": lambda r: r["text"] is None,
    "text.null=false": lambda r: r["text"] is not None,
    "text.ne=null": lambda r: r["text"] not in (None, "null"),
    "text=%3D1%2B1": lambda r: r["text"] == "=1+1",
    "text='; DROP TABLE x; --": lambda r: r["text"] == "'; DROP TABLE x; --",
    "id=-9223372036854775808": lambda r: r["id"] == -(2**63),
    "id.in=2,3,99": lambda r: r["id"] in (2, 3),
    "id.gt=9223372036854775807": lambda _: False,
    "number.gte=1e308": lambda r: r["number"] is not None and r["number"] >= 1e308,
    "number=0": lambda r: r["number"] == 0,
    "number.ne=0.1": lambda r: r["number"] is not None and r["number"] == r["number"] and r["number"] != 0.1,
    "money=-0.0001": lambda r: r["money"] == Decimal("-0.0001"),
    "money.gt=0": lambda r: r["money"] is not None and r["money"] > 0,
    "at=2026-01-15T13:00:00.000001+01:00": lambda r: (
        r["at"] == datetime(2026, 1, 15, 12, 0, 0, 1, tzinfo=UTC)
    ),
    "at.lt=0001-01-01T00:00:00Z": lambda _: False,
    "day.lte=1970-01-01": lambda r: r["day"] == date(1970, 1, 1),
    "raw=AP8=": lambda r: r["raw"] == b"\x00\xff",
    "flag=false": lambda r: r["flag"] is False,
    "flag=true&number.null=true": lambda r: r["flag"] is True and r["number"] is None,
}


@pytest.mark.parametrize("query", CASES)
def test_a_filter_keeps_the_rows_that_python_keeps(odd: tuple[TestClient, Lake], query: str) -> None:
    client, _ = odd
    answer = client.get(f"/data/{ODD}?{query}&columns=id&limit=1000")
    assert answer.status_code == 200, answer.text
    assert {row["id"] for row in answer.json()["rows"]} == {r["id"] for r in ROWS if CASES[query](r)}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("nope=1", 422),
        ("id=abc", 422),
        ("id=1e3", 422),
        ("id=99999999999999999999", 422),
        ("id=١", 422),
        ("number=nan", 422),
        ("money=1.00001", 422),
        ("money=1e999", 422),
        ("at=2026-01-15T12:00:00", 422),
        ("day=2026-02-30", 422),
        ("raw=%%%", 422),
        ("flag=yes", 422),
        ("many=a", 422),
        ("many.null=true", 422),
        ("text.like=a", 422),
        ("text.null=maybe", 422),
        ("columns=", 422),
        ("columns=id,nope", 422),
        ("order=many", 422),
        ("limit=-1", 422),
        ("limit=10001", 422),
        ("version=99", 422),
        ("version=-1", 422),
        ("version=99999999999999999999", 422),
        ("as_of=yesterday", 422),
        ("as_of=0001-01-01T00:00:00%2B14:00", 422),
        ("version=1&as_of=2026-01-01T00:00:00Z", 422),
        ("cursor=AAAA", 422),
        ("cursor=%F0%9F%98%80", 422),
        ("secret=Ada Lovelace", 403),
        ("secret.null=false", 403),
        ("columns=secret", 403),
        ("order=secret", 403),
        ("limit=1&limit=2", 422),
        ("columns=id&columns=text", 422),
        ("version=0&version=0", 422),
        ("format=csv&format=json", 422),
        ("limit=4294967296&format=csv", 422),
        ("limit=9223372036854775807&format=parquet", 422),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    odd: tuple[TestClient, Lake], query: str, status: int
) -> None:
    client, _ = odd
    answer = client.get(f"/data/{ODD}?{query}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert "Lovelace" not in answer.text


@pytest.mark.parametrize("form", ["ndjson", "csv", "arrow"])
def test_a_stream_comes_in_pieces_that_are_small_beside_the_whole(form: str) -> None:
    """What is on its way is in memory several times, in buffers of several owners."""
    rows = pl.LazyFrame({"id": range(200_000), "text": ["x" * 100] * 200_000}).cast({"id": pl.Int64})
    columns = [ODD.by_name["id"], ODD.by_name["text"]]
    pieces = [bytes(piece) for piece in formats.stream(rows, columns, formats.FORMATS[form])]
    assert max(map(len, pieces)) < 2 << 20
    if form == "arrow":
        assert pl.read_ipc_stream(b"".join(pieces)).equals(rows.collect())
    else:
        assert b"".join(pieces).count(b"\n") == 200_000 + (form == "csv")


def test_floats_whose_sum_is_beyond_floats_are_told_as_they_are() -> None:
    """Of two ways to write rows, the slow one is for what JSON has no number for; both say the same."""
    column, large = [ODD.by_name["number"]], 1.5e308
    for values in ([large, large, None, -0.5], [large, -large], []):
        frame = pl.DataFrame({"number": values}, schema={"number": pl.Float64})
        assert orjson.loads(formats.array(frame, column)) == frame.to_dicts()


@pytest.mark.parametrize("form", STREAMED)
def test_the_largest_limit_brings_all_rows(odd: tuple[TestClient, Lake], form: str) -> None:
    client, _ = odd
    whole = client.get(f"/data/{ODD}?format={form}&columns=id")
    limited = client.get(f"/data/{ODD}?format={form}&columns=id&limit=4294967295")
    assert (limited.status_code, len(limited.content)) == (200, len(whole.content))


def test_personal_columns_are_withheld_and_say_so(app: FastAPI, client: TestClient) -> None:
    assert PERSONAL
    for table in PERSONAL:
        names = [c.name for c in table.columns if c.pii]
        answer = client.get(f"/data/{table}?limit=1")
        assert answer.json()["withheld"] == names
        assert answer.headers["x-withheld-columns"] == ", ".join(names)
        assert not set(answer.json()["rows"][0]) & set(names)
        whole = client.get(f"/data/{table}?limit=1", headers=key(app, "read", "pii"))
        assert list(whole.json()["rows"][0]) == table.column_names


def test_quarantine_is_for_keys_with_the_scope_pii(app: FastAPI, client: TestClient) -> None:
    path = next(p for p in app.state.reader.declared if p.startswith("quarantine/"))
    assert client.get(f"/data/{path}").status_code == 403
    assert client.get(f"/data/{path}", headers=key(app, "read", "pii")).status_code in (200, 404)


def test_pages_are_of_one_version_whatever_is_written_meanwhile(odd: tuple[TestClient, Lake]) -> None:
    client, lake = odd
    question: dict[str, Any] = {"limit": 7, "order": "-flag,text", "columns": "id,text"}
    found, cursor, pages = [], None, 0
    while True:
        answer = client.get(f"/data/{ODD}", params=question | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        found += [row["id"] for row in answer.json()["rows"]]
        cursor, pages = answer.json()["next"], pages + 1
        lake.store.overwrite(ODD, pl.DataFrame(ROWS[:pages], schema=ODD.polars_schema()))
        if cursor is None:
            break
    assert sorted(found) == sorted(row["id"] for row in ROWS)
    assert pages == 4
    other = client.get(f"/data/{ODD}", params=question | {"limit": 1}).json()["next"]
    assert client.get(f"/data/{ODD}", params={"cursor": other, "limit": 1}).status_code == 422


def test_a_page_of_large_values_is_cut_and_the_next_one_goes_on(odd: tuple[TestClient, Lake]) -> None:
    client, lake = odd
    wide = pl.DataFrame(
        [{**ROWS[0], "id": n, "text": chr(97 + n % 26) * 50_000} for n in range(1_500)],
        schema=ODD.polars_schema(),
    )
    lake.store.overwrite(ODD, wide)
    found: list[tuple[int, str]] = []
    link, sizes = "", []
    while link is not None:
        answer = client.get("/data/gold/odd", params={"limit": 1_400, "order": "-id", "columns": "id,text"}
                            | ({"cursor": link} if link else {}))  # fmt: skip
        sizes.append(len(answer.content))
        found += [(row["id"], row["text"][0]) for row in answer.json()["rows"]]
        link = answer.json()["next"]
    assert found == [(n, chr(97 + n % 26)) for n in reversed(range(1_500))]
    assert max(sizes) < 40 << 20
    assert len(sizes) > 2


@pytest.mark.parametrize("limit", [0, 1, 255, 256, 257, 511, 512, 513, 1_000])
def test_pages_of_any_size_have_every_row_once(odd: tuple[TestClient, Lake], limit: int) -> None:
    client, lake = odd
    many = pl.DataFrame([{**ROWS[n % 24], "id": n} for n in range(1_000)], schema=ODD.polars_schema())
    lake.store.overwrite(ODD, many)
    first = client.get("/data/gold/odd", params={"limit": limit, "columns": "id"}).json()
    rest = {"rows": []}
    if first["next"]:
        rest = client.get(
            "/data/gold/odd", params={"limit": 1_000, "columns": "id", "cursor": first["next"]}
        ).json()
        assert rest["next"] is None
    assert len(first["rows"]) == limit
    ids = sorted(row["id"] for row in first["rows"] + rest["rows"])
    assert ids == ([] if limit == 0 else list(range(1_000)))


def test_versions_and_times_are_read_as_they_were(odd: tuple[TestClient, Lake]) -> None:
    client, lake = odd
    first = client.get(f"/data/{ODD}?columns=id&limit=100")
    at = lake.store.history(ODD, limit=1)[0].at
    lake.store.overwrite(ODD, pl.DataFrame(ROWS[:3], schema=ODD.polars_schema()))
    now = client.get(f"/data/{ODD}?columns=id")
    assert len(now.json()["rows"]) == 3
    for old in ({"version": first.json()["version"]}, {"as_of": at.isoformat()}):
        then = client.get(f"/data/{ODD}", params={"columns": "id", "limit": 100, **old})
        assert then.json()["rows"] == first.json()["rows"]
    assert first.headers["etag"] != now.headers["etag"]
    for tag in (now.headers["etag"], f'"x", {now.headers["etag"]}', "*"):
        again = client.get(f"/data/{ODD}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/data/{ODD}", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_version_that_maintenance_removed_is_gone_and_no_empty_table(odd: tuple[TestClient, Lake]) -> None:
    client, lake = odd
    version = client.get(f"/data/{ODD}").json()["version"]
    lake.store.overwrite(ODD, pl.DataFrame(ROWS[:3], schema=ODD.polars_schema()))
    for file in (Path(lake.store.uri(ODD))).glob("*.parquet"):
        if file.name not in lake.store.file_names(ODD):
            file.unlink()
    for form in ("json", *STREAMED):
        fresh = client.get(f"/data/{ODD}?version={version}&format={form}&columns=id,text")
        assert fresh.status_code in (200, 410), fresh.text  # read before: its rows may still be in memory
    with again(lake) as other:
        for form in ("json", *STREAMED):
            assert other.get(f"/data/{ODD}?version={version}&format={form}").status_code == 410
        assert other.get(f"/data/{ODD}").status_code == 200


def test_a_damaged_table_is_told_and_no_empty_one(odd: tuple[TestClient, Lake]) -> None:
    _, lake = odd
    for file in Path(lake.store.uri(ODD)).glob("*.parquet"):
        file.write_bytes(b"no parquet")
    with again(lake) as client:
        for form in ("json", *STREAMED):
            answer = client.get(f"/data/{ODD}?format={form}")
            assert answer.status_code in (500, 503), answer.text
            assert answer.headers["content-type"] == "application/problem+json"


ODD_PATHS = (
    "gold%2F..%2Fsilver/patient",
    "gold/%2e%2e%2fetc",
    "gold/pipeline_metrics%00",
    "GOLD/pipeline_metrics",
    "gold/x" * 200,
    "gold/'; drop table",
    "system/_odp",
    "landing/workflow",
    "gold/",
    "gold",
    "",
)


@pytest.mark.parametrize("path", ODD_PATHS)
def test_names_that_nobody_expects(client: TestClient, path: str) -> None:
    assert client.get(f"/data/{path}").status_code in (404, 405, 307)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_a_filter_or_refused(name: str, text: str) -> None:
    for column in (name, "id", "money", "at", "day", "raw", "number", "text"):
        assert refusal(column, text) in (None, 403, 422)


def refusal(column: str, text: str) -> int | None:
    try:
        filters.where(ODD, [(column, text)], (), pii=False)
    except Problem as exc:
        return exc.status
    return None


def test_maintenance_keeps_what_is_read(place: Path) -> None:
    lake = open_lake(Settings(lake_url=str(place / "lake"), landing_url=str(place / "landing")))
    app = make_app(settings_of(place))
    with TestClient(app, headers=key(app, "read")) as client:
        before = client.get(f"/data/{GOLD}?limit=1000").json()["rows"]
        lake.store.maintain(app.state.reader.declared[GOLD], MaintenanceOptions(retain=timedelta(days=1)))
        assert client.get(f"/data/{GOLD}?limit=1000").json()["rows"] == before
