"""Sessions with Spark Connect servers, one for each server and process.

Belongs here: opening one, with the settings that equal results need. Does not: frames.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lakehouse.engine.spark import division
from lakehouse.errors import SettingsError, StorageUnavailable, plain

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

_PORT = 15002  # of Spark Connect, where the address has none
_SECONDS = 10  # the client's own retries go on for minutes
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # Times written as Parquet are microseconds of UTC; Spark's own default is INT96.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_lock = threading.Lock()
_open: dict[tuple[str, int], SparkSession] = {}


def at(remote: str) -> SparkSession:
    """Return this process's session with the server at `remote`; it ends with the process.

    Raises SettingsError for an address that is none, StorageUnavailable where no server answers.
    """
    with _lock:
        known = (remote, os.getpid())
        if known in _open:
            _reach(*_address(remote))  # the client itself asks a server that is gone for minutes
            if not _lives(_open[known]):  # left active, the client would ask it for its settings
                _close(_open.pop(known), *_address(remote))
        if known not in _open:
            _open[known] = _opened(remote)
        return _open[known]


def _lives(session: SparkSession) -> bool:
    """Return whether the server still has the session: it forgets, with its settings, one that was idle."""
    try:
        return all(session.conf.get(name) == value for name, value in _SETTINGS.items())
    except Exception:  # noqa: BLE001  # opening it again tells what is wrong
        return False


def _opened(remote: str) -> SparkSession:
    host, port = _address(remote)
    _reach(host, port)
    with warnings.catch_warnings(), _as_a_program():
        warnings.simplefilter("ignore", FutureWarning)  # it speaks of pandas, which no frame passes through
        from pyspark.sql.connect.session import SparkSession

        try:
            session = SparkSession.builder.remote(remote).create()
            for name, value in _SETTINGS.items():
                session.conf.set(name, value)
        except Exception as exc:  # noqa: BLE001  # whatever the client says
            raise StorageUnavailable(
                f"opening Spark Connect at {host}:{port}: {plain(exc)}. Nothing was computed."
            ) from None
    division.use()
    atexit.register(_close, session, host, port)
    return session


@contextmanager
def active(session: SparkSession) -> Iterator[None]:
    """Let the client take what a server keeps for this session's, not for that of whoever opened one first.

    pyspark-client 4.2.0 asks for the active session there, and not for that of the frame.
    """
    from pyspark.sql.connect.session import SparkSession

    here = SparkSession._active_session
    before = getattr(here, "session", None)
    here.session = session
    try:
        yield
    finally:
        here.session = before


@contextmanager
def _as_a_program() -> Iterator[None]:
    """Let the client be imported under `python -c`, which it takes for its own tests and ends the process."""
    main = sys.modules["__main__"]
    if hasattr(main, "__file__"):
        yield
        return
    main.__file__ = ""
    try:
        yield
    finally:
        del main.__file__


def _reach(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as exc:
        raise StorageUnavailable(
            f"opening Spark Connect at {host}:{port}: {plain(exc)}. Is its server up, and SPARK_REMOTE its "
            "address? Nothing was computed."
        ) from None


def _close(session: SparkSession, host: str, port: int) -> None:
    """Let the server forget what it keeps for the session. It may be gone by now, which is nobody's fault."""
    with contextlib.suppress(Exception):
        _reach(host, port)
        session.stop()
        return
    with contextlib.suppress(Exception):
        session.client.close()


def _address(remote: str) -> tuple[str, int]:
    try:
        parts = urlsplit(remote)
        if parts.scheme == "sc" and parts.hostname:
            return parts.hostname, parts.port or _PORT
    except ValueError:
        pass
    raise SettingsError("SPARK_REMOTE is no address of a Spark Connect server: give sc://host:port")
