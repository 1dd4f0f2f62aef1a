"""From landing to Bronze: every landed file once, all of its rows, or a reason why not.

Belongs here: which files are new, batching them, refusing what cannot be read.
Does not: reading formats (landing, domains/<domain>/sources.py).

A file is known by the SHA-256 of its bytes; that mark is committed with its rows. Files are taken in the
order of their names. Files small and many share one commit, a file larger than a batch takes several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from lakehouse.contracts import LANDING_REJECTS, POLARS_TYPES, Contract, Type
from lakehouse.errors import Conflict, SourceError, Unsupported
from lakehouse.flow.lake import Lake
from lakehouse.flow.marks import BATCH, ROWS, WATERMARK, file_mark, part_mark, seen_mark
from lakehouse.flow.step import batch_rows
from lakehouse.landing import LandedFile, Source, Unexpected, shown, unnamed
from lakehouse.store import Commit, Outcome

_TRIES = 5
_MANY = 50  # files, from which on one reading of the whole log is quicker than a question for each


class _Overtaken(Conflict):
    """Another run wrote a batch since ours was numbered."""


@dataclass(frozen=True, kw_only=True)
class Refused:
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
    refused: list[Refused] = field(default_factory=list)
    unexpected: Unexpected = field(default_factory=Unexpected)


@dataclass(kw_only=True)
class _Batch:
    """Rows of one coming commit, and what it will say of their files."""

    number: int
    frames: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    files: int = 0

    @property
    def rows(self) -> int:
        return sum(frame.height for _, frame in self.frames)

    def forget(self, fingerprint: str) -> None:
        self.frames = [(owner, frame) for owner, frame in self.frames if owner != fingerprint]


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
    fruitless = 0
    while fruitless < _TRIES:
        report = IngestReport()
        try:
            _ingest(lake, table, sources, only, info or {}, report)
        except _Overtaken:
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
    batch = _Batch(number=_last_batch(lake, table) + 1)
    most = batch_rows(lake, table)
    refused: dict[str, tuple[LandedFile, str]] = {}
    for source, file, done in _new_files(lake, table, sources, only, report):
        try:
            with unnamed(file, sources):
                for frame in _rows(source, file, done):
                    batch.frames.append((file.fingerprint, frame))
                    done += frame.height
                    if batch.rows >= most:
                        batch.marks[part_mark(file.fingerprint)] = done
                        batch = _flush(lake, table, batch, info, report)
        except SourceError as exc:
            batch.forget(file.fingerprint)
            refused[file.fingerprint] = (file, str(exc))
            continue
        report.unexpected.join(file.unexpected)
        batch.marks |= {file_mark(file.fingerprint): done, seen_mark(file): 1}
        batch.files += 1
    if batch.marks:
        _flush(lake, table, batch, info, report)
    report.refused = [Refused(file=shown(file, sources), reason=reason) for file, reason in refused.values()]
    keep_refused(lake, list(refused.values()), info)


def _new_files(
    lake: Lake,
    table: Contract,
    sources: Sequence[Source],
    only: Callable[[LandedFile], bool] | None,
    report: IngestReport,
) -> Iterator[tuple[Source, LandedFile, int]]:
    """Yield the files whose bytes are not in the table, each with the rows of it that are."""
    files = [
        (source, file)
        for source in sources
        for file in lake.landing.list(source.folder)
        if only is None or only(file)
    ]
    held = _look_up(lake, table, len(files))
    familiar = held([seen_mark(file) for _, file in files])
    taken: set[str] = set()
    for source, file in files:
        if seen_mark(file) in familiar:
            report.known += 1
            continue
        with unnamed(file, sources):
            names = [file_mark(file.fingerprint), part_mark(file.fingerprint)]
        marks = held(names)
        if file_mark(file.fingerprint) in marks or file.fingerprint in taken:
            report.known += 1
            continue
        taken.add(file.fingerprint)
        yield source, file, marks.get(part_mark(file.fingerprint), 0)


def _look_up(lake: Lake, table: Contract, files: int) -> Callable[[Sequence[str]], Mapping[str, int]]:
    """Return what tells marks of the table: asked one by one, or for many files read once."""
    if files < _MANY:
        return partial(lake.store.marks, table)
    try:
        held = lake.store.all_marks(table)
    except (Unsupported, FileNotFoundError):  # a log of another writer's form, which the library reads
        return partial(lake.store.marks, table)
    return lambda names: {name: held[name] for name in names if name in held}


def _rows(source: Source, file: LandedFile, skip: int) -> Iterator[pl.DataFrame]:
    """Yield the file's rows from row `skip` on, each with its pointer columns."""
    position = 0
    for frame in source.read(file):
        start = max(0, skip - position)
        if start < frame.height:
            yield frame.slice(start).with_columns(
                pl.lit(file.name).alias("_source"),
                pl.lit(file.fingerprint).alias("_fingerprint"),
                pl.int_range(position + start, position + frame.height, dtype=pl.Int64).alias("_row"),
            )
        position += frame.height


