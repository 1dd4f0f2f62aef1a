"""The names of the durable integers that tables carry.

Belongs here: the vocabulary of state. Does not: reading or writing them (store).

    batch              Bronze: number of the last batch; also its watermark
    watermark          highest `_batch_id` whose rows are all in
    rows               rows the table holds after the commit
    files              Bronze and quarantine/landing_files: name of the ledger of landed files (ledger.py)
    file:<fingerprint>, seen:<stamp>, part:<fingerprint>   what older versions of this library had for it
    position:<table>   consumer: how far it has read <table>: a batch number of Bronze, a version of others
    identity:<table>   consumer: which <table> that was
    generation:<table> consumer: and which generation of it
    generation         raised by whatever changes rows behind a consumer's position: restore, rebuild, replay
    forked_from, forked_at   the generation that a restore went back to, and the watermark it had then
    read, merged, quarantined   consumer: running totals of the conservation equation
    unjudged_read, unjudged_quarantined, unjudged_after   consumer: the same for the rows that are not judged
                       yet, and the batch they come after (holds.py)
    held, held_read, held_quarantined, held_after, held_upto   consumer: since when (seconds since 1970;
                       0: it is not) too many rejects hold it, of how many rows, from which batches
    code, key, major   consumer: what made its rows and under which key, when it was last filled anew
                       (code.py)
    replay             consumer and its quarantine: number of the last replay of refused rows
    rebuilding         consumer: the attempt that computes it anew, or 0; a kill leaves it, a refresh ends it
    rebuilt            consumer: the last attempt whose rows are in place
    outbox             consumer: refused rows that its last commit with any wrote down (outbox.py)
    outbox_before      consumer: the outbox before that one
    delivered          quarantine: the outbox whose rows came last
"""

from __future__ import annotations

from lakehouse.contracts import Contract

BATCH = "batch"
WATERMARK = "watermark"
FILES = "files"
ROWS = "rows"
READ = "read"
MERGED = "merged"
QUARANTINED = "quarantined"
TOTALS = (READ, MERGED, QUARANTINED)
REBUILDING = "rebuilding"
REBUILT = "rebuilt"
REPLAY = "replay"
OUTBOX = "outbox"
OUTBOX_BEFORE = "outbox_before"
DELIVERED = "delivered"
GENERATION = "generation"
FORKED_FROM = "forked_from"
FORKED_AT = "forked_at"
CODE = "code"
KEY = "key"
MAJOR = "major"
HELD = "held"
HELD_AFTER = "held_after"
HELD_UPTO = "held_upto"
HELD_READ = "held_read"
HELD_QUARANTINED = "held_quarantined"
UNJUDGED_AFTER = "unjudged_after"
UNJUDGED_READ = "unjudged_read"
UNJUDGED_QUARANTINED = "unjudged_quarantined"


def identity_key(source: Contract) -> str:
    return f"identity:{source.path}"


def generation_key(source: Contract) -> str:
    return f"generation:{source.path}"


def position_key(source: Contract) -> str:
    return f"position:{source.path}"
