"""Rows of an older version are told, and a key made smaller merges nothing."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import narwhals.stable.v2 as nw
import pytest
from test_flow import EVENT_TABLES, event, lake, land, run
from test_flow_increment import day

from lakehouse.contracts import Contract, RowRule
from lakehouse.contracts.release import needed, snapshot
from lakehouse.domains.pipelines import contracts as c
from lakehouse.domains.pipelines import transforms
from lakehouse.errors import SchemaViolation
from lakehouse.pipeline import Lake, code, refresh
from lakehouse.pipeline.code import fingerprint, is_older
from lakehouse.pipeline.source import _index, _names, _text, _tree, source_of
from lakehouse.quarantine import replay
from lakehouse.registry import contracts, transform_of
from lakehouse.store import CommitOptions
from lakehouse.verify import verify

__all__ = ["lake"]
SILVER, GOLD = c.PIPELINE_EVENTS, c.PIPELINE_METRICS


def halved(raw: nw.LazyFrame) -> nw.LazyFrame:
    return transforms.pipeline_events(raw).with_columns(duration_ms=nw.lit(7, nw.Int64))


def filled(lake: Lake) -> Lake:
    land(lake, "1.ndjson", *[event(f"p{n}", at=day(1)) for n in range(9)], event("b", duration_ms=-1))
    run(lake)
    return lake


def warned(lake: Lake) -> list[tuple[str, str]]:
    return [(w.table, w.check) for w in verify(lake, EVENT_TABLES).warnings]


def test_each_shipped_table_has_a_print_of_its_own_that_stays() -> None:
    computed = [table for table in contracts() if table.sources]
    prints = [fingerprint(table, transform_of(table)) for table in computed]
    assert len(set(prints)) == len(computed)
    assert all(0 < number < 2**60 for number in prints)
    fingerprint.cache_clear()
    assert [fingerprint(table, transform_of(table)) for table in computed] == prints


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(SILVER, version="1.0.9"),
        dataclasses.replace(SILVER, rules=SILVER.rules[1:]),
        dataclasses.replace(SILVER, columns=SILVER.columns[:-5] + SILVER.columns[-4:]),
        dataclasses.replace(SILVER, sequence_by=("occurred_at",)),
        dataclasses.replace(
            SILVER,
            rules=(dataclasses.replace(SILVER.rules[0], passes=lambda: nw.lit(True)), *SILVER.rules[1:]),
        ),
    ],
)
def test_a_changed_contract_or_rule_changes_it(changed: Contract) -> None:
    assert fingerprint(changed, transforms.pipeline_events) != fingerprint(SILVER, transforms.pipeline_events)


def test_rows_of_another_order_of_landing_are_of_an_older_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of several rows counts is decided by the library, for tables that are made row by row."""
    computed = [table for table in contracts() if table.sources]
    now = {table.path: fingerprint(table, transform_of(table)) for table in computed}
    monkeypatch.setattr(code, "_FLOW", 1)
    fingerprint.cache_clear()
    before = {table.path: fingerprint(table, transform_of(table)) for table in computed}
    fingerprint.cache_clear()
    changed = {path for path in now if now[path] != before[path]}
    assert changed == {table.path for table in computed if table.row_wise}
    assert {path.split("/")[0] for path in changed} == {"silver"}


def test_texts_owners_and_limits_do_not() -> None:
    rule = dataclasses.replace(SILVER.rules[0], description="said in other words")
    same = dataclasses.replace(
        SILVER,
        description="Other words.",
        owner="team:x",
        max_reject_ratio=0.5,
        rules=(rule, *SILVER.rules[1:]),
    )
    assert fingerprint(same, transforms.pipeline_events) == fingerprint(SILVER, transforms.pipeline_events)


BEFORE = '''
"""What it means."""
import functools
import dom.helpers
from dom import helpers
from dom.helpers import FACTOR as factor
_LIMIT = 3
_UNUSED = 4

def table(raw):
    """Say it."""
    return helpers.doubled(raw) * factor + _LIMIT  # a comment

def other(raw):
    return dom.helpers.unused(raw)

def made(build):
    def inner(frame):
        return build(frame)
    return inner

wrapped = made(functools.partial(table, 5))
'''
HELPERS = "FACTOR = 2\n\ndef doubled(x):\n    return x * 2\n\ndef unused(x):\n    return x\n"


def prints(folder: Path, text: str, helpers: str = HELPERS) -> tuple[str, str]:
    """The source of two functions of a project written just now."""
    for name, body in (("__init__", ""), ("tables", text), ("helpers", helpers)):
        (folder / "dom" / f"{name}.py").write_text(body)
    for name in [n for n in sys.modules if n.split(".")[0] == "dom"]:
        del sys.modules[name]
    forget()
    importlib.invalidate_caches()
    module = importlib.import_module("dom.tables")
    return source_of(module.table), source_of(module.wrapped)


