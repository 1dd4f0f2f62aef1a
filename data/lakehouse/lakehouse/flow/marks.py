"""The names of the durable integers that tables carry.

Belongs here: the vocabulary of marks. Does not: reading or writing them (store).

    batch              Bronze: number of the last batch; also its watermark
    watermark          highest `_batch_id` whose rows are all in
    rows               rows the table holds after the commit
    file:<fingerprint> Bronze: a landed file is wholly in; its number of rows
    seen:<stamp>       Bronze: a file of that name, size and time need not be read again to know its bytes
    part:<fingerprint> Bronze: a file larger than a batch is in so far; rows
    position:<table>   consumer: how far it has read <table>: a batch number of Bronze, a version of others
    identity:<table>   consumer: which <table> that was, where the position is a version
    read, merged, quarantined   consumer: running totals of the conservation equation
    run_read, run_quarantined   consumer: the same for the last run that read anything
    replay             consumer and its quarantine: number of the last replay of refused rows
    rebuilding         consumer: above 0 while it is computed anew; a kill leaves it, a refresh ends it
"""

from __future__ import annotations

from hashlib import sha256

from lakehouse.contracts import Contract
from lakehouse.landing import LandedFile

BATCH = "batch"
WATERMARK = "watermark"
ROWS = "rows"
READ = "read"
MERGED = "merged"
QUARANTINED = "quarantined"
TOTALS = (READ, MERGED, QUARANTINED)
RUN_READ = "run_read"
REBUILDING = "rebuilding"
REPLAY = "replay"
RUN_QUARANTINED = "run_quarantined"


def file_mark(fingerprint: str) -> str:
    return f"file:{fingerprint}"


def seen_mark(file: LandedFile) -> str:
    """Name the file by what a listing tells; its bytes are read once, not at every run."""
    stamp = f"{file.name}\0{file.size}\0{file.modified.timestamp()!r}"
    return f"seen:{sha256(stamp.encode()).hexdigest()[:24]}"


def part_mark(fingerprint: str) -> str:
    return f"part:{fingerprint}"


def identity_mark(source: Contract) -> str:
    return f"identity:{source.path}"


def position_mark(source: Contract) -> str:
    return f"position:{source.path}"
