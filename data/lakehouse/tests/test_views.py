"""Views of FHIR resources: right values are those of the specifications, named beside each group."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from lakehouse.domains.clinical.views import run_view
from lakehouse.domains.clinical.views.types import exact
from lakehouse.errors import LakeError, Unsupported, ViewError

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "active": True,
    "birthDate": "1970-06",
    "_birthDate": {"extension": [{"url": "http://x/time", "valueDateTime": "1970-06-01T10:00:00Z"}]},
    "multipleBirthInteger": 2,
    "name": [
        {"use": "official", "family": "Ada", "given": ["A", "B"], "period": {"start": "2001", "end": "2002-02"}},
        {"use": "old", "family": "Bea", "given": ["C"]},
    ],
    "link": [
        {"other": {"reference": "Patient/p1"}},
        {"other": {"reference": "http://h/fhir/Patient/p2/_history/3"}},
        {"other": {"reference": "#inside"}},
        {"other": {"reference": "Patient?identifier=a|b"}},
        {"other": {"reference": "Organization/p1"}},
    ],
}  # fmt: skip
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "valueQuantity": {"value": 5.4, "unit": "mg", "code": "mg"},
    "effectivePeriod": {"start": "2020-01-01T10:00:00+02:00", "end": "2020-01-01T08:30:00Z"},
    "component": [
        {"valueInteger": 1},
        {"valueString": "x"},
        {"valueQuantity": {"value": 2, "comparator": "<"}},
    ],
}


def value(path: str, resource: dict[str, Any] = PATIENT, **more: Any) -> Any:
    """Return what a path gives as a list of a column without a type."""
    column = {"name": "v", "path": path, "collection": True, **more}
    frame = run_view({"resource": resource["resourceType"], "select": [{"column": [column]}]}, [resource])
    return frame["v"].to_list()[0]


@pytest.mark.parametrize(
    ("path", "right"),
    [
        # https://hl7.org/fhirpath/N1/#operators: empty collections, three-valued logic, priority
        ("1 + 2 * 3", [7]), ("(1 + 2) * 3", [9]), ("-1 + 2", [1]), ("7 div 2", [3]), ("-7 div 2", [-3]),
        ("-7 mod 2", [-1]), ("1 / 0", []), ("1 div 0", []), ("0.1 + 0.2 = 0.3", [True]), ("1 = 1.0", [True]),
        ("{} + 1", []), ("{} = {}", []), ("1 = {}", []), ("{} != 1", []), ("true and {}", []),
        ("false and {}", [False]), ("{} and false", [False]), ("true or {}", [True]), ("{} or {}", []),
        ("{} or true", [True]), ("true xor {}", []), ("true xor false", [True]), ("false implies {}", [True]),
        ("{} implies true", [True]), ("true implies {}", []), ("{}.not()", []), ("true.not()", [False]),
        ("'a' + 'b'", ["ab"]), ("'a' & {}", ["a"]), ("{} & {}", [""]), ("'ab' < 'b'", [True]),
        ("1 < 2 and 2 >= 2 or false", [True]), ("1 | 2 | 1", [1, 2]), ("1 in (1 | 2)", [True]),
        ("(1 | 2) contains 3", [False]), ("'A b' ~ 'a  B'", [True]), ("1 !~ 2", [True]), ("{} ~ {}", [True]),
        ("(1 | 2) = (1 | 2)", [True]), ("(1 | 2) = (2 | 1)", [False]), ("(1 | 2) = 1", [False]),
        ("(1 | 2) ~ (2 | 1)", [True]), ("1 is integer", [True]), ("1.0 is integer", [False]),
        # literals
        (r"'it\'s \u0041\n'", ["it's A\n"]), ("`active`", [True]), ("@2015-02-04", ["2015-02-04"]),
        ("@T14:30", ["14:30"]), ("@2015T", ["2015T"]), ("5 'mg' = 5.0 'mg'", [True]), ("5 'mg' = 5 'g'", []),
        ("1 week = 1 'wk'", [True]), ("// nothing\n 1 /* one */", [1]),
        # moments of different precision: https://hl7.org/fhirpath/N1/#datetime-equality
        ("@2012 = @2013", [False]), ("@2012 = @2012-01", []), ("@2012-01 < @2012-02-01", [True]),
        ("@2012-01-01T10:00:00Z = @2012-01-01T11:00:00+01:00", [True]),
        ("@2012-01-01T10:00:00 = @2012-01-01T10:00:00.0", [True]), ("@2012-01-01T10:30 > @2012-01-01T10:30:00", []),
        ("@2012-01-01T10:00:00Z < @2012-01-01T10:00:00", []), ("@2012-01-01T10:00:00Z < @2012-01-05T10:00:00", [True]),
        ("@T10:30 < @T10:31:05", [True]), ("@2015-02-04T14:34:28Z is dateTime", [True]),
        # arithmetic: https://hl7.org/fhirpath/N1/#datetime-arithmetic
        ("@2014 + 24 months", ["2016"]), ("@2019-03-01 + 24 months", ["2021-03-01"]),
        ("@2016-02-29 + 1 year", ["2017-02-28"]), ("@2014-01-31 + 1 month", ["2014-02-28"]),
        ("@2014-01-01T23:59:59.5Z + 1 second", ["2014-01-02T00:00:00.5Z"]), ("@T23:30 + 1 hour", ["00:30"]),
        ("@2012-03-01 - 1 day", ["2012-02-29"]), ("@9999-12-31 + 1 day", []), ("@2014 + 365 days", ["2015"]),
    ],
)  # fmt: skip
def test_operators_and_literals(path: str, right: list[Any]) -> None:
    assert value(path) == right


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("name.family", ["Ada", "Bea"]), ("Patient.name.given", ["A", "B", "C"]), ("name[1].family", ["Bea"]),
        ("name[2].family", []), ("name[-1].family", []), ("name.given[2]", ["C"]), ("nothing.at.all", []),
        ("name.where(use = 'old').family", ["Bea"]), ("name.where($index = 1).family", ["Bea"]),
        ("name.given.where($this = 'B')", ["B"]), ("name.exists(use = 'maiden')", [False]),
        ("name.empty()", [False]), ("photo.empty()", [True]), ("photo.exists()", [False]),
        ("name.select(given.first())", ["A", "C"]), ("name.given.last()", ["C"]), ("name.given.tail()", ["B", "C"]),
        ("name.given.skip(1).take(1)", ["B"]), ("name.given.count()", [3]), ("name.all(given.exists())", [True]),
        ("name.given.join('-')", ["A-B-C"]), ("photo.title.join(',')", [""]), ("name.given.join()", ["ABC"]),
        ("iif(active, 'yes', 'no')", ["yes"]), ("iif({}, 'yes')", []), ("name.family.first().upper()", ["ADA"]),
        ("'abc'.substring(1, 1)", ["b"]), ("'abc'.contains('b') and 'abc'.startsWith('a')", [True]),
        ("'abc'.matches('^a.c$')", [True]), ("'12'.toInteger() + 1", [13]), ("(-1.5).abs()", ["1.5"]),
        ("(-1.5).floor()", [-2]), ("1.5.ceiling()", [2]), ("multipleBirth.ofType(integer)", [2]),
        ("multipleBirth.ofType(boolean)", []), ("multipleBirth is integer", [True]), ("(multipleBirth as integer)", [2]),
        ("birthDate.extension('http://x/time').value.ofType(dateTime)", ["1970-06-01T10:00:00Z"]),
        ("birthDate < @1970-07-01", [True]), ("birthDate = @1970-06-01", []), ("birthDate > '1960'", [True]),
        ("%resource.id & '!' ", ["p1!"]), ("name.first().select(%context.id)", ["p1"]), ("%ucum.length()", [25]),
        # https://build.fhir.org/ig/HL7/sql-on-fhir: a key belongs to one type, and a reference to one resource
        ("getResourceKey()", ["Patient/p1"]), ("link.other.getReferenceKey()", ["Patient/p1", "Patient/p2", "Organization/p1"]),
        ("link.other.getReferenceKey(Patient)", ["Patient/p1", "Patient/p2"]),
        ("link[0].other.getReferenceKey('Patient') = getResourceKey()", [True]),
        ("link[4].other.getReferenceKey() = getResourceKey()", [False]),
    ],
)  # fmt: skip
def test_paths_and_functions(path: str, right: list[Any]) -> None:
    got = value(path)
    assert [str(one) if isinstance(one, float) else one for one in got] == right


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("value.ofType(Quantity).value > 5", [True]), ("value.ofType(Quantity) > 5 'mg'", [True]),
        ("value.ofType(Quantity) > 5 'g'", []), ("value.unit", ["mg"]), ("component.value.ofType(integer)", [1]),
        ("component.value.ofType(string)", ["x"]), ("component.where(value is Quantity).count()", [1]),
        # A comparator: the value is not known, so neither order nor equality is.
        ("component.value.ofType(Quantity).first() < 3 '1'", []),
        ("effective.ofType(Period).start < effective.ofType(Period).end", [True]),
        ("effective.ofType(Period).start = @2020-01-01T08:00:00Z", [True]),
        ("component.value.ofType(System.String)", ["x"]), ("component.value.ofType(FHIR.string)", ["x"]),
        ("effective.where(start.exists()).ofType(Period).start", ["2020-01-01T10:00:00+02:00"]),
    ],
)  # fmt: skip
def test_elements_of_several_types(path: str, right: list[Any]) -> None:
    assert value(path, OBSERVATION) == right


@pytest.mark.parametrize(
    ("path", "right"),
    [
        # https://build.fhir.org/ig/HL7/FHIRPath/#lowboundaryprecision-integer-decimal--date--datetime--time
        ("1.587.lowBoundary()", "1.5865"), ("1.587.highBoundary()", "1.5875"), ("1.587.lowBoundary(2)", "1.58"),
        ("1.587.highBoundary(2)", "1.59"), ("1.587.lowBoundary(6)", "1.586500"), ("1.587.lowBoundary(-1)", None),
        ("1.587.lowBoundary(0)", "1"), ("1.587.highBoundary(0)", "2"), ("1.587.lowBoundary(32)", None),
        ("(-1.587).lowBoundary()", "-1.5875"), ("1.lowBoundary()", "0.5"), ("1.highBoundary()", "1.5"),
        ("100.0.highBoundary()", "100.05"), ("0.0034.lowBoundary(1)", "0.0"),
        ("@2014.lowBoundary(6)", "2014-01"), ("@2014.highBoundary(6)", "2014-12"),
        ("@2014-02.highBoundary()", "2014-02-28"), ("@2016-02.highBoundary()", "2016-02-29"),
        ("@2014-01-01T08.lowBoundary(17)", "2014-01-01T08:00:00.000+14:00"),
        ("@2014-01-01T08.highBoundary(17)", "2014-01-01T08:59:59.999-12:00"),
        ("@2014-01-01T08:05+08:00.lowBoundary(17)", "2014-01-01T08:05:00.000+08:00"),
        ("@2014-01-01T08:05:07+08:00.highBoundary()", "2014-01-01T08:05:07.999+08:00"),
        ("@2014-01-01T08.lowBoundary(8)", "2014-01-01"), ("@2014-01-01T08.lowBoundary(9)", None),
        ("@T10:30.lowBoundary(9)", "10:30:00.000"), ("@T10:30.highBoundary()", "10:30:59.999"),
        ("@T10.highBoundary(4)", "10:59"), ("birthDate.lowBoundary()", "1970-06-01"),
        ("birthDate.highBoundary()", "1970-06-30"), ("name.first().period.lowBoundary()", "2001-01-01T00:00:00.000+14:00"),
        ("name.first().period.highBoundary()", "2002-02-28T23:59:59.999-12:00"), ("photo.lowBoundary()", None),
    ],
)  # fmt: skip
def test_boundaries(path: str, right: str | None) -> None:
    frame = run_view(
        {"resource": "Patient", "select": [{"column": [{"name": "v", "path": f"({path}).toString()"}]}]},
        [PATIENT],
    )
    assert frame["v"].to_list() == [right]


def test_a_decimal_keeps_the_precision_it_was_written_in() -> None:
    view = {"resource": "Observation", "select": [{"column": [
        {"name": "v", "path": "value.ofType(Quantity).value.lowBoundary()", "type": "decimal"}]}]}  # fmt: skip
    given = {"resourceType": "Observation", "valueQuantity": {"value": Decimal("1.00")}}
    assert run_view(view, [given])["v"].to_list() == [0.995]


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ([], "a JSON object"),
        ("{", "is JSON"),
        ({}, "resource"),
        ({"resource": "Patient"}, "select"),
        ({"resource": "Patient", "select": []}, "select"),
        ({"resource": "Patient", "select": {}}, "select"),
        ({"resource": "Patient", "select": [{}]}, "no column"),
        ({"resource": "patient", "select": [{"column": [{"name": "a", "path": "id"}]}]}, "resource"),
        ({"resourceType": "Patient", "resource": "Patient", "select": []}, "ViewDefinition"),
        (
            {"resource": "Patient", "name": "1a", "select": [{"column": [{"name": "a", "path": "id"}]}]},
            "the name of",
        ),
    ],
)
def test_an_invalid_view_is_refused(view: Any, says: str) -> None:
    with pytest.raises(ViewError, match=says):
        run_view(view, [])


@pytest.mark.parametrize(
    ("select", "says"),
    [
        ({"column": [{"name": "a", "path": "id"}, {"name": "a", "path": "id"}]}, "two columns"),
        ({"column": [{"name": "_a", "path": "id"}]}, "begins with a letter"),
        ({"column": [{"name": "a-b", "path": "id"}]}, "begins with a letter"),
        ({"column": [{"path": "id"}]}, "name"),
        ({"column": [{"name": "a"}]}, "FHIRPath expression is a text"),
        ({"column": [{"name": "a", "path": ""}]}, "FHIRPath expression is a text"),
        ({"column": [{"name": "a", "path": "id", "type": "strng"}]}, "no FHIR type"),
        ({"column": [{"name": "a", "path": "id", "collection": "yes"}]}, "true or false"),
        ({"column": [{"name": "a", "path": "id", "tag": [{"name": "ansi/type", "value": "XML"}]}]}, "not known"),
        ({"column": [{"name": "a", "path": "id", "tag": [{"name": "odp/pii", "value": "no"}]}]}, "true or false"),
        ({"foreach": "name", "column": [{"name": "a", "path": "use"}]}, "foreach"),
        ({"forEach": "name", "forEachOrNull": "name", "column": [{"name": "a", "path": "use"}]}, "one alone"),
        ({"forEach": "name", "repeat": ["name"], "column": [{"name": "a", "path": "use"}]}, "one alone"),
        ({"repeat": "name", "column": [{"name": "a", "path": "use"}]}, "no list"),
        ({"repeat": [], "column": [{"name": "a", "path": "use"}]}, "no list"),
        ({"column": [{"name": "a", "path": "id.nothing()"}]}, "no function nothing"),
        ({"column": [{"name": "a", "path": "name.first(1)"}]}, "takes 0 arguments"),
        ({"column": [{"name": "a", "path": "name.where()"}]}, "takes 1 arguments"),
        ({"column": [{"name": "a", "path": "id ="}]}, "ends too early at 4"),
        ({"column": [{"name": "a", "path": "id id"}]}, "unexpected 'id' at 3"),
        ({"column": [{"name": "a", "path": "@2020-13-01"}]}, "no date"),
        ({"column": [{"name": "a", "path": "(" * 5000}]}, "nested too deeply"),
        ({"column": [{"name": "a", "path": "%b"}]}, "no constant"),
        ({"column": [{"name": "a", "path": "value.ofType(quantity)"}]}, "no FHIR type"),
        ({"unionAll": [{"column": [{"name": "a", "path": "id", "type": "id"}]},
                       {"column": [{"name": "a", "path": "active", "type": "boolean"}]}]}, "another type"),
        ({"unionAll": [{"column": [{"name": "a", "path": "id"}]},
                       {"column": [{"name": "a", "path": "id", "collection": True}]}]}, "another type"),
    ],
)  # fmt: skip
def test_an_invalid_select_is_refused_without_any_resource(select: Any, says: str) -> None:
    with pytest.raises(ViewError, match=says):
        run_view({"resource": "Patient", "select": [select]}, [])


@pytest.mark.parametrize(
    "constant",
    [
        {"name": "c"}, {"name": "c", "valueString": "a", "valueCode": "b"}, {"name": "c", "valueInteger": "1"},
        {"name": "c", "valueInteger": True}, {"name": "c", "valuePositiveInt": 0}, {"name": "c", "valueDate": "x"},
        {"name": "c", "valueDate": "2020-01-01T00:00:00Z"}, {"name": "c", "valueTime": "T10"}, {"name": "1", "valueId": "a"},
        {"name": "c", "valueQuantity": {"value": 1}}, {"name": "c", "valueBoolean": "true"}, {"valueString": "a"},
        {"name": "rowIndex", "valueInteger": 1}, "c",
    ],
)  # fmt: skip
def test_an_invalid_constant_is_refused(constant: Any) -> None:
    with pytest.raises(ViewError, match=r"constant\[0\]"):
        run_view({"resource": "Patient", "constant": [constant],
                  "select": [{"column": [{"name": "a", "path": "id"}]}]}, [])  # fmt: skip


@pytest.mark.parametrize(
    ("constant", "path"),
    [
        ({"valueDecimal": 5.4}, "value.ofType(Quantity).value = %c"),
        ({"valueInteger": 1}, "component.value.ofType(integer) = %c"),
        ({"valueInteger64": "1"}, "component.value.ofType(integer) = %c"),
        ({"valueInstant": "2020-01-01T08:00:00Z"}, "effective.ofType(Period).start = %c"),
        ({"valueDateTime": "2020-01-02"}, "effective.ofType(Period).start < %c"),
        ({"valueCanonical": "final"}, "status = %'c'"),
        ({"valueMarkdown": "final"}, "status = %`c`"),
        ({"valueTime": "10:00:00"}, "%c = @T10:00:00"),
        ({"valueBoolean": True}, "%c"),
    ],
)
def test_constants_of_each_type(constant: dict[str, Any], path: str) -> None:
    view = {"resource": "Observation", "constant": [{"name": "c", **constant}],
            "select": [{"column": [{"name": "v", "path": path}]}]}  # fmt: skip
    assert run_view(view, [OBSERVATION])["v"].to_list() == [True]


@pytest.mark.parametrize(
    "path", ["today()", "name.memberOf('x')", "name.first().ofType(HumanName)", "subject.resolve()"]
)
def test_what_is_not_supported_says_so(path: str) -> None:
    with pytest.raises(Unsupported, match=r"support|known"):
        value(path)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ({"path": "name.family"}, "several values"),
        ({"path": "name.first()"}, "needs its `type`"),
        ({"path": "name.first()", "type": "string"}, "is no string"),
        ({"path": "active", "type": "string"}, "boolean is no string"),
        ({"path": "id", "type": "integer"}, "string is no integer"),
        ({"path": "id", "type": "HumanName"}, "string is no HumanName"),
        ({"path": "multipleBirth.ofType(integer) - 2", "type": "positiveInt"}, "is no positiveInt"),
        ({"path": "name.given.first() > 1"}, "have no order"),
        ({"path": "name.given = 'x' or name"}, "several"),
        ({"path": "birthDate", "type": "date", "tag": [{"name": "ansi/type", "value": "DATE"}]}, "date"),
        ({"path": "1e5"}, "unexpected"),
        ({"path": "name.select(family | use)", "type": "string"}, "several values"),
    ],
)
def test_a_resource_that_does_not_fit_is_told_without_its_content(column: dict[str, Any], says: str) -> None:
    with pytest.raises(LakeError, match=says) as told:
        run_view({"resource": "Patient", "select": [{"column": [{"name": "v", **column}]}]}, [PATIENT])
    assert not any(secret in str(told.value) for secret in ("Ada", "Bea", "1970", "p1"))


def test_columns_have_the_types_that_are_declared() -> None:
    def column(
        name: str, path: str, type_: str | None = None, ansi: str | None = None, **more: Any
    ) -> dict[str, Any]:
        tags = {"tag": [{"name": "ansi/type", "value": ansi}]} if ansi else {}
        return {"name": name, "path": path, **({"type": type_} if type_ else {}), **tags, **more}

    prefix = "http://hl7.org/fhir/StructureDefinition/"
    view = {"resource": "Observation", "select": [{"column": [
        column("a", "status", "code"), column("b", "value.ofType(Quantity).value", prefix + "decimal"),
        column("c", "component.count()", "unsignedInt"), column("d", "status = 'final'"),
        column("e", "value.ofType(Quantity)", "Quantity"), column("f", "effective.ofType(Period).end", "dateTime", "TIMESTAMP"),
        column("g", "@2020-02-03", "date", "DATE"), column("h", "component.count()", "integer", "VARCHAR(10)"),
        column("i", "component.value.ofType(integer)", "integer", collection=True), column("j", "%rowIndex"),
        column("k", "nothing"), column("l", "nothing", "decimal"), column("m", "component.count()", "integer", "NUMERIC(5, 2)"),
    ]}]}  # fmt: skip
    frame = run_view(view, [OBSERVATION])
    assert frame.schema == {
        "a": pl.String, "b": pl.Float64, "c": pl.Int64, "d": pl.Boolean, "e": pl.String,
        "f": pl.Datetime("us", "UTC"), "g": pl.Date, "h": pl.String, "i": pl.List(pl.Int64), "j": pl.Int64,
        "k": pl.String, "l": pl.Float64, "m": pl.Float64,
    }  # fmt: skip
    assert frame.row(0) == (
        "final", 5.4, 3, True, '{"value":5.4,"unit":"mg","code":"mg"}', datetime(2020, 1, 1, 8, 30, tzinfo=UTC),
        date(2020, 2, 3), "3", [1], 0, None, None, 3.0,
    )  # fmt: skip
    # Without any resource the types that are stated or told by the path are the same.
    assert run_view(view, []).schema == frame.schema


@pytest.mark.parametrize("number", [float("inf"), Decimal("1e400"), 2**63])
def test_a_number_that_a_column_cannot_hold_is_refused(number: Any) -> None:
    type_ = "integer64" if isinstance(number, int) else "decimal"
    view = {"resource": "Observation", "select": [{"column": [{"name": "v", "path": "value.ofType(Quantity).value", "type": type_}]}]}  # fmt: skip
    with pytest.raises(ViewError, match=f"is no {type_}|can hold"):
        run_view(view, [{"resourceType": "Observation", "valueQuantity": {"value": number}}])


ITEMS = {"resourceType": "Q", "id": "q", "item": [
    {"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"item": [{"linkId": "1.1.1"}]}]}]}, {"linkId": "2"}]}  # fmt: skip


def rows(*selects: dict[str, Any], resource: dict[str, Any] = PATIENT) -> list[dict[str, Any]]:
    return run_view({"resource": resource["resourceType"], "select": list(selects)}, [resource]).to_dicts()


def test_repeat_follows_every_path_in_the_order_of_a_reader() -> None:
    select = {
        "repeat": ["item", "answer.item"],
        "column": [{"name": "id", "path": "linkId"}, {"name": "i", "path": "%rowIndex"}],
    }
    resource = {**ITEMS, "resourceType": "QuestionnaireResponse"}
    assert rows(select, resource=resource) == [
        {"id": "1", "i": 0}, {"id": "1.1", "i": 1}, {"id": "1.1.1", "i": 2}, {"id": "2", "i": 3}]  # fmt: skip


@pytest.mark.parametrize("path", ["$this", "%resource", "'a'"])
def test_a_repeat_without_end_is_refused(path: str) -> None:
    with pytest.raises(ViewError, match="repeat"):
        rows({"repeat": [path], "column": [{"name": "a", "path": "%rowIndex"}]})


def test_the_function_repeat_ends_too() -> None:
    assert value("item.repeat(item | answer.item).linkId", {**ITEMS, "resourceType": "QuestionnaireResponse"}) == [
        "1.1", "1.1.1"]  # fmt: skip
    with pytest.raises(ViewError, match="more than"):
        value("multipleBirth.ofType(integer).repeat($this + 1)")


def test_an_iteration_that_finds_nothing_gives_one_row_of_nulls() -> None:
    """https://sql-on-fhir.org/ig/2.0/processing_model.html, step 3: all columns below it, literals too."""
    inner = {
        "forEach": "telecom",
        "column": [{"name": "t", "path": "value"}, {"name": "j", "path": "%rowIndex"}],
    }
    select = {"forEachOrNull": "contact", "column": [{"name": "a", "path": "'x'"}, {"name": "i", "path": "%rowIndex"}],
              "select": [inner]}  # fmt: skip
    assert rows(select) == [{"a": None, "i": 0, "t": None, "j": 0}]
    union = {"forEachOrNull": "contact", "unionAll": [{"column": [{"name": "a", "path": "'x'"}]},
                                                      {"column": [{"name": "a", "path": "'y'"}]}]}  # fmt: skip
    assert rows(union) == [{"a": None}]