def test_what_a_function_uses_counts_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dom").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    base = prints(tmp_path, BEFORE)
    same = (
        BEFORE.replace("# a comment", "# another one").replace(
            '"""Say it."""', '"""Say it\n    otherwise."""'
        ),
        BEFORE.replace("_UNUSED = 4", "_UNUSED = 5"),
        BEFORE.replace("    return dom.helpers.unused(raw)", "    return None"),
        BEFORE.replace("\n\ndef table", "\n\n\n\n\ndef table"),
        BEFORE.replace(" * factor + _LIMIT", "*factor+_LIMIT"),
    )
    assert [prints(tmp_path, text) for text in same] == [base] * len(same)
    assert prints(tmp_path, BEFORE, HELPERS.replace("return x\n", "return 0\n")) == base
    changed = (
        (BEFORE.replace("_LIMIT = 3", "_LIMIT = 4"), HELPERS),
        (BEFORE.replace("+ _LIMIT", "- _LIMIT"), HELPERS),
        (BEFORE, HELPERS.replace("x * 2", "x * 3")),
        (BEFORE, HELPERS.replace("FACTOR = 2", "FACTOR = 3")),
        (BEFORE.replace("_LIMIT  #", "dom.helpers.unused(_LIMIT)  #"), HELPERS),
    )
    for text, helpers in changed:
        one, two = prints(tmp_path, text, helpers)
        assert one != base[0]
        assert two != base[1]
    dotted = BEFORE.replace("_LIMIT  #", "dom.helpers.unused(_LIMIT)  #")
    assert prints(tmp_path, dotted, HELPERS.replace("return x\n", "return 0\n")) != prints(tmp_path, dotted)
    assert prints(tmp_path, BEFORE.replace("table, 5", "table, 6"))[0] == base[0]
    assert prints(tmp_path, BEFORE.replace("table, 5", "table, 6"))[1] != base[1]


@pytest.mark.slow
def test_threads_that_ask_at_once_get_the_same() -> None:
    """As the tables of a cohort do, each in a thread of its own."""
    computed = [(table, transform_of(table)) for table in contracts() if table.sources]
    alone = {table.path: fingerprint.__wrapped__(table, transform) for table, transform in computed}
    for _ in range(5):
        forget()
        with ThreadPoolExecutor(max_workers=8) as threads:
            found = list(threads.map(lambda one: fingerprint.__wrapped__(*one), computed))
        assert dict(zip(alone, found, strict=True)) == alone


