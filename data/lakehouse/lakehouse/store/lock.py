"""One at a time across processes and machines: a lease in the lake itself.

Belongs here: taking, renewing and giving back. Does not: what is done under it.
The holder renews while it works. A lease that was not renewed for its whole length belongs to a dead holder
and may be taken over: clocks may differ by less than the length minus the time between two renewals.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import orjson

from lakehouse.errors import Conflict
from lakehouse.store.files import Files

_LENGTH = timedelta(minutes=5)
_RENEWED_EVERY_SECONDS = 60.0


@contextmanager
def lease(files: Files, name: str, *, length: timedelta = _LENGTH) -> Iterator[None]:
    """Hold lease `name` for the block. Raises Conflict, naming the holder, when another one has it."""
    mine = uuid.uuid4().hex
    tag = _take(files, name, mine, length)
    done = threading.Event()
    holder = threading.Thread(target=_renew, args=(files, name, mine, length, [tag], done), daemon=True)
    holder.start()
    try:
        yield
    finally:
        done.set()
        holder.join()
        found = files.read_tagged(name)
        if found is not None and orjson.loads(found[0])["id"] == mine:
            files.forget(name)


def _take(files: Files, name: str, mine: str, length: timedelta) -> str:
    tag = files.put_if(name, _body(mine, length), None)
    if tag is not None:
        return tag
    found = files.read_tagged(name)
    if found is None:
        raise Conflict(f"taking the lease {name}: somebody else has just given it back. Run it again.")
    held, seen = orjson.loads(found[0]), found[1]
    if datetime.fromisoformat(held["until"]) < datetime.now(UTC):
        tag = files.put_if(name, _body(mine, length), seen)
        if tag is not None:
            return tag
    raise Conflict(
        f"taking the lease {name}: {held['holder']} holds it since {held['since']}. Wait for its end; a "
        f"holder that died is passed over after {held['until']}."
    )


def _renew(
    files: Files, name: str, mine: str, length: timedelta, tags: list[str], done: threading.Event
) -> None:
    while not done.wait(min(_RENEWED_EVERY_SECONDS, length.total_seconds() / 4)):
        tag = files.put_if(name, _body(mine, length), tags[-1])
        if tag is None:  # lost: whoever has it now took us for dead
            return
        tags[:] = [tag]


def _body(mine: str, length: timedelta) -> bytes:
    now = datetime.now(UTC)
    holder = f"{socket.gethostname()}:{os.getpid()}"
    told = {"id": mine, "holder": holder, "since": now.isoformat(), "until": (now + length).isoformat()}
    return orjson.dumps(told)
