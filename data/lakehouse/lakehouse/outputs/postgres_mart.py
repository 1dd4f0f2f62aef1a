"""The mart in Postgres.

Belongs here: its tables, and bringing them to a version. Does not: roles and databases
(provision/postgres.py).

All of a refresh is one transaction, and in it the rows of a table are changed in place: what went is deleted,
what came is inserted. Readers keep the rows of their own snapshot, so that none waits, fails or sees half of
it. Ten of them read during refreshes in data/lakehouse/tests/test_mart_postgres.py. Compared:

    new table, renamed   needs ACCESS EXCLUSIVE: it waits for every open transaction of a reader, all readers
                         that come meanwhile wait behind it, and one at REPEATABLE READ finds the table empty
    TRUNCATE and COPY    the same lock, held while the rows are loaded
    switched views       the same lock on the view, and no keys or comments for tools
    DELETE and INSERT    no lock that a reader meets; old rows are left for autovacuum, therefore only those
                         that differ are touched

A table is renamed into place only where its columns, types, texts or key have changed, with a short
lock_timeout and several tries: then a reader waits for the rename alone.

No text of Postgres can hold NUL: the symbol for it stands there (values.py), counted in `_odp_tables`. Every
date and time of the lake, and NaN and infinity, are values of Postgres too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from lakehouse.contracts import Column, ColumnType, Contract, DecimalType, Type
from lakehouse.contracts.types import is_nested
from lakehouse.errors import Conflict, DataViolation, SettingsError, StorageUnavailable, Unsupported, plain
from lakehouse.outputs.mart import TABLES, TABLES_SAYS, Known, Loaded, Mart
from lakehouse.outputs.selection import Chosen, rows_of
from lakehouse.outputs.settings import PostgresPlace
from lakehouse.outputs.values import copy_chunks, with_nul
from lakehouse.pipeline import Lake

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

    Connection = psycopg.Connection[tuple[Any, ...]]

_LONGEST_NAME = 63  # bytes; Postgres cuts longer ones without saying so
_LOCK = 0x6F64705F6D617274  # "odp_mart": one refresh at a time
_LOCK_SECONDS = 600
_RENAME_TIMEOUT = "400ms"  # below deadlock_timeout (1 s): the refresh gives way, never a reader
_RENAME_TRIES = 60
_RENAME_PAUSE_SECONDS = 0.5
_TYPES = {
    Type.STRING: "text",
    Type.BOOL: "boolean",
    Type.INT32: "integer",
    Type.INT64: "bigint",
    Type.FLOAT64: "double precision",
    Type.DATE: "date",
    Type.TIMESTAMP: "timestamp with time zone",
    Type.BINARY: "bytea",
}
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLES} (
  name text PRIMARY KEY, lake_table text NOT NULL, lake_identity text NOT NULL, lake_version bigint NOT NULL,
  contract_version text NOT NULL, shape text NOT NULL, run_id text, loaded_at timestamptz NOT NULL,
  rows bigint NOT NULL, left_out jsonb NOT NULL, shown_nul jsonb NOT NULL
)
"""
_KNOWN = f"""
SELECT name, lake_table, lake_identity, lake_version, shape, rows, shown_nul
FROM {TABLES} WHERE to_regclass(quote_ident(name)) IS NOT NULL
"""  # noqa: S608


def type_of(type_: ColumnType) -> str:
    """Return the type of a column in Postgres."""
    if isinstance(type_, DecimalType):
        return f"numeric({type_.precision}, {type_.scale})"
    return "jsonb" if is_nested(type_) else _TYPES[type_]  # type: ignore[index]


def refresh(lake: Lake, chosen: Sequence[Chosen], absent: Sequence[Contract], place: PostgresPlace) -> Mart:
    """Bring the database to the chosen tables, in one transaction. Raises as refresh_mart does."""
    for one in chosen:
        _check_names(one)
    with _connected(place) as db:
        _prepare(db)
        known = _known(db)
        declared = {table.name for table in absent} | {one.table.name for one in chosen}
        gone = sorted(known.keys() - declared)
        new = [one for one in chosen if one.table.name not in known or not known[one.table.name].is_of(one)]
        done = _load(db, lake, new, known, gone) if new or gone else {}
    tables = [done.get(one.table.name) or known[one.table.name].loaded(one) for one in chosen]
    return Mart(
        place=str(place),
        tables=tuple(tables),
        absent=tuple(table.path for table in absent),
        removed=tuple(known[name].table for name in gone),
    )


def _check_names(one: Chosen) -> None:
    names = [one.table.name, *(column.name for column in one.columns)]
    if long := [name for name in names if len(name.encode()) > _LONGEST_NAME]:
        raise Unsupported(
            f"{one.table}: the name {long[0]} is longer than Postgres keeps ({_LONGEST_NAME} bytes)"
        )


