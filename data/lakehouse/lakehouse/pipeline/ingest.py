"""From landing to Bronze: every landed file once, all of its rows, or a reason why not.

Belongs here: which files are new, batching them, refusing what cannot be read.
Does not: reading formats (landing, domains/<domain>/sources.py).

A file is known by the SHA-256 of its bytes, which is committed with its rows (ledger.py), within its cohort
where the table says so (Contract.files_within). Files are taken in
the order of their names. Files small and many share one commit, a file larger than a batch takes several.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from lakehouse.contracts import LANDING_REJECTS, POLARS_TYPES, Contract, Type
from lakehouse.errors import (
    Conflict,
    DamagedTable,
    LakeError,
    Moved,
    SourceError,
    TableNotFound,
    Unreadable,
    only_ours,
    plain,
)
from lakehouse.landing import LandedFile, Source, Unexpected, display_name, redacted
from lakehouse.landing.files import natural_name
from lakehouse.pipeline.context import batch_rows
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.ledger import Entries, Ledger, exact_stamp_of, forget, ledger_of, relearn, was_read
from lakehouse.pipeline.pending import Piece, Rows
from lakehouse.pipeline.state import BATCH, FILES, ROWS, WATERMARK
from lakehouse.process import panicked, release_memory
from lakehouse.store import BaseVersion, CommitOptions, Outcome
from lakehouse.store.validation import unkept_values

_TRIES = 5
_REJECT_TRIES = 20
_MOST_BYTES = 64 << 20  # of rows in memory, whatever their number
_MANY = 50  # names to remember, for which alone a commit is made


@dataclass(frozen=True, kw_only=True)
class RejectedFile:
    """A file that is kept in landing and reported, with the reason."""

    file: str
    reason: str


@dataclass(kw_only=True)
class IngestReport:
    """What one ingest did.

    `known` counts files whose bytes are in already, under whatever name; `unexpected` rows of new files by
    the column that the table has no place for.
    """

    files: int = 0
    known: int = 0
    rows: int = 0
    batches: int = 0
    version: int = -1
    refused: list[RejectedFile] = field(default_factory=list)
    unexpected: Unexpected = field(default_factory=Unexpected)


@dataclass(kw_only=True)
class _Batch:
    """Rows of one coming commit, the state it goes onto, and what it will say of their files."""

    number: int
    onto: BaseVersion
    ledger: Ledger
    rows: Rows = field(default_factory=Rows)
    news: Entries = field(default_factory=Entries)
    files: int = 0

    @property
    def has_news(self) -> bool:
        """Return whether a commit is due; names of files that are in already may wait for one."""
        unwritten = 0 if self.ledger.number else sum(len(s.entries) for s in self.ledger.segments)
        stamps = len(self.news.stamps) + unwritten
        return bool(self.news.files or self.news.parts) or stamps >= _MANY


def ingest(
    lake: Lake,
    table: Contract,
    sources: Sequence[Source],
    *,
    only: Callable[[LandedFile], bool] | None = None,
    info: Mapping[str, str] | None = None,
) -> IngestReport:
    """Bring every new file of `sources` into Bronze `table`; with `only`, those that it says yes to.

    Raises StorageUnavailable and Conflict; what was committed by then stays, and a re-run goes on from it.
    A file that cannot be read is refused (quarantine/landing_files) and the others land.
    """
    with only_ours(f"ingesting into {table}"):
        return _until_it_lands(lake, table, sources, only, info or {})


def _until_it_lands(
    lake: Lake,
    table: Contract,
    sources: Sequence[Source],
    only: Callable[[LandedFile], bool] | None,
    info: Mapping[str, str],
) -> IngestReport:
    fruitless = 0
    while fruitless < _TRIES:
        report = IngestReport()
        try:
            _ingest(lake, table, sources, only, info, report)
        except Moved:
            fruitless = 0 if report.batches else fruitless + 1
            continue
        return report
    raise Conflict(f"ingesting into {table}: other runs kept landing batches. Run it again.")


def _ingest(
    lake: Lake,
    table: Contract,
    sources: Sequence[Source],
    only: Callable[[LandedFile], bool] | None,
    info: Mapping[str, str],
    report: IngestReport,
) -> None:
    report.version = lake.store.ensure(table)
    # Known before any file is looked up: whoever commits from here on is noticed, and the look taken anew.
    onto = lake.store.base_version(table, [BATCH, FILES])
    batch = _Batch(number=onto.state.get(BATCH, 0) + 1, onto=onto, ledger=ledger_of(lake, table, onto))
    most = batch_rows(lake, table)
    refused: dict[str, tuple[LandedFile, str]] = {}
    look = _Look(ledger=batch.ledger, renamed=batch.news.stamps, refused=refused)
    for source, file, done in _new_files(lake, sources, only, look):
        try:
            with redacted(file, sources):
                for piece in _pieces(source, file, done):
                    batch.rows.take(piece)
                    done += piece.frame.height
                    if batch.rows.count >= most or batch.rows.size >= _MOST_BYTES:
                        file.check()
                        batch.news.add_part(file, done)
                        batch = _flush(lake, table, batch, info, report)
                file.check()
        except SourceError as exc:
            batch.rows.drop_file()
            refused[file.name] = (file, str(exc))
            continue
        batch.rows.end_file()
        report.unexpected.join(file.unexpected)
        batch.news.add(file, done)
        batch.files += 1
    report.known = look.known
    if batch.has_news:
        _flush(lake, table, batch, info, report)
    report.refused = [
        RejectedFile(file=display_name(file, sources), reason=reason) for file, reason in refused.values()
    ]
    keep_refused(lake, [*refused.values(), *_copies(look.copies, refused)], info)


def _copies(
    copies: Sequence[LandedFile], refused: Mapping[str, tuple[LandedFile, str]]
) -> list[tuple[LandedFile, str]]:
    """Return those of `copies` whose bytes were refused under another name."""
    if not copies:
        return []
    reasons = {file.identity: reason for file, reason in refused.values()}
    return [(file, reasons[file.identity]) for file in copies if file.identity in reasons]


@dataclass(kw_only=True)
class _Look:
    """One look through landing, by a ledger: how many files are in already, by `copies` of bytes too.

    `renamed` takes the stamps of those whose bytes had to be read to know it, `refused` what nobody can open.
    """

    ledger: Ledger
    refused: dict[str, tuple[LandedFile, str]] = field(default_factory=dict)
    renamed: set[bytes] = field(default_factory=set)
    known: int = 0
    copies: list[LandedFile] = field(default_factory=list)


def _new_files(
    lake: Lake, sources: Sequence[Source], only: Callable[[LandedFile], bool] | None, look: _Look
) -> Iterator[tuple[Source, LandedFile, int]]:
    """Yield the files whose bytes are not in the table, each with the rows of it that are."""
    taken: set[tuple[str, str]] = set()
    # By folder, so that all files of a table come in the natural order of their names (see `places`).
    for source in sorted(sources, key=lambda one: natural_name(f"{one.folder}/")):
        for file in lake.landing.list(source.folder):
            if only is not None and not only(file):
                continue
            if look.ledger.knows(file):
                look.known += 1
                continue
            file = source.placed(file)
            try:
                with redacted(file, sources):
                    held = look.ledger.rows(file)
            except Unreadable as exc:
                look.refused[file.name] = (file, str(exc))
                continue
            if held is not None:
                look.renamed.add(exact_stamp_of(file))
            elif (file.within, file.identity) in taken:
                look.copies.append(file)
            else:
                taken.add((file.within, file.identity))
                yield source, file, look.ledger.rows_so_far(file)
                continue
            look.known += 1


def new_files(
    lake: Lake, table: Contract, sources: Sequence[Source], refused: Collection[str]
) -> Iterator[LandedFile]:
    """Yield the files that an ingest would take or refuse: their bytes are not in the table, and it has not
    refused them (`refused`: names). Raises StorageUnavailable, DamagedTable.
    """
    look = _Look(ledger=_ledger(lake, table))
    for _, file, _ in _new_files(lake, sources, lambda file: file.name not in refused, look):
        yield file
    if look.refused:
        recorded = _ledger(lake, LANDING_REJECTS)
        yield from (file for file, _ in look.refused.values() if not recorded.refused(file))


def refused_before(lake: Lake, sources: Sequence[Source], files: Sequence[LandedFile]) -> set[str]:
    """Return the names of those of `files` that were refused as they are, and taken by no table since."""
    if not files:
        return set()
    rejects = _ledger(lake, LANDING_REJECTS)
    refused = [file for file in files if rejects.knows(file)]
    taken = [_ledger(lake, table) for table in {source.table for source in sources}] if refused else []
    return {file.name for file in refused if not any(ledger.knows(file) for ledger in taken)}


def _ledger(lake: Lake, table: Contract) -> Ledger:
    """Return the ledger of the table as it is now; an empty one for a table that was never written."""
    state = lake.store.read_state(table, [FILES])
    if state:
        return ledger_of(lake, table, BaseVersion(identity="", version=-1, state=state))
    try:
        return ledger_of(lake, table, lake.store.base_version(table, [FILES]))
    except TableNotFound:
        return Ledger(table=table)


def _pieces(source: Source, file: LandedFile, skip: int) -> Iterator[Piece]:
    """Yield the file's rows from row `skip` on."""
    position = 0
    for frame in read_rows(source, file):
        start = max(0, skip - position)
        if start < frame.height:
            yield Piece(frame.slice(start) if start else frame, file.name, file.fingerprint, position + start)
        position += frame.height


