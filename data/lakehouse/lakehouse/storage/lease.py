"""One at a time across processes and machines: a lease in the lake itself.

Belongs here: taking, renewing, giving back, and waiting for one. Does not: what is done under it.
The holder renews while it works. A lease that was not renewed for its whole length belongs to a dead holder
and may be taken over: clocks may differ by less than the length minus the time between two renewals. One that
was renewed further in the future than it lasts is of a clock that is wrong: it tells nothing. A holder that
this process could see is asked for itself: killed, it is passed over at once.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

import orjson

from lakehouse.errors import Conflict, StorageUnavailable
from lakehouse.storage import process
from lakehouse.storage.files import Files

_LENGTH = timedelta(minutes=5)
_RENEWED_EVERY_SECONDS = 60.0
_TOLD_AFTER_SECONDS = 5.0


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
        held = _parsed(found[0]) if found is not None else None
        if held is not None and held["id"] == mine:
            files.forget(name)


@contextmanager
def waiting_lease(
    files: Files, name: str, *, length: timedelta = _LENGTH, seconds: float, every: tuple[float, float]
) -> Iterator[None]:
    """Hold lease `name` for the block, as soon as whoever has it gives it back.

    A wait of some seconds is logged, with the holder's name. Raises Conflict, naming the holder, when that
    has not happened after `seconds`.
    """
    with ExitStack() as held:
        refused: list[Conflict] = []
        told_from = monotonic() + _TOLD_AFTER_SECONDS

        def taken() -> bool:
            nonlocal told_from
            try:
                held.enter_context(lease(files, name, length=length))
            except Conflict as exc:
                refused[:] = [exc]
                if monotonic() > told_from:
                    told_from = math.inf
                    logging.getLogger(__name__).warning("waiting: %s", exc)
                return False
            return True

        if not poll(taken, seconds=seconds, every=every):
            raise refused[0]
        yield


def poll(done: Callable[[], bool], *, seconds: float, every: tuple[float, float]) -> bool:
    """Ask until `done`, at random times `every` so many seconds; return whether it was, after `seconds`."""
    from tenacity import Retrying, retry_if_result, stop_after_delay, wait_random  # only writers wait for it

    polling = Retrying(
        retry=retry_if_result(lambda answer: not answer),
        wait=wait_random(*every),
        stop=stop_after_delay(seconds),
        retry_error_callback=lambda _: False,
    )
    return bool(polling(done))


def held_by_another(files: Files, name: str) -> bool:
    """Return whether somebody holds the lease, is not known to be dead, and has renewed it in time.

    One that cannot be read, or is of a wrong clock, has ended.
    """
    found = files.read_tagged(name)
    held = _parsed(found[0]) if found is not None else None
    return held is not None and not _has_ended(held) and not _of_wrong_clock(held)


def _has_ended(held: dict[str, str]) -> bool:
    return _until(held) < datetime.now(UTC) or process.is_dead(held["process"])


def _until(held: dict[str, str]) -> datetime:
    return datetime.fromisoformat(held["until"]).astimezone(UTC)


def _of_wrong_clock(held: dict[str, str]) -> bool:
    """Return whether the holder's clock and ours differ by more than the lease lasts."""
    since, until = datetime.fromisoformat(held["since"]).astimezone(UTC), _until(held)
    return since - datetime.now(UTC) > until - since


def _take(files: Files, name: str, mine: str, length: timedelta) -> str:
    tag = files.put_if(name, _body(mine, length), None)
    if tag is not None:
        return tag
    found = files.read_tagged(name)
    if found is None:
        raise Conflict(f"taking the lease {name}: somebody else has just given it back. Run it again.")
    held, seen = _parsed(found[0]), found[1]
    if held is None:
        raise Conflict(
            f"taking the lease {name}: {files.own_uri(name)} cannot be read ({len(found[0])} bytes), so "
            "nobody can tell who holds it. When nothing else is at work on this lake, remove that file "
            "and run it again."
        )
    if _of_wrong_clock(held) and not process.is_dead(held["process"]):
        raise Conflict(
            f"taking the lease {name}: {held['holder']} took it at {held['since']}, which is still to come: "
            "the clock there or here is wrong, and nobody can tell whether it has ended. When nothing else "
            f"is at work on this lake, remove {files.own_uri(name)} and run it again."
        )
    if _has_ended(held):
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
        try:
            tag = files.put_if(name, _body(mine, length), tags[-1])
        except (StorageUnavailable, OSError):  # the lease lasts for some more tries
            continue
        if tag is None:  # lost: whoever has it now took us for dead
            return
        tags[:] = [tag]


def _parsed(body: bytes) -> dict[str, str] | None:
    """Return what a lease says; None for one that was cut short or is no lease of ours."""
    try:
        held = orjson.loads(body)
        _of_wrong_clock(held)
        found = {name: str(held[name]) for name in ("id", "holder", "since", "until")}
        return found | {"process": str(held.get("process", ""))}  # of an older version: without
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _body(mine: str, length: timedelta) -> bytes:
    now = datetime.now(UTC)
    holder = f"{socket.gethostname()}:{os.getpid()}"
    told = {"id": mine, "holder": holder, "since": now.isoformat(), "until": (now + length).isoformat()}
    return orjson.dumps(told | {"process": process.this_one()})
