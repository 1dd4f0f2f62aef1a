"""A checksum of every file, taken when it was written: so that altered and exchanged files are found.

Belongs here: taking, keeping and comparing them, for both formats. Does not: when they are compared.

The library that writes data files hands out no checksum, and none could go into the commit: they are files of
the lake's own, beside the tables, one per commit and never changed, which maintenance joins into one:

    checksums/<layer>/<name>/<identity>/<version>.json     what one commit brought
    checksums/<layer>/<name>/<identity>/joined-<id>.json   those of all commits before the last

A process that ends between its commit and this record leaves a file without a checksum. The next commit takes
it up, or else maintenance; until then it is told of as a file without checksum, not as an altered one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import orjson

from lakehouse.contracts import Contract
from lakehouse.errors import DamagedTable, StorageUnavailable
from lakehouse.storage.files import Files

_FOLDER = "checksums"
_BACK = 8  # commits before this one that are looked at for a record that is missing
_LISTINGS = 5
_AT_ONCE = 4
Sum = tuple[int, str]  # size in bytes, SHA-256
_UNREADABLE: Sum = (-1, "")
Brought = Callable[[int], Mapping[str, int | None]]


@dataclass(frozen=True)
class Checked:
    """What comparing files with their checksums found; `unrecorded` have none yet."""

    altered: list[str]
    unrecorded: list[str]


def refuse_altered(table: Contract, checked: Checked) -> None:
    """Raise DamagedTable when a file is not what was written."""
    if not checked.altered:
        return
    also = f", and {len(checked.altered) - 1} more" if len(checked.altered) > 1 else ""
    raise DamagedTable(
        f"maintaining {table}: {checked.altered[0]} is not what was written (its checksum differs){also}. To "
        "join it with other files would hide that, so nothing was changed. `odp verify --deep` says what to "
        "do."
    )


class Checksums:
    """The checksums of one lake's files."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._last: dict[str, int] = {}

    def record(self, path: str, identity: str, version: int, brought: Brought) -> None:
        """Take the checksums of what commit `version` of a table brought, right after it.

        `brought` gives the files of a version, each with its size where the log tells it.
        The commit is in, whatever happens here: a store that does not answer leaves it to the next one.
        """
        folder = _folder(path, identity)
        try:
            for number in range(version, max(version - _BACK, -1), -1):
                if number < version and self._has(folder, number):
                    break
                self._record(folder, path, number, brought)
        except (StorageUnavailable, OSError):
            return
        self._last[folder] = version

    def _has(self, folder: str, version: int) -> bool:
        return self._last.get(folder) == version or bool(self._files.read_tagged(_name(folder, version)))

    def _record(self, folder: str, path: str, version: int, brought: Brought) -> None:
        try:
            sizes = brought(version)
        except (FileNotFoundError, DamagedTable):
            return
        sums = self._sums(path, sizes)
        # A file that is cut short already is no right one to compare with later.
        right = {name: [one] for name, one in sums.items() if sizes[name] in (None, one[0])}
        if self._files.put_if(_name(folder, version), _body(right), None) is None:
            self._record_beside(folder, version, right)

    def _record_beside(self, folder: str, version: int, sums: Mapping[str, list[Sum]]) -> None:
        """Keep other checksums of a version than are kept already: a backup put an older log back since."""
        known = _joined(self._records(folder, f"{version:020d}").values())
        if any(one not in known.get(name, set()) for name, (one,) in sums.items()):
            name = f"{folder}/{version:020d}-{uuid.uuid4().hex}.json"
            self._files.put_if(name, _body(sums), None)

    def record_files(self, path: str, identity: str, names: Iterable[str]) -> None:
        """Take the checksums of files just written, before anything names them. Raises StorageUnavailable."""
        sums = {name: [one] for name, one in self._sums(path, names).items()}
        if sums:
            self._files.put_if(f"{_folder(path, identity)}/{uuid.uuid4().hex}.json", _body(sums), None)

    def check(self, path: str, identity: str, names: Iterable[str]) -> Checked:
        """Compare these files with their checksums; one that is not there is neither. Reads every byte.

        A file that is there and cannot be read is altered.
        """
        wanted = sorted(names)
        known = self._known(path, identity)
        found = self._sums(path, [name for name in wanted if name in known], unreadable=_UNREADABLE)
        return Checked(
            altered=[name for name in wanted if name in found and found[name] not in known[name]],
            unrecorded=[name for name in wanted if name not in known],
        )

    def recorded(self, path: str, identity: str) -> set[str]:
        """Return the names of the files that have a checksum."""
        return set(self._known(path, identity))

    def tidy(self, path: str, identity: str, names: Iterable[str]) -> None:
        """Take up those of `names` that have no checksum, and join the records of all commits into one file.

        What is no longer in the store is left out. The last commit's record stays by itself: the next commit
        looks for it.
        """
        folder = _folder(path, identity)
        records = self._records(folder)
        known = _joined(records.values())
        self.record_files(path, identity, [name for name in names if name not in known])
        numbered = [name for name in records if name[:20].isdigit()]
        old = [name for name in records if name not in numbered[-1:]]
        if len(old) < 2:
            return
        stored = self._files.sizes(path)
        kept = {name: sums for name, sums in _joined(records[o] for o in old).items() if name in stored}
        if self._files.put_if(f"{folder}/joined-{uuid.uuid4().hex}.json", _body(kept), None) is not None:
            for name in old:
                self._files.forget(f"{folder}/{name}")

    def drop(self, path: str) -> None:
        """Forget all about a table that is removed."""
        self._files.forget_folder(f"{_FOLDER}/{path}")
        self._last = {f: v for f, v in self._last.items() if not f.startswith(f"{_FOLDER}/{path}/")}

    def _sums(self, path: str, names: Iterable[str], *, unreadable: Sum | None = None) -> dict[str, Sum]:
        """Return size and checksum of those that are there, `unreadable` of those that cannot be read.

        Raises StorageUnavailable.
        """
        wanted = list(names)
        if len(wanted) < 3:
            found = [self._sum(path, name, unreadable) for name in wanted]
        else:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                found = list(pool.map(lambda name: self._sum(path, name, unreadable), wanted))
        return {name: one for name, one in zip(wanted, found, strict=True) if one is not None}

    def _sum(self, path: str, name: str, unreadable: Sum | None) -> Sum | None:
        try:
            digest, size = self._files.sha256(path, name)
        except FileNotFoundError:
            return None
        except OSError:
            return unreadable
        return size, digest

    def _known(self, path: str, identity: str) -> dict[str, set[Sum]]:
        return _joined(self._records(_folder(path, identity)).values())

    def _records(self, folder: str, begins: str = "") -> dict[str, dict[str, list[list[object]]]]:
        """Return every record by its name. One that is joined meanwhile is in the file that is new then."""
        found: dict[str, dict[str, list[list[object]]]] = {}
        for _ in range(_LISTINGS):
            names = [n for n in self._files.own_names(folder) if n.startswith(begins) and n.endswith(".json")]
            fresh = [name for name in names if name not in found]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                read = list(pool.map(lambda name: self._files.read_tagged(f"{folder}/{name}"), fresh))
            found |= {n: _parsed(body[0]) for n, body in zip(fresh, read, strict=True) if body is not None}
            if all(body is not None for body in read):
                break
        return found


def _folder(path: str, identity: str) -> str:
    return f"{_FOLDER}/{path}/{identity}"


def _name(folder: str, version: int) -> str:
    return f"{folder}/{version:020d}.json"


def _body(sums: Mapping[str, Iterable[Sum]]) -> bytes:
    return orjson.dumps({"files": {name: [list(one) for one in sorted(sums[name])] for name in sorted(sums)}})


def _parsed(body: bytes) -> dict[str, list[list[object]]]:
    """Return what a record holds; one that cannot be read holds nothing: its files have no checksum then."""
    try:
        files = orjson.loads(body)["files"]
        return {
            str(name): [[int(size), str(digest)] for size, digest in sums] for name, sums in files.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _joined(records: Iterable[Mapping[str, list[list[object]]]]) -> dict[str, set[Sum]]:
    """Return every checksum by file. A log's entries have several where a backup put an older log back."""
    known: dict[str, set[Sum]] = {}
    for record in records:
        for name, sums in record.items():
            known.setdefault(name, set()).update((int(str(size)), str(digest)) for size, digest in sums)
    return known
