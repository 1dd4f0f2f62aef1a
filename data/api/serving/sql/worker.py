"""The worker process: `python -m serving.sql.worker BYTES SECONDS`, asked over its standard input.

Belongs here: limits of the process, DuckDB and its configuration, errors as what may be told of them. Does
not: which tables there are, and who may see what: it is handed the views of one question.

Each question gets a database of its own, in memory, which can open the pinned files and nothing else.
DuckDB's messages about a statement quote the statement; those about values quote values: they are left out.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts import Type
from lakehouse.contracts.sql import duckdb_type, quoted
from lakehouse.engine.duckdb.file import DatabaseFile
from serving.sql import wire
from serving.sql.columns import column_type, encoded
from serving.sql.functions import allowed
from serving.sql.statement import Refused, tables_read

_ABOUT_STATEMENT = (
    duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException,
    duckdb.PermissionException,
)  # fmt: skip
_BROKEN = (duckdb.InternalException, duckdb.FatalException)  # after which a process is not to be trusted
_MOST_TEXT = 300
_ROWS_AT_ONCE = 2048
_THREADS = min(4, os.cpu_count() or 1)
_LONGER_SECONDS = 10  # than the API waits: for a worker whose API was killed
_SPARE = 512 << 20  # bytes beside DuckDB's own: Arrow, Python, stacks
_VIEW = "answer"
_DAY = 86_400_000_000  # microseconds
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, since 1970-01-01
_TIMES = {
    "date32[day]": (pa.int32(), _FIRST_DAY, _LAST_DAY),
    "timestamp[us, tz=UTC]": (pa.int64(), _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1),
}


class _Worker:
    def __init__(self, memory: int, seconds: float, out: BinaryIO) -> None:
        self._memory, self._seconds, self._out = memory, seconds, out
        with self._database([]) as connection:
            self._functions = allowed(connection)

    def answer(self, question: wire.Parse | wire.Run) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._seconds + _LONGER_SECONDS)
        try:
            if isinstance(question, wire.Parse):
                with self._database([]) as connection:
                    self._say(tables=tables_read(connection, question.sql, self._functions))
            else:
                self._run(question)
        except Refused as exc:
            self._say(refused="statement", says=str(exc))
        except _ABOUT_STATEMENT as exc:
            self._say(refused="statement", says=_first_line(exc, question))
        except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
            self._say(refused="memory")
        except duckdb.IOException:
            self._say(refused="files")
        except _BROKEN as exc:
            self._say(refused="internal", kind=type(exc).__name__)
            raise
        except (duckdb.Error, pa.ArrowException, RuntimeError, UnicodeError) as exc:
            self._say(refused="values", kind=type(exc).__name__.removesuffix("Exception"))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _run(self, question: wire.Run) -> None:
        files = [file for view in question.views for file in view.files]
        with self._database(files) as connection:
            database = DatabaseFile(connection)
            differs = [v.table.path for v in question.views if database.view(v.table, v.files) != v.rows]
            if differs:
                self._say(differs=differs)
                return
            # What was parsed as one SELECT is one here too. A view names columns that have one name apart.
            connection.execute(f"CREATE VIEW main.{_VIEW} AS {question.sql}")
            shown = connection.view(_VIEW)
            columns, casts = [], []
            for name, type_ in zip(shown.columns, shown.types, strict=True):
                _check_name(name)
                known = column_type(type_)
                columns.append((name, encoded(known or Type.STRING)))
                casts.append(f"CAST({quoted(name)} AS {duckdb_type(known or Type.STRING)}) AS {quoted(name)}")
            # One row more says whether there are more.
            made = connection.execute(
                f"SELECT {', '.join(casts)} FROM main.{_VIEW} LIMIT {question.limit + 1}"  # noqa: S608
            )
            reader = made.to_arrow_reader(_ROWS_AT_ONCE)
            self._say(columns=columns)
            self._rows(reader, question.limit)

    def _rows(self, batches: pa.RecordBatchReader, limit: int) -> None:
        rows, size = 0, 0
        for batch in batches:
            fits = min(batch.num_rows, limit - rows)
            while fits and size + batch.slice(0, fits).nbytes > wire.MOST_BYTES:
                fits //= 2
            part = batch.slice(0, fits)
            for column in part.columns:
                _check_times(column)
            if fits:
                self._send(wire.ARROW, _stream(part))
            rows, size = rows + fits, size + part.nbytes
            if fits < batch.num_rows:
                if not rows and limit:
                    self._say(refused="size")
                    return
                self._say(truncated=True)
                return
        self._say(truncated=False)

    @contextmanager
    def _database(self, files: list[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open an empty database in memory that can read these files, and reach nothing else."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{self._memory}B",
            "threads": str(_THREADS),
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        }
        with duckdb.connect(":memory:", config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET allowed_paths = $files", {"files": [str(file) for file in files]})
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection

    def _say(self, **said: Any) -> None:
        self._send(wire.JSON, json.dumps(said).encode())

    def _send(self, kind: bytes, body: bytes) -> None:
        self._out.write(wire.frame(kind, body))
        self._out.flush()


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _check_name(name: str) -> None:
    """Refuse what Polars would read as a pattern over columns."""
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        raise Refused(f"{name[:60]} is no name for a column: give it another with AS")


def _check_times(values: pa.Array) -> None:
    """Refuse dates and times that no calendar of Python has, also within lists and structs."""
    kind = values.type
    if pa.types.is_list(kind):
        _check_times(values.flatten())
    elif pa.types.is_struct(kind):
        for inner in values.flatten():
            _check_times(inner)
    elif bounds := _TIMES.get(str(kind)):
        found = pc.min_max(values.cast(bounds[0])).as_py()
        if found["min"] is not None and not bounds[1] <= found["min"] <= found["max"] <= bounds[2]:
            raise Refused("a date or time is not in the years 1 to 9999: cast it to VARCHAR")


def _first_line(exc: BaseException, question: wire.Parse | wire.Run) -> str:
    """Return what DuckDB says of the statement; never where files lie."""
    text = (str(exc).splitlines() or [""])[0][:_MOST_TEXT]
    views = question.views if isinstance(question, wire.Run) else ()
    if any(str(file.parent) in text for view in views for file in view.files):
        return f"DuckDB refuses it: {type(exc).__name__}"
    return text


def _limit_process(memory: int) -> None:
    """Let the process take no more than its share, and be the first that the kernel ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(OSError, ValueError):  # only Linux tells how much is taken already
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + memory * 3 // 2 + _SPARE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Answer questions until the input ends."""
    memory, seconds = int(sys.argv[1]), float(sys.argv[2])
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the API's to handle
    asked, out = sys.stdin.buffer, sys.stdout.buffer
    worker = _Worker(memory, seconds, out)
    _limit_process(memory)
    out.write(wire.frame(wire.JSON, b'{"ready":true}'))
    out.flush()
    while (got := wire.read_frame(asked.read)) is not None:
        worker.answer(pickle.loads(got[1]))  # noqa: S301  # the API's own


if __name__ == "__main__":
    main()