def _flush(
    lake: Lake, table: Contract, batch: _Batch, info: Mapping[str, str], report: IngestReport
) -> _Batch:
    """Commit the batch under its number and return the next. Raises _Overtaken when another run took it."""
    number = batch.number

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if before.get(BATCH, 0) + 1 != number:
            raise _Overtaken(f"batch {number} of {table} was taken by another run")
        if not outcome.inserted:  # what is known of the files changes, but no row came to read
            return batch.marks
        total = before.get(ROWS, 0) + outcome.inserted
        return {**batch.marks, BATCH: number, WATERMARK: number, ROWS: total}

    frames = [frame for _, frame in batch.frames]
    frame = (pl.concat(frames) if frames else _no_rows(table)).with_columns(
        pl.lit(number, POLARS_TYPES[Type.INT64]).alias("_batch_id"),
        pl.lit(lake.clock(), POLARS_TYPES[Type.TIMESTAMP]).alias("_ingested_at"),
    )
    # An empty file brings no row but must be remembered, so a commit without rows is made for it.
    result = lake.store.append(table, frame, Commit(reads=(BATCH, ROWS), marks=marks, info=info))
    report.files += batch.files
    report.rows += result.outcome.inserted
    report.batches += 1
    report.version = result.version
    return _Batch(number=number + 1 if result.outcome.inserted else number)


def _last_batch(lake: Lake, table: Contract) -> int:
    return lake.store.marks(table, [BATCH]).get(BATCH, 0)


def _no_rows(table: Contract) -> pl.DataFrame:
    stamped = ("_batch_id", "_ingested_at")
    return pl.DataFrame(schema={n: t for n, t in table.polars_schema().items() if n not in stamped})


def strays(lake: Lake, declared: Sequence[Source]) -> list[tuple[LandedFile, str]]:
    """Return the landed files that no source is declared for, each with the reason."""
    folders = {source.folder for source in declared}
    known = ", ".join(sorted(folders))

    def reason(file: LandedFile) -> str:
        where = f"folder {file.source!r}" if file.source else "the top of landing"
        return f"no source is declared for {where}; known: {known}"

    return [(file, reason(file)) for file in lake.landing.list() if file.source not in folders]


def report_strays(
    lake: Lake, declared: Sequence[Source], *, info: Mapping[str, str] | None = None
) -> list[Refused]:
    """Record and return the files that no source is declared for. They stay where they are."""
    found = strays(lake, declared)
    keep_refused(lake, found, info or {})
    return [Refused(file=file.name, reason=reason) for file, reason in found]


def keep_refused(lake: Lake, refused: Sequence[tuple[LandedFile, str]], info: Mapping[str, str]) -> int:
    """Record refused files once each (by bytes) in quarantine/landing_files; return how many were new."""
    table = LANDING_REJECTS
    names = [file_mark(file.fingerprint) for file, _ in refused]
    known = lake.store.marks(table, names) if names else {}
    new = [(f, reason) for f, reason in refused if file_mark(f.fingerprint) not in known]
    new = list({file.fingerprint: (file, reason) for file, reason in new}.values())
    if not new:
        return 0

    def marks(outcome: Outcome, before: Mapping[str, int]) -> dict[str, int]:
        if any(name != ROWS for name in before):
            raise _Overtaken("another run has just recorded one of these files")
        return {ROWS: before.get(ROWS, 0) + outcome.inserted, **{file_mark(f.fingerprint): 1 for f, _ in new}}

    frame = pl.DataFrame(
        [(f.name, f.fingerprint, f.size, reason, lake.clock()) for f, reason in new],
        schema=table.polars_schema(),
        orient="row",
    )
    reads = (ROWS, *[file_mark(f.fingerprint) for f, _ in new])
    return lake.store.append(table, frame, Commit(reads=reads, marks=marks, info=info)).outcome.inserted
