"""Postgres: roles, and the owner of each database.

Belongs here: roles, databases, grants. Does not: tables; each owner creates its own.

    dagster        owns database `dagster`, sees no other
    lake           owns database `lake`
    lake_readonly  reads `lake`
    ducklake       owns database `ducklake`: the catalog of a lake with LAKE_FORMAT=ducklake, else empty
    mart           owns database `mart`: Gold as plain tables
    mart_reader    reads `mart`: for reporting tools

Passwords are set at every run, so a changed .env takes effect. They leave this process only as SCRAM
verifiers: nothing that the server could log allows a login.

Who does it may be the superuser, or, on a managed server, a role that may create roles and databases: that
one joins each owner's role, and leaves out what a superuser alone may set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakehouse.errors import plain
from lakehouse.provision.settings import ProvisionSettings, Secret
from lakehouse.provision.steps import NotYet, Refused, Step

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

OWNERS = {"dagster": "dagster", "lake": "lake", "ducklake": "ducklake", "mart": "mart"}  # by database
READERS = {"lake": "lake_readonly", "mart": "mart_reader"}  # by database
_PLAIN = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_TLS = ("SSL", "certificate", "no encryption")
_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"


class Postgres:
    """The provisioning steps of Postgres, as the superuser or as one that may create roles and databases."""

    def __init__(self, settings: ProvisionSettings) -> None:
        self._settings = settings

    def steps(self) -> list[Step]:
        """Return the steps in order of dependency."""
        return [Step("postgres roles", self.roles), Step("postgres databases", self.databases)]

    def roles(self) -> str:
        """Create missing roles, and set the current password of every role."""
        roles = self._settings.pg_roles
        with self._connect("postgres") as db:
            known = _names(db, "SELECT rolname FROM pg_roles")
            everything = _is_superuser(db)
            for name, secret in roles.items():
                if name not in known:
                    _run(db, "CREATE ROLE {}", name)
                self._apply(db, name, secret, attributes=_PLAIN if everything else "LOGIN")
            if not everything:
                for owner in OWNERS.values():
                    _run(db, "GRANT {} TO CURRENT_USER", owner)
            for reader in READERS.values():
                _run(db, "ALTER ROLE {} SET default_transaction_read_only = on", reader)
            if everything:
                # The server's log quotes rows in the details of an error.
                _run(db, "ALTER ROLE {} SET log_error_verbosity = terse", OWNERS["mart"])
                _run(db, "ALTER ROLE {} SET log_min_error_statement = panic", OWNERS["mart"])
        return _summary([name for name in roles if name not in known], roles)

    def databases(self) -> str:
        """Create missing databases, and grant access only to their owner and their reader."""
        with self._connect("postgres") as db:
            known = _names(db, "SELECT datname FROM pg_database")
            for database, owner in OWNERS.items():
                if database not in known:
                    _run(db, "CREATE DATABASE {} OWNER {}", database, owner)
                _run(db, "ALTER DATABASE {} OWNER TO {}", database, owner)
            others = ("postgres", "template1") if _is_superuser(db) else ()
            for database in (*others, *OWNERS):
                _run(db, "REVOKE ALL ON DATABASE {} FROM PUBLIC", database)
            for database, reader in READERS.items():
                _run(db, "GRANT CONNECT ON DATABASE {} TO {}", database, reader)
        for database, owner in OWNERS.items():
            with self._connect(database) as db:
                _run(db, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
                if database in READERS:
                    _grant_read(db, owner=owner, reader=READERS[database])
        return _summary([name for name in OWNERS if name not in known], OWNERS)

    def _apply(self, db: psycopg.Connection[Any], name: str, secret: Secret, *, attributes: str) -> None:
        from psycopg import sql

        verifier = db.pgconn.encrypt_password(secret.password.encode(), name.encode(), b"scram-sha-256")
        db.execute(
            sql.SQL(f"ALTER ROLE {{}} {attributes} PASSWORD {{}}").format(
                sql.Identifier(name), sql.Literal(verifier.decode())
            )
        )

    @contextmanager
    def _connect(self, database: str) -> Iterator[psycopg.Connection[Any]]:
        import psycopg

        settings = self._settings
        where = f"{settings.pg_host}:{settings.pg_port}"
        try:
            db = psycopg.connect(
                host=settings.pg_host,
                port=settings.pg_port,
                dbname=database,
                user=settings.pg_root.user,
                password=settings.pg_root.password,
                application_name="lake-init",
                connect_timeout=3,
                autocommit=True,
            )
        except psycopg.OperationalError as exc:
            if "password authentication failed" in str(exc):
                raise Refused(
                    f"{where} says: password authentication failed for user {settings.pg_root.user}. "
                    "The volume was set up with another POSTGRES_PASSWORD: put back the .env that made it "
                    "(or `make nuke`, which deletes its data). On a server of your own: give its "
                    "POSTGRES_USER and POSTGRES_PASSWORD"
                ) from None
            if any(word in str(exc) for word in _TLS):
                raise Refused(
                    f"{where} and PGSSLMODE do not agree on encryption: the server offers none, insists on "
                    "it, or shows a certificate that PGSSLROOTCERT does not vouch for"
                ) from None
            raise NotYet(
                f"Postgres at {where} does not answer: {plain(exc)}; `make logs SERVICE=postgres`"
            ) from None
        try:
            yield db
        finally:
            db.close()


def _is_superuser(db: psycopg.Connection[Any]) -> bool:
    return db.execute(_SUPERUSER).fetchone() == (True,)


def _grant_read(db: psycopg.Connection[Any], *, owner: str, reader: str) -> None:
    """Grant the reader SELECT on existing tables, and on those that the owner will create."""
    _run(db, "GRANT USAGE ON SCHEMA public TO {}", reader)
    _run(db, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", reader)
    _run(db, "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT USAGE ON SCHEMAS TO {}", owner, reader)
    _run(db, "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT SELECT ON TABLES TO {}", owner, reader)


def _run(db: psycopg.Connection[Any], statement: str, *names: str) -> None:
    """Execute a constant statement with names inserted as quoted identifiers."""
    from psycopg import sql

    db.execute(_composed(sql.SQL(statement), names))


def _composed(statement: sql.SQL, names: tuple[str, ...]) -> sql.Composed:
    from psycopg import sql

    return statement.format(*map(sql.Identifier, names))


def _names(db: psycopg.Connection[Any], query: str) -> set[str]:
    return {str(row[0]) for row in db.execute(query).fetchall()}


def _summary(new: list[str], all_names: Mapping[str, Any]) -> str:
    return f"{', '.join(all_names)}" + (f" (new: {', '.join(new)})" if new else "")
