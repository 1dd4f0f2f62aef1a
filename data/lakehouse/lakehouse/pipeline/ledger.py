"""Which landed files a table holds: a ledger in files of the lake's own, which the table's commits name.

Belongs here: the ledger's form, looking files up in it, writing it on. Does not: which files are new
(ingest.py), or landing.

    files    fingerprint -> rows: the file is wholly in
    parts    fingerprint -> rows: a file larger than a batch is in so far
    stamps   name, size, time and version of a listed file, hashed: its bytes need not be read again to be
             known. The version is inode and time of its change, or ETag: the same name, size and time may
             come with other bytes

A table whose files are known within something (Contract.files_within) has fingerprints of both together. A
ledger of another form tells not where a file lies: then the rows do, and landing is read once more.

What is new is written as a segment, a file that never changes and tells which older ones still count. The
commit of the rows carries the state entry `files`, the newest segment's name: so an entry counts if and only
if its rows are in, and a restore takes the ledger back with the rows. A kill before the commit leaves a
segment that nothing names. A new segment takes up older ones of about its own size, so that few are alive at
once however many were written. A segment's name is a hash of its bytes: one that was altered is noticed.

Older versions of this library kept a state entry in the table's log for each file. They are read as long as
the table names no ledger, and become part of its first segment.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from itertools import count

import orjson
import polars as pl

from lakehouse import fault_points
from lakehouse.contracts import LANDING_REJECTS, Contract
from lakehouse.errors import Conflict, DamagedTable, Moved, Unsupported
from lakehouse.landing import LandedFile
from lakehouse.landing.files import identity_of
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.state import FILES
from lakehouse.store import BaseVersion, CommitOptions

_FORM = "odp-landed-files/1"
_FINGERPRINT, _ROWS, _STAMP = 32, 8, 12  # bytes
_TRIES = 20


def stamp_of(file: LandedFile) -> bytes:
    """Return what older versions of this library took from a listing: other bytes may come with the same."""
    return _hashed(_listed(file))


def exact_stamp_of(file: LandedFile) -> bytes:
    """Return what a listing tells of a file, as it goes into the ledger."""
    return _hashed(f"{_listed(file)}\0{file.version}" if file.version else _listed(file))


def _listed(file: LandedFile) -> str:
    return f"{file.name}\0{file.size}\0{file.modified.timestamp()!r}"


def _hashed(stamp: str) -> bytes:
    return sha256(stamp.encode(errors="surrogateescape")).digest()[:_STAMP]


def was_read(file: LandedFile) -> bool:
    """Return whether the bytes of the file could be read: only then a listing tells that it is the same."""
    return _is_hex(file.identity)


def _key(fingerprint: str, within: str = "") -> bytes:
    """Return a fingerprint as it goes into the ledger; hashed where it is within something, or is none."""
    if within:
        return sha256(f"{within}\0{fingerprint}".encode()).digest()
    return bytes.fromhex(fingerprint) if _is_hex(fingerprint) else sha256(fingerprint.encode()).digest()


def _key_of(file: LandedFile) -> bytes:
    return _key(file.fingerprint, file.within)


def _is_hex(fingerprint: str) -> bool:
    return len(fingerprint) == 2 * _FINGERPRINT and fingerprint[0] in "0123456789abcdef"


@dataclass(kw_only=True)
class Entries:
    """What a part of a ledger says."""

    files: dict[bytes, int] = field(default_factory=dict)
    parts: dict[bytes, int] = field(default_factory=dict)
    stamps: set[bytes] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.files) + len(self.parts) + len(self.stamps)

    def add(self, file: LandedFile, rows: int) -> None:
        """Say that the file is wholly in."""
        fingerprint = _key_of(file)
        self.files[fingerprint] = rows
        self.parts.pop(fingerprint, None)
        self.stamps.add(exact_stamp_of(file))

    def add_part(self, file: LandedFile, rows: int) -> None:
        """Say that this many rows of the file are in."""
        self.parts[_key_of(file)] = rows

    def add_refused(self, file: LandedFile) -> None:
        """Say that the refusal of the file is recorded. One that could not be read is looked at again."""
        self.files[_key(file.identity)] = 1
        if was_read(file):
            self.stamps.add(exact_stamp_of(file))

    def onto(self, older: Entries) -> Entries:
        """Return both; where they differ, these count."""
        files = older.files | self.files
        parts = {name: rows for name, rows in (older.parts | self.parts).items() if name not in files}
        return Entries(files=files, parts=parts, stamps=older.stamps | self.stamps)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One file of a ledger. `older` are the segments that count besides it, newest first."""

    number: int
    entries: Entries
    older: tuple[int, ...] = ()
    before: int = 0  # the segment that was the newest when this one was written
    within: str | None = None  # the column that its files are known within


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All that counts in one base of a table, newest segment first. `number` is 0 before the first one."""

    table: Contract
    segments: tuple[Segment, ...] = ()

    @property
    def number(self) -> int:
        return self.segments[0].number if self.segments else 0

    def rows(self, file: LandedFile) -> int | None:
        """Return the rows of a file that is wholly in; None for any other. Raises Unreadable."""
        name = _key_of(file)
        return next((s.entries.files[name] for s in self.segments if name in s.entries.files), None)

    def rows_so_far(self, file: LandedFile) -> int:
        """Return how many rows of a file that is not wholly in are."""
        name = _key_of(file)
        return next((s.entries.parts[name] for s in self.segments if name in s.entries.parts), 0)

    def refused(self, file: LandedFile) -> bool:
        """Return whether the refusal of the file is recorded."""
        name = _key(file.identity)
        return any(name in segment.entries.files for segment in self.segments)

    def knows(self, file: LandedFile) -> bool:
        """Return whether the file is wholly in by its listing alone.

        A stamp of an older version counts where the file's time was not set: a change would have moved it.
        """
        if self.familiar(exact_stamp_of(file)):
            return True
        return not file.doubtful and self.familiar(stamp_of(file))

    def familiar(self, stamp: bytes) -> bool:
        """Return whether a file that is listed so is wholly in."""
        # A loop is several times quicker than any(), and this runs for each file.
        for segment in self.segments:  # noqa: SIM110
            if stamp in segment.entries.stamps:
                return True
        return False

    def written(self, lake: Lake, news: Entries) -> Ledger:
        """Write down `news`; return the ledger with it, whose number a commit has to name."""
        older = list(self.segments)
        before = next((number for one in older if (number := one.number or one.before)), 0)
        merged = news
        while older and (not older[0].number or len(older[0].entries) <= 2 * len(merged)):
            merged = merged.onto(older.pop(0).entries)
        numbers = tuple(segment.number for segment in older)
        body = _encoded(self.table, merged, numbers, before)
        number = _number(body)
        if lake.store.files.put_if(_name(self.table, number), body, None) is None:
            raise Conflict(f"{self.table}: ledger segment {number:016x} is there already. Run it again.")
        fault_points.reach("flow.landed")
        within = self.table.files_within
        newest = Segment(number=number, entries=merged, older=numbers, before=before, within=within)
        return replace(self, segments=(newest, *older))


def ledger_of(lake: Lake, table: Contract, base: BaseVersion) -> Ledger:
    """Return the ledger that the table names in `base`, which needs the state entry FILES.

    Raises DamagedTable when a part of it is missing or altered: nothing may be taken for new then.
    """
    number = base.state.get(FILES, 0)
    if not number:
        marked = _marked(lake, table, base)
        return Ledger(table=table, segments=(Segment(number=0, entries=marked),) if len(marked) else ())
    newest = _read(lake, table, number)
    if newest.within != table.files_within:  # of an older version: only the rows tell what lies where
        held = _held(lake, table, base.version)
        return Ledger(table=table, segments=(Segment(number=0, entries=held, before=number),))
    return Ledger(table=table, segments=(newest, *(_read(lake, table, older) for older in newest.older)))


def forget(lake: Lake, ledger: Ledger) -> None:
    """Remove the newest segment, which no commit will name."""
    lake.store.files.forget(_name(ledger.table, ledger.number))


def relearn(lake: Lake, table: Contract, info: Mapping[str, str] | None = None) -> int:
    """Begin the ledger anew from the table's own rows; return how many files have any.

    How many rows a file has is not known from that, so the next ingest reads each file in landing once more
    and takes what is not in. Raises TableNotFound, Conflict.
    """
    for _ in range(_TRIES):
        base = lake.store.base_version(table)
        held = _held(lake, table, base.version)
        ledger = Ledger(table=table).written(lake, held)
        commit = CommitOptions(onto=base, state=lambda *_, now=ledger.number: {FILES: now}, info=info or {})
        try:
            lake.store.append(table, pl.DataFrame(schema=table.polars_schema()), commit)
        except Moved:
            continue
        return len(held)
    raise Conflict(f"{table}: others keep writing it. Run it again.")


def segments_to_keep(lake: Lake, table: Contract, heads: Iterable[int], since: datetime) -> set[str]:
    """Return the segments that the versions named by `heads`, or any version since then, may need.

    The newest head comes first. Segments that cannot be read are passed over: verify tells of them.
    """
    written = dict(lake.store.files.own_files(_folder(table)))
    kept: set[str] = set()
    for head in heads:
        number = head
        while number and (name := f"{number:016x}") in written and name not in kept:
            try:
                segment = _read(lake, table, number)
            except DamagedTable:
                break
            kept |= {name, *(f"{older:016x}" for older in segment.older)}
            if written[name] < since:  # the versions before it are older still
                break
            number = segment.before
    return kept


def forget_segments(lake: Lake, table: Contract, pinned: Iterable[int], since: datetime) -> int:
    """Remove the segments that only versions from before `since` named; return how many there were.

    `pinned` are versions of the table that stay, whatever their age.
    """
    written = lake.store.files.own_files(_folder(table))
    if all(at >= since for at in written.values()):
        return 0
    now = lake.store.read_state(table, [FILES]).get(FILES, 0)
    heads = [now, *(lake.store.all_state(table, version=version).get(FILES, 0) for version in pinned)]
    kept = segments_to_keep(lake, table, heads, since)
    gone = [name for name, at in written.items() if name not in kept and at < since]
    for name in gone:
        lake.store.files.forget(f"{_folder(table)}/{name}")
    return len(gone)


def mend(lake: Lake, table: Contract, info: Mapping[str, str] | None = None) -> int | None:
    """Begin a damaged ledger anew from the table's rows; return how many files have any. None: it is sound.

    Raises TableNotFound, Conflict.
    """
    try:
        ledger_of(lake, table, lake.store.base_version(table, [FILES]))
    except DamagedTable:
        return relearn(lake, table, info)
    return None


def _held(lake: Lake, table: Contract, version: int) -> Entries:
    rows = lake.store.scan(table, version=None if version < 0 else version)
    if table.path == LANDING_REJECTS.path:
        names = rows.select("_source", "_fingerprint").unique().collect().rows()
        return Entries(files={_key(identity_of(*name)): 1 for name in names})
    within = pl.lit("") if table.files_within is None else pl.col(table.files_within)
    known = rows.group_by("_fingerprint", within.alias("__within")).agg(pl.col("_row").max() + 1)
    counted = known.collect(engine="streaming")
    return Entries(parts={_key(name, where): rows for name, where, rows in counted.iter_rows()})


def _marked(lake: Lake, table: Contract, base: BaseVersion) -> Entries:
    """Return what the state of older versions of this library say; where they cannot be read, the rows.

    The rows too where the state does not say what a file is known within.
    """
    if table.files_within is not None:
        return _held(lake, table, base.version)
    try:
        state = lake.store.all_state(table, version=base.version)
    except (Unsupported, FileNotFoundError):  # a log of another writer's form, which the library reads
        return _held(lake, table, base.version)
    of: dict[str, dict[bytes, int]] = {"file": {}, "part": {}, "seen": {}}
    for entry, rows in state.items():
        kind, _, name = entry.partition(":")
        if kind in of:
            of[kind][bytes.fromhex(name) if kind == "seen" else _key(name)] = rows
    parts = {name: rows for name, rows in of["part"].items() if name not in of["file"]}
    return Entries(files=of["file"], parts=parts, stamps=set(of["seen"]))


def _folder(table: Contract) -> str:
    return f"landed/{table.path}"


def _name(table: Contract, number: int) -> str:
    return f"{_folder(table)}/{number:016x}"


def _number(body: bytes) -> int:
    return int.from_bytes(sha256(body).digest()[:8], "big") >> 3 or 1  # a state entry has 63 bits


def _encoded(table: Contract, entries: Entries, older: tuple[int, ...], before: int) -> bytes:
    head = {
        "form": _FORM,
        "table": table.path,
        "nonce": secrets.token_hex(8),  # so that nobody writes what maintenance is about to remove
        "counts": [len(entries.files), len(entries.parts), len(entries.stamps)],
        "older": older,
        "before": before,
        **({"within": table.files_within} if table.files_within else {}),
    }
    named = [
        name + rows.to_bytes(_ROWS, "little")
        for part in (entries.files, entries.parts)
        for name, rows in sorted(part.items())
    ]
    return b"".join((orjson.dumps(head), b"\n", *named, *sorted(entries.stamps)))


def _decoded(number: int, body: bytes) -> Segment:
    head, _, rest = body.partition(b"\n")
    said = orjson.loads(head)
    if said["form"] != _FORM:
        raise Unsupported(
            f"ledger segment {number:016x} has the form {said['form']}; this version of the library knows "
            f"{_FORM}. Use the version that wrote it."
        )
    files, parts, stamps = said["counts"]
    width = _FINGERPRINT + _ROWS
    names = _sliced(rest, 0, files + parts, width)
    listed = [(one[:_FINGERPRINT], int.from_bytes(one[_FINGERPRINT:], "little")) for one in names]
    entries = Entries(
        files=dict(listed[:files]),
        parts=dict(listed[files:]),
        stamps=set(_sliced(rest, (files + parts) * width, stamps, _STAMP)),
    )
    return Segment(number=number, entries=entries, older=tuple(said["older"]), before=said["before"],
                   within=said.get("within"))  # fmt: skip


def _sliced(body: bytes, start: int, many: int, width: int) -> Iterator[bytes]:
    return (body[at : at + width] for at, _ in zip(count(start, width), range(many), strict=False))


def _read(lake: Lake, table: Contract, number: int) -> Segment:
    found = lake.store.files.read_tagged(_name(table, number))
    if found is None or _number(found[0]) != number:
        place = lake.store.files.own_uri(_name(table, number))
        what = "is missing" if found is None else "was altered since it was written"
        raise DamagedTable(
            f"{table}: {place}, which tells what files it holds, {what}. Nothing was read or written: bring "
            f"it back from a backup, or run `odp refresh {table}`, which tells it from the table's rows."
        )
    return _decoded(number, found[0])
