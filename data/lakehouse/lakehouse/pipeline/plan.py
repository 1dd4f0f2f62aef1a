"""What a run has to do, before there is a run: which tables have something new to take in, and why.

Belongs here: looking at landing and at the state of the tables. Does not: writing anything, or running it.
Nothing here imports an orchestrator: where nothing is new, none is started.

A table is selected when
  - it was never written, its stored schema is not the contract's, or a full refresh of it was interrupted,
  - landing holds a file that its Bronze table neither has nor has refused,
  - one of its sources has rows that it has not taken in, by the same state as pipeline.refresh goes by,
  - it holds rows of an older version of its transform, rules or contract (a run tells so; only a full refresh
    computes them anew),
  - one of its sources is selected, or
  - a selected table is made of it: its checks decide whether that one may be built.
A table that is held, and all that is made of it, is left out until something new comes in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from lakehouse.contracts import LANDING_REJECTS, Contract, Materialization
from lakehouse.errors import LakeError
from lakehouse.landing import LandedFile, Landing, Source, display_name
from lakehouse.landing.files import Listing, Names
from lakehouse.pipeline import code, lineage, outbox
from lakehouse.pipeline.context import Transform
from lakehouse.pipeline.ingest import new_files, refused_before
from lakehouse.pipeline.lake import Lake
from lakehouse.pipeline.state import BATCH, REBUILDING, identity_key, position_key
from lakehouse.store import BaseVersion

OLDER = "it holds rows made by an older version; --full-refresh computes them anew"
_NAMED = 3  # refused files that a warning names
_GATE = "its checks decide over {}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The tables that have something to do, by path, each with the reason, sources first.

    `warnings` are for whoever asks for a run, whether there is one or not.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    tables: int = 0

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to run."""
        return not self.reasons

    def lines(self) -> list[str]:
        """Return the plan as people read it."""
        told = [f"! {warning}" for warning in self.warnings]
        if self.nothing:
            return [*told, f"✓ nothing new: {self.tables} tables are up to date"]
        width = max(len(path) for path in self.reasons)
        return [
            *told,
            f"{len(self.reasons)} of {self.tables} tables have something to do",
            *(f"  {path:<{width}}  {reason}" for path, reason in self.reasons.items()),
        ]


def plan(
    lake: Lake,
    tables: Sequence[Contract],
    sources: Sequence[Source],
    *,
    known: Collection[str] | None = None,
    held: Mapping[str, str] | None = None,
    transforms: Callable[[Contract], Transform | None] | None = None,
) -> Plan:
    """Return what there is to do. Reads listings and state alone, and the bytes of files not seen before.

    `known` are the tables that the orchestrator has seen materialised: any other one is run, so that it
    hears of it (None: do not ask). `held` gives the tables that wait for somebody, each with its warning.
    `transforms` gives what computes a table, for telling which rows are of an older version.

    Raises StorageUnavailable: an outage is not an empty plan.
    """
    held = held or {}
    with lake.store.pinned_reads():
        still = replace(lake, landing=_ListedOnce(lake.landing))
        refused = refused_before(still, sources, still.landing.list())
        own = dict(_news(still, sources, refused))
        for table in tables:
            reason = behind(still, table)
            if reason is None and known is not None and table.path not in known:
                reason = "no run has told of it yet"
            if reason is not None:
                own.setdefault(table.path, reason)
        alone = _undeclared(still, sources, refused)
        stay = [file for file in still.landing.list() if file.name in refused]
        told = _files_stay(stay, sources) if stay else None
        if transforms is not None:
            old = (table for table in tables if table.path not in held)
            alone |= {table.path: OLDER for table in old if _is_older(still, table, transforms)}
    chosen = _with_gates(tables, {**alone, **_downstream(tables, own, held)})
    warnings = [warning for path, warning in held.items() if path not in chosen]
    warnings += [told] if told else []
    return Plan(reasons=chosen, warnings=tuple(warnings), tables=len(tables))


def _is_older(lake: Lake, table: Contract, transforms: Callable[[Contract], Transform | None]) -> bool:
    transform = transforms(table) if table.sources and lake.store.exists(table) else None
    return transform is not None and code.is_older(lake, table, transform)


def behind(lake: Lake, table: Contract) -> str | None:
    """Return why `table` has something to do by what lies in the lake; None where a refresh finds nothing.

    A table whose source was never written is not behind it: that source is.
    """
    if not lake.store.exists(table):
        return "it was never written"
    if problems := lake.store.schema_problems(table):
        return f"its stored schema is not the contract's ({'; '.join(problems)})"
    if not table.sources or not all(lake.store.exists(source) for source in table.sources):
        return None
    return _rows_behind(lake, table) if table.row_wise else _versions_behind(lake, table)


def _rows_behind(lake: Lake, table: Contract) -> str | None:
    [source] = table.sources
    here = lake.store.read_state(table, [REBUILDING, *lineage.of_consumer(source)])
    there = _as_seen(lake, source)
    if here.get(REBUILDING, 0):
        return "a full refresh of it was interrupted"
    if not lineage.fits(source, here, there):
        return f"{source} was restored, rebuilt or replaced: what was computed from it no longer holds"
    if outbox.pending(lake, table):
        return "refused rows of its last batch are not in quarantine yet"
    batches = there.state.get(BATCH, 0) - here.get(position_key(source), 0)
    return f"{batches} batches of {source} are not in yet" if batches > 0 else None


