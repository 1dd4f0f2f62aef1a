"""What the SQL of models says of their columns, one step up.

Belongs here: models made for it, with the right answer beside each. Does not: the shipped marts
(tests/test_dbt_lineage.py).
"""

from __future__ import annotations

import pytest

from lakehouse.dbt.lineage import Lineage, of_models

LOANS, FIRST, OTHER, LAST = "source.p.silver.loans", "model.p.first", "model.p.other", "model.p.last"


def of(last: str, *needs: str, **more: str) -> Lineage | None:
    codes = {
        FIRST: "select key, amount, cast(state as varchar) as place from {{ source('silver', 'loans') }}",
        OTHER: 'select key, loans.rate as share from {{ source("silver", "loans") }} as loans',
        LAST: last,
        **more,
    }
    return of_models(codes, {FIRST: [LOANS], OTHER: [LOANS], LAST: needs}).get(LAST)


@pytest.mark.parametrize(
    ("sql", "needs", "right"),
    [
        ("select * from {{ ref('first') }}", [FIRST],
         {"key": [(FIRST, "key")], "amount": [(FIRST, "amount")], "place": [(FIRST, "place")]}),
        ("select sum(amount) as total, count(*) as n from {{ ref('first') }} group by place", [FIRST],
         {"total": [(FIRST, "amount")], "n": []}),
        ("with a as (select key, amount * 2 as b from {{ref('first')}}) select b + 1 as c from a", [FIRST],
         {"c": [(FIRST, "amount")]}),
        ("select f.place, amount * share as part from {{ ref('first') }} f "
         "join {{ ref(\"other\") }} o using (key)",
         [FIRST, OTHER], {"place": [(FIRST, "place")], "part": [(FIRST, "amount"), (OTHER, "share")]}),
        ("select key from {{ ref('first') }} union all select share from {{ ref('other') }}", [FIRST, OTHER],
         {"key": [(FIRST, "key"), (OTHER, "share")]}),
        ("select state as place from {{ source('silver', 'loans') }}", [LOANS],
         {"place": [(LOANS, "state")]}),
        ("select 1 as one", [], {"one": []}),
    ],
)  # fmt: skip
def test_each_column_names_those_right_above(sql: str, needs: list[str], right: Lineage) -> None:
    assert of(sql, *needs) == right


@pytest.mark.parametrize(
    "sql",
    [
        "select {{ cents('amount') }} as c from {{ ref('first') }}",
        "{% for c in ['a'] %} select {{ c }} {% endfor %}",
        "select from where",
        "",
        "select * from {{ ref('first', v=2) }}",
    ],
)
def test_of_what_cannot_be_read_nothing_is_told(sql: str) -> None:
    assert of(sql, FIRST) in (None, {})


def test_a_star_of_an_unread_model_tells_nothing_wrong() -> None:
    codes = {FIRST: "select {{ macro() }}", LAST: "select *, 1 as one from {{ ref('first') }}"}
    assert of_models(codes, {FIRST: [], LAST: [FIRST]}) == {LAST: {"one": []}}