def test_selects_beside_each_other_are_crossed_and_below_each_other_nested() -> None:
    made = rows(
        {"column": [{"name": "id", "path": "id"}], "select": [{"forEach": "name", "column": [{"name": "f", "path": "family"}],
         "select": [{"forEach": "given", "column": [{"name": "g", "path": "$this"}]}]}]},
        {"forEach": "link", "column": [{"name": "l", "path": "%rowIndex"}]},
    )  # fmt: skip
    assert [(r["f"], r["g"], r["l"]) for r in made] == [
        (f, g, link) for f, g in [("Ada", "A"), ("Ada", "B"), ("Bea", "C")] for link in range(5)
    ]


def test_a_condition_that_is_none_is_refused_by_its_text() -> None:
    view = {"resource": "Patient", "select": [{"column": [{"name": "a", "path": "id"}]}]}
    assert run_view({**view, "where": [{"path": "photo"}]}, [PATIENT]).is_empty()
    assert run_view({**view, "where": [{"path": "active"}, {"path": "id = 'p1'"}]}, [PATIENT]).height == 1
    with pytest.raises(ViewError, match=r"name\.family.*no boolean"):
        run_view({**view, "where": [{"path": "name.family"}]}, [PATIENT])


def test_a_view_may_be_given_as_json_text() -> None:
    text = '{"resource": "Patient", "select": [{"column": [{"name": "a", "path": "id"}]}]}'
    assert (
        run_view(text, [PATIENT]).to_dicts() == run_view(text.encode(), [PATIENT]).to_dicts() == [{"a": "p1"}]
    )