def _as_seen(lake: Lake, source: Contract) -> BaseVersion:
    """Return the source's state at the plan's one look at it; `store.state` would look anew each time."""
    seen = lake.store.snapshot(source)
    state = lake.store.read_state(source, [BATCH, *lineage.OF_SOURCE])
    return BaseVersion(identity=seen.identity, version=seen.version, state=state)


def _versions_behind(lake: Lake, table: Contract) -> str | None:
    ends = {source: lake.store.data_version(source) for source in table.sources}
    these = {identity_key(source): lineage.number(lake.store.snapshot(source).identity) for source in ends}
    state = lake.store.read_state(table, [*(position_key(source) for source in ends), *these])
    for source, end in ends.items():
        at = state.get(position_key(source))
        if at is None:
            return f"it was never computed from {source}"
        if state.get(identity_key(source)) != these[identity_key(source)]:
            return f"{source} is another table than the one it was computed from"
        # An aggregate of everything is made anew also when a source was brought back to an older version.
        if at < end or (table.materialization is Materialization.FULL and at != end):
            return f"{source} has changed since: it was read at version {at}"
    return None


def _news(lake: Lake, sources: Sequence[Source], refused: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each Bronze table that landing has a file for, with the first such file."""
    fed: dict[Contract, list[Source]] = {}
    for source in sources:
        fed.setdefault(source.table, []).append(source)
    for table, own in fed.items():
        try:
            file = next(new_files(lake, table, own, refused), None)
        except LakeError:  # the run says which, and refuses it by name
            yield table.path, "a file of landing cannot be read"
            continue
        if file is not None:
            yield table.path, f"new in landing: {_name(file, sources)}"


def _undeclared(lake: Lake, sources: Sequence[Source], refused: Collection[str]) -> dict[str, str]:
    """Return the Bronze table whose run reports files that no source is declared for, where one is new.

    Every run of a Bronze table reports them, so one is enough, and nothing that is made of it has to follow.
    """
    folders = {source.folder for source in sources}
    found = (file for file in lake.landing.list() if file.source not in folders and file.name not in refused)
    if not sources or (file := next(found, None)) is None:
        return {}
    return {sources[-1].table.path: f"no source is declared for {file.name}"}


def _name(file: LandedFile, sources: Sequence[Source]) -> str:
    try:
        return display_name(file, sources)
    except LakeError:
        return f"a file of {file.source}"


def _downstream(
    tables: Sequence[Contract], own: Mapping[str, str], held: Mapping[str, str]
) -> dict[str, str]:
    """Return the tables with a reason of their own and all made of them, but what a held one keeps back."""
    chosen: dict[str, str] = {}
    kept_back: set[str] = set()
    for table in _in_order(tables):
        paths = [source.path for source in table.sources]
        first = next((path for path in paths if path in chosen), None)
        new = table.path in own or first is not None
        if any(path in kept_back for path in paths) or (table.path in held and not new):
            kept_back.add(table.path)
        elif new:
            chosen[table.path] = own.get(table.path) or f"made of {first}"
    return chosen


def _with_gates(tables: Sequence[Contract], chosen: Mapping[str, str]) -> dict[str, str]:
    """Add what the chosen tables are made of, as far as it is computed: a blocking check of it that failed in
    an earlier run must go on keeping them from being built.
    """
    found = dict(chosen)
    ordered = _in_order(tables)
    for table in reversed(ordered):
        if table.path in found:
            for source in table.sources:
                if source.sources:
                    found.setdefault(source.path, _GATE.format(table))
    return {table.path: found[table.path] for table in ordered if table.path in found}


def _in_order(tables: Sequence[Contract]) -> list[Contract]:
    """Return the tables, each after its sources."""
    ordered: dict[str, Contract] = {}

    def place(table: Contract) -> None:
        if table.path not in ordered:
            for source in table.sources:
                place(source)
            ordered[table.path] = table

    for table in tables:
        place(table)
    declared = {table.path for table in tables}
    return [table for table in ordered.values() if table.path in declared]


def _files_stay(files: Sequence[LandedFile], sources: Sequence[Source]) -> str:
    one = len(files) == 1
    what = (
        "1 file of landing was refused and stays"
        if one
        else f"{len(files)} files of landing were refused and stay"
    )
    names = ", ".join(_name(file, sources) for file in files[:_NAMED])
    more = ", …" if len(files) > _NAMED else ""
    return f"{what} there ({names}{more}): {LANDING_REJECTS} tells why (`odp head {LANDING_REJECTS}`)"


class _ListedOnce:
    """A landing place as it was at the first look: one listing for all questions of a plan."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._files: Listing | None = None

    def list(self, source: str | None = None) -> Listing:
        if self._files is None:
            self._files = self._landing.list()
        return [file for file in self._files if source is None or file.source == source]

    def sources(self) -> Names:
        return sorted({file.source for file in self.list()})

    def put(self, name: str, data: bytes | BinaryIO) -> LandedFile:
        raise NotImplementedError(f"a plan writes nothing: {name!r}")

    def add(self, name: str, data: BinaryIO) -> LandedFile:
        raise NotImplementedError(f"a plan writes nothing: {name!r}")

    def find(self, name: str) -> LandedFile | None:
        return next((file for file in self.list() if file.name == name), None)