@contextmanager
def _connected(place: PostgresPlace) -> Iterator[Connection]:
    """Open a session, and say what fails in our own words: an error of Postgres quotes values."""
    try:
        import psycopg
    except ImportError:
        raise SettingsError(
            "a mart in Postgres needs psycopg, which is not installed: install `lakehouse[provision]`"
        ) from None
    try:
        with psycopg.connect(
            host=place.host,
            port=place.port,
            dbname=place.database,
            user=place.user,
            password=place.password,
            application_name="odp mart",
            connect_timeout=5,
            autocommit=True,
            options="-c timezone=UTC -c search_path=public -c client_min_messages=warning",
        ) as db:
            yield db
    except psycopg.errors.LockNotAvailable:
        raise Conflict(
            f"refreshing the mart at {place}: another refresh is going on. Run it again."
        ) from None
    except psycopg.errors.DependentObjectsStillExist:
        raise Unsupported(
            f"refreshing the mart at {place}: a table has other columns now, and somebody's view hangs on "
            "the old one. Drop the view, and make it again after the refresh"
        ) from None
    except psycopg.errors.InsufficientPrivilege:
        raise Unsupported(
            f"refreshing the mart at {place}: {place.user} may not change it; it has to own the database"
        ) from None
    except psycopg.OperationalError as exc:
        raise StorageUnavailable(
            f"refreshing the mart at {place}: {_told(exc)}; it is as it was. Is Postgres up? "
            "`make status` tells."
        ) from None
    except psycopg.Error as exc:
        raise DataViolation(f"refreshing the mart at {place}: {_told(exc)}; it is as it was") from None


def _told(exc: psycopg.Error) -> str:
    """Return what may be told of an error of Postgres: class and code, table and column, never its text."""
    diag = exc.diag
    names = [
        f"{word} {name}" for word, name in (("table", diag.table_name), ("column", diag.column_name)) if name
    ]
    code = [f"SQLSTATE {exc.sqlstate}"] if exc.sqlstate else []
    return ", ".join([plain(exc), *code, *names])


def _prepare(db: Connection) -> None:
    """Wait for our turn, and make the table of tables."""
    db.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
    db.execute("SELECT pg_advisory_lock(%s)", [_LOCK])  # it ends with the session, however that ends
    if db.execute("SELECT to_regclass(%s)", [TABLES]).fetchone() == (None,):
        with db.transaction():
            db.execute(_CREATE)
            _comment(db, TABLES, TABLES_SAYS, ())


def _known(db: Connection) -> dict[str, Known]:
    """Return what the mart says of its tables, those that somebody has dropped left out."""
    fields = ("name", "table", "identity", "version", "shape", "rows", "shown_nul")
    found = (Known(**dict(zip(fields, row, strict=True))) for row in db.execute(_KNOWN).fetchall())
    return {one.name: one for one in found}


def _load(
    db: Connection, lake: Lake, new: Sequence[Chosen], known: Mapping[str, Known], gone: Sequence[str]
) -> dict[str, Loaded]:
    done: dict[str, Loaded] = {}
    renamed: dict[str, str] = {}
    with db.transaction():
        for number, one in enumerate(new):
            name = one.table.name
            there = known.get(name)
            if there is not None and there.shape == one.shape:
                done[name] = _change(db, lake, one)
            else:
                if there is None and db.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,):
                    raise Unsupported(f"the mart has a table {name} that is not ours: rename it, or drop it")
                renamed[name] = f"_odp_new_{number}"
                done[name] = _build(db, lake, one, renamed[name])
            _record(db, lake, one, done[name])
        for name in gone:
            db.execute(f"DELETE FROM {TABLES} WHERE name = %s", [name])  # noqa: S608
        if renamed or gone:
            _replace(db, renamed, gone)
    return done


def _change(db: Connection, lake: Lake, one: Chosen) -> Loaded:
    """Bring the rows of a table to those of the lake, touching only what differs."""
    table, fresh = _id(one.table.name), _id("_odp_fresh")
    if not one.key:  # equal rows may come twice, so there is no telling which one went
        _run(db, "DELETE FROM {}", table)
        return _copy(db, lake, one, one.table.name)
    _run(db, "CREATE TEMPORARY TABLE {} (LIKE {})", fresh, table)
    loaded = _copy(db, lake, one, "_odp_fresh")
    _run(db, "ANALYZE {}", fresh)
    same_key = _joined(" AND ", ("o.{0} = n.{0}", one.key))
    # *= compares the stored bytes: 0.0 and -0.0 differ, as they do in the lake.
    _run(
        db,
        "DELETE FROM {} o WHERE NOT EXISTS (SELECT FROM {} n WHERE {} AND o.* *= n.*)",
        table,
        fresh,
        same_key,
    )
    _run(
        db,
        "INSERT INTO {} SELECT n.* FROM {} n WHERE NOT EXISTS (SELECT FROM {} o WHERE {})",
        table,
        fresh,
        table,
        same_key,
    )
    _run(db, "DROP TABLE {}", fresh)
    _check_count(db, one, one.table.name, loaded.rows)
    return loaded


