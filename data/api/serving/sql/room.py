"""One question from its text to its rows.

Belongs here: which tables a caller may ask, their versions, and what became of the statement. Does not: HTTP
(routes.py), processes (process.py), judging a statement (statement.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import polars as pl

from lakehouse.contracts import Column, Contract, Materialization
from lakehouse.contracts.types import polars_type
from lakehouse.errors import SettingsError, only_ours
from serving.problems import Problem
from serving.reader import Pinned, Reader
from serving.rows.filters import may_quote, visible
from serving.sql import wire
from serving.sql.columns import decoded
from serving.sql.files import TableFiles
from serving.sql.process import Died, DiedBefore, Ticket, TooSlow, Worker, Workers

MOST_TEXT = 100_000  # characters of a statement
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_LEAST_MEMORY = 64 << 20
_SHAPE = re.compile(r"([0-9]{1,12}) *([A-Za-z]{1,3})")
_HINTS = {
    "Conversion": " A value is not of the type that it is cast to: TRY_CAST gives null instead. Whole "
    "numbers of a result have 64 bits: cast larger ones to DECIMAL(38, 0).",
    "OutOfRange": " A value is too large for its type, or an argument for its function.",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Rows, what they are, whether there are more, and the version of each table that was read."""

    rows: pl.DataFrame
    columns: Sequence[Column]
    truncated: bool
    versions: dict[str, int]
    withheld: dict[str, list[str]]  # columns of personal data by table

    @property
    def told(self) -> dict[str, Any]:
        """What an answer in JSON says besides its rows."""
        return {
            "columns": [{"name": c.name, "type": str(c.type)} for c in self.columns],
            "truncated": self.truncated,
            "tables": self.versions,
            "withheld": self.withheld,
        }


def memory_bytes(text: str) -> int:
    """Return bytes of a text as `1GB`. Raises SettingsError."""
    match = _SHAPE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or int(match[1]) * unit < _LEAST_MEMORY:
        raise SettingsError(f"API_SQL_MEMORY={text} is no size from 64MB on, as 1GB")
    return int(match[1]) * unit


class SqlRoom:
    """Answers statements over one lake."""

    def __init__(self, reader: Reader, files: TableFiles, workers: Workers, *, most_rows: int) -> None:
        self.reader, self.most_rows, self.workers = reader, most_rows, workers
        self._files = files

    def ask(self, sql: str, *, limit: int | None, pii: bool, ticket: Ticket, rejects: bool = True) -> Answer:
        """Run one SELECT. Without `rejects`, quarantine and system tables stay closed, whatever `pii` says.

        Raises Problem: 422 for a statement that is refused, is wrong or needs too much, 403 for personal
        data, 404 for a table that was never written, 503 when too many run or a file cannot be read, 504 when
        it takes too long.
        Raises LakeError of reading the lake.
        """
        most = self._limit(sql, limit)

        def answer() -> Answer:
            with self.workers.one(ticket) as worker:
                pins = self._pins(self._tables(worker, sql), pii=pii, rejects=rejects)
                deadline = time.monotonic() + self.workers.seconds
                return self._run(worker, sql, pins, most, deadline, pii=pii)

        try:
            try:
                return answer()
            except DiedBefore:  # the kernel ends idle workers first when memory is short
                if ticket.given_up:
                    raise
                return answer()
        except TooSlow:
            raise Problem(504, f"the statement took longer than {self.workers.seconds:g} s") from None
        except Died:
            raise Problem(
                422, "the statement ended its process, most likely for memory: ask for less at once"
            ) from None

    def close(self) -> None:
        """End the workers."""
        self.workers.close()

    def _limit(self, sql: str, limit: int | None) -> int:
        if not sql.strip():
            raise Problem(422, "the statement is empty")
        if len(sql) > MOST_TEXT:
            raise Problem(422, f"a statement has at most {MOST_TEXT} characters")
        if "\0" in sql or sql.encode("utf-8", "replace").decode() != sql:
            raise Problem(422, "the statement holds characters that are no text")
        if limit is not None and not 0 <= limit <= self.most_rows:
            raise Problem(422, f"limit is at least 0 and at most {self.most_rows}")
        return self.most_rows if limit is None else limit

    def _tables(self, worker: Worker, sql: str) -> list[list[str]]:
        """Return schema and name of the tables that a statement reads."""
        try:
            said = next(worker.ask(wire.Parse(sql=sql), time.monotonic() + self.workers.seconds))
        except Died:
            raise DiedBefore from None
        return list(_told(said)["tables"])

    def _pins(self, tables: Sequence[Sequence[str]], *, pii: bool, rejects: bool) -> list[Pinned]:
        found = []
        for layer, name in tables:
            contract = self.reader.declared.get(f"{layer}/{name}")
            if contract is None:
                raise Problem(422, f"there is no table {layer}.{name}; GET /catalog lists them")
            if may_quote(contract) and not rejects:
                raise Problem(403, f"{contract} may quote what was refused: it is not read here")
            if not pii and (may_quote(contract) or not visible(contract, pii=False)):
                raise Problem(403, f"{contract} may quote personal data: it is for keys with the scope pii")
            found.append(contract)
        return [self.reader.pin(contract) for contract in found]

    def _run(
        self, worker: Worker, sql: str, pins: Sequence[Pinned], limit: int, deadline: float, *, pii: bool
    ) -> Answer:
        as_read: set[str] = set()
        while True:
            with ExitStack() as held:
                views = tuple(
                    wire.View(
                        table=_shown(pinned.contract, pii=pii),
                        files=held.enter_context(
                            self._files.of(pinned, as_read=pinned.contract.path in as_read)
                        ),
                        rows=pinned.rows,
                    )
                    for pinned in pins
                )
                answers = worker.ask(wire.Run(sql=sql, views=views, limit=limit), deadline)
                first = _told(next(answers))
                if "differs" not in first:
                    return _answer(first, answers, pins, pii=pii)
                differs = set(map(str, first["differs"]))
                if not differs - as_read:
                    raise Problem(503, f"{', '.join(sorted(differs))}: files do not hold the rows of the log")
                as_read |= differs


