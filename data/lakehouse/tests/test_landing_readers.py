"""Reading files of any kind: the format by content, numbers unharmed, every fault one kind of error."""

from __future__ import annotations

import gzip
import io
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
import pytest
from conftest_landing import landed, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.domains.clinical.reading import read as fhir
from lakehouse.errors import SourceError
from lakehouse.landing import json_text, readers
from lakehouse.landing.columns import as_text, csv_frames, parquet_frames
from lakehouse.landing.json_text import Malformed, dumps, loads, text_of, values
from lakehouse.landing.readers import Format, format_of, unpacked

PARQUET = io.BytesIO()
pl.DataFrame({"a": [1, 2], "text": ["x", None], "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 2}).write_parquet(
    PARQUET
)
SECRET = "s3cr3t-content"


def records(name: str, content: bytes) -> list[Any]:
    with unpacked(landed(name, content)) as raw:
        return list(values(raw, format_of(name, raw), name=name))


@pytest.mark.parametrize(
    ("name", "content", "fmt"),
    [
        ("x.json", b'{"a":1}', Format.JSON),
        ("x.JSON.gz", b"[1]", Format.JSON),
        ("x.json", b'"just text"', Format.JSON),
        ("x.jsonl", b'\n {"a":1}', Format.NDJSON),
        ("x.csv", b"a,b\n1,2", Format.CSV),
        ("x.csv", b'{"a":1}', Format.JSON),
        ("x", b"a,b\n1,2", Format.CSV),
        ("x.dat", b"\xef\xbb\xbf [1]", Format.JSON),
        ("x.csv", PARQUET.getvalue(), Format.PARQUET),
        ("x.parquet", b'{"a":1}', Format.JSON),
        ("dir.json/x", b"a\n1", Format.CSV),
        ("x.json", b'\n{"a":1}\n\n{"a":2}\n', Format.NDJSON),
        ("x", b'{"a":1}\r\n{"a":2', Format.NDJSON),
        ("x", b'{"a":1}\n\n', Format.JSON),
        ("x.csv", b"<a>,b\n1,2", Format.CSV),
    ],
)
def test_the_content_decides_and_the_suffix_helps(name: str, content: bytes, fmt: Format) -> None:
    assert format_of(name, io.BytesIO(content)) is fmt


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.json", b"", "the file is empty"),
        ("x.ndjson", b" \n\t\r\n", "blanks only"),
        ("x.csv", b"\xef\xbb\xbf", "blanks only"),
        ("x.parquet", b"a,b\n1,2", "not a Parquet file"),
        ("x.csv", "é,b".encode("latin-1"), "not UTF-8 text"),
        ("x.json", '{"a":"b"}'.encode("utf-16"), "not UTF-8 text"),
        ("x.json", b'{"a":' + b" " * 2_000_000 + b"\xff}", r"near byte 2000005\)"),
        ("x.parquet", b"PARE" + b"0" * 20, "encrypted"),
        ("x.bin", bytes(range(128, 200)), "not UTF-8 text"),
        ("x.json", b"PK\x03\x04rest", "this is a zip archive"),
        ("x.xlsx", b"PK\x03\x04rest", "this is a zip archive"),
        ("x.json.gz", b"\x1f\x8b\x08rest", "this is gzip within gzip"),
        ("x.json.zst", b"\x28\xb5\x2f\xfdrest", "this is a Zstandard file"),
        ("x.json.lz4", b"\x04\x22\x4d\x18rest", "this is an LZ4 file"),
        ("x.json.Z", b"\x1f\x9d\x90rest", "this is a file of compress"),
        ("x.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "this is a Git LFS pointer"),
        ("x.xes", b'<?xml version="1.0"?>\n<!-- x -->\n<log xes.version="1.0">', "this is an XES event log"),
        ("x.csv", b"<log><trace/></log>", "this is an XES event log"),
        ("x.json", b"<!DOCTYPE html><p>", "this is an HTML page"),
        ("x", b"\xef\xbb\xbf <?xml version='1.0'?><a/>", "this is XML"),
        ("x", b'<Patient xmlns="http://hl7.org/fhir"><id value="1"/></Patient>', "this is XML"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        format_of(name, io.BytesIO(content))


def test_gzip_is_unfolded_by_content_within_the_limit() -> None:
    zipped = gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n')
    assert records("x.ndjson", zipped) == [{"a": 1}, {"a": 2}]
    bomb = landed("x.json.gz", gzip.compress(b"0" * 5_000_000))
    with pytest.raises(SourceError, match="more than 4000000 bytes"), unpacked(bomb, limit=4_000_000):
        pass
    for broken in (zipped[:-9], b"\x1f\x8b\x00", b"\x1f\x8b\x08" + b"\0" * 40, zipped[:20] + b"\xff" * 20):
        with pytest.raises(SourceError, match="not a readable gzip file"):
            records("x.json.gz", broken)
    with pytest.raises(SourceError, match="it ends early; land it whole"):
        records("x.json.gz", zipped[:-9])


def test_json_documents_and_lines_under_either_name() -> None:
    lines, document = b'{"a":1}\n\n{"a":2}\r\n', b'[\n {"a":1},\n {"a":2}\n]'
    for name in ("x.json", "x.ndjson"):
        assert records(name, lines) == records(name, document) == [{"a": 1}, {"a": 2}]
    assert records("x.json", b'\xef\xbb\xbf{"a":\n1}') == [{"a": 1}]
    assert records("x.ndjson", b'[{"a":1},{"a":2}]\n{"a":3}') == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert records("x.json", b"[ ]") == []


def test_a_line_that_is_no_json_is_kept_as_it_stands() -> None:
    found = records("x.ndjson", b'{"a":1}\n {"a":  oops\t\r\n{"a":2}\nNaN\n{"a":3}x')
    assert found == [{"a": 1}, Malformed(' {"a":  oops\t'), {"a": 2}, Malformed("NaN"), Malformed('{"a":3}x')]
    assert records("x.ndjson", b'oops\n{"a":2}') == [Malformed("oops"), {"a": 2}]


@pytest.mark.parametrize("name", ["x.json", "x"])
@pytest.mark.parametrize(
    "text", ['{"a":1}{"a":2}', '{\n"a":1\n}\n{\n"a":2\n}\n', "[1] [2]", '{"a":[\n1]} {"a":\n2}']
)
def test_several_documents_that_are_no_lines_are_told(name: str, text: str) -> None:
    with pytest.raises(SourceError, match="several JSON documents; land it as NDJSON"):
        records(name, text.encode())


def test_several_fhir_documents_are_read_as_lines_or_told() -> None:
    lines = b'{"resourceType":"Patient","id":"1"}\n{"resourceType":"Patient","id":"2"}\n'
    for name in ("clinical/a/x.json", "clinical/a/x"):
        assert sum(frame.height for frame in fhir(landed(name, lines))) == 2
        with pytest.raises(SourceError, match="several JSON documents; land it as NDJSON"):
            list(fhir(landed(name, lines.replace(b",", b",\n"))))


def test_gzip_within_gzip_is_named() -> None:
    with pytest.raises(SourceError, match="gzip within gzip; unfold it once"):
        records("x.json.gz", gzip.compress(gzip.compress(b"{}")))


def test_a_broken_document_is_refused_without_quoting_it() -> None:
    for content in (
        f'{{"a": "{SECRET}"',
        f'[{{"a": "{SECRET}"}},]',
        f"{SECRET}",
        f'{{\n"a": "{SECRET}",\n}}',
    ):
        with pytest.raises(SourceError, match="not readable as JSON") as caught:
            records("x.json", content.encode())
        assert SECRET not in str(caught.value)


def test_limits_on_lines_and_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_LINE", 20)
    with pytest.raises(SourceError, match="line 2 is longer than 20 bytes"):
        records("x.ndjson", b'{"a":1}\n{"a":"' + b"x" * 30 + b'"}\n')
    monkeypatch.setattr(readers, "MAX_DOCUMENT", 20)
    assert records("x.json", b'{"a":1}\n{"a":2}\n{"a":3}\n{"a":4}') == [{"a": n} for n in (1, 2, 3, 4)]
    with pytest.raises(SourceError, match="land it as NDJSON"):
        records("x.json", b'{\n"a":1,\n"b":2,\n"c":3,\n"d":4}')


def test_numbers_keep_their_text() -> None:
    text = b'{"a":1.50,"b":[123456789012345678901234567890,-1E+2,5e-324],"c":{"d":0.1},"e":7,"f":"1.50"}'
    assert dumps(loads(text)) == text.decode()
    value = loads(text)
    assert [text_of(value["a"]), text_of(value["e"]), text_of(value["f"]), text_of(True)] == [
        "1.50",
        "7",
        "1.50",
        "true",
    ]
    assert text_of(value["b"]) == "[123456789012345678901234567890,-1E+2,5e-324]"
    assert text_of(loads(b"12345678901234567890123")) == "12345678901234567890123"


def test_nesting_beyond_all_reason_is_no_json_here() -> None:
    for deep in (b"[" * 300 + b"]" * 300, b"[" * 100_000, b'{"a":' * 1000 + b"1.5" + b"}" * 1000):
        with pytest.raises(ValueError):
            loads(deep)
    fits = b"[" * 245 + b"]" * 245
    assert dumps({"payload": {"payload": loads(fits)}}) == '{"payload":{"payload":' + fits.decode() + "}}"
    line = "[" * 300 + "]" * 300
    assert records("x.ndjson", f'{{"a":1}}\n{line}\n'.encode()) == [{"a": 1}, Malformed(line)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(json_values)
def test_any_json_comes_back_equal(value: Any) -> None:
    text = json.dumps(value)
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:  # lone surrogates, which are no Unicode text
        return
    assert json.loads(dumps(loads(text.encode()))) == value


@settings(deadline=None)
@given(st.lists(json_values, max_size=5), st.booleans())
def test_a_list_and_its_lines_give_the_same_records(items: list[Any], spaced: bool) -> None:
    items = [i for i in items if not isinstance(i, list)]
    lines = [json.dumps(i, ensure_ascii=True) for i in items]
    if not items or any("\\ud" in line for line in lines):
        return
    as_lines = ("\n\n" if spaced else "\n").join(lines).encode()
    assert [dumps(r) for r in records("x.ndjson", as_lines)] == [
        dumps(r) for r in records("x.json", json.dumps(items).encode())
    ]


def test_csv_is_text_whatever_its_separator() -> None:
    expected = {"a": ["01", None, "x"], "b": ["1.50", 'say "hi"', None]}
    for mark in ",;\t|":
        text = f'a{mark}b\n01{mark}1.50\n{mark}"say ""hi"""\nx{mark}\n'
        frame = pl.concat(csv_frames(io.BytesIO(text.encode()), name="x.csv"))
        assert frame.to_dict(as_series=False) == expected


def test_csv_comes_in_bounded_frames_and_never_none() -> None:
    text = "a,b\n" + "".join(f"{i},x\n" for i in range(2500))
    frames = list(csv_frames(io.BytesIO(text.encode()), name="x.csv", rows=1000))
    assert max(f.height for f in frames) <= 1000
    assert pl.concat(frames)["a"].to_list() == [str(i) for i in range(2500)]
    assert [f.shape for f in csv_frames(io.BytesIO(b"a,b"), name="x.csv")] == [(0, 2)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"a,b\n1,2\n1,{SECRET},3\n", "line 3 has 3 fields, the header 2"),
        (f'a,b\n1,"{SECRET}\n', "broken quoting"),
        (f'a,b\n"{SECRET}"y,2\n', "broken quoting"),
    ],
)
def test_csv_faults_name_the_line_and_not_the_content(text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        list(csv_frames(io.BytesIO(text.encode()), name="x.csv"))
    assert SECRET not in str(caught.value)


def test_parquet_comes_in_bounded_frames_and_becomes_text() -> None:
    morning = datetime(2026, 1, 1, tzinfo=UTC)
    columns = [
        pl.Series("n", range(2500)),
        pl.Series("at", [morning.replace(tzinfo=None)], pl.Datetime("us")).new_from_index(0, 2500),
        pl.Series("zoned", [morning], pl.Datetime("ns", "Asia/Tokyo")).new_from_index(0, 2500),
        pl.Series("data", [{"k": 1.5, "s": "é"}]).new_from_index(0, 2500),
        pl.Series("steps", [[1, 2]]).new_from_index(0, 2500),
        pl.Series("none", [None], pl.Null).new_from_index(0, 2500),
    ]
    frame = pl.DataFrame(columns)
    raw = io.BytesIO()
    frame.write_parquet(raw)
    frames = list(parquet_frames(raw, name="x", rows=1000))
    assert [f.height for f in frames] == [1000, 1000, 500]
    assert as_text(frames[2]).row(-1) == (
        "2499",
        "2026-01-01T00:00:00.000000Z",
        "2026-01-01T00:00:00.000000000Z",
        '{"k":1.5,"s":"é"}',
        "[1,2]",
        None,
    )
    assert set(as_text(frames[0]).dtypes) == {pl.String}


def test_an_empty_parquet_gives_its_columns() -> None:
    raw = io.BytesIO()
    pl.DataFrame(schema={"a": pl.Int8}).write_parquet(raw)
    assert [f.schema for f in parquet_frames(raw, name="x")] == [pl.Schema({"a": pl.Int8})]


def test_parquet_text_that_is_not_utf8_is_refused() -> None:
    raw = io.BytesIO()
    pl.DataFrame({"a": ["unmistakable"]}).write_parquet(raw, compression="uncompressed", statistics=False)
    with pytest.raises(SourceError, match="not readable as Parquet"):
        list(parquet_frames(io.BytesIO(raw.getvalue().replace(b"unmistak", b"unmist\xff\xfe")), name="x"))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_damaged_parquet_is_refused_or_read_but_never_worse(place: int, junk: bytes) -> None:
    whole = bytearray(PARQUET.getvalue())
    place %= len(whole)
    whole[place : place + len(junk)] = junk
    with suppress(SourceError):
        [as_text(f) for f in parquet_frames(io.BytesIO(bytes(whole)), name="x")]


def test_real_json_robustness_suite() -> None:
    """y_ must be read, n_ must not, i_ may be either; nothing may raise anything but SourceError."""
    seen = {"y": 0, "n": 0}
    for path in shared("json_robustness/test_parsing"):
        readable = _readable("s/" + path.name, path.read_bytes())
        kind = path.name[0]
        if kind in seen:
            assert readable == (kind == "y"), path.name
            seen[kind] += 1
    assert min(seen.values()) > 50


def test_real_json_transform_suite() -> None:
    for path in shared("json_robustness/test_transform"):
        if _readable(path.name, path.read_bytes()):
            kept = dumps(records(path.name, path.read_bytes()))
            assert _same_numbers(json.loads(kept), json.loads(path.read_bytes())), path.name


def _readable(name: str, content: bytes) -> bool:
    try:
        with unpacked(landed(name, content)) as raw:
            found = list(json_text.values(raw, format_of(name, raw), name=name))
    except SourceError:
        return False
    return not any(isinstance(f, Malformed) for f in found)


def _same_numbers(kept: Any, given: Any) -> bool:
    return bool(kept == (given if isinstance(given, list) else [given]))


def test_real_parquet_suite() -> None:
    """Every file is read with all its rows, or refused; damage that checksums reveal is refused."""
    outcome: dict[str, bool] = {}
    for path in shared("parquet_robustness"):
        try:
            with unpacked(landed(path.name, path.read_bytes())) as raw:
                if format_of(path.name, raw) is Format.PARQUET:
                    frames = [as_text(f) for f in parquet_frames(raw, name=path.name)]
                    outcome[path.name] = bool(frames)
        except SourceError:
            outcome[path.name] = False
    assert sum(outcome.values()) > 30
    corrupt = [name for name, ok in outcome.items() if "corrupt" in name and ok]
    assert corrupt == []
