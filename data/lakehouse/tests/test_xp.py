"""The operations that differ from engine to engine, at their edges, on Polars."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb
import narwhals.stable.v2 as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts import DecimalType
from lakehouse.engine import xp
from lakehouse.errors import Unsupported


def apply(function: Callable[..., Any], values: list[str | None], *args: Any, **kwargs: Any) -> pl.DataFrame:
    frame = nw.from_native(pl.LazyFrame({"x": values}, schema={"x": pl.String}))
    return nw.to_native(function(frame, "x", *args, **kwargs)).collect().drop("x")


def times(*values: str | None) -> list[datetime | None]:
    made = apply(xp.timestamp, list(values), to="t")
    assert made.schema == {"t": pl.Datetime("us", "UTC")}
    return made["t"].to_list()


NOON = datetime(2026, 1, 2, 12, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T12:30:05Z", NOON),
        ("2026-01-02 12:30:05", NOON),
        ("2026-01-02t12:30:05z", NOON),
        (" 2026-01-02T14:30:05+02:00\n", NOON),
        ("2026-01-02T14:30:05+0200", NOON),
        ("2026-01-02T09:00:05-0330", NOON),
        ("2026-01-02T12:30:05.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-01-02T12:30:05.9999999", NOON.replace(microsecond=999999)),
        ("2026-01-02T12:30:05.1+00:00", NOON.replace(microsecond=100000)),
        ("2026-01-02T12:30Z", NOON.replace(second=0)),
        ("2026-01-02 14:30+02", None),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("1767357005", NOON),
        ("1767357005.5", NOON.replace(microsecond=500000)),
        ("1767357005.1234567", NOON.replace(microsecond=123456)),
        ("1767357005123", NOON.replace(microsecond=123000)),
        ("1767357005123.9", NOON.replace(microsecond=123900)),
        ("0026-01-02T12:30:05Z", NOON.replace(year=26)),
        ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        *[
            (bad, None)
            for bad in (
                "",
                " ",
                "now",
                "12:30",
                "2026-13-01",
                "2026-02-30T00:00:00Z",
                "2026-01-02T25:00:00Z",
                "2026-1-2",
                "NaN",
                "20260102",
                "-1767357005",
                "1.5",
                "2026-01-02T12:30:05Zx",
                "2026-01-02T12:30:05+2:00",
                "T12:00:00Z",
                "26-01-10T10:00:00Z",
                "10-01-26T10:00:00",
                "26-01-10 10:00:00+02:00",
                "126-01-10T10:00:00Z",
                "12026-01-10T10:00:00Z",
                "+2026-01-10T10:00:00Z",
                "2026-1-2T03:04:05Z",
                "2026-01-02T3:04:05Z",
                "01/02/2026",
                "01/02/2026 10:00:00",
                "02.01.2026",
                "2026/01/02",
                "1767357005123456",
            )
        ],
    ],
)
def test_timestamps(text: str, expected: datetime | None) -> None:
    assert times(text, None) == [expected, None]


@settings(deadline=None)
@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
    st.booleans(),
    st.sampled_from("T "),
)
def test_any_iso_time_is_read_as_python_reads_it(
    at: datetime, offset: int, zoned: bool, between: str
) -> None:
    stated = at.replace(tzinfo=timezone(timedelta(minutes=offset)) if zoned else None)
    expected = stated.astimezone(UTC) if zoned else stated.replace(tzinfo=UTC)
    assert times(stated.isoformat(sep=between)) == [expected]


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_text_breaks_the_time_reader(text: str) -> None:
    assert len(times(text)) == 1


def test_json_fields() -> None:
    texts = [
        '{"a":{"b":1},"c":"x"}',
        ' {"a":{"b":null}}',
        "[1]",
        '"s"',
        "{",
        "",
        None,
        '{"c":[1, 2]}',
        '{"c":"é\\n"}',
        "{}{}",
    ]
    made = apply(xp.json_fields, texts, {"b": "$.a.b", "c": "$.c"}, is_object="ok")
    assert made.rows() == [
        ("1", "x", True),
        (None, None, True),
        (None, None, False),
        (None, None, False),
        (None, None, False),
        (None, None, False),
        (None, None, False),
        (None, "[1,2]", True),
        (None, "é\n", True),
        (None, None, False),
    ]


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(), i, max_size=3),
        max_leaves=8,
    )
)
def test_is_object_agrees_with_the_standard_library(value: Any) -> None:
    text = json.dumps(value)
    expected = isinstance(value, dict) and "\\ud" not in text  # lone surrogates are no Unicode text
    made = apply(xp.json_fields, [text], {}, is_object="ok")["ok"].item()
    assert made == expected or "\\ud" in text


def test_json_length() -> None:
    made = apply(xp.json_length, ["[]", " [1,[2,3],{}]", "{}", "3", "[1", "", None], to="n")
    assert made.to_dict(as_series=False) == {"n": [0, 3, None, None, None, None, None]}
    assert apply(xp.json_length, [None, "3"], to="n")["n"].to_list() == [None, None]
    assert apply(xp.json_length, [], to="n").schema == {"n": pl.Int64}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WorkflowExecutionStarted", "workflow_execution_started"),
        ("HTTPServerError", "http_server_error"),
        ("already_snake", "already_snake"),
        ("UPPER_SNAKE", "upper_snake"),
        ("dots.and-dashes", "dots_and_dashes"),
        ("  two  words ", "two_words"),
        ("step2Done", "step2_done"),
        ("ÉcoleFermée", "école_fermée"),
        ("--", ""),
        ("", ""),
    ],
)
def test_snake_case(text: str, expected: str) -> None:
    assert apply(xp.snake_case, [text, None], to="s")["s"].to_list() == [expected, None]
    assert apply(xp.snake_case, [expected], to="s")["s"].item() == expected


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_what_a_text_decides_is_the_same_for_equal_texts_and_different_ones(engine: str) -> None:
    few = [None, "a", "", "B ", "a"] * 1000
    made = {"n": nw.col("t").str.len_chars(), "lower": nw.col("t").str.to_lowercase()}
    for texts in (few, [None, *(f"X{n}" for n in range(3000))], [], [None]):
        frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
        with duckdb.connect() as connection:
            native = frame.lazy() if engine == "polars" else connection.from_arrow(frame.to_arrow())
            rows = xp.by_value(nw.from_native(native), "t", made).collect("polars").to_native()
        wanted = [(t, None, None) if t is None else (t, len(t), t.lower()) for t in texts]
        assert sorted(rows.rows(), key=str) == sorted(wanted, key=str)
        assert engine == "duckdb" or rows.rows() == wanted


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 4))
def test_round_half_up(eighths: int, digits: int) -> None:
    """Of numbers that floats hold exactly: eighths."""
    frame = nw.from_native(pl.LazyFrame({"x": [eighths / 8]}))
    made = nw.to_native(frame.select(xp.round_half_up(nw.col("x"), digits).alias("x"))).collect().item()
    expected = (Decimal(eighths) / 8).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    assert made == pytest.approx(float(expected), rel=1e-12)


def test_another_engine_is_refused_by_name() -> None:
    frame = nw.from_native(pl.DataFrame({"x": ["1"]}))
    with pytest.raises(Unsupported, match="polars"):
        xp.json_length(frame, "x", to="n")  # type: ignore[arg-type]


def test_rare_fields_are_found_however_their_name_is_spelled() -> None:
    texts = ['{"a":{"b":1}}', '{"a":{"\\u0062":2}}', '{"a":3}', "{", "", None]
    made = apply(xp.json_fields, texts, {"b": "$.a.b"})
    assert made["b"].to_list() == ["1", "2", None, None, None, None]


def decimals(type_: DecimalType, *values: str | None) -> list[Decimal | None]:
    made = apply(xp.decimal, list(values), to="d", type_=type_)
    assert made.schema == {"d": pl.Decimal(type_.precision, type_.scale)}
    return made["d"].to_list()


def test_text_becomes_a_decimal_exactly_or_not_at_all() -> None:
    assert decimals(DecimalType(5, 2), "1.23", "001.2300", " -0.10\n", "+999.99", "-0", None) == [
        Decimal("1.23"), Decimal("1.23"), Decimal("-0.10"), Decimal("999.99"), Decimal("0.00"), None,
    ]  # fmt: skip
    bad = (
        "1.239",
        "1000",
        "1e2",
        "",
        ".",
        "1.",
        ".5",
        "--1",
        "1,5",
        "NaN",
        "inf",
        "1_0",
        "\u0661",
        "1.2.3",
        "- 1",
    )
    assert decimals(DecimalType(5, 2), *bad) == [None] * len(bad)
    most = "9" * 38
    assert decimals(DecimalType(38, 0), most, f"-{most}", f"{most}.000", f"{most}0", "1.5") == [
        Decimal(most), Decimal(f"-{most}"), Decimal(most), None, None,
    ]  # fmt: skip
    assert decimals(DecimalType(38, 38), f"0.{most}", "-0." + "0" * 37 + "1", "1") == [
        Decimal(f"0.{most}"), Decimal("-1E-38"), None,
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**8), max_value=10**8, places=5),
    scale=st.integers(0, 6),
    whole=st.integers(0, 9),
)
def test_a_decimal_that_fits_is_read_as_python_reads_it(number: Decimal, scale: int, whole: int) -> None:
    if not scale + whole:
        return
    fits = number == round(number, scale) and abs(number) < 10**whole
    [found] = decimals(DecimalType(scale + whole, scale), f"{number:f}")
    assert found == (number if fits else None)


def rounded(type_: DecimalType, *values: str | None) -> list[Decimal | None]:
    frame = nw.from_native(pl.LazyFrame({"x": values}, schema={"x": pl.String}))
    made = nw.to_native(xp.rounded_decimals(frame, {"d": "x"}, type_=type_)).collect()
    assert made.schema == {"x": pl.String, "d": pl.Decimal(type_.precision, type_.scale)}
    return made["d"].to_list()


def test_text_is_rounded_half_up_to_a_decimal() -> None:
    given_ = {
        "1000.399999999996": "1000.40", "12029.449999999699": "12029.45", "0.005": "0.01", "0.0049999": "0",
        "1.235": "1.24", "-0.005": "-0.01", "-1.234": "-1.23", "2.675": "2.68", "1e+05": "100000",
        "1.5E-2": "0.02", "1e-999": "0", " +7. ": "7", ".5": "0.5", "007.10": "7.1", "-0": "0", "-0.001": "0",
        "999999.994": "999999.99", "0" * 50 + "1": "1", "1." + "9" * 50: "2", "0.004" + "9" * 40: "0",
    }  # fmt: skip
    assert rounded(DecimalType(8, 2), *given_) == [Decimal(text) for text in given_.values()]
    assert not any(str(found).startswith("-0.00") for found in rounded(DecimalType(8, 2), "-0", "-0.001"))
    bad = ("", ".", "-", "1,000", "$5", "NaN", "nan", "inf", "-Infinity", "1_0", "0x1", "1.2.3", "--1", "- 1",
           "\u0661", "1e", "e5", "1e5.0", "1e1000", "999999.995", "1000000", "1e6", "12%", "(5)")  # fmt: skip
    assert rounded(DecimalType(8, 2), *bad, None) == [None] * (len(bad) + 1)
    assert rounded(DecimalType(3, 0), "1.5", "999.4", "999.5", "-2.5") == [
        Decimal(2), Decimal(999), None, Decimal(-3),
    ]  # fmt: skip
    assert rounded(DecimalType(2, 2), "0.994", "0.995", "1") == [Decimal("0.99"), None, None]
    most = "9" * 36
    assert rounded(DecimalType(38, 2), f"{most}.99", f"{most}.995") == [Decimal(f"{most}.99"), None]


@settings(max_examples=100, deadline=None)
@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**8), max_value=10**8, places=7),
    scale=st.integers(0, 6),
    whole=st.integers(1, 9),
    as_text=st.sampled_from([str, "{:f}".format, "{:e}".format]),
)
def test_rounding_is_that_of_python(
    number: Decimal, scale: int, whole: int, as_text: Callable[[Decimal], str]
) -> None:
    exact = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    [found] = rounded(DecimalType(scale + whole, scale), as_text(number))
    assert found == (exact if abs(exact) < 10**whole else None)