def read_rows(source: Source, file: LandedFile) -> Iterator[pl.DataFrame]:
    """Yield what an ingest would take of the file. What goes wrong with one file is a SourceError: the
    others land.
    """
    try:
        for frame in source.rows(file):
            _refuse_unkept(source, file, frame)
            yield frame
    except LakeError:
        raise
    except BaseException as exc:  # a source is anybody's code, and a disk may fail
        if not isinstance(exc, Exception) and not panicked(exc):
            raise
        raise SourceError(f"{file.name}: it cannot be read: {plain(exc)}") from None


def _refuse_unkept(source: Source, file: LandedFile, frame: pl.DataFrame) -> None:
    if broken := unkept_values(source.table, frame):
        raise SourceError(f"{file.name}: {source.table} cannot keep {'; '.join(broken)}")


def _flush(
    lake: Lake, table: Contract, batch: _Batch, info: Mapping[str, str], report: IngestReport
) -> _Batch:
    """Commit the batch and return the next. Raises Moved when another run has written meanwhile."""
    number = batch.number
    ledger = batch.ledger.written(lake, batch.news)

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        named = {FILES: ledger.number}
        if not outcome.inserted:  # what is known of the files changes, but no row came to read
            return named
        total = before.get(ROWS, 0) + outcome.inserted
        return {**named, BATCH: number, WATERMARK: number, ROWS: total}

    rows = batch.rows.frame()
    frame = (_no_rows(table) if rows is None else rows).with_columns(
        pl.lit(number, POLARS_TYPES[Type.INT64]).alias("_batch_id"),
        pl.lit(lake.clock(), POLARS_TYPES[Type.TIMESTAMP]).alias("_ingested_at"),
    )
    # An empty file brings no row but must be remembered, so a commit without rows is made for it.
    commit = CommitOptions(onto=batch.onto, reads=(ROWS,), state=state, info=info)
    try:
        result = lake.store.append(table, frame, commit)
    except Moved:
        forget(lake, ledger)
        raise
    batch.rows.clear()
    del rows, frame
    release_memory()
    report.files += batch.files
    report.rows += result.outcome.inserted
    report.batches += 1
    report.version = result.version
    onto = replace(batch.onto, version=result.version)
    return _Batch(number=number + 1 if result.outcome.inserted else number, onto=onto, ledger=ledger)