def _build(db: Connection, lake: Lake, one: Chosen, name: str) -> Loaded:
    """Make a new table under a name that no reader knows."""
    from psycopg import sql

    parts = [
        sql.SQL(f"{{}} {type_of(c.type)}{'' if c.nullable else ' NOT NULL'}").format(_id(c.name))
        for c in one.columns
    ]
    if one.key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, one.key))))
    _run(db, "CREATE TABLE {} ({})", _id(name), sql.SQL(", ").join(parts))
    _comment(db, name, one.table.description, one.columns)
    loaded = _copy(db, lake, one, name)
    _check_count(db, one, name, loaded.rows)
    _run(db, "ANALYZE {}", _id(name))
    return loaded


def _copy(db: Connection, lake: Lake, one: Chosen, name: str) -> Loaded:
    """Load the rows of the lake's table into a table of the mart."""
    from psycopg import sql

    rows = rows_of(lake, one)
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in one.columns)
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(_id(name), names)
    if one.columns:
        with db.cursor() as cursor, cursor.copy(into) as copy:
            for chunk in copy_chunks(rows, one.columns):
                copy.write(chunk)
    return Loaded(
        table=one.table.path,
        version=one.version,
        rows=rows.height,
        left_out=one.left_out,
        shown_nul=with_nul(rows, one.columns),
        changed=True,
    )


def _check_count(db: Connection, one: Chosen, name: str, rows: int) -> None:
    from psycopg import sql

    found = db.execute(sql.SQL("SELECT count(*) FROM {}").format(_id(name))).fetchone()
    if found != (rows,):
        raise DataViolation(
            f"{one.table}: the mart would hold another number of rows than the lake ({rows}): two keys that "
            "differ in a NUL alone are one in Postgres. Nothing was changed"
        )


def _replace(db: Connection, renamed: Mapping[str, str], gone: Sequence[str]) -> None:
    """Put new tables in the place of old ones; wait for readers of these in small pieces, never before
    them.
    """
    import psycopg

    for _ in range(_RENAME_TRIES):
        try:
            with db.transaction():  # a savepoint: what waits for a lock is undone, what was loaded stays
                db.execute(f"SET LOCAL lock_timeout = '{_RENAME_TIMEOUT}'")
                for name in [*gone, *renamed]:
                    _run(db, "DROP TABLE IF EXISTS {}", _id(name))
                for name, fresh in renamed.items():
                    _run(db, "ALTER TABLE {} RENAME TO {}", _id(fresh), _id(name))
        except psycopg.errors.LockNotAvailable:
            time.sleep(_RENAME_PAUSE_SECONDS)
        else:
            return
    raise Conflict(
        f"readers keep {', '.join([*gone, *renamed])} of the mart open, which has other columns now: the "
        "refresh waited for them, and gave up. The mart is as it was; run it again when their transactions "
        "have ended"
    )


def _record(db: Connection, lake: Lake, one: Chosen, loaded: Loaded) -> None:
    said = {
        "name": one.table.name,
        "lake_table": one.table.path,
        "lake_identity": one.identity,
        "lake_version": one.version,
        "contract_version": one.table.version,
        "shape": one.shape,
        "run_id": one.run,
        "loaded_at": lake.clock(),
        "rows": loaded.rows,
        "left_out": orjson.dumps(one.left_out).decode(),
        "shown_nul": orjson.dumps(loaded.shown_nul).decode(),
    }
    names, values = ", ".join(said), ", ".join(f"%({name})s" for name in said)
    renewed = ", ".join(f"{name} = excluded.{name}" for name in said if name != "name")
    query = f"INSERT INTO {TABLES} ({names}) VALUES ({values}) ON CONFLICT (name) DO UPDATE SET {renewed}"  # noqa: S608
    db.execute(query, said)


def _comment(db: Connection, name: str, says: str, columns: Sequence[Column]) -> None:
    from psycopg import sql

    _run(db, "COMMENT ON TABLE {} IS {}", _id(name), sql.Literal(says))
    for column in columns:
        text = f"{column.description} ({column.unit})" if column.unit else column.description
        _run(db, "COMMENT ON COLUMN {}.{} IS {}", _id(name), _id(column.name), sql.Literal(text))


def _joined(word: str, each: tuple[str, Sequence[str]]) -> sql.Composed:
    from psycopg import sql

    form, names = each
    return sql.SQL(word).join(sql.SQL(form).format(sql.Identifier(name)) for name in names)


def _id(name: str) -> sql.Identifier:
    from psycopg import sql

    return sql.Identifier(name)


def _run(db: Connection, statement: str, *parts: sql.Composable) -> None:
    """Execute a constant statement with composed parts put in."""
    from psycopg import sql

    db.execute(sql.SQL(statement).format(*parts))