@pytest.mark.parametrize("path", ["value.ofType(Quantity).value", "value.ofType(Quantity).value + 1"])
def test_a_number_that_is_too_large_in_json_is_refused_and_never_infinite(path: str) -> None:
    text = '{"resourceType": "Observation", "valueQuantity": {"value": 1e999999999}}'
    for given in (exact(text), json.loads(text)):
        with pytest.raises(ViewError, match=r"is no decimal|not defined"):
            value(path, given, type="decimal")


def test_a_decimal_in_a_text_column_is_the_one_that_was_written() -> None:
    given = exact('{"resourceType": "Observation", "valueQuantity": {"value": 12345678901234567890.10}}')
    tag = [{"name": "ansi/type", "value": "VARCHAR"}]
    column = {"name": "v", "path": "value.ofType(Quantity).value", "type": "decimal", "tag": tag}
    made = run_view({"resource": "Observation", "select": [{"column": [column]}]}, [given])
    assert made["v"].to_list() == ["12345678901234567890.10"]


def test_what_is_no_resource_is_refused() -> None:
    view = {"resource": "Patient", "select": [{"column": [{"name": "a", "path": "id"}]}]}
    with pytest.raises(ViewError, match="no JSON object"):
        run_view(view, ["{}"])  # type: ignore[list-item]
