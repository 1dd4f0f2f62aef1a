"""CSV to the letter: what is kept, what is refused with its line, what a source can declare; and a score.

The score follows the idea of Pollock (Vitagliano et al., VLDB 2023): one table, written with one fault or
dialect at a time. Right is the very table, or a refusal. Wrong is anything else.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from conftest_landing import landed
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts import Column, Contract, Materialization, Type, bronze_columns
from lakehouse.errors import ContractError, LakeError, SourceError
from lakehouse.landing import Form, Source, Unexpected
from lakehouse.landing.columns import csv_frames
from lakehouse.landing.tabular import tabular

SECRET = "s3cr3t-content"


def read(text: str | bytes, **options: Any) -> pl.DataFrame:
    raw = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return pl.concat(csv_frames(raw, name="x.csv", **options))


def told(text: str, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(text, **options)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def shop(form: Form | None = None) -> Source:
    columns = [Column(name=n, type=Type.STRING, description=n) for n in ("order_id", "price", "sold_on")]
    table = Contract(layer="bronze", name="raw_orders", domain="test", description="One order.",
                     materialization=Materialization.APPEND,
                     columns=(*columns, *bronze_columns()))  # fmt: skip
    return tabular(folder="shop", table=table, description="Orders", form=form)


def sold(text: str | bytes, form: Form | None = None) -> list[tuple[str | None, ...]]:
    content = text.encode() if isinstance(text, str) else text
    return pl.concat(list(shop(form).rows(landed("shop/a.csv", content)))).rows()


# -- fields ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_every_line_end_ends_a_line_and_within_quotes_it_is_kept(end: str) -> None:
    assert read(f'a,b{end}1,"x{end}y"{end}2,z{end}').rows() == [("1", f"x{end}y"), ("2", "z")]


@pytest.mark.parametrize(
    "field",
    [f'"al "{SECRET}" smith"', f'"{SECRET}\\"x"', f'"{SECRET}"x', f'"{SECRET}" ', f'"{SECRET}'],
    ids=["bare", "backslash", "tail", "blank after", "open"],
)
def test_quotes_that_do_not_fit_refuse_the_file_with_the_line(field: str) -> None:
    message = told(f"a,b\n1,2\n3,{field}\n4,5\n")
    assert "broken quoting" in message
    assert "x.csv: line " in message
    assert "form=Form(escape='\\\\')" in message


def test_quotes_in_a_field_without_any_around_it_are_kept() -> None:
    assert read('a,b\n5" pipe,x"y"\n').rows() == [('5" pipe', 'x"y"')]


def test_blank_and_empty_quotes_are_the_same_in_every_column() -> None:
    assert read('a,b\n,""\n"",\n').rows() == [(None, None), (None, None)]


def test_blank_lines_are_skipped_and_counted() -> None:
    met = Unexpected()
    assert read("\na,b\n\n1,2\n   \n\r\n3,4\n\n", unexpected=met).rows() == [("1", "2"), ("3", "4")]
    assert (met.blank_lines, dict(met)) == (5, {})
    assert read("a\n1\n\n \n").rows() == [("1",), (" ",)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Report of May\na,b\n1,2\n", "line 2 has 2 fields, the header 1; remove what stands above"),
        ("a,b\n1,2\nTotal\n", "line 3 has 1 field, the header 2; remove what stands above or below"),
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 fields, the header 3"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, the header 2; put a field that holds the separator"),
    ],
    ids=["preamble", "footer", "short", "long"],
)
def test_a_line_of_another_width_refuses_the_file_with_its_number(text: str, says: str) -> None:
    assert says in told(text)


def test_a_fault_far_down_is_found_before_the_first_row_is_given() -> None:
    frames = csv_frames(io.BytesIO(b"a,b\n" + b"1,2\n" * 5000 + b"end\n"), name="x.csv", rows=10)
    with pytest.raises(SourceError, match="line 5002 has 1 field"):
        next(frames)


def test_a_heading_twice_is_named_only_where_the_line_is_a_header() -> None:
    assert "fields 2 and 3 of the header are the same 'b'" in told("a,b,b\n1,2,3\n", known=["a"])
    message = told(f"{SECRET},7,{SECRET}\n1,2,3\n", known=["a"])
    assert "fields 1 and 3 of the header are the same; give" in message
    assert "in the first line of the file" in message
    assert "fields 2 and 3 and 4 and 2 more of the header are the same" in told("Report,,,,,\n")


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"))] * 3), max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_a_writer_wrote_is_read(rows: list[tuple[str, ...]], mark: str, end: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=mark, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [("a", "b", "c"), *rows]
    )
    assert read(out.getvalue()).rows() == [tuple(field or None for field in row) for row in rows]


# -- declarations ----------------------------------------------------------------------------------------

WANTED = [("1", "1234.50", "2026-02-01"), ("2", "-3.5", "2026-12-31")]
FORM = Form(decimal_comma=("price",), dates={"sold_on": "%d.%m.%Y"})


def test_what_is_declared_is_read() -> None:
    rows = "1;1.234,50;01.02.2026\n2;-3,5;31.12.2026\n"
    assert sold("Order ID;Price;Sold on\n" + rows, FORM) == WANTED
    named = Form(decimal_comma=("price",), dates={"sold_on": "%d.%m.%Y"}, delimiter="^", encoding="cp1252",
                 aliases={"2nd price €": "price", "日付": "sold_on"})  # fmt: skip
    with pytest.raises(SourceError, match="not cp1252 text"):
        sold(b"\x81", named)
    latin = Form(aliases={"2nd price €": "price"}, encoding="cp1252", delimiter="^",
                 decimal_comma=("price",), dates={"sold_on": "%d.%m.%Y"})  # fmt: skip
    text = f"order_id^2nd price €^sold_on\n{rows.replace(';', '^')}"
    assert sold(text.encode("cp1252"), latin) == WANTED
    east = Form(aliases={"2番": "price", "日付": "sold_on"}, encoding="utf-16")
    assert sold("order_id,2番,日付\n1,2,3\n".encode("utf-16"), east) == [("1", "2", "3")]


def test_a_declared_escape_is_read() -> None:
    text = 'order_id,price,sold_on\n1,"a \\"b\\" \\\\ c",x\\,y\n'
    assert sold(text, Form(escape="\\")) == [("1", 'a "b" \\ c', "x,y")]


def test_times_with_a_zone_become_utc() -> None:
    form = Form(dates={"sold_on": "%d/%m/%Y %H:%M %z", "price": "%Y%m%d %H%M%S"})
    text = "order_id,price,sold_on\n1,20260102 030405,02/01/2026 01:30 +0200\n"
    assert sold(text, form) == [("1", "2026-01-02T03:04:05", "2026-01-01T23:30:00Z")]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("2;1,234.50;01.02.2026", "row 2: price is no number with a decimal comma"),
        ("2;1.5;01.02.2026", "row 2: price is no number with a decimal comma"),
        ("2;1,5;02/01/2026", "row 2: sold_on is no date as '%d.%m.%Y'"),
        ("2;1,5;31.02.2026", "row 2: sold_on is no date as '%d.%m.%Y'"),
    ],
)
def test_a_value_that_does_not_fit_its_declaration_refuses_the_file(row: str, says: str) -> None:
    with pytest.raises(SourceError, match="shop/a.csv: " + says):
        sold(f"order_id;price;sold_on\n1;1,5;01.02.2026\n{row}\n", FORM)


@pytest.mark.parametrize(
    ("text", "proposal"),
    [
        ("order_id^price^sold_on\n1^2^3\n", "form=Form(delimiter='^')"),
        ("order_id:price:sold_on\n1:2:3\n", "form=Form(delimiter=':')"),
        ("order_id,price,2nd date\n1,2,3\n", "form=Form(aliases={'2nd date': 'sold_on'})"),
        ("日付,価格\n1,2\n", "form=Form(aliases={'<heading>': 'order_id'})"),
        ("order_id,price,sold_on\n1,é,3\n".encode("cp1252"), "form=Form(encoding='cp1252')"),
        ("order_id,price,sold_on\n".encode("utf-16"), "form=Form(encoding='utf-16')"),
        ("order_id,price,sold_on\n".encode("utf-32"), "form=Form(encoding='utf-32')"),
        ("order_id,price,sold_on\n€".encode("utf-16-le"), "form=Form(encoding='utf-16-le')"),
        ('order_id,price,sold_on\n1,"a\\"b",3\n', "form=Form(escape='\\\\')"),
    ],
)
def test_a_refusal_proposes_the_declaration(text: str | bytes, proposal: str) -> None:
    with pytest.raises(SourceError) as caught:
        sold(text)
    assert f"declare {proposal} on its source" in str(caught.value)


@pytest.mark.parametrize(
    "declared",
    [{"delimiter": ";;"}, {"escape": '"'}, {"encoding": "klingon"}, {"dates": {"a": "%d.%m.%y"}},
     {"delimiter": "\\", "escape": "\\"}],
)  # fmt: skip
def test_a_declaration_that_nothing_can_be_read_by_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Form(**declared)


# -- lines beside the rows -------------------------------------------------------------------------------

BESIDE = Form(preamble=r"Report of \w+", divider="Second part", footer=r"Total: \d+")


def test_declared_lines_beside_the_rows_are_dropped_and_counted() -> None:
    met = Unexpected()
    text = 'Report of May\n\na,b\n1,2\n\n Second part\n3,4\n\n\nTotal: 2\n"Total: 0"\n\n'
    assert read(text, form=BESIDE, unexpected=met).rows() == [("1", "2"), ("3", "4")]
    assert (met.other_lines, met.blank_lines, dict(met)) == (4, 5, {})
    both = Unexpected()
    both.join(met)
    both.join(met)
    assert (both.other_lines, both.blank_lines) == (8, 10)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_of_the_header_below_a_preamble(mark: str) -> None:
    form = Form(preamble=r"Report; a\|b\|c\|d, x,y,\t,z")
    text = f"Report; a|b|c|d, x,y,\t,z\na{mark}b\n1{mark}2\n"
    assert read(text, form=form).rows() == [("1", "2")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Report of the year\na,b\n1,2\n", "line 2 has 2 fields, the header 1"),
        ("a,b\n1,2\nTotal: 2 EUR\n", "line 3 has 1 field, the header 2"),
        ("a,b\n1,2\nReport of May\n", "line 3 has 1 field, the header 2"),
        ("a,b\nTotal: 2\n\n1,2\n", "line 4 follows the footer of line 2"),
        ("a,b\nTotal: 2\nTotal: 3\nSecond part\n", "line 4 follows the footer of line 2"),
        ("a,b\nTotal: 2\nend\n", "line 3 follows the footer of line 2"),
        ("Total: 2\na,b\n1,2\n", "line 2 has 2 fields, the header 1"),
        ("Report of May\n\n", "there is no header below line 2"),
    ],
)
def test_a_line_in_another_place_or_other_words_refuses_the_file(text: str, says: str) -> None:
    assert says in told(text, form=BESIDE)


def test_what_is_as_wide_as_the_header_is_a_row() -> None:
    assert read("a,b\nTotal: 2,\n", form=BESIDE).rows() == [("Total: 2", None)]
    assert read("a\n1\nTotal: 2\n", form=BESIDE).rows() == [("1",)]
    assert read("Report of May\na,b\nTotal: 2\n", form=BESIDE).rows() == []


def test_lines_that_a_spreadsheet_pads_to_the_width_of_the_table_are_known_too() -> None:
    met = Unexpected()
    for above in ("Report of May,,\n", "Report of May,\n", '"Report of May",,\n'):
        text = f"{above}a,b,c\n1,2,3\nTotal: 2,\n"
        assert read(text, form=BESIDE, unexpected=met).rows() == [("1", "2", "3")]
    assert met.other_lines == 6
    assert read("Report of May;;\na;b;c\n1;2;3\nSecond part;\n4;5;6\n", form=BESIDE).height == 2
    divided = Form(divider="Second part", divided={"b": "late"})
    parts = "a,b,c\n1,2,3\nSecond part,,\n4,late,6\n"
    assert read(parts, form=divided).rows() == [("1", "2", "3"), ("4", "late", "6")]
    says = "line 4 is below a divider, and its b does not say the same"
    assert says in told(parts.replace("late", "5"), form=divided)
    assert read("a,b,c\nSecond part,,x\n", form=divided).height == 1


@pytest.mark.parametrize("pattern", ["(", ".*", ""])
def test_a_pattern_that_says_nothing_is_refused(pattern: str) -> None:
    for what in ("preamble", "divider", "footer"):
        with pytest.raises(ContractError, match=what):
            Form(**{what: pattern})


# -- score -----------------------------------------------------------------------------------------------

TABLE = [("1", 'Ada "the first"', "3.50"), ("2", "Grace, H.", "4"), ("3", "née; Łódź", "5"),
         ("4", "two\nlines", "6"), ("5", "a|b\tc", "7")]  # fmt: skip
HEAD = ("order_id", "price", "sold_on")
REFUSED = "refused"
Case = tuple[str, bytes, Form | None, Any]


def written(rows: list[tuple[str, ...]] | None = None, head: tuple[str, ...] = HEAD, **options: Any) -> str:
    out = io.StringIO()
    options = {"lineterminator": "\n", "quoting": csv.QUOTE_MINIMAL, **options}
    writer = csv.writer(out, **options)
    writer.writerows(([head] if head else []) + (TABLE if rows is None else rows))
    return out.getvalue()


def cases() -> Iterator[Case]:
    for mark in ",;\t|":
        for end in ("\n", "\r\n", "\r"):
            for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
                rows = [(a, b.replace("\n", end), c) for a, b, c in TABLE]
                text = written(rows, delimiter=mark, lineterminator=end, quoting=quoting)
                yield f"delimiter {mark!r} end {end!r} quoting {quoting}", text.encode(), None, rows
    for mark in "^~:#\x1f ":
        text = written(delimiter=mark).encode()
        yield f"delimiter {mark!r} undeclared", text, None, REFUSED
        yield f"delimiter {mark!r} declared", text, Form(delimiter=mark), TABLE
    for encoding in ("utf-8-sig", "utf-16", "iso8859-2", "cp1250"):
        text = written().encode(encoding)
        plain = encoding == "utf-8-sig"
        yield f"encoding {encoding} undeclared", text, None, TABLE if plain else REFUSED
        yield f"encoding {encoding} declared", text, Form(encoding=encoding), TABLE
    escaped = written(quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\").encode()
    yield "backslash undeclared", escaped, None, REFUSED
    yield "backslash declared", escaped, Form(escape="\\"), TABLE
    lines = written([row for row in TABLE if "\n" not in row[1]]).splitlines()
    plain_table = [row for row in TABLE if "\n" not in row[1]]
    for at in range(1, len(lines)):
        cut = [*lines[:at], lines[at].rsplit(",", 1)[0], *lines[at + 1 :]]
        yield f"row {at} one short", "\n".join(cut).encode(), None, REFUSED
        more = [*lines[:at], lines[at] + ",x", *lines[at + 1 :]]
        yield f"row {at} one more", "\n".join(more).encode(), None, REFUSED
        bare = [*lines[:at], '9,"a "b" c",1', *lines[at + 1 :]]
        yield f"row {at} bare quotes", "\n".join(bare).encode(), None, REFUSED
        tail = [*lines[:at], '9,"a"b,1', *lines[at + 1 :]]
        yield f"row {at} text after quotes", "\n".join(tail).encode(), None, REFUSED
        blank = [*lines[:at], "", *lines[at:]]
        yield f"blank line {at}", "\n".join(blank).encode(), None, plain_table
    for above in ("Report of May", "Report;x", "a,b,c\n\nd", "sep=,", "#"):
        yield f"preamble {above!r}", "\n".join([above, *lines]).encode(), None, REFUSED
    for below in ("Total", "Total,12", "-- 5 rows", "Total,,,9"):
        yield f"footer {below!r}", "\n".join([*lines, below]).encode(), None, REFUSED
    yield "no header", written(head=()).encode(), None, REFUSED
    yield "heading twice", written(head=("order_id", "price", "price")).encode(), None, REFUSED
    yield "two header lines", ("x,y,z\n" + written()).encode(), None, REFUSED
    yield "headings of people", written(head=(" Order ID ", "PRICE", "Sold-On")).encode(), None, TABLE
    yield "digit first", written(head=("order_id", "2nd", "sold_on")).encode(), None, REFUSED
    yield "digit first declared", written(head=("order_id", "2nd", "sold_on")).encode(), Form(
        aliases={"2nd": "price"}), TABLE  # fmt: skip
    yield "no Latin letters declared", written(head=("番号", "価格", "日付")).encode(), Form(
        aliases={"番号": "order_id", "価格": "price", "日付": "sold_on"}), TABLE  # fmt: skip
    yield "no line end at the end", written().rstrip("\n").encode(), None, TABLE
    yield "header alone", ",".join(HEAD).encode(), None, []
    yield "nothing", b"", None, REFUSED
    yield "open quotes at the end", written().encode() + b'6,"x,1\n', None, REFUSED
    yield "blank fields", written([("1", "", "")]).encode(), None, [("1", None, None)]
    yield (
        "quoted blank fields",
        written([("1", "", "")], quoting=csv.QUOTE_ALL).encode(),
        None,
        [("1", None, None)],
    )
    yield "blanks around", b"order_id,price,sold_on\n 1 , a ,b \n", None, [(" 1 ", " a ", "b ")]
    yield "a NUL", b"order_id,price,sold_on\n1,a\0b,c\n", None, [("1", "a\0b", "c")]
    yield (
        "a large field",
        written([("1", "x" * 1_000_000, "2")]).encode(),
        None,
        [("1", "x" * 1_000_000, "2")],
    )


def test_score_over_dialects_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """Every case is read to the very table or refused as it must be; the score is printed."""
    right: dict[str, int] = {"read": 0, "refused": 0}
    wrong = []
    for name, content, form, wanted in cases():
        try:
            found: Any = sold(content, form)
        except LakeError:
            found = REFUSED
        if found == wanted:
            right["refused" if wanted == REFUSED else "read"] += 1
        else:
            wrong.append((name, found))
    total = sum(right.values()) + len(wrong)
    with capsys.disabled():
        print(f"\nCSV score: {sum(right.values())} of {total} right ({right['read']} read)")
    assert wrong == []
    assert total > 80
