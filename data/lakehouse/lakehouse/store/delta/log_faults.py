"""What is wrong with a Delta log: entries that are missing or cannot be read, checkpoints, the hint to them.

Belongs here: looking at the files of `_delta_log` one by one, and what to do about each. Does not: data
files.
The library says that it cannot open a log, in words of its own; which file is at fault is found out here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
import polars as pl

from lakehouse.process import panicked
from lakehouse.storage.files import Files
from lakehouse.store.results import Fault

HINT = "_last_checkpoint"
_LOG = "_delta_log"
_ENTRY = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\.(?:.+\.)?parquet$")
_IN_CHECKPOINT = {"add", "metaData", "protocol"}
_ACTIONS = {"add", "remove", "txn", "commitInfo", "metaData", "protocol", "cdc", "domainMetadata"}
_REBUILD = "run `make init-data-layers`, then `odp refresh --full-refresh`, since what was computed from it \
may hold rows that are gone"


@dataclass(kw_only=True)
class _Log:
    """The files of a log as they were listed."""

    uri: str
    entries: dict[int, int] = field(default_factory=dict)  # size by version
    checkpoints: dict[int, list[str]] = field(default_factory=dict)  # names by version
    empty: set[str] = field(default_factory=set)
    hint: bool = False
    broken: set[int] = field(default_factory=set)  # checkpoints that cannot be used

    @property
    def newest(self) -> int:
        return max([-1, *self.entries, *self.checkpoints])

    @property
    def base(self) -> int:
        """The newest checkpoint that can be used; -1 without one."""
        return max([-1, *(v for v in self.checkpoints if v not in self.broken)])

    def name(self, file: str) -> str:
        return f"{self.uri}/{_LOG}/{file}"


def log_faults(files: Files, path: str, *, thorough: bool = False, whole: bool = False) -> list[Fault]:
    """Return what is wrong with the log of table `path`.

    A listing and one small file tell of what is missing or empty; `thorough` reads every file that opening
    the newest version takes, `whole` the entries of older versions too. Raises StorageUnavailable.
    """
    hint = _hint(files, path)
    log = _listed(files, path)
    if log.newest < 0:
        return []
    faults = _checkpoint_faults(files, path, log, thorough=thorough)
    faults += _hint_faults(log, hint)
    return faults + _entry_faults(files, path, log, thorough=thorough, whole=whole)


def _listed(files: Files, path: str) -> _Log:
    log = _Log(uri=files.uri(path))
    for name, size in files.sizes(f"{path}/{_LOG}").items():
        if found := _ENTRY.match(name):
            log.entries[int(found[1])] = size
        elif found := _CHECKPOINT.match(name):
            log.checkpoints.setdefault(int(found[1]), []).append(name)
        elif name == HINT:
            log.hint = True
        if size == 0:
            log.empty.add(name)
    return log


def _hint(files: Files, path: str) -> int | None:
    """Return the version that the hint names; None without one, -1 when it cannot be read."""
    try:
        told = orjson.loads(files.read(path, f"{_LOG}/{HINT}"))
        return int(told["version"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def _hint_faults(log: _Log, version: int | None) -> list[Fault]:
    if version is None or (version in log.checkpoints and version not in log.broken):
        return []
    if version in log.broken:
        return []  # named with its checkpoint
    says = "cannot be read" if version < 0 else f"names checkpoint {version}, which is not there"
    if version >= 0 and not _complete(log, after=log.base):
        return [_lost_checkpoint(log, version, f"{version:020d}.checkpoint.parquet", "is missing")]
    remove = (
        f"remove {log.name(HINT)}: it only tells readers where to begin, and the next checkpoint writes it"
    )
    return [Fault(file=f"{_LOG}/{HINT}", says=f"{_LOG}/{HINT} {says}", fix=remove)]


def _checkpoint_faults(files: Files, path: str, log: _Log, *, thorough: bool) -> list[Fault]:
    faults = []
    for version in sorted(log.checkpoints, reverse=True):
        for name in log.checkpoints[version]:
            says = "is empty" if name in log.empty else ""
            if not says and thorough and not _readable(files, path, name):
                says = "cannot be read"
            if says:
                log.broken.add(version)
                faults.append((version, name, says))
        if thorough and version not in log.broken:
            break
    return [_lost_checkpoint(log, *fault) for fault in faults]


def _lost_checkpoint(log: _Log, version: int, name: str, says: str) -> Fault:
    hint = f" and {log.name(HINT)}" if log.hint else ""
    gone = says == "is missing"
    if version <= log.base:
        fix = f"remove {log.name(name)}: a newer checkpoint stands for it"
    elif _complete(log, after=log.base):
        since = f"since checkpoint {log.base}" if log.base >= 0 else "since the first one"
        files = log.name(HINT) if gone else f"{log.name(name)}{hint}"
        fix = f"remove {files}: every log entry {since} is there, so the table opens without"
    else:
        fix = f"put {log.name(name)} back from a backup; {_without_backup(log)}"
    return Fault(file=f"{_LOG}/{name}", says=f"{_LOG}/{name} {says}", fix=fix)


def _complete(log: _Log, *, after: int) -> bool:
    """Return whether every log entry after that version is there and has bytes."""
    wanted = range(after + 1, log.newest + 1)
    return all(log.entries.get(v) for v in wanted) and (bool(wanted) or after >= 0)


def _entry_faults(files: Files, path: str, log: _Log, *, thorough: bool, whole: bool) -> list[Fault]:
    if not log.entries:
        return []
    needed = log.base + 1
    start = min(log.entries)
    if log.base >= 0 or not log.broken:  # else the lost checkpoint is named, and it alone tells of older ones
        start = min(start, needed)
    wrong: dict[int, str] = {}
    for version in range(start, log.newest + 1):
        if version not in log.entries:
            wrong[version] = "missing"
        elif log.entries[version] == 0:
            wrong[version] = "empty"
        elif (whole or (thorough and version >= needed)) and not _parsed(files, path, version):
            wrong[version] = "cut short or altered"
    return [_lost_entries(log, *span, needed=span[1] >= needed) for span in _spans(wrong)]


def _spans(wrong: dict[int, str]) -> list[tuple[int, int, str]]:
    """Return first, last and state of neighbours in the same state."""
    spans: list[tuple[int, int, str]] = []
    for version, state in sorted(wrong.items()):
        if spans and spans[-1][1:] == (version - 1, state):
            spans[-1] = (spans[-1][0], version, state)
        else:
            spans.append((version, version, state))
    return spans


def _lost_entries(log: _Log, first: int, last: int, state: str, *, needed: bool) -> Fault:
    name = f"{_LOG}/{first:020d}.json"
    said = (
        f"log entry {first} ({name}) is" if first == last else f"log entries {first} to {last} ({name} …) are"
    )
    back = f"put {log.uri}/{name} {'' if first == last else 'and those after it '}back from a backup"
    gone = first if state == "missing" else first - 1  # the last one that there is nothing to remove of
    if not needed:
        old = min(log.entries)
        fix = f"{back}; the newest version is whole without"
        if old <= last:
            span = f"entries {old} to {last}" if old < last else f"entry {old}"
            fix += (
                f". Without a backup, remove log {span}, as "
                "clean-up would in time: those versions are gone then, and no row of the newest"
            )
    elif first <= max(min(log.entries), 0) and log.base < 0:
        fix = f"{back}; {_without_backup(log)}"
    else:
        span = f"entries {gone + 1} to {log.newest}" if gone + 1 < log.newest else f"entry {log.newest}"
        after = f"remove log {span}: " if gone < log.newest else ""
        fix = (
            f"{back}. Without one, {after}the table is then as it was at version {first - 1}; then {_REBUILD}"
        )
    return Fault(file=name, says=f"{said} {state}", fix=fix)


def _without_backup(log: _Log) -> str:
    return f"without one, move {log.uri} away, then {_REBUILD}"


def _readable(files: Files, path: str, name: str) -> bool:
    """Return whether a checkpoint holds actions: another Parquet file in its place does not."""
    try:
        stored = pl.read_parquet(io.BytesIO(files.read(path, f"{_LOG}/{name}")))
    except FileNotFoundError:  # clean-up took it: a newer one is there
        return True
    except BaseException as exc:
        if not (panicked(exc) or isinstance(exc, pl.exceptions.PolarsError | OSError | ValueError)):
            raise
        return False
    return stored.height > 0 and set(stored.columns) >= _IN_CHECKPOINT


def _parsed(files: Files, path: str, version: int) -> bool:
    """Return whether every line of a log entry is an action, the last one too."""
    try:
        text = files.read(path, f"{_LOG}/{version:020d}.json")
    except FileNotFoundError:
        return True  # gone since the listing; a look at a fresh listing tells
    except OSError:
        return False
    try:
        return _known(orjson.loads(line) for line in text.splitlines() if line.strip())
    except ValueError:
        return False


def _known(actions: Iterable[object]) -> bool:
    return all(
        isinstance(action, dict) and all(isinstance(action[name], dict) for name in _ACTIONS & action.keys())
        for action in actions
    )