def test_a_library_that_parses_in_another_thread_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython then raises SystemError, of either thread."""
    alone = fingerprint.__wrapped__(SILVER, transforms.pipeline_events)
    met = []

    def meets(text: str) -> ast.Module:
        met.append(text)
        if len(met) % 2:
            raise SystemError("AST constructor recursion depth mismatch (before=69, after=129)")
        return ast.parse(text)

    forget()
    monkeypatch.setattr("lakehouse.pipeline.source.parse", meets)
    assert fingerprint.__wrapped__(SILVER, transforms.pipeline_events) == alone
    assert len(met) > 1


def forget() -> None:
    for one in (_tree, _index, _text, _names):
        one.cache_clear()


def test_a_changed_transform_is_told_until_the_table_is_computed_anew(lake: Lake) -> None:
    filled(lake)
    assert warned(lake) == []
    assert not is_older(lake, SILVER, transforms.pipeline_events)
    refresh(lake, SILVER, halved)
    assert is_older(lake, SILVER, halved)
    land(lake, "2.ndjson", event("new", at=day(2)))
    from test_flow import EVENT_SOURCES

    from lakehouse.pipeline import ingest

    ingest(lake, c.RAW_PIPELINE_EVENTS, EVENT_SOURCES)
    refresh(lake, SILVER, halved)
    assert is_older(lake, SILVER, halved), "rows of before are still there"
    refresh(lake, SILVER, halved, full=True)
    assert not is_older(lake, SILVER, halved)
    refresh(lake, GOLD, transforms.pipeline_metrics)
    assert warned(lake) == [(SILVER.path, "code")], "verify knows the transform that is shipped"
    told = verify(lake, EVENT_TABLES)
    assert (
        told.warnings[0].message
        == "it holds rows made by an older version of its transform, rules or contract"
    )
    assert told.warnings[0].fix == (
        'make odp ARGS="refresh silver/pipeline_events --full-refresh", or for all tables of an older '
        "version make odp ARGS=upgrade"
    )


def test_a_changed_rule_is_told_although_a_replay_brought_its_rejects_in(lake: Lake) -> None:
    filled(lake)
    lenient = dataclasses.replace(SILVER, rules=())
    assert replay(lake, lenient, transforms.pipeline_events).written == 1
    assert is_older(lake, lenient, transforms.pipeline_events)


def test_gold_is_told_of_by_itself(lake: Lake) -> None:
    filled(lake)
    only_good = lambda events: transforms.pipeline_metrics(events.filter(nw.col("status") == "completed"))  # noqa: E731
    assert is_older(lake, GOLD, only_good)
    refresh(lake, GOLD, only_good, full=True)
    assert not is_older(lake, GOLD, only_good)
    assert not is_older(lake, SILVER, transforms.pipeline_events)


def test_a_table_of_an_earlier_release_is_not_judged_until_it_is_computed_anew(lake: Lake) -> None:
    filled(lake)
    forgets(lake, SILVER)
    assert warned(lake) == []
    land(lake, "2.ndjson", event("new", at=day(2)))
    run(lake)
    assert warned(lake) == []
    assert "key" in lake.store.read_state(SILVER, ["key"])
    refresh(lake, SILVER, transforms.pipeline_events, full=True)
    assert set(lake.store.read_state(SILVER, ["code", "key", "major"])) == {"code", "key", "major"}


def forgets(lake: Lake, table: Contract) -> None:
    """Leave the table as it was written before these state were known."""
    import polars as pl

    nothing = pl.DataFrame(schema=table.polars_schema())
    gone = dict.fromkeys(("code", "key", "major"), -1)
    lake.store.append(table, nothing, CommitOptions(state=lambda _outcome, _before: gone))


SMALLER = dataclasses.replace(SILVER, key=("workspace_id",))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("known", [True, False])
def test_a_key_made_smaller_is_refused(lake: Lake, full: bool, known: bool) -> None:
    filled(lake)
    if not known:
        forgets(lake, SILVER)
        if not full:
            pytest.skip("nothing is merged before a row comes, and nobody knows the key that was")
    with pytest.raises(
        SchemaViolation, match=r"under another key than \(workspace_id\).*major version.*--full"
    ):
        refresh(lake, SMALLER, transforms.pipeline_events, full=full)
    assert lake.store.snapshot(SILVER).rows == 9
    with pytest.raises(SchemaViolation, match="under another key"):
        filled_replay(lake, known)


def filled_replay(lake: Lake, known: bool) -> None:
    if not known:
        raise SchemaViolation("under another key: it is not known here")
    replay(lake, SMALLER, transforms.pipeline_events)


def test_a_key_is_changed_on_purpose_by_a_major_version_and_a_full_refresh(lake: Lake) -> None:
    filled(lake)
    meant = dataclasses.replace(SMALLER, version="3.0.0")
    with pytest.raises(SchemaViolation, match="--full-refresh"):
        refresh(lake, meant, transforms.pipeline_events)
    refresh(lake, meant, transforms.pipeline_events, full=True)
    assert lake.store.snapshot(SILVER).rows == 1
    refresh(lake, meant, transforms.pipeline_events)
    with pytest.raises(SchemaViolation):
        refresh(lake, SILVER, transforms.pipeline_events, full=True)


def test_the_order_of_a_key_is_no_change_and_an_empty_table_takes_any(lake: Lake) -> None:
    filled(lake)
    turned = dataclasses.replace(SILVER, key=tuple(reversed(SILVER.key)))
    refresh(lake, turned, transforms.pipeline_events)
    lake.store.overwrite(
        SILVER, lake.store.scan(SILVER).head(0).collect(), CommitOptions(state=lambda _o, _b: {"rows": 0})
    )
    refresh(lake, SMALLER, transforms.pipeline_events)


def test_a_release_asks_for_a_major_version_for_another_key() -> None:
    for key in (("workspace_id",), (*SILVER.key, "status")):
        changed = snapshot(dataclasses.replace(SILVER, key=key))
        assert needed(snapshot(SILVER), changed) == "major"


def test_rules_made_by_one_function_for_several_columns_differ() -> None:
    made = [source_of(rule.passes) for rule in SILVER.rules]
    names = [rule.name for rule in SILVER.rules]
    assert len(set(zip(names, made, strict=True))) == len(SILVER.rules)
    one, two = (RowRule(name="x", description="y", passes=lambda n=n: nw.lit(n)) for n in (1, 2))
    assert source_of(one.passes) != source_of(two.passes)
