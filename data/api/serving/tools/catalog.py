"""The tools, their arguments and answers.

Belongs here: what each tool says. Does not: the protocol (server.py).

Personal data is masked in samples for everybody, and left out of queries without the scope `pii`. What was
refused is counted by rule; its rows are shown to nobody here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from dagster_client import Client, Unreachable
from dagster_client.runs import recent_runs
from lakehouse.contracts import Column, Contract, Type
from lakehouse.errors import only_ours
from lakehouse.masking import masked
from serving.access import Caller
from serving.problems import Problem
from serving.reader import Reader
from serving.rows import formats
from serving.rows.describe import Describer, edges
from serving.rows.filters import chosen, may_quote
from serving.settings import ServingSettings
from serving.sql.process import Ticket
from serving.sql.room import MOST_TEXT, SqlRoom

_MOST_SAMPLED, _MOST_QUERIED, _MOST_RUNS = 50, 1000, 50
_SHOWN = 100
_DAGSTER_SECONDS = 5.0
_Said = dict[str, Any]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(_Arguments):
    """No arguments."""


class OfTable(_Arguments):
    """One table."""

    table: str = Field(description="<layer>/<name>, as list_tables tells", max_length=200)


class OfTables(_Arguments):
    """One table, or all."""

    table: str | None = Field(
        default=None, description="<layer>/<name>; default: every table", max_length=200
    )


class OfSample(OfTable):
    """Some rows of a table."""

    rows: int = Field(default=5, ge=1, le=_MOST_SAMPLED)
    columns: list[str] | None = Field(default=None, description="default: all", min_length=1)


class OfQuery(_Arguments):
    """A statement."""

    sql: str = Field(
        description="One SELECT in DuckDB's SQL; tables are <layer>.<name>",
        min_length=1,
        max_length=MOST_TEXT,
    )
    limit: int = Field(default=_SHOWN, ge=1, le=_MOST_QUERIED, description="Rows at most")


class OfRuns(_Arguments):
    """Some runs."""

    limit: int = Field(default=10, ge=1, le=_MOST_RUNS)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a tool."""

    caller: Caller
    ticket: Ticket


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool: its arguments, the scopes it needs beside `read`, and what it does."""

    name: str
    description: str
    arguments: type[_Arguments]
    run: Callable[[Any, Call], _Said]
    scopes: tuple[str, ...] = ()


class Toolbox:
    """The tools over one lake."""

    def __init__(
        self, settings: ServingSettings, *, reader: Reader, describer: Describer, sql: SqlRoom
    ) -> None:
        self._settings, self._reader, self._describer, self._sql = settings, reader, describer, sql
        self.tools: Mapping[str, Tool] = {tool.name: tool for tool in self._tools()}

    def _tools(self) -> list[Tool]:
        return [
            Tool(name="list_tables", arguments=Nothing, run=self._list,
                 description="Every table: what one row is, rows, version, freshness, refused rows"),
            Tool(name="describe_table", arguments=OfTable, run=self._describe,
                 description="One table: columns with types, units and meaning, key, rules, checks, history"),
            Tool(name="sample_rows", arguments=OfSample, run=self._sample,
                 description="A few rows of a table, to see what values look like; personal data is masked"),
            Tool(name="query", arguments=OfQuery, run=self._query, scopes=("sql",),
                 description="One SELECT over tables, run with limits of time, memory and rows. Personal "
                             "columns are left out unless the key may see them"),
            Tool(name="freshness", arguments=OfTables, run=self._freshness,
                 description="When tables changed, how old they may be, and whether they are fresh"),
            Tool(name="lineage", arguments=OfTable, run=self._lineage,
                 description="What a table is made of, what is made of it, and the sources of each column"),
            Tool(name="recent_runs", arguments=OfRuns, run=self._runs,
                 description="The newest runs of the pipeline, from Dagster"),
            Tool(name="reject_counts", arguments=OfTables, run=self._rejects,
                 description="How many rows each rule refused; the rows themselves are not shown"),
        ]  # fmt: skip

    def _table(self, path: str) -> Contract:
        contract = self._reader.declared.get(path)
        if contract is None:
            raise Problem(404, "there is no such table; list_tables tells which there are")
        return contract

    def _list(self, _: Nothing, __: Call) -> _Said:
        return {"tables": self._describer.catalog()}

    def _describe(self, asked: OfTable, _: Call) -> _Said:
        return self._describer.table(self._table(asked.table))

    def _sample(self, asked: OfSample, _: Call) -> _Said:
        table = self._table(asked.table)
        if may_quote(table):
            raise Problem(403, f"{table} may quote what was refused: reject_counts tells how much by rule")
        # With personal columns, which are masked.
        names = chosen(table, None if asked.columns is None else ",".join(asked.columns), pii=True)
        pinned = self._reader.pin(table)
        shown = [table.by_name[name] for name in names]
        hidden = [column.name for column in shown if column.pii]
        with only_ours(f"reading {table}"):
            frame = masked(self._reader.rows(pinned).select(names).head(asked.rows).collect(), hidden)
            columns = [_as_text(column) if column.pii else column for column in shown]
            rows = orjson.loads(formats.array(frame, columns))
        return {"table": table.path, "version": pinned.version, "masked": hidden, "rows": rows}

    def _query(self, asked: OfQuery, call: Call) -> _Said:
        pii = call.caller.has("pii")
        answer = self._sql.ask(asked.sql, limit=asked.limit, pii=pii, ticket=call.ticket, rejects=False)
        with only_ours("writing the rows of a statement"):
            rows = orjson.loads(formats.array(answer.rows, answer.columns))
        return {**answer.told, "rows": rows}

    def _freshness(self, asked: OfTables, _: Call) -> _Said:
        names = ("table", "state", "changed_at", "age_seconds", "max_age_seconds", "fresh", "held")
        return {"tables": [{n: card[n] for n in names if n in card} for card in self._cards(asked)]}

    def _lineage(self, asked: OfTable, _: Call) -> _Said:
        table = self._table(asked.table)
        return {"table": table.path, **edges(table)}

    def _runs(self, asked: OfRuns, _: Call) -> _Said:
        url = self._settings.dagster_url
        if not url:
            raise Problem(503, "no Dagster is configured here, so that runs cannot be told")
        try:
            found = recent_runs(Client(url, timeout_seconds=_DAGSTER_SECONDS), limit=asked.limit)
        except Unreachable:
            raise Problem(503, "Dagster does not answer, so that runs cannot be told now") from None
        except (KeyError, TypeError, ValueError):
            raise Problem(503, "what answers in Dagster's place does not speak as Dagster does") from None
        return {
            "runs": [
                {
                    "run": run.id,
                    "job": run.job,
                    "status": run.status,
                    "created_at": run.created_at.isoformat(timespec="seconds"),
                    "seconds": round((run.ended_at - run.started_at).total_seconds(), 1)
                    if run.started_at and run.ended_at
                    else None,
                }
                for run in found
            ]
        }

    def _rejects(self, asked: OfTables, _: Call) -> _Said:
        cards = [card for card in self._cards(asked) if "open_rejects" in card]
        if asked.table is not None and not cards:
            raise Problem(422, f"{asked.table} refuses no rows, or was never written")
        names = ("table", "open_rejects", "rejects_by_rule", "held")
        return {"tables": [{name: card[name] for name in names} for card in cards]}

    def _cards(self, asked: OfTables) -> list[_Said]:
        if asked.table is None:
            return self._describer.catalog()
        return [self._describer.card(self._table(asked.table))]


def _as_text(column: Column) -> Column:
    """Return what a column is once it is masked."""
    return Column(name=column.name, type=Type.STRING, description=column.description)