def _no_rows(table: Contract) -> pl.DataFrame:
    stamped = ("_batch_id", "_ingested_at")
    return pl.DataFrame(schema={n: t for n, t in table.polars_schema().items() if n not in stamped})


def undeclared_files(lake: Lake, declared: Sequence[Source]) -> list[tuple[LandedFile, str]]:
    """Return the landed files that no source is declared for, each with the reason."""
    folders = {source.folder for source in declared}
    known = ", ".join(sorted(folders))

    def reason(file: LandedFile) -> str:
        where = f"folder {file.source!r}" if file.source else "the top of landing"
        return f"no source is declared for {where}; known: {known}"

    undeclared = [name for name in lake.landing.sources() if name not in folders]
    return [(file, reason(file)) for name in undeclared for file in lake.landing.list(name)]


def report_undeclared(
    lake: Lake, declared: Sequence[Source], *, info: Mapping[str, str] | None = None
) -> list[RejectedFile]:
    """Record and return the files that no source is declared for. They stay where they are."""
    found = undeclared_files(lake, declared)
    keep_refused(lake, found, info or {})
    return [RejectedFile(file=file.name, reason=reason) for file, reason in found]


def keep_refused(lake: Lake, refused: Sequence[tuple[LandedFile, str]], info: Mapping[str, str]) -> int:
    """Record refused files once each (by bytes) in quarantine/landing_files; return how many were new.

    Raises Conflict when others keep recording some.
    """
    if not refused:
        return 0
    table = LANDING_REJECTS
    lake.store.ensure(table)
    for _ in range(_REJECT_TRIES):
        try:
            return _record_refused(lake, refused, info)
        except Moved:
            continue
        except DamagedTable:
            relearn(lake, table, info)  # its rows are all there is to know
    raise Conflict(f"recording refused files in {table}: others keep writing it. Run it again.")


def _record_refused(lake: Lake, refused: Sequence[tuple[LandedFile, str]], info: Mapping[str, str]) -> int:
    table = LANDING_REJECTS
    here = lake.store.base_version(table, [ROWS, FILES])
    ledger = ledger_of(lake, table, here)
    unseen = [(file, reason) for file, reason in refused if not ledger.knows(file)]
    new = {file.identity: (file, reason) for file, reason in unseen if not ledger.refused(file)}
    news = Entries()
    for file, _ in unseen:
        if file.identity in new or was_read(file):
            news.add_refused(file)
    if not len(news):
        return 0
    ledger = ledger.written(lake, news)
    frame = pl.DataFrame(
        [
            (f.name, f.fingerprint if was_read(f) else f.identity, f.size, reason, lake.clock())
            for f, reason in new.values()
        ],
        schema=table.polars_schema(),
        orient="row",
    )

    def state(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        return {ROWS: before.get(ROWS, 0) + outcome.inserted, FILES: ledger.number}

    commit = CommitOptions(onto=here, reads=(ROWS,), state=state, info=info)
    try:
        return lake.store.append(table, frame, commit).outcome.inserted
    except Moved:
        forget(lake, ledger)
        raise