def _answer(
    head: dict[str, Any], answers: Iterator[dict[str, Any] | bytes], pins: Sequence[Pinned], *, pii: bool
) -> Answer:
    import pyarrow as pa  # 30 MB, for who asks

    columns = [Column(name=str(n), type=decoded(t), description="") for n, t in head["columns"]]
    types = {c.name: polars_type(c.type) for c in columns}
    frames = [pl.DataFrame(schema=types)]
    for said in answers:
        if isinstance(said, dict):
            truncated = bool(_told(said)["truncated"])
            break
        with only_ours("reading the rows of a statement"), pa.ipc.open_stream(said) as stream:
            frame = pl.DataFrame(pl.from_arrow(stream.read_all()))
            frames.append(frame.cast(types))  # type: ignore[arg-type]
    withheld = {
        pinned.contract.path: hidden
        for pinned in pins
        if not pii and (hidden := [c.name for c in pinned.contract.columns if c.pii])
    }
    return Answer(
        rows=pl.concat(frames),
        columns=columns,
        truncated=truncated,
        versions={pinned.contract.path: pinned.version for pinned in pins},
        withheld=withheld,
    )


def _shown(table: Contract, *, pii: bool) -> Contract:
    """Return a contract of the columns that a caller may see, which goes to the worker."""
    return Contract(
        layer=table.layer, name=table.name, domain=table.domain, description="",
        columns=tuple(c for c in table.columns if pii or not c.pii), materialization=Materialization.FULL,
    )  # fmt: skip


def _told(said: dict[str, Any] | bytes) -> dict[str, Any]:
    """Return what a worker says. Raises Problem for what it refuses, Died for nonsense."""
    if isinstance(said, bytes):
        raise Died
    match said.get("refused"):
        case None:
            return said
        case "statement":
            raise Problem(422, str(said["says"]))
        case "memory":
            raise Problem(422, "the statement needs more memory than it may have: ask for less at once")
        case "size":
            raise Problem(422, f"one row alone is larger than {wire.MOST_BYTES >> 20} MB")
        case "files":
            raise Problem(503, "a file of a table could not be read; if that stays, `odp verify` tells why")
        case "values":
            kind = str(said["kind"])
            hint = _HINTS.get(kind, "")
            raise Problem(422, f"DuckDB could not compute it ({kind}).{hint}", kind=kind)
    raise Died
